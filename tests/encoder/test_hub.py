"""Encoders on the Hugging Face Hub, and in notebooks. Nothing here reaches for the network."""

import datetime
import json
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import mne
import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose
from safetensors.numpy import load_file
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import Ridge

from mne_img2brain import (
    ClipEmbedder,
    DiffusionRegressor,
    GaborEmbedder,
    ImageToBrainEncoder,
    evaluate,
    read_encoder,
)
from mne_img2brain.datasets import simulate_epochs, simulate_images
from mne_img2brain.encoder.description import describe
from mne_img2brain.encoder.folder import ENCODER_FILES
from mne_img2brain.encoder.hub import _reads_no_file, model_card


@pytest.fixture(scope="module")
def recorded():
    """Twenty images, three trials each, of a person with a name."""
    images, _ = simulate_images(20, size=32, random_state=0)
    epochs, _ = simulate_epochs(images, n_trials=3, random_state=0)
    epochs.info["subject_info"] = {"his_id": "Doe, Jane", "last_name": "Doe"}
    epochs.info.set_meas_date(datetime.datetime(2019, 5, 17, tzinfo=datetime.UTC))
    return images, epochs


@pytest.fixture(scope="module")
def fitted(recorded):
    """Fit on the first fourteen images, the third sensor bad."""
    images, epochs = recorded
    seen = epochs[np.flatnonzero(epochs.metadata["image_id"] < 14)]
    seen.info["bads"] = [epochs.ch_names[2]]
    encoder = ImageToBrainEncoder(GaborEmbedder(size=32, n_scales=2), Ridge(100.0))
    return encoder.fit(images, seen, image_ids="image_id")


@pytest.fixture(scope="module")
def evaluation(recorded, fitted):
    """Judge it on the other six."""
    images, epochs = recorded
    new = epochs[np.flatnonzero(epochs.metadata["image_id"] >= 14)]
    with pytest.warns(RuntimeWarning, match="do not distinguish these images"):
        return evaluate(
            {"ridge": fitted, "again": fitted},
            images,
            new,
            image_ids="image_id",
            n_draws=0,
            n_splits=5,
            n_bootstrap=20,
        )


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """Put a folder in place of the Hub, and keep what was asked of it."""
    import shutil

    asked = {}

    class Api:
        def __init__(self, token=None):
            asked["token"] = token

        def create_repo(self, repo_id, *, private, exist_ok):
            asked.update(repo_id=repo_id, private=private, exist_ok=exist_ok)

        def upload_folder(self, *, repo_id, folder_path, revision, commit_message):
            assert repo_id == asked["repo_id"]
            shutil.copytree(folder_path, tmp_path / "hub")
            asked.update(revision=revision, folder=folder_path)
            return SimpleNamespace(commit_url=f"https://hub/{repo_id}/commit/1")

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    return asked


def test_what_is_pushed_predicts_the_same(recorded, fitted, hub, tmp_path):
    images, _ = recorded
    url = fitted.push_to_hub("me/encoder", token="secret")
    assert url == "https://hub/me/encoder/commit/1"
    assert hub["private"] is True
    assert hub["token"] == "secret"
    assert not hub["folder"].exists()  # nothing is left behind
    assert {p.name for p in (tmp_path / "hub").iterdir()} == {*ENCODER_FILES, "README.md"}
    back = ImageToBrainEncoder.from_pretrained(tmp_path / "hub")
    expected = fitted.predict(images).get_data()
    assert_allclose(back.predict(images).get_data(), expected, rtol=1e-10, atol=1e-18)
    assert describe(back) == describe(fitted)
    assert_allclose(read_encoder(tmp_path / "hub").predict(images).get_data(), expected)


