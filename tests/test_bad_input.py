"""Whatever is given that cannot be: an error of the documented type, that says what and why.

One line a case: what is called, with what, the error, and what its message must hold: the name of
the parameter or file, and what was expected. Constructor parameters are in trials/test_parameters,
saved encoders in encoder/test_saving, pickles in datasets/test_restricted_pickle.
"""

import io
import json
import os
import pickle
import re
import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import mne
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge

from mne_img2brain import (
    GaborEmbedder,
    ImageToBrainEncoder,
    evaluate,
    read_encoder,
    viz,
    write_generated,
)
from mne_img2brain.baselines import RidgeGaussian
from mne_img2brain.cli.inputs import read_epochs
from mne_img2brain.cli.main import main
from mne_img2brain.datasets import simulate_epochs, simulate_images, things_eeg2, things_meg
from mne_img2brain.stimulus.images import check_images, load_rgb

sys.path.insert(0, str(Path(__file__).parent / "datasets"))
import things_files as made  # noqa: E402

NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """Images, epochs, a fitted encoder, figures' material and files."""
    folder = tmp_path_factory.mktemp("there")
    images, _ = simulate_images(16, size=32, random_state=0)
    epochs, _ = simulate_epochs(images, n_trials=2, sfreq=30.0, random_state=0)
    encoder = ImageToBrainEncoder(GaborEmbedder(size=32, n_scales=2), Ridge())
    image = epochs.metadata["image_id"].to_numpy()
    encoder.fit(images[:12], epochs[image < 12], image_ids="image_id")
    encoder.save(folder / "encoder")
    evoked = epochs.average()
    for name in ("new", "text"):
        (folder / name).mkdir()
    for i, shown in enumerate(images[12:]):
        Image.fromarray(shown).save(folder / "new" / f"{i}.png")
    test = epochs[image >= 12]
    test.metadata = test.metadata.assign(
        file=[f"{i - 12}.png" for i in image[image >= 12]], image_id=image[image >= 12] - 12
    )
    test.save(folder / "test-epo.fif", verbose="error")
    whole = (folder / "test-epo.fif").read_bytes()
    (folder / "cut-epo.fif").write_bytes(whole[: len(whole) // 3])
    (folder / "zero-epo.fif").write_bytes(b"")
    (folder / "garbage-epo.fif").write_bytes(np.random.default_rng(0).bytes(5000))
    (folder / "binary.txt").write_bytes(b"\x85\x82\xff")
    (folder / "empty.csv").write_bytes(b"")
    (folder / "other.csv").write_text("a,b\n1,2\n")
    (folder / "missing.csv").write_text("image\nnowhere.png\n")
    (folder / "empty.txt").write_text("\n")
    (folder / "captions.txt").write_text("one\ntwo\n")
    (folder / "a file").write_text("text")
    (folder / "tiff.tif").write_bytes(b"II*\0" + bytes(100))
    Image.fromarray(images[0]).save(folder / "really.tif")
    (folder / "drawing.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")
    png = (folder / "new" / "0.png").read_bytes()
    (folder / "header.png").write_bytes(png[:60])
    (folder / "half.png").write_bytes(png[: len(png) // 2])
    (folder / "zero.png").write_bytes(b"")
    (folder / "text.png").write_text("<html>not found</html>")
    Image.new("1", (12_000, 12_000)).save(folder / "huge.png")
    np.save(folder / "ints.npy", np.zeros((4, 3, 2), int))
    np.save(folder / "objects.npy", np.array([{}], dtype=object))
    (folder / "zero.npy").write_bytes(b"")
    blank = ImageToBrainEncoder(GaborEmbedder(size=32, n_scales=2), Ridge())
    return SimpleNamespace(
        folder=folder, images=images, epochs=epochs, encoder=encoder, evoked=evoked, blank=blank,
        test=test, new=images[12:], f=folder,
    )  # fmt: skip


def assert_refused(call, error, match, seconds=5):
    """Call what must fail, and check how."""
    began = time.process_time()
    with pytest.raises(error, match=match) as caught:
        call()
    plt.close("all")
    assert time.process_time() - began < seconds
    assert type(caught.value).__module__.split(".")[0] in ("builtins", "sklearn")
    return str(caught.value)


# simulated data ----------------------------------------------------------------------------------
EPOCHS = [
    *(("n_trials", value, "give an integer >= 1") for value in (0, -1, 2.5, None, "x", NAN, True)),
    *(("n_subjects", value, "give an integer >= 1 or None") for value in (0, -1, 1.5, "x", NAN)),
    *(("snr", value, "give a number > 0 or inf") for value in (0, -1, NAN, "x", None, True)),
    *(("subject_spread", value, "give a number >= 0") for value in (-1, NAN, INF, "x", None)),
    *(("sfreq", value, "give a number >= 1") for value in (0, -5, NAN, INF, "x", None, 1e9)),
    *(("tmin", value, "tmin=") for value in (0.1, NAN, -INF, "x", None, -1e6)),
    *(("tmax", value, "tmax=") for value in (0, -0.1, NAN, INF, "x", None, 1e6, 1e-9)),
    *(("random_state", value, "give an integer >= 0 or") for value in (-1, "x", 1.5, [])),
    ("info", 3, "give a Info or None"),
    ("info", "x", "give a Info or None"),
    ("category", 5, "one value for each image"),
    ("category", "face", "one value for each image"),
    ("category", ["a"], "1 values for 4 images"),
    ("sfreq", 1, "fewer than two samples after image onset"),
]


@pytest.mark.parametrize(("name", "value", "match"), EPOCHS)
def test_simulate_epochs(there, name, value, match):
    message = assert_refused(
        lambda: simulate_epochs(there.images[:4], **{name: value}), ValueError, match
    )
    assert name in message


@pytest.mark.parametrize(
    ("name", "value"),
    [*(("n_images", value) for value in (0, -1, 2.5, "x", None, NAN, True)),
     *(("size", value) for value in (0, 1, -3, 2.5, "x", None, 10**6)),
     *(("random_state", value) for value in (-1, "x", 1.5))],
)  # fmt: skip
def test_simulate_images(name, value):
    arguments = {"n_images": 4, name: value}
    assert_refused(lambda: simulate_images(**arguments), ValueError, f"^{name}=.*; give an integer")


@pytest.mark.parametrize(
    ("images", "error", "match"),
    [
        (np.full((4, 3, 2), np.nan), ValueError, "images are tokens .* not finite"),
        (np.zeros((4, 3, 0)), ValueError, "images are tokens without features"),
        (np.zeros((1, 3)), ValueError, "at least two"),
        ([], ValueError, "images is empty"),
        (None, TypeError, "images is a NoneType"),
        ("x.png", TypeError, "images is one path"),
    ],
)
def test_simulate_epochs_of_what_are_no_images(images, error, match):
    assert_refused(lambda: simulate_epochs(images), error, match)


# images ------------------------------------------------------------------------------------------
FILES = [
    ("header.png", ValueError, "damaged or cut off"),
    ("half.png", ValueError, "damaged or cut off"),
    ("zero.png", ValueError, "not an image of a format that is read"),
    ("text.png", ValueError, "not an image of a format that is read .*save it as PNG"),
    ("tiff.tif", ValueError, "not an image of a format that is read"),
    ("really.tif", ValueError, "not an image of a format that is read"),
    ("drawing.eps", ValueError, "not an image of a format that is read"),
    ("huge.png", ValueError, "12000 x 12000 pixels are more than are read"),
    ("nothing.png", FileNotFoundError, "there is no such file"),
    ("new", ValueError, "is a folder"),
    ("a file/below.png", ValueError, "a file/below.png"),
    ("a\0b.png", ValueError, "null"),
]


@pytest.mark.parametrize(("name", "error", "match"), FILES, ids=lambda value: repr(value)[:20])
def test_image_files(there, name, error, match):
    message = assert_refused(lambda: load_rgb(there.f / name, 7), error, match)
    assert message.startswith("images[7], ")
    assert name.split("\0")[0] in message


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (Image.new("RGB", (0, 5)), r"images\[3\]: 0 x 5 pixels are no image"),
        (Image.fromarray(np.full((2, 2), np.nan, np.float32)), r"images\[3\] has pixels .*finite"),
        (Image.fromarray(np.float32([[np.inf, 0]])), r"images\[3\] has pixels .*finite"),
        ("q" * 300 + ".png", r"images\[3\], 'qqq.*too long"),
        ("/dev/zero", "this is not a file"),
    ],
)
def test_images_that_show_nothing(value, match):
    assert_refused(lambda: load_rgb(value, 3), ValueError, match)


@pytest.mark.parametrize("value", [None, 3, 1.5, {}, b"x.png", object(), io.BytesIO(b"x"), ["x"]])
def test_what_is_no_image(value):
    assert_refused(lambda: load_rgb(value), TypeError, r"images\[0\] is a \w+; expected a path")
    assert_refused(
        lambda: check_images([value]), TypeError, r"images\[0\] is a \w+; expected a path"
    )


@pytest.mark.parametrize(
    ("value", "error", "match"),
    [
        (None, TypeError, "images is a NoneType; give a list"),
        (3, TypeError, "images is a int; give a list"),
        ("x.png", TypeError, "images is one path"),
        (Image.new("RGB", (2, 2)), TypeError, "images is one image"),
        ([], ValueError, "images is empty"),
        ([np.zeros((3, 3))], ValueError, "expected uint8"),
        ([np.zeros((3, 3, 2), np.uint8)], ValueError, r"shape \(3, 3, 2\)"),
        ([np.zeros((0, 3, 3), np.uint8)], ValueError, r"shape \(0, 3, 3\)"),
        (np.zeros(3, np.uint8), ValueError, r"shape \(3,\)"),
        (np.zeros((2, 3, 3, 3, 3), np.uint8), ValueError, "shape"),
    ],
)
def test_what_are_no_images(value, error, match):
    assert_refused(lambda: check_images(value), error, match)


def test_an_image_that_may_not_be_read(there, monkeypatch):
    def closed(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Image, "open", closed)
    assert_refused(
        lambda: load_rgb(there.f / "new" / "0.png"), PermissionError, r"0\.png.*may not read"
    )


# figures -----------------------------------------------------------------------------------------
def r_map(there):
    r = there.evoked.copy()
    r.data = r.data / np.abs(r.data).max()
    return r


def hollow(there):
    r = there.evoked.copy()
    r.data[:] = np.nan
    return r


FIGURES = [
    *(("plot_prediction", lambda t, v=v: (v, t.evoked), {}, TypeError, "predicted is a")
      for v in (None, 3, "x", [])),
    ("plot_prediction", lambda t: (t.epochs, t.evoked), {}, TypeError, "average them first"),
    ("plot_prediction", lambda t: (t.evoked, None), {}, TypeError, "recorded is a NoneType"),
    ("plot_prediction", lambda t: (t.evoked, hollow(t)), {}, ValueError, "recorded has values"),
    *(("plot_prediction", lambda t: (t.evoked, t.evoked), {"labels": v}, ValueError, "labels=")
      for v in (("one",), "ab", ("a", "b", "c"))),
    *(("plot_prediction", lambda t: (t.evoked, t.evoked), {"times": v}, ValueError, "times=")
      for v in ([99], [NAN], [100.0, 200.0], "never", [-1])),
    ("plot_prediction", lambda t: (t.evoked, t.evoked), {"ch_type": "mag"}, ValueError, "mag"),
    ("plot_prediction", lambda t: (t.evoked, t.evoked.copy().crop(0, 0.1)), {}, ValueError,
     "different times"),
    ("plot_prediction", lambda t: (t.evoked, t.evoked), {"axes": plt.figure().subplots()},
     ValueError, "this figure needs"),
    *(("plot_score_joint", lambda t, v=v: (v,), {}, TypeError, "r is a") for v in (None, 3, "x")),
    ("plot_score_joint", lambda t: (hollow(t),), {}, ValueError, "r has values at no sensor"),
    ("plot_score_joint", lambda t: (r_map(t),), {"times": [7]}, ValueError, "times="),
    ("plot_r_time", lambda t: ({},), {}, ValueError, "r is empty"),
    ("plot_r_time", lambda t: (None,), {}, TypeError, "r.* is a NoneType"),
    ("plot_r_time", lambda t: ({"a": 3},), {}, TypeError, r"r\['a'\] is a int"),
    ("plot_r_time", lambda t: ({"a": hollow(t)},), {}, ValueError, r"r\['a'\] has values at no"),
    ("plot_r_time", lambda t: (r_map(t), "x"), {}, TypeError, "ceiling is a str"),
    *(("plot_r_time", lambda t: (r_map(t),), {"window": v}, ValueError, "window")
      for v in ((0.5, 0.1), (0.1,), "x", 3, (NAN, 1))),
    ("plot_calibration", lambda t: ([],), {}, ValueError, "ranks of 'prediction' has shape"),
    ("plot_calibration", lambda t: ({},), {}, ValueError, "ranks is empty"),
    ("plot_calibration", lambda t: ("x",), {}, ValueError, "give a row of numbers"),
    ("plot_calibration", lambda t: ([1, -1, 2],), {}, ValueError, "counts are 0 or more"),
    ("plot_calibration", lambda t: ([0, 0],), {}, ValueError, "not all 0"),
    ("plot_calibration", lambda t: (np.ones((2, 2)),), {}, ValueError, "shape"),
    ("plot_identification", lambda t: ({}, {}), {}, ValueError, "over_time is empty"),
    ("plot_identification", lambda t: (3, {}), {}, TypeError, "over_time is a int"),
    ("plot_identification", lambda t: ({"a": ([0, 1], [1, 1])}, {}), {}, ValueError, "n_way is"),
    ("plot_identification", lambda t: ({"a": ([0, 1], [1])}, {"a": ([2], [1])}), {}, ValueError,
     r"over_time\['a'\]\[1\] has shape"),
    ("plot_identification", lambda t: ({"a": 3}, {"a": ([2], [1])}), {}, ValueError,
     r"over_time\['a'\] is not a pair"),
    ("plot_identification", lambda t: ({"a": ([0], [1])}, {"b": ([2], [1])}), {}, ValueError,
     "over_time is of"),
    ("plot_rsa", lambda t: ({},), {}, ValueError, "values is empty"),
    ("plot_rsa", lambda t: ([],), {}, TypeError, "values is a list"),
    ("plot_rsa", lambda t: ({"a": ([0, 1], [1])},), {}, ValueError, r"values\['a'\]\[1\]"),
    ("plot_spectra", lambda t: ([1, 2, 3], {"a": [1, 2]}, [1, 2, 3]), {}, ValueError,
     r"spectra\['a'\] has shape \(2,\); expected \(3,\)"),
    ("plot_spectra", lambda t: ([1, 2, 3], {"a": [1, 2, 3]}, [1]), {}, ValueError, "real has"),
    ("plot_spectra", lambda t: ([], {}, []), {}, ValueError, "freqs has shape"),
    ("plot_spectra", lambda t: ([1, 2], {}, [1, 2]), {}, ValueError, "spectra is empty"),
    ("plot_spectra", lambda t: ([1, 2], {"a": [1, 2]}, [1, 2]), {"fmax": -1}, ValueError,
     "fmax=-1"),
    ("plot_trial_sd", lambda t: ([0, 1], {"a": [1]}, [1, 1]), {}, ValueError, r"sd\['a'\] has"),
    ("plot_trial_sd", lambda t: ([0, 1], {"a": [1, 1]}, [1]), {}, ValueError, "real has shape"),
    ("plot_trial_sd", lambda t: ([0, 1], {}, [1, 1]), {}, ValueError, "sd is empty"),
    ("plot_trial_sd", lambda t: ([0, 1], {"a": [1, 1]}, [1, 1]), {"window": (1, 0)}, ValueError,
     "window="),
    ("plot_phosphenes", lambda t: ("x",), {}, TypeError, "images is a str; give a dict"),
    ("plot_phosphenes", lambda t: ({},), {}, ValueError, "images is empty"),
    ("plot_phosphenes", lambda t: ({"a": np.zeros(3)},), {}, ValueError, "Image 'a' has shape"),
    ("plot_phosphenes", lambda t: ({"a": np.zeros((3, 3))}, "x"), {}, TypeError,
     "responses is a str"),
    ("plot_phosphenes", lambda t: ({"a": np.zeros((3, 3))}, {"a": 3}), {}, TypeError,
     r"responses\['a'\] is a int"),
    ("plot_phosphenes", lambda t: ({"a": np.zeros((3, 3))}, {"b": t.evoked}), {}, ValueError,
     "without a response: a"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "given", "more", "error", "match"), FIGURES)
def test_figures(there, name, given, more, error, match):
    assert_refused(lambda: getattr(viz, name)(*given(there), show=False, **more), error, match)


# evaluate ----------------------------------------------------------------------------------------
EVALUATE = [
    *(("encoder", value, TypeError, "encoder 'encoder' is a .*give a fitted encoder")
      for value in (None, "x", 3, [])),
    ("encoder", ImageToBrainEncoder, TypeError, "give a fitted encoder"),
    ("encoder", {}, ValueError, "encoder is an empty dict"),
    ("encoder", {"a": None}, TypeError, "encoder 'a' is a NoneType"),
    ("encoder", ImageToBrainEncoder(), NotFittedError, "encoder 'encoder' is not fitted"),
    *(("level", value, ValueError, "level=.*give a number > 0 and < 1")
      for value in (0, 1, 2, 95, -1, NAN, "x", None, True)),
    *(("window", value, ValueError, "^window=.*give its first and its last second")
      for value in (None, 3, "ab", (0.1,), (0.5, 0.1), (0.1, 0.1), (NAN, 1), (0, INF), (1, 2, 3))),
    *(("draw_window", value, ValueError, "draw_window=") for value in (None, 3, (0.5, 0.1))),
    *(("components", value, ValueError, "components")
      for value in (3, [], {"P1": (0.1, 0.2)}, {"P1": (0.2, 0.1, "pos")}, {"P1": 3},
                    {"P1": (0.1, 0.2, "up")})),
    *(("bands", value, ValueError, "bands")
      for value in (3, {"a": 3}, {"a": (12, 8)}, {"a": (-1, 8)})),
    *(("classifiers", value, ValueError, "classifiers") for value in ("x", 3, {"a": 3})),
    *(("n_draws", value, ValueError, "n_draws=") for value in (-1, 1, 2.5, "x", None)),
    *(("n_splits", value, ValueError, "n_splits=") for value in (0, -1, 2.5, "x")),
    *(("n_bootstrap", value, ValueError, "n_bootstrap=") for value in (0, 1, "x")),
    *(("random_state", value, ValueError, "random_state=") for value in (-1, "x", None)),
    *(("allow_training_images", value, ValueError, "give True or False") for value in ("x", 1)),
    ("epochs", {}, ValueError, "epochs is an empty dict"),
    *(("epochs", value, (TypeError, ValueError), "epochs") for value in (None, 3, "x", [])),
    ("image_ids", {"a": "image_id"}, ValueError, "image_ids is a dict, but epochs is none"),
    ("image_ids", "nothing", ValueError, "nothing"),
    ("captions", ["one"], ValueError, "1 captions for 4 images"),
    ("labels", [1, 2], ValueError, "2 labels for 4 images"),
    ("labels", [[1], [2], [1], [2]], ValueError, r"labels has shape \(4, 1\); give one label"),
    ("labels", [1, NAN, 2, 2], ValueError, r"labels\[1\] is nan"),
    ("encoder", {3: "x"}, TypeError, "An encoder is named 3; give a name, a str"),
    ("training_epochs", "x", TypeError, "training_epochs is a str; give mne.Epochs"),
    ("random_state", np.random.default_rng(0), ValueError, "random_state=.*give an integer >= 0"),
    ("captions", 3, TypeError, "captions is a int; give a list"),
    ("image_ids", np.arange(8) / 2, ValueError, "whole numbers, but trial 1 has 0.5"),
    ("images", b"x.png", TypeError, r"images\[0\] is a int"),
    ("images", [], ValueError, "images is empty"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "error", "match"), EVALUATE)
def test_evaluate(there, name, value, error, match):
    given = {"encoder": there.encoder, "images": there.new, "epochs": there.test,
             "image_ids": "image_id", "n_draws": 0, "n_splits": 2, "n_bootstrap": 2}  # fmt: skip
    assert_refused(lambda: evaluate(**{**given, name: value}), error, match)


def test_evaluate_by_subject(there):
    both = {"a": there.test, "b": there.test}
    for name, value in [("image_ids", {"a": "image_id"}), ("training_epochs", {"b": there.test})]:
        given = {"image_ids": "image_id", name: value}
        message = f"{name} has no entry for"
        assert_refused(lambda given=given: evaluate(there.encoder, there.new, both, **given),
                ValueError, message)  # fmt: skip
    assert_refused(
        lambda: evaluate(there.encoder, there.new, both, subject="a"), ValueError, "subject='a'"
    )


# the encoder -------------------------------------------------------------------------------------
ENCODER = [
    ("predict", lambda t: (None,), {}, TypeError, "images is a NoneType"),
    ("predict", lambda t: ([],), {}, ValueError, "images is empty"),
    ("predict", lambda t: ("x.png",), {}, TypeError, "images is one path"),
    ("predict", lambda t: ([t.f / "nothing.png"],), {}, FileNotFoundError, r"nothing\.png"),
    ("predict", lambda t: (np.zeros((2, 3, 5)),), {}, ValueError, "features"),
    ("predict", lambda t: (str(t.f / "objects.npy"),), {}, ValueError, r"objects\.npy"),
    ("predict", lambda t: (str(t.f / "nothing.npy"),), {}, FileNotFoundError, r"nothing\.npy"),
    ("predict", lambda t: (t.new,), {"captions": ["a"] * 4}, ValueError, "takes none"),
    ("predict", lambda t: (t.new,), {"captions": "a"}, ValueError, "captions is one string"),
    ("predict", lambda t: (t.new,), {"captions": ["a"]}, ValueError, "1 captions for 4 images"),
    ("predict", lambda t: (t.new,), {"captions": [1, 2, 3, 4]}, ValueError, "Caption 0 is a int"),
    ("predict", lambda t: (t.new,), {"subject": "z"}, ValueError, "'z'"),
    ("score", lambda t: (t.new, t.test), {"image_ids": "nothing"}, ValueError, "nothing"),
    ("score", lambda t: (t.new, t.test), {"image_ids": [0]}, ValueError, "image_ids|trials"),
    ("score", lambda t: (t.new[:2], t.test), {"image_ids": "image_id"}, ValueError, "range"),
    ("fit", lambda t: (t.new, t.test), {"image_ids": "nothing"}, ValueError, "nothing"),
    ("fit", lambda t: (t.new, t.test), {}, ValueError, "4 images, but 8 trials"),
    ("fit", lambda t: (None, t.test), {}, TypeError, "images is a NoneType"),
    ("save", lambda t: (None,), {}, TypeError, "fname is a NoneType"),
    ("save", lambda t: (t.f / "encoder",), {}, FileExistsError, "overwrite=True"),
    ("save", lambda t: (t.f / "new",), {"overwrite": True}, FileExistsError, "not a saved encoder"),
    ("save", lambda t: (t.f / "a file",), {"overwrite": True}, FileExistsError, "is a file"),
    ("save", lambda t: (t.f / "a file" / "x",), {}, OSError, "a file is a file"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "given", "more", "error", "match"), ENCODER)
def test_encoder(there, method, given, more, error, match):
    before = sorted(path.name for path in there.f.rglob("*"))
    state = dict(vars(there.encoder))
    assert_refused(lambda: getattr(there.encoder, method)(*given(there), **more), error, match)
    assert vars(there.encoder).keys() == state.keys()
    assert all(value is state[name] for name, value in vars(there.encoder).items())
    assert sorted(path.name for path in there.f.rglob("*")) == before


def as_given(epochs, given):
    """Epochs of some kind that are not what is asked for."""
    data, info, table, bad = epochs.get_data(), epochs.info, epochs.metadata, epochs.copy()
    bad.info["bads"] = bad.ch_names
    kinds = {
        "dropped": lambda: epochs.copy().drop(range(len(epochs)), verbose="error"),
        "bads": lambda: bad,
        "stim": lambda: mne.EpochsArray(data[:, :2], mne.create_info(2, 30.0, "stim")),
        "one time": lambda: mne.EpochsArray(data[:, :, :1], info, tmin=0.1, metadata=table),
        "one channel": lambda: epochs.copy().pick(["Oz"]),
        "hilbert": lambda: epochs.copy().apply_hilbert(),
        "tfr": lambda: epochs.compute_tfr("morlet", freqs=[6.0], n_cycles=2),
        "psd": epochs.compute_psd,
        "evoked": epochs.average,
        "raw": lambda: mne.io.RawArray(data[0], info),
        "path": lambda: "x-epo.fif",
        "array": lambda: data,
        "generator": lambda: iter([epochs]),
        "set": lambda: {epochs},
        "empty": list,
        "nothing": dict,
        "None": lambda: [None],
        "dict of None": lambda: {"a": None},
        "ragged": lambda: [epochs, epochs.copy().crop(0, 0.3)],
        "slower": lambda: [epochs, epochs.copy().resample(15.0)],
    }
    with mne.use_log_level("error"):
        return kinds[given]()


OF_NO_KIND = "give mne.Epochs, mne.Evoked, a list of these"
KINDS = [
    ("dropped", ValueError, "epochs has 0 trials left|at least 1"),
    (
        "bads",
        ValueError,
        "No channel of epochs is left.*33 of them bad|is a good channel of epochs",
    ),
    ("stim", ValueError, "No channel of epochs is left|is a good channel of epochs"),
    ("hilbert", ValueError, "epochs holds complex data"),
    ("tfr", TypeError, f"epochs is a EpochsTFR; {OF_NO_KIND}"),
    ("psd", TypeError, f"epochs is a EpochsSpectrum; {OF_NO_KIND}"),
    (
        "evoked",
        ValueError,
        "4 images, but 1 trials|epochs has 1 trial left|epochs.metadata is None",
    ),
    ("raw", TypeError, f"epochs is a RawArray; {OF_NO_KIND}"),
    ("path", TypeError, f"epochs is a str; {OF_NO_KIND}"),
    ("array", TypeError, f"epochs is a ndarray; {OF_NO_KIND}.*mne.EpochsArray"),
    ("generator", TypeError, f"epochs is a list_iterator; {OF_NO_KIND}"),
    ("set", TypeError, f"epochs is a set; {OF_NO_KIND}"),
    ("empty", ValueError, "epochs is an empty list"),
    ("nothing", ValueError, "epochs is an empty dict"),
    ("None", TypeError, r"epochs\[0\] is a NoneType"),
    ("dict of None", TypeError, r"epochs(\['a'\])? is a NoneType"),
    ("ragged", ValueError, r"epochs\[1\] has 10 times"),
    ("slower", ValueError, r"epochs\[1\] has a sampling rate of 15 Hz"),
    ("one time", ValueError, "epochs has 1 times from 0.1 to 0.1 s.*use epochs.crop"),
    ("one channel", ValueError, "32 of the 33 channels of the training data are missing in epochs"),
]


@pytest.mark.filterwarnings("ignore:epochs._get_data")
@pytest.mark.parametrize("method", ["fit", "score", "evaluate"])
@pytest.mark.parametrize(("given", "error", "match"), KINDS)
def test_what_are_no_epochs(there, method, given, error, match):
    if method == "fit" and given.startswith("one "):
        pytest.skip("one sensor, or one time, can be learnt")
    epochs, new = as_given(there.test, given), there.new
    call = {
        "fit": lambda: there.blank.fit(new, epochs, image_ids="image_id"),
        "score": lambda: there.encoder.score(new, epochs, image_ids="image_id"),
        "evaluate": lambda: evaluate(there.encoder, new, epochs, image_ids="image_id", n_draws=0),
    }
    assert_refused(call[method], error, match)
    assert not hasattr(there.blank, "regressor_")


def test_one_time_can_be_learnt_and_not_judged(there):
    epochs = as_given(there.epochs, "one time")
    encoder = ImageToBrainEncoder(GaborEmbedder(size=32, n_scales=2), Ridge())
    encoder.fit(there.images, epochs, image_ids="image_id")
    given = {"image_ids": "image_id", "allow_training_images": True}
    call = lambda: evaluate(encoder, there.images, epochs, **given)  # noqa: E731
    assert_refused(call, ValueError, "epochs has one time; judging needs at least two")


IDS = [
    (lambda i: i + 0.5, "image_ids should hold whole numbers, but trial 0 has"),
    (lambda i: np.where(i == 3, np.nan, i), "image_ids should hold whole numbers.*nan"),
    (lambda i: i > 1, "image_ids has the type bool"),
    (lambda i: i.astype(complex), "image_ids has the type complex128"),
    (lambda i: i.astype("datetime64[s]"), "image_ids has the type datetime64"),
    (lambda i: np.array([*i[:-1], "x"], dtype=object), "image_ids holds names .*not paths"),
    (lambda i: [None] * len(i), "image_ids holds names .*not paths"),
    (lambda i: i[:, None], r"image_ids has shape \(8, 1\), but there are 8 trials"),
    (lambda i: iter(i), r"image_ids has shape \(\), but there are 8 trials"),
    (lambda i: i - 1, "image_ids: -1 is out of range"),
    (lambda i: {0: 1}, "image_ids is a dict, which has no order"),
]


@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize(("made", "match"), IDS)
def test_ids_that_are_none(there, made, match, column):
    epochs, ids = there.test.copy(), made(there.test.metadata["image_id"].to_numpy())
    if column:
        if np.shape(ids) != (8,):
            pytest.skip("no column of a table")
        epochs.metadata = epochs.metadata.assign(image_id=ids)
        ids, match = "image_id", "The metadata column 'image_id' |'image_id'"
    error = (TypeError, ValueError)
    assert_refused(lambda: there.blank.fit(there.new, epochs, image_ids=ids), error, match)


PARTS = [
    *(("embedder", value, "embedder is .*; give a transformer, such as ClipEmbedder")
      for value in (3, "clip", GaborEmbedder, Ridge(), object())),
    *(("regressor", value, "regressor is .*; give one, such as DiffusionRegressor")
      for value in (3, "ridge", Ridge, GaborEmbedder(), object())),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "match"), PARTS)
def test_parts_that_are_none(there, name, value, match):
    parts = {"embedder": GaborEmbedder(size=32, n_scales=2), "regressor": Ridge(), name: value}
    assert_refused(
        lambda: ImageToBrainEncoder(**parts).fit(there.new, there.test), TypeError, match
    )


SAMPLE = [
    *(("n_draws", value, ValueError, "n_draws=.*; give an integer >= 1")
      for value in (0, -1, 1.5, True, "x", None, NAN, [2])),
    *(("n_averaged", value, ValueError, "n_averaged=.*; give an integer >= 1")
      for value in (0, 1.5, "x", None)),
    *(("first_image", value, ValueError, "first_image=.*; give an integer >= 0")
      for value in (-1, 1.5, "x", None)),
    *(("random_state", value, ValueError, "random_state=.*give")
      for value in (-1, 1.5, "x", [1], True, np.random)),
    *(("guidance_scale", value, ValueError, "guidance_scale=.*leave it at 1.0")
      for value in (NAN, "x", None, 2)),
    *(("captions", value, (TypeError, ValueError), "captions") for value in (3, [], [None] * 4)),
    *(("metadata", value, TypeError, "metadata is a .*; give a pandas.DataFrame")
      for value in ({}, 3, pd.Series([1, 2, 3, 4]))),
    ("metadata", pd.DataFrame({"a": [1]}), ValueError, "metadata has 1 rows, but there are 4"),
    *(("event_id", value, (TypeError, ValueError), "event_id")
      for value in (3, [], "x", ["a"], {"a": 1.5}, {"a": "b"}, {"a": 2**40}, [None] * 4,
                    {"a", "b", "c", "d"})),
    *(("subject", value, ValueError, "subject=.* was not in fit") for value in (3, "", "z", ["a"])),
]  # fmt: skip


@pytest.fixture(scope="module")
def drawing(there):
    encoder = ImageToBrainEncoder(GaborEmbedder(size=32, n_scales=2), RidgeGaussian())
    return encoder.fit(there.images, there.epochs, image_ids="image_id")


@pytest.mark.parametrize(("name", "value", "error", "match"), SAMPLE)
def test_sample(there, drawing, name, value, error, match):
    assert_refused(lambda: drawing.sample(there.new, **{name: value}), error, match)


def test_more_draws_than_memory_holds(there, drawing):
    for n_draws in (10**8, 10**9, 2**70):
        with pytest.raises(MemoryError, match="The draws take .* GiB .*write_generated"):
            drawing.sample(there.new, n_draws)


WRITE = [
    *(("fname", value, TypeError, "fname is a") for value in (None, 3, b"x-epo.fif")),
    *(("fname", value, ValueError, "fname=") for value in ("", "x.fif", "a\0-epo.fif")),
    ("fname", "a file/x-epo.fif", OSError, "a file is a file"),
    *(("encoder", value, TypeError, "encoder is .*; give a fitted ImageToBrainEncoder")
      for value in (None, "x", ImageToBrainEncoder, Ridge())),
    ("images", [], ValueError, "images is empty"),
    ("images", ["nowhere.png"], FileNotFoundError, r"images\[0\], 'nowhere.png': there is no such"),
    ("images", iter("ab"), ValueError, "n_images=None; images is an iterator"),
    *(("n_draws", value, ValueError, "n_draws=") for value in (0, -1, 1.5, "x", True)),
    ("n_draws", 10**12, ValueError, "a FIF file counts samples"),
    ("n_images", 3, ValueError, "n_images=3, but there are 4 images"),
    *(("part_size", value, ValueError, "part_size=") for value in (0, 1.5, "x")),
    *(("n_jobs", value, ValueError, "n_jobs=") for value in (0, 1.5, "x")),
    *(("fmt", value, ValueError, "fmt=") for value in ("x", None)),
    ("captions", 3, TypeError, "captions is a int"),
    ("subject", "z", ValueError, "subject='z' was not in fit"),
    ("event_id", ["a"], ValueError, "event_id has 1 conditions"),
    ("sharpness", 2, TypeError, "sharpness"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "error", "match"), WRITE)
def test_write_generated(there, tmp_path, drawing, name, value, error, match, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a file").write_text("text")
    given = {"fname": "x-epo.fif", "encoder": drawing, "images": there.new, name: value}
    assert_refused(lambda: write_generated(**given), error, match)
    assert os.listdir() == ["a file"]


@pytest.mark.parametrize("value", [3, None, b"x", ""])
def test_from_pretrained_of_no_name(value):
    error = ValueError if value == "" else TypeError
    assert_refused(lambda: ImageToBrainEncoder.from_pretrained(value), error, "repo_id")


@pytest.mark.parametrize("method", ["predict", "score", "score_evoked", "save"])
def test_before_fit(there, method):
    given = {"predict": (there.new,), "save": (there.f / "x",)}.get(method, (there.new, there.test))
    assert_refused(lambda: getattr(there.blank, method)(*given), NotFittedError, "fit")


@pytest.mark.parametrize(
    ("fname", "more", "error", "match"),
    [
        (None, {}, TypeError, "fname is a NoneType"),
        (3, {}, TypeError, "fname is a int"),
        ("nowhere", {}, FileNotFoundError, "nowhere holds no saved encoder"),
        ("", {}, ValueError, "not the name of a file"),
        (
            "encoder",
            {"embedder": "clip"},
            TypeError,
            "embedder is a str; give a fitted transformer",
        ),
        ("encoder", {"embedder": Ridge()}, TypeError, "embedder is a Ridge"),
    ],
)
def test_read_encoder(there, fname, more, error, match):
    fname = there.f / fname if fname == "encoder" else fname
    assert_refused(lambda: read_encoder(fname, **more), error, match)


# readers -----------------------------------------------------------------------------------------
@pytest.fixture
def eeg(tmp_path):
    """The dict of NICE's files under a subject, and a way to change it."""
    made.write_metadata(tmp_path)
    made.write_nice(tmp_path)
    file = tmp_path / "sub-01" / "preprocessed_eeg_training.npy"
    (tmp_path / "sub-01" / "preprocessed_eeg_test.npy").unlink()
    content = pickle.loads(file.read_bytes())

    def change(**entries):
        file.write_bytes(pickle.dumps(content | entries, protocol=4))
        return tmp_path

    return change


def damaged(value):
    data = np.array(made.make_data("train", 63, 250))
    data[0] = value
    return data


EEG = [
    *(("path", value, TypeError, "path is a") for value in (None, 3, b"x")),
    ("path", "nowhere", FileNotFoundError, "no folder nowhere"),
    *(("subject", value, ValueError, "subject=") for value in (0, -1, "x", None, 1.5)),
    *(("split", value, ValueError, "split=") for value in ("val", None, 3)),
    *(("variant", value, ValueError, "variant=") for value in ("mine", None)),
    *(("average", value, ValueError, "average=.*give True or False") for value in ("x", None, 1)),
    *(("mvnn", value, ValueError, "mvnn=") for value in ("x", 1)),
    *(("channels", value, TypeError, "channels=.*give a list of names")
      for value in ("Oz", 3, [1])),
    ("channels", [], ValueError, "channels is empty"),
    ("channels", ["Oz", "Oz"], ValueError, "channels names a channel twice"),
    ("channels", ["A1"], ValueError, "channels: A1 not in"),
    *(("tmin", value, ValueError, "tmin") for value in ("x", NAN, -9, 100.0)),
    *(("tmax", value, ValueError, "tmax") for value in ("x", NAN, 99, -5)),
    *(("resample", value, ValueError, "resample=") for value in ("x", 0, -1, NAN, 1e6)),
    *(("baseline", value, ValueError, "baseline") for value in
      (3, "none", (0.1,), (5, 6), ("a", "b"), (0.3, 0.1))),
    *(("metadata", value, (ValueError, TypeError), "metadata") for value in ({}, 3, {"a": 1})),
    ("metadata", "nowhere.npy", FileNotFoundError, "nowhere.npy"),
    ("images_dir", "nowhere", FileNotFoundError, "nowhere"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "error", "match"), EEG)
def test_things_eeg2_asked_for_what_it_does_not_have(eeg, name, value, error, match):
    given = {"path": eeg(), name: value}
    assert_refused(lambda: things_eeg2.load(**given), error, match)


CONTENT = [
    ("ch_names", None, "'ch_names' is 'None'"),
    ("ch_names", "Oz", "expected names of channels"),
    ("ch_names", list(range(63)), "expected names of channels"),
    ("ch_names", ["Oz", *made.NAMES_63[1:]], "'ch_names' has Oz more than once"),
    ("ch_names", made.NAMES_63[:5], "names 5 channels, but its data have 63"),
    ("ch_names", [*made.NAMES_63[:-1], "Q9"], "Channels Q9 are no sites"),
    ("times", None, "times"),
    ("times", ["a"] * 250, "lists times that are no numbers"),
    ("times", [NAN] * 250, "lists times that are not finite"),
    ("times", made.TIMES_300 * 1000, "should be seconds, not milliseconds"),
    ("times", made.TIMES_300[::-1], "not evenly spaced and rising"),
    ("times", made.TIMES_300[:9], "lists 9 times for 250 samples"),
    ("preprocessed_eeg_data", damaged(NAN), "not finite"),
    ("preprocessed_eeg_data", damaged(INF), "not finite"),
    ("preprocessed_eeg_data", 0 * damaged(0), "all zeros"),
    ("preprocessed_eeg_data", 1j * damaged(0), "complex"),
    ("preprocessed_eeg_data", damaged(0).astype(str), "type <U"),
    ("preprocessed_eeg_data", np.zeros((8, 0, 63, 250)), "no trials"),
    ("preprocessed_eeg_data", np.zeros(3), "expected 4 axes"),
    ("preprocessed_eeg_data", [1, 2], "expected 4 axes"),
    ("preprocessed_eeg_data", "x", "expected 4 axes"),
    ("preprocessed_eeg_data", made.make_data("test", 63, 250), "3 conditions"),
]


@pytest.mark.parametrize(("name", "value", "match"), CONTENT)
def test_things_eeg2_of_broken_files(eeg, name, value, match):
    assert_refused(lambda: things_eeg2.load(eeg(**{name: value})), ValueError, match)


@pytest.mark.parametrize("at", [1, 5])
def test_a_single_trial_that_is_not_finite_is_refused_where_it_is_read(eeg, at):
    data = np.array(made.make_data("train", 63, 250))
    data[at, 2, 3, 4] = NAN
    assert_refused(
        lambda: things_eeg2.load(eeg(preprocessed_eeg_data=data)), ValueError, "not finite"
    )


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f8'", "no whole NPY header"),
        (b"", "is empty"),
        (b"<html>", "neither an NPY file nor a whole pickle|asks for"),
        (pickle.dumps([1]), "lacks preprocessed_eeg_data"),
        (pickle.dumps({}), "lacks preprocessed_eeg_data"),
        (b"PK\x03\x04 and so on", "zip archive"),
    ],
)
def test_things_eeg2_files_that_are_none(eeg, content, match):
    root = eeg()
    (root / "sub-01" / "preprocessed_eeg_training.npy").write_bytes(content)
    message = assert_refused(lambda: things_eeg2.load(root), ValueError, match)
    assert "preprocessed_eeg_training.npy" in message


