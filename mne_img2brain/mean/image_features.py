"""Images as kernels see them, dealt into folds: what regressions of any responses share."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils import gen_batches

from .._lazy import LazyTrials, scratch
from ..trials.splits import distinct_rows
from .kernels import KERNELS, KernelMap, Views
from .multivariate_model import Rotation, rotate
from .stacking import deal_units

if TYPE_CHECKING:
    from .kernel_mean import KernelMeanRegressor

_BATCH = 500  # images looked at at a time


@dataclass
class ImageFeatures:
    """The features of images with each kernel, and the folds that hold images out.

    n_images, n_features, x_ndim: distinct images, the width and dimensions of their tokens.
    unit (n_rows,): the unit of each row: its image, or with few images a part of its trials.
    image (n_rows,): the distinct image of each row.
    fold (n_units,): the fold that holds each unit out.
    views: what kernels look at.
    features (n_units, n_features): with each.
    rotations: axes of regressions, kept for other responses to the same images; None keeps none.
    """

    n_images: int
    n_features: int
    x_ndim: int
    unit: np.ndarray
    image: np.ndarray
    fold: np.ndarray
    views: Views
    maps: dict[str, KernelMap]
    features: dict[str, np.ndarray]
    rotations: dict[tuple, Rotation] | None = None

    @classmethod
    def of(
        cls,
        regressor: "KernelMeanRegressor",
        X: np.ndarray,
        image_index: np.ndarray,
        y: np.ndarray | LazyTrials,
        groups: np.ndarray | None,
    ) -> "ImageFeatures":
        """Compute what regressions of any responses to images share; X has 2 or 3 dimensions."""
        rng, kernel = regressor._rng(), regressor.kernel
        n_folds, min_images = regressor.n_folds, regressor.min_images
        used, index = np.unique(image_index, return_inverse=True)
        first, distinct = distinct_rows(X if len(used) == len(X) else X[used])
        first, image = used[first], distinct[index]
        unit, unit_image, fold = deal_units(y, image, groups, n_folds, min_images, rng)
        if fold.max() == 0 and len(first) >= min_images and regressor.penalty == "auto":
            raise ValueError(
                "All images are of one group, so that none can be left out to choose a "
                "penalty; give groups that differ, or a number as penalty."
            )
        views, chosen = Views(regressor.standardize).fit(X, first), first
        if len(first) > regressor.n_landmarks:
            chosen = first[np.sort(rng.choice(len(first), regressor.n_landmarks, replace=False))]
        # landmarks are no more exact than tokens, and are many
        dtype = np.float64 if X.dtype == np.float64 else np.float32
        blocks = gen_batches(len(chosen), _BATCH)
        seen = [views.transform(X[chosen[block]], dtype) for block in blocks]
        landmarks = {view: np.concatenate([one[view] for one in seen]) for view in seen[0]}
        del seen
        names = [kernel]
        if kernel == "auto":
            names = ["linear", "rbf"] + (["local"] if "places" in landmarks else [])
            names = names if regressor.penalty == "auto" else ["linear"]
        if kernel == "local" and "places" not in landmarks:
            raise ValueError(
                "kernel='local' compares tokens place by place, but X has no two tokens that all "
                "images have beside the first; use 'auto' or 'rbf'."
            )
        maps = {name: KernelMap(KERNELS[name]) for name in names}
        features = {name: maps[name].fit_transform(landmarks) for name in names}
        mapped = [name for name in names if maps[name].plain_ or len(chosen) < len(first)]
        for name in mapped:
            features[name] = scratch((len(first), features[name].shape[1]), y.dtype)
        for block in gen_batches(len(first), _BATCH) if mapped else ():
            shown = views.transform(X[first[block]], dtype)
            for name in mapped:
                features[name][block] = maps[name].transform(shown)
        for name in names:
            found = features[name].astype(y.dtype, copy=False)
            features[name] = found if len(first) == len(unit_image) else found[unit_image]
        return cls(len(first), X.shape[-1], X.ndim, unit, image, fold, views, maps, features)

    def rotation(self, name: str, weight: np.ndarray, fold: int | None = None) -> Rotation:
        """Return the axes of a regression on a kernel's features, of units outside a fold."""
        key, kept = (name, fold), self.rotations
        rows = np.flatnonzero(np.ones(len(weight), bool) if fold is None else self.fold != fold)
        if kept is None or key not in kept or not np.allclose(kept[key].weight, weight[rows]):
            rotation = rotate(self.features[name], weight, rows)
            if kept is None:
                return rotation
            vectors = scratch(rotation.vectors.shape, rotation.vectors.dtype)
            vectors[:] = rotation.vectors
            kept[key] = replace(rotation, vectors=vectors)
        return kept[key]
