"""Smooth tiles of time and frequency, and the spatial components of each band."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import linalg
from scipy.fft import dct

from .._linalg import in_threads

_PER_OCTAVE = 2  # bands
_TILE = 2.0  # degrees of freedom between the centres of neighbouring windows of a band
_MOST_WINDOWS = 12  # of a band: rhythms rise and fall within some tens of milliseconds at best


class Band(NamedTuple):
    """A band of frequencies, and its windows in time."""

    low: float  # cycles per epoch
    high: float
    basis: np.ndarray  # (n_kept, n_times), rows of the discrete cosine transform
    mask: np.ndarray  # (n_kept,)
    windows: np.ndarray  # (n_times, n_windows), which sum to 1 at each time

    def cut(self, signals: np.ndarray) -> np.ndarray:
        """Return the band of signals: array, shape (n_trials, n_channels, n_times)."""
        basis = self.basis.astype(signals.dtype)
        # trial by trial, so that a trial's numbers do not depend on those beside it
        return (signals @ (basis * self.mask[:, None].astype(signals.dtype)).T) @ basis

    def power(self, signals: np.ndarray) -> np.ndarray:
        """Return the mean square of the band in each window: (n_trials, n_channels, n_windows)."""
        weight = (self.windows / self.windows.sum(axis=0)).astype(signals.dtype)
        return np.square(self.cut(signals)) @ weight


@lru_cache(maxsize=8)
def bands_of(n_times: int) -> list[Band]:
    r"""Return bands, from low to high frequencies, whose tiles add up to a trial of that length.

    A trial is the sum of its bands, :math:`x = \sum_b x_b`, half octaves up to the Nyquist
    frequency that fade into each other. Bands are cut out of the discrete cosine transform, which
    extends an epoch by its mirror image: there is no jump at its ends. Each band has triangular
    windows in time, the more the wider it is, so that its tiles have the same degrees of freedom.
    """
    transform = dct(np.eye(n_times), norm="ortho", axis=0)
    frequency = np.arange(n_times) / 2
    n_bands = max(1, int(np.log2(max(n_times / 2, 1)) * _PER_OCTAVE))
    high = n_times / 2 * 2.0 ** (-np.arange(n_bands)[::-1] / _PER_OCTAVE)
    # low-pass filters that fade over half a band; their differences are the bands
    position = np.log2(np.maximum(frequency, 1e-3)) - np.log2(high[:-1, None])
    fade = np.cos(np.pi / 2 * np.clip(2 * _PER_OCTAVE * position + 0.5, 0, 1)) ** 2
    masks = np.diff(fade, axis=0, prepend=0, append=1)
    bands = []
    for mask, low, top in zip(masks, [0.0, *high[:-1]], high, strict=True):
        kept = mask > 0
        freedom = mask.sum() ** 2 / np.square(mask).sum()
        n_windows = int(np.clip(np.round(2 * freedom / _TILE) - 1, 1, _MOST_WINDOWS))
        windows = _windows(n_times, n_windows)
        bands.append(Band(float(low), float(top), transform[kept], mask[kept], windows))
    return bands


def _windows(n_times: int, n_windows: int) -> np.ndarray:
    """Return triangles over time that sum to 1: array, shape (n_times, n_windows)."""
    if n_windows == 1:
        return np.ones((n_times, 1))
    centres = np.linspace(0, 1, n_windows)
    times = (np.arange(n_times) + 0.5) / n_times
    return np.clip(1 - np.abs(times[:, None] - centres) * (n_windows - 1), 0, 1)


def rhythm_components(
    trials: np.ndarray, bands: list[Band], n_components: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    r"""Return the spatial components of each band: those with a rhythm, and the rest.

    Spatio-spectral decomposition [1]_: directions over sensors that maximise the power of the band
    against that of the bands beside it, :math:`C_b w = \lambda C_n w`, within the first principal
    components over sensors. All directions are kept, so that nothing is lost between filters and
    patterns but what lies outside of these components.

    trials: every channel scaled alike.
    Returns (n_channels, n_components): filters and patterns of each band; ``patterns @ filters.T``
        is a projection.

    References
    ----------
    .. [1] Nikulin, Nolte & Curio (2011). A novel method for reliable and fast extraction of
       neuronal EEG/MEG oscillations on the basis of spatio-spectral decomposition. NeuroImage 55.
    """
    values, axes = linalg.eigh(_covariance(trials))
    kept = (values > 1e-6 * values[-1]) & (np.arange(len(values))[::-1] < n_components)
    axes = axes[:, kept]
    sources = axes.T.astype(trials.dtype) @ trials
    covariances = in_threads(lambda band: _covariance(band.cut(sources)), bands)
    covariances = [one / max(np.trace(one), np.finfo(float).tiny) for one in covariances]
    result = []
    for k, covariance in enumerate(covariances):
        # neighbours overlap with the band; those behind them do not
        beside = [one for j, one in enumerate(covariances) if 2 <= abs(j - k) <= 3] or covariances
        noise = np.sum(beside, axis=0) / len(beside)
        noise += 1e-3 / len(noise) * np.eye(len(noise))
        filters = linalg.eigh(covariance, noise)[1][:, ::-1]
        patterns = axes @ linalg.inv(filters).T
        # products of matrices depend, in the last digit, on the order in memory
        result.append((np.ascontiguousarray(axes @ filters), np.ascontiguousarray(patterns)))
    return result


def _covariance(x: np.ndarray) -> np.ndarray:
    """Return the covariance over channels, whose mean is taken to be zero."""
    return np.tensordot(x, x, axes=((0, 2), (0, 2))).astype(float) / (len(x) * x.shape[2])
