"""What goes in comes out: times, ids, subjects, counts and conditions, through every door."""

import mne
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score

from mne_img2brain import DiffusionRegressor, ImageToBrainEncoder, evaluate, read_encoder
from mne_img2brain.baselines import RidgeBaseline, RidgeGaussian
from mne_img2brain.stimulus import load_rgb

NAMES = ["Pz", "Oz", "O1", "O2"]
N_TIMES = 20
WEIGHTS = np.random.default_rng(7).standard_normal((5, len(NAMES), N_TIMES))


def gaussian(**parameters):
    """The default regressor without its network."""
    return DiffusionRegressor(Ridge(1e-2), max_iter=0, random_state=0, **parameters)


def record(tokens, ids, noise=1.0, seed=0, tmin=-0.05, sfreq=100.0, **kwargs):
    """Trials in volts whose response is linear in the tokens."""
    rng = np.random.default_rng(seed)
    data = np.einsum("id,dct->ict", tokens[ids, 0], WEIGHTS)
    data = data + noise * rng.standard_normal(data.shape)
    info = mne.create_info(NAMES, sfreq, "eeg")
    return mne.EpochsArray(1e-6 * data, info, tmin=tmin, verbose="error", **kwargs)


@pytest.fixture
def tokens(rng):
    return rng.standard_normal((48, 1, 5))


# --- images are the same where their content is ----------------------------------------------


@pytest.mark.filterwarnings("error:.*were in the fit:RuntimeWarning")
def test_a_score_does_not_depend_on_how_images_are_given(tokens):
    ids = np.tile(np.arange(48), 4)
    epochs = record(tokens, ids, noise=8)
    train, held = ids < 36, ids >= 36
    encoder = ImageToBrainEncoder(regressor=Ridge(1.0))
    encoder.fit(tokens, epochs[train], image_ids=ids[train])
    test, row = epochs[held], ids[held] - 36
    once = encoder.score_evoked(tokens[36:], test, image_ids=row)
    mean = np.stack([test.get_data()[row == i].mean(axis=0) for i in range(12)])
    expected = encoder.predict(tokens[36:]).get_data()
    r = [[np.corrcoef(mean[:, c, t], expected[:, c, t])[0, 1] for t in range(N_TIMES)]
         for c in range(4)]  # fmt: skip
    assert_allclose(once.data, r, rtol=1e-9)
    a_trial = tokens[ids[held]]
    # in any order, in double and in single precision
    turned = np.r_[tokens[47:35:-1], tokens[36:]].astype(np.float32).astype(float)
    ways = {
        "one per trial": (a_trial, None),
        "every second from another half": (turned, np.where(row % 2, row + 12, 11 - row)),
    }
    for way, (images, image_ids) in ways.items():
        r = encoder.score_evoked(images, test, image_ids=image_ids).data
        assert_allclose(r, once.data, rtol=1e-5, err_msg=way)
    assert_allclose(encoder.score(a_trial, test), encoder.score(tokens[36:], test, image_ids=row))
    judged = [
        evaluate(encoder, images, test, image_ids=i, n_splits=2, n_bootstrap=2, n_draws=0)
        for images, i in ((tokens[36:], row), (a_trial, None))
    ]
    pd.testing.assert_frame_equal(judged[0].table, judged[1].table)
    with pytest.raises(ValueError, match="1 distinct images; r .* at least three"):
        encoder.score(tokens[[36, 36, 36]], test[np.flatnonzero(row == 0)[:3]])
    # and models of cross-validation are chosen by the mean of an image's trials
    scores = cross_val_score(encoder, tokens[ids], epochs, groups=ids, cv=GroupKFold(4))
    for k, (fit, score) in enumerate(GroupKFold(4).split(ids, groups=ids)):
        alone = clone(encoder).fit(tokens[ids[fit]], epochs[fit])
        shown, row = np.unique(ids[score], return_inverse=True)
        assert_allclose(
            scores[k], alone.score(tokens[shown], epochs[score], image_ids=row), rtol=1e-9
        )
    search = GridSearchCV(encoder, {"regressor__alpha": [1.0]}, cv=GroupKFold(4))
    search.fit(tokens[ids], epochs, groups=ids)
    assert_allclose(search.best_score_, scores.mean())


