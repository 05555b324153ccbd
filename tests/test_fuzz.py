"""Files of others, damaged at random: an error that names the file, soon, and nothing else.

Two seconds each here. Ten minutes each::

    MNE_IMG2BRAIN_FUZZ=600 pytest tests/test_fuzz.py -s
"""

import io
import os
import pickle
import resource
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import Ridge

from mne_img2brain import (
    Denoiser,
    DiffusionRegressor,
    GaborEmbedder,
    ImageToBrainEncoder,
    read_encoder,
)
from mne_img2brain.baselines import RidgeGaussian
from mne_img2brain.cli.inputs import read_captions, read_epochs, read_images
from mne_img2brain.cli.main import main
from mne_img2brain.cli.parser import make_parser
from mne_img2brain.datasets import simulate_epochs, simulate_images
from mne_img2brain.datasets.restricted_pickle import read_npy, read_pickle, read_torch_zip
from mne_img2brain.datasets.things_eeg2_images import read_image_metadata
from mne_img2brain.stimulus.images import load_rgb

SECONDS = float(os.environ.get("MNE_IMG2BRAIN_FUZZ", 2))
DOCUMENTED = (ValueError, FileNotFoundError)


def damage(rng, whole):
    """Change a file as disks, networks and people do."""
    content = bytearray(whole)
    for _ in range(rng.integers(1, 5)):
        if not content:
            break
        at, kind = int(rng.integers(len(content))), rng.integers(7)
        if rng.random() < 0.5:
            at = min(at, int(rng.integers(200)))
        stop = at + int(rng.integers(1, 65))
        if kind == 0:
            content[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            content[at] = int(rng.integers(256))
        elif kind == 2:
            content[at:stop] = bytes(len(content[at:stop]))
        elif kind == 3:
            content[at:stop] = rng.bytes(len(content[at:stop]))
        elif kind == 4:
            del content[at:stop]
        elif kind == 5:
            content[at:at] = content[at:stop]
        else:
            del content[at if rng.random() < 0.5 else len(content) - 1 :]
    return bytes(content)


def assert_survives(path, wholes, read, check=lambda value: None, names=True):
    """Read damaged files until time is up; report how often which error came."""
    rng = np.random.default_rng(int(time.time()) if SECONDS > 10 else 0)
    counts, slowest, began = {}, 0.0, time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    while time.perf_counter() - began < SECONDS:
        content = damage(rng, wholes[rng.integers(len(wholes))])
        path.write_bytes(content)
        started, message = time.process_time(), path.name
        try:
            with warnings.catch_warnings(action="ignore"):
                check(read(path))
            outcome = "read"
        except DOCUMENTED as error:
            outcome, message = type(error).__name__, str(error)
        except BaseException:
            path.with_name(f"{path.name}.failing").write_bytes(content)
            raise
        took = time.process_time() - started
        slowest = max(slowest, took)
        assert took < 5, f"{took:.1f} s for {path}"
        assert not names or path.name in message, message
        counts[outcome] = counts.get(outcome, 0) + 1
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10
    print(path.name, counts, f"slowest {slowest:.2f} s, {grown:.0f} MB more")  # noqa: T201
    assert sum(counts.values()) > 10
    assert grown < 1500
    return counts


@pytest.fixture(scope="module")
def material():
    images, _ = simulate_images(14, size=32, random_state=0)
    epochs, _ = simulate_epochs(images, n_trials=2, sfreq=30.0, random_state=0)
    return images, epochs


class Trap:
    """Says so where it is executed."""

    def __reduce__(self):
        return os.system, ("touch executed",)


VALUE = {
    "data": np.arange(24.0).reshape(2, 3, 4), "ch_names": ["Oz", "Pz"], "times": (0.0, 0.1),
    "more": [{"a": {1, 2}}, np.array(["x", 1], dtype=object), b"x" * 2000, np.float32(2)],
}  # fmt: skip


def test_pickles(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wholes = [pickle.dumps(VALUE, protocol=n) for n in range(6)]
    wholes += [pickle.dumps([VALUE, Trap()], protocol=n) for n in (0, 2, 4)]
    assert_survives(tmp_path / "x.pkl", wholes, read_pickle)
    assert not (tmp_path / "executed").exists()


def test_npy_and_pt(tmp_path, monkeypatch):
    import torch

    monkeypatch.chdir(tmp_path)
    wholes = []
    for value in (VALUE, VALUE["data"], Trap()):
        stream = io.BytesIO()
        np.save(stream, value, allow_pickle=True)
        wholes.append(stream.getvalue())
    assert_survives(tmp_path / "x.npy", wholes, read_npy)
    assert_survives(tmp_path / "m.npy", wholes, read_image_metadata)
    wholes = []
    for value in (VALUE, {"a": torch.zeros(3)}, Trap()):
        stream = io.BytesIO()
        torch.save(value, stream)
        wholes.append(stream.getvalue())
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", pickle.dumps(VALUE))
    assert_survives(tmp_path / "x.pt", [*wholes, stream.getvalue()], read_torch_zip)
    assert not (tmp_path / "executed").exists()


def test_images(tmp_path, material):
    wholes = []
    for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "PPM", "TIFF", "TGA", "ICO"):
        stream = io.BytesIO()
        Image.fromarray(material[0][0]).save(stream, kind)
        wholes.append(stream.getvalue())
    for mode in ("P", "LA", "I;16", "CMYK", "1"):
        stream = io.BytesIO()
        kind = "JPEG" if mode == "CMYK" else "PNG"
        Image.fromarray(material[0][0][..., 0]).convert(mode).save(stream, kind)
        wholes.append(stream.getvalue())
    assert_survives(tmp_path / "x.img", wholes, load_rgb)


def test_inputs_of_the_command_line(tmp_path, material):
    epochs = material[1][:4]
    epochs.save(tmp_path / "x-epo.fif", verbose="error")
    assert_survives(tmp_path / "x-epo.fif", [(tmp_path / "x-epo.fif").read_bytes()], read_epochs)
    Image.fromarray(material[0][0]).save(tmp_path / "a.png")
    for name, text in [("x.txt", "a.png\na.png\n"), ("x.csv", "image,caption\na.png,one\n")]:
        assert_survives(tmp_path / name, [text.encode()], lambda path: read_images(str(path)))
    assert_survives(
        tmp_path / "c.txt", [b"one\ntwo\n"], lambda path: read_captions(path, ["a", "b"])
    )


WORDS = [
    "", " ", "x", "ä", "-1", "0", "1", "2", "3.5", "1e400", "nan", "-inf",
    "1" + 30 * "0", "a=1", "=", "{}", "[", "image_id", "file", "subject", "auto", "cpu", "cuda:99",
    "gabor", "ridge", "eeg", "Oz", "nowhere", "nowhere/x", "metadata:", "metadata:file",
    "metadata:image_id", "..", "new", "x.txt", "a file", "a file/below", "test-epo.fif",
    "encoder", "out-epo.fif", "tokens.npy", "c.txt", "q" * 300,
]  # fmt: skip
COMMANDS = {
    "fit": "new test-epo.fif --image-ids file --preset ridge --embedder gabor --out fitted",
    "predict": "encoder new --out out-epo.fif",
    "evaluate": "encoder new test-epo.fif --image-ids file --draws 0 --out judged",
    # which train for minutes where nothing is wrong
    "ablate": "new nowhere-epo.fif --out ablated --embedder gabor",
    "reproduce": "things-eeg2 --data-dir nowhere --out reproduced",
}


def changed(rng, command):
    """A command with flags that have other values, and perhaps other files."""
    kinds = make_parser()._subparsers._group_actions[0].choices[command]._actions
    words = COMMANDS[command].split()
    for _ in range(rng.integers(1, 4)):
        action = kinds[rng.integers(len(kinds))]
        flag = action.option_strings[0] if action.option_strings else None
        if flag in ("-h", "--traceback", "--preset"):
            continue
        if flag is None:
            words[rng.integers(2)] = str(rng.choice(WORDS))
            continue
        n_values = {None: 1, 0: 0, 2: 2}.get(action.nargs, rng.integers(1, 4))
        n_values = rng.integers(4) if rng.random() < 0.05 else n_values
        values = list(action.choices or WORDS) if rng.random() < 0.9 else WORDS
        words += [flag, *map(str, rng.choice(values, n_values))]
    return [command, *words]


def test_flags_of_the_command_line(tmp_path, material, monkeypatch, capsys):
    """Status 0, or 2 and one line that says what is wrong; never a traceback."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MNE_IMG2BRAIN_CACHE", str(tmp_path / "cache"))
    images, epochs = material
    image = epochs.metadata["image_id"].to_numpy()
    epochs.metadata = epochs.metadata.assign(file=[f"{i}.png" for i in image])
    encoder = ImageToBrainEncoder(GaborEmbedder(size=32, n_scales=2), RidgeGaussian())
    with warnings.catch_warnings(action="ignore"):  # ten images are few
        encoder.fit(images[:10], epochs[image < 10], image_ids="image_id").save("encoder")
    epochs[image >= 10].save("test-epo.fif", verbose="error")
    Path("new").mkdir()
    for i in range(10, 14):
        Image.fromarray(images[i]).save(f"new/{i}.png")
    Path("x.txt").write_text("new/10.png\nnew/11.png\n")
    Path("c.txt").write_text("one\ntwo\nthree\nfour\n")
    Path("a file").write_text("")
    np.save("tokens.npy", np.ones((4, 2, 3)))
    rng, counts = np.random.default_rng(int(time.time()) if SECONDS > 10 else 0), {0: 0, 2: 0}
    slowest, began = 0.0, time.process_time()
    while time.process_time() - began < SECONDS:
        words = changed(rng, str(rng.choice(list(COMMANDS))))
        started = time.process_time()
        capsys.readouterr()
        try:
            with warnings.catch_warnings(action="ignore"):
                status = main(words)
        except SystemExit as stopped:
            status = stopped.code
            *before, line = capsys.readouterr().err.strip().splitlines()
            # usage, or the bar of what went well before
            assert not any("Traceback" in one for one in before), words
            assert "error: " in line, words
        except BaseException:
            print(words)  # noqa: T201
            raise
        counts[status] += 1
        slowest = max(slowest, took := time.process_time() - started)
        assert took < 5, f"{took:.1f} s for {words}"
    with capsys.disabled():
        print("flags", counts, f"slowest {slowest:.2f} s")  # noqa: T201
    assert min(counts.values()) > 0


@pytest.mark.parametrize("kind", ["ridge", "denoiser"])
def test_saved_encoders(tmp_path, material, kind):
    images, epochs = material
    regressor = Ridge() if kind == "ridge" else DiffusionRegressor(
        None, Denoiser(hidden_size=16, n_layers=1, n_heads=2, max_iter=2), device="cpu"
    )  # fmt: skip
    encoder = ImageToBrainEncoder(GaborEmbedder(size=32, n_scales=2), regressor)
    encoder.fit(images, epochs, image_ids="image_id").save(tmp_path / "e")
    # another memory order of coefficients may round single precision otherwise
    expected = read_encoder(tmp_path / "e").predict(images[:2]).get_data()

    def check(back):
        # what is read in spite of the damage, a changed space in the JSON say, is what was saved
        np.testing.assert_allclose(back.predict(images[:2]).get_data(), expected, rtol=1e-9)

    for name in ("encoder.json", "arrays.safetensors", "recording-info.fif"):
        path = tmp_path / "e" / name
        whole = path.read_bytes()
        assert_survives(path, [whole], lambda path: read_encoder(path.parent), check)
        path.write_bytes(whole)
    check(read_encoder(tmp_path / "e"))
