"""Whitening of residuals in space and time, and back."""

from typing import Self

import numpy as np

from .._lazy import LazyTrials, parts_of
from .._log import logger, progress_bar
from .covariance import (
    average_diagonals,
    components,
    from_blocks,
    into_blocks,
    judge,
    list_candidates,
    raise_eigenvalues,
    sample_covariance,
    spectrum,
    target_covariance,
)

# Trials for each dimension of a block from which its sample covariance is taken as it is: what a
# target lends it is as likely as what it has, and a classifier separates draws from trials by it.
_PER_DIMENSION = 20


class ScaleWhitener:
    """Divide every sensor by a scale of its own: no whitening but of the units."""

    def __init__(self, scale: np.ndarray) -> None:
        self.scale_ = scale

    def transform(self, residuals: np.ndarray) -> np.ndarray:
        """Divide: array, shape (n, n_channels, n_times)."""
        return residuals / self.scale_

    def inverse_transform(self, whitened: np.ndarray) -> np.ndarray:
        """Multiply: array, shape (n, n_channels, n_times)."""
        return whitened * self.scale_


class SpaceTimeWhitener:
    r"""Make residuals white over sensors and times, every value staying in its place.

    Residuals :math:`r` have the unit of their sensor taken away, :math:`D^{-1} r` with :math:`D`
    the SD of each sensor, and are multiplied with the symmetric inverse root of their covariance
    (ZCA-cor whitening [1]_, the one that changes standardised data least)

    .. math:: w = \Sigma^{-1/2} D^{-1} r, \qquad r = D\, \Sigma^{1/2} w

    within the subspace that the residuals span: after an average reference, a projection or a
    baseline correction, what is coloured back has it too. In the coordinates
    :math:`z_{ij} = u_i^\top D^{-1} r\, v_j`, with :math:`u_i` the principal components over
    sensors and :math:`v_j` those over times, the covariance is one of

    - ``"kronecker"``: :math:`\mathrm{var}\, z_{ij} = \lambda_i \mu_j`, sensors times times;
    - ``"separate"``: a variance for each :math:`z_{ij}`, the rest zero: a sum of Kronecker
      products, each component over sensors with its own spectrum;
    - ``"time_wise"``: a covariance over :math:`i` for each :math:`j`. Components over times are
      close to frequencies, so each frequency has its own topographies;
    - ``"space_wise"``: a covariance over :math:`j` for each :math:`i`;
    - ``"full"``: a covariance over all :math:`z_{ij}`, for up to 2048 of them.

    The last three are :math:`(1 - \rho) S + \rho T`: the sample covariance :math:`S` drawn to a
    structured target, never to white noise, whose floor a spectrum shows. Targets are
    ``"separate"``, and for ``"full"`` also ``"time_wise"``, ``"space_wise"`` and the covariance
    that is stationary, the same for all pairs of times of equal distance. Structure, target and
    :math:`\rho` are those of the highest Gaussian likelihood on a quarter of the images,
    left out for that; the covariance is then estimated on all, and is :math:`S` itself where there
    are 20 trials for each of its dimensions.

    scale_ (n_channels, 1): the SD of each sensor.
    target_: what the sample covariance is drawn to.
    weight_: the weight of the sample covariance, :math:`1 - \rho`.
    rank_: dimensions of the subspace.

    References
    ----------
    .. [1] Kessy, Lewin & Strimmer (2018). Optimal whitening and decorrelation. The American
       Statistician 72, 309-314.
    """

    def __init__(self, scale: np.ndarray) -> None:
        self.scale_ = scale

    def fit(self, noise: np.ndarray, held: np.ndarray) -> Self:
        """Choose a structure on the trials held out, and estimate the covariance on all.

        noise: residuals of mean zero, divided by the scale.
        held (n_trials,): whether a trial is held out.
        """
        shape = noise.shape[1:]
        self._fit_basis(noise)
        # components, those left out last
        order, n_kept = np.argsort(held, kind="stable"), int((~held).sum())
        z = np.empty((len(noise), self.space_.shape[1], self.time_.shape[1]), noise.dtype)
        for rows in parts_of(noise, 10**6):
            z[rows] = self.space_.T @ noise[order[rows]] @ self.time_
        del noise
        candidates, weight = list_candidates(z.shape[1:], len(z)), 0.0
        self.structure_, self.target_ = candidates[0]
        if len(candidates) > 1:
            judged = [
                (*judge(z[:n_kept], z[n_kept:], structure, target, self.time_), structure, target)
                for structure, target in progress_bar(candidates, "Choosing the covariance")
            ]
            _, weight, self.structure_, self.target_ = max(judged, key=lambda one: one[0])
        enough = _PER_DIMENSION * into_blocks(z[:1], self.structure_).shape[2]
        self.weight_ = float(weight) if len(z) < enough else 1.0
        covariance = self.weight_ * sample_covariance(z, self.structure_) if self.weight_ else 0.0
        if self.weight_ < 1:
            aim = target_covariance(z, self.structure_, self.target_, self.time_)
            covariance = covariance + (1 - self.weight_) * aim
        self.values_, self.vectors_ = spectrum(covariance)
        logger.info(
            f"Covariance of the residuals: {self.structure_}, weight {self.weight_:.3g} of the "
            f"sample against {self.target_}, rank {self.rank_} of {np.prod(shape)}."
        )
        return self

    def _fit_basis(self, noise: np.ndarray) -> None:
        """Set the principal components over sensors and over times."""
        n, n_channels, n_times = noise.shape
        space = np.zeros((n_channels, n_channels))
        time = np.zeros((n_times, n_times))
        for trial in noise:
            trial = trial.astype(float, copy=False)  # in float32 there is no telling the rank
            space += trial @ trial.T
            time += trial.T @ trial
        if n * n_channels < 4 * n_times:  # too little for one covariance; assume stationarity
            time = raise_eigenvalues(average_diagonals(time))
        self.space_, self.time_ = components(space), components(time)
        self.rank_ = self.space_.shape[1] * self.time_.shape[1]

    def transform(self, residuals: np.ndarray) -> np.ndarray:
        """Whiten within the subspace of the data; the result is zero outside."""
        return self._multiply(residuals, self.values_**-0.5, 1 / self.scale_)

    def inverse_transform(self, whitened: np.ndarray) -> np.ndarray:
        """Undo :meth:`transform`; what lies outside the subspace of the data is lost."""
        return self._multiply(whitened, self.values_**0.5, after=self.scale_)

    @property
    def half_variance(self) -> np.ndarray:
        """Variance of each eigenvector's part of half-white residuals: (n_blocks, size)."""
        root = np.sqrt(self.values_)
        return root / root.mean()

    def half_colour(self, whitened: np.ndarray) -> np.ndarray:
        r"""Return half-white residuals, :math:`\propto \Sigma^{1/4} w`: strong parts stand out."""
        return self._multiply(whitened, np.sqrt(self.half_variance))

    def half_whiten(self, half_white: np.ndarray) -> np.ndarray:
        """Undo :meth:`half_colour`."""
        return self._multiply(half_white, 1 / np.sqrt(self.half_variance))

    def _multiply(
        self,
        values: np.ndarray | LazyTrials,
        gains: np.ndarray,
        before: float | np.ndarray = 1.0,
        after: float | np.ndarray = 1.0,
    ) -> np.ndarray:
        """Multiply the eigenvectors' parts by gains (n_blocks, size), and all by two scales."""
        result = np.empty(np.shape(values), np.result_type(values.dtype, np.float32))
        for rows in parts_of(values, 10**7):
            z = self.space_.T @ (values[rows] * before) @ self.time_
            blocks = (into_blocks(z, self.structure_) @ self.vectors_) * gains[:, None]
            z = from_blocks(blocks @ self.vectors_.mT, self.structure_, z.shape)
            result[rows] = self.space_ @ z @ self.time_.T * after
        return result

    @classmethod
    def from_state(cls, state: dict) -> Self:
        """Make a fitted whitener from the attributes of one."""
        self = cls.__new__(cls)
        vars(self).update(state)
        if "root_" in state:  # encoders of before eigenvalues were kept
            values, self.vectors_ = np.linalg.eigh(vars(self).pop("root_"))
            self.values_ = values**2
            vars(self).pop("inverse_root_")
        return self
