"""Generated epochs on disk, part by part: the same numbers, whole, in little memory, on resume."""

import copy
import os
import re
import subprocess
import sys
import time
import tracemalloc
from types import SimpleNamespace

import mne
import numpy as np
import pytest

import mne_img2brain.encoder.writing as writing
from mne_img2brain import (
    DiffusionRegressor,
    GaborEmbedder,
    ImageToBrainEncoder,
    read_encoder,
    write_generated,
)
from mne_img2brain.baselines import RidgeGaussian
from mne_img2brain.datasets import simulate_epochs, simulate_images


@pytest.fixture(scope="module")
def images():
    return simulate_images(150, size=32, random_state=0)[0]


@pytest.fixture(scope="module")
def encoder(images):
    epochs, _ = simulate_epochs(images[:50], n_trials=2, random_state=0)
    regressor = DiffusionRegressor(max_iter=0, random_state=0)
    encoder = ImageToBrainEncoder(GaborEmbedder(size=32, n_scales=2), regressor)
    return encoder.fit(images[:50], epochs, image_ids="image_id")


def read(fname, **options):
    return mne.read_epochs(fname, verbose="error", **options)


@pytest.mark.parametrize("n_draws", [None, 3])
def test_parts_are_one_call(tmp_path, images, encoder, n_draws):
    fname = tmp_path / "generated-epo.fif"
    names = ["face", "house", "tool"] * 50  # the last part has 6 of its 16
    files = write_generated(
        fname, encoder, images, n_draws, event_id=names, part_size=16, fmt="double"
    )
    assert [file.name for file in files[:2]] == ["generated-epo.fif", "generated-epo-1.fif"]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert len(files) == 10
    if n_draws is None:
        whole = encoder.predict(images, event_id=names)
    else:
        whole = encoder.sample(images, n_draws, event_id=names, random_state=0)
    joined = read(fname)
    np.testing.assert_array_equal(joined.events, whole.events)
    assert joined.event_id == whole.event_id
    for name in whole.metadata:  # in a file None stands for NaN
        assert joined.metadata[name].astype(str).replace("None", "nan").tolist() == (
            whole.metadata[name].astype(str).tolist()
        )
    assert np.abs(joined.get_data() - whole.get_data()).max() < 1e-5 * whole.get_data().std()
    lazy = read(fname, preload=False)
    np.testing.assert_array_equal(lazy[17:40].get_data(), joined[17:40].get_data())
    np.testing.assert_array_equal(joined["house"].get_data(), joined.get_data()[names_of(joined)])
    assert read(files[-1]).metadata["image_id"].iloc[-1] == 149


def names_of(epochs):
    return epochs.events[:, 2] == epochs.event_id["house"]


@pytest.mark.parametrize("n_draws", [None, 2])
def test_parts_of_512_are_one_call_to_the_last_bit(tmp_path, rng, n_draws):
    tokens, info = (
        rng.standard_normal((1100, 3, 5)),
        mne.create_info(["Oz", "O1", "O2", "Pz"], 100.0, "eeg"),
    )
    epochs = mne.EpochsArray(1e-6 * rng.standard_normal((200, 4, 30)), info, verbose="error")
    encoder = ImageToBrainEncoder(regressor=DiffusionRegressor(max_iter=0, random_state=0))
    encoder.fit(tokens[:200], epochs)
    call = {"part_size": 512, "fmt": "double"}
    files = write_generated(tmp_path / "a-epo.fif", encoder, tokens, n_draws, **call)
    assert len(files) == 3
    if n_draws is None:
        whole = encoder.predict(tokens)
    else:
        whole = encoder.sample(tokens, n_draws, random_state=0)
    np.testing.assert_array_equal(read(files[0]).get_data(), whole.get_data())


def test_draws_of_a_ridge_are_one_call(tmp_path, images):
    epochs, _ = simulate_epochs(images[:20], n_trials=2, random_state=0)
    encoder = ImageToBrainEncoder(GaborEmbedder(size=32, n_scales=2), RidgeGaussian())
    encoder.fit(images[:20], epochs, image_ids="image_id")
    write_generated(tmp_path / "a-epo.fif", encoder, images[:40], 2, part_size=7, random_state=3)
    whole = encoder.sample(images[:40], 2, random_state=3).get_data()
    found = read(tmp_path / "a-epo.fif").get_data()
    assert np.abs(found - whole).max() < 1e-6 * np.abs(whole).max()


def test_one_part_is_what_predict_returns(tmp_path, images, encoder):
    write_generated(tmp_path / "a-epo.fif", encoder, images[10:20])
    found, whole = read(tmp_path / "a-epo.fif"), encoder.predict(images[10:20])
    assert found.metadata["image_id"].tolist() == whole.metadata["image_id"].tolist()
    np.testing.assert_allclose(found.get_data(), whole.get_data(), rtol=1e-6)


