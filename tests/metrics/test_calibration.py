import numpy as np
import pytest
import scoringrules
from scipy.stats import chisquare, norm

from mne_img2brain.metrics import coverage, crps, energy_score, rank_histogram
from mne_img2brain.metrics.calibration import energy_score_by_image


@pytest.mark.parametrize("n_draws", [19, 25, 200])
def test_coverage_of_exchangeable_draws_is_the_level(rng, n_draws):
    # Exact whatever the distribution: here a skewed one.
    draws = rng.exponential(size=(20, n_draws, 4, 50))
    trials = rng.exponential(size=(20, 10, 4, 50))
    # 40,000 trials, but those that share draws are not independent: SE about 0.004.
    assert coverage(draws, trials).mean() == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("spread", [0.5, 2.0])
def test_coverage_closed_form(rng, spread):
    draws = spread * rng.standard_normal((10, 999, 2, 20))
    trials = rng.standard_normal((10, 100, 2, 20))
    # Draws of SD s cover what lies within 1.645 s.
    expected = 2 * norm.cdf(norm.ppf(0.95) * spread) - 1
    assert coverage(draws, trials).mean() == pytest.approx(expected, abs=0.01)
    per_image = coverage(draws, trials, per_image=True)
    np.testing.assert_allclose(per_image.mean(axis=0), coverage(draws, trials))


def test_coverage_needs_draws():
    with pytest.raises(ValueError, match="holds 18 trial.* at least 19"):
        coverage(np.zeros((1, 18, 1, 1)), np.zeros((1, 1, 1, 1)))
    with pytest.raises(ValueError, match="level=90"):
        coverage(np.zeros((1, 18, 1, 1)), np.zeros((1, 1, 1, 1)), level=90)


def test_rank_histogram_flat_hill_and_cup(rng):
    trials = rng.standard_normal((2000, 1, 1, 1))
    draws = rng.standard_normal((2000, 9, 1, 1))
    counts = rank_histogram(draws, trials)
    assert counts.sum() == 2000
    # Exchangeable: each of the ten ranks has probability 0.1.
    assert chisquare(counts).pvalue > 0.01
    cup, hill = (rank_histogram(s * draws, trials, n_bins=5) for s in (0.3, 3.0))
    assert cup[[0, -1]].min() > 2 * cup[1:-1].max()
    assert hill[2] > 2 * hill[[0, -1]].max()


def test_rank_histogram_ties_and_errors():
    # Everything is equal: ranks are drawn by lot, evenly.
    counts = rank_histogram(np.zeros((3000, 3, 1, 1)), np.zeros((3000, 1, 1, 1)))
    assert chisquare(counts).pvalue > 0.01
    with pytest.raises(ValueError, match="n_bins=3 does not divide the 4 ranks"):
        rank_histogram(np.zeros((1, 3, 1, 1)), np.zeros((1, 1, 1, 1)), n_bins=3)
    with pytest.raises(ValueError, match="same number of draws"):
        rank_histogram([np.zeros((2, 1, 1)), np.zeros((3, 1, 1))], np.zeros((2, 1, 1, 1)))


def test_crps_is_scoringrules(rng):
    draws, trials = rng.standard_normal((3, 7, 2, 4)), rng.standard_normal((3, 5, 2, 4))
    expected = np.mean(
        [
            scoringrules.crps_ensemble(trials[:, k], draws, m_axis=1, estimator="fair")
            for k in range(5)
        ],
        axis=0,
    )
    np.testing.assert_allclose(crps(draws, trials, per_image=True), expected)
    np.testing.assert_allclose(crps(draws, trials), expected.mean(axis=0))


def test_crps_of_a_gaussian(rng):
    draws = rng.standard_normal((1, 4000, 1, 1))
    # Gneiting and Raftery (2007), equation 21, for N(0, 1):
    # y (2 Phi(y) - 1) + 2 phi(y) - 1/sqrt(pi)
    for y in (0.0, 1.5):
        expected = y * (2 * norm.cdf(y) - 1) + 2 * norm.pdf(y) - 1 / np.sqrt(np.pi)
        score = crps(draws, np.full((1, 1, 1, 1), y))
        assert score[0, 0] == pytest.approx(expected, abs=0.03)


def test_energy_score_is_scoringrules(rng):
    draws, trials = rng.standard_normal((3, 7, 2, 4)), rng.standard_normal((3, 5, 2, 4))
    flat_draws, flat_trials = draws.reshape(3, 7, 8), trials.reshape(3, 5, 8)
    expected = [
        np.mean(
            [scoringrules.es_ensemble(y, flat_draws[i], estimator="fair") for y in flat_trials[i]]
        )
        for i in range(3)
    ]
    np.testing.assert_allclose(energy_score_by_image(draws, trials), expected)
    # Sensors in other units: the scale undoes them.
    unit = np.array([1e-6, 1e12])
    scaled = (unit[:, None] * y for y in (draws, trials))
    assert energy_score(*scaled, scale=unit) == pytest.approx(np.mean(expected))


def test_energy_score_prefers_the_truth(rng):
    trials = rng.standard_normal((20, 30, 2, 10))
    score = {s: energy_score(s * rng.standard_normal((20, 60, 2, 10)), trials) for s in (0.5, 1, 2)}
    assert score[1] == min(score.values())
