"""Whitening of residuals in space and time, and back."""

import copy
from typing import Self

import numpy as np
from scipy.sparse import csr_array

from .._lazy import LazyTrials, parts_of
from .._log import logger, progress_bar
from .clusters import TrialClusters
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

_NOT_FINITE = "residuals hold NaN or inf; leave those trials out."
_MAX_VALUES = 10**8  # numbers of the trials that a covariance is estimated from: 800 MB
_MIN_REPEATED = 0.25  # degrees of freedom per trial that show the SD within images
# Trials for each dimension of a block from which its sample covariance is taken as it is: what a
# target lends it is as likely as what it has, and a classifier separates draws from trials by it.
_PER_DIMENSION = 20
_MOST_SD = 1.03  # of residuals, against that within images


class ScaleWhitener:
    """Divide every sensor by its own SD: no whitening but of the units."""

    n_stored_trials = 0

    def fit(
        self,
        residuals: np.ndarray | LazyTrials,
        groups: np.ndarray | None = None,
        n_averaged: np.ndarray | None = None,
    ) -> Self:
        """Measure the SD of every sensor; groups and n_averaged are not used."""
        scale = np.sqrt(np.mean(np.square(residuals), axis=(0, 2)))
        if not np.isfinite(scale).all():
            raise ValueError(_NOT_FINITE)
        self.scale_ = np.where(scale > 0, scale, 1.0)[:, None]
        return self

    def without_trials(self, *, gaussian: bool = True) -> Self:
        """Return itself: it keeps no recorded trial."""
        return self

    def transform(self, residuals: np.ndarray) -> np.ndarray:
        """Divide: array, shape (n, n_channels, n_times)."""
        return residuals / self.scale_

    def inverse_transform(self, whitened: np.ndarray) -> np.ndarray:
        """Multiply: array, shape (n, n_channels, n_times)."""
        return whitened * self.scale_

    colour = inverse_transform


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

    draws_only: whether noise is coloured and nothing whitened: clusters of trials need no
        covariance.
    target_: what the sample covariance is drawn to.
    weight_: the weight of the sample covariance, :math:`1 - \rho`.
    rank_: dimensions of the subspace.
    clusters_: what noise is drawn by.
    mean_factor_: what the mean residuals of images were multiplied with.

    References
    ----------
    .. [1] Kessy, Lewin & Strimmer (2018). Optimal whitening and decorrelation. The American
       Statistician 72, 309-314.
    """

    def __init__(self, *, draws_only: bool = False) -> None:
        self.draws_only = draws_only

    def fit(
        self,
        residuals: np.ndarray | LazyTrials,
        groups: np.ndarray | None = None,
        n_averaged: np.ndarray | None = None,
    ) -> Self:
        r"""Estimate the covariance.

        It is that of the residuals, the error of the prediction included: a trial of a new image
        deviates by noise and by that error, and draws without the latter lack power that a
        classifier misses. Where images repeat, draws vary about their mean as trials do about
        theirs: the images' mean residuals are multiplied by a factor, 1 or less, that keeps the
        SD of residuals at most 1.03 times the SD within images, which is estimated with the
        degrees of freedom that the means cost. Images with a single trial are brought to that SD.

        residuals: of mean zero; what an average over n trials leaves, times :math:`\sqrt n`.
        groups (n_trials,) | None: the image of each trial. ``None`` takes residuals as they are.
        n_averaged (n_trials,) | None: of how many trials each row is the average; ``None`` is one.
        """
        rng = np.random.default_rng(0)
        noise, groups, self.mean_factor_ = _noise(residuals, groups, n_averaged, rng)
        if not np.isfinite(noise).all():
            raise ValueError(_NOT_FINITE)
        self.shape_ = noise.shape[1:]
        square = sum(np.square(trial, dtype=float).mean(axis=1) for trial in noise)
        scale = np.sqrt(square / len(noise))
        self.scale_ = np.where(scale > 0, scale, 1.0)[:, None]
        noise /= self.scale_
        self.clusters_ = TrialClusters().fit(noise, rng)
        if self.draws_only and self.clusters_.can_draw:
            return self
        return self._fit_covariance(noise, _held_out(groups, rng))

    def _fit_covariance(self, noise: np.ndarray, held: np.ndarray) -> Self:
        """Choose a structure on the trials held out, and estimate the covariance on all."""
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
            f"sample against {self.target_}, rank {self.rank_} of {np.prod(self.shape_)}."
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

    def colour(self, noise: np.ndarray) -> np.ndarray:
        """Turn white noise into residuals.

        By clusters of trials, whose covariances add up to that of the sample: whitening takes
        the inverse of a covariance and wants one that is safe there; noise does not, and a network
        tells the safe one from real trials by what it leaves out (see the page "What we tried").
        With fewer than 100 trials as :meth:`inverse_transform`.
        """
        if not self.clusters_.can_draw:
            return self.inverse_transform(noise)
        return self.clusters_.draw(noise) * self.scale_

    @property
    def n_stored_trials(self) -> int:
        """Of how many recorded trials it keeps the residuals."""
        return 0 if self.clusters_.trials_ is None else len(self.clusters_.trials_)

    def without_trials(self, *, gaussian: bool = True) -> Self:
        """Return a copy that keeps no recorded trial.

        gaussian: whether it colours by one Gaussian with the covariance of the trials; else it
            colours as :meth:`inverse_transform`, which suits what draws in whitened space.
        """
        bare = copy.copy(self)
        bare.clusters_ = self.clusters_.without_trials(self.shape_) if gaussian else TrialClusters()
        return bare

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
        self = cls()
        vars(self).update(state)
        self.shape_ = tuple(self.shape_)
        if "root_" in state:  # encoders of before eigenvalues were kept
            values, self.vectors_ = np.linalg.eigh(vars(self).pop("root_"))
            self.values_ = values**2
            vars(self).pop("inverse_root_")
        return self


def _noise(
    residuals: np.ndarray | LazyTrials,
    groups: np.ndarray | None,
    n_averaged: np.ndarray | None,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return residuals, their groups, and the factor on the means of the groups."""
    n = len(residuals)
    labels = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1].ravel()
    weight = np.ones(n) if n_averaged is None else np.asarray(n_averaged, dtype=float)
    most, order = max(2, _MAX_VALUES // residuals[0].size), np.arange(n)
    if n > most:
        order = np.argsort(rng.permutation(labels.max() + 1)[labels], kind="stable")[:most]
        order.sort()
        labels, weight = labels[order], weight[order]
        labels = np.unique(labels, return_inverse=True)[1].ravel()
    # one copy, in the precision of the residuals; all else a block at a time
    values = residuals[order].astype(np.result_type(residuals.dtype, np.float32), copy=False)
    counts = np.bincount(labels)
    several = counts[labels] > 1
    freedom = several.sum() - np.sum(counts > 1)
    if freedom < _MIN_REPEATED * n:
        return values, labels, 1.0
    root, flat = np.sqrt(weight), values.reshape(len(values), -1)
    total = np.bincount(labels, weights=weight)
    average = csr_array(((root / total[labels]).astype(flat.dtype), (labels, np.arange(len(flat)))))
    mean = average @ flat
    blocks = parts_of(flat, 10**6)
    scale = sum(np.square(values[rows], dtype=float).sum(axis=(0, 2)) for rows in blocks)
    scale = np.repeat(np.where(scale > 0, scale / values[:, 0].size, 1.0), values.shape[2])
    within = between = single = 0.0
    for rows in blocks:
        means = root[rows, None] * mean[labels[rows]]
        of_several = several[rows]
        within += np.sum(np.square(flat[rows] - means)[of_several] / scale)
        between += np.sum(np.square(means)[of_several] / scale)
        single += np.sum(np.square(flat[rows])[~of_several] / scale)
    allowed = _MOST_SD**2 * several.sum() / freedom * within - within
    factor = float(np.sqrt(np.clip(allowed / between, 0, 1))) if between > 0 else 1.0
    # The mean of an image with one trial is that trial, noise and all: it is scaled as a whole.
    allowed = _MOST_SD**2 * (~several).sum() / freedom * within
    alone = float(np.sqrt(np.clip(allowed / single, 0, 1))) if single > 0 else 1.0
    for rows in blocks:
        share = np.where(several[rows], 1 - factor, 1 - alone) * root[rows]
        flat[rows] -= share[:, None].astype(flat.dtype) * mean[labels[rows]]
    return values, labels, factor


def _held_out(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Choose a quarter of the groups: array of bool, shape (n_trials,)."""
    names = np.unique(groups)
    if len(names) < 4:
        # too few images to leave one out: trials
        groups, names = np.arange(len(groups)), np.arange(len(groups))
    return np.isin(groups, rng.permutation(names)[: len(names) // 4])
