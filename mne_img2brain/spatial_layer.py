"""One subject's sensors as a mixture of the sources that all subjects share."""

import numpy as np
from scipy import linalg

_MOST_COMPONENTS = 32
_PENALTIES = np.geomspace(1e-3, 1e3, 13)  # in units of the power of all sources
_LEAST_IMAGES = 5  # fewer than this give a mean, and no mixing
_RANK = 1e-9  # variance of a source below this share of the first's is rounding


class SpatialLayer:
    r"""What a subject adds to the response that all share: another mean, other mixing of sources.

    The shared response to picture :math:`x`, less its mean over pictures, is turned to its
    principal components over sensors, :math:`z(x) = P^\top (s(x) - \bar s)`. A subject whose
    sources point elsewhere or are stronger mixes them into sensors in another way,

    .. math:: f(x) = s(x) + \mu + A\, z(x)

    with :math:`\mu` the subject's mean deviation, shrunk by what is known of its error
    (James-Stein), and :math:`A` the ridge regression of the subject's deviations on the
    components, over pictures and times together: strong sources may deviate more. The penalty is
    the largest that is as good on pictures left out as the best, within a standard error; the
    larger it is, the nearer the response is to the shared one.

    Attributes
    ----------
    mean_ : array, shape (n_channels, n_times)
        :math:`\mu`.
    mixing_ : array, shape (n_channels, n_components)
        :math:`A`.
    patterns_ : array, shape (n_channels, n_components)
        :math:`P`.
    shared_mean_ : array, shape (n_channels, n_times)
        :math:`\bar s`.
    """

    def fit(self, shared, y, image_index, weight, fold):
        """Learn the subject's mean and mixing.

        Parameters
        ----------
        shared : array, shape (n_trials, n_channels, n_times)
            The shared response to the picture of each trial.
        y : array, shape (n_trials, n_channels, n_times)
            The subject's responses.
        image_index : array of int, shape (n_trials,)
            The picture of each trial.
        weight : array, shape (n_trials,)
            Of how many trials each row is the average.
        fold : array of int, shape (n_trials,)
            The fold that holds each trial out.

        Returns
        -------
        out_of_fold : array, shape (n_trials, n_channels, n_times)
            What the layer adds, learnt without the trials of the same fold.
        """
        cells, rows = np.unique(np.column_stack([image_index, fold]), axis=0, return_inverse=True)
        rows = rows.ravel()
        total = np.bincount(rows, weights=weight)
        deviation, seen = (_average(x, rows, weight, total) for x in (y - shared, shared))
        of_cell = cells[:, 1]
        folds = np.unique(of_cell)
        several = len(np.unique(cells[:, 0])) >= _LEAST_IMAGES and len(folds) > 1
        n_components, penalty = 0, 0.0
        if several and len(self._components(seen, total)):
            n_components = _MOST_COMPONENTS
            errors = [
                self._errors(seen, deviation, total, of_cell != k, n_components) for k in folds
            ]
            penalty = _choose(np.array(errors))
        out_of_fold = np.zeros_like(deviation)
        for k in folds if len(folds) > 1 else []:
            kept = of_cell != k
            self._solve(seen[kept], deviation[kept], total[kept], n_components, penalty)
            out_of_fold[~kept] = self.apply(seen[~kept])
        self._solve(seen, deviation, total, n_components, penalty)
        return out_of_fold[rows]

    def apply(self, shared):
        """Return what the layer adds.

        Parameters
        ----------
        shared : array, shape (n_images, n_channels, n_times)
            The shared responses.

        Returns
        -------
        array, shape (n_images, n_channels, n_times)
        """
        sources = self.patterns_.T @ (shared - self.shared_mean_)
        return self.mean_ + self.mixing_ @ sources

    @staticmethod
    def _components(shared, total):
        """Return principal components over sensors, largest first, as rows."""
        centred = shared - np.average(shared, axis=0, weights=total)
        covariance = np.einsum("i,ict,idt->cd", total, centred, centred, optimize=True)
        covariance /= total.sum() * shared.shape[2]
        values, vectors = linalg.eigh(covariance)
        keep = values > _RANK * max(values[-1], np.finfo(float).tiny)
        return vectors[:, keep].T[::-1]

    def _prepare(self, shared, deviation, total, n_components):
        """Set means and patterns; return centred sources and deviations."""
        self.shared_mean_ = np.average(shared, axis=0, weights=total)
        self.mean_ = _shrunk_mean(deviation, total)
        self.patterns_ = np.ascontiguousarray(self._components(shared, total)[:n_components].T)
        sources = self.patterns_.T @ (shared - self.shared_mean_)
        return sources, deviation - np.average(deviation, axis=0, weights=total)

    def _solve(self, shared, deviation, total, n_components, penalty):
        """Fit with given number of sources and penalty."""
        sources, centred = self._prepare(shared, deviation, total, n_components)
        gram = np.einsum("i,ikt,ilt->kl", total, sources, sources, optimize=True)
        cross = np.einsum("i,ict,ikt->ck", total, centred, sources, optimize=True)
        ridge = gram + penalty * np.trace(gram) * np.eye(len(gram))
        self.mixing_ = linalg.solve(ridge, cross.T, assume_a="pos").T if len(gram) else cross

    def _errors(self, shared, deviation, total, kept, n_components):
        """Return the squared error on what is left out, for each penalty."""
        sources, centred = self._prepare(shared[kept], deviation[kept], total[kept], n_components)
        gram = np.einsum("i,ikt,ilt->kl", total[kept], sources, sources, optimize=True)
        cross = np.einsum("i,ict,ikt->ck", total[kept], centred, sources, optimize=True)
        values, vectors = linalg.eigh(gram)
        held = self.patterns_.T @ (shared[~kept] - self.shared_mean_)
        target = deviation[~kept] - self.mean_
        weight = total[~kept]
        # error of A = C V (L + p)^-1 V', from moments of the left-out part
        square = np.einsum("i,ict,ict->", weight, target, target, optimize=True)
        turned = vectors.T @ held
        inner = np.einsum("i,ikt,ilt->kl", weight, turned, turned, optimize=True)
        outer = np.einsum("i,ict,ikt->ck", weight, target, turned, optimize=True)
        errors = []
        for penalty in _PENALTIES:
            mixing = (cross @ vectors) / (values + penalty * np.trace(gram))
            errors.append(square - 2 * np.sum(mixing * outer) + np.sum((mixing @ inner) * mixing))
        return np.array(errors)

    def get_state(self):
        """Return what the layer has learnt, for :meth:`from_state`."""
        return dict(vars(self))

    @classmethod
    def from_state(cls, state):
        """Make a fitted layer from what :meth:`get_state` returned."""
        self = cls()
        vars(self).update(state)
        return self


def _choose(errors):
    """Return the largest penalty that is as good as the best, within a standard error."""
    best = errors.sum(axis=0).argmin()
    excess = errors - errors[:, [best]]
    error = excess.std(axis=0, ddof=1) * np.sqrt(len(errors))
    return float(_PENALTIES[np.flatnonzero(excess.sum(axis=0) <= error)[-1]])


def _average(values, rows, weight, total):
    """Average trials in cells."""
    result = np.zeros((len(total), *values.shape[1:]))
    np.add.at(result, rows, values * weight[:, None, None])
    return result / total[:, None, None]


def _shrunk_mean(deviation, total):
    """Return the mean, times the share of its power that is not its own error."""
    mean = np.average(deviation, axis=0, weights=total)
    if len(deviation) < 2:
        return np.zeros_like(mean)
    spread = np.average(np.square(deviation - mean), axis=0, weights=total)
    error = spread.sum() / (len(deviation) - 1)
    power = np.square(mean).sum()
    return mean * (max(0.0, 1 - error / power) if power > 0 else 0.0)
