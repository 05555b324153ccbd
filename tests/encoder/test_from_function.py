"""Models of others: stand-ins with the layouts, units and times of released encoders."""

import re
import sys
import types
from pathlib import Path

import mne
import numpy as np
import pytest

from mne_img2brain import GaborEmbedder, ImageToBrainEncoder, evaluate
from mne_img2brain.baselines import RidgeBaseline
from mne_img2brain.datasets import simulate_epochs, simulate_images

PAGE = Path(__file__).parents[2] / "doc" / "coming_from.rst"


@pytest.fixture(scope="module")
def recording():
    images, _ = simulate_images(60, random_state=0)
    epochs, truth = simulate_epochs(images, n_trials=3, snr=1.0, random_state=0)
    return images, epochs, truth


def known(images, truth):
    """A function that knows the true response to each image, by its content."""
    data = truth.get_data() * 1e6
    table = {image.tobytes(): response for image, response in zip(images, data, strict=True)}
    average = data.mean(axis=0)
    return lambda pixels: np.stack([table.get(one.tobytes(), average) for one in pixels])


@pytest.mark.parametrize("layout", ["plain", "repeats first", "time first"])
@pytest.mark.parametrize("unit", ["uV", "z"])
def test_predictions_are_the_function_s_in_volts(recording, layout, unit):
    images, _, truth = recording
    plain = known(images, truth)
    sd = np.linspace(1e-6, 3e-6, 33)
    given = {"uV": "uV", "z": sd}[unit]
    of_unit = {"uV": 1.0, "z": 1e-6 / sd[:, None]}[unit]
    predict, dimensions = {
        "plain": (lambda x: plain(x) * of_unit, ("image", "channel", "time")),
        # BERG: (n_images, n_repeats, n_channels, n_times); the repeats are averaged over
        "repeats first": (
            lambda x: np.stack([(k + 0.5) * plain(x) * of_unit / 2 for k in range(4)], axis=1),
            ("image", "draw", "channel", "time"),
        ),
        "time first": (
            lambda x: np.moveaxis(plain(x) * of_unit, 2, 0),
            ("time", "image", "channel"),
        ),
    }[layout]
    encoder = ImageToBrainEncoder.from_function(
        predict, truth.info, tmin=-0.1, layout=dimensions, unit=given, baseline=(-0.1, 0), size=96
    )
    expected = encoder.predict(images[[3, 1, 3]])
    assert isinstance(expected, mne.EpochsArray)
    np.testing.assert_allclose(expected.get_data(), truth.get_data()[[3, 1, 3]], atol=1e-15)
    np.testing.assert_array_equal(expected.times, truth.times)
    assert expected.ch_names == truth.ch_names
    assert not hasattr(encoder, "sample")


def test_it_stands_beside_a_fitted_encoder_in_evaluate(recording):
    images, epochs, truth = recording
    image_id = epochs.metadata["image_id"].to_numpy()
    train, test = (np.flatnonzero(chosen) for chosen in (image_id < 40, image_id >= 40))
    fitted = ImageToBrainEncoder(GaborEmbedder(), RidgeBaseline())
    fitted.fit(images, epochs[train], image_ids=image_id[train])
    other = ImageToBrainEncoder.from_function(
        known(images, truth), truth.info, tmin=-0.1, baseline=(-0.1, 0), size=96
    )
    result = evaluate(
        {"fitted": fitted, "other": other}, images, epochs[test], image_ids=image_id[test],
        n_draws=0, n_splits=5, n_bootstrap=20,
    )  # fmt: skip
    assert result.value("r", "other") > result.value("r", "fitted") + 0.1
    assert result.value("r", "other") > 0.4


def test_a_torch_model_that_takes_pil_images(recording):
    torch = pytest.importorskip("torch")
    from PIL import Image

    class Model(torch.nn.Module):
        def forward(self, images):
            assert all(isinstance(image, Image.Image) for image in images)
            light = torch.tensor([np.asarray(image).mean() for image in images])
            weight = torch.nn.Parameter(torch.ones(63, 80))
            return light[:, None, None] * weight

    model = Model()
    montage = mne.channels.make_standard_montage("biosemi64")
    info = mne.create_info(montage.ch_names[:63], 100.0, "eeg").set_montage(montage)
    encoder = ImageToBrainEncoder.from_function(
        lambda pixels: model([Image.fromarray(image) for image in pixels]), info, tmin=0.0
    )
    expected = encoder.predict(recording[0][:2])
    assert expected.times[[0, -1]].tolist() == [0.0, 0.79]
    light = [np.asarray(Image.fromarray(i).resize((224, 224), 3)).mean() for i in recording[0][:2]]
    np.testing.assert_allclose(expected.get_data()[:, 5, 7], 1e-6 * np.array(light), rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predict": 3}, "predict=3; give a function"),
        ({"info": None}, "give an mne.Info"),
        ({"layout": ("image", "time")}, "each once"),
        ({"layout": ("draw", "image", "channel", "time")}, "Give the layout it has"),
        ({"layout": ("image", "time", "channel")}, "returned 71 channels, info has 33"),
        ({"unit": "Volt"}, "unit='Volt'; give one of V, mV"),
        ({"unit": np.ones(5)}, "one for each of the 33 channels"),
        ({"predict": lambda x: np.full((2, 33, 71), np.nan)}, "not finite"),
    ],
)
def test_what_does_not_fit_is_an_error(recording, change, message):
    images, _, truth = recording
    arguments = {"predict": known(images, truth), "info": truth.info, "tmin": -0.1} | change
    with pytest.raises(ValueError, match=message):
        ImageToBrainEncoder.from_function(**arguments)