def stamps(files):
    return {file: file.stat().st_mtime_ns for file in files if file.exists()}


def test_there_are_no_more_processes_than_parts(tmp_path, images, encoder, monkeypatch):
    asked, real = [], writing.Parallel

    def seen(n_jobs):
        asked.append(n_jobs)
        return real(n_jobs=None)

    monkeypatch.setattr(writing, "Parallel", seen)
    for n_jobs in (10**5, 2, -1, None):
        path = tmp_path / f"{n_jobs}-epo.fif"
        write_generated(path, encoder, images[:5], part_size=2, n_jobs=n_jobs)
    assert asked == [3, 2, -1, None]


def test_a_call_that_was_stopped_goes_on(tmp_path, images, encoder, monkeypatch):
    fname, write = tmp_path / "a-epo.fif", writing._write_part
    call = {"encoder": encoder, "images": images[:64], "n_draws": 2, "part_size": 16}

    def stop(encoder, part, *more):
        if part.number == 2:
            raise KeyboardInterrupt
        write(encoder, part, *more)

    monkeypatch.setattr(writing, "_write_part", stop)
    with pytest.raises(KeyboardInterrupt):
        write_generated(fname, **call)
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(FileNotFoundError):  # half a recording is not taken for a whole one
        read(fname)
    monkeypatch.setattr(writing, "_write_part", write)
    before = stamps(tmp_path.iterdir())
    files = write_generated(fname, **call)
    after = stamps(files)
    assert len(after) == 4
    assert {file: after[file] for file in before} == before
    whole = encoder.sample(images[:64], 2, random_state=0).get_data()
    assert np.abs(read(fname).get_data() - whole).max() < 1e-5 * whole.std()
    # a part that is damaged is made again, and only that
    files[1].write_bytes(files[1].read_bytes()[:-100])
    with pytest.raises(FileExistsError, match="overwrite=True"):
        write_generated(fname, **call)
    write_generated(fname, **call, overwrite=True)
    again = stamps(files)
    assert [file for file in files if again[file] != after[file]] == [files[1]]


def test_parts_of_another_call_are_not_taken(tmp_path, images, encoder):
    fname = tmp_path / "a-epo.fif"
    call = {"images": images[:32], "n_draws": 2, "part_size": 16}
    write_generated(fname, encoder, **call)
    other = ImageToBrainEncoder(encoder.embedder, DiffusionRegressor(max_iter=0, random_state=0))
    epochs, _ = simulate_epochs(images[:50], n_trials=2, random_state=1)
    other.fit(images[:50], epochs, image_ids="image_id")
    alike = copy.deepcopy(encoder)  # but for the numbers that it has learnt
    alike.basis_ = 0.5 * alike.basis_
    changes = [{"random_state": 1}, {"n_draws": 3}, {"images": images[1:33]}, {"guidance_scale": 2}]
    for encoder_, change in [(other, {}), (alike, {}), *((encoder, change) for change in changes)]:
        with pytest.raises(FileExistsError, match="not of this call"):
            write_generated(fname, encoder_, **{**call, **change})
    before = stamps(tmp_path.iterdir())
    write_generated(fname, encoder, **call)
    assert stamps(tmp_path.iterdir()) == before
    write_generated(fname, other, **call, overwrite=True)
    assert not set(stamps(tmp_path.iterdir()).values()) & set(before.values())


def test_an_image_file_that_changed_is_noticed(tmp_path, images, encoder):
    from PIL import Image

    paths = [tmp_path / f"{i}.png" for i in range(20)]
    for path, image in zip(paths, images, strict=False):
        Image.fromarray(np.asarray(image)).save(path)
    fname = tmp_path / "a-epo.fif"
    write_generated(fname, encoder, iter(paths), n_images=20, part_size=16)
    found = read(fname)
    assert found.metadata["image"].tolist() == [str(path) for path in paths]
    whole = encoder.predict(paths).get_data()
    assert np.abs(found.get_data() - whole).max() < 1e-6 * np.abs(whole).max()
    Image.fromarray(np.asarray(images[30])).save(paths[18])
    os.utime(paths[18], (1, 1))
    with pytest.raises(FileExistsError, match="a-epo-1"):
        write_generated(fname, encoder, paths, part_size=16)


