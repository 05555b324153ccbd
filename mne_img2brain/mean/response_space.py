"""Where responses live: trials to averages, white noise, and the components that carry signal."""

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
from scipy import linalg, sparse
from sklearn.utils.extmath import randomized_svd
from sklearn.utils.validation import check_array

from .._lazy import LazyTrials, parts_of
from .._linalg import in_threads
from .whitening import SignalPrior, Whitener, blocks_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_MAX_DEVIATIONS = 5000  # rows from which covariances are estimated,
_MAX_VALUES = 2 * 10**7  # and numbers in them: 1,270 rows of 63 channels x 250 times


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
    y: "ArrayLike | None", sample_weight: "ArrayLike | None", n_rows: int, name: str
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
    y: np.ndarray | LazyTrials, weight: np.ndarray, image: np.ndarray, unit: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean and total weight of units, and what trials deviate from their image.

    Responses and deviations are flat.
    """
    n_targets = int(np.prod(y.shape[1:]))
    total = np.bincount(unit, weight)
    share = (weight / total[unit]).astype(y.dtype)
    if np.array_equal(unit, np.arange(len(unit))):
        responses = np.asarray(y).reshape(len(y), n_targets)
    else:
        responses = np.empty((len(total), *y.shape[1:]), y.dtype)
        average_parts(y, unit, share, responses)
        responses = responses.reshape(len(total), n_targets)
    # Images from the first on, until there are trials enough.
    repeated = np.bincount(image)[image] > 1
    most = _most_rows(n_targets)
    last = np.searchsorted(np.cumsum(np.bincount(image[repeated], minlength=1)), most)
    some = np.flatnonzero(repeated & (image <= last))
    if not len(some):
        return responses, total, np.zeros((0, n_targets), y.dtype)
    _, index = np.unique(image[some], return_inverse=True)
    share = np.bincount(index, weight[some])
    values = (weight[some] / share[index]).astype(y.dtype)
    average = sparse.csr_array((values, (index, np.arange(len(some)))))
    deviations = y[some].reshape(len(some), n_targets)
    deviations -= (average @ deviations)[index]
    spread = np.sqrt(weight[some] * len(some) / max(len(some) - len(share), 1))
    deviations *= spread[:, None].astype(y.dtype)
    return responses, total, deviations


def average_parts(
    values: np.ndarray | LazyTrials, index: np.ndarray, share: np.ndarray, averages: np.ndarray
) -> None:
    """Fill averages (n_indices, ...) of the rows of each index, each times its share."""
    order, starts = np.argsort(index, kind="stable"), np.cumsum([0, *np.bincount(index)])
    edges = np.linspace(0, len(averages), len(parts_of(values)) + 1).astype(np.intp)
    for a, b in pairwise(np.unique(edges)):
        rows = order[starts[a] : starts[b]]
        weights = sparse.csr_array((share[rows], (index[rows] - a, np.arange(len(rows)))))
        found = weights @ values[rows].reshape(len(rows), -1)
        averages[a:b] = found.reshape(averages[a:b].shape)


def _most_rows(n_targets: int) -> int:
    """Return from how many rows covariances are estimated."""
    return min(_MAX_DEVIATIONS, max(_MAX_VALUES // n_targets, 100))


def weighted_mean(y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the weighted mean over rows, without a weighted copy of them."""
    return (weight / weight.sum()).astype(y.dtype) @ y


def find_spaces(
    responses: np.ndarray, weight: np.ndarray, fold: np.ndarray, shape: tuple[int, int],
    white: Whitener | None, n_components: int, rng: np.random.Generator,
) -> list[Space]:  # fmt: skip
    """Find the components of all rows, and those of the rows that each fold leaves.

    Components of all images know the noise of those left out (0.04 of r on semi-real EEG): each
    fold has its own. What they are found from does not: the whitener is that of all rows, and
    second moments are summed fold by fold, once.

    responses, weight (n_rows, ...): the average responses, and the precision of each.
    fold (n_rows,): the fold that holds each row out; all of one fold is no folds.
    white: whitens the noise, where repeats have shown it.
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
        prior = SignalPrior(shape).fit(space, time, n_rows, white.rank())
        parts = blocks_of(rows, responses.shape[1])
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
) -> Whitener:
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
        self, responses: np.ndarray, root: np.ndarray, rows: np.ndarray, mean: np.ndarray,
        white: Whitener,
    ) -> Self:  # fmt: skip
        """Add some rows, less a mean."""
        self.n_rows += len(rows)
        if not self.structured:
            return self
        self.weight += float(np.square(root[rows], dtype=float).sum())
        for part in blocks_of(rows, responses.shape[1]):
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
