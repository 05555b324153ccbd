"""Spectra, autocorrelation and channel covariance of single trials."""

import numpy as np
from scipy.fft import rfft, rfftfreq
from scipy.linalg import eigh
from scipy.signal import get_window

from ._shapes import check_pair, check_trials

#: The usual bands of EEG, in Hz.
EEG_BANDS = {
    "delta": (1, 4),
    "theta": (4, 8),
    "alpha": (8, 13),
    "beta": (13, 30),
    "low gamma": (30, 40),
}


def spectra(trials: np.ndarray | list[np.ndarray], sfreq: float) -> tuple[np.ndarray, np.ndarray]:
    """Power spectral density of single trials, averaged over the trials of each image.

    Parameters
    ----------
    trials : array, shape (n_images, n_trials, n_channels, n_times) | list of array
        The trials of each image.
    sfreq : float
        The sampling frequency, in Hz.

    Returns
    -------
    freqs : array, shape (n_freqs,)
        The frequencies, in Hz, ``sfreq / n_times`` apart.
    power : array, shape (n_images, n_channels, n_freqs)
        The density, in the unit of the data squared per Hz: periodograms of whole trials, the mean
        taken off and a Hann window applied.

    See Also
    --------
    band_log_ratio : Compare the power of draws with that of real trials.
    mne_img2brain.viz.plot_spectra : Plot it.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import spectra
    >>> times = np.arange(100) / 100
    >>> trials = np.sin(2 * np.pi * 10 * times).reshape(1, 1, 1, 100)
    >>> freqs, power = spectra(trials, sfreq=100)
    >>> float(freqs[power[0, 0].argmax()])
    10.0
    """
    trials = check_trials(trials)
    freqs = rfftfreq(trials[0].shape[-1], 1 / sfreq)
    return freqs, np.stack([periodograms(y, sfreq).mean(axis=0) for y in trials])


