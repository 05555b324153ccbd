"""ImageToBrainEncoder: images and epochs in, generated epochs out."""

import json

import mne
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small_regressors import make_regressor

from mne_img2brain import GaborEmbedder, ImageToBrainEncoder, read_encoder
from mne_img2brain.stimulus import load_rgb

SMALL = {
    "hidden_size": 16,
    "n_layers": 1,
    "n_heads": 2,
    "max_iter": 10,
    "random_state": 0,
    "device": "cpu",
}


def small():
    return make_regressor(**SMALL)


class MeanColour(TransformerMixin, BaseEstimator):
    """One token: the mean of each colour. Counts what it is asked for."""

    seen = 0

    def fit(self, images, y=None):
        return self

    def transform(self, images):
        type(self).seen += len(images)
        shown_images = [np.asarray(load_rgb(image), float) for image in images]
        return np.stack([shown.mean(axis=(0, 1)) / 255 for shown in shown_images])[:, None]


@pytest.fixture
def shown_images(rng):
    """Twenty-four images whose colours differ."""
    colours = rng.uniform(20, 235, (24, 1, 1, 3))
    return (colours + rng.uniform(-20, 20, (24, 16, 16, 3))).astype(np.uint8)


def respond(shown_images, image, rng, noise=1e-6, ch_names=("Fz", "Cz", "Pz", "Oz", "O1", "O2")):
    """Epochs in volts, linear in the mean colours."""
    colours = shown_images.reshape(len(shown_images), -1, 3).mean(axis=1) / 255 - 0.5
    weights = np.random.default_rng(1).standard_normal((3, len(ch_names), 15))
    truth = np.einsum("if,fct->ict", colours, weights) * 1e-5
    data = truth[image] + noise * rng.standard_normal((len(image), len(ch_names), 15))
    info = mne.create_info(list(ch_names), 100.0, "eeg").set_montage("easycap-M1")
    codes = np.column_stack([np.arange(len(image)), np.zeros_like(image), image + 1])
    epochs = mne.EpochsArray(data, info, codes, tmin=-0.04, verbose="error")
    epochs.metadata = pd.DataFrame({"image_id": image, "concept": [f"c{i // 2}" for i in image]})
    return epochs, truth


@pytest.fixture
def recorded(shown_images, rng):
    image = rng.permutation(np.repeat(np.arange(24), 4))
    epochs, truth = respond(shown_images, image, rng)
    return shown_images, epochs, image, truth


@pytest.fixture
def fitted(recorded):
    shown_images, epochs, image, _ = recorded
    encoder = ImageToBrainEncoder(MeanColour(), small())
    return encoder.fit(shown_images, epochs, image_ids=image)


def test_predicts_unseen_images_in_volts(recorded, fitted, rng):
    colours = rng.uniform(20, 235, (10, 1, 1, 3))
    new = np.broadcast_to(colours, (10, 16, 16, 3)).astype(np.uint8)
    _, truth = respond(new, np.arange(10), rng)
    generated = fitted.predict(new)
    assert isinstance(generated, mne.EpochsArray)
    r = np.corrcoef(generated.get_data().ravel(), truth.ravel())[0, 1]
    assert r > 0.95
    assert_allclose(generated.get_data().std(), truth.std(), rtol=0.2)
    evoked = generated.average()
    assert evoked.info["chs"][0]["unit"] == mne.io.constants.FIFF.FIFF_UNIT_V
    assert generated.ch_names == recorded[1].ch_names
    assert_allclose(generated.times, recorded[1].times)


def test_the_users_objects_are_left_alone(recorded):
    shown_images, epochs, image, _ = recorded
    before, info = epochs.get_data().copy(), epochs.info.copy()
    copy = shown_images.copy()
    ImageToBrainEncoder(MeanColour(), Ridge()).fit(shown_images, epochs, image_ids=image)
    assert_array_equal(epochs.get_data(), before)
    assert_array_equal(shown_images, copy)
    assert mne.utils.object_diff(epochs.info, info) == ""


def test_each_image_is_embedded_once(recorded):
    shown_images, epochs, image, _ = recorded
    MeanColour.seen = 0
    of_trial = [shown_images[i] for i in image]
    ImageToBrainEncoder(MeanColour(), Ridge()).fit(of_trial, epochs)
    assert MeanColour.seen == 24