class Colour(TransformerMixin, BaseEstimator):
    """The mean of each colour, and two of their products."""

    def fit(self, images, y=None):
        return self

    def transform(self, images):
        mean = np.stack(
            [np.asarray(load_rgb(i), float).mean(axis=(0, 1)) / 128 - 1 for i in images]
        )
        return np.concatenate([mean, mean[:, :2] * mean[:, 1:]], axis=1)[:, None]


@pytest.fixture
def shown(tmp_path, rng):
    """Paths of twelve images in two folders, and their tokens."""
    paths = []
    for i, colour in enumerate(rng.integers(0, 255, (12, 1, 1, 3), dtype=np.uint8)):
        paths.append(tmp_path / ("face" if i % 2 else "house") / f"{i:02}.png")
        paths[-1].parent.mkdir(exist_ok=True)
        Image.fromarray(np.broadcast_to(colour, (8, 8, 3))).save(paths[-1])
    return paths, Colour().transform(paths)


def test_a_column_of_paths_is_the_same_as_ids(shown):
    paths, tokens = shown
    ids = np.tile(np.arange(12), 5)
    frame = pd.DataFrame({"path": [str(paths[i]) for i in ids], "image_id": ids})
    epochs = record(tokens, ids, noise=3, metadata=frame)
    encoder = ImageToBrainEncoder(Colour(), Ridge(1.0)).fit("path", epochs)
    expected = encoder.score(paths, epochs, image_ids="image_id")
    assert_allclose(encoder.score("path", epochs), expected)
    # as arrays, and with paths as another computer has them
    arrays = [np.asarray(load_rgb(path)) for path in paths]
    assert_allclose(encoder.score(arrays, epochs, image_ids=ids), expected)
    elsewhere = [f"C:\\stimuli\\{path.parent.name}\\{path.name}" for path in paths]
    names = np.array(elsewhere)[ids]
    assert_allclose(encoder.score(paths, epochs, image_ids=names), expected)


# --- what is compared was prepared alike -----------------------------------------------------


def test_every_door_compares_with_the_fit(tokens):
    ids = np.repeat(np.arange(48), 2)
    raw = record(tokens, ids)
    raw._data += np.random.default_rng(3).standard_normal((96, 4, 1)) * 15e-6
    ready = raw.copy().apply_baseline((None, 0), verbose="error")
    encoder = ImageToBrainEncoder(regressor=gaussian())
    encoder.fit(tokens[:32], ready[:64], image_ids=ids[:64])
    doors = {
        "score": lambda e: encoder.score(tokens[32:], e, image_ids=ids[64:] - 32),
        "score_evoked": lambda e: encoder.score_evoked(tokens[32:], e, image_ids=ids[64:] - 32),
        "evaluate": lambda e: evaluate(
            encoder, tokens[32:], e, image_ids=ids[64:] - 32, n_draws=0, n_splits=2, n_bootstrap=2
        ),
        "adapt": lambda e: encoder.adapt(tokens[32:], e, subject="b", image_ids=ids[64:] - 32),
    }
    microvolts = ready[64:].copy()
    microvolts._data *= 1e6
    low = ready[64:].copy()
    with low.info._unlock():
        low.info["lowpass"] = 5.0
    for name, door in doors.items():
        with pytest.raises(ValueError, match="has the baseline None"):
            door(raw[64:])
        with pytest.raises(ValueError, match="1e\\+06 times|times as large as those of fit"):
            door(microvolts)
        with pytest.warns(RuntimeWarning, match="low-pass of 5 Hz"):
            door(low)
        if name != "adapt":  # was done with the last
            door(ready[64:])
    assert encoder.subjects_ == ["b"]
    with pytest.raises(ValueError, match="has the baseline None"):
        encoder.fit(tokens, {"a": ready, "b": raw}, image_ids=np.r_[ids, ids])