@pytest.mark.parametrize(
    "name", ["..", ".", "", "/etc/passwd", "../x.jpg", "a/b.jpg", "a\\b.jpg", "C:x"]
)
@pytest.mark.parametrize("key", ["train_img_files", "train_img_concepts"])
def test_names_in_metadata_stay_in_the_folder_of_images(eeg, key, name):
    root, lists = eeg(), made.image_metadata()
    lists[key] = [*lists[key][:-1], name]
    np.save(root / "image_metadata.npy", lists)
    message = assert_refused(
        lambda: things_eeg2.load(root), ValueError, "not the plain name of a file"
    )
    assert key in message
    assert_refused(lambda: things_eeg2.load(root, metadata=lists), ValueError, "not the plain name")


@pytest.mark.parametrize("name", ["../..", "images/../..", "a/../x.jpg", "x/..", "/"])
def test_names_in_ubp_files_stay_in_the_folder_of_images(tmp_path, name):
    import torch

    made.write_ubp(tmp_path)
    file = tmp_path / "sub-01" / "train.pt"
    content = torch.load(file, weights_only=False)
    content["img"][:] = "train_images/00001_aardvark/aardvark_01b.jpg"
    content["img"] = content["img"].astype(object)
    content["img"][0] = name
    torch.save(content, file)
    assert_refused(lambda: things_eeg2.load(tmp_path), ValueError, r"train\.pt.*(plain name|paths)")