def test_draws_have_events_metadata_and_a_seed(recorded, fitted):
    shown_images = recorded[0]
    frame = pd.DataFrame({"size": np.arange(4), "kind": ["face", "house", "face", "tool"]})
    draws = fitted.sample(shown_images[:4], 3, random_state=0, metadata=frame, event_id="kind")
    assert len(draws) == 12
    assert_array_equal(draws.metadata["image_id"], np.repeat(np.arange(4), 3))
    assert_array_equal(draws.metadata["draw"], np.tile(np.arange(3), 4))
    assert_array_equal(draws.metadata["size"], np.repeat(np.arange(4), 3))
    assert len(draws["face"]) == 6
    assert len(np.unique(draws.events[:, 0])) == 12
    again = fitted.sample(shown_images[:4], 2, random_state=0)
    assert_allclose(
        again.get_data()[[0, 1, 2, 3]], draws.get_data()[[0, 1, 3, 4]], rtol=1e-4, atol=1e-12
    )
    # equal images at two positions are two stimuli
    twice = fitted.sample(shown_images[[0, 0]], 1, random_state=0).get_data()
    assert np.abs(twice[0] - twice[1]).max() > 0.1 * np.abs(twice).max()


def test_units_in_are_units_out(recorded):
    shown_images, epochs, image, _ = recorded
    scaled = epochs.copy()
    scaled._data *= 1e6
    one, other = (ImageToBrainEncoder(MeanColour(), small()) for _ in "ab")
    one.fit(shown_images, epochs, image_ids=image)
    with pytest.warns(RuntimeWarning, match="standard deviation of .* V. MNE's unit is V"):
        other.fit(shown_images, scaled, image_ids=image)
    a, b = one.predict(shown_images).get_data(), other.predict(shown_images).get_data()
    assert_allclose(b, a * 1e6, rtol=1e-5, atol=1e-5 * np.abs(b).max())


def test_order_of_trials_does_not_matter(recorded, rng):
    shown_images, epochs, image, _ = recorded
    order = rng.permutation(len(image))
    one = ImageToBrainEncoder(MeanColour(), small()).fit(shown_images, epochs, image_ids=image)
    other = ImageToBrainEncoder(MeanColour(), small()).fit(
        shown_images, epochs[order], image_ids=image[order]
    )
    a, b = (e.predict(shown_images).get_data() for e in (one, other))
    assert_allclose(a, b, rtol=1e-5, atol=1e-6 * np.abs(a).max())


def test_ways_to_name_the_images(recorded, tmp_path):
    from PIL import Image

    shown_images, epochs, image, _ = recorded
    paths = [tmp_path / f"{i:02}.png" for i in range(24)]
    for path, shown in zip(paths, shown_images, strict=True):
        Image.fromarray(shown).save(path)
    reference = ImageToBrainEncoder(MeanColour(), Ridge()).fit(
        shown_images, epochs, image_ids=image
    )
    expected = reference.predict(shown_images).get_data()
    epochs = epochs.copy()
    epochs.metadata["path"] = [str(paths[i]) for i in image]
    encoder = ImageToBrainEncoder(MeanColour(), Ridge())
    for arguments in [
        {"images": paths, "image_ids": "image_id"},
        {"images": [paths[i] for i in image]},
        {"images": "path"},
    ]:
        got = encoder.fit(epochs=epochs, **arguments).predict(paths)
        assert_allclose(got.get_data(), expected, rtol=1e-6, atol=1e-12)
    assert got.metadata["image"][3].endswith("03.png")
    assert got.event_id == {"generated": 100}
    # one image per event, some epochs dropped
    dropped = epochs.copy().drop([0, 5, 9], verbose="error")
    encoder.fit([paths[i] for i in image], dropped)
    assert encoder.score([paths[i] for i in image], dropped) > 0.9