# --- times -----------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [100, 128, 250 / 3, 30, "decimated", "shifted"])
def test_times_are_those_of_the_recording(rate, rng, tmp_path):
    data = 1e-6 * rng.standard_normal((20, 4, 600))
    info = mne.create_info(NAMES, 1000.0, "eeg")
    epochs = mne.EpochsArray(data, info, tmin=-0.1, verbose="error")
    if rate == "decimated":
        epochs = epochs.decimate(8, offset=3, verbose="error")
    elif rate == "shifted":
        epochs = epochs.decimate(10, verbose="error").shift_time(-0.0137)
    else:
        epochs = epochs.resample(rate, verbose="error")
    tokens = rng.standard_normal((20, 1, 5))
    encoder = ImageToBrainEncoder(regressor=RidgeGaussian()).fit(tokens, epochs)
    encoder.save(tmp_path / "encoder")
    again = read_encoder(tmp_path / "encoder")
    for one in (encoder, again):
        r = one.score_evoked(tokens, epochs)
        generated = one.predict(tokens), one.sample(tokens, 2)
        for made in (*generated, r, generated[0].average()):
            assert_allclose(made.times, epochs.times, rtol=1e-14, atol=1e-15)
            assert made.info["sfreq"] == epochs.info["sfreq"]
        epochs.metadata = generated[0].metadata
        assert len(mne.concatenate_epochs([epochs, *generated], verbose="error")) == 80
        epochs.metadata = None


# --- generated epochs beside recorded ones ---------------------------------------------------


def test_generated_and_recorded_epochs_are_concatenated(tokens, tmp_path):
    events = np.column_stack([np.arange(48) * 100, np.zeros(48, int), 1 + np.arange(48) % 7])
    names = {f"kind {code}": code for code in range(1, 8)}
    frame = pd.DataFrame({"image_id": np.arange(48), "subject": ["s1"] * 48})
    epochs = record(tokens, np.arange(48), events=events, event_id=names, metadata=frame)
    epochs = epochs.apply_baseline((None, 0), verbose="error")
    epochs = epochs.set_eeg_reference(projection=True, verbose="error").apply_proj(verbose="error")
    encoder = ImageToBrainEncoder(regressor=gaussian()).fit(tokens[:40], epochs[:40])
    encoder.save(tmp_path / "encoder")
    draws = encoder.sample(tokens[:10], 3, random_state=0, n_averaged=2)
    labelled = encoder.sample(
        tokens[:4], event_id=["kind 3", "kind 3", "new", "kind 1"], random_state=1
    )
    expected = read_encoder(tmp_path / "encoder").predict(tokens)
    both = mne.concatenate_epochs([epochs, draws, labelled, expected], verbose="error")
    assert both.event_id["generated"] == 10
    assert len(both["generated"]) == 30 + 48
    assert len(both["kind 3"]) == 7 + 2
    assert len(np.unique(both.events[:, 0])) == len(both)
    assert both.metadata["draw"].isna().sum() == 48 + 48
    # and learnt from, saved and read, as they are
    both.save(tmp_path / "both-epo.fif", verbose="error")
    for one in (both, mne.read_epochs(tmp_path / "both-epo.fif", verbose="error")):
        again = ImageToBrainEncoder(regressor=Ridge())
        again.fit(tokens, one, image_ids="image_id")
        assert again.subjects_ == ["s1"]
        assert again.n_trials_ == 48 + 2 * 30 + 4 + 48
        one = one["generated"]
        assert encoder.score(tokens, one, image_ids="image_id") > 0.9


def test_generated_epochs_beside_a_recording_without_metadata(tokens):
    epochs = record(tokens, np.arange(48))
    generated = ImageToBrainEncoder(regressor=gaussian()).fit(tokens, epochs).sample(tokens)
    with pytest.raises(ValueError, match="all or none must have metadata"):
        mne.concatenate_epochs([epochs, generated], verbose="error")
    # what the page on troubleshooting says
    named = epochs.copy()
    named.metadata = pd.DataFrame({"image_id": np.arange(48)})
    both = mne.concatenate_epochs([named, generated], verbose="error")
    np.testing.assert_array_equal(both.metadata["image_id"], np.tile(np.arange(48), 2))
    twice = tokens[np.tile(np.arange(48), 2)]
    assert ImageToBrainEncoder(regressor=Ridge()).fit(twice, [epochs, generated]).n_trials_ == 96
    generated.metadata = None
    assert len(mne.concatenate_epochs([epochs, generated], verbose="error")) == 96


