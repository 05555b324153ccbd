"""Two processes train one denoiser: as one does, and after one of them was killed."""

import importlib.util
import os
import socket
import subprocess
import sys

import numpy as np

SCRIPT = """
import os, signal, sys
import mne
import numpy as np
from mne_img2brain import DiffusionRegressor, ImageToBrainEncoder
from mne_img2brain.diffusion import checkpoint, training

def run(folder=None):
    rng = np.random.default_rng(0)
    tokens = rng.standard_normal((40, 2, 3)).astype(np.float32)
    y = tokens.mean(axis=1)[:, :, None] + 0.3 * rng.standard_normal((40, 3, 20))
    info = mne.create_info(["Oz", "O1", "O2"], 100.0, "eeg")
    epochs = mne.EpochsArray(1e-6 * y, info, verbose="error")
    regressor = DiffusionRegressor.xu2025(
        hidden_size=16, n_layers=1, n_heads=2, batch_size=7, max_iter=40, random_state=None
    )
    if folder is None:
        regressor.set_params(random_state=3)
    encoder = ImageToBrainEncoder(regressor=regressor).fit(tokens, epochs, checkpoint=folder)
    regressor = encoder.regressor_
    history = regressor.history_
    weights = {n: v.numpy() for n, v in regressor.noise_.network_.state_dict().items()}
    return {"losses": history.losses, "held_out": history.validation_losses, **weights}

if __name__ == "__main__":
    mne.set_log_level("ERROR")
    folder, out, last = sys.argv[1:]
    checkpoint._EVERY, n_steps, step = 0.0, 0, training.Training.step
    def step_or_die(*arguments):
        global n_steps
        n_steps += 1
        if n_steps == int(last) and os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        step(*arguments)
    training.Training.step = step_or_die
    found = run(folder)
    np.savez(f"{out}-{os.environ['RANK']}.npz", n_steps=n_steps, **found)
"""


def launch(script, *arguments):
    """Start two processes as torchrun does; return their statuses and what they complain of."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    both = []
    for rank in range(2):
        environment = os.environ | {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo",
        }  # fmt: skip
        command = [sys.executable, str(script), *map(str, arguments)]
        both.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    said = [process.communicate(timeout=300)[1] for process in both]
    return [process.returncode for process in both], said


def launch_with_accelerate(script, *arguments):
    """Start two processes as the documentation says, with accelerate where it is installed."""
    launcher = ["torch.distributed.run", "--nproc_per_node=2"]
    if importlib.util.find_spec("accelerate"):
        launcher = ["accelerate.commands.launch", "--multi_gpu", "--num_processes=2",
                    "--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no"]  # fmt: skip
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-m", *launcher, str(script), *map(str, arguments)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr


def test_two_processes_train_as_one_and_go_on_after_a_kill(tmp_path):
    script, folder, out = tmp_path / "script.py", tmp_path / "checkpoint", tmp_path / "out"
    script.write_text(SCRIPT)
    folder.mkdir()
    (folder / "seed.json").write_text("3")  # the others take the first one's
    status, said = launch(script, folder, out, 20)
    assert status[0] > 0
    assert status[1] == -9
    assert "Process 0 of 2 cannot reach the others: one of them has ended." in said[0]
    assert len(list(folder.glob("denoiser-*.safetensors"))) == 1
    assert not list(tmp_path.glob("out*"))

    launch_with_accelerate(script, folder, out, -1)
    first, second = (np.load(f"{out}-{rank}.npz") for rank in range(2))
    assert 0 < first["n_steps"] < 25  # it went on
    for name in first.files:
        np.testing.assert_array_equal(first[name], second[name])

    names = {"__name__": "script"}
    exec(compile(SCRIPT, "script.py", "exec"), names)
    alone = names["run"]()
    assert len(alone["held_out"]) > 1
    for name, value in alone.items():  # sums in another order
        np.testing.assert_allclose(first[name], value, rtol=1e-3, atol=1e-5)