def test_tokens_in_place_of_images(recorded, tmp_path):
    shown_images, epochs, image, _ = recorded
    tokens = MeanColour().transform(shown_images)
    np.save(tmp_path / "tokens.npy", tokens)
    by_image = ImageToBrainEncoder(MeanColour(), Ridge()).fit(shown_images, epochs, image_ids=image)
    by_token = ImageToBrainEncoder(MeanColour(), Ridge()).fit(tokens, epochs, image_ids=image)
    by_file = ImageToBrainEncoder(MeanColour(), Ridge())
    by_file.fit(tmp_path / "tokens.npy", epochs, image_ids=image)
    expected = by_image.predict(shown_images).get_data()
    assert_allclose(by_token.predict(tokens).get_data(), expected, rtol=1e-6, atol=1e-12)
    assert_allclose(by_file.predict(tokens).get_data(), expected, rtol=1e-6, atol=1e-12)
    no_embedder = ImageToBrainEncoder(regressor=Ridge()).fit(tokens, epochs, image_ids=image)
    assert_allclose(no_embedder.predict(tokens).get_data(), expected, rtol=1e-6, atol=1e-12)
    no_embedder.save(tmp_path / "saved")
    read_encoder(tmp_path / "saved").predict(tokens)
    with pytest.raises(ValueError, match="has no embedder"):
        no_embedder.predict(shown_images)
    with pytest.raises(ValueError, match="looks like images"):
        by_token.fit(shown_images / 255.0, epochs, image_ids=image)
    with pytest.raises(ValueError, match="features"):
        by_token.predict(np.zeros((2, 1, 4)))


def test_any_regressor_gives_the_same_objects(recorded):
    shown_images, epochs, image, _ = recorded
    encoder = ImageToBrainEncoder(MeanColour(), RidgeCV()).fit(
        shown_images, epochs, image_ids=image
    )
    assert not hasattr(encoder, "sample")
    assert isinstance(encoder.predict(shown_images), mne.EpochsArray)
    assert encoder.score(shown_images, epochs, image_ids=image) > 0.9


def test_score_is_the_mean_of_r_after_onset(recorded, fitted):
    shown_images, epochs, image, _ = recorded
    r = fitted.score_evoked(shown_images, epochs, image_ids=image)
    average = np.stack([epochs.get_data()[image == i].mean(axis=0) for i in range(24)])
    predicted = fitted.predict(shown_images).get_data()
    expected = np.corrcoef(average[:, 2, 7], predicted[:, 2, 7])[0, 1]
    assert_allclose(r.data[2, 7], expected, rtol=1e-6)
    score = fitted.score(shown_images, epochs, image_ids=image)
    assert_allclose(score, r.data[:, r.times > 0].mean(), rtol=1e-9)


def test_sensors_match_by_name(recorded, fitted):
    shown_images, epochs, image, _ = recorded
    expected = fitted.score(shown_images, epochs, image_ids=image)
    turned = epochs.copy().reorder_channels(epochs.ch_names[::-1])
    assert_allclose(fitted.score(shown_images, turned, image_ids=image), expected, rtol=1e-9)
    bad = epochs.copy()
    bad.info["bads"] = ["Pz"]
    with pytest.warns(RuntimeWarning, match="Pz"):
        r = fitted.score_evoked(shown_images, bad, image_ids=image)
    assert np.isnan(r.data[2]).all()
    assert np.isfinite(r.data[[0, 1, 3]]).all()
    with pytest.raises(ValueError, match="missing"):
        fitted.score(shown_images, epochs.copy().drop_channels(["Pz"]), image_ids=image)
    with pytest.raises(ValueError, match="sampling rate"):
        fitted.score(shown_images, epochs.copy().resample(50.0), image_ids=image)
    with pytest.raises(ValueError, match="times"):
        fitted.score(shown_images, epochs.copy().crop(0.0, None), image_ids=image)
    with pytest.raises(ValueError, match="at least three"):
        fitted.score(shown_images, epochs[np.flatnonzero(image < 2)], image_ids=image[image < 2])


@pytest.mark.parametrize("kind", ["reference", "projector", "bads"])
def test_rank_projectors_and_bads(recorded, kind):
    shown_images, epochs, image, _ = recorded
    epochs = epochs.copy()
    if kind == "reference":
        epochs.set_eeg_reference("average", verbose="error")
    elif kind == "projector":
        epochs.set_eeg_reference("average", projection=True, verbose="error").apply_proj()
    else:
        epochs.info["bads"] = ["Cz"]
    encoder = ImageToBrainEncoder(MeanColour(), small()).fit(shown_images, epochs, image_ids=image)
    draws = encoder.sample(shown_images, 2, random_state=0)
    if kind == "bads":
        assert "Cz" not in draws.ch_names
        assert encoder.left_out_ == ["Cz"]
    rank = mne.compute_rank(epochs.copy().pick("eeg", exclude="bads"), verbose="error")
    assert mne.compute_rank(draws, verbose="error") == rank
    assert [p["active"] for p in draws.info["projs"]] == [p["active"] for p in epochs.info["projs"]]


