"""Where responses live: trials to averages, white noise, and the components that carry signal."""

from typing import Any, NamedTuple, Self

import numpy as np
from scipy import linalg, sparse
from sklearn.utils.extmath import randomized_svd
from sklearn.utils.validation import check_array

from .._linalg import in_threads

__all__ = [
    "SignalPrior", "Space", "Whitener", "average_trials", "check_responses", "find_spaces",
    "weighted_mean",
]  # fmt: skip

_MAX_DEVIATIONS = 5000  # rows from which covariances are estimated,
_MAX_VALUES = 2 * 10**7  # and numbers in them: 1,270 rows of 63 channels x 250 times
_GROUPS = 4  # of blocks that are summed side by side; more would hold more sums
_BLOCK = 2**19  # numbers that are turned at a time: they stay in the cache


class Space(NamedTuple):
    """The components in which responses are regressed together.

    scores (n_rows, n_components): responses on the components, less those of the mean.
    colours (n_components, n_targets): the components in the unit of the responses.
    mean (n_targets,): the mean response.
    """

    scores: np.ndarray
    colours: np.ndarray
    mean: np.ndarray


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
    share = (weight / total[unit]).astype(flat.dtype)
    average = sparse.csr_array((share, (unit, rows)), shape=(n_units, len(rows)))
    responses = flat if np.array_equal(unit, rows) else average @ flat
    # Images from the first on, until there are trials enough.
    repeated = np.bincount(image)[image] > 1
    most = _most_rows(flat.shape[1])
    last = np.searchsorted(np.cumsum(np.bincount(image[repeated], minlength=1)), most)
    some = np.flatnonzero(repeated & (image <= last))
    if not len(some):
        return responses, total, np.zeros((0, flat.shape[1]), flat.dtype)
    _, index = np.unique(image[some], return_inverse=True)
    share = np.bincount(index, weight[some])
    values = (weight[some] / share[index]).astype(flat.dtype)
    average = sparse.csr_array((values, (index, np.arange(len(some)))))
    deviations = flat[some]
    deviations -= (average @ deviations)[index]
    spread = np.sqrt(weight[some] * len(some) / max(len(some) - len(share), 1))
    deviations *= spread[:, None].astype(flat.dtype)
    return responses, total, deviations


