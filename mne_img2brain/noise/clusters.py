"""Trials differ in how strong they are, and in what: noise is drawn cluster by cluster."""

from typing import Any, Self

import numpy as np
from scipy import linalg
from scipy.stats import norm

from .._log import logger
from .gains import BandGains
from .permutation import excess_is_chance

_LEAST = 12  # trials of a cluster: fewer would be trials recognised again, more blur clusters
_N_TO_MIX = 2 * _LEAST  # numbers of a draw: one chooses the cluster, at most 23 mix its trials
_MIN_TRIALS = 100
_MAX_VALUES = 2**24  # numbers kept: 64 MiB


class TrialClusters:
    r"""A mixture of Gaussians, one for each cluster of trials that are alike.

    Alpha waxes and wanes, muscles tighten, recordings differ: the covariance of trials is not the
    same for all, and a classifier separates draws of one Gaussian from real trials by that.
    Trials are parted into clusters of 12 to 23 by median splits along the first principal
    component of their log power, of each octave of frequency over sensors and of each sensor over
    frequencies, cluster after cluster. A draw takes the cluster of a trial chosen at random, and is

    .. math:: \sum_j a_j r_j, \qquad a \sim \text{uniform on the unit sphere}

    over the residuals :math:`r_j` of that cluster: its expectation is zero and its covariance that
    of the cluster. Over clusters that is exactly the sample covariance of all trials: their
    spectrum, their topographies, their rank. What power of single sources varies more from trial
    to trial than that of these draws is added by :class:`~mne_img2brain.noise.gains.BandGains`.

    Where trials differ in power no more than draws of one Gaussian do, no trial is kept, and draws
    are Gaussian but for gains: normal numbers times the principal components of the trials.

    trials_ (n_trials, n_channels * n_times) | None: the residuals, cluster by cluster, float32; of
        very many, as many as fit in 64 MiB. ``None`` if one Gaussian serves, if there were fewer
        than 100 trials, or too few values to draw with.
    components_ (n_components, n_channels * n_times) | None: where one Gaussian serves: its
        principal components, each with its SD.
    bounds_ (n_clusters + 1,): where each cluster begins.
    gains_: what draws are multiplied with.
    """

    def __init__(self) -> None:
        self.trials_: Any = None
        self.components_: Any = None
        self.bounds_: Any = None
        self.gains_: Any = None

    def fit(self, residuals: np.ndarray, rng: np.random.Generator) -> Self:
        """Part residuals into clusters; ``rng`` chooses trials where there are very many."""
        self.trials_ = self.components_ = self.bounds_ = self.gains_ = None
        n, size = len(residuals), int(np.prod(residuals.shape[1:]))
        # a draw of n_channels x n_times numbers is what the cluster and the weights come from
        if min(n, _MAX_VALUES // size) < _MIN_TRIALS or size < _N_TO_MIX:
            if n < _MIN_TRIALS:
                why = f"{n} trials are too few"
            elif size < _N_TO_MIX:
                why = f"{size} values a trial are too few"
            else:
                why = f"{size} values a trial are too many; decimate epochs or pick channels"
            logger.info(f"Noise is drawn from one Gaussian, without trial clusters: {why}.")
            return self
        rows = np.sort(rng.permutation(n)[: _MAX_VALUES // size])
        residuals = residuals[rows].astype(np.float32)
        flat = residuals.reshape(len(rows), size)
        spectra, gaussian = np.fft.rfft(residuals), np.fft.rfft(_gaussian(residuals, rng))
        features = _log_power(spectra)
        if excess_is_chance(features, _log_power(gaussian), rng):
            logger.info("Trials differ in power as those of one Gaussian do: none is kept.")
            self.components_ = _principal_components(flat)
            self.gains_ = _find_gains(spectra, gaussian, residuals.shape[2])
            return self
        del gaussian
        leaves = _split(features, np.arange(len(rows)))
        self.trials_ = flat[np.concatenate(leaves)]
        self.bounds_ = np.cumsum([0, *map(len, leaves)])
        drawn = self._mix(rng.standard_normal((len(rows), _N_TO_MIX)))
        drawn = np.fft.rfft(drawn.reshape(residuals.shape))
        self.gains_ = _find_gains(spectra, drawn, residuals.shape[2])
        return self

    def draw(self, noise: np.ndarray) -> np.ndarray:
        """Turn standard normal numbers (n_draws, n_channels, n_times) into residuals."""
        numbers = noise.reshape(len(noise), -1)
        if self.components_ is None:
            drawn, start = self._mix(numbers), _N_TO_MIX
        else:
            drawn = numbers[:, -len(self.components_) :].astype(np.float32) @ self.components_
            start = 0  # left over, or the numbers of the smallest components
        drawn = drawn.reshape(noise.shape)
        if self.gains_ is None:
            return drawn
        return self.gains_.apply(drawn, numbers[:, start : start + self.gains_.n_numbers])

    @property
    def can_draw(self) -> bool:
        """Whether there were trials enough to draw by."""
        return self.trials_ is not None or self.components_ is not None

    def without_trials(self, shape: tuple[int, int]) -> Self:
        """Return a copy that keeps no recorded trial: one Gaussian with the covariance of all."""
        bare = type(self)()
        bare.components_, bare.gains_ = self.components_, self.gains_
        if self.trials_ is not None:
            bare.components_ = _principal_components(self.trials_)
            trials = self.trials_.reshape(-1, *shape)
            # the first gains are over what draws from clusters vary in
            drawn = _gaussian(trials, np.random.default_rng(0))
            bare.gains_ = _find_gains(np.fft.rfft(trials), np.fft.rfft(drawn), shape[1])
        return bare

    def _mix(self, numbers: np.ndarray) -> np.ndarray:
        """Mix the trials of a cluster: the first number chooses it, those after it are weights."""
        chosen = (norm.cdf(numbers[:, 0]) * len(self.trials_)).astype(int)
        chosen = np.minimum(chosen, len(self.trials_) - 1)
        cluster = np.searchsorted(self.bounds_, chosen, side="right") - 1
        drawn = np.empty((len(numbers), self.trials_.shape[1]), np.float32)
        for one in np.unique(cluster):
            trials = self.trials_[self.bounds_[one] : self.bounds_[one + 1]]
            rows = np.flatnonzero(cluster == one)
            weights = numbers[rows, 1 : 1 + len(trials)].astype(np.float32)
            weights /= np.linalg.norm(weights, axis=1, keepdims=True)
            # unlike a product of matrices the same to the last digit, whatever the batch
            drawn[rows] = np.einsum("nk,kf->nf", weights, trials)
        return drawn


def _gaussian(trials: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return as many draws with the covariance of the trials."""
    flat = trials.reshape(len(trials), -1)
    weights = rng.standard_normal((len(flat), len(flat)), np.float32)
    return (weights @ flat / len(flat) ** 0.5).reshape(trials.shape)


def _find_gains(trials: np.ndarray, drawn: np.ndarray, n_times: int) -> BandGains | None:
    """Draws vary in broadband power, not in each source for itself."""
    gains = BandGains().fit(trials, drawn, n_times)
    return gains if 0 < gains.n_numbers <= trials.shape[1] * n_times - _N_TO_MIX else None


def _principal_components(trials: np.ndarray) -> np.ndarray:
    """Return what normal weights turn into the covariance of trials, the smallest first."""
    n, size = trials.shape
    if n < size:
        # of trials mixed by the axes of their Gram matrix, none is a trial any more
        axes = linalg.eigh(trials @ trials.T)[1]
        return axes.T @ (trials / np.float32(n**0.5))
    trials = trials.astype(float)  # in float32 there is no telling the rank
    values, axes = linalg.eigh(trials.T @ trials / n)
    return (axes * np.sqrt(np.maximum(values, 0))).T.astype(np.float32)


def _log_power(spectra: np.ndarray) -> np.ndarray:
    """Return what tells clusters: array, shape (n_trials, n_octaves + n_channels)."""
    power = np.square(spectra.real) + np.square(spectra.imag)
    # the offset is no octave: where trials have a mean of zero it is rounding
    power = power[:, :, 1:] if power.shape[2] > 1 else power
    # as is what a filter took out
    power = np.maximum(power, 1e-10 * power.mean() + np.finfo(np.float32).tiny)
    starts = 2 ** np.arange(int(np.log2(power.shape[2])) + 1) - 1
    octaves = np.log(np.add.reduceat(power, starts, axis=2)).mean(axis=1)
    return np.hstack([octaves, np.log(power.sum(axis=2))])


def _split(features: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
    """Halve trials at the median of their first principal component, again and again."""
    if len(rows) < 2 * _LEAST:
        return [rows]
    centred = features[rows] - features[rows].mean(axis=0)
    first = np.linalg.svd(centred, full_matrices=False)[2][0]
    order = rows[np.argsort(centred @ first, kind="stable")]
    half = len(order) // 2
    return [*_split(features, order[:half]), *_split(features, order[half:])]
