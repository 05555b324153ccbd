import numpy as np
import pytest

from mne_img2brain.metrics import bootstrap, interval, r_map
from mne_img2brain.metrics.uncertainty import r_from_moments, r_moments


def test_standard_error_of_a_mean(rng):
    values = rng.standard_normal(400)
    means = bootstrap(lambda mean: mean, values, n_resamples=3000)
    # The bootstrap SE of a mean is SD / sqrt(n), SD with ddof 0 (Efron and Tibshirani, eq. 5.12).
    assert means.std() == pytest.approx(values.std() / 20, rel=0.05)
    low, high = interval(means)
    assert (low, high) == pytest.approx(
        (values.mean() - 1.96 * values.std() / 20, values.mean() + 1.96 * values.std() / 20),
        abs=0.01,
    )


def test_correlation_from_moments(rng):
    y = rng.standard_normal((30, 2, 3))
    p = y + rng.standard_normal((30, 2, 3))
    moments = r_moments(y * 1e-6 + 1e-3, p)
    np.testing.assert_allclose(r_from_moments(moments.mean(axis=0)), r_map(y, p))
    # A resample by hand: the weights of a multinomial are the images drawn with replacement.
    resampled = bootstrap(r_from_moments, moments, n_resamples=3, random_state=4)
    counts = np.random.default_rng(4).multinomial(30, np.full(30, 1 / 30), size=3)
    for r, count in zip(resampled, counts, strict=True):
        rows = np.repeat(np.arange(30), count)
        np.testing.assert_allclose(r, r_map(y[rows], p[rows]))
    np.testing.assert_array_equal(r_from_moments(r_moments(y, np.ones_like(y)).mean(axis=0)), 0)


def test_standard_error_of_r(rng):
    x, e = rng.standard_normal((2, 500, 1, 1))
    resampled = bootstrap(r_from_moments, r_moments(x, 0.6 * x + 0.8 * e), n_resamples=1000)
    # For Gaussian data the SE of r is (1 - r^2) / sqrt(n): 0.64 / 22.4.
    assert resampled.std() == pytest.approx(0.64 / np.sqrt(500), rel=0.15)


def test_pairing(rng):
    y = rng.standard_normal(100)
    first, second = (bootstrap(lambda m: m, values, random_state=1) for values in (y, y + 0.1))
    # The same images in each resample: the difference has no error at all.
    np.testing.assert_allclose(second - first, 0.1)
    assert (first != bootstrap(lambda m: m, y, random_state=2)).any()


def test_ends():
    assert np.isnan(interval([np.nan])).all()
    assert interval([np.nan, 1.0]) == (1, 1)
    with pytest.raises(ValueError, match=r"parts are of \[3, 4\] images"):
        bootstrap(lambda a, b: a, np.zeros(3), np.zeros(4))