def test_baseline_and_times_are_those_of_training(recorded, tmp_path):
    shown_images, epochs, image, _ = recorded
    epochs = epochs.copy().apply_baseline((None, 0), verbose="error")
    encoder = ImageToBrainEncoder(MeanColour(), Ridge()).fit(shown_images, epochs, image_ids=image)
    generated = encoder.predict(shown_images)
    assert generated.baseline == epochs.baseline
    generated.save(tmp_path / "generated-epo.fif", verbose="error")
    back = mne.read_epochs(tmp_path / "generated-epo.fif", verbose="error")
    assert_allclose(back.get_data(), generated.get_data(), rtol=1e-6, atol=1e-12)
    assert_allclose(back.baseline, generated.baseline)


def test_scikit_learn_manners(recorded):
    shown_images, epochs, image, _ = recorded
    encoder = ImageToBrainEncoder(GaborEmbedder(), Ridge())
    assert encoder.get_params()["regressor__alpha"] == 1.0
    assert clone(encoder.set_params(regressor__alpha=2.0)).regressor.alpha == 2.0
    encoder = ImageToBrainEncoder(MeanColour(), Ridge())
    of_trial = [shown_images[i] for i in image]
    scores = cross_val_score(encoder, of_trial, epochs, groups=image, cv=GroupKFold(3))
    assert scores.min() > 0.8
    search = GridSearchCV(encoder, {"regressor__alpha": [0.1, 1e6]}, cv=GroupKFold(3))
    search.fit(of_trial, epochs, groups=image)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert isinstance(search.best_estimator_.predict(shown_images), mne.EpochsArray)


def test_evokeds_count_by_their_nave(recorded):
    shown_images, epochs, image, _ = recorded
    evokeds = [epochs[np.flatnonzero(image == i)].average() for i in range(24)]
    encoder = ImageToBrainEncoder(MeanColour(), small()).fit(shown_images, evokeds)
    draws = encoder.sample(shown_images, 40, random_state=0).get_data().reshape(24, 40, 6, 15)
    # single trials vary by 1 uV; the four of an evoked were averaged
    assert_allclose(np.median(draws.std(axis=1)), 1e-6, rtol=0.25)


def test_subjects_by_dict_and_by_column(recorded, rng):
    shown_images, epochs, image, truth = recorded
    other = mne.EpochsArray(-epochs.get_data(), epochs.info, tmin=epochs.tmin, verbose="error")
    encoder = ImageToBrainEncoder(MeanColour(), small())
    encoder.fit(shown_images, {"a": epochs, "b": other}, image_ids=np.r_[image, image])
    assert encoder.subjects_ == ["a", "b"]
    a, b = (encoder.predict(shown_images, subject=s).get_data() for s in "ab")
    assert np.corrcoef(a.ravel(), truth.ravel())[0, 1] > 0.9
    assert np.corrcoef(b.ravel(), truth.ravel())[0, 1] < -0.9
    assert encoder.predict(shown_images, subject="b").metadata["subject"].unique() == ["b"]
    with pytest.raises(ValueError, match="'c' was not in fit"):
        encoder.predict(shown_images, subject="c")


def test_a_failed_fit_keeps_the_last(recorded, fitted):
    shown_images, epochs, image, _ = recorded
    before = fitted.predict(shown_images).get_data()
    broken = epochs.copy()
    broken._data[3, 2, 1] = np.nan
    with pytest.raises(ValueError, match="Pz"):
        fitted.fit(shown_images, broken, image_ids=image)
    with pytest.raises(ValueError, match="24 images, but 96 trials"):
        fitted.fit(shown_images, epochs)
    with pytest.raises(ValueError, match="at least 2"):
        fitted.fit(shown_images[:1], epochs[0])
    assert_array_equal(fitted.predict(shown_images).get_data(), before)


def test_captions_need_an_embedder_that_reads(recorded):
    shown_images, epochs, image, _ = recorded
    encoder = ImageToBrainEncoder(MeanColour(), Ridge())
    with pytest.raises(ValueError, match="takes none"):
        encoder.fit(shown_images, epochs, image_ids=image, captions=["a dog"] * 24)
    with pytest.raises(ValueError, match="23 captions for 24 images"):
        encoder.fit(shown_images, epochs, image_ids=image, captions=["a dog"] * 23)


def test_predict_before_fit():
    with pytest.raises(NotFittedError):
        ImageToBrainEncoder(MeanColour()).predict(np.zeros((1, 4, 4, 3), np.uint8))


