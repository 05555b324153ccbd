"""Models judged on images they did not see, and their mixture."""

from collections.abc import Callable

import numpy as np
from scipy import linalg, optimize

from ..trials.splits import canonical_order, fold_of, merge_groups
from .mixed_model import fit_mixed_model, project, rotate, shrink, solve
from .response_space import weighted_mean

__all__ = [
    "correlation",
    "cross_validate",
    "deal_units",
    "expand",
    "judged_targets",
    "solve_model",
    "stack",
]

_PENALTIES = np.geomspace(1e-3, 1e4, 22)
_MAX_JUDGED = 2000  # targets on which penalty and mixture are chosen


def judged_targets(n_targets: int) -> np.ndarray:
    """Choose evenly spaced targets, for speed."""
    return np.unique(np.linspace(0, n_targets - 1, _MAX_JUDGED).astype(np.intp))


def deal_units(
    flat: np.ndarray,
    image: np.ndarray,
    groups: np.ndarray | None,
    n_folds: int,
    min_images: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Deal images, or where there are few of them parts of their trials, into folds.

    Parameters
    ----------
    flat : array, shape (n_rows, n_targets)
        The responses; they say in which order the trials of an image are dealt.
    image : array of int, shape (n_rows,)
        The image of each row.
    groups : array, shape (n_rows,) | None
        Labels that no fold may separate.
    n_folds : int
        Number of folds.
    min_images : int
        With fewer images, the units are parts of trials.
    rng : numpy.random.Generator
        Deals.

    Returns
    -------
    unit : array of int, shape (n_rows,)
        The unit of each row.
    unit_image, fold : array of int, shape (n_units,)
        The image and the fold of each unit.
    """
    n_images = image.max() + 1
    if n_images >= min_images:
        merged = merge_groups(image, groups)
        label = np.empty(n_images, dtype=np.intp)
        label[image] = merged
        # Numbered as the images come, so that names of groups and order of rows do not matter.
        _, where, label = np.unique(label, return_index=True, return_inverse=True)
        label = np.argsort(np.argsort(where))[label]
        return image, np.arange(n_images), fold_of(label, n_folds, rng)
    # Too few images: parts of the trials of an image take the place of images.
    order = canonical_order(flat, image)
    start = np.searchsorted(image[order], np.arange(n_images))
    part = np.empty(len(image), dtype=np.intp)
    part[order] = (np.arange(len(image)) - start[image[order]] + image[order]) % n_folds
    pairs, unit = np.unique(np.stack([image, part], axis=1), axis=0, return_inverse=True)
    _, fold = np.unique(pairs[:, 1], return_inverse=True)
    return unit.ravel(), pairs[:, 0], fold


def cross_validate(
    name: str,
    features: np.ndarray,
    responses: np.ndarray,
    weight: np.ndarray,
    fold: np.ndarray,
    spaces: list,
    *,
    penalty: float | str | None,
    judge: Callable | None,
) -> list:
    """Fit the models with one kernel in each fold; return their out-of-fold predictions."""
    folds = range(fold.max() + 1 if fold.max() else 0)
    axes = [rotate(features[fold != k], weight[fold != k]) for k in folds]
    models = []
    if penalty is not None:
        penalty, guess = _ridge(features, axes, responses, weight, fold, penalty, judge)
        models.append({"kind": "ridge", "kernel": name, "penalty": penalty, "guess": guess})
    if axes and len(spaces[0][1]):
        guess = np.zeros((len(responses), len(spaces[0][1])))
        for k, (rotated, (components, _, _)) in enumerate(zip(axes, spaces, strict=True)):
            scores, mean = project(rotated, components)
            coef = solve(rotated, scores, *fit_mixed_model(rotated, scores, components))
            guess[fold == k] = mean + (features[fold == k] - rotated["mean"]) @ coef
        models.append({"kind": "mixed", "kernel": name, "guess": guess})
    return models


def _ridge(
    features: np.ndarray,
    axes: list,
    responses: np.ndarray,
    weight: np.ndarray,
    fold: np.ndarray,
    penalty: float | str,
    judge: Callable | None,
) -> tuple[float, np.ndarray]:
    """Choose the penalty of ridge regression; return it and out-of-fold predictions."""
    mean = weighted_mean(responses, weight)
    guess = np.tile(mean, (len(responses), 1))
    centred = features - np.average(features, axis=0, weights=weight)
    grid = _PENALTIES * (weight @ (centred**2).sum(axis=1) / len(features) or 1.0)
    if penalty != "auto":
        grid = np.array([float(penalty)])
    if not axes:
        return grid[-1], guess
    loss, judged, per_target = np.zeros(len(grid)), slice(None), np.ones(len(mean))
    if judge is None:
        judged = np.unique(np.linspace(0, len(mean) - 1, _MAX_JUDGED).astype(np.intp))
        spread = weighted_mean((responses[:, judged] - mean[judged]) ** 2, weight)
        per_target = np.where(spread > 0, 1 / np.where(spread > 0, spread, 1), 0)
    # Held-out features on the axes of the fold: a penalty then costs one product.
    turned = [(features[fold == k] - r["mean"]) @ r["vectors"] for k, r in enumerate(axes)]
    for k, rotated in enumerate(axes if len(grid) > 1 else []):
        out = fold == k
        scores, mean = project(rotated, responses[:, judged][~out])
        missed = mean - responses[:, judged][out]
        for i, penalty in enumerate(grid):
            left = turned[k] @ shrink(rotated, scores, penalty) + missed
            left = judge(left) if judge else left
            loss[i] += weight[out] @ (left**2 @ per_target)
    penalty = grid[loss.argmin()]
    for k, rotated in enumerate(axes):
        scores, mean = project(rotated, responses[fold != k])
        guess[fold == k] = mean + turned[k] @ shrink(rotated, scores, penalty)
    return penalty, guess


def solve_model(
    model: dict, features: np.ndarray, y: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a model on all rows; return coefficients and offset of its prediction less the mean."""
    rotated = rotate(features, weight)
    scores, _ = project(rotated, y)
    if model["kind"] == "ridge":
        coef = solve(rotated, scores, model["penalty"])
    else:
        coef = solve(rotated, scores, *fit_mixed_model(rotated, scores, y))
    return coef, -(rotated["mean"] @ coef)


def expand(
    model: dict,
    spaces: list,
    fold: np.ndarray,
    judged: np.ndarray | slice = slice(None),
    rows: np.ndarray | slice = slice(None),
) -> np.ndarray:
    """Return the out-of-fold predictions of a model for some targets and rows."""
    guess, fold = model["guess"][rows], fold[rows]
    if model["kind"] == "ridge":
        return guess[:, judged]
    parts = np.empty((len(fold), len(spaces[0][2][judged])))
    for k, (_, colours, mean) in enumerate(spaces):
        parts[fold == k] = mean[judged] + guess[fold == k] @ colours[:, judged]
    return parts


def stack(guesses: list[np.ndarray], weight: np.ndarray, scale: bool) -> np.ndarray:
    """Non-negative weights of models that minimise the squared error of the last, the target.

    All are 0 where no model helps.
    """
    *guesses, target = guesses
    spread = np.average(target**2, axis=0, weights=weight)
    scale = np.where(spread > 0, 1 / np.where(spread > 0, spread, 1) if scale else 1.0, 0)
    gram = np.array([[weight @ ((a * b) @ scale) for b in guesses] for a in guesses])
    aim = np.array([weight @ ((a * target) @ scale) for a in guesses])
    if not (aim > 0).any():
        return np.zeros(len(guesses))
    values, vectors = linalg.eigh(gram)
    values = np.maximum(values, 1e-9 * values[-1])
    half = np.sqrt(values)[:, None] * vectors.T
    return optimize.nnls(half, (vectors.T @ aim) / np.sqrt(values))[0]


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Mean over targets of the Pearson correlation over rows."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    size = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return float(np.mean((a * b).sum(axis=0) / np.where(size > 0, size, 1)))