class Payload:
    def __reduce__(self):
        return os.system, ("touch executed",)


def test_tensors_beside_a_payload(tmp_path, monkeypatch):
    import torch

    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub-01").mkdir()
    torch.save({"eeg": torch.zeros(3), "x": Payload()}, tmp_path / "sub-01" / "train.pt")
    message = assert_refused(lambda: things_eeg2.load(tmp_path), ValueError, r"train\.pt")
    assert "weights_only" not in message
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("content", "match"),
    [("text", "no JSON file"), ("[]", "lacks train_img_concepts"), ("{}", "lacks"),
     ("{" * 10_000, "no JSON file"), ('{"a": ' * 10_000, "no JSON file")],
)  # fmt: skip
def test_image_metadata_in_json(tmp_path, content, match):
    (tmp_path / "m.json").write_text(content)
    message = assert_refused(
        lambda: things_eeg2.read_image_metadata(tmp_path / "m.json"), ValueError, match
    )
    assert "m.json" in message


@pytest.mark.parametrize("value", [None, 3])
def test_image_metadata_of_no_path(value):
    assert_refused(lambda: things_eeg2.read_image_metadata(value), TypeError, "path is a")


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("test_img_files", "x", "test_img_files is no list"),
        ("test_img_files", ["x"], "different lengths"),
        ("test_img_files", None, "test_img_files is no list"),
    ],
)
def test_image_metadata_lists(tmp_path, key, value, match):
    (tmp_path / "m.json").write_text(json.dumps(made.image_metadata() | {key: value}))
    assert_refused(lambda: things_eeg2.read_image_metadata(tmp_path / "m.json"), ValueError, match)


