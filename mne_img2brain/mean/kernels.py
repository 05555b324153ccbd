"""How alike two images are: kernels on pooled tokens and on tokens place by place."""

from typing import TYPE_CHECKING, Self

import numpy as np
from sklearn.utils import gen_batches

from ..trials.pooling import pool_tokens

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

# Kernel -> terms (view of the tokens, shape, width, weight). Terms have unit mean variance.
KERNELS = {
    "linear": (("pooled", "linear", 0.0, 1.0),),
    "rbf": (("pooled", "rbf", 0.3, 1.0),),
    "local": (("pooled", "rbf", 0.3, 1.0), ("places", "rbf", 0.5, 0.5)),
}
_MAX_PLACES = 32  # more tokens than this are averaged in runs of neighbours
_N_RUNS = 16
_BLOCK = 512  # images that are looked at at once


class Views:
    """What kernels look at: pooled tokens, and tokens in their places, standardised.

    Places are the tokens after the first that every training image has. More than 32 are averaged
    in 16 runs of neighbours, which for the patches of an image are bands.

    standardize: whether each feature is scaled to mean 0 and SD 1.
    """

    def __init__(self, standardize: bool = True) -> None:
        self.standardize = standardize

    def fit(self, x: np.ndarray, rows: np.ndarray) -> Self:
        """Learn which places there are, and the scales, of some images."""
        blocks = [rows[block] for block in gen_batches(len(rows), _BLOCK)]
        self.edges_ = np.zeros(0, dtype=np.intp)
        self.last_ = False
        if x.ndim == 3:
            valid = [np.isfinite(x[block]).all(axis=2) for block in blocks]
            self.last_ = not all(part.all() for part in valid)  # captions end in different places
            shared = np.all([part.all(axis=0) for part in valid], axis=0)
            n_places = int(np.argmin(np.append(shared, False))) - 1
            n_runs = n_places if n_places <= _MAX_PLACES else _N_RUNS
            if n_places > 1:
                self.edges_ = np.linspace(1, 1 + n_places, n_runs + 1).astype(np.intp)
        # Sums about the mean of the first block, so that no digits are lost.
        start, total, square = {}, {}, {}
        for block in blocks:
            for name, view in self._views(x[block]).items():
                start.setdefault(name, view.mean(axis=0))
                view -= start[name]
                total[name] = total.get(name, 0.0) + view.sum(axis=0)
                square[name] = square.get(name, 0.0) + np.square(view, out=view).sum(axis=0)
        self.mean_, self.scale_ = {}, {}
        for name in start:
            shift = total[name] / len(rows)
            mean = start[name] + shift
            variance = np.maximum(square[name] / len(rows) - shift**2, 0)
            scale = np.sqrt(variance) if self.standardize else np.ones(mean.shape)
            self.mean_[name] = mean if self.standardize else np.zeros(mean.shape)
            # A feature that does not vary but for rounding carries nothing.
            flat = scale <= 1e-7 * np.abs(self.mean_[name])
            self.scale_[name] = np.where(flat, np.inf, scale)
        return self

    def _views(self, x: np.ndarray) -> dict:
        """Return the views before standardisation."""
        views = {"pooled": np.array(pool_tokens(x, last=self.last_), dtype=np.float64)}
        if len(self.edges_):
            missing = self.edges_[-1] - x.shape[1]
            if missing > 0:
                x = np.pad(x, ((0, 0), (0, missing), (0, 0)), constant_values=np.nan)
            runs = zip(self.edges_[:-1], self.edges_[1:], strict=True)
            views["places"] = np.stack(
                [x[:, a:b].mean(axis=1, dtype=np.float64) for a, b in runs], axis=1
            )
        return views

    def transform(self, x: np.ndarray, dtype: "DTypeLike" = np.float64) -> dict:
        """Return the views of features or tokens."""
        views = self._views(x)
        for name, view in views.items():
            view -= self.mean_[name]
            view /= self.scale_[name]
            # A place that an image does not have is as good as one like the mean of all images.
            view[np.isnan(view)] = 0
            views[name] = view.astype(dtype, copy=False)
        return views

    def get_arrays(self) -> dict:
        """Return what :meth:`transform` needs, by name."""
        arrays = {"edges": self.edges_}
        for view in self.mean_:
            arrays[f"mean/{view}"], arrays[f"scale/{view}"] = self.mean_[view], self.scale_[view]
        return arrays

    @classmethod
    def from_arrays(cls, arrays: dict, last: bool) -> Self:
        """Undo :meth:`get_arrays`; ``last`` says whether the last token is one of the pooled."""
        self = cls()
        self.edges_, self.last_ = arrays["edges"], last
        names = [key.split("/")[1] for key in arrays if key.startswith("mean/")]
        self.mean_ = {view: arrays[f"mean/{view}"] for view in names}
        self.scale_ = {view: arrays[f"scale/{view}"] for view in names}
        return self


