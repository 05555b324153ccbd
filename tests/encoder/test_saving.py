"""Encoders on disk: nothing lost, nothing let in, nothing hangs."""

import json
import multiprocessing
import os
import re
import resource
import signal
import stat
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import mne
import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, Ridge, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small_regressors import keep_transformers, make_regressor

from mne_img2brain import Denoiser, GaborEmbedder, ImageToBrainEncoder, read_encoder
from mne_img2brain import _files as files
from mne_img2brain.baselines import (
    MeanResponse,
    NearestNeighbor,
    RidgeBaseline,
    RidgeGaussian,
)
from mne_img2brain.datasets import simulate_epochs, simulate_images
from mne_img2brain.encoder import folder as encoder_folder
from mne_img2brain.encoder import saving
from mne_img2brain.mean import FewImagesRegressor, KernelMeanRegressor
from mne_img2brain.stimulus import EMBEDDERS

NAMES = encoder_folder.ENCODER_FILES


@pytest.fixture(scope="module")
def recorded():
    images, _ = simulate_images(12, size=32, random_state=0)
    epochs, _ = simulate_epochs(images, n_trials=2, sfreq=30.0, random_state=0)
    return images, epochs


@pytest.fixture(scope="module")
def pair(recorded):
    """Two encoders of different size, and what they predict for one image."""
    images, epochs = recorded
    encoders = [
        ImageToBrainEncoder(GaborEmbedder(size=32, n_scales=2), Ridge(), picks=picks).fit(
            images, epochs, image_ids="image_id"
        )
        for picks in (epochs.ch_names[:4], epochs.ch_names[:6])
    ]
    return encoders, [predicted(encoder, images) for encoder in encoders]


@pytest.fixture(scope="module")
def diffusing(recorded):
    """A small encoder whose denoiser was kept."""
    images, epochs = recorded
    regressor = make_regressor(
        None, max_iter=20, hidden_size=16, n_layers=1, learning_rate=1e-2, ema_decay=0.5,
        whitening="scale", device="cpu", random_state=0,
    )  # fmt: skip
    encoder = ImageToBrainEncoder(GaborEmbedder(size=32, n_scales=2), regressor)
    encoder.fit(images, epochs, image_ids="image_id")
    assert isinstance(encoder.regressor_.noise_, Denoiser)
    return encoder


def predicted(encoder, images):
    return encoder.predict(images[:1]).get_data()[0]


def which(fname, images, expected):
    """Tell which of the expected predictions an encoder on disk makes."""
    found = predicted(read_encoder(fname), images)
    # volts; the regressor is one of single precision, and sums in another order when it is read
    fits = [
        found.shape == one.shape and np.allclose(found, one, rtol=0, atol=1e-5 * np.abs(one).max())
        for one in expected
    ]
    assert sum(fits) == 1, "neither of the two encoders, but a mixture"
    return fits.index(True)


def hidden(folder):
    return [path.name for path in Path(folder).rglob(".*") if path.name != ".git"]


def test_files_of_others_stay(pair, recorded, tmp_path):
    """A clone of a repository, notes, and a folder that is reached by a link."""
    (a, b), expected = pair
    real, link = tmp_path / "real", tmp_path / "link"
    a.save(real)
    (real / ".git").mkdir()
    (real / ".git" / "config").write_text("[core]")
    (real / "README.md").write_text("card")
    link.symlink_to(real)
    b.save(link, overwrite=True)
    assert link.is_symlink()
    assert which(real, recorded[0], expected) == 1
    assert (real / ".git" / "config").read_text() == "[core]"
    assert (real / "README.md").read_text() == "card"
    assert set(os.listdir(real)) == {*NAMES, ".git", "README.md"}
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "new")
    a.save(dangling)
    assert dangling.is_symlink()
    assert which(tmp_path / "new", recorded[0], expected) == 0


