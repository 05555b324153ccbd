"""How strong the rhythms of each trial are, told to the transformer; clusters and gains without."""

import numpy as np
from scipy.stats import norm
from sklearn.utils.extmath import randomized_svd

from .._lazy import LazyTrials
from .power import log_power, measure_log_power

_MOST_SCORES = 8  # further principal components of log power are the chance of short windows
_N_QUANTILES = 101
BLUR = 0.3  # SD of what is added to scores, in theirs: a denoiser told more learns trials by heart


class TrialPower:
    r"""The leading principal components of the log power of trials, and their distribution.

    Alpha waxes and wanes from trial to trial, in all of its tiles (see
    :class:`~mne_img2brain.noise.power.InducedPower`) together. The scores of a trial on the first
    principal components say how strong its rhythms are; their quantiles, and the correlation of
    their ranks, say how they are distributed. A denoiser that is told the scores need not guess
    them from noisy trials, and draws have the scores that are drawn.

    unit_ (n_channels, 1): what residuals are divided by.
    filters_: of each band, (n_channels, n_components).
    axes_ (n_scores, n_components, n_tiles): scores are the products of log power with these; they
        have the SD 1.
    quantiles_ (n_quantiles, n_scores): of blurred scores, from the least to the largest.
    root_ (n_scores, n_scores): of the correlation of their ranks, which normal numbers stand for.
    """

    def fit(
        self,
        residuals: np.ndarray | LazyTrials,
        subject: np.ndarray | None,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Learn components and distribution; return the scores, shape (n_trials, n_scores).

        subject (n_trials,) | None: what subjects differ in is not what their trials differ in.
        """
        self.unit_, components, logs = measure_log_power(residuals, subject, rng)
        self.filters_ = [filters for filters, _ in components]
        flat = logs.reshape(len(logs), -1)
        n_scores = min(_MOST_SCORES, *flat.shape)
        _, sd, axes = randomized_svd(flat, n_scores, random_state=0)
        axes /= np.maximum(sd / len(flat) ** 0.5, np.finfo(np.float32).tiny)[:, None]
        self.axes_ = axes.reshape(-1, *logs.shape[1:])
        scores = self._project(logs)
        blurred = scores + BLUR * rng.standard_normal(scores.shape)
        self.quantiles_ = np.quantile(blurred, np.linspace(0, 1, _N_QUANTILES), axis=0)
        place = (np.argsort(np.argsort(blurred, axis=0), axis=0) + 0.5) / len(blurred)
        correlation = np.atleast_2d(np.corrcoef(norm.ppf(place), rowvar=False))
        self.root_ = np.linalg.cholesky(0.99 * correlation + 0.01 * np.eye(n_scores))
        return scores

    @property
    def n_scores(self) -> int:
        """How many scores a trial has."""
        return len(self.axes_)

    def scores(self, residuals: np.ndarray) -> np.ndarray:
        """Return the scores of trials of one subject: (n_trials, n_scores)."""
        return self._project(log_power(residuals, self.unit_, self.filters_, None))

    def _project(self, logs: np.ndarray) -> np.ndarray:
        return np.tensordot(logs, self.axes_, ((1, 2), (1, 2))).astype(np.float32)

    def draw(self, numbers: np.ndarray) -> np.ndarray:
        """Turn standard normal numbers, (n_trials, n_scores or more), into blurred scores."""
        place = norm.cdf(numbers[:, : self.n_scores] @ self.root_.T) * (_N_QUANTILES - 1)
        known = np.arange(_N_QUANTILES)
        columns = zip(place.T, self.quantiles_.T, strict=True)
        return np.array([np.interp(at, known, of) for at, of in columns], np.float32).T