def test_draws_of_averages_say_of_how_many(tokens):
    ids = np.tile(np.arange(48), 4)
    first = ImageToBrainEncoder(regressor=gaussian()).fit(
        tokens, record(tokens, ids, noise=4), image_ids=ids
    )
    means = first.sample(tokens, 4, n_averaged=16, random_state=0)
    assert means.metadata["n_averaged"].unique() == [16]
    second = ImageToBrainEncoder(regressor=gaussian())
    second.fit(tokens, means, image_ids="image_id")
    assert second.n_trials_ == 48 * 4 * 16
    spread = [
        e.sample(tokens, 20, random_state=1).get_data().reshape(48, 20, -1).std(axis=1).mean()
        for e in (first, second)
    ]
    assert_allclose(spread[1] / spread[0], 1, atol=0.15)
    # single trials and averages in one list
    singles = first.sample(tokens, 1, random_state=3)
    assert "n_averaged" not in singles.metadata
    third = ImageToBrainEncoder(regressor=Ridge()).fit(tokens[np.r_[:48, np.repeat(range(48), 4)]],
                                                       [singles, means])  # fmt: skip
    assert third.n_trials_ == 48 + 48 * 4 * 16


def test_generated_epochs_are_judged_like_recorded_ones(tokens):
    ids = np.repeat(np.arange(48), 4)
    epochs = record(tokens, ids)
    encoder = ImageToBrainEncoder(regressor=gaussian())
    encoder.fit(tokens[:30], epochs[:120], image_ids=ids[:120])
    generated = encoder.sample(tokens[30:], 4, random_state=2)
    result = evaluate(
        encoder, tokens[30:], generated, image_ids="image_id", n_draws=10, n_splits=2, n_bootstrap=2
    )
    assert result.value("r") > 0.8
    assert abs(result.value("SD / real") - 1) < 0.15


# --- ids -------------------------------------------------------------------------------------


def test_image_id_is_the_users(shown, tokens):
    paths, of_paths = shown
    ids = np.repeat(np.arange(12), 2)
    frame = pd.DataFrame({"stim": [paths[i].name for i in ids], "image_id": ids + 500})
    epochs = record(of_paths, ids, metadata=frame)
    encoder = ImageToBrainEncoder(Colour(), Ridge())
    encoder.fit(paths, epochs, image_ids="stim")
    expected = [path.name for path in paths[3:6]]
    assert encoder.predict(paths[3:6]).metadata["image_id"].tolist() == expected
    # images that were not in fit are called as those of fit were
    encoder.fit(paths[:8], epochs[:16], image_ids="stim")
    generated = encoder.predict(paths[6:])
    assert generated.metadata["image_id"].tolist() == [path.name for path in paths[6:]]
    assert encoder.score(paths, epochs, image_ids="stim") > 0.5
    again = ImageToBrainEncoder(Colour(), Ridge()).fit(paths, generated, image_ids="image_id")
    assert_array_equal(sorted(again.image_ids_.values()), [path.name for path in paths[6:]])
    # a column of that name, where nothing else was said
    encoder.fit([paths[i] for i in ids], epochs)
    assert encoder.predict(paths[3:6]).metadata["image_id"].tolist() == [503, 504, 505]
    # positions stay positions, of images of fit and of others
    encoder.fit(paths, epochs, image_ids=ids)
    assert encoder.predict(paths[3:6]).metadata["image_id"].tolist() == [3, 4, 5]
    new = np.zeros((2, 8, 8, 3), np.uint8) + np.array([1, 2], np.uint8)[:, None, None, None]
    assert encoder.predict(new).metadata["image_id"].tolist() == [0, 1]
    own = pd.DataFrame({"image_id": [70, 71]})
    assert encoder.predict(new, metadata=own).metadata["image_id"].tolist() == [70, 71]


def test_ids_and_picks_survive_on_disk(tokens, tmp_path):
    ids = np.arange(48)
    encoder = ImageToBrainEncoder(regressor=Ridge(), picks=["Oz", "O1"])
    encoder.fit(tokens, record(tokens, ids), image_ids=ids[::-1].copy())
    encoder.save(tmp_path / "encoder")
    again = read_encoder(tmp_path / "encoder")
    assert again.picks == ["Oz", "O1"]
    assert clone(again).fit(tokens, record(tokens, ids)).ch_names_ == ["Oz", "O1"]
    made = [e.predict(tokens[5:9]).metadata for e in (encoder, again)]
    pd.testing.assert_frame_equal(*made)
    encoder.set_params(picks=slice(1, 3)).fit(tokens, record(tokens, ids))
    encoder.save(tmp_path / "encoder", overwrite=True)
    assert read_encoder(tmp_path / "encoder").picks == ["Oz", "O1"]