def test_where_an_encoder_may_go(pair, tmp_path):
    (a, _), _ = pair
    (tmp_path / "empty").mkdir()
    a.save(tmp_path / "empty")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("text")
    (tmp_path / "file").write_text("text")
    for name, match in [("other", "not a saved encoder"), ("file", "is a file")]:
        with pytest.raises(FileExistsError, match=match):
            a.save(tmp_path / name, overwrite=True)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        a.save(tmp_path / "empty")
    with pytest.raises(OSError, match=r"below could not be written: .*file is a file"):
        a.save(tmp_path / "file" / "below")
    with pytest.raises(OSError, match=r"could not be written: File name too long"):
        a.save(tmp_path / "deep" / ("x" * 300))
    for wrong in (None, 3, b"bytes"):
        with pytest.raises(TypeError, match="fname is a"):
            a.save(wrong)
        with pytest.raises(TypeError, match="fname is a"):
            read_encoder(wrong)
    for wrong in ("", "a\0b"):
        with pytest.raises(ValueError, match="not the name of a file"):
            a.save(wrong)
    a.save(tmp_path / ("x" * 250))
    assert sorted(os.listdir(tmp_path)) == ["empty", "file", "other", "x" * 250]


def test_permissions_are_those_of_umask(pair, tmp_path):
    (a, _), _ = pair
    before = os.umask(0o022)
    try:
        a.save(tmp_path / "e")
        a.save(tmp_path / "e", overwrite=True)
        os.umask(0o027)
        a.save(tmp_path / "f")
    finally:
        os.umask(before)
    for name in NAMES:
        assert stat.S_IMODE((tmp_path / "e" / name).stat().st_mode) == 0o644
        assert stat.S_IMODE((tmp_path / "f" / name).stat().st_mode) == 0o640


@contextmanager
def child():
    """Run a block in a child process, which ends with it; yields whether this is the child."""
    pid = os.fork()
    if pid:
        yield None
        os.waitpid(pid, 0)
        return
    try:
        yield pid
    finally:
        os._exit(0)


def kill_at(n, monkeypatch):
    """Kill this process before the n-th step that touches the disk."""
    steps = iter(range(10_000))

    def watched(function):
        def run(*args, **kwargs):
            if next(steps) == n:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return run

    for module, name in [
        (files, "sync"), (files.os, "replace"), (files.os, "chmod"), (files.shutil, "rmtree"),
        (files, "digest"), (encoder_folder, "digest"), (encoder_folder, "save_file"),
        (Path, "touch"), (Path, "mkdir"), (Path, "write_text"),
    ]:  # fmt: skip
        monkeypatch.setattr(module, name, watched(getattr(module, name)))
    return steps


def test_killed_at_any_step_the_old_or_the_new_is_there(pair, recorded, tmp_path, monkeypatch):
    (a, b), expected = pair
    with monkeypatch.context() as patch:
        steps = kill_at(-1, patch)
        b.save(tmp_path / "count")
        n_steps = next(steps)
    assert n_steps > 15
    seen = []
    fname = tmp_path / "e"
    a.save(fname)
    (fname / "notes").write_text("mine")
    for n in range(n_steps + 1):
        with child() as here:
            if here is not None:
                kill_at(n, monkeypatch)
                b.save(fname, overwrite=True)
        seen.append(which(fname, recorded[0], expected))
        a.save(fname, overwrite=True)  # sweeps what was left
        assert which(fname, recorded[0], expected) == 0
        assert hidden(fname) == []
    assert set(seen) == {0, 1}
    assert seen == sorted(seen), "once there, the new encoder stays"
    assert (fname / "notes").read_text() == "mine"


def test_killed_during_the_first_save_nothing_or_all_is_there(
    pair, recorded, tmp_path, monkeypatch
):
    (a, _), expected = pair
    found = []
    for n in range(40):
        fname = tmp_path / str(n)
        with child() as here:
            if here is not None:
                kill_at(n, monkeypatch)
                a.save(fname)
        try:
            found.append(which(fname, recorded[0], expected))
        except FileNotFoundError:
            found.append(None)
            a.save(fname)  # what is left is no obstacle
            assert which(fname, recorded[0], expected) == 0
            assert hidden(fname) == []
    assert set(found) == {None, 0}
    assert found.index(0) == found.count(None)


def _save_for_ever(encoders, fname):
    while True:
        for encoder in encoders:
            encoder.save(fname, overwrite=True)


