"""One subject's sensors as another mixture of the sources that all subjects share."""

import numpy as np
from scipy import linalg

from .._linalg import average_rows

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
        self, shared: np.ndarray, y: np.ndarray, image_index: np.ndarray, weight: np.ndarray,
        fold: np.ndarray,
    ) -> np.ndarray:  # fmt: skip
        """Learn the subject's mean and mixing.

        shared (n_trials, n_channels, n_times): the shared response to the image of each trial.
        weight (n_trials,): of how many trials each row is the average.
        fold (n_trials,): the fold that holds each trial out.
        Returns out_of_fold (n_trials, n_channels, n_times): what the layer adds, learnt without
            the trials of the same fold.
        """
        cells, rows = np.unique(np.column_stack([image_index, fold]), axis=0, return_inverse=True)
        rows = rows.ravel()
        total = np.bincount(rows, weights=weight)
        deviation, seen = (average_rows(x, rows, weight) for x in (y - shared, shared))
        of_cell = cells[:, 1]
        folds = np.unique(of_cell)
        whiten, colour, in_time = _noise_roots(deviation, total)
        white = (whiten @ deviation @ in_time, whiten @ seen @ in_time)
        self.penalty_ = np.inf
        if len(np.unique(cells[:, 0])) >= _LEAST_IMAGES and len(folds) > 1:
            errors = [_errors(*white, total, of_cell != k) for k in folds]
            self.penalty_ = _choose(np.array(errors))
        out_of_fold = np.zeros_like(deviation)
        for k in folds if len(folds) > 1 else []:
            kept = of_cell != k
            self._solve(deviation, seen, white, total, kept, whiten, colour)
            out_of_fold[~kept] = self.apply(seen[~kept])
        self._solve(deviation, seen, white, total, total > 0, whiten, colour)
        return out_of_fold[rows]

    def _solve(
        self, deviation: np.ndarray, seen: np.ndarray, white: tuple[np.ndarray, np.ndarray],
        total: np.ndarray, kept: np.ndarray, whiten: np.ndarray, colour: np.ndarray,
    ) -> None:  # fmt: skip
        """Fit to the images kept, with the penalty chosen."""
        total = total[kept]
        self.shared_mean_ = np.average(seen[kept], axis=0, weights=total)
        self.mean_ = _shrunk_mean(deviation[kept], total)
        patterns, powers, cross, _, _ = _moments(white[0][kept], white[1][kept], total)
        if np.isinf(self.penalty_):
            patterns, mixing = patterns[:, :0], cross[:, :0]
        else:
            mixing = cross / (powers + self.penalty_ * powers.sum())
        self.patterns_, self.mixing_ = whiten @ patterns, colour @ mixing

    def apply(self, shared: np.ndarray) -> np.ndarray:
        """Return what the layer adds.

        shared (n_images, n_channels, n_times): the shared responses.
        Returns (n_images, n_channels, n_times).
        """
        return self.mean_ + self.mixing_ @ (self.patterns_.T @ (shared - self.shared_mean_))


def _moments(
    deviation: np.ndarray, seen: np.ndarray, total: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return components over sensors, their powers, their products with deviations, and means."""
    level, middle = (np.average(x, axis=0, weights=total) for x in (deviation, seen))
    centred = seen - middle
    scatter = np.einsum("i,ict,idt->cd", total, centred, centred, optimize=True)
    values, vectors = linalg.eigh(scatter)
    keep = values > _RANK * max(values[-1], np.finfo(float).tiny)
    patterns = vectors[:, keep][:, ::-1][:, :_MOST_COMPONENTS]
    powers = values[keep][::-1][:_MOST_COMPONENTS]
    cross = np.einsum("i,ict,idt->cd", total, deviation - level, centred, optimize=True) @ patterns
    return patterns, powers, cross, level, middle


def _errors(
    deviation: np.ndarray, seen: np.ndarray, total: np.ndarray, kept: np.ndarray
) -> np.ndarray:
    """Return the squared error on what is left out, for each penalty."""
    patterns, powers, cross, level, middle = _moments(deviation[kept], seen[kept], total[kept])
    sources = patterns.T @ (seen[~kept] - middle)
    target, weight = deviation[~kept] - level, total[~kept]
    # |target - A z|^2 from moments, for all penalties at once
    square = np.einsum("i,ict,ict->", weight, target, target, optimize=True)
    inner = np.einsum("i,ikt,ilt->kl", weight, sources, sources, optimize=True)
    outer = np.einsum("i,ict,ikt->ck", weight, target, sources, optimize=True)
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


def _noise_roots(
    deviation: np.ndarray, total: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what whitens deviations over sensors, what undoes it, and what whitens over times."""
    noise = (deviation - np.average(deviation, axis=0, weights=total)) * np.sqrt(total)[
        :, None, None
    ]
    roots = []
    for moment in ("ict,idt->cd", "ict,ics->ts"):
        covariance = np.einsum(moment, noise, noise, optimize=True)
        mean = np.trace(covariance) / len(covariance)
        if mean <= 0:
            roots.append([np.eye(len(covariance))] * 2)
            continue
        covariance = (1 - _SHRINKAGE) * covariance / mean + _SHRINKAGE * np.eye(len(covariance))
        values, vectors = linalg.eigh(covariance)
        roots.append([(vectors * values**power) @ vectors.T for power in (-0.5, 0.5)])
        if moment.endswith("cd"):
            noise = roots[0][0] @ noise
    return roots[0][0], roots[0][1], roots[1][0]


def _shrunk_mean(deviation: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Return the mean, times the share of its power that is not its own error."""
    mean = np.average(deviation, axis=0, weights=total)
    if len(deviation) < 2:
        return np.zeros_like(mean)
    spread = np.average(np.square(deviation - mean), axis=0, weights=total)
    error = spread.sum() / (len(deviation) - 1)
    power = np.square(mean).sum()
    return mean * (max(0.0, 1 - error / power) if power > 0 else 0.0)