@pytest.mark.parametrize(
    "regressor",
    [small(), Ridge(), RidgeCV(), make_pipeline(StandardScaler(), Ridge())],
    ids=["diffusion", "ridge", "ridge-cv", "pipeline"],
)
def test_saved_and_read_it_predicts_the_same(recorded, tmp_path, regressor):
    shown_images, epochs, image, _ = recorded
    encoder = ImageToBrainEncoder(GaborEmbedder(), regressor).fit(
        shown_images, epochs, image_ids=image
    )
    encoder.save(tmp_path / "encoder")
    back = read_encoder(tmp_path / "encoder")
    # equal but for the order of sums: memory of what is read may be aligned otherwise
    expected = encoder.predict(shown_images).get_data()
    assert_allclose(back.predict(shown_images).get_data(), expected, rtol=1e-10, atol=1e-18)
    if hasattr(encoder, "sample"):
        draws = encoder.sample(shown_images[:2], 2, random_state=3).get_data()
        back = back.sample(shown_images[:2], 2, random_state=3).get_data()
        assert_allclose(back, draws, rtol=1e-6, atol=1e-12)
    back = read_encoder(tmp_path / "encoder")
    assert back.training_image_keys_ == encoder.training_image_keys_
    assert back.noise_summary_ == encoder.noise_summary_
    if hasattr(encoder, "sample"):
        said = f"single trials by {encoder.noise_summary_.kept}; "
        assert said in repr(encoder)
        assert said[:13] in encoder._repr_html_()
        assert str(encoder.noise_summary_.reason) in repr(back)
    else:
        assert encoder.noise_summary_ is None
        assert "single trials" not in repr(encoder)
    assert {path.suffix for path in (tmp_path / "encoder").iterdir()} == {
        ".json",
        ".safetensors",
        ".fif",
    }
    with pytest.raises(FileExistsError, match="overwrite"):
        encoder.save(tmp_path / "encoder")
    encoder.save(tmp_path / "encoder", overwrite=True)


def test_what_cannot_be_saved_is_said_before_anything_is_written(recorded, tmp_path):
    shown_images, epochs, image, _ = recorded
    forest = RandomForestRegressor(2, max_depth=2)
    encoder = ImageToBrainEncoder(MeanColour(), forest).fit(shown_images, epochs, image_ids=image)
    with pytest.raises(TypeError, match="RandomForestRegressor"):
        encoder.save(tmp_path / "encoder")
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_embedder_is_given_again(recorded, tmp_path):
    shown_images, epochs, image, _ = recorded
    encoder = ImageToBrainEncoder(MeanColour(), Ridge()).fit(shown_images, epochs, image_ids=image)
    encoder.save(tmp_path / "encoder")
    with pytest.warns(RuntimeWarning, match="MeanColour"):
        back = read_encoder(tmp_path / "encoder")
    with pytest.raises(ValueError, match="has no embedder"):
        back.predict(shown_images)
    expected = encoder.predict(shown_images).get_data()
    tokens = MeanColour().transform(shown_images)
    assert_allclose(back.predict(tokens).get_data(), expected)
    back = read_encoder(tmp_path / "encoder", embedder=MeanColour())
    assert_array_equal(back.predict(shown_images).get_data(), expected)


def test_damaged_and_hostile_files(recorded, tmp_path):
    shown_images, epochs, image, _ = recorded
    encoder = ImageToBrainEncoder(GaborEmbedder(), Ridge()).fit(
        shown_images, epochs, image_ids=image
    )
    encoder.save(tmp_path / "encoder")
    with pytest.raises(FileNotFoundError, match=r"encoder\.json"):
        read_encoder(tmp_path)
    description = tmp_path / "encoder" / "encoder.json"
    good = json.loads(description.read_text())
    for change, match in [
        ({"format_version": 99}, "format 99"),
        ({"encoder": {"object": "os.system", "state": {}}}, r"os\.system"),
    ]:
        description.write_text(json.dumps({**good, **change}))
        with pytest.raises(ValueError, match=match):
            read_encoder(tmp_path / "encoder")
    description.write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        read_encoder(tmp_path / "encoder")
    description.write_text(json.dumps(good))
    arrays = tmp_path / "encoder" / "arrays.safetensors"
    arrays.write_bytes(arrays.read_bytes()[:50])
    with pytest.raises(ValueError, match="damaged"):
        read_encoder(tmp_path / "encoder")