def test_readers_and_writers_at_the_same_time(pair, recorded, tmp_path):
    """Two writers: a reader meanwhile reads one of both encoders, whole."""
    encoders, expected = pair
    encoders[0].save(tmp_path / "e")
    fork = multiprocessing.get_context("fork")
    writers = [
        fork.Process(target=_save_for_ever, args=(encoders[:: 1 - 2 * i], tmp_path / "e"))
        for i in range(2)
    ]
    for writer in writers:
        writer.start()
    try:
        seen = [which(tmp_path / "e", recorded[0], expected) for _ in range(60)]
    finally:
        for writer in writers:
            writer.kill()
            writer.join()
    assert set(seen) == {0, 1}
    assert which(tmp_path / "e", recorded[0], expected) in (0, 1)
    encoders[0].save(tmp_path / "e", overwrite=True)
    assert sorted(os.listdir(tmp_path / "e")) == sorted(NAMES)


def test_a_full_disk_keeps_the_old_and_says_which_file(pair, recorded, tmp_path):
    (a, b), expected = pair
    a.save(tmp_path / "e")
    said = tmp_path / "said"
    for limit in (200, 2000):
        with child() as here:
            if here is not None:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
                try:
                    b.save(tmp_path / "e", overwrite=True)
                except OSError as error:
                    said.write_text(str(error)[:limit])
        assert f"{tmp_path}/e/" in said.read_text()
        assert "could not be written" in said.read_text()
        assert which(tmp_path / "e", recorded[0], expected) == 0
        assert sorted(os.listdir(tmp_path / "e")) == sorted(NAMES)


def assert_refused(fname):
    """Read a damaged encoder: an error that names a file, within a second."""
    began = time.perf_counter()
    with pytest.raises(ValueError, match=r"encoder\.json|arrays\.safetensors|recording-info\.fif"):
        read_encoder(fname)
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize("name", NAMES)
def test_every_flipped_bit_is_noticed(pair, tmp_path, rng, name):
    (a, _), _ = pair
    a.save(tmp_path / "e")
    path = tmp_path / "e" / name
    whole = path.read_bytes()
    for at in rng.integers(len(whole), size=40):
        flipped = bytearray(whole)
        # in JSON a change of white space, or of the case of an escape, is no other content
        if name == "encoder.json" and chr(flipped[at]).isspace():
            continue
        flipped[at] ^= 1 << int(rng.integers(5))
        path.write_bytes(flipped)
        assert_refused(tmp_path / "e")
    for damage in (b"", whole[:-1], whole[: len(whole) // 2], whole + b"x", rng.bytes(1000)):
        path.write_bytes(damage)
        assert_refused(tmp_path / "e")
    path.unlink()
    if name == "encoder.json":
        with pytest.raises(FileNotFoundError, match=r"no encoder\.json"):
            read_encoder(tmp_path / "e")
    else:
        assert_refused(tmp_path / "e")
        os.mkfifo(path)
        assert_refused(tmp_path / "e")
        path.unlink()
        path.mkdir()
        assert_refused(tmp_path / "e")


def test_files_of_two_encoders_are_not_mixed(pair, tmp_path):
    (a, b), _ = pair
    a.save(tmp_path / "a")
    b.save(tmp_path / "b")
    os.replace(tmp_path / "a" / "arrays.safetensors", tmp_path / "b" / "arrays.safetensors")
    assert_refused(tmp_path / "b")


def sealed(fname, change=None, damage=None):
    """Change what an encoder's JSON says, or a file, and make the checksums agree with it."""
    path = fname / "encoder.json"
    said = json.loads(path.read_text())
    if change is not None:
        change(said)
    if damage is not None:
        name, content = damage
        (fname / name).write_bytes(content)
        said["files"][name] = files.digest(fname / name)
    said["sha256"] = encoder_folder._checksum(said)
    path.write_text(json.dumps(said))


def put(*keys, to):
    """Return a function that sets an entry deep in the JSON."""

    def change(said):
        *way, last = keys
        for key in way:
            said = said[key]
        said[last] = to

    return change


EMBEDDER = ("encoder", "dict", "embedder_", "state")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (put("format_version", to="x"), "format_version is 'x'"),
        (put("format_version", to=None), "format_version is 'None'"),
        (put("format_version", to=1), "format 1.*Fit the encoder again"),
        (put("format_version", to=99), "format 99.*update"),
        (put("encoder", to=None), "an encoder without"),
        (put("encoder", to={}), "not what is saved"),
        (put("encoder", "dict", to={}), "an encoder without embedder_, regressor_"),
        (lambda said: said.pop("encoder"), "there is no 'encoder'"),
        (lambda said: said.pop("files"), "there is no 'files'"),
        (lambda said: said["encoder"]["dict"].pop("scaler_"), "an encoder without scaler_"),
        (put("encoder", "dict", "regressor_", to=3), "regressor_ does not predict"),
        (put("encoder", "dict", "regressor_", to={"array": "no"}), "it holds no 'no'"),
        (put("encoder", "dict", "ch_names_", to={"list": ["x"]}), "channels are not those"),
        *((put("encoder", "dict", name, to=None), f"an encoder without {name}")
          for name in ("times_", "scaler_", "ch_names_", "basis_", "event_id_", "tmin_")),
        (put("encoder", "dict", "ch_names_", to={"strings": [], "shape": [0, 10**12]}),
         "an encoder without ch_names_"),
        (put("encoder", "dict", "more_", to={"list": [{"float": "1"}] * 20_001}),
         "more than 20000 parts"),
        (put("encoder", "dict", "times_", to={"list": 5}), "not what is saved"),
        (put("encoder", "dict", "times_", to=[[]]), "a bare list"),
        (put("encoder", "dict", "times_", to={"dtype": "O"}), "no type of numbers"),
        (put("encoder", "dict", "times_", to={"dtype": "f8," * 10**6}), "damaged"),
        (
            put("encoder", "dict", "times_", to={"strings": ["a"], "shape": [2**60]}),
            "encoder.json is damaged",
        ),
        (put("encoder", "dict", "regressor_", "object", to="Popen"), "named 'Popen'"),
        (put("encoder", "dict", "regressor_", "object", to=["Ridge"]), "named"),
        (put(*EMBEDDER, "size", to=10**9), "size is 1000000000, and at most"),
        (put(*EMBEDDER, "size", to=16384), "filtered pixels"),
        (put(*EMBEDDER, "grid", to="x"), "grid='x'"),
        (put(*EMBEDDER, to=None), "has no state"),
    ],
)  # fmt: skip
def test_crafted_json(pair, tmp_path, change, match):
    (a, _), _ = pair
    a.save(tmp_path / "e")
    sealed(tmp_path / "e", change)
    began = time.process_time()
    with pytest.raises(ValueError, match=match) as caught:
        read_encoder(tmp_path / "e")
    assert "e/" in str(caught.value)
    assert time.process_time() - began < 1