def test_recorded_trials_are_pushed_only_when_asked_for(tmp_path):
    images, _ = simulate_images(40, size=32, random_state=1)
    epochs, _ = simulate_epochs(images, n_trials=4, random_state=1)
    # some trials are louder than others, as one Gaussian's would not be
    epochs._data *= np.random.default_rng(1).lognormal(0, 0.5, (len(epochs), 1, 1))
    encoder = ImageToBrainEncoder(
        GaborEmbedder(size=32, n_scales=2), DiffusionRegressor(max_iter=0, random_state=0)
    )
    encoder.fit(images, epochs, image_ids="image_id")
    held = encoder.regressor_.n_stored_trials_
    assert held == 160
    with pytest.raises(ValueError, match="160 recorded trials. Give trials=True"):
        encoder.push_to_hub("me/encoder", folder=tmp_path / "new")
    assert not (tmp_path / "new").exists()
    drawn = encoder.sample(images[:3], 4, random_state=0).get_data()

    with_trials = encoder.push_to_hub("me/encoder", trials=True, folder=tmp_path / "with")
    back = read_encoder(with_trials)
    assert back.regressor_.n_stored_trials_ == 160
    assert_allclose(back.sample(images[:3], 4, random_state=0).get_data(), drawn)
    assert "160 recorded trials, which are part of it" in (tmp_path / "with/README.md").read_text()

    without = encoder.push_to_hub("me/encoder", trials=False, folder=tmp_path / "without")
    assert "which were left out" in (tmp_path / "without/README.md").read_text()
    bare = read_encoder(without)
    assert bare.regressor_.n_stored_trials_ == 0
    residuals = encoder.regressor_.noise_.pooled.clusters_.trials_
    for folder, there in ((with_trials, True), (without, False)):
        arrays = [
            v for path in Path(folder).glob("*.safetensors") for v in load_file(path).values()
        ]
        for row in residuals[:5]:
            assert any(values_are_in(row, values) for values in arrays) == there
    assert_allclose(bare.predict(images).get_data(), encoder.predict(images).get_data())
    some = bare.sample(images[:3], 100, random_state=0).get_data()
    assert not np.array_equal(some[:4], drawn[:4])
    all_draws = encoder.sample(images[:3], 100, random_state=0).get_data()
    assert some.std() == pytest.approx(all_draws.std(), rel=0.1)
    # the encoder itself is as it was
    assert encoder.regressor_.n_stored_trials_ == 160
    assert_allclose(encoder.sample(images[:3], 4, random_state=0).get_data(), drawn)


def values_are_in(row, value):
    """Tell whether numbers follow each other somewhere in an array, whatever its type."""
    flat = np.ravel(value)
    if flat.dtype.kind != "f" or len(flat) < len(row):
        return False
    starts = np.flatnonzero(np.isclose(flat[: len(flat) - 4], row[0], rtol=1e-5, atol=0))
    return any(np.allclose(flat[s : s + 5], row[:5], rtol=1e-5, atol=0) for s in starts)


def test_who_was_recorded_is_not_pushed(fitted, tmp_path):
    assert fitted.info_["subject_info"]["his_id"] == "Doe, Jane"
    fitted.push_to_hub("me/encoder", folder=tmp_path / "new")
    info = mne.io.read_info(tmp_path / "new" / "recording-info.fif", verbose="error")
    assert info["meas_date"] is None
    assert b"Doe" not in b"".join(p.read_bytes() for p in (tmp_path / "new").iterdir())
    assert fitted.info_["subject_info"]["his_id"] == "Doe, Jane"
    with pytest.raises(FileExistsError, match="is there already"):
        fitted.push_to_hub("me/encoder", folder=tmp_path / "new")


def test_nothing_of_the_person_the_day_or_the_machine_is_pushed(recorded, tmp_path):
    """Neither in the Info, nor as a path of an image; whether there is a unit is kept."""
    images, epochs = recorded
    epochs = epochs.copy()
    day = datetime.datetime(1999, 12, 31, 23, tzinfo=datetime.UTC)
    epochs.info.set_meas_date(day)
    epochs.info["description"] = "Jane's second visit; no unit: whitened or z-scored"
    epochs.info["experimenter"] = "Prof. Secret"
    epochs.info["subject_info"] = {
        "his_id": "jane01", "last_name": "Secret", "first_name": "Jane", "sex": 2, "hand": 1,
        "birthday": datetime.date(1980, 2, 3), "weight": 61.5, "height": 1.71,
    }  # fmt: skip
    epochs.info["device_info"] = {
        "type": "Scanner", "model": "X", "serial": "SERIAL-4711", "site": "Secret Hospital",
    }  # fmt: skip
    with epochs.info._unlock():
        epochs.info["proj_name"], epochs.info["proj_id"] = "Secret project", 123456
        face = epochs.info["dig"][0].copy()
        face.update(kind=mne.io.constants.FIFF.FIFFV_POINT_EXTRA, ident=7777)
        epochs.info["dig"] = [*epochs.info["dig"], face]
    paths = [f"/home/jane/secret study/{i:02d}.png" for i in range(20)]
    epochs.metadata = epochs.metadata.assign(
        path=[paths[i] for i in epochs.metadata["image_id"]], image_id=epochs.metadata["image_id"]
    )
    encoder = ImageToBrainEncoder(GaborEmbedder(size=32, n_scales=2), Ridge())
    encoder.fit(images, epochs, image_ids="image_id")
    encoder.image_ids_ = dict(zip(encoder.image_ids_, paths, strict=True))
    encoder.image_id_form_ = "path"
    encoder.push_to_hub("me/encoder", folder=tmp_path / "new")
    everything = b"".join(path.read_bytes() for path in (tmp_path / "new").iterdir()).lower()
    for told in (b"secret", b"jane", b"serial-4711", b"4711", b"1999-12", b"1980", b"/home"):
        assert told not in everything
    info = mne.io.read_info(tmp_path / "new" / "recording-info.fif", verbose="error")
    for name in ("meas_date", "subject_info", "device_info", "experimenter", "proj_name",
                 "helium_info", "utc_offset"):  # fmt: skip
        assert not info[name], name
    assert 7777 not in [point["ident"] for point in info["dig"]]
    back = ImageToBrainEncoder.from_pretrained(tmp_path / "new")
    assert back.info_["description"] == "no unit: whitened or z-scored"
    assert set(back.image_ids_.values()) == {f"{i:02d}.png" for i in range(20)}
    assert_allclose(back.predict(images).get_data(), encoder.predict(images).get_data())
    # the encoder itself is as it was
    assert encoder.info_["subject_info"]["last_name"] == "Secret"
    assert encoder.info_["meas_date"] == day
    assert encoder.image_ids_[next(iter(encoder.image_ids_))] == paths[0]