# --- subjects --------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [None, np.nan, "", "None", pd.NA])
def test_no_subject_is_invented(tokens, missing):
    runs = [record(tokens, np.arange(start, start + 24)) for start in (0, 24)]
    runs[1].metadata = pd.DataFrame({"subject": [missing] * 24}, dtype=object)
    for order in ([0, 1], [1, 0]):
        images = np.concatenate([tokens[24 * i : 24 * i + 24] for i in order])
        encoder = ImageToBrainEncoder(regressor=Ridge()).fit(images, [runs[i] for i in order])
        assert encoder.subjects_ == []
    assert encoder.predict(tokens).metadata["subject"].isna().all()
    # what it generates has no name either
    fit = ImageToBrainEncoder(regressor=Ridge()).fit(
        tokens, [encoder.predict(tokens[:24]), runs[1]]
    )
    assert fit.subjects_ == []
    runs[1].metadata = pd.DataFrame({"subject": ["s1"] * 24})
    for order in ([0, 1], [1, 0]):
        with pytest.raises(ValueError, match="'subject' .* is empty .24 of 48 are"):
            ImageToBrainEncoder(regressor=Ridge()).fit(tokens, [runs[i] for i in order])
    runs[1].metadata.loc[3, "subject"] = missing
    with pytest.raises(ValueError, match="Row 3 of the metadata column 'subject'"):
        ImageToBrainEncoder(regressor=Ridge()).fit(tokens[24:], runs[1])


def test_subjects_have_names(tokens):
    epochs = record(tokens, np.arange(48))
    encoder = ImageToBrainEncoder(regressor=gaussian()).fit(tokens, epochs)
    for nobody in (None, "", "None"):
        with pytest.raises(ValueError, match="names nobody"):
            encoder.adapt(tokens, epochs, subject=nobody)
        with pytest.raises(ValueError, match="which names no subject"):
            ImageToBrainEncoder().fit(tokens, {nobody: epochs})
    with pytest.raises(ValueError, match="keys with the same name"):
        ImageToBrainEncoder().fit(tokens, {1: epochs, "1": epochs})
    assert encoder.subjects_ == []


# --- refused before anything is done ---------------------------------------------------------


def test_objects_that_hold_no_response(tokens):
    epochs = record(tokens, np.arange(48), tmin=-0.05)
    encoder = ImageToBrainEncoder(regressor=Ridge()).fit(tokens, epochs)
    r = encoder.score_evoked(tokens, epochs)
    average, error = epochs.average(), epochs.standard_error()
    none = average.copy()
    none.nave = 0
    refused = {
        r"epochs is complex|epochs holds complex data.*envelope": epochs.copy().apply_hilbert(),
        r"epochs\[1\] holds complex data": [average, _complex(average)],
        r"epochs\[1\] is a standard error .*give averages": [average, error],
        r"epochs\[1\] is a map without a unit": [average, r],
        r"epochs\[1\] is the average of nave=0 trials": [average, none],
    }
    for match, value in refused.items():
        for call in (encoder.fit, encoder.score, lambda x, e: evaluate(encoder, x, e)):
            with pytest.raises(ValueError, match=match):
                call(tokens, value)


def _complex(evoked):
    evoked = evoked.copy()
    evoked.data = evoked.data + 1j * evoked.data
    return evoked


class Untouched(Colour):
    """An embedder that nobody should come to."""

    def fit(self, images, y=None):
        raise AssertionError