def _most_rows(n_targets: int) -> int:
    """Return from how many rows covariances are estimated."""
    return min(_MAX_DEVIATIONS, max(_MAX_VALUES // n_targets, 100))


def _block_size(n_targets: int) -> int:
    return max(1, _BLOCK // n_targets)


def _blocks(rows: np.ndarray, n_targets: int) -> list[np.ndarray]:
    """Part rows into blocks that fit in a cache."""
    size = _block_size(n_targets)
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def weighted_mean(y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the weighted mean over rows, without a weighted copy of them."""
    return (weight / weight.sum()).astype(y.dtype) @ y


def find_spaces(
    responses: np.ndarray,
    weight: np.ndarray,
    fold: np.ndarray,
    shape: tuple[int, int],
    white: "Whitener | None",
    n_components: int,
    rng: np.random.Generator,
) -> list[Space]:
    """Find the components of all rows, and those of the rows that each fold leaves.

    Components of all images know the noise of those left out (0.04 of r on semi-real EEG): each
    fold has its own. What they are found from does not: the whitener is that of all rows, and
    second moments are summed fold by fold, once.

    responses (n_rows, n_targets): the average responses.
    weight (n_rows,): the precision of each row.
    fold (n_rows,): the fold that holds each row out; all of one fold is no folds.
    white: whitens the noise, where repeats have shown it.
    rng: for randomised decompositions of very many rows.
    Returns: of all rows, then of those outside fold 0, 1, ...
    """
    n_folds = fold.max() + 1
    of_fold = (fold == np.arange(n_folds)[:, None]) * weight
    sums = of_fold.astype(responses.dtype) @ responses
    kept = [np.arange(len(fold)), *(np.flatnonzero(fold != k) for k in range(n_folds))]
    kept = kept if n_folds > 1 else kept[:1]
    means = []
    for k in range(-1, len(kept) - 1):
        others = np.arange(n_folds) != k
        means.append(sums[others].sum(axis=0) / float(of_fold[others].sum()))
    if not n_components:
        nothing = np.zeros((0, responses.shape[1]))
        return [Space(np.zeros((len(r), 0)), nothing, m) for r, m in zip(kept, means, strict=True)]
    root = np.sqrt(weight)[:, None].astype(responses.dtype)
    n_some = min(len(fold), _most_rows(responses.shape[1]))
    some = np.unique(np.linspace(0, len(fold) - 1, n_some).astype(np.intp))
    if white is None:
        # No repeats: noise is what the first components leave over. On semi-real EEG this gives
        # two thirds of what repeats do.
        n_signal = min(20, n_components // 2, (responses.shape[1] - 1) // 2)
        deviations = responses[some]
        deviations -= means[0]
        deviations *= root[some]
        white = _whiten_averages(deviations, shape, n_signal, rng)
        del deviations
    moments = in_threads(
        lambda k: _Moments(shape).add(responses, root, some[fold[some] == k], means[0], white),
        range(n_folds),
    )

    def find(k: int) -> Space:
        rows, mean = kept[k + 1], means[k + 1]
        those = sum((m for j, m in enumerate(moments) if j != k), _Moments(shape))
        space, time, n_rows = those.about(white.whiten((mean - means[0])[None]))
        prior = SignalPrior(shape).fit_moments(space, time, n_rows, white.rank())
        parts = _blocks(rows, responses.shape[1])
        reduced = [prior.reduce(responses[part] - mean, white) for part in parts]
        reduced = np.concatenate(reduced)
        n_axes = min(n_components, reduced.shape[1])
        axes = _directions(root[rows] * reduced, n_axes, int(seeds[k + 1]))
        colours = white.colour(prior.expand(axes))
        return Space((reduced @ axes.T).astype(float), colours, mean)

    seeds = rng.integers(2**31 - 1, size=len(kept))
    return in_threads(find, range(-1, len(kept) - 1))


def _whiten_averages(
    deviations: np.ndarray, shape: tuple[int, int], n_signal: int, rng: np.random.Generator
) -> "Whitener":
    """Whiten what the first components of averages leave over."""
    white = Whitener(shape).fit(deviations)
    for _ in range(3 if n_signal else 0):
        whitened = white.whiten(deviations)
        axes = _directions(whitened, n_signal, int(rng.integers(2**31 - 1)))
        scores = whitened @ axes.T
        del whitened
        noise = scores @ white.colour(axes)
        white = Whitener(shape).fit(np.subtract(deviations, noise, out=noise))
        del noise
    return white


class _Moments:
    """Sums over whitened responses: of them, and of their products over space and over time."""

    def __init__(self, shape: tuple[int, int]) -> None:
        n_channels, n_times = shape
        self.structured = min(shape) > 1
        self.n_rows, self.weight, self.total = 0, 0.0, np.zeros(shape)
        self.space = np.zeros((n_channels, n_channels)) if self.structured else np.zeros((0, 0))
        self.time = np.zeros((n_times, n_times)) if self.structured else np.zeros((0, 0))

    def add(
        self,
        responses: np.ndarray,
        root: np.ndarray,
        rows: np.ndarray,
        mean: np.ndarray,
        white: "Whitener",
    ) -> Self:
        """Add some rows, less a mean."""
        self.n_rows += len(rows)
        if not self.structured:
            return self
        self.weight += float(np.square(root[rows], dtype=float).sum())
        for part in _blocks(rows, responses.shape[1]):
            x = root[part] * white.whiten(responses[part] - mean)
            self.total += (root[part, 0] @ x).reshape(self.total.shape)
            x = x.reshape(-1, *self.total.shape)
            flat = x.reshape(-1, x.shape[2])
            self.time += flat.T @ flat
            self.space += (x @ x.mT).sum(axis=0)
        return self

    def __add__(self, other: "_Moments") -> "_Moments":
        result = _Moments(self.total.shape)
        for name in ("n_rows", "weight", "total", "space", "time"):
            setattr(result, name, getattr(self, name) + getattr(other, name))
        return result

    def about(self, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        """Return the sums of products about another mean, and the number of rows."""
        if not self.structured:
            return self.space, self.time, self.n_rows
        shift = shift.reshape(self.total.shape)
        both = self.total - self.weight / 2 * shift
        space, time = both @ shift.T, both.T @ shift
        return self.space - space - space.T, self.time - time - time.T, self.n_rows


def _directions(x: np.ndarray, n_components: int, seed: int) -> np.ndarray:
    """Return the first right singular vectors; of very many rows by a randomised decomposition."""
    if min(x.shape) > 2000:
        return randomized_svd(x, n_components, random_state=seed)[2]
    if x.shape[0] < x.shape[1]:
        _, left = linalg.eigh(x @ x.T, subset_by_index=(len(x) - n_components, len(x) - 1))
        axes = left.T @ x
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

    shape: ``(n_channels, n_times)`` of one response. Without structure, ``(1, n_targets)``.
    floor: smallest eigenvalue of a covariance, as a part of their mean.
    max_dense: a side longer than this is given a diagonal covariance.
    """

    def __init__(self, shape: tuple[int, int], floor: float = 0.01, max_dense: int = 2000) -> None:
        self.shape = shape
        self.floor = floor
        self.max_dense = max_dense

    def fit(self, deviations: np.ndarray, dof: int | None = None, max_iter: int = 3) -> Self:
        """Estimate the two covariances.

        deviations (n_rows, n_targets): noise: responses less what all responses to their image
            share.
        dof: degrees of freedom of the deviations; ``None`` takes the number of rows.
        """
        n_channels, n_times = self.shape
        dof = len(deviations) if dof is None else dof
        # To unit scale first: T/m are 1e-12, and the square of that is not far from underflow.
        self.scale_ = float(np.sqrt(np.mean([np.mean(row**2) for row in deviations]))) or 1.0
        self.space_ = np.ones(n_channels), np.ones(n_channels)
        n_space, n_time = dof * n_times, dof * n_channels
        self.shrunk_ = n_channels / (n_channels + n_space), n_times / (n_times + n_time)
        self.time_: Any = None
        for _ in range(max_iter if n_channels > 1 else 1):
            self.time_ = self._symmetric(self._covariance(deviations, 2, dof * n_channels))
            if n_channels > 1:
                self.space_ = self._symmetric(self._covariance(deviations, 1, dof * n_times))
        return self

    def _covariance(self, deviations: np.ndarray, axis: int, dof: int) -> np.ndarray:
        """Covariance along one axis, whitened along the other, shrunk towards its diagonal."""
        n = self.shape[axis - 1]
        dense = n <= self.max_dense

        def add(parts: list[np.ndarray]) -> np.ndarray:
            total = np.zeros((n, n) if dense else n)
            for part in parts:
                total += products(part)
            return total

        def products(part: np.ndarray) -> np.ndarray:
            x = (deviations[part[0] : part[-1] + 1] / self.scale_).reshape(-1, *self.shape)
            x = self._times(x, self.time_[1]) if axis == 1 else self._space(x, self.space_[1])
            if not dense:
                return np.square(x).sum(axis=tuple({0, 1, 2} - {axis}))
            if axis == 2:
                flat = x.reshape(-1, n)
                return flat.T @ flat
            return (x @ x.mT).sum(axis=0)

        parts = _blocks(np.arange(len(deviations)), deviations.shape[1])
        total = sum(in_threads(add, [parts[first::_GROUPS] for first in range(_GROUPS)]))
        covariance = total / (len(deviations) * self.shape[2 - axis])
        if not dense:
            return covariance
        diagonal = np.diag(np.diag(covariance))
        return covariance + n / (n + dof) * (diagonal - covariance)

    def _symmetric(self, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Square root and inverse square root with a floor; vectors for a diagonal."""
        if covariance.ndim == 1:
            values = np.maximum(covariance, self.floor * (covariance.mean() or 1.0))
            return np.sqrt(values), 1 / np.sqrt(values)
        values, vectors = np.linalg.eigh(covariance)
        values = np.maximum(values, self.floor * (max(values.mean(), 0) or 1.0))
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
        size = _block_size(y.shape[-1])

        def apply(start: int) -> None:
            x = (y[start : start + size] * scale).reshape(-1, *self.shape)
            x = self._times(x, self.time_[which])
            if self.shape[0] > 1:
                x = self._space(x, self.space_[which])
            result[start : start + size] = x.reshape(len(x), -1)

        in_threads(apply, range(0, len(y), size))
        return result

    def rank(self) -> tuple[int, int]:
        """Return how many directions in space and in time have noise, not floor and shrinkage."""
        ranks = []
        for (root, _), shrunk in zip((self.space_, self.time_), self.shrunk_, strict=True):
            values = np.square(root if root.ndim == 1 else np.linalg.eigvalsh(root))
            empty = max(self.floor, shrunk) * values.mean()
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

    def fit(self, whitened: np.ndarray) -> Self:
        """Learn axes and gains.

        whitened (n_rows, n_targets): whitened and centred responses.
        """
        n = 0 if min(self.shape) < 2 else len(whitened)
        x = whitened.reshape(-1, *self.shape)[:n]
        space = np.tensordot(x, x, axes=((0, 2), (0, 2)))
        return self.fit_moments(space, np.tensordot(x, x, axes=((0, 1), (0, 1))), n)

    def fit_moments(
        self,
        space: np.ndarray,
        time: np.ndarray,
        n_rows: int,
        rank: tuple[int, int] | None = None,
    ) -> Self:
        """Learn axes and gains from sums of products.

        space, time (n_channels, n_channels): products of whitened responses, summed over rows and
            over the other axis.
        rank: in how many directions in space and in time there is noise to whiten: after a filter,
            interpolation or an average reference not in all. ``None`` is all.
        """
        n_space, n_time = rank or self.shape
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