def rounding(eigenvalues: np.ndarray) -> float:
    """Return below what eigenvalues are rounding."""
    share = max(1e-10, 50 * float(np.finfo(eigenvalues.dtype).eps))
    return max(share * float(eigenvalues.max(initial=0)), 1e-300)


class KernelMap:
    r"""Features whose inner products are a kernel, exactly or by landmarks.

    .. math:: \phi(x) = K_{xL} K_{LL}^{-1/2}

    which for landmarks :math:`L` = training images is exact, and otherwise the Nyström
    approximation (Williams and Seeger, 2001). A linear kernel of fewer features than landmarks is
    its own map.

    terms: view, shape (``"linear"`` or ``"rbf"``), width and weight of each term. The width is
        relative to the mean squared distance of landmarks.
    """

    def __init__(self, terms: tuple) -> None:
        self.terms = terms

    def fit_transform(self, landmarks: dict) -> np.ndarray:
        """Fit, and map the views of landmarks: (n_landmarks, n_features)."""
        n = len(landmarks["pooled"])
        self.plain_ = self.terms[0][1] == "linear" and landmarks["pooled"].shape[1] <= n
        self.landmarks_ = {} if self.plain_ else {t[0]: landmarks[t[0]] for t in self.terms}
        self.root_ = np.zeros((0, 0))
        self.widths_, self.gains_ = np.ones(len(self.terms)), np.ones(len(self.terms))
        if self.plain_:
            return landmarks["pooled"]
        kernel = np.zeros((n, n), landmarks["pooled"].dtype)
        for i, (view, _, width, weight) in enumerate(self.terms):
            x = landmarks[view].reshape(n, -1, landmarks[view].shape[-1])
            spread = 2 * x.var(axis=0, dtype=float).sum(axis=1).mean()
            self.widths_[i] = width / (spread or 1.0)
            term = self._term(i, landmarks[view], landmarks[view])
            if len(self.terms) > 1:
                self.gains_[i] = weight / ((np.trace(term) / n - term.mean(dtype=float)) or 1.0)
            term *= self.gains_[i]
            kernel += term
        # divide and conquer: two thirds of the time of scipy's default
        values, vectors = np.linalg.eigh(kernel)
        keep = values > rounding(values)
        values, vectors = values[keep], vectors[:, keep]
        self.root_ = vectors / np.sqrt(values)
        return vectors * np.sqrt(values)

    def _term(self, i: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return one term of the kernel between the views a and b."""
        shape, width = self.terms[i][1], self.widths_[i]
        dtype = np.result_type(a, b)
        if shape == "linear":
            return a.reshape(len(a), -1).astype(dtype) @ b.reshape(len(b), -1).astype(dtype).T
        if a.ndim == 2:
            a, b = a[:, None], b[:, None]
        kernel = np.zeros((len(a), len(b)), dtype)
        for place in range(a.shape[1]):
            p, q = a[:, place].astype(dtype), b[:, place].astype(dtype)
            distance = p @ q.T
            distance *= -2
            distance += (p**2).sum(axis=1)[:, None]
            distance += (q**2).sum(axis=1)
            np.maximum(distance, 0, out=distance)
            distance *= -width
            kernel += np.exp(distance, out=distance)
        return kernel / a.shape[1]

    def compare(self, views: dict) -> np.ndarray:
        """Return the kernel between images and landmarks, or features where the map is plain."""
        if self.plain_:
            return views["pooled"]
        blocks = []
        for rows in gen_batches(len(views["pooled"]), _BLOCK):
            terms = [
                gain * self._term(i, views[view][rows], self.landmarks_[view])
                for i, (gain, (view, *_)) in enumerate(zip(self.gains_, self.terms, strict=True))
            ]
            blocks.append(sum(terms))
        return np.concatenate(blocks)

    def transform(self, views: dict) -> np.ndarray:
        """Map images to features, shape (n_images, n_features)."""
        return self.compare(views) if self.plain_ else self.compare(views) @ self.root_

    def get_arrays(self, name: str) -> dict:
        """Return what :meth:`compare` needs, by names that start with what they are."""
        arrays = {f"widths/{name}": self.widths_, f"gains/{name}": self.gains_}
        return arrays | {f"landmarks/{view}": x for view, x in self.landmarks_.items()}

    @classmethod
    def from_arrays(cls, name: str, arrays: dict, plain: bool) -> Self:
        """Undo :meth:`get_arrays`; ``plain`` says whether the map is the features themselves."""
        self = cls(KERNELS[name])
        self.plain_ = plain
        self.widths_, self.gains_ = arrays[f"widths/{name}"], arrays[f"gains/{name}"]
        views = [] if plain else {term[0] for term in self.terms}
        self.landmarks_ = {view: arrays[f"landmarks/{view}"] for view in views}
        return self
