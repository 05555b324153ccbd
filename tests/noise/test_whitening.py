"""Whitening of residuals in space and time."""

import json

import numpy as np
import pytest
from scipy.linalg import sqrtm, toeplitz

from mne_img2brain.encoder.saving import pack, unpack
from mne_img2brain.noise import trial_noise, whitening
from mne_img2brain.noise.covariance import list_candidates
from mne_img2brain.noise.trial_noise import TrialNoise
from mne_img2brain.noise.whitening import SpaceTimeWhitener

N_CHANNELS, N_TIMES = 4, 12
STRUCTURES = ["kronecker", "separate", "time_wise", "space_wise", "full"]


@pytest.fixture
def choose(monkeypatch):
    """Return what leaves one structure to choose; twice, so that its targets are judged."""

    def choose(structure):
        def candidates(shape, n_trials):
            return 2 * [one for one in list_candidates(shape, n_trials) if one[0] == structure]

        monkeypatch.setattr(whitening, "list_candidates", candidates)

    return choose


def kronecker_noise(rng, n_trials):
    """Return noise whose covariance over sensors and times is a product, and that covariance."""
    mixing = rng.standard_normal((N_CHANNELS, N_CHANNELS)) + 2 * np.eye(N_CHANNELS)
    space, time = mixing @ mixing.T, toeplitz(0.8 ** np.arange(N_TIMES))
    root = np.linalg.cholesky(time)
    noise = mixing @ rng.standard_normal((n_trials, N_CHANNELS, N_TIMES)) @ root.T
    return noise, np.kron(space, time)


def covariance_of(whitener, shape=(N_CHANNELS, N_TIMES)):
    """Colour the identity: the covariance of draws, in the unit of the residuals."""
    size = np.prod(shape)
    root = whitener.inverse_transform(np.eye(size).reshape(size, *shape)).reshape(size, size)
    return root.T @ root


def test_kronecker_covariance_is_found(rng):
    noise, covariance = kronecker_noise(rng, 3000)
    whitener = TrialNoise().fit(noise)
    estimate = covariance_of(whitener)
    # 3000 trials: the sample covariance itself, 48 x 48, is off by about sqrt(48 / 3000) = 0.13.
    sample = np.cov(noise.reshape(len(noise), -1).T)
    error = np.linalg.norm(estimate - covariance) / np.linalg.norm(covariance)
    assert error < 1.05 * np.linalg.norm(sample - covariance) / np.linalg.norm(covariance)
    fresh = whitener.transform(noise)
    np.testing.assert_allclose(np.cov(fresh.reshape(len(fresh), -1).T), np.eye(48), atol=0.15)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_inverse_and_scale(rng, choose, structure):
    choose(structure)
    noise, _ = kronecker_noise(rng, 200)
    whitener = TrialNoise().fit(noise)
    white = whitener.transform(noise)
    assert 0.9 < white.std() < 1.1
    np.testing.assert_allclose(whitener.inverse_transform(white), noise, atol=1e-10)
    # volts for microvolts: the same white residuals
    small = TrialNoise().fit(noise * 1e-6)
    np.testing.assert_allclose(small.transform(noise * 1e-6), white, atol=1e-8)


def test_whitening_is_symmetric_in_standardised_units(rng, choose):
    choose("kronecker")
    noise, _ = kronecker_noise(rng, 1000)
    whitener = TrialNoise().fit(noise)
    root = whitener.inverse_transform(np.eye(48).reshape(48, N_CHANNELS, N_TIMES))
    root = (root / whitener.scale_).reshape(48, 48)
    np.testing.assert_allclose(root, root.T, atol=1e-10)
    # scipy's root of the same matrix
    np.testing.assert_allclose(root, sqrtm(root @ root).real, atol=1e-6)


def test_full_sample_covariance(rng):
    # Far more trials than dimensions and no structure: nearly all weight goes to the sample.
    mixing = rng.standard_normal((12, 12)) + 3 * np.eye(12)
    noise = (rng.standard_normal((20000, 12)) @ mixing.T).reshape(-1, 3, 4)
    whitener = TrialNoise().fit(noise)
    assert whitener.whitener_.structure_ == "full"
    assert whitener.whitener_.weight_ > 0.9
    truth = mixing @ mixing.T
    error = np.abs(covariance_of(whitener, (3, 4)) - truth).max()
    assert error < 0.05 * truth.max()


