import numpy as np
import pytest
from scipy.stats import pearsonr

from mne_img2brain.metrics import (
    difference_wave,
    difference_wave_r,
    mse,
    normalized_r,
    pearson,
    r_map,
    time_mask,
    window_mean,
)
from mne_img2brain.metrics.accuracy import mse_by_image, pearson_by_image


def test_mse_closed_form(rng):
    y = rng.standard_normal((6, 2, 5))
    # An error of 2 everywhere has a square of 4.
    assert mse(y, y + 2) == pytest.approx(4)
    np.testing.assert_allclose(mse_by_image(y, y * np.arange(6)[:, None, None])[1], 0)


def test_pearson_is_scipys(rng):
    y, p = rng.standard_normal((2, 4, 3, 7))
    expected = [pearsonr(a.ravel(), b.ravel()).statistic for a, b in zip(y, p, strict=True)]
    np.testing.assert_allclose(pearson_by_image(y, p), expected)
    assert pearson(y, p) == pytest.approx(np.mean(expected))


def test_pearson_rewards_what_all_images_share(rng):
    # An evoked response of SD 1 and image differences of SD 1: the mean response has r = 1/sqrt(2).
    evoked = rng.standard_normal((1, 50, 400))
    y = evoked + rng.standard_normal((30, 50, 400))
    p = np.repeat(evoked, 30, axis=0)
    assert pearson(y, p) == pytest.approx(np.sqrt(0.5), abs=0.01)
    np.testing.assert_array_equal(r_map(y, p), 0)


def test_r_map_is_scipys(rng):
    y, p = rng.standard_normal((2, 12, 2, 3))
    p[:, 1, 2] += y[:, 1, 2]
    r = r_map(y, p)
    for c in range(2):
        for t in range(3):
            assert r[c, t] == pytest.approx(pearsonr(y[:, c, t], p[:, c, t]).statistic)
    # Correlation knows neither unit nor offset: microvolts or volts.
    np.testing.assert_allclose(r_map(y * 1e-6 + 3e-6, p), r)


def test_r_map_of_constants(rng):
    y = rng.standard_normal((5, 1, 3))
    # 0.1 five times over has a spread of 1e-17, not zero.
    np.testing.assert_array_equal(r_map(y, np.full(y.shape, 0.1)), 0)
    assert np.isnan(r_map(np.full(y.shape, 0.1), y)).all()


def test_difference_wave(rng):
    y, labels = rng.standard_normal((8, 2, 6)), np.tile(["face", "house"], 4)
    expected = y[1::2].mean(axis=0) - y[::2].mean(axis=0)
    np.testing.assert_allclose(difference_wave(y, labels), expected)
    # Two predictions, one for each condition, in the other order: the wave is the same.
    p = rng.standard_normal((2, 2, 6))
    r = difference_wave_r(y, labels, p, ["house", "face"])
    assert r == pytest.approx(pearsonr(expected.ravel(), (p[0] - p[1]).ravel()).statistic)
    assert difference_wave_r(y, labels, p[[0, 0]], ["house", "face"]) == 0
    with pytest.raises(ValueError, match=r"8 labels of classes \['a'\] for 8 responses"):
        difference_wave(y, ["a"] * 8)


def test_normalized_r():
    r = normalized_r(np.array([[0.3, 0.3, 0.3, 0.3]]), np.array([[0.6, 0.05, np.nan, 0.2]]))
    np.testing.assert_allclose(r, [[0.5, np.nan, np.nan, 1.5]])


def test_windows():
    times = np.arange(5) / 10
    # 0.14 is within half a sample of 0.1; 0.31 is within half a sample of 0.3.
    np.testing.assert_array_equal(time_mask(times, 0.14, 0.31), [0, 1, 1, 1, 0])
    # An end exactly between two samples takes in neither side twice.
    np.testing.assert_array_equal(time_mask(times, None, 0.15), [1, 1, 0, 0, 0])
    values = np.array([[0, 1, 2, np.nan, 9.0], [0, 3, 4, 5, 9.0]])
    assert window_mean(values, times, 0.1, 0.3) == 3
    assert np.isnan(window_mean(values * np.nan, times))
    with pytest.raises(
        ValueError, match="No time lies in the window 2 to 3 s; the data run from 0"
    ):
        time_mask(times, 2, 3)


def test_errors(rng):
    y = rng.standard_normal((4, 2, 3))
    with pytest.raises(ValueError, match=r"shape \(4, 2, 3\), predicted ones \(4, 2, 2\)"):
        mse(y, y[..., :2])
    with pytest.raises(ValueError, match="2 image.* needs at least 3"):
        r_map(y[:2], y[:2])
    broken = y.copy()
    broken[3, 1, 2] = np.nan
    with pytest.raises(ValueError, match="image 3, channel 1, time 2.*leave bad channels out"):
        r_map(broken, y)
