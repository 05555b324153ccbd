import numpy as np
import pytest

from mne_img2brain.metrics import ceiling_r2, ncsnr, r_map, spearman_brown, split_half_ceiling


@pytest.fixture(scope="module")
def simulated():
    """Signal of SD 0.6, trial noise of SD 1, 8 trials of 3000 images: all ceilings are known."""
    rng = np.random.default_rng(1)
    signal = 0.6 * rng.standard_normal((3000, 1, 2, 3))
    return signal[:, 0], signal + rng.standard_normal((3000, 8, 2, 3))


def test_split_half_closed_form(simulated):
    signal, trials = simulated
    ceiling = split_half_ceiling(trials, n_splits=20)
    # Classical test theory: the reliability of a mean of n trials is s^2 / (s^2 + 1/n).
    half, full = (0.36 / (0.36 + 1 / n) for n in (4, 8))
    np.testing.assert_allclose(ceiling.lower, half, atol=0.02)
    np.testing.assert_allclose(ceiling.reliability, full, atol=0.02)
    np.testing.assert_allclose(ceiling.full, np.sqrt(full), atol=0.01)
    # The mean of all trials has covariance s^2 + 1/8 with one of its halves.
    upper = (0.36 + 1 / 8) / np.sqrt((0.36 + 1 / 8) * (0.36 + 1 / 4))
    np.testing.assert_allclose(ceiling.upper, upper, atol=0.01)
    # The ceiling is what the true response reaches.
    reached = r_map(trials.mean(axis=1), signal)
    np.testing.assert_allclose(reached.mean(), ceiling.full.mean(), atol=0.01)


def test_unequal_numbers_of_trials(simulated):
    _, trials = simulated
    ragged = [of_image[: 4 + 4 * (index % 2)] for index, of_image in enumerate(trials)]
    between = split_half_ceiling(ragged, n_splits=5).lower
    assert (between > 0.36 / (0.36 + 1 / 2) - 0.03).all()
    assert (between < 0.36 / (0.36 + 1 / 4) + 0.03).all()


def test_splits_depend_on_the_seed_alone(simulated):
    trials = simulated[1][:20]
    first = split_half_ceiling(trials, n_splits=3, random_state=5)
    np.testing.assert_array_equal(first, split_half_ceiling(trials, n_splits=3, random_state=5))
    assert (first.lower != split_half_ceiling(trials, n_splits=3, random_state=6).lower).all()


def test_ncsnr_closed_form(simulated):
    _, trials = simulated
    result = ncsnr(trials)
    np.testing.assert_allclose(result.signal_sd, 0.6, atol=0.03)
    np.testing.assert_allclose(result.noise_sd, 1.0, atol=0.01)
    np.testing.assert_allclose(result.ncsnr, 0.6, atol=0.03)
    # R^2, not r: its root is the r that split halves give.
    ceiling = np.sqrt(ceiling_r2(result.ncsnr, 8))
    np.testing.assert_allclose(ceiling, split_half_ceiling(trials, n_splits=5).full, atol=0.02)


def test_no_noise_and_no_signal(rng):
    signal = rng.standard_normal((5, 1, 1, 1))
    assert np.isinf(ncsnr(np.repeat(signal, 2, axis=1)).ncsnr).all()
    assert ceiling_r2(np.inf, 1) == 1
    # Every image has the same two trials: no image differs from another.
    assert ncsnr(np.tile([0.0, 1.0], (5, 1))[..., None, None]).ncsnr == 0


def test_spearman_brown_composes():
    # Four times as long is twice as long, twice; 0.5 becomes 2/3 (Brown 1910).
    assert spearman_brown(0.5) == pytest.approx(2 / 3)
    assert spearman_brown(0.3, 4) == pytest.approx(spearman_brown(spearman_brown(0.3)))


def test_spearman_brown_of_halves_that_disagree():
    # -0.9 would become -18, which no correlation is.
    np.testing.assert_array_equal(spearman_brown(np.array([-0.9, 0.0, 1.0])), [np.nan, 0, 1])


def test_errors():
    with pytest.raises(ValueError, match=r"trials\[0\] holds 1 trial.* at least 2"):
        split_half_ceiling(np.zeros((4, 1, 2, 3)))
    with pytest.raises(ValueError, match="2 image.*needs three"):
        split_half_ceiling(np.zeros((2, 2, 2, 3)))
    with pytest.raises(ValueError, match="1 trial|at least 2"):
        ncsnr(np.zeros((4, 1, 2, 3)))
    with pytest.raises(ValueError, match=r"trials\[1\] has shape \(2, 3\)"):
        ncsnr([np.zeros((2, 1, 3)), np.zeros((2, 3))])