def test_stationary_noise(rng, choose):
    choose("full")
    # A sensor's spectrum of its own and few trials: only stationarity can be estimated.
    ar = [toeplitz(c ** np.arange(30)) for c in (0.95, -0.5, 0.2)]
    noise = np.stack(
        [rng.standard_normal((120, 30)) @ np.linalg.cholesky(one).T for one in ar], axis=1
    )
    whitener = TrialNoise().fit(noise)
    assert whitener.whitener_.target_ == "stationary"
    assert whitener.whitener_.weight_ < 0.2
    estimate = covariance_of(whitener, (3, 30)).reshape(3, 30, 3, 30)
    for channel, truth in enumerate(ar):
        np.testing.assert_allclose(estimate[channel, :, channel], truth, atol=0.25)


def test_rank_is_kept(rng):
    noise, _ = kronecker_noise(rng, 400)
    noise -= noise.mean(axis=1, keepdims=True)  # average reference
    noise -= noise[:, :, :3].mean(axis=2, keepdims=True)  # baseline
    whitener = TrialNoise().fit(noise)
    assert whitener.whitener_.rank_ == (N_CHANNELS - 1) * (N_TIMES - 1)
    np.testing.assert_allclose(
        whitener.inverse_transform(whitener.transform(noise)), noise, atol=1e-10
    )
    draws = whitener.inverse_transform(rng.standard_normal((50, N_CHANNELS, N_TIMES)))
    np.testing.assert_allclose(draws.mean(axis=1), 0, atol=1e-10)
    np.testing.assert_allclose(draws[:, :, :3].mean(axis=2), 0, atol=1e-10)


