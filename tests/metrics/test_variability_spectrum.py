import mne
import numpy as np
import pytest
from pyriemann.geometry.distance import distance_riemann
from scipy.signal import lfilter, periodogram

from mne_img2brain.metrics import (
    band_log_ratio,
    channel_covariance,
    component_peak,
    covariance_distance,
    lag_one_autocorrelation,
    sd_ratio,
    spectra,
    within_image_sd,
)


def test_within_image_sd_by_hand():
    # Variances (ddof 1) of (0, 2) and (1, 1, 7) are 2 and 12; the root of their mean is sqrt(7).
    trials = [np.array([0.0, 2])[:, None, None], np.array([1.0, 1, 7])[:, None, None]]
    np.testing.assert_allclose(within_image_sd(trials), [[np.sqrt(7)]])


def test_sd_ratio(rng):
    trials = rng.standard_normal((4, 6, 2, 5))
    # What images differ by is not variability: shifting a whole image changes nothing.
    shifted = 1.3 * trials + rng.standard_normal((4, 1, 2, 5))
    np.testing.assert_allclose(sd_ratio(shifted, trials), 1.3)
    trials[:, :, 1] = 0
    assert np.isnan(sd_ratio(shifted, trials)[1]).all()
    with pytest.raises(ValueError, match=r"draws\[0\] holds 1 trial"):
        sd_ratio(shifted[:, :1], trials)
    with pytest.raises(ValueError, match="holds 3 images, but 4 were expected"):
        sd_ratio(shifted, trials[:3])
    with pytest.raises(ValueError, match=r"\(2, 4\) channels and times, real trials \(2, 5\)"):
        sd_ratio(shifted[..., :4], trials)


def test_spectra_hold_the_variance(rng):
    # White noise of variance 4 sampled at 200 Hz: a one-sided density of 4 / 100 per Hz.
    freqs, power = spectra(2 * rng.standard_normal((3, 200, 2, 100)), 200.0)
    assert power.shape == (3, 2, 51)
    np.testing.assert_allclose(freqs, np.arange(51) * 2)
    np.testing.assert_allclose(power[..., 2:-2].mean(axis=(0, 2)), 0.04, rtol=0.03)


def test_band_log_ratio(rng):
    trials = rng.standard_normal((3, 5, 2, 100))
    times = np.arange(100) / 100
    # Twice the amplitude is 20 log10(2) dB in every band.
    for ratio in band_log_ratio(2 * trials, trials, 100.0).values():
        np.testing.assert_allclose(ratio, 20 * np.log10(2))
    # A sine of 10 Hz and amplitude 20 adds power to alpha alone.
    ratio = band_log_ratio(trials + 20 * np.sin(2 * np.pi * 10 * times), trials, 100.0)
    assert list(ratio) == ["delta", "theta", "alpha", "beta", "low gamma"]
    assert ratio["alpha"].min() > 15
    assert max(np.abs(ratio[band]).max() for band in ("delta", "beta", "low gamma")) < 1e-6
    # Bands beyond Nyquist are left out, and a band between two frequencies is an error.
    assert "low gamma" not in band_log_ratio(trials, trials, 64.0)
    with pytest.raises(ValueError, match="'narrow', .* holds none of the frequencies 0, 1"):
        band_log_ratio(trials, trials, 100.0, {"narrow": (9.2, 9.8)})


def test_covariance_is_mnes(rng):
    trials = rng.standard_normal((2, 4, 3, 50))
    info = mne.create_info(3, 50.0, "eeg")
    for of_image, covariance in zip(trials, channel_covariance(trials), strict=True):
        epochs = mne.EpochsArray(of_image.copy(), info, baseline=(None, None), verbose=False)
        # MNE divides by the number of samples less one.
        expected = mne.compute_covariance(epochs, method="empirical", verbose=False)
        np.testing.assert_allclose(covariance, expected.data * 199 / 200, rtol=1e-9)


def test_covariance_distance_is_pyriemanns(rng):
    a, b = (x @ x.T for x in rng.standard_normal((2, 5, 9)))
    assert covariance_distance(a, b) == pytest.approx(distance_riemann(a, b))
    # Invariant to any invertible mixture, volts against femtotesla included.
    mixture = rng.standard_normal((5, 5)) * np.array([1e-6, 1, 1, 1e3, 1e6])[:, None]
    assert covariance_distance(mixture @ a @ mixture.T, mixture @ b @ mixture.T) == pytest.approx(
        distance_riemann(a, b)
    )
    # All eigenvalues of B^-1 A are 4: sqrt(5) log 4.
    assert covariance_distance(4 * a, a) == pytest.approx(np.sqrt(5) * np.log(4))


def test_covariance_distance_of_average_reference(rng):
    reference = np.eye(6) - 1 / 6
    a, b = (reference @ x @ x.T @ reference for x in rng.standard_normal((2, 6, 20)))
    basis = np.linalg.svd(reference)[0][:, :5]
    expected = distance_riemann(basis.T @ a @ basis, basis.T @ b @ basis)
    assert covariance_distance(a, b) == pytest.approx(expected)
    one_less = np.eye(6) - np.outer(basis[:, 0], basis[:, 0])
    assert covariance_distance(one_less @ a @ one_less, b) == np.inf


def test_lag_one_autocorrelation_of_ar1(rng):
    # x_t = phi x_{t-1} + e_t has autocorrelation phi at lag one; images' means do not enter.
    white = rng.standard_normal((5, 40, 2, 1100))
    trials = np.stack([lfilter([1], [1, -phi], white[:, :, 0]) for phi in (0.8, -0.3)], axis=2)
    trials = trials[..., 100:] + 50 * rng.standard_normal((5, 1, 2, 1000))
    np.testing.assert_allclose(lag_one_autocorrelation(trials), [0.8, -0.3], atol=0.01)


@pytest.mark.parametrize("mode", ["abs", "pos", "neg"])
def test_component_peak_is_mnes(rng, mode):
    evoked = mne.EvokedArray(
        rng.standard_normal((3, 100)), mne.create_info(["A", "B", "C"], 100.0, "eeg"), tmin=-0.1
    )
    peak = component_peak(evoked.data, evoked.times, 0.1, 0.3, mode=mode)
    for index, name in enumerate(evoked.ch_names):
        one = evoked.copy().pick([name])
        _, latency, amplitude = one.get_peak(
            tmin=0.1, tmax=0.3, mode=mode, return_amplitude=True, strict=False
        )
        assert (peak.latency[index], peak.amplitude[index]) == pytest.approx((latency, amplitude))
    with pytest.raises(ValueError, match="mode='up'; expected 'abs'"):
        component_peak(evoked.data, evoked.times, 0.1, 0.3, mode="up")


@pytest.mark.parametrize("n_times", [8, 9])
def test_periodograms_are_scipys(rng, n_times):
    trials = 5 + rng.standard_normal((2, 3, n_times))
    expected = periodogram(trials, 100.0, window="hann", detrend="constant")
    freqs, power = spectra(trials[None], 100.0)
    np.testing.assert_allclose(freqs, expected[0])
    np.testing.assert_allclose(power[0], expected[1].mean(axis=0), atol=1e-12)
