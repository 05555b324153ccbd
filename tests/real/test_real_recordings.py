"""The encoder learns the brain's response to images from real recordings.

The numbers in the comments were measured with these very settings; bounds leave room.
"""

import warnings

import numpy as np
import pytest
from recordings import checkerboards, meg_sample, n170, semireal
from sklearn.linear_model import RidgeCV
from small_regressors import make_regressor

from mne_img2brain import DiffusionRegressor, GaborEmbedder, ImageToBrainEncoder
from mne_img2brain.metrics import membership_auc

pytestmark = pytest.mark.filterwarnings("ignore:There are 2 distinct images:RuntimeWarning")

# Beside a mean a transformer has no part in what is predicted: a few steps show that it trains.
SMALL = {"hidden_size": 32, "n_layers": 1, "n_heads": 2, "max_iter": 4, "random_state": 0}
RIDGE = RidgeCV(np.logspace(-2, 7, 19))


def n170_folds(folder, subject, regressors):
    """r of predicted and left-out face-minus-house waves: one row a recording, one column each."""
    images, epochs, image, face, recording = n170(folder, subject)
    window = (epochs.times >= 0) & (epochs.times <= 0.6)
    rows = []
    for held in np.unique(recording):
        train = np.flatnonzero(recording != held)
        trials = epochs.get_data()[recording == held]
        faces = face[recording == held].astype(bool)
        wave = trials[faces].mean(axis=0) - trials[~faces].mean(axis=0)
        row = []
        for regressor in regressors:
            encoder = ImageToBrainEncoder(GaborEmbedder(), regressor)
            encoder.fit(images, epochs[train], image_ids=image[train])
            predicted = encoder.predict(images).get_data()
            difference = predicted[12:].mean(axis=0) - predicted[:12].mean(axis=0)
            row.append(np.corrcoef(difference[:, window].ravel(), wave[:, window].ravel())[0, 1])
        rows.append(row)
    return np.array(rows)


@pytest.mark.slow
def test_n170_face_minus_house_of_a_left_out_recording(shared_data):
    r = n170_folds(shared_data, "subject2", [make_regressor(**SMALL), RIDGE])
    ours, ridge = r.mean(axis=0)
    assert ours > 0.25
    assert ours > ridge - 0.05


def laterality(info, field):
    """Right minus left of the mean field strength over posterior gradiometers."""
    positions = np.array([channel["loc"][:3] for channel in info["chs"]])
    back = positions[:, 1] < -0.02
    right = back & (positions[:, 0] > 0.02)
    left = back & (positions[:, 0] < -0.02)
    return field[right].mean() - field[left].mean()


def meg_encoder(folder, regressor, seed=0):
    """Fit on two thirds of the visual trials; return predictions left, right, and the others."""
    epochs, right = meg_sample(folder)
    held = np.random.default_rng(seed).permutation(len(right)) % 3 == 0
    encoder = ImageToBrainEncoder(GaborEmbedder(), regressor)
    train = np.flatnonzero(~held)
    encoder.fit(checkerboards(), epochs[train], image_ids=right[train])
    return encoder.predict(checkerboards()), epochs[np.flatnonzero(held)], right[held]


@pytest.mark.slow
def test_meg_visual_field_is_contralateral(shared_data):
    predicted, held, right = meg_encoder(shared_data, make_regressor(**SMALL))
    first = (held.times >= 0.07) & (held.times <= 0.13)
    recorded = np.stack([held.get_data()[right == side].mean(axis=0) for side in (0, 1)])
    predicted = predicted.get_data()
    for waves in (recorded, predicted):
        strength = np.sqrt((waves[:, :, first] ** 2).mean(axis=2))
        # an image in the left field (row 0) drives the right hemisphere more, and vice versa
        assert laterality(held.info, strength[0]) > laterality(held.info, strength[1])
    difference = [
        (waves[0] - waves[1])[:, held.times >= 0].ravel() for waves in (recorded, predicted)
    ]
    assert np.corrcoef(*difference)[0, 1] > 0.3
    assert 1e-13 < np.abs(predicted).max() < 1e-10  # T/m, as recorded


@pytest.mark.slow
def test_semireal_beats_ridge_on_unseen_images(shared_data, monkeypatch):
    tokens, epochs, image = semireal(shared_data, "train")
    new_tokens, new_epochs, new_image = semireal(shared_data, "val")
    window = (new_epochs.times >= 0.05) & (new_epochs.times <= 0.6)
    r = {}
    for name, regressor in {"ours": DiffusionRegressor(max_iter=0), "ridge": RIDGE}.items():
        encoder = ImageToBrainEncoder(GaborEmbedder(), regressor)
        if name == "ridge":  # no warning is asked for, which takes five more fits
            monkeypatch.setattr("mne_img2brain.encoder.fitting.check_learnt", lambda *_, **__: 0)
        encoder.fit(tokens, epochs, image_ids=image)
        score = encoder.score_evoked(new_tokens, new_epochs, image_ids=new_image)
        r[name] = score.data[:, window].mean()
    assert r["ours"] > r["ridge"] + 0.02
    assert r["ours"] > 0.227


@pytest.mark.slow
@pytest.mark.parametrize("subject", ["subject1", "subject2", "subject3"])
def test_a_weak_effect_is_no_reason_to_warn(shared_data, subject):
    """Four sensors of a headband: r of single images is about 0, and faces still differ."""
    images, epochs, image, _, _ = n170(shared_data, subject)
    shuffled = np.random.default_rng(0).permutation(image)
    for ids, wrong in ((image, False), (shuffled, True)):
        encoder = ImageToBrainEncoder(
            GaborEmbedder(), DiffusionRegressor(max_iter=0, random_state=0)
        )
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            encoder.fit(images, epochs, image_ids=ids)
        told = [str(one.message) for one in said if "do not predict" in str(one.message)]
        assert bool(told) is wrong


def test_draws_tell_who_was_in_the_fit(shared_data):
    # the table of doc/sharing.rst: half of the trials of subject 1 in the fit, half not
    images, epochs, _, face, _ = n170(shared_data, "subject1")
    epochs = epochs.resample(64.0, verbose="error")
    tokens = np.eye(2, dtype=np.float32)[:, None]
    half = np.random.default_rng(0).permutation(len(epochs)) % 2 == 0
    found = {}
    for noise in ("auto", "gaussian"):
        regressor = DiffusionRegressor(noise=noise, max_iter=0, random_state=0)
        encoder = ImageToBrainEncoder(None, regressor).fit(
            tokens, epochs[half], image_ids=face[half]
        )
        expected = encoder.predict(tokens).get_data()
        rest = epochs.get_data() - expected[face]
        draws = encoder.sample(tokens, 1000, random_state=1).get_data()
        draws = draws - np.repeat(expected, 1000, axis=0)
        found[noise] = membership_auc(rest[half], rest[~half], draws)
    chance = 3 * found["auto"].error
    assert encoder.regressor_.n_stored_trials_ == 0
    for noise in found:
        assert abs(found[noise].distance - 0.5) < chance
        assert found[noise].covariance > 0.85
    assert found["auto"].nearest > 0.99
    assert abs(found["gaussian"].nearest - 0.5) < chance