@pytest.mark.parametrize("name", ["zero-epo.fif", "garbage-epo.fif", "text"])
def test_things_meg_files_that_are_none(there, tmp_path, name):
    file = tmp_path / "preprocessed_P1-epo.fif"
    if name == "text":
        file.write_text("not found")
    else:
        shutil.copy(there.f / name, file)
    message = assert_refused(lambda: things_meg.load(tmp_path), ValueError, "no FIF file|is empty")
    assert "preprocessed_P1-epo.fif" in message


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [("path", None, TypeError), ("subject", "x", ValueError), ("split", "val", ValueError),
     ("variant", "x", ValueError), ("protocol", "x", ValueError), ("average", "x", ValueError),
     ("tmin", "x", ValueError), ("tmax", NAN, ValueError), ("resample", -1, ValueError)],
)  # fmt: skip
def test_things_meg_asked_for_what_it_does_not_have(tmp_path, name, value, error):
    assert_refused(lambda: things_meg.load(**{"path": tmp_path, name: value}), error, name)


def test_things_meg_metadata_stays_in_its_folder():
    from mne_img2brain.datasets.things_meg_images import choose_trials

    table = pd.DataFrame({"trial_type": ["exp"], "session_nr": [1], "run_nr": [1],
                          "image_path": ["images_meg/../../secret.jpg"]})  # fmt: skip
    assert_refused(
        lambda: choose_trials(table, None, "train", "standard"), ValueError, "image_path"
    )