def test_the_card_says_what_was_fitted_and_how_well(fitted, evaluation, tmp_path):
    folder = fitted.push_to_hub(
        "me/encoder",
        evaluation=evaluation,
        data="Simulated images and a simulated brain.",
        limits="It knows | no colours.",
        licence="cc0-1.0",
        folder=tmp_path / "new",
    )
    card = huggingface_hub.ModelCard.load(f"{folder}/README.md", ignore_metadata_errors=False)
    assert card.data.license == "cc0-1.0"
    assert card.data.library_name == "mne_img2brain"
    assert "eeg" in card.data.tags
    for line in [
        'from_pretrained("me/encoder")',
        "Simulated images",
        "| sensors | 32 EEG |",
        "| times | -0.1 to 0.6 s from image onset, 71 points at 100 Hz |",
        "| images | 14 distinct |",
        "| trials | 42 |",
        f"| left out | 1: {fitted.left_out_[0]} |",
        "`GaborEmbedder`",
        "`Ridge`",
        "6 images that are in no fit, 3 trials of each",
        "called ridge; again for comparison",
        "no colours",
    ]:
        assert line in card.text, line
    row = evaluation.table.query("encoder == 'ridge' and metric == 'r'").iloc[0]
    assert f"| ridge | r | {row['value']:.3g} | {row['ci_low']:.3g} to" in card.text
    # Six images of three trials are not told apart: no ceiling of r, and the card says so.
    assert "these recordings do not distinguish these images" in card.text
    assert np.isnan(row["ceiling"])
    row = evaluation.table.query("encoder == 'ridge' and metric == 'mse'").iloc[0]
    assert f"| {row['chance']:.3g} | {row['ceiling']:.3g} |" in card.text


def test_a_card_without_an_evaluation_says_so(fitted):
    card = huggingface_hub.ModelCard(model_card(fitted, "me/encoder"))
    assert card.data.license is None
    assert "has not been evaluated" in card.text
    assert "None was given" in card.text
    assert "nothing about the data" in card.text


class Local(TransformerMixin, BaseEstimator):
    """An embedder that reads a file of this machine."""

    def __init__(self, weights):
        self.weights = weights

    def fit(self, images, y=None):
        return self

    def transform(self, images):
        return np.ones((len(images), 1, 3)) * np.arange(3)


def test_paths_of_this_machine_are_not_pushed(recorded, fitted, hub, tmp_path):
    import copy

    images, epochs = recorded
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"")
    encoder = ImageToBrainEncoder(Local(str(weights)), Ridge())
    encoder.fit(images, epochs, image_ids="image_id")
    with pytest.warns(RuntimeWarning, match="reads its weights from this machine"):
        encoder.push_to_hub("me/encoder")
    assert "embedder=..." in (tmp_path / "hub" / "README.md").read_text()
    back = ImageToBrainEncoder.from_pretrained(tmp_path / "hub", embedder=encoder.embedder_)
    assert_allclose(back.predict(images).get_data(), encoder.predict(images).get_data())

    clip = copy.copy(fitted)
    clip.embedder_ = ClipEmbedder(captioner=None, cache_dir=tmp_path)
    clip.push_to_hub("me/encoder", folder=tmp_path / "clip")
    saved = json.loads((tmp_path / "clip" / "encoder.json").read_text())
    assert str(tmp_path) not in json.dumps(saved)
    assert clip.embedder_.cache_dir == tmp_path
    clip.embedder_ = ClipEmbedder("local-dir:/somewhere/else", None, None)
    with pytest.warns(RuntimeWarning, match="ClipEmbedder reads"):
        clip.push_to_hub("me/encoder", folder=tmp_path / "local")


