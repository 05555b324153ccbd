"""A training that is killed and goes on ends where one ends that is left alone."""

import os
import shutil
import signal
import time

import numpy as np
import pytest
import torch
from small_regressors import train_network

from mne_img2brain._torch import seeded_init
from mne_img2brain.diffusion import BrainDiT


@pytest.fixture(autouse=True)
def _written_at_every_step(monkeypatch):
    monkeypatch.setattr("mne_img2brain.diffusion.checkpoint._EVERY", 0.0)
    monkeypatch.setattr("mne_img2brain.diffusion.training._LEAST_BETWEEN", 8)


OPTIONS = {"max_iter": 40, "n_iter_no_change": 9, "batch_size": 16, "seed": 3}


def train(rng, n_images=6, last=1.0, **options):
    """Train a small network with dropout; return its history and weights."""
    with seeded_init(0):
        network = BrainDiT(
            6, [0, 0], 1, hidden_size=16, n_layers=1, n_heads=2, patch_length=3, dropout=0.2
        )
    rng = np.random.default_rng(0)
    image = rng.integers(0, 6, 50)
    x0 = rng.standard_normal((50, 2, 6))
    tokens = np.linspace(-1, 1, n_images, dtype=np.float32).reshape(-1, 1, 1)
    image[-1], tokens[-1] = n_images - 1, last
    history = train_network(
        network, x0 + tokens[image], tokens, image, np.arange(50) < 10, **{**OPTIONS, **options}
    )
    return history, network.state_dict()


def same(first, second):
    """Compare histories and weights to the last bit."""
    assert first[0] == second[0]
    assert first[1].keys() == second[1].keys()
    return all(torch.equal(value, second[1][name]) for name, value in first[1].items())


def test_killed_at_any_time_it_ends_with_the_same_weights(rng, tmp_path):
    alone = train(rng)  # the first of a process also waits for torch's imports
    start = time.perf_counter()
    train(rng, checkpoint=tmp_path / "timed")
    longest = 0.5 * (time.perf_counter() - start)
    waits, n_killed = np.random.default_rng(1).uniform(0.002, longest, 400), 0
    for wait in waits:
        child = os.fork()
        if child == 0:
            try:
                train(rng, checkpoint=tmp_path / "c")
            finally:
                os._exit(0)
        time.sleep(wait)
        os.kill(child, signal.SIGKILL)
        killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        n_killed += killed
        if n_killed == 20:
            break
        if not killed:  # it came to its end: once more from the beginning
            shutil.rmtree(tmp_path / "c")
    assert n_killed == 20
    went_on = train(rng, checkpoint=tmp_path / "c")
    assert same(went_on, alone)
    assert [path.suffix for path in (tmp_path / "c").iterdir() if path.name[0] != "."] == [
        ".safetensors"
    ]


def test_it_goes_on_and_does_not_begin_anew(rng, tmp_path, monkeypatch):
    """Stopped after step 20, the next run makes the other 20 steps."""
    alone = train(rng)
    steps = []
    clip = torch.nn.utils.clip_grad_norm_

    def counted(*args):
        steps.append(0)
        if len(steps) == 21:
            raise KeyboardInterrupt
        return clip(*args)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", counted)
    with pytest.raises(KeyboardInterrupt):
        train(rng, checkpoint=tmp_path)
    assert same(train(rng, checkpoint=tmp_path), alone)
    assert len(steps) == 41
    assert same(train(rng, checkpoint=tmp_path), alone)  # and when it is done, none
    assert len(steps) == 41


@pytest.mark.parametrize("what", ["seed", "last image", "version"])
def test_a_stopped_training_of_something_else_is_told(rng, tmp_path, monkeypatch, what):
    with monkeypatch.context() as patched:
        patched.setattr(torch.nn.utils, "clip_grad_norm_", raising_at(6))
        with pytest.raises(KeyboardInterrupt):
            train(rng, n_images=300, checkpoint=tmp_path)
    if what == "version":
        monkeypatch.setattr("mne_img2brain.diffusion.checkpoint.__version__", "9.9")
    given = {"seed": {"seed": 4}, "last image": {"last": 0.5}}.get(what, {})
    with pytest.warns(RuntimeWarning, match="stopped after 5 steps, of other data, .*begins anew"):
        other = train(rng, n_images=300, checkpoint=tmp_path, **given)
    assert same(train(rng, n_images=300, **given), other)
    train(rng, n_images=300, checkpoint=tmp_path, **given)  # which is done, and says nothing


def raising_at(n_steps, clip=torch.nn.utils.clip_grad_norm_):
    """Clip gradients; in that step, be interrupted."""
    steps = iter(range(1, n_steps))

    def clipped(*arguments):
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return clip(*arguments)

    return clipped


def test_another_training_does_not_go_on_from_it(rng, tmp_path):
    train(rng, checkpoint=tmp_path)
    other = train(rng, seed=4)
    assert same(train(rng, seed=4, checkpoint=tmp_path), other)
    assert len(list(tmp_path.glob("denoiser-*"))) == 2


def test_a_damaged_checkpoint_is_a_warning(rng, tmp_path):
    alone = train(rng, checkpoint=tmp_path)
    (file,) = tmp_path.iterdir()
    for content in (b"", b"x" * 100, file.read_bytes()[:-50]):
        file.write_bytes(content)
        with pytest.warns(RuntimeWarning, match="damaged .*training begins anew"):
            assert same(train(rng, checkpoint=tmp_path), alone)