@pytest.mark.parametrize("where", [0x64000000, 60])
def test_tags_in_a_circle_behind_a_list_of_tags_that_is_none(there, tmp_path, where):
    """MNE looks for the list, finds none, and follows the tags: for ever, until memory is full."""
    content = bytearray((there.f / "test-epo.fif").read_bytes())
    content[52:56] = where.to_bytes(4, "big")
    (tmp_path / "x-epo.fif").write_bytes(content)
    assert len(read_epochs(tmp_path / "x-epo.fif")) == 8  # as long as they lead to its end
    content[68:72] = (36).to_bytes(4, "big")  # the third tag: the second is next
    (tmp_path / "x-epo.fif").write_bytes(content)
    match = r"x-epo\.fif' is no FIF file, or damaged near byte 56"
    assert_refused(lambda: read_epochs(tmp_path / "x-epo.fif"), ValueError, match)


# the command line --------------------------------------------------------------------------------
FIT = ["fit", "{f}/new", "{f}/test-epo.fif", "--image-ids", "file", "--preset", "ridge",
       "--embedder", "gabor", "--out", "{out}"]  # fmt: skip
PREDICT = ["predict", "{f}/encoder", "{f}/new", "--out", "{out}-epo.fif"]
EVAL = ["evaluate", "{f}/encoder", "{f}/new", "{f}/test-epo.fif", "--image-ids", "file",
        "--draws", "0", "--out", "{out}"]  # fmt: skip


