"""One subject's sensors as another mixture of the sources that all subjects share.

conditional_mean.py adds it to the response of all subjects, and averages them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
from scipy import linalg

from .._lazy import LazyTrials, parts_of, scratch
from .response_space import average_parts

_MOST_COMPONENTS = 32
_PENALTIES = np.geomspace(1e-3, 1e3, 13)  # in units of the power of all components
_LEAST_IMAGES = 5  # fewer than this give a mean, and no mixing
_RANK = 1e-9  # variance of a component below this share of the first's is rounding
_SHRINKAGE = 0.05  # of the noise covariances, to their mean variance


class SpatialLayer:
    r"""What a subject adds to the response that all share: another mean, other mixing of sources.

    The shared response to image :math:`x`, less its mean over images, is turned to its
    principal components over sensors, :math:`z(x) = P^\top (s(x) - \bar s)`. A subject whose
    sources point elsewhere or are stronger mixes them into sensors in another way,

    .. math:: f(x) = s(x) + \mu + A\, z(x)

    with :math:`\mu` the subject's mean deviation, shrunk by what is known of its error
    (James-Stein), and :math:`A` the ridge regression of the subject's deviations on the
    components, over images and times together: strong sources may deviate more. It is done where
    the noise is white, over sensors and over times. The penalty is the largest that is as good on
    images left out as the best, within a standard error; the larger it is, the nearer the
    response is to the shared one.

    mean_ (n_channels, n_times): :math:`\mu`.
    mixing_ (n_channels, n_components): :math:`A`.
    patterns_ (n_channels, n_components): :math:`P`.
    shared_mean_ (n_channels, n_times): :math:`\bar s`.
    penalty_: the penalty; infinite where there is nothing to mix.
    """

    def fit(
        self, shared: np.ndarray, y: np.ndarray | LazyTrials, image_index: np.ndarray,
        weight: np.ndarray, fold: np.ndarray,
    ) -> np.ndarray:  # fmt: skip
        """Learn the subject's mean and mixing.

        shared: the shared response to the image of each trial.
        Returns what the layer adds, learnt without the trials of the same fold.
        """
        pairs, cell = np.unique(np.column_stack([image_index, fold]), axis=0, return_inverse=True)
        cells = _Cells(shared, y, cell.ravel(), weight)
        held = [np.flatnonzero(pairs[:, 1] == k) for k in np.unique(fold)]
        sums = [cells.add_up(some) for some in held]
        others = []
        if len(held) > 1:
            others = [reduce(add, sums[:k] + sums[k + 1 :]) for k in range(len(sums))]
        self.penalty_ = np.inf
        if len(np.unique(pairs[:, 0])) >= _LEAST_IMAGES and others:
            self.penalty_ = _choose(np.array([*map(_errors, others, sums)]))
        out_of_fold = np.zeros_like(cells.deviation)
        for some, kept in zip(held, others, strict=False):  # one fold has no others
            self._solve(kept, cells)
            for part in parts_of(out_of_fold):
                out_of_fold[some[part]] = self.apply(cells.seen[some[part]])
        self._solve(reduce(add, sums), cells)
        return out_of_fold[cell.ravel()]

    def _solve(self, sums: "_Sums", cells: "_Cells") -> None:
        """Fit to the cells that were added up, with the penalty chosen."""
        self.shared_mean_ = cells.seen_mean + sums.seen / sums.weight
        self.mean_ = _shrunk(cells.deviation_mean + sums.deviation / sums.weight, sums)
        patterns, powers, cross, _, _ = _components(sums)
        if np.isinf(self.penalty_):
            patterns, mixing = patterns[:, :0], cross[:, :0]
        else:
            mixing = cross / (powers + self.penalty_ * powers.sum())
        self.patterns_, self.mixing_ = cells.whiten @ patterns, cells.colour @ mixing

    def apply(self, shared: np.ndarray) -> np.ndarray:
        """Return what the layer adds to shared responses (n_images, n_channels, n_times)."""
        return self.mean_ + self.mixing_ @ (self.patterns_.T @ (shared - self.shared_mean_))


@dataclass
class _Sums:
    """Weighted sums over cells of deviations and of what is seen, about the means of all cells.

    n, weight: how many cells, and of how many trials.
    deviation, seen (n_channels, n_times), squares: of deviations, of what is seen, and of squares
        of deviations.
    white_*: where noise is white.
    cross, scatter (n_channels, n_channels): there, of products over times: of deviations with what
        is seen, and of that with itself.
    """

    n: int
    weight: float
    deviation: np.ndarray
    seen: np.ndarray
    squares: float
    white_deviation: np.ndarray
    white_seen: np.ndarray
    white_squares: float
    cross: np.ndarray
    scatter: np.ndarray

    def __add__(self, other: "_Sums") -> "_Sums":
        return _Sums(
            *(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True))
        )

    def about(self, level: np.ndarray, middle: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Return squares, cross and scatter about other means (n_channels, n_times)."""
        d, s = self.white_deviation, self.white_seen
        squares = self.white_squares + np.sum(level * (self.weight * level - 2 * d))
        cross = self.cross - d @ middle.T + level @ (self.weight * middle - s).T
        scatter = self.scatter - s @ middle.T + middle @ (self.weight * middle - s).T
        return squares, cross, scatter


