"""Scores of trial power: what they are, how they are drawn, what does not matter."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mne_img2brain.encoder.saving import pack, unpack
from mne_img2brain.noise.trial_power import BLUR, TrialPower


def record(seed, n=400):
    """Noise and a rhythm whose log amplitude differs between trials: trials, log amplitude."""
    rng = np.random.default_rng(seed)
    level, phase = rng.normal(0, 0.8, n), rng.uniform(0, 2 * np.pi, (n, 1))
    rhythm = 3 * np.exp(level)[:, None] * np.sin(2 * np.pi * 8 * np.arange(64) / 64 + phase)
    return rng.standard_normal((n, 4, 64)) + rhythm[:, None] * np.ones((4, 1)), level


@pytest.mark.parametrize("seed", range(3))
def test_the_first_score_is_what_trials_differ_in(seed):
    trials, level = record(seed)
    scores = TrialPower().fit(trials, None, np.random.default_rng(0))
    assert scores.shape == (400, 8)
    assert_allclose(scores.std(axis=0), 1, rtol=0.02)
    assert abs(np.corrcoef(scores[:, 0], level)[0, 1]) > 0.9


def test_scores_are_drawn_as_blurred_scores_are_distributed():
    trials, _ = record(0)
    power, rng = TrialPower(), np.random.default_rng(1)
    scores = power.fit(trials, None, np.random.default_rng(0))
    drawn = power.draw(rng.standard_normal((20_000, 12)))
    assert drawn.shape == (20_000, 8)
    blurred = scores + BLUR * rng.standard_normal(scores.shape)
    at = [0.05, 0.25, 0.5, 0.75, 0.95]
    assert_allclose(np.quantile(drawn, at, axis=0), np.quantile(blurred, at, axis=0), atol=0.25)
    assert_allclose(np.corrcoef(drawn.T), np.corrcoef(blurred.T), atol=0.15)
    assert drawn.min() >= power.quantiles_.min()


def test_trials_of_the_fit_have_the_scores_of_the_fit():
    trials, _ = record(0)
    power = TrialPower()
    scores = power.fit(trials, None, np.random.default_rng(0))
    assert_allclose(power.scores(trials), scores, atol=1e-3)
    arrays = {}
    back = unpack(pack(power, arrays), arrays)
    assert_allclose(back.scores(1 * trials), scores, atol=1e-3)


def test_neither_units_nor_subjects_matter():
    trials, level = record(0)
    scores = TrialPower().fit(trials, None, np.random.default_rng(0))
    small = TrialPower().fit(1e-6 * trials, None, np.random.default_rng(0))
    assert_allclose(small, scores, atol=1e-2)
    subject = np.arange(400) % 2
    louder = trials * (1 + 9 * subject)[:, None, None]
    of_two = TrialPower().fit(louder, subject, np.random.default_rng(0))
    assert_allclose(of_two[subject == 1].mean(axis=0), 0, atol=1e-3)
    assert abs(np.corrcoef(of_two[:, 0], level)[0, 1]) > 0.9