def test_deep_json(pair, tmp_path):
    (a, _), _ = pair
    a.save(tmp_path / "e")
    path = tmp_path / "e" / "encoder.json"
    good = json.loads(path.read_text())
    for depth in (101, 900, 100_000):
        said = {**good, "encoder": None, "sha256": ""}
        deep = '{"list": [' * depth + "1" + "]}" * depth
        path.write_text(json.dumps(said).replace('"encoder": null', f'"encoder": {deep}'))
        with pytest.raises(ValueError, match=r"encoder\.json is damaged: .*(recursion|deep)"):
            read_encoder(tmp_path / "e")


def architecture(said):
    """Find the sizes of the denoiser."""
    found = []

    def look(item):
        if isinstance(item, dict):
            if "hidden_size" in item and "n_layers" in item and "regions" in item:
                found.append(item)
            for value in item.values():
                look(value)
        elif isinstance(item, list):
            for value in item:
                look(value)

    look(said)
    assert found
    return found[0]


@pytest.mark.parametrize(
    ("name", "size"),
    [("n_layers", 10**7), ("n_layers", 900), ("hidden_size", 2**15), ("hidden_size", 2**20),
     ("n_heads", 3), ("n_times", 10**6), ("patch_length", 0), ("hidden_size", -16),
     ("regions", {"list": [10**9]})],
)  # fmt: skip
def test_a_denoiser_larger_than_its_weights_is_not_built(diffusing, tmp_path, name, size):
    diffusing.save(tmp_path / "e")
    sealed(tmp_path / "e", lambda said: None)
    read_encoder(tmp_path / "e")
    sealed(tmp_path / "e", lambda said: architecture(said).update({name: size}))
    assert_refused(tmp_path / "e")