def blocks_of(section):
    """Return the code of a section of the page, block by block."""
    parts = re.split(r"\n(\S[^\n]*)\n-{3,}\n", PAGE.read_text())
    text = dict(zip(parts[1::2], parts[2::2], strict=True))[section]
    found = re.findall(r"code-block:: python\n\n((?:    .*\n|\n)+)", text)
    return [re.sub(r"^    ", "", block, flags=re.M) for block in found]


class Berg:
    """The documented signatures of BERG: arrays in, channels first; four repeats out."""

    def __init__(self, berg_dir):
        self.ch_names = ["Oz", "Pz", "Cz", "Fz"]

    def get_encoding_model(self, model_id, device="auto", selection=None, *, subject):
        assert model_id in {"eeg-things_eeg_2-vit_b_32", "meg-things_meg_1-vit_b_32"}
        return model_id[:3]

    def get_model_metadata(self, model_id, *, subject):
        assert model_id == "meg-things_meg_1-vit_b_32"
        names = np.array(["MLC11", "MRC11", "MZO01"])
        return {"meg": {"times": np.linspace(-0.1, 1.3, 281)}, "sensors": {"sensor_names": names}}

    def encode(self, model, stimulus, return_metadata=False, *, show_progress=True):
        assert stimulus.shape[1:] == (3, 224, 224)
        assert stimulus.dtype.kind in "iu"
        light = stimulus.mean(axis=(1, 2, 3))
        if model == "meg":
            return light[:, None, None] * np.ones((3, 281))
        repeats = np.linspace(0.5, 1.5, 4)[:, None, None]
        responses = light[:, None, None, None] * repeats * np.ones((4, 4, 140))
        times = np.arange(-0.1, 0.6, 0.005)[:140]
        metadata = {"eeg": {"ch_names": self.ch_names, "times": times}}
        return (responses, metadata) if return_metadata else responses


def test_calls_of_berg_on_the_page(recording, monkeypatch):
    """The page's code runs on a stand-in with the signatures of BERG's documentation."""
    monkeypatch.setitem(sys.modules, "berg", types.SimpleNamespace(BERG=Berg))
    images = recording[0][:3]
    theirs, _, ours, of_meg = blocks_of("BERG")
    names = {"images": np.zeros((2, 3, 224, 224), np.uint8), "mne": mne, "test_images": images,
             "ImageToBrainEncoder": ImageToBrainEncoder, "test_epochs": None,
             "evaluate": lambda *given: None}  # fmt: skip
    exec(theirs + ours, names)
    expected = names["theirs"].predict(images)
    assert expected.get_channel_types(unique=True) == ["csd"]
    assert expected.times[0] == -0.1
    assert len(expected.times) == 140
    light = expected.get_data()[:, 0, 0] / 1e-3
    np.testing.assert_allclose(light, images.mean(axis=(1, 2, 3)), rtol=0.02)
    exec(of_meg, names)
    expected = names["meg"].predict(images)
    assert expected.ch_names == ["MLC11", "MRC11", "MZO01"]
    np.testing.assert_allclose(expected.times[[0, -1]], [-0.1, 1.3])
    np.testing.assert_allclose(expected.get_data()[:, 2, 9] * 1e15, light, rtol=1e-6)


def test_calls_of_epfl_on_the_page(recording, monkeypatch):
    load, ours = blocks_of("EPFL's encoders")
    info = mne.create_info(["Oz", "Pz"], 100, "eeg")
    meg_info = mne.create_info(["MLO11", "MRO11"], 100, "mag")

    class AutoModel:
        @staticmethod
        def from_pretrained(name, *, revision, trust_remote_code):
            assert (revision, trust_remote_code) == ("v1", True)
            return {"epfl-neuroai/encoder-things-eeg2": 80, "epfl-neuroai/encoder-things-meg": 130}[
                name
            ]

    def predict(n_times, images):
        light = [np.asarray(image).mean() for image in images]
        return np.array(light)[:, None, None] * np.ones((2, n_times))

    from PIL import Image

    monkeypatch.setitem(sys.modules, "transformers", types.SimpleNamespace(AutoModel=AutoModel))
    names = {"ImageToBrainEncoder": ImageToBrainEncoder, "Image": Image, "info": info,
             "meg_info": meg_info, "predict_eeg": predict, "predict_meg": predict,
             "sd_before_onset": np.array([1e-13, 2e-13])}  # fmt: skip
    exec(load + ours, names)
    images = recording[0][:2]
    expected = names["theirs"].predict(images)
    np.testing.assert_allclose(expected.times[[0, -1]], [0, 0.79])
    np.testing.assert_allclose(names["meg"].times_[[0, -1]], [0, 1.29])
    light = expected.get_data()[:, 0, 0]
    np.testing.assert_allclose(1e6 * light, images.mean(axis=(1, 2, 3)), rtol=0.02)
    of_meg = names["meg"].predict(images).get_data()[:, :, 0]
    np.testing.assert_allclose(of_meg[:, 1], 2 * of_meg[:, 0])
    np.testing.assert_allclose(of_meg[:, 0], 1e-13 * images.mean(axis=(1, 2, 3)), rtol=0.02)
