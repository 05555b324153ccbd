"""Models judged on images they did not see, and their mixture."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import linalg, optimize

from .._lazy import LazyTrials, scratch
from .._linalg import in_threads
from ..trials.splits import canonical_order, fold_of, merge_groups
from .multivariate_model import Rotation, fit_mixed_model, project, shrink
from .response_space import Space
from .ridge import cross_validate_ridge, predict_ridge

if TYPE_CHECKING:
    from .image_features import ImageFeatures

_MANY = 400  # from so many rows on, models that add little to others are left out
_MAX_JUDGED = 2000  # targets on which penalty and mixture are chosen,
_MAX_VALUES = 4 * 10**6  # and numbers in them


def judged_targets(n_rows: int, n_targets: int) -> np.ndarray:
    """Choose evenly spaced targets, for speed."""
    n = min(_MAX_JUDGED, max(_MAX_VALUES // n_rows, 100))
    return np.unique(np.linspace(0, n_targets - 1, n).astype(np.intp))


def deal_units(
    y: np.ndarray | LazyTrials, image: np.ndarray, groups: np.ndarray | None, n_folds: int,
    min_images: int, rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Deal images, or where there are few of them parts of their trials, into folds.

    y: they say in which order the trials of an image are dealt.
    min_images: with fewer images, the units are parts of trials.
    Returns the unit of each row, and the image and the fold of each unit.
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
    order = canonical_order(y, image)
    start = np.searchsorted(image[order], np.arange(n_images))
    part = np.empty(len(image), dtype=np.intp)
    part[order] = (np.arange(len(image)) - start[image[order]] + image[order]) % n_folds
    pairs, unit = np.unique(np.stack([image, part], axis=1), axis=0, return_inverse=True)
    _, fold = np.unique(pairs[:, 1], return_inverse=True)
    return unit.ravel(), pairs[:, 0], fold


class LeftOut(NamedTuple):
    """Out-of-fold predictions, one for all trials that share it.

    values (n_units, ...): the predictions.
    unit (n_trials,): which of them is that of each trial.
    """

    values: np.ndarray
    unit: np.ndarray

    def unfold(self) -> np.ndarray:
        """Return the prediction of each trial, in a file where they are many."""
        unfolded = scratch((len(self.unit), *self.values.shape[1:]), self.values.dtype)
        # any other mode fills a buffer of that size first
        return np.take(self.values, self.unit, axis=0, out=unfolded, mode="clip")

    def take(self, trials: np.ndarray | slice) -> np.ndarray:
        """Return the predictions of some trials."""
        return self.values[self.unit[trials]]

    def subtract_from(self, y: np.ndarray | LazyTrials, factor: np.ndarray) -> LazyTrials:
        """Return what it leaves of responses, times a factor (n_trials,)."""

        def read(rows: np.ndarray) -> np.ndarray:
            left = y[rows]
            left -= self.take(rows)
            left *= factor[rows, None, None]
            return left

        return LazyTrials(read, y.shape, y.dtype)


@dataclass
class Problem:
    """Average responses, the precision of each and their mean, and how predictions are judged.

    spaces: the components of each fold.
    judged, judge: the targets that count; what turns them to where errors are judged, or None.
    """

    images: "ImageFeatures"
    responses: np.ndarray
    weight: np.ndarray
    mean: np.ndarray
    spaces: list[Space]
    judged: np.ndarray
    judge: Callable | None


@dataclass
class Model:
    """A model of the mixture, and what it predicts for rows that its folds have not seen.

    kind: plain ridge regression of all responses, or a mixed model of their components.
    kernel: the name of the kernel.
    predicted (n_rows, n_judged) | (n_rows, n_components): out-of-fold predictions: of the judged
        targets, or of the components of the fold.
    folds: the ridge regression of each fold.
    penalty: the penalty of ridge regression.
    """

    kind: str
    kernel: str
    predicted: np.ndarray
    folds: list[Rotation] = field(default_factory=list)
    penalty: float = np.nan

    @property
    def label(self) -> str:
        """What it is called in the mixture."""
        return f"{self.kind} {self.kernel}"


def cross_validate(problem: Problem, name: str, penalty: float | str | None) -> list[Model]:
    """Fit the models with one kernel in each fold, and predict what the fold holds out."""
    images, fold, spaces = problem.images, problem.images.fold, problem.spaces
    held = [np.flatnonzero(fold == k) for k in range(fold.max() + 1 if fold.max() else 0)]
    # a fold may find fewer components than another: the rest of its rows is 0
    n_mixed = [len(space.colours) for space in spaces] or [0]
    mixed = np.zeros((len(fold), max(n_mixed) if min(n_mixed) else 0))

    def fit(k: int) -> Rotation | None:
        rows, space = held[k], spaces[k]
        rotated = images.rotation(name, problem.weight, k)
        if mixed.shape[1]:
            scores, mean = project(rotated, space.scores)
            slopes = shrink(rotated, scores, *fit_mixed_model(rotated, scores, space.scores))
            mixed[rows, : len(space.colours)] = mean + rotated.predict(
                rows, rotated.vectors @ slopes
            )
        return rotated if penalty is not None else None

    folds, models = in_threads(fit, range(len(spaces))), []
    if penalty is not None:
        target = problem.responses[:, problem.judged].astype(float)
        chosen, predicted = cross_validate_ridge(
            images.features[name], folds, held, target, problem.weight, penalty, problem.judge
        )
        models.append(Model("ridge", name, predicted, folds, chosen))
    if mixed.shape[1]:
        models.append(Model("mixed", name, mixed))
    return models


def solve_model(
    model: Model, images: "ImageFeatures", y: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a model on all rows; return what comparisons are multiplied with, and the offset."""
    rotated, kernel = images.rotation(model.kernel, weight), images.maps[model.kernel]
    if model.kind == "ridge":
        left = np.eye(rotated.features.shape[1]) if kernel.plain_ else kernel.root_
        solution = rotated.solve(np.vstack([left, -rotated.mean]), model.penalty, y)
        return solution[:-1], solution[-1]
    scores, _ = project(rotated, y)
    slopes = shrink(rotated, scores, *fit_mixed_model(rotated, scores, y))
    coef = rotated.vectors @ slopes
    return coef if kernel.plain_ else kernel.root_ @ coef, -(rotated.mean @ coef)


