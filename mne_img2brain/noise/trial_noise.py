"""What single trials do around the mean: how it is drawn, and how it is made white."""

import copy
from typing import Any, Self

import numpy as np
from scipy.sparse import csr_array

from .._lazy import LazyTrials, parts_of
from .clusters import TrialClusters
from .whitening import ScaleWhitener, SpaceTimeWhitener

_MAX_VALUES = 10**8  # numbers of the trials that noise is learnt from: 800 MB
_MIN_REPEATED = 0.25  # degrees of freedom per trial that show the SD within images
_MOST_SD = 1.03  # of residuals, against that within images


class TrialNoise:
    """The noise of one subject, or of all: drawn by clusters of trials, whitened for a network.

    Clusters have covariances that add up to that of the sample. Whitening takes the inverse of a
    covariance and wants one that is safe there; draws do not, and a network tells the safe one from
    real trials by what it leaves out (see the page "What we tried").

    whitening: ``"covariance"``, or ``"scale"``: draws are then independent over sensors and times.
    draws_only: whether nothing is whitened: clusters of trials need no covariance.
    scale_ (n_channels, 1): the SD of each sensor.
    shape_: (n_channels, n_times).
    clusters_: what draws.
    whitener_: what whitens, and draws with fewer than 100 trials; None where it does neither.
    mean_factor_: what the mean residuals of images were multiplied with.
    """

    def __init__(self, whitening: str = "covariance", *, draws_only: bool = False) -> None:
        self.whitening = whitening
        self.draws_only = draws_only

    def fit(
        self,
        residuals: np.ndarray | LazyTrials,
        groups: np.ndarray | None = None,
        n_averaged: np.ndarray | None = None,
    ) -> Self:
        r"""Learn the noise.

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
        self.clusters_, self.mean_factor_ = TrialClusters(), 1.0
        self.shape_: Any = residuals.shape[1:]
        self.whitener_: Any = None
        if self.whitening == "scale":
            self.scale_ = _scale(np.mean(np.square(residuals), axis=(0, 2)))
            self.whitener_ = ScaleWhitener(self.scale_)
            return self
        n = len(residuals)
        labels = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
        weight = np.ones(n) if n_averaged is None else np.asarray(n_averaged, float)
        rows = _some(labels, max(2, _MAX_VALUES // residuals[0].size), rng)
        labels = np.unique(labels[rows], return_inverse=True)[1]
        # one copy, in the precision of the residuals; all else a block at a time
        kind = np.result_type(residuals.dtype, np.float32)
        noise = residuals[rows].astype(kind, copy=False)
        self.mean_factor_ = _shrink_means(noise, labels, weight[rows])
        square = sum(np.square(trial, dtype=float).mean(axis=1) for trial in noise)
        self.scale_ = _scale(square / len(noise))
        noise /= self.scale_
        self.clusters_.fit(noise, rng)
        if not (self.draws_only and self.clusters_.can_draw):
            self.whitener_ = SpaceTimeWhitener(self.scale_).fit(noise, _held_out(labels, rng))
        return self

    def transform(self, residuals: np.ndarray) -> np.ndarray:
        """Whiten within the subspace of the data; the result is zero outside."""
        return self.whitener_.transform(residuals)

    def inverse_transform(self, whitened: np.ndarray) -> np.ndarray:
        """Undo :meth:`transform`; what lies outside the subspace of the data is lost."""
        return self.whitener_.inverse_transform(whitened)

    def draw(self, numbers: np.ndarray) -> np.ndarray:
        """Turn standard normal numbers (n_draws, n_channels, n_times) into residuals."""
        if not self.clusters_.can_draw:
            return self.inverse_transform(numbers)
        return self.clusters_.draw(numbers) * self.scale_

    @property
    def n_stored_trials(self) -> int:
        """Of how many recorded trials it keeps the residuals."""
        return 0 if self.clusters_.trials_ is None else len(self.clusters_.trials_)

    def without_trials(self, *, gaussian: bool = True) -> Self:
        """Return a copy that keeps no recorded trial.

        gaussian: whether it draws by one Gaussian with the covariance of the trials; else it draws
            as :meth:`inverse_transform`, which suits what draws in whitened space.
        """
        bare = copy.copy(self)
        bare.clusters_ = self.clusters_.without_trials(self.shape_) if gaussian else TrialClusters()
        return bare

    @classmethod
    def from_whitener(cls, whitener: Any) -> Self:
        """Return the noise of an encoder of before whiteners whitened only: they drew too."""
        self, state = cls.__new__(cls), vars(whitener)
        self.whitening = "scale" if isinstance(whitener, ScaleWhitener) else "covariance"
        self.draws_only = state.pop("draws_only", False)
        self.clusters_ = state.pop("clusters_", None) or TrialClusters()
        self.mean_factor_ = state.pop("mean_factor_", 1.0)
        self.shape_, self.scale_ = tuple(state.pop("shape_", ())), whitener.scale_
        whitens = self.whitening == "scale" or "values_" in state
        self.whitener_ = whitener if whitens else None
        return self


def _scale(square: np.ndarray) -> np.ndarray:
    """Return the SD of each sensor, 1 where it is silent: array, shape (n_channels, 1)."""
    if not np.isfinite(square).all():
        raise ValueError("residuals hold NaN or inf; leave those trials out.")
    scale = np.sqrt(square)
    return np.where(scale > 0, scale, 1.0)[:, None]


def _some(labels: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Choose whole images until there are trials enough: rows, in order."""
    if len(labels) <= most:
        return np.arange(len(labels))
    place = rng.permutation(labels.max() + 1)[labels]
    return np.sort(np.argsort(place, kind="stable")[:most])


def _shrink_means(values: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> float:
    """Shrink the mean residuals of images, in place, and return the factor; see ``fit``."""
    counts = np.bincount(labels)
    several = counts[labels] > 1
    freedom = several.sum() - np.sum(counts > 1)
    if freedom < _MIN_REPEATED * len(values):
        return 1.0
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
    allowed = _MOST_SD**2 * within / freedom  # mean square
    factor = _root_of_ratio(allowed * several.sum() - within, between)
    # The mean of an image with one trial is that trial, noise and all: it is scaled as a whole.
    alone = _root_of_ratio(allowed * (~several).sum(), single)
    for rows in blocks:
        share = np.where(several[rows], 1 - factor, 1 - alone) * root[rows]
        flat[rows] -= share[:, None].astype(flat.dtype) * mean[labels[rows]]
    return factor


def _root_of_ratio(allowed: float, there: float) -> float:
    """Return what brings a sum of squares to what is allowed, at most 1."""
    return float(np.sqrt(np.clip(allowed / there, 0, 1))) if there > 0 else 1.0


def _held_out(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Choose a quarter of the groups: array of bool, shape (n_trials,)."""
    names = np.unique(groups)
    if len(names) < 4:
        # too few images to leave one out: trials
        groups, names = np.arange(len(groups)), np.arange(len(groups))
    return np.isin(groups, rng.permutation(names)[: len(names) // 4])
