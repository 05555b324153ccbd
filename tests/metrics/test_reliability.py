"""Ceilings against known truth: a model that knows it reaches them, whatever the design."""

import numpy as np
import pytest

from mne_img2brain.metrics import ceiling_of_r, halves_agree, r_map, split_half_ceiling
from mne_img2brain.metrics.reliability import noise_variance

N_CHANNELS, N_TIMES = 12, 50
SENSORS = {  # the signal of each sensor, beside a mean of 1
    "equal": np.ones(N_CHANNELS),
    "different": np.linspace(0.2, 1.8, N_CHANNELS),
    "half have none": np.where(np.arange(N_CHANNELS) < N_CHANNELS // 2, 0, np.sqrt(2)),
    "a fourth has all": np.where(np.arange(N_CHANNELS) < 3 * N_CHANNELS // 4, 0, 2.0),
}

FEW = ("half have none", "a fourth has all")


def simulate(n_images, n_trials, signal, sensors, seed):
    """Noise of SD 1, signal of a known SD: return truth, trials, and the expected ceiling."""
    rng = np.random.default_rng(seed)
    sd = signal * sensors[:, None]
    truth = sd * rng.standard_normal((n_images, N_CHANNELS, N_TIMES))
    noise = rng.standard_normal((n_images, n_trials, N_CHANNELS, N_TIMES))
    return truth, truth[:, None] + noise, np.sqrt(sd**2 / (sd**2 + 1 / n_trials)).mean()


@pytest.mark.parametrize("sensors", SENSORS)
@pytest.mark.parametrize("signal", [0.25, 0.5, 1.0])
@pytest.mark.parametrize(("n_images", "n_trials"), [(12, 2), (12, 20), (60, 4), (200, 2)])
def test_known_truth(n_images, n_trials, signal, sensors):
    found, reached, expected = [], [], []
    for seed in range(8 if n_images < 60 else 3):
        truth, trials, known = simulate(n_images, n_trials, signal, SENSORS[sensors], seed)
        found.append(ceiling_of_r(trials).mean())
        reached.append(np.nan_to_num(r_map(trials.mean(axis=1), truth)).mean())
        expected.append(known)
    # Of the weakest designs with few sensors that know anything one recording may say nothing.
    has_ceiling = np.isfinite(found)
    assert has_ceiling.sum() >= len(found) - (sensors in FEW and signal < 0.5 and n_images < 60)
    found, reached = np.array(found)[has_ceiling], np.array(reached)[has_ceiling]
    assert np.mean(found) == pytest.approx(np.mean(reached), abs=0.05)
    assert np.mean(found) == pytest.approx(np.mean(expected), abs=0.05)
    # That is the mean over recordings. One of 12 images x 2 trials is off by 0.1 now and then.
    if n_images >= 60:
        np.testing.assert_allclose(found, reached, atol=0.05)


def test_map_says_where_there_is_signal():
    signal = np.where(np.arange(N_CHANNELS) < 6, 0.1, 1.9)
    _, trials, _ = simulate(60, 4, 0.5, signal, 0)
    by_sensor = split_half_ceiling(trials, n_splits=2).full.mean(axis=1)
    # sqrt(s^2 / (s^2 + 1 / 4)) with s = 0.05 and 0.95; weak cells are drawn to their like.
    np.testing.assert_allclose(by_sensor[6:], 0.885, atol=0.03)
    assert by_sensor[:6].max() < 0.3


def test_no_signal_no_ceiling():
    false_alarms = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        shape = rng.integers(3, 40), rng.integers(2, 9), 4, 15
        # Slow noise that sensors share: cells are far from independent.
        noise = rng.standard_normal(shape).cumsum(axis=-1) + rng.standard_normal((*shape[:2], 1, 1))
        false_alarms.append(halves_agree(noise, random_state=seed))
    # One in a hundred by design: 200 times, 8 or more have a probability of 0.001.
    assert sum(false_alarms) < 8
    rng = np.random.default_rng(0)
    ceiling = split_half_ceiling(rng.standard_normal((12, 2, 20, 40)), n_splits=2)
    assert np.isnan(ceiling.full).all()
    assert np.isnan(ceiling.reliability).all()


def test_few_images_of_many_trials_are_distinguished():
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((3, 1, 4, 20))
    assert halves_agree(signal + 0.5 * rng.standard_normal((3, 4, 4, 20)))
    # Three images of two trials have six orders: no permutation test can tell.
    assert not halves_agree(signal + 0.5 * rng.standard_normal((3, 2, 4, 20)))


def test_images_with_other_numbers_of_trials():
    truth, trials, _ = simulate(150, 8, 0.5, SENSORS["equal"], 0)
    ragged = [t[: (1, 2, 4, 8)[index % 4]] for index, t in enumerate(trials)]
    mean = np.stack([t.mean(axis=0) for t in ragged])
    found = ceiling_of_r(ragged).mean()
    assert found == pytest.approx(r_map(mean, truth).mean(), abs=0.03)
    # Averages of four and of two say so: their weights count, and the mean is the weighted one.
    weights = [np.array([4.0, 2.0])] * len(trials)
    averages = np.stack([trials[:, :4].mean(axis=1), trials[:, 4:6].mean(axis=1)], axis=1)
    mean = (4 * averages[:, 0] + 2 * averages[:, 1]) / 6
    found = ceiling_of_r(averages, weights).mean()
    assert found == pytest.approx(r_map(mean, truth).mean(), abs=0.03)
    variance, left, df = noise_variance(list(averages), weights)
    assert variance.mean() == pytest.approx(1, abs=0.05)
    np.testing.assert_allclose(left, 1 / 6)
    assert df == 150


def test_cells_that_do_not_vary_and_noise_that_is_not_there():
    truth, trials, _ = simulate(20, 4, 1.0, SENSORS["equal"], 0)
    trials[..., :5] = 3.0
    trials[:, :, 0] = truth[:, None, 0]
    ceiling = ceiling_of_r(trials)
    assert np.isnan(ceiling[1:, :5]).all()
    np.testing.assert_array_equal(ceiling[0], 1)
    assert np.isfinite(ceiling[1:, 5:]).all()


def test_unit_does_not_matter():
    _, trials, _ = simulate(20, 4, 1.0, SENSORS["equal"], 0)
    np.testing.assert_allclose(ceiling_of_r(trials), ceiling_of_r(1e-13 * trials), rtol=1e-6)