def but(words, old, *new):
    """A command with one word changed."""
    return [part for word in words for part in (new if word == old else [word])]


COMMANDS = [
    ([], "COMMAND"),
    (["fly"], "fly"),
    (["fit"], "IMAGES"),
    (but(FIT, "{f}/new", "nowhere"), "IMAGES: there is no file or folder 'nowhere'"),
    (but(FIT, "{f}/new", "{f}/binary.txt"), "IMAGES: .*binary.txt' is no text in UTF-8"),
    (but(FIT, "{f}/new", "{f}/empty.txt"), "IMAGES: the list .* is empty"),
    (but(FIT, "{f}/new", "{f}/empty.csv"), "IMAGES: .*empty.csv' is no table"),
    (but(FIT, "{f}/new", "{f}/other.csv"), "IMAGES: .*call the one with the paths 'image'"),
    (but(FIT, "{f}/new", "{f}/missing.csv"), "1 of 1 images of .* are not there"),
    (but(FIT, "{f}/new", "{f}/text"), "There are no images"),
    (but(FIT, "{f}/new", "metadata:"), "without the name of a column"),
    (but(FIT, "{f}/new", "{f}/test-epo.fif"), "is a .fif file"),
    (but(FIT, "{f}/test-epo.fif", "nowhere-epo.fif"), "EPOCHS: there is no file"),
    (but(FIT, "{f}/test-epo.fif", "{f}/zero-epo.fif"), "EPOCHS: .*zero-epo.fif' is empty"),
    (but(FIT, "{f}/test-epo.fif", "{f}/garbage-epo.fif"), "EPOCHS: .*is no FIF file"),
    (
        but(FIT, "{f}/test-epo.fif", "{f}/cut-epo.fif"),
        "EPOCHS: .*cut-epo.fif' is no FIF file, or damaged",
    ),
    (but(FIT, "file", "nothing"), "nothing"),
    ([*FIT, "--captions", "nowhere.txt"], "--captions: 'nowhere.txt' cannot be read"),
    ([*FIT, "--captions", "{f}/binary.txt"], "--captions: .* is no text"),
    ([*FIT, "--captions", "{f}/captions.txt"], "--captions: .* has 2 lines for 4 images"),
    ([*FIT, "--picks", "nose"], "nose"),
    ([*FIT, "--max-iter", "5"], "--max-iter: --preset ridge"),
    ([*FIT, "--max-iter", "-5"], "--max-iter: '-5' is not a whole number from 0 up"),
    ([*FIT, "--seed", "x"], "--seed: 'x' is not a whole number"),
    ([*FIT, "--subject-column", "nothing"], "--subject-column nothing"),
    ([*FIT, "--groups", "nothing"], "nothing"),
    (but(FIT, "{out}", "{f}/a file"), "a file is a file"),
    (but(FIT, "{out}", "{f}/a file/below"), "could not be written: .*a file is a file"),
    (but(FIT, "{out}", "{f}/new"), "not a saved encoder"),
    (but(FIT, "{out}", "{f}/encoder"), "is there already; give another name or --overwrite"),
    ([*but(FIT, "{out}", "{f}/new"), "--overwrite"], "not a saved encoder"),
    (but(PREDICT, "{f}/encoder", "nowhere"), "nowhere holds no saved encoder"),
    (but(PREDICT, "{out}-epo.fif", "{out}.fif"), "ends in -epo.fif"),
    (but(PREDICT, "{out}-epo.fif", "{f}/a file/x-epo.fif"), "a file is a file"),
    ([*PREDICT, "--draws", "2"], "--draws 2, but the Ridge of this encoder draws no trials"),
    ([*PREDICT, "--draws", "-2"], "--draws: '-2' is not a whole number"),
    ([*PREDICT, "--draws", "9" * 12], f"is not a whole number from 0 up to {2**31 - 1}"),
    ([*PREDICT, "--guidance-scale", "2"], "--guidance-scale is of draws"),
    ([*PREDICT, "--guidance-scale", "nan"], "--guidance-scale: 'nan' is not a number"),
    ([*PREDICT, "--subject", "z"], "'z'"),
    (but(PREDICT, "{f}/new", "metadata:image"), "no epochs with metadata"),
    (["evaluate", "{f}/new", "{f}/test-epo.fif", "--out", "{out}"], "at least three names"),
    (but(EVAL, "{out}", "{f}/a file"), "a file is a file|is a file"),
    ([*EVAL, "--subject", "z"], "--subject z: no encoder knows this subject"),
    ([*EVAL, "--window", "0.6", "0.1"], r"--window \(0.6, 0.1\); give its first"),
    ([*EVAL, "--window", "0.6"], "--window"),
    ([*EVAL, "--draws", "1"], "--draws 1: draws are judged"),
    (but(EVAL, "file", "nothing"), "nothing"),
    (["ablate", "{f}/new", "{f}/test-epo.fif", "--out", "{f}/a file"], "is a file"),
    (["reproduce", "things-eeg2", "--data-dir", "nowhere", "--out", "{f}/a file"], "is a file"),
    (["reproduce", "things-fmri", "--data-dir", "nowhere", "--out", "{out}"], "things-fmri"),
]