def test_crafted_arrays(pair, tmp_path):
    (a, _), _ = pair
    a.save(tmp_path / "e")
    header = json.dumps({f"{i}": {"dtype": "F64", "shape": [0], "data_offsets": [0, 0]}
                         for i in range(100_000)}).encode()  # fmt: skip
    content = len(header).to_bytes(8, "little") + header
    sealed(tmp_path / "e", damage=("arrays.safetensors", content))
    assert_refused(tmp_path / "e")
    for content in (b"", b"\xff" * 8, (2**60).to_bytes(8, "little"), b"\x02" + bytes(7) + b"{}"):
        sealed(tmp_path / "e", damage=("arrays.safetensors", content))
        assert_refused(tmp_path / "e")


def test_crafted_fif(pair, tmp_path, rng):
    """With a right checksum too: MNE would follow its tags in a circle."""
    (a, _), _ = pair
    a.save(tmp_path / "e")
    read_encoder(tmp_path / "e")
    whole = (tmp_path / "e" / "recording-info.fif").read_bytes()
    for at in range(36, len(whole) - 64, 97):
        broken = bytearray(whole)
        broken[at : at + 64] = bytes(64)
        sealed(tmp_path / "e", damage=("recording-info.fif", bytes(broken)))
        began = time.perf_counter()
        said = "recording-info.fif"
        try:
            read_encoder(tmp_path / "e")  # zeros where there were zeros, or in a number
        except ValueError as error:
            said = str(error)
        assert "recording-info.fif" in said
        assert time.perf_counter() - began < 1
    loop = bytearray(whole)
    loop[48:52] = (36).to_bytes(4, "big")
    for content in (bytes(loop), b"", whole[:-7], rng.bytes(2000), bytes(2000)):
        sealed(tmp_path / "e", damage=("recording-info.fif", content))
        assert_refused(tmp_path / "e")


def test_nothing_but_the_closed_table_is_built(diffusing, tmp_path, rng, monkeypatch):
    """Whatever the JSON says: what is imported is in the table, and errors are ValueErrors."""
    diffusing.save(tmp_path / "e")
    good = json.loads((tmp_path / "e" / "encoder.json").read_text())
    asked = set()

    def home(name, found=saving._home):
        asked.add(name)
        return found(name)

    monkeypatch.setattr(saving, "_home", home)
    names = [*saving._HOMES, "system", "Popen", "__class__", "list", "dict", "object", "dtype"]
    values = [None, 0, -1, 2**40, 1.5, "", "x", [], {}, {"array": "x"}, {"list": []}, {"tuple": 3},
              {"object": "BandGains", "state": {}}, {"dtype": "f4"}, {"float": "nan"}]  # fmt: skip

    def mutate(item):
        """Change one entry somewhere."""
        while True:
            keys = list(item) if isinstance(item, dict) else range(len(item))
            key = keys[rng.integers(len(keys))]
            child = item[key]
            if isinstance(child, (dict, list)) and len(child) and rng.random() < 0.9:
                item = child
                continue
            kind = rng.integers(3)
            if isinstance(child, str) and kind:
                item[key] = str(names[rng.integers(len(names))])
            else:
                item[key] = values[rng.integers(len(values))]
            return

    read_encoder(tmp_path / "e")
    assert "DiffusionRegressor" in asked
    refused = 0
    for _ in range(150):
        said = json.loads(json.dumps(good))
        mutate(said)
        sealed(tmp_path / "e", lambda old, said=said: (old.clear(), old.update(said)))
        began = time.perf_counter()
        message = ""
        try:
            read_encoder(tmp_path / "e", embedder=GaborEmbedder(size=32, n_scales=2))
        except ValueError as error:
            message = str(error)
            refused += 1
        assert not message or str(tmp_path / "e") in message
        assert time.perf_counter() - began < 2
    assert refused > 20
    assert asked <= set(saving._HOMES)


def test_who_may_not_read_is_told_so(pair):
    if os.getuid() != 0:
        pytest.skip("only root can become somebody else")
    (a, _), _ = pair
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        a.save(folder / "e")
        (folder / "e" / "arrays.safetensors").chmod(0o600)
        with child() as here:
            if here is not None:
                os.setuid(65534)
                for run in (lambda: read_encoder(folder / "e"),
                            lambda: a.save(folder / "e", overwrite=True)):  # fmt: skip
                    try:
                        run()
                    except OSError as error:
                        with (folder / "said").open("a") as stream:
                            stream.write(f"{type(error).__name__}: {error}\n")
        said = (folder / "said").read_text().splitlines()
    assert said[0].startswith("PermissionError")
    assert "arrays.safetensors may not be read by you" in said[0]
    assert said[1].startswith("PermissionError")
    assert "e could not be written: Permission denied. What was there before is kept" in said[1]