def test_which_embedders_read_files(tmp_path, monkeypatch):
    """A parameter that is too long for the name of a file, or no name at all, is none."""
    monkeypatch.chdir(tmp_path)
    for name in ("cpu", "what", "weights.pt"):
        (tmp_path / name).write_text("")
    assert _reads_no_file(ClipEmbedder(prompt="Describe " * 80, device="cpu"))
    assert _reads_no_file(ClipEmbedder(prompt="what", cache_dir=tmp_path))
    assert _reads_no_file(ClipEmbedder(model="a" * 5000, captioner="null\0", pretrained=None))
    assert not _reads_no_file(ClipEmbedder(pretrained="weights.pt"))
    assert not _reads_no_file(ClipEmbedder("local-dir:anywhere"))
    assert not _reads_no_file(ClipEmbedder(captioner=str(tmp_path)))


def test_only_the_encoder_is_downloaded(fitted, hub, tmp_path, monkeypatch):
    fitted.push_to_hub("me/encoder")
    asked = {}

    def download(repo_id, **parameters):
        asked.update(parameters, repo_id=repo_id)
        return str(tmp_path / "hub")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    back = ImageToBrainEncoder.from_pretrained("me/encoder", revision="v1")
    assert back.ch_names_ == fitted.ch_names_
    assert asked["repo_id"] == "me/encoder"
    assert asked["revision"] == "v1"
    assert set(asked["allow_patterns"]) == set(ENCODER_FILES)


@pytest.mark.parametrize("name", ["me/nothing-of-that-name", "no:name"])
def test_what_the_hub_does_not_have(name, tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder here"):
        ImageToBrainEncoder.from_pretrained(name, cache_dir=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no encoder\.json"):
        ImageToBrainEncoder.from_pretrained(tmp_path)


def test_a_notebook_shows_what_was_fitted(fitted):
    page = fitted._repr_html_()
    assert "14 distinct" in fitted._repr_mimebundle_()["text/html"]
    assert "GaborEmbedder" in page
    for text in ["32 EEG", "14 distinct", "71 points at 100 Hz", "occipital", fitted.left_out_[0]]:
        assert text in page
    assert page.count("<tr>") >= len(describe(fitted))
    blank = ImageToBrainEncoder(GaborEmbedder(), Ridge())
    assert "distinct" not in blank._repr_html_()
    assert "GaborEmbedder" in blank._repr_html_()
    with sklearn.config_context(display="text"):
        assert not hasattr(fitted, "_repr_html_")


def test_names_in_a_notebook_are_no_code(recorded):
    images, epochs = recorded
    sneaky = epochs.copy()
    sneaky.metadata["subject"] = np.where(sneaky.metadata["image_id"] % 2, "a", "<script>")
    from mne_img2brain import DiffusionRegressor

    encoder = ImageToBrainEncoder(
        GaborEmbedder(size=32, n_scales=2), DiffusionRegressor(Ridge(), max_iter=0)
    )
    encoder.fit(images, sneaky, image_ids="image_id")
    assert "&lt;script&gt;" in encoder._repr_html_()
    assert describe(encoder)["subjects"] == "2: <script>, a"


def test_the_description_in_numbers(fitted):
    lines = describe(fitted)
    regions = lines["regions"].split(", ")
    assert sum(int(part.split()[0]) for part in regions) == 32
    assert lines["baseline"] == "-0.1 to 0 s"
    assert lines["subjects"] == "not told apart"


@pytest.mark.parametrize("said", ["first line\nsecond line", ""])
def test_why_the_hub_did_not_give_it(monkeypatch, said):
    from huggingface_hub.errors import LocalEntryNotFoundError

    def fails(*args, **kwargs):
        raise LocalEntryNotFoundError(said)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fails)
    with pytest.raises(FileNotFoundError, match=r"Hub did not give it \((first line)?\)\. Give"):
        ImageToBrainEncoder.from_pretrained("somebody/something")
