import itertools

import numpy as np
import pytest

from mne_img2brain.metrics import (
    equivalent_trials,
    identification_curve,
    identification_ranks,
    n_way_accuracy,
    pairwise_accuracy,
    top_k,
)
from mne_img2brain.metrics.identification import pairwise_by_image, similarity


@pytest.fixture
def orthogonal():
    """Four responses, orthogonal and without a mean: rows of a Hadamard matrix (1 row dropped)."""
    rows = np.array([[1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]], float)
    return np.concatenate([np.c_[rows, 0 * rows], np.c_[0 * rows[:1], rows[:1]]])[:, None, :]


def test_similarity_is_numpys(rng):
    y, p = rng.standard_normal((2, 5, 2, 9))
    expected = np.corrcoef(y.reshape(5, -1), p.reshape(5, -1))[:5, 5:]
    np.testing.assert_allclose(similarity(y, p), expected)
    expected = np.corrcoef((y - y.mean(0)).reshape(5, -1), (p - p.mean(0)).reshape(5, -1))[:5, 5:]
    np.testing.assert_allclose(similarity(y, p, centre=True), expected)


def test_ranks_by_hand(orthogonal):
    # Recorded 0 is 2 x prediction 1 plus prediction 0: one image is better. The rest are exact.
    recorded = orthogonal.copy()
    recorded[0] += 2 * orthogonal[1]
    better, equal = identification_ranks(recorded, orthogonal)
    np.testing.assert_array_equal(better, [1, 0, 0, 0])
    np.testing.assert_array_equal(equal, 0)
    np.testing.assert_array_equal(top_k(better, equal, 1), [0, 1, 1, 1])
    np.testing.assert_array_equal(top_k(better, equal, 2), 1)


@pytest.mark.parametrize("centre", [False, True])
def test_equal_predictions_are_at_chance(rng, centre):
    y = rng.standard_normal((40, 3, 5))
    better, equal = identification_ranks(y, np.repeat(y[:1] * 0.1, 40, axis=0), centre=centre)
    assert (1 + better + equal / 2).mean() == 20.5  # (N + 1) / 2
    assert top_k(better, equal, 1).mean() == pytest.approx(1 / 40)
    assert top_k(better, equal, 5).mean() == pytest.approx(5 / 40)


def test_n_way_accuracy_by_enumeration():
    better = np.array([0, 1, 3, 5, 2, 0])
    equal = np.zeros(6, int)
    for n_way in (2, 3, 6):
        sets = list(itertools.combinations(range(5), n_way - 1))
        # Of the five others, numbered from the most similar, the first `better` beat the true one.
        expected = [np.mean([min(others) >= b for others in sets]) for b in better]
        np.testing.assert_allclose(n_way_accuracy(better, equal, n_way), expected)
    # Among all candidates it is the top-1 accuracy.
    np.testing.assert_allclose(n_way_accuracy(better, equal, 6), top_k(better, equal, 1))
    # All equal: chance, whatever the number of candidates.
    for n_way in (2, 4, 6):
        everywhere = n_way_accuracy(np.zeros(6, int), np.full(6, 5), n_way)
        np.testing.assert_allclose(everywhere, 1 / n_way)
    with pytest.raises(ValueError, match="n_way=7; expected 2 to 6"):
        n_way_accuracy(better, equal, 7)


def test_pairwise_accuracy(orthogonal, rng):
    assert pairwise_accuracy(orthogonal, orthogonal) == 1
    # Two images swapped: their own pair is wrong, and r is 0 against 0 with the other two.
    swapped = orthogonal[[1, 0, 2, 3]]
    np.testing.assert_allclose(pairwise_by_image(orthogonal, swapped), [2 / 3, 2 / 3, 1, 1])
    assert pairwise_accuracy(orthogonal[:2], orthogonal[[1, 0]]) == 0
    assert pairwise_accuracy(orthogonal, np.repeat(orthogonal[:1], 4, axis=0)) == 0.5


def test_identification_curve_finds_the_time(rng):
    times = np.arange(100) / 100
    y = rng.standard_normal((30, 4, 100))
    p = rng.standard_normal((30, 4, 100))
    p[..., 40:60] = y[..., 40:60]
    centres, accuracy, mean_rank = identification_curve(y, p, times, width=0.1, step=0.1)
    np.testing.assert_allclose(centres, np.arange(10) / 10 + 0.045)
    # Whole windows of signal identify every image; windows of noise sit at 1/30.
    np.testing.assert_array_equal(accuracy[1][[4, 5]], 1)
    np.testing.assert_array_equal(mean_rank[[4, 5]], 1)
    assert accuracy[1][:3].max() < 0.2
    assert 10 < mean_rank[:3].mean() < 21
    with pytest.raises(ValueError, match="width=2 s is more than the 1 s"):
        identification_curve(y, p, times, width=2)


@pytest.mark.parametrize("worth", [1, 3, 20])
def test_equivalent_trials_closed_form(rng, worth):
    # The prediction is the signal plus noise of the variance that a mean of `worth` trials has.
    signal = rng.standard_normal((600, 3, 20))
    trials = signal[:, None] + 2 * rng.standard_normal((600, 12, 3, 20))
    prediction = signal + 2 / np.sqrt(worth) * rng.standard_normal(signal.shape)
    result = equivalent_trials(prediction, trials, n_splits=5)
    assert result.n_trials == pytest.approx(worth, rel=0.15)
    # r of one trial with a mean of six: sqrt(1/(1+4) * 1/(1+4/6)).
    assert result.r_trials[0] == pytest.approx(np.sqrt(1 / 5 / (1 + 4 / 6)), abs=0.01)


def test_equivalent_trials_ends(rng):
    signal = rng.standard_normal((50, 2, 5))
    trials = signal[:, None] + rng.standard_normal((50, 6, 2, 5))
    assert equivalent_trials(np.zeros_like(signal), trials).n_trials == 0
    assert equivalent_trials(trials.mean(axis=1), trials).n_trials == np.inf
    inside = np.arange(5) < 2
    spoilt = np.where(inside, signal, 0)
    assert equivalent_trials(spoilt, trials, mask=inside).n_trials > 3
    with pytest.raises(ValueError, match="holds 3 trial.* at least 4"):
        equivalent_trials(signal, trials[:, :3])