def weigh_models(problem: Problem, models: list[Model]) -> tuple[np.ndarray, list[float]]:
    """Choose the weights of the mixture by what models predict for the rows their folds left out.

    The mean of a fold is low where what it leaves out is high: with it a model that adds little to
    others is left out (of 700 images r gains 0.003; of 100 it would lose 0.013, of 50 all models).
    The size of the mixture is that of what it adds to that mean.

    Returns weights, none negative, and the correlations of each model and of the mixture.
    """
    judged, weight, scale = problem.judged, problem.weight, problem.judge is None
    mean, judge = problem.mean[judged], problem.judge or (lambda values: values)

    def weigh(predicted: list[np.ndarray], target: np.ndarray) -> np.ndarray:
        return stack([judge(one) for one in (*predicted, target)], weight, scale)

    target = problem.responses[:, judged] - mean
    predicted = [_expand(problem, model) - mean for model in models]
    of_fold = np.stack([space.mean[judged] for space in problem.spaces] or [mean])
    centre = of_fold[problem.images.fold] - mean
    several, weights = len(models) > 1, np.ones(len(models))
    if several:
        weights = weigh(predicted, target) if len(target) >= _MANY else np.zeros(len(models))
    predicted, target = [one - centre for one in predicted], target - centre
    if several and not weights.any():
        weights = weigh(predicted, target)
    mixture = sum(b * one for b, one in zip(weights, predicted, strict=True))
    if several:
        size = weigh([mixture], target)
        weights, mixture = size * weights, size * mixture
    return weights, [_correlation(one, target) for one in (*predicted, mixture)]


def mix_left_out(problem: Problem, models: list[Model], weights: np.ndarray) -> np.ndarray:
    """Return the mixture's out-of-fold predictions of all targets, fold by fold."""
    responses = problem.responses
    left_out = np.empty(responses.shape, responses.dtype)
    left_out[:] = problem.mean
    for k, space in enumerate(problem.spaces):
        rows = np.flatnonzero(problem.images.fold == k)
        used = [(model, b) for model, b in zip(models, weights, strict=True) if b > 0]
        left_out[rows] = space.mean
        mixed = sum(b * model.predicted[rows] for model, b in used if model.kind == "mixed")
        if not np.isscalar(mixed):
            mixed = mixed[:, : len(space.colours)].astype(responses.dtype)
            left_out[rows] += mixed @ space.colours
        for model, b in used:
            if model.kind == "ridge":
                rotated = model.folds[k]
                features = b * (rotated.features[rows] - rotated.mean)
                left_out[rows] += predict_ridge(rotated, features, model.penalty, responses)
    return left_out


def _expand(problem: Problem, model: Model) -> np.ndarray:
    """Return the out-of-fold predictions of a model for the judged targets."""
    if model.kind == "ridge":
        return model.predicted
    spaces, fold, judged = problem.spaces, problem.images.fold, problem.judged
    parts = np.empty((len(fold), len(spaces[0].mean[judged])), spaces[0].mean.dtype)
    for k, space in enumerate(spaces):
        rows = fold == k
        predicted = model.predicted[rows, : len(space.colours)].astype(parts.dtype)
        parts[rows] = space.mean[judged] + predicted @ space.colours[:, judged]
    return parts


def stack(predicted: list[np.ndarray], weight: np.ndarray, scale: bool) -> np.ndarray:
    """Non-negative weights of models that minimise the squared error of the last, or all 0."""
    *predicted, target = predicted
    spread = np.average(target**2, axis=0, weights=weight)
    scale = np.where(spread > 0, 1 / np.where(spread > 0, spread, 1) if scale else 1.0, 0)
    gram = np.array([[weight @ ((a * b) @ scale) for b in predicted] for a in predicted])
    aim = np.array([weight @ ((a * target) @ scale) for a in predicted])
    if not (aim > 0).any():  # or there is none
        return np.zeros(len(predicted))
    values, vectors = linalg.eigh(gram)
    values = np.maximum(values, 1e-9 * values[-1])
    half = np.sqrt(values)[:, None] * vectors.T
    return optimize.nnls(half, (vectors.T @ aim) / np.sqrt(values))[0]


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Mean over targets of the Pearson correlation over rows."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    size = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return float(np.mean((a * b).sum(axis=0) / np.where(size > 0, size, 1)))
