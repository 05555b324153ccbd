"""Gaussian noise with the covariance of residuals in space and time."""

from typing import Any, Self

import numpy as np
from scipy.linalg import eigh

# 4096 sensors x times: a covariance of 134 MB and an eigendecomposition of a minute on one core.
_MAX_FULL = 4096


class GaussianResiduals:
    r"""A zero-mean Gaussian over sensors and times.

    With more trials than sensors times times (and no more than 4096 of these), the covariance is
    that of the sample,

    .. math:: \Sigma = \frac{1}{n}\sum_k \mathrm{vec}(r_k)\,\mathrm{vec}(r_k)^\top

    with nothing added: shrinkage towards white noise puts a floor under the spectrum that a
    classifier sees at once, and drawing needs no inverse. With fewer it is a product,

    .. math::

        \Sigma = \Sigma_C \otimes \Sigma_T, \qquad
        \Sigma_C = \frac{1}{nT}\sum_k r_k r_k^\top, \qquad
        \Sigma_T = \frac{1}{n}\sum_k r_k^\top D^{-1} r_k \Big/ C

    where :math:`D` is the diagonal of :math:`\Sigma_C`: every sensor then has the same time course
    of variance and the same spectrum, up to a factor. Draws stay in the span of the residuals'
    sensors, so that an average reference or a projector stays what it was.

    Attributes
    ----------
    root_ : array, shape (n, n) | None
        The symmetric root of the covariance over sensors and times, n_channels * n_times.
    root_channels_ : array, shape (n_channels, n_channels) | None
        The symmetric root of the covariance over sensors, where it is a product.
    root_times_ : array, shape (n_times, n_times) | None
        The symmetric root of the covariance over times, where it is a product.

    See Also
    --------
    RidgeGaussian : Draws from it around the prediction of a ridge regression.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.baselines import GaussianResiduals
    >>> residuals = np.random.default_rng(0).standard_normal((200, 2, 5))
    >>> gaussian = GaussianResiduals().fit(residuals)
    >>> gaussian.root_.shape
    (10, 10)
    """

    root_: Any
    root_channels_: Any
    root_times_: Any

    def fit(self, residuals: np.ndarray, y_mask: np.ndarray | None = None) -> Self:
        """Estimate the covariance.

        Parameters
        ----------
        residuals : array, shape (n_trials, n_channels, n_times)
            Residuals of single trials.
        y_mask : array of bool, shape (n_trials, n_channels) | None, default None
            Which sensors each trial has. Covariances are then means over the trials that have both
            sensors.

        Returns
        -------
        GaussianResiduals
            The fitted model.
        """
        n_trials, n_channels, n_times = self.shape_ = residuals.shape
        mask = np.ones((n_trials, n_channels)) if y_mask is None else np.asarray(y_mask, float)
        residuals = residuals * mask[..., None]
        both = np.maximum(mask.T @ mask, 1)
        self.root_ = self.root_channels_ = self.root_times_ = None
        size = n_channels * n_times
        if size < n_trials and size <= _MAX_FULL:
            flat = residuals.reshape(n_trials, size)
            counts = np.repeat(np.repeat(both, n_times, axis=0), n_times, axis=1)
            self.root_ = _root(flat.T @ flat / counts)
            return self
        channels = np.einsum("kct,kdt->cd", residuals, residuals, optimize=True) / both / n_times
        sd = np.sqrt(np.where(np.diag(channels) > 0, np.diag(channels), 1.0))
        scaled = (residuals / sd[:, None]).reshape(-1, n_times)
        times = scaled.T @ scaled / mask.sum()
        # The scale is in the sensors' factor: the times' has a mean variance of one.
        times *= n_times / np.trace(times)
        self.root_channels_, self.root_times_ = _root(channels), _root(times)
        return self

    def draw(self, generators: list[np.random.Generator]) -> np.ndarray:
        """Draw responses, (n_draws, n_channels, n_times), one from each random generator."""
        white = np.stack([generator.standard_normal(self.shape_[1:]) for generator in generators])
        if self.root_ is None:
            return self.root_channels_ @ white @ self.root_times_
        return (white.reshape(len(white), -1) @ self.root_).reshape(white.shape)


def _root(covariance: np.ndarray) -> np.ndarray:
    """Return the symmetric root; what rounding has made negative is zero."""
    values, vectors = eigh(covariance)
    floor = 1e-12 * values[-1]
    return (vectors * np.sqrt(np.where(values > floor, values, 0.0))) @ vectors.T


def draw_generators(seed: int, image: int, n_draws: int) -> list[np.random.Generator]:
    """Return the generators of the draws of one image.

    Returns: generator ``d`` depends on the seed, the image and ``d`` alone.
    """
    sequences = (np.random.SeedSequence(seed, spawn_key=(image, d)) for d in range(n_draws))
    return [np.random.default_rng(sequence) for sequence in sequences]