def test_memory_is_that_of_a_part(tmp_path, encoder):
    """Four times the images, from a generator, take no more memory at the peak."""

    def made(n):
        rng = np.random.default_rng(0)
        return (rng.integers(0, 255, (32, 32, 3), dtype=np.uint8) for _ in range(n))

    peaks = []
    for i, n in enumerate((64, 64, 256)):  # the first also fills caches
        tracemalloc.start()
        write_generated(tmp_path / f"{i}-epo.fif", encoder, made(n), 4, n_images=n, part_size=32)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    one_part = 32 * 4 * np.prod(encoder._shape) * 8
    assert peaks[1] > one_part  # it is measured
    assert peaks[2] < peaks[1] + one_part / 4


KILLED = """
import sys
import numpy as np
from mne_img2brain import read_encoder, write_generated
rng = np.random.default_rng(0)
images = rng.integers(0, 255, (200, 32, 32, 3), dtype=np.uint8)
write_generated(sys.argv[2], read_encoder(sys.argv[1]), images, 4, part_size=16)
"""


def test_a_killed_process_leaves_whole_parts(tmp_path, encoder):
    encoder.save(tmp_path / "encoder")
    (tmp_path / "out").mkdir()
    fname = tmp_path / "out" / "a-epo.fif"
    command = [sys.executable, "-c", KILLED, str(tmp_path / "encoder"), str(fname)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    started = time.monotonic()
    while len(list(fname.parent.glob("a-epo*"))) < 2 and time.monotonic() - started < 120:
        time.sleep(0.005)
    process.kill()
    process.wait()
    before = stamps(fname.parent.glob("a-epo*"))
    assert 2 <= len(before) < 13
    images = np.random.default_rng(0).integers(0, 255, (200, 32, 32, 3), dtype=np.uint8)
    again = read_encoder(tmp_path / "encoder")
    files = write_generated(fname, again, images, 4, part_size=16)
    after = stamps(files)
    assert {file: after[file] for file in before} == before
    whole = again.sample(images, 4, random_state=0).get_data()
    assert np.abs(read(fname).get_data() - whole).max() < 1e-5 * whole.std()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fname": "a.fif"}, "ends in -epo.fif"),
        ({"part_size": 0}, "part_size=0"),
        ({"fmt": "half"}, "give 'single' or 'double'"),
        ({"n_draws": 2, "random_state": None}, "so that a call that was stopped can go on"),
        ({"n_draws": 10**8}, "at most"),
        ({"n_draws": 3 * 10**5, "part_size": 1}, "give fewer draws"),
        ({"n_images": 3}, "n_images=3, but there are 20"),
        ({"captions": ["a"]}, "1 captions for 20 images"),
        ({"images": iter([])}, "say how many images it gives"),
        ({"images": iter([np.zeros((8, 8, 3), np.uint8)]), "n_images": 3}, "ended after 1"),
        ({"images": iter([np.zeros((8, 8, 3), np.uint8)] * 3), "n_images": 2}, "goes on after"),
    ],
)
def test_what_cannot_be_is_said_at_once(tmp_path, images, encoder, change, message):
    call = {"fname": "a-epo.fif", "images": images[:20], **change}
    with pytest.raises(ValueError, match=message):
        write_generated(tmp_path / call.pop("fname"), encoder, **call)


def test_the_part_size_that_is_advised_is_the_largest():
    encoder = SimpleNamespace(_shape=(64, 250))

    def checked(n_draws, size):
        return writing._checked_size(encoder, 100_000, n_draws, 0, size, "single")

    with pytest.raises(ValueError, match="100000 images in a file take 6.0 GiB") as caught:
        checked(None, 100_000)
    most = int(re.search(r"give part_size=(\d+)\.", str(caught.value))[1])
    assert checked(None, most) == most
    with pytest.raises(ValueError, match=f"give part_size={most}"):
        checked(None, most + 1)
    encoder._shape = (10_000, 2)
    with pytest.raises(ValueError, match="1 images in a file take .* give fewer draws"):
        checked(10_000, 1)


@pytest.mark.parametrize("overwrite", [False, True])
def test_two_calls_that_write_to_one_name_are_told(
    tmp_path, images, encoder, monkeypatch, overwrite
):
    """The other one begins when the first has looked, and is done before the first is."""
    fname, real, steps = tmp_path / "a-epo.fif", writing._write_part, []
    other = {"n_draws": 3, "part_size": 16, "overwrite": True}

    def slow(*arguments):
        steps.append(len(steps))
        if steps[-1] == overwrite:  # before the first part, or between its parts
            write_generated(fname, encoder, images[:32], **other)
        real(*arguments)

    monkeypatch.setattr(writing, "_write_part", slow)
    match = "Meanwhile another call wrote to .*a-epo.fif;" if overwrite else "a-epo-1.fif is there"
    with pytest.raises(FileExistsError, match=match):
        write_generated(fname, encoder, images[:32], 2, part_size=16, overwrite=overwrite)