def test_copies_of_a_trial_under_other_images(tokens):
    epochs = record(tokens, np.arange(48))
    encoder = ImageToBrainEncoder(regressor=gaussian()).fit(tokens[:40], epochs[:40])
    copied = epochs.copy()
    copied._data[45] = copied._data[41]
    for call in (
        lambda: encoder.fit(tokens, copied),
        lambda: encoder.score(tokens[40:], copied[40:]),
        lambda: encoder.adapt(tokens[40:], copied[40:], subject="b"),
        lambda: evaluate(encoder, tokens[40:], copied[40:]),
    ):
        with pytest.raises(ValueError, match=r"Trials \d+ and \d+ are equal to the last bit"):
            call()
    # before anything is embedded, which may take hours
    paths = [np.full((4, 4, 3), i, np.uint8) for i in range(48)]
    with pytest.raises(ValueError, match="Trials 41 and 45 are equal"):
        ImageToBrainEncoder(Untouched(), Ridge()).fit(paths, copied)
    with pytest.raises(ValueError, match=r"groups has shape \(47,\)"):
        ImageToBrainEncoder(Untouched(), Ridge()).fit(paths, epochs, groups=np.arange(47))
    with pytest.raises(TypeError, match="groups is a set, which has no order"):
        ImageToBrainEncoder(Untouched(), Ridge()).fit(paths, epochs, groups=set(range(48)))
    with pytest.raises(ValueError, match=r"groups\[0\] is nan \(48 of 48 are missing\)"):
        ImageToBrainEncoder(Untouched(), Ridge()).fit(paths, epochs, groups=np.full(48, np.nan))
    # the same image may be predicted twice
    same = encoder.predict(tokens[[40, 41, 42, 40]])
    assert encoder.score(tokens[[40, 41, 42, 40]], same) == pytest.approx(1)


@pytest.mark.parametrize(
    "regressor", [gaussian(), Ridge(), RidgeBaseline(), RidgeGaussian()], ids=str
)
@pytest.mark.parametrize("concept", [["dog"] * 48, ["dog"] * 47 + ["cat"], [None] * 48, range(48)])
def test_a_column_nobody_asked_for_fails_no_fit(tokens, regressor, concept):
    epochs = record(tokens, np.arange(48), metadata=pd.DataFrame({"concept": concept}))
    encoder = ImageToBrainEncoder(regressor=regressor).fit(tokens, epochs)
    assert encoder.score(tokens, epochs) > 0.5


def test_a_column_of_subjects_nobody_asked_for(tokens):
    frame = pd.DataFrame({"subject": ["a", "b"] * 24})
    epochs = record(tokens, np.arange(48), metadata=frame)
    encoder = ImageToBrainEncoder(regressor=Ridge())
    with pytest.warns(RuntimeWarning, match="'subject' names 2 subjects, which Ridge cannot tell"):
        encoder.fit(tokens, epochs)
    assert encoder.subjects_ == []
    alone = ImageToBrainEncoder(regressor=Ridge()).fit(
        tokens, mne.EpochsArray(epochs.get_data(), epochs.info, tmin=epochs.tmin, verbose="error")
    )
    assert_array_equal(encoder.predict(tokens).get_data(), alone.predict(tokens).get_data())
    # asked for, it is an error
    with pytest.raises(ValueError, match="cannot tell apart"):
        encoder.fit(tokens, {"a": epochs[:24], "b": epochs[24:]})
    assert ImageToBrainEncoder(regressor=gaussian()).fit(tokens, epochs).subjects_ == ["a", "b"]


def test_one_time_point(tokens):
    epochs = record(tokens, np.arange(48)).crop(0.05, 0.05)
    encoder = ImageToBrainEncoder(regressor=Ridge()).fit(tokens[:40], epochs[:40])
    assert encoder.score(tokens[40:], epochs[40:]) > 0.5
    larger = epochs[40:].copy()
    larger._data *= 1e6
    with pytest.raises(ValueError, match="times as large as those of fit"):
        encoder.score(tokens[40:], larger)


def test_times_before_onset_only(tokens):
    with pytest.warns(RuntimeWarning, match="not after image onset"):
        ImageToBrainEncoder(regressor=Ridge()).fit(tokens, record(tokens, range(48), tmin=-0.5))


def test_one_label_and_caption_an_image(tokens):
    epochs = record(tokens, np.arange(48))
    encoder = ImageToBrainEncoder(regressor=Ridge()).fit(tokens[:40], epochs[:40])
    images = tokens[[40, 41, 42, 40, 44, 45]]
    labels = [0, 1, 0, 1, 0, 1]
    match = r"images\[0\] and images\[3\] are the same image, but their labels differ"
    with pytest.raises(ValueError, match=match):
        evaluate(encoder, images, epochs[40:46], labels=labels)
    with pytest.raises(ValueError, match="captions differ"):
        evaluate(encoder, images, epochs[40:46], captions=list("abcdef"))
    with pytest.raises(ValueError, match="5 captions for 6 images"):
        evaluate(encoder, images, epochs[40:46], captions=list("abcde"))
