"""Trial clusters: the covariance of the sample, and the broadband power of its trials."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import kurtosis

from mne_img2brain.metrics import classifier_two_sample, default_classifiers
from mne_img2brain.noise.clusters import TrialClusters
from mne_img2brain.noise.trial_noise import TrialNoise

N, C, T = 400, 3, 32


@pytest.fixture
def recording(rng):
    """Make trials of two recordings: one quiet, one loud and mixed otherwise."""
    mixing = rng.standard_normal((2, C, C)) * np.array([0.3, 2.0])[:, None, None]

    def make(n):
        loud = rng.random(n) < 0.4
        return mixing[loud.astype(int)] @ rng.standard_normal((n, C, T))

    return make


def test_states_are_found_and_every_trial_has_one(recording, rng):
    trials = recording(N)
    states = TrialClusters().fit(trials, rng)
    sizes = np.diff(states.bounds_)
    assert sizes.min() >= 12
    assert sizes.max() < 24
    assert sizes.sum() == N
    order = np.lexsort(states.trials_.T)
    flat = trials.reshape(N, -1).astype(np.float32)
    assert_array_equal(states.trials_[order], flat[np.lexsort(flat.T)])
    # trials of a state are loud or quiet, not both
    power = np.log(np.square(states.trials_).sum(axis=1))
    parts = np.split(power, states.bounds_[1:-1])
    assert np.average([part.var() for part in parts], weights=sizes) < 0.1 * power.var()


def test_draws_have_the_covariance_of_the_sample(recording, rng):
    trials = recording(N)[:, :, :16]
    draws = TrialClusters().fit(trials, rng).draw(rng.standard_normal((60_000, C, 16)))
    flat, made = trials.reshape(N, -1), draws.reshape(len(draws), -1)
    assert_allclose(made.mean(axis=0) / made.std(axis=0), 0, atol=0.02)
    expected, covariance = flat.T @ flat / N, made.T @ made / len(made)
    assert_allclose(covariance, expected, atol=0.03 * np.diag(expected).max())
    assert_allclose(np.diag(covariance), np.diag(expected), rtol=0.06)
    # heavy tails, as trials have them; one Gaussian would have 0
    assert_allclose(kurtosis(made.ravel()), kurtosis(flat.ravel()), rtol=0.25)


def test_a_classifier_sees_one_gaussian_and_not_states(recording, rng):
    fitted, others = recording(N), recording(N)
    by_states = TrialClusters().fit(fitted, rng).draw(rng.standard_normal((N, C, T)))
    flat = fitted.reshape(N, -1)
    one = rng.multivariate_normal(np.zeros(C * T), flat.T @ flat / N, N).reshape(N, C, T)
    classifiers = {"boosted": default_classifiers(0)["boosted"]}
    told = [
        np.mean(
            classifier_two_sample(
                np.split(made, 10), np.split(others, 10), classifiers=classifiers
            )["boosted"]
        )
        for made in (by_states, one)
    ]
    assert told[0] < 0.65
    assert told[1] > 0.8


def test_a_draw_depends_on_its_numbers_alone(recording, rng):
    states = TrialClusters().fit(recording(N), rng)
    noise = rng.standard_normal((50, C, T))
    assert_array_equal(states.draw(noise)[20:30], states.draw(noise[20:30]))
    extreme = np.zeros((2, C, T)) + np.array([-40.0, 40.0])[:, None, None]
    assert np.isfinite(states.draw(extreme)).all()


@pytest.mark.parametrize("shape", [(99, C, T), (N, 1, 23)])
def test_too_little_makes_no_states(shape, rng):
    assert TrialClusters().fit(rng.standard_normal(shape), rng).trials_ is None


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((99, 3, 40), "99 trials are too few"),
        ((200, 1, 20), "20 values a trial are too few"),
        ((100, 2, 90000), "180000 values a trial are too many; decimate"),
    ],
)
def test_that_there_are_no_states_is_said(shape, message, caplog):
    """One Gaussian is easier to separate from trials, so the log says why there is nothing else."""
    import mne

    with mne.utils.use_log_level("INFO"), caplog.at_level("INFO", logger="mne"):
        TrialClusters().fit(np.zeros(shape, np.float32), np.random.default_rng(0))
    assert message in caplog.text


def test_very_many_trials_are_thinned(recording, rng, monkeypatch):
    monkeypatch.setattr("mne_img2brain.noise.clusters._MAX_VALUES", 150 * C * T)
    assert TrialClusters().fit(recording(N), rng).trials_.shape == (150, C * T)
    monkeypatch.setattr("mne_img2brain.noise.clusters._MAX_VALUES", 99 * C * T)
    assert TrialClusters().fit(recording(N), rng).trials_ is None


def test_a_silent_sensor_stays_silent_and_the_rank_is_kept(recording, rng):
    trials = recording(N)
    trials[:, 2] = 0
    trials[:, 1] = -trials[:, 0]
    whitener = TrialNoise().fit(trials.copy())
    draws = whitener.draw(rng.standard_normal((30, C, T)))
    assert_allclose(draws[:, 2], 0, atol=1e-6)
    assert_allclose(draws[:, 1], -draws[:, 0], rtol=1e-4, atol=1e-5)


def test_without_states_noise_is_gaussian(rng):
    whitener = TrialNoise().fit(rng.standard_normal((60, C, T)))
    noise = rng.standard_normal((5, C, T))
    assert whitener.clusters_.trials_ is None
    assert_array_equal(whitener.draw(noise), whitener.inverse_transform(noise))


def test_draws_of_gaussian_trials_are_gaussian():
    kept, spread, extreme = 0, [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        mixing = rng.standard_normal((C, C))
        fitted, others = (
            mixing @ np.cumsum(rng.standard_normal((n, C, T)), axis=2) for n in (300, 1000)
        )
        whitener = TrialNoise().fit(fitted.copy())
        kept += whitener.n_stored_trials > 0
        draws = whitener.draw(rng.standard_normal((1000, C, T)))
        power, true = (np.square(np.abs(np.fft.rfft(x)))[..., 1:] for x in (draws, others))
        starts = 2 ** np.arange(5) - 1
        logs = [np.log(np.add.reduceat(x, starts, axis=2).mean(axis=1)) for x in (power, true)]
        spread.append(logs[0].std(axis=0) / logs[1].std(axis=0))
        # of 3000 chi-square numbers with one degree of freedom
        extreme.append((power[..., -1] / power[..., -1].mean(axis=0)).max())
    assert kept <= 1
    assert_allclose(np.mean(spread, axis=0), 1, atol=0.04)
    assert np.median(extreme) < 20


def test_the_offset_does_not_part_trials(rng):
    # a baseline of the whole epoch leaves rounding in place of the offset
    log_size = 0.15 * rng.standard_normal(N)
    trials = np.exp(log_size)[:, None, None] * rng.standard_normal((N, 8, 64))
    trials -= trials.mean(axis=2, keepdims=True)
    states = TrialClusters().fit(trials, rng)
    power = np.log(np.square(states.trials_).sum(axis=1))
    parts = np.split(power, states.bounds_[1:-1])
    assert np.average([part.var() for part in parts], weights=np.diff(states.bounds_)) < (
        0.2 * power.var()
    )


def test_without_trials_draws_have_their_covariance(recording, rng):
    for n in (150, 1500):  # fewer trials than values, and more
        trials = recording(n)[:, :, :16].copy()
        whitener = TrialNoise().fit(trials.copy())
        assert whitener.n_stored_trials == n
        bare = whitener.without_trials()
        assert bare.n_stored_trials == 0
        noise = rng.standard_normal((60_000, C, 16))
        flat = trials.reshape(n, -1)
        expected = flat.T @ flat / n
        # with gains of sources the power of every channel stays
        power = np.square(bare.draw(noise)).mean(axis=(0, 2))
        assert_allclose(power, np.square(trials).mean(axis=(0, 2)), rtol=0.05)
        bare.clusters_.gains_ = None
        draws = bare.draw(noise).reshape(60_000, -1)
        covariance = draws.T @ draws / len(draws)
        assert_allclose(covariance, expected, atol=0.03 * np.diag(expected).max())
        # no trial is among what is kept
        kept = bare.clusters_.components_ * whitener.scale_.repeat(16, axis=1).ravel()
        kept /= np.linalg.norm(kept, axis=1, keepdims=True) + 1e-12
        alike = np.abs(kept @ (flat / np.linalg.norm(flat, axis=1, keepdims=True)).T)
        assert alike.max() < 0.9