@pytest.mark.parametrize(("words", "match"), COMMANDS, ids=lambda value: "")
def test_command_line(there, tmp_path, capsys, words, match):
    before = sorted(path.name for path in there.f.rglob("*"))
    out = tmp_path / "out"
    began = time.process_time()
    with pytest.raises(SystemExit) as stopped:
        main([word.format(f=there.f, out=out) for word in words])
    assert time.process_time() - began < 10
    assert stopped.value.code == 2
    *usage, line = capsys.readouterr().err.strip().splitlines()
    assert not usage or usage[0].startswith("usage:")
    assert "error: " in line
    assert re.search(match, line), line
    assert list(tmp_path.iterdir()) == []
    assert sorted(path.name for path in there.f.rglob("*")) == before


def test_what_memory_does_not_hold_is_said_in_a_line(there, tmp_path, capsys, monkeypatch):
    def full(*args, **kwargs):
        raise MemoryError("Unable to allocate 2 TiB")

    monkeypatch.setattr("mne_img2brain.evaluation.evaluate", full)
    with pytest.raises(SystemExit) as stopped:
        main([word.format(f=there.f, out=tmp_path / "out") for word in EVAL])
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "mne-img2brain evaluate: error: Unable to allocate 2 TiB\n"


def test_version(capsys):
    import mne_img2brain

    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert mne_img2brain.__version__ in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:There are 4 distinct images")
def test_an_encoder_that_cannot_go_where_it_should_is_saved_elsewhere(
    there, tmp_path, capsys, monkeypatch
):
    """The disk fills up during the fit."""
    out, real = tmp_path / "out", ImageToBrainEncoder.save

    def full(self, fname, **arguments):
        if str(fname) == str(out):
            raise OSError(28, f"{fname}/arrays.safetensors could not be written: disk full.")
        real(self, fname, **arguments)

    monkeypatch.setattr(ImageToBrainEncoder, "save", full)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    with pytest.raises(SystemExit) as stopped:
        main([word.format(f=there.f, out=out) for word in FIT])
    assert stopped.value.code == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "--out: " in line
    folder = line.split("The encoder is in ")[1].rstrip(".")
    assert len(read_encoder(folder).predict(there.new)) == 4
