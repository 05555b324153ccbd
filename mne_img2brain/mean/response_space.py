"""Where responses live: trials to averages, white noise, and the components that carry signal."""

from typing import Any, Self

import numpy as np
from scipy import linalg, sparse
from sklearn.utils.extmath import randomized_svd
from sklearn.utils.validation import check_array

__all__ = [
    "SignalPrior", "Whitener", "average_trials", "check_responses", "find_components",
    "weighted_mean",
]  # fmt: skip

_MAX_DEVIATIONS = 5000  # trials from which the noise covariance is estimated
_MAX_TURNED = 1000  # responses that are turned to components at a time


def check_responses(
    y: Any, sample_weight: Any, n_rows: int, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return responses and the weight of each row."""
    if y is None:
        raise ValueError(
            f"{name} requires y to be passed, but the target y is None; give "
            "one response per row of X."
        )
    y = check_array(y, ensure_2d=False, allow_nd=True, input_name="y")
    if y.ndim not in (1, 2, 3) or len(y) != n_rows:
        raise ValueError(
            f"y has shape {y.shape}; expected one response for each of the {n_rows} rows of X, "
            "in 1 to 3 dimensions."
        )
    weight = np.ones(len(y))
    if sample_weight is not None:
        weight = np.asarray(sample_weight, dtype=np.float64)
    if weight.shape != (len(y),) or not (weight >= 0).all() or not weight.any():
        raise ValueError(
            f"sample_weight has shape {weight.shape} and sum {weight.sum():g}; expected "
            f"{len(y)} weights that are not negative and not all zero: of how many trials "
            "each row is the average."
        )
    return y, weight


def average_trials(
    flat: np.ndarray, weight: np.ndarray, image: np.ndarray, unit: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean and total weight of units, and what trials deviate from their image."""
    n_units = unit.max() + 1
    rows = np.arange(len(unit))
    total = np.bincount(unit, weight)
    average = sparse.csr_array((weight / total[unit], (unit, rows)), shape=(n_units, len(rows)))
    flat = flat.astype(np.float64, copy=False)
    responses = flat if np.array_equal(unit, rows) else average @ flat
    # Images from the first on, until there are trials enough.
    repeated = np.bincount(image)[image] > 1
    last = np.searchsorted(np.cumsum(np.bincount(image[repeated], minlength=1)), _MAX_DEVIATIONS)
    some = np.flatnonzero(repeated & (image <= last))
    if not len(some):
        return responses, total, np.zeros((0, flat.shape[1]))
    _, index = np.unique(image[some], return_inverse=True)
    share = np.bincount(index, weight[some])
    columns = np.arange(len(some))
    average = sparse.csr_array((weight[some] / share[index], (index, columns)))
    trials = flat[some]
    deviations = (trials - (average @ trials)[index]) * np.sqrt(weight[some])[:, None]
    return responses, total, deviations * np.sqrt(len(some) / max(len(some) - len(share), 1))


def weighted_mean(y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the weighted mean over rows, without a weighted copy of them."""
    return weight @ y / weight.sum()


def find_components(
    responses: np.ndarray,
    weight: np.ndarray,
    rows: np.ndarray,
    shape: tuple[int, int],
    white: "Whitener | None",
    n_components: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return scores of some rows on components, the components in colour, and the mean response."""
    mean = weighted_mean(responses, np.where(np.isin(np.arange(len(weight)), rows), weight, 0))
    if not n_components:
        return np.zeros((len(rows), 0)), np.zeros((0, responses.shape[1])), mean
    # Covariances are learnt from some thousand rows, and the others turned a few at a time.
    some = rows[np.unique(np.linspace(0, len(rows) - 1, _MAX_DEVIATIONS).astype(np.intp))]
    centred, root = responses[some] - mean, np.sqrt(weight)[:, None]
    if white is None:
        # No repeats: noise is what the first components leave over. On semi-real EEG this gives
        # two thirds of what repeats do.
        white = Whitener(shape).fit(root[some] * centred)
        n_signal = min(20, n_components // 2, (responses.shape[1] - 1) // 2)
        for _ in range(3 if n_signal else 0):
            whitened = root[some] * white.whiten(centred)
            axes = _directions(whitened, n_signal, rng)
            whitened -= (whitened @ axes.T) @ axes
            white = Whitener(shape).fit(white.colour(whitened))
    prior = SignalPrior(shape).fit(root[some] * white.whiten(centred))
    del centred
    parts = np.array_split(rows, -(-len(rows) // _MAX_TURNED))
    reduced = [prior.reduce(white.whiten(responses[part] - mean)) for part in parts]
    reduced = np.concatenate(reduced)
    axes = _directions(root[rows] * reduced, min(n_components, reduced.shape[1]), rng)
    return reduced @ axes.T, white.colour(prior.expand(axes)), mean


def _directions(x: np.ndarray, n_components: int, rng: np.random.Generator) -> np.ndarray:
    """Return the first right singular vectors."""
    if min(x.shape) > 2000:
        seed = int(rng.integers(2**31 - 1))
        return randomized_svd(x, n_components, random_state=seed)[2]
    if x.shape[0] < x.shape[1]:
        _, left = linalg.eigh(x @ x.T, subset_by_index=(len(x) - n_components, len(x) - 1))
        axes = (x.T @ left).T
        return axes / np.maximum(np.linalg.norm(axes, axis=1, keepdims=True), 1e-300)
    n = x.shape[1]
    return linalg.eigh(x.T @ x, subset_by_index=(n - n_components, n - 1))[1].T


class Whitener:
    r"""Make the noise of responses white, symmetrically (ZCA).

    .. math:: \tilde Y_i = \Sigma_{space}^{-1/2}\, Y_i\, \Sigma_{time}^{-1/2}

    The two covariances are the maximum likelihood under a Kronecker product (Dutilleul, 1999),
    each with a part ``d / (d + degrees of freedom)`` of its off-diagonal taken away and its
    eigenvalues kept above ``floor`` of their mean: filtered data have directions without noise,
    and nothing is to be gained by blowing them up.

    Parameters
    ----------
    shape : tuple of int
        ``(n_channels, n_times)`` of one response. Without structure, ``(1, n_targets)``.
    floor : float
        Smallest eigenvalue of a covariance, as a part of their mean.
    max_dense : int
        A side longer than this is given a diagonal covariance.
    """

    def __init__(self, shape: tuple[int, int], floor: float = 0.01, max_dense: int = 2000) -> None:
        self.shape = shape
        self.floor = floor
        self.max_dense = max_dense

    def fit(self, deviations: np.ndarray, dof: int | None = None, max_iter: int = 3) -> Self:
        """Estimate the two covariances.

        Parameters
        ----------
        deviations : array, shape (n_rows, n_targets)
            Noise: responses less what all responses to their image share.
        dof : int | None
            Degrees of freedom of the deviations; ``None`` takes the number of rows.
        max_iter : int
            Number of alternations.

        Returns
        -------
        self
        """
        n_channels, n_times = self.shape
        dof = len(deviations) if dof is None else dof
        # To unit scale first: T/m are 1e-12, and the square of that is not far from underflow.
        self.scale_ = np.sqrt(np.mean(deviations**2)) or 1.0
        noise = (deviations / self.scale_).reshape(-1, n_channels, n_times)
        self.space_ = self._symmetric(np.eye(n_channels))
        self.time_: Any = None
        for _ in range(max_iter if n_channels > 1 else 1):
            space = self.space_[1]
            half = noise * space[:, None] if space.ndim == 1 else space @ noise
            self.time_ = self._symmetric(self._covariance(half, 2, dof * n_channels))
            if n_channels > 1:
                half = self._times(noise, self.time_[1])
                self.space_ = self._symmetric(self._covariance(half, 1, dof * n_times))
        return self

    def _covariance(self, x: np.ndarray, axis: int, dof: int) -> np.ndarray:
        """Covariance along one axis, shrunk towards its diagonal."""
        n = x.shape[axis]
        if n > self.max_dense:
            return np.mean(x**2, axis=tuple({0, 1, 2} - {axis}))
        if axis == 2:
            flat = x.reshape(-1, n)
            covariance = flat.T @ flat / len(flat)
        else:
            covariance = sum(part @ part.T for part in x) / (len(x) * x.shape[2])
        diagonal = np.diag(np.diag(covariance))
        return covariance + n / (n + dof) * (diagonal - covariance)

    def _symmetric(self, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Square root and inverse square root with a floor; vectors for a diagonal."""
        if covariance.ndim == 1:
            values = np.maximum(covariance, self.floor * (covariance.mean() or 1.0))
            return np.sqrt(values), 1 / np.sqrt(values)
        values, vectors = linalg.eigh(covariance)
        values = np.maximum(values, self.floor * (max(values.mean(), 0) or 1.0))
        return (vectors * np.sqrt(values)) @ vectors.T, (vectors / np.sqrt(values)) @ vectors.T

    @staticmethod
    def _times(x: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """Multiply the last axis by a matrix or a diagonal."""
        return x * matrix if matrix.ndim == 1 else x @ matrix

    def _apply(self, y: np.ndarray, which: int) -> np.ndarray:
        """Apply one of the two square roots along space and time."""
        x = y.reshape(-1, *self.shape)
        x = self._times(x, self.time_[which])
        if self.shape[0] > 1:
            space = self.space_[which]
            x = x * space[:, None] if space.ndim == 1 else space @ x
        return x.reshape(y.shape)

    def whiten(self, y: np.ndarray) -> np.ndarray:
        """Whiten responses of shape (n_rows, n_targets)."""
        return self._apply(y / self.scale_, 1)

    def colour(self, y: np.ndarray) -> np.ndarray:
        """Undo :meth:`whiten`."""
        return self._apply(y, 0) * self.scale_


class SignalPrior:
    r"""Where, in space and in time, whitened responses have signal at all.

    The covariances of whitened responses over space and over time are turned to their axes. Along
    an axis pair with eigenvalues :math:`(1 + g_s, 1 + g_t)` times those of noise, the signal has
    about :math:`h = g_s g_t / \bar g_s` times its variance, and responses are multiplied with the
    square root of the Wiener gain :math:`h / (h + 1)`. Time axes without signal are left out. The
    principal components of what remains are found with far less noise: responses are smooth, and
    nothing is evoked before an image is shown.

    Parameters
    ----------
    shape : tuple of int
        ``(n_channels, n_times)``. Without structure, ``(1, n_targets)``: nothing is done.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape

    def fit(self, whitened: np.ndarray) -> Self:
        """Learn axes and gains.

        Parameters
        ----------
        whitened : array, shape (n_rows, n_targets)
            Whitened and centred responses.

        Returns
        -------
        self
        """
        n_channels, n_times = self.shape
        self.gain_ = None
        if min(n_channels, n_times) < 2:
            return self
        x = whitened.reshape(-1, n_channels, n_times)
        space, self.space_ = _descending(np.tensordot(x, x, axes=((0, 2), (0, 2))))
        time, self.time_ = _descending(np.tensordot(x, x, axes=((0, 1), (0, 1))))
        # The noise is white: its level is that of the many axes without signal.
        time = time / np.median(time[len(time) // 2 :]) - 1
        space = space / space[space > 1e-6 * space[0]][-1] - 1
        spread = len(x) * n_channels
        n_kept = int((time > 2 * np.sqrt(n_times / spread)).sum())
        n_kept = max(n_kept, min(5, n_times))
        self.time_ = self.time_[:, :n_kept]
        space, time = np.maximum(space, 1e-3), np.maximum(time[:n_kept], 1e-3)
        signal = np.outer(space / space.mean(), time)
        self.gain_ = np.sqrt(signal / (signal + 1))
        return self

    def reduce(self, whitened: np.ndarray) -> np.ndarray:
        """Turn whitened responses to the axes and weight them."""
        if self.gain_ is None:
            return whitened
        x = whitened.reshape(-1, *self.shape) @ self.time_
        return ((self.space_.T @ x) * self.gain_).reshape(len(x), -1)

    def expand(self, reduced: np.ndarray) -> np.ndarray:
        """Undo :meth:`reduce`."""
        if self.gain_ is None:
            return reduced
        x = reduced.reshape(-1, *self.gain_.shape) / self.gain_
        x = (self.space_ @ x) @ self.time_.T
        return x.reshape(len(x), -1)


def _descending(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and eigenvectors, the largest first."""
    values, vectors = linalg.eigh(covariance)
    return values[::-1], vectors[:, ::-1]