def of_many_kinds():
    """Tokens, and epochs of two subjects whose power follows the image and varies by trial."""
    rng = np.random.default_rng(3)
    times, image = np.arange(32) / 64 - 0.1, np.repeat(np.arange(60), 4)
    tokens = rng.standard_normal((60, 2, 3))
    gain = np.exp(0.6 * tokens[image, 0, :1] + 0.5 * rng.standard_normal((240, 1)))
    wave = gain * np.sin(2 * np.pi * (12 * times + rng.random((240, 1))))
    loud = np.exp(0.4 * rng.standard_normal((240, 1, 1)))
    y = (
        wave[:, None]
        + tokens[image, 1, 0][:, None, None]
        + loud * rng.standard_normal((240, 4, 32))
    )
    info = mne.create_info(["O1", "Oz", "O2", "Pz"], 64.0, "eeg").set_montage("easycap-M1")
    metadata = pd.DataFrame({"image": image, "subject": np.tile(["a", "b"], 120)})
    epochs = mne.EpochsArray(1e-6 * y, info, tmin=-0.1, metadata=metadata, verbose="error")
    return tokens, epochs


SMALL = {"max_iter": 2, "hidden_size": 16, "n_layers": 1, "n_heads": 2, "device": "cpu"}
KINDS = {
    "default": (make_regressor(max_iter=0), 60, False),
    "subjects": (make_regressor(max_iter=0), 60, True),
    "few images": (make_regressor(max_iter=0), 14, False),
    "kernel mean": (make_regressor(KernelMeanRegressor(), max_iter=0), 20, False),
    "gaussian": (make_regressor(Ridge(), noise="gaussian"), 60, False),
    "transformer": (make_regressor(None, **SMALL), 20, False),
    "beside a mean": (make_regressor(Ridge(), **SMALL), 20, True),
    "scaled": (make_regressor(None, **SMALL, whitening="scale"), 20, False),
    "paper": (make_regressor(None, **SMALL, zero_terminal_snr=False, prediction_type="noise",
                             conditioning="addition"), 20, False),
    "kernel": (make_regressor(KernelRidge(), noise="gaussian"), 20, False),
    "pipeline": (make_pipeline(StandardScaler(), PCA(2), LinearRegression()), 20, False),
    "ridge": (RidgeCV(), 20, False),
    "of few": (FewImagesRegressor(), 20, False),
    "sensors": (make_pipeline(StandardScaler(), KernelMeanRegressor()), 20, False),
    "baseline": (RidgeBaseline(), 20, False),
    "with noise": (RidgeGaussian(), 20, False),
    "mean": (MeanResponse(), 20, False),
    "neighbour": (NearestNeighbor(), 20, False),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
def test_whatever_can_be_fitted_is_saved(tmp_path, monkeypatch):
    """Each kind of mean and noise; the table names no class that none of them is made of."""
    keep_transformers(monkeypatch)
    tokens, epochs = of_many_kinds()
    named = set()
    for name, (regressor, n_images, subjects) in KINDS.items():
        some = epochs[epochs.metadata["image"] < n_images]
        if not subjects:
            some.metadata = some.metadata[["image"]]
        encoder = ImageToBrainEncoder(None, regressor)
        encoder.fit(tokens[:n_images], some, image_ids="image").save(tmp_path / name)
        back, options = read_encoder(tmp_path / name), {"subject": "a"} if subjects else {}
        expected = encoder.predict(tokens, **options).get_data()
        scale = np.abs(expected).max()
        np.testing.assert_allclose(
            back.predict(tokens, **options).get_data(), expected, atol=1e-6 * scale, err_msg=name
        )
        if hasattr(encoder, "sample"):
            draws, again = (
                one.sample(tokens[:2], 3, random_state=1, **options).get_data()
                for one in (encoder, back)
            )
            np.testing.assert_allclose(again, draws, atol=1e-5 * np.abs(draws).max(), err_msg=name)
        said = (tmp_path / name / "encoder.json").read_text()
        named |= set(re.findall(r'"object": "(\w+)"', said))
    earlier = {"SubjectWhitener"}  # test_saved_versions reads one
    assert set(saving._HOMES) - named == set(EMBEDDERS.values()) | earlier