def periodograms(trials: np.ndarray, sfreq: float = 1.0) -> np.ndarray:
    """Return the density of each trial: scipy's periodogram, at a fifth of its price."""
    n_times = trials.shape[-1]
    window = get_window("hann", n_times)
    centred = trials - trials.mean(axis=-1, keepdims=True)
    spectrum = rfft(centred * window.astype(trials.dtype))
    power = (spectrum.real**2 + spectrum.imag**2) / float(sfreq * (window**2).sum())
    power[..., 1 : (n_times + 1) // 2] *= 2  # all but the mean and Nyquist's are of two sides
    return power


def band_log_ratio(
    draws: np.ndarray | list[np.ndarray],
    trials: np.ndarray | list[np.ndarray],
    sfreq: float,
    bands: dict[str, tuple] | None = None,
) -> dict[str, np.ndarray]:
    r"""Power of draws against real trials in bands, in decibel.

    .. math::

        10 \log_{10} \frac{\sum_{f \in \text{band}} P_\text{draws}(f)}
        {\sum_{f \in \text{band}} P_\text{real}(f)}

    Parameters
    ----------
    draws, trials : array, shape (n_images, n_trials, n_channels, n_times) | list of array
        Generated and real trials of the same images.
    sfreq : float
        The sampling frequency, in Hz.
    bands : dict of str to tuple | None, default None
        The bands, lower end included and upper end not, in Hz. ``None`` is :data:`EEG_BANDS`,
        those below the Nyquist frequency that the length of the trials resolves.

    Returns
    -------
    dict of str to array, shape (n_channels,)
        The ratio of each sensor in dB, by band; 0 is equal power.

    Raises
    ------
    ValueError
        If a band holds none of the frequencies that the length of the trials resolves.

    See Also
    --------
    spectra : The spectra.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import band_log_ratio
    >>> trials = np.random.default_rng(0).standard_normal((3, 4, 1, 100))
    >>> ratio = band_log_ratio(2 * trials, trials, sfreq=100)  # four times the power
    >>> {band: round(of_channels.item(), 2) for band, of_channels in ratio.items()}
    {'delta': 6.02, 'theta': 6.02, 'alpha': 6.02, 'beta': 6.02, 'low gamma': 6.02}
    """
    draws, trials = check_pair(draws, trials)
    freqs, generated = spectra(draws, sfreq)
    _, real = spectra(trials, sfreq)
    ratios = {}
    for name, mask in band_masks(freqs, bands).items():
        above, below = (p[..., mask].sum(axis=-1).mean(axis=0) for p in (generated, real))
        ratios[name] = 10 * np.log10(above / below)
    return ratios


def band_masks(freqs: np.ndarray, bands: dict | None = None) -> dict:
    """Return which frequencies are in which band."""
    if bands is None:
        # Bands below Nyquist that trials of this length resolve.
        bands = {
            name: (low, high)
            for name, (low, high) in EEG_BANDS.items()
            if high <= freqs[-1] and ((freqs >= low) & (freqs < high)).any()
        }
    masks = {name: (freqs >= low) & (freqs < high) for name, (low, high) in bands.items()}
    for name, mask in masks.items():
        if not mask.any():
            raise ValueError(
                f"The band {name!r}, {bands[name]} Hz, holds none of the frequencies 0, "
                f"{freqs[1]:g}, ... {freqs[-1]:g} Hz; give wider bands or longer trials."
            )
    return masks


def channel_covariance(trials: np.ndarray | list[np.ndarray]) -> np.ndarray:
    """Covariance between sensors over the times of single trials, for each image.

    Parameters
    ----------
    trials : array, shape (n_images, n_trials, n_channels, n_times) | list of array
        The trials of each image.

    Returns
    -------
    array, shape (n_images, n_channels, n_channels)
        The mean over trials of the covariance over times, the mean of each trial taken off.

    See Also
    --------
    covariance_distance : Compare two covariances.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import channel_covariance
    >>> trials = np.random.default_rng(0).standard_normal((3, 4, 2, 50))
    >>> channel_covariance(trials).shape
    (3, 2, 2)
    """
    covariances = []
    for of_image in check_trials(trials):
        centred = of_image - of_image.mean(axis=-1, keepdims=True)
        product = np.einsum("kct,kdt->cd", centred, centred, optimize=True)
        covariances.append(product / (len(centred) * centred.shape[-1]))
    return np.stack(covariances)


def covariance_distance(
    covariance: np.ndarray, reference: np.ndarray, *, rcond: float = 1e-9
) -> float:
    r"""Affine-invariant Riemannian distance of two covariances.

    .. math:: d(A, B) = \sqrt{\sum_k \log^2 \lambda_k(B^{-1} A)}

    It does not change with the unit of a sensor, nor with any other invertible mixture of them. A
    common factor of :math:`s^2` in variance costs :math:`\sqrt{\text{rank}}\,|\log s^2|`.

    Parameters
    ----------
    covariance, reference : array, shape (n_channels, n_channels)
        The covariances, for example means over images of :func:`channel_covariance`. Where the
        reference lacks rank (an average reference, SSS), both are compared in its range.
    rcond : float, default 1e-09
        Directions with less than this share of the reference's largest variance, sensors being
        scaled to variance 1 first, are not part of its range.

    Returns
    -------
    float
        The distance, 0 for equal covariances; infinite where ``covariance`` lacks a direction that
        the reference has.

    See Also
    --------
    channel_covariance : Covariances of trials.

    References
    ----------
    Förstner and Moonen (2003), A metric for covariance matrices, in Geodesy: The Challenge of the
    3rd Millennium.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import covariance_distance
    >>> covariance = np.array([[2.0, 0.5], [0.5, 1.0]])
    >>> round(covariance_distance(np.e * covariance, covariance), 3)
    1.414
    """
    scale = np.sqrt(np.diag(reference))
    scale = np.where(scale > 0, scale, 1.0)
    covariance, reference = (c / np.outer(scale, scale) for c in (covariance, reference))
    values, vectors = eigh(reference)
    keep = values > rcond * values[-1]
    whitener = vectors[:, keep] / np.sqrt(values[keep])
    ratios = eigh(whitener.T @ covariance @ whitener, eigvals_only=True)
    if ratios[0] <= rcond:
        return float("inf")
    return float(np.sqrt((np.log(ratios) ** 2).sum()))


def lag_one_autocorrelation(trials: np.ndarray | list[np.ndarray]) -> np.ndarray:
    r"""Correlation of neighbouring time points of what trials have beyond their image's mean.

    .. math::

        \rho_c = \frac{\sum_{ikt} e_{ikct}\, e_{ikc,t+1}}
        {\sqrt{\sum_{ikt} e_{ikct}^2 \sum_{ikt} e_{ikc,t+1}^2}}, \qquad
        e_{ikct} = y_{ikct} - \bar y_{ict}

    Parameters
    ----------
    trials : array, shape (n_images, n_trials, n_channels, n_times) | list of array
        The trials of each image, at least two of each.

    Returns
    -------
    array, shape (n_channels,)
        The autocorrelation of each sensor.

    See Also
    --------
    spectra : All frequencies.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import lag_one_autocorrelation
    >>> noise = np.random.default_rng(0).standard_normal((10, 10, 1, 100))
    >>> smooth = noise[..., 1:] + noise[..., :-1]
    >>> lag_one_autocorrelation(smooth).round(1)
    array([0.5])
    """
    cross = early = late = 0.0
    for of_image in check_trials(trials, min_trials=2):
        rest = of_image - of_image.mean(axis=0)
        cross = cross + (rest[..., :-1] * rest[..., 1:]).sum(axis=(0, 2))
        early = early + (rest[..., :-1] ** 2).sum(axis=(0, 2))
        late = late + (rest[..., 1:] ** 2).sum(axis=(0, 2))
    return cross / np.sqrt(early * late)
