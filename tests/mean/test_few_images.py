"""A handful of images with many trials each."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mne_img2brain.mean import FewImagesRegressor
from mne_img2brain.mean.few_images import _shrink


def test_shrinkage_of_noise_is_zero_and_of_signal_small(rng):
    noise = rng.standard_normal((40, 60))
    # the largest singular value of noise is sqrt(60) (1 + sqrt(40 / 60)), but for fluctuations
    assert np.linalg.norm(_shrink(noise, 1.05)) == 0
    u, v = rng.standard_normal(40), rng.standard_normal(60)
    signal = 100 * np.outer(u / np.linalg.norm(u), v / np.linalg.norm(v))
    error = np.linalg.norm(_shrink(signal + noise, 1.0) - signal)
    assert error < 0.35 * np.linalg.norm(noise)
    # for beta = 1 and y = 3: sqrt((9 - 2)^2 - 4) / 3
    x = np.zeros((4, 4))
    x[0, 0] = 3 * 2
    assert_allclose(_shrink(x, 1.0)[0, 0], 2 * np.sqrt(45) / 3)
    assert _shrink(x, 0) is x


def test_it_beats_the_plain_average(rng):
    """Two images whose difference is one pattern with one course, in correlated noise."""
    n_channels, n_times = 20, 50
    pattern = np.outer(rng.standard_normal(n_channels), np.sin(np.linspace(0, 6, n_times)))
    truth = np.stack([0.5 * pattern, -0.5 * pattern])
    image = np.repeat([0, 1], 40)
    mixing = rng.standard_normal((n_channels, n_channels))
    y = truth[image] + mixing @ rng.standard_normal((80, n_channels, n_times))
    x = np.array([[1.0, 0.0], [0.0, 1.0]])
    model = FewImagesRegressor().fit(x[image], y)
    average = np.stack([y[image == i].mean(axis=0) for i in (0, 1)])
    ours, plain = (np.linalg.norm((p[0] - p[1]) - pattern) for p in (model.predict(x), average))
    assert ours < 0.6 * plain
    # half way between the images lies the average response
    assert_allclose(model.predict(np.array([[0.5, 0.5]]))[0], average.mean(axis=0), rtol=1e-9)
    assert_allclose(
        FewImagesRegressor().fit(x[image], 1e6 * y).predict(x), 1e6 * model.predict(x), rtol=1e-6
    )


@pytest.mark.parametrize("n_trials", [1, 2])
def test_hardly_any_trials(n_trials, rng):
    x = np.repeat(rng.standard_normal((3, 4)), n_trials, axis=0)
    y = rng.standard_normal((len(x), 2, 5))
    predicted = FewImagesRegressor().fit(x, y).predict(x)
    assert predicted.shape == y.shape
    if n_trials == 1:  # nothing tells noise from signal
        assert_allclose(predicted, y, atol=0.05)


def test_averages_weigh_as_many_trials(rng):
    x = np.array([[1.0], [1.0], [-1.0], [-1.0]])
    y = rng.standard_normal((4, 1, 3))
    y[:2] += 5
    model = FewImagesRegressor().fit(x, y, sample_weight=[3, 1, 1, 1])
    expected = ((3 * y[0] + y[1]) / 4 + (y[2] + y[3]) / 2) / 2
    assert_allclose(model.mean_, expected)
