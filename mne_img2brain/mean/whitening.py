"""White noise in space and time, and where in it there is signal."""

from typing import Any, Self

import numpy as np
from sklearn.utils import gen_batches

from .._lazy import parts_of
from .._linalg import in_threads

_FLOOR = 0.01  # smallest eigenvalue of a covariance, as a part of their mean
_MAX_DENSE = 2000  # a side longer than this is given a diagonal covariance
_GROUPS = 4  # of blocks that are summed side by side; more would hold more sums
_BLOCK = 2**19  # numbers that are turned at a time: they stay in the cache


def blocks_of(rows: np.ndarray, n_targets: int) -> list[np.ndarray]:
    """Part rows into blocks that fit in a cache."""
    return [rows[block] for block in gen_batches(len(rows), max(1, _BLOCK // n_targets))]


class Whitener:
    r"""Make the noise of responses white, symmetrically (ZCA).

    .. math:: \tilde Y_i = \Sigma_{space}^{-1/2}\, Y_i\, \Sigma_{time}^{-1/2}

    The two covariances are the maximum likelihood under a Kronecker product (Dutilleul, 1999),
    each with a part ``d / (d + degrees of freedom)`` of its off-diagonal taken away and its
    eigenvalues kept above a hundredth of their mean: filtered data have directions without noise,
    and nothing is to be gained by blowing them up.

    shape: ``(n_channels, n_times)`` of one response. Without structure, ``(1, n_targets)``.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape

    def fit(self, deviations: np.ndarray, dof: int | None = None) -> Self:
        """Estimate the two covariances of noise (n_rows, n_targets)."""
        n_channels, n_times = self.shape
        dof = len(deviations) if dof is None else dof
        # To unit scale first: T/m are 1e-12, and the square of that is not far from underflow.
        self.scale_ = float(np.sqrt(np.mean([np.mean(row**2) for row in deviations]))) or 1.0
        self.space_ = np.ones(n_channels), np.ones(n_channels)
        n_space, n_time = dof * n_times, dof * n_channels
        self.shrunk_ = n_channels / (n_channels + n_space), n_times / (n_times + n_time)
        self.time_: Any = None
        for _ in range(3 if n_channels > 1 else 1):
            self.time_ = self._symmetric(self._covariance(deviations, 2, dof * n_channels))
            if n_channels > 1:
                self.space_ = self._symmetric(self._covariance(deviations, 1, dof * n_times))
        return self

    def _covariance(self, deviations: np.ndarray, axis: int, dof: int) -> np.ndarray:
        """Covariance along one axis, whitened along the other, shrunk towards its diagonal."""
        n = self.shape[axis - 1]
        dense = n <= _MAX_DENSE

        def add(parts: list[slice]) -> np.ndarray:
            total = np.zeros((n, n) if dense else n)
            for part in parts:
                x = (deviations[part] / self.scale_).reshape(-1, *self.shape)
                x = self._times(x, self.time_[1]) if axis == 1 else self._space(x, self.space_[1])
                if not dense:
                    total += np.square(x).sum(axis=tuple({0, 1, 2} - {axis}))
                elif axis == 2:
                    flat = x.reshape(-1, n)
                    total += flat.T @ flat
                else:
                    total += (x @ x.mT).sum(axis=0)
            return total

        parts = parts_of(deviations, _BLOCK)
        total = sum(in_threads(add, [parts[first::_GROUPS] for first in range(_GROUPS)]))
        covariance = total / (len(deviations) * self.shape[2 - axis])
        if not dense:
            return covariance
        diagonal = np.diag(np.diag(covariance))
        return covariance + n / (n + dof) * (diagonal - covariance)

    def _symmetric(self, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Square root and inverse square root with a floor; vectors for a diagonal."""
        if covariance.ndim == 1:
            values = np.maximum(covariance, _FLOOR * (covariance.mean() or 1.0))
            return np.sqrt(values), 1 / np.sqrt(values)
        values, vectors = np.linalg.eigh(covariance)
        values = np.maximum(values, _FLOOR * (max(values.mean(), 0) or 1.0))
        return (vectors * np.sqrt(values)) @ vectors.T, (vectors / np.sqrt(values)) @ vectors.T

    @staticmethod
    def _times(x: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """Multiply the last axis by a matrix or a diagonal."""
        matrix = matrix.astype(x.dtype)
        return x * matrix if matrix.ndim == 1 else x @ matrix

    @staticmethod
    def _space(x: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """Multiply the last axis but one by a matrix or a diagonal."""
        matrix = matrix.astype(x.dtype)
        return x * matrix[:, None] if matrix.ndim == 1 else matrix @ x

    def _apply(self, y: np.ndarray, which: int) -> np.ndarray:
        """Apply one of the two square roots along space and time, times the scale."""
        result = np.empty(y.shape, np.result_type(y, np.float32))
        scale = self.scale_ if which == 0 else 1 / self.scale_

        def apply(rows: slice) -> None:
            x = (y[rows] * scale).reshape(-1, *self.shape)
            x = self._times(x, self.time_[which])
            if self.shape[0] > 1:
                x = self._space(x, self.space_[which])
            result[rows] = x.reshape(len(x), -1)

        in_threads(apply, parts_of(y, _BLOCK))
        return result

    def rank(self) -> tuple[int, int]:
        """Return how many directions in space and in time have noise, not floor and shrinkage."""
        ranks = []
        for (root, _), shrunk in zip((self.space_, self.time_), self.shrunk_, strict=True):
            values = np.square(root if root.ndim == 1 else np.linalg.eigvalsh(root))
            empty = max(_FLOOR, shrunk) * values.mean()
            ranks.append(int((values > 1.5 * empty).sum()))
        return ranks[0], ranks[1]

    def whiten(self, y: np.ndarray) -> np.ndarray:
        """Whiten responses of shape (n_rows, n_targets)."""
        return self._apply(y, 1)

    def absorb(self, space: np.ndarray, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return matrices that whiten, and then do what these do: from the left, from the right."""
        return self._times(space, self.space_[1]), self._space(time, self.time_[1]) / self.scale_

    def colour(self, y: np.ndarray) -> np.ndarray:
        """Undo :meth:`whiten`."""
        return self._apply(y, 0)


class SignalPrior:
    r"""Where, in space and in time, whitened responses have signal at all.

    The covariances of whitened responses over space and over time are turned to their axes. Along
    an axis pair with eigenvalues :math:`(1 + g_s, 1 + g_t)` times those of noise, the signal has
    about :math:`h = g_s g_t / \bar g_s` times its variance, and responses are multiplied with the
    square root of the Wiener gain :math:`h / (h + 1)`. Time axes without signal are left out. The
    principal components of what remains are found with far less noise: responses are smooth, and
    nothing is evoked before an image is shown.

    shape: ``(n_channels, n_times)``. Without structure, ``(1, n_targets)``: nothing is done.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape

    def fit(self, space: np.ndarray, time: np.ndarray, n_rows: int, rank: tuple[int, int]) -> Self:
        """Learn axes and gains from sums of products.

        space, time (n_channels, n_channels): products of whitened responses, summed over rows and
            over the other axis.
        rank: in how many directions in space and in time there is noise to whiten: after a filter,
            interpolation or an average reference not in all.
        """
        n_space, n_time = rank
        self.gain_ = None
        if min(self.shape) < 2:
            return self
        space, self.space_ = _descending(space)
        time, self.time_ = _descending(time)
        # The noise is white: its level is that of the many axes without signal.
        time = time / np.median(time[n_time // 2 : n_time]) - 1
        noisy = space[:n_space]
        space = space / noisy[noisy > 1e-6 * space[0]][-1] - 1
        n_kept = int((time > 2 * np.sqrt(n_time / (n_rows * n_space))).sum())
        n_kept = max(n_kept, min(5, self.shape[1]))
        self.time_ = self.time_[:, :n_kept]
        space, time = np.maximum(space, 1e-3), np.maximum(time[:n_kept], 1e-3)
        signal = np.outer(space / space.mean(), time)
        self.gain_ = np.sqrt(signal / (signal + 1))
        return self

    def reduce(self, y: np.ndarray, white: "Whitener | None" = None) -> np.ndarray:
        """Turn responses that ``white`` whitens, or that are white, to the axes; weight them."""
        if self.gain_ is None:
            return y if white is None else white.whiten(y)
        space, time = self.space_.T, self.time_
        if white is not None:
            space, time = white.absorb(space, time)
        x = y.reshape(-1, *self.shape) @ time.astype(y.dtype)
        return ((space.astype(y.dtype) @ x) * self.gain_.astype(y.dtype)).reshape(len(x), -1)

    def expand(self, reduced: np.ndarray) -> np.ndarray:
        """Undo :meth:`reduce`."""
        if self.gain_ is None:
            return reduced
        x = reduced.reshape(-1, *self.gain_.shape) / self.gain_
        x = (self.space_ @ x) @ self.time_.T
        return x.reshape(len(x), -1)


def _descending(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and eigenvectors, the largest first."""
    values, vectors = np.linalg.eigh(covariance)
    return values[::-1], vectors[:, ::-1]