class _Cells:
    """Averages of the trials of one image in one fold, looked at a part at a time.

    deviation, seen (n_cells, n_channels, n_times): what the subject's response is more than the
        shared one, and that.
    total (n_cells,): of how many trials.
    whiten, colour (n_channels, n_channels), in_time (n_times, n_times): make the noise of
        deviations white over sensors, undo it, and make it white over times.
    """

    def __init__(
        self, shared: np.ndarray, y: np.ndarray | LazyTrials, cell: np.ndarray, weight: np.ndarray
    ) -> None:
        self.total = np.bincount(cell, weights=weight)
        shape = (len(self.total), *y.shape[1:])
        dtype = np.result_type(y.dtype, shared.dtype)
        self.deviation, self.seen = scratch(shape, dtype), scratch(shape, dtype)
        more = LazyTrials(lambda rows: y[rows] - shared[rows], y.shape, dtype)
        for values, averages in ((more, self.deviation), (shared, self.seen)):
            average_parts(values, cell, weight / self.total[cell], averages)
        share = self.total / self.total.sum()
        self.deviation_mean, self.seen_mean = (
            np.sum([np.tensordot(share[part], x[part], 1) for part in parts_of(x)], axis=0)
            for x in (self.deviation, self.seen)
        )
        everything = np.arange(len(share))
        over_times = (_product(w * d, d, (0, 2)) for w, d, _ in self._parts(everything))
        self.whiten, self.colour = _roots(reduce(add, over_times))
        white = ((w, self.whiten @ d) for w, d, _ in self._parts(everything))
        self.in_time, _ = _roots(reduce(add, (_product(w * u, u, (0, 1)) for w, u in white)))

    def _parts(self, cells: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield weights, deviations and what is seen, about their means."""
        for part in parts_of(self.seen[: len(cells)]):
            some = cells[part]
            d, s = self.deviation[some] - self.deviation_mean, self.seen[some] - self.seen_mean
            yield self.total[some, None, None], d, s

    def add_up(self, cells: np.ndarray) -> _Sums:
        """Sum over some cells."""
        found = []
        for w, d, s in self._parts(cells):
            u, v = (self.whiten @ x @ self.in_time for x in (d, s))
            found.append(
                _Sums(
                    len(w), w.sum(), (w * d).sum(axis=0), (w * s).sum(axis=0), np.sum(w * d * d),
                    (w * u).sum(axis=0), (w * v).sum(axis=0), np.sum(w * u * u),
                    _product(w * u, v, (0, 2)), _product(w * v, v, (0, 2)),
                )
            )  # fmt: skip
        return reduce(add, found)


def _product(a: np.ndarray, b: np.ndarray, axes: tuple[int, int]) -> np.ndarray:
    return np.tensordot(a, b, (axes, axes))


def _components(sums: _Sums) -> tuple[np.ndarray, ...]:
    """Return components over sensors, their powers, their products with deviations, and means."""
    level, middle = sums.white_deviation / sums.weight, sums.white_seen / sums.weight
    _, cross, scatter = sums.about(level, middle)
    values, vectors = linalg.eigh(scatter)
    keep = values > _RANK * max(values[-1], np.finfo(float).tiny)
    patterns = vectors[:, keep][:, ::-1][:, :_MOST_COMPONENTS]
    powers = values[keep][::-1][:_MOST_COMPONENTS]
    return patterns, powers, cross @ patterns, level, middle


def _errors(kept: _Sums, held: _Sums) -> np.ndarray:
    """Return the squared error on what is left out, for each penalty."""
    patterns, powers, cross, level, middle = _components(kept)
    # |target - A z|^2 from moments, for all penalties at once
    square, outer, inner = held.about(level, middle)
    outer, inner = outer @ patterns, patterns.T @ inner @ patterns
    errors = []
    for penalty in _PENALTIES:
        mixing = cross / (powers + penalty * powers.sum())
        errors.append(square - 2 * np.sum(mixing * outer) + np.sum((mixing @ inner) * mixing))
    return np.array(errors)


def _choose(errors: np.ndarray) -> float:
    """Return the largest penalty that is as good as the best, within a standard error."""
    best = errors.sum(axis=0).argmin()
    excess = errors - errors[:, [best]]
    error = excess.std(axis=0, ddof=1) * np.sqrt(len(errors))
    return float(_PENALTIES[np.flatnonzero(excess.sum(axis=0) <= error)[-1]])


def _roots(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what whitens noise of a covariance, shrunk, and what undoes it."""
    mean = np.trace(covariance) / len(covariance)
    if mean <= 0:
        return np.eye(len(covariance)), np.eye(len(covariance))
    covariance = (1 - _SHRINKAGE) * covariance / mean + _SHRINKAGE * np.eye(len(covariance))
    values, vectors = linalg.eigh(covariance)
    return (vectors / np.sqrt(values)) @ vectors.T, (vectors * np.sqrt(values)) @ vectors.T


def _shrunk(mean: np.ndarray, sums: _Sums) -> np.ndarray:
    """Return a mean deviation, times the share of its power that is not its own error."""
    if sums.n < 2:
        return np.zeros_like(mean)
    spread = sums.squares / sums.weight - np.sum((sums.deviation / sums.weight) ** 2)
    error, power = spread / (sums.n - 1), np.square(mean).sum()
    return mean * (max(0.0, 1 - error / power) if power > 0 else 0.0)