@pytest.mark.parametrize("n_used", [1200, 300])
def test_error_of_the_mean_does_not_widen_draws(rng, n_used, monkeypatch):
    """Also where noise is learnt from a part of very many trials."""
    monkeypatch.setattr(trial_noise, "_MAX_VALUES", n_used * 48)
    # 300 images x 4 trials; the prediction's error is as large as the noise.
    noise, covariance = kronecker_noise(rng, 1200)
    images = np.repeat(np.arange(300), 4)
    error = kronecker_noise(np.random.default_rng(0), 300)[0][images]
    residuals = noise + error
    sd = np.sqrt(np.trace(covariance))
    whitener = TrialNoise().fit(residuals, groups=images)
    assert whitener.mean_factor_ < 1
    # 1.03 is the most that is allowed; 1200 x 48 values estimate an SD to better than 1 %
    slack = 0.02 * (1200 / n_used - 1) ** 0.5
    assert 1.0 - slack < np.sqrt(np.trace(covariance_of(whitener))) / sd < 1.06 + slack
    assert np.sqrt(np.trace(covariance_of(TrialNoise().fit(residuals)))) / sd > 1.2
    # without an error the residuals are used as they are
    assert TrialNoise().fit(noise, groups=images).mean_factor_ == 1.0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("error", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("counts", [[4] * 100 + [1] * 300, [2] * 200 + [1] * 150])
def test_repeats_of_mixed_number(seed, error, counts):
    """Draws have the SD of noise, also where many images have one trial."""
    rng = np.random.default_rng(seed)
    images = np.repeat(np.arange(len(counts)), counts)
    off = error * rng.standard_normal((len(counts), 4, 10))  # of the predictions
    residuals = rng.standard_normal((len(images), 4, 10)) + off[images]
    whitener = TrialNoise().fit(residuals, groups=images)
    draws = whitener.draw(rng.standard_normal((1000, 4, 10)))
    # 1.03 is what is allowed; 3500 values and more estimate it to about 1 %
    assert 0.97 < draws.std() < 1.06
    if error == 0:
        assert whitener.mean_factor_ == 1.0


def test_averages_count_as_their_trials(rng):
    noise, covariance = kronecker_noise(rng, 900)
    counts = np.tile([1.0, 2.0, 6.0], 300)
    images = np.repeat(np.arange(300), 3)
    error = 5 * rng.standard_normal((300, 1, 1))
    scaled = noise + np.sqrt(counts)[:, None, None] * error[images]  # averages times sqrt(n)
    whitener = TrialNoise().fit(scaled, groups=images, n_averaged=counts)
    ratio = np.trace(covariance_of(whitener)) / np.trace(covariance)
    assert 0.95 < np.sqrt(ratio) < 1.1


def test_state_and_order(rng):
    noise, _ = kronecker_noise(rng, 100)
    whitener = TrialNoise().fit(noise)
    arrays = {}
    structure = json.dumps(pack(whitener, arrays))
    again = unpack(json.loads(structure), arrays)
    np.testing.assert_array_equal(again.transform(noise), whitener.transform(noise))
    np.testing.assert_array_equal(again.draw(noise), whitener.draw(noise))
    np.testing.assert_allclose(whitener.transform(noise[::-1])[::-1], whitener.transform(noise))


@pytest.mark.parametrize("shape", [(2, 1, 1), (2, 3, 20), (30, 1, 1), (5, 3, 1), (40, 1, 20)])
def test_small_data(rng, shape):
    noise = rng.standard_normal(shape)
    whitener = TrialNoise().fit(noise)
    white = whitener.transform(noise)
    assert np.isfinite(white).all()
    np.testing.assert_allclose(whitener.inverse_transform(white), noise, atol=1e-8)


def test_nothing_left_over(rng):
    whitener = TrialNoise().fit(np.zeros((20, 3, 5)))
    assert whitener.whitener_.rank_ == 0
    np.testing.assert_array_equal(whitener.transform(rng.standard_normal((2, 3, 5))), 0)


def test_bad_input(rng):
    noise = rng.standard_normal((10, 2, 3))
    noise[0, 0, 0] = np.nan
    for whitener in (TrialNoise(), TrialNoise("scale")):
        with pytest.raises(ValueError, match="NaN or inf"):
            whitener.fit(noise)


def test_scale_whitener(rng):
    noise = rng.standard_normal((50, 2, 10)) * np.array([1.0, 1e-6])[:, None]
    whitener = TrialNoise("scale").fit(noise)
    white = whitener.transform(noise)
    np.testing.assert_allclose(np.mean(white**2, axis=(0, 2)), 1)
    np.testing.assert_allclose(whitener.inverse_transform(white), noise)
    assert whitener.n_stored_trials == 0


def test_what_only_draws_has_no_covariance(rng):
    """Draws are those of the whitener that whitens too; with few trials they need a covariance."""
    noise, white = rng.standard_normal((2, 150, 3, 20))
    drawing = TrialNoise(draws_only=True).fit(noise)
    np.testing.assert_array_equal(drawing.draw(white), TrialNoise().fit(noise).draw(white))
    assert drawing.whitener_ is None
    few = TrialNoise(draws_only=True).fit(noise[:40])
    np.testing.assert_allclose(few.inverse_transform(few.transform(white)), white, atol=1e-10)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_half_white_residuals_have_the_variance_they_say(rng, choose, structure):
    choose(structure)
    noise = np.cumsum(rng.standard_normal((3000, 3, 12)), axis=2) * np.array([1, 2, 3])[:, None]
    whitener = TrialNoise().fit(noise)
    white = whitener.transform(noise)
    half = whitener.whitener_.half_colour(white)
    np.testing.assert_allclose(whitener.whitener_.half_whiten(half), white, atol=1e-9)
    assert whitener.whitener_.half_variance.mean() == pytest.approx(1)
    assert np.mean(half**2) == pytest.approx(1, rel=0.05)
    ratio = np.log(whitener.whitener_.half_variance.max() / whitener.whitener_.half_variance.min())
    full = np.log(whitener.whitener_.values_.max() / whitener.whitener_.values_.min())
    assert ratio == pytest.approx(full / 2)


def test_whiteners_that_earlier_versions_saved_are_read(rng, choose):
    """They have roots in place of eigenvalues."""
    choose("time_wise")
    noise = np.cumsum(rng.standard_normal((300, 3, 12)), axis=2)
    whitener = TrialNoise().fit(noise)
    state = dict(vars(whitener.whitener_))
    values, vectors = state.pop("values_"), state.pop("vectors_")
    sd = np.sqrt(values)[:, None]
    state |= {"root_": (vectors * sd) @ vectors.mT, "inverse_root_": (vectors / sd) @ vectors.mT}
    back = SpaceTimeWhitener.from_state(state)
    np.testing.assert_allclose(back.transform(noise), whitener.transform(noise), atol=1e-8)
    white = rng.standard_normal((5, 3, 12))
    np.testing.assert_allclose(back.inverse_transform(white), whitener.inverse_transform(white))
    assert not hasattr(back, "root_")
