"""Whether a fit has learnt anything from its images, and the warning where it has not.

The test and its text are in metrics/cross_validated.py, where a DiffusionRegressor asks too.
"""

import numpy as np
from sklearn.dummy import DummyRegressor

from .._linalg import average_rows
from .._log import logger, warn
from .._types import Regressor
from ..baselines import MeanResponse
from ..metrics import CrossValidated, cross_validated_r
from ..metrics.cross_validated import images_at_fault
from ..regressor import DiffusionRegressor
from ..trials.splits import fold_of, merge_groups
from .any_regressor import clone_and_fit, layers, predict_regressor

# Fits beside the one that was asked for are of so many images at most.
_MOST_IMAGES = 1000
_LEAST_IMAGES = 10
_N_FOLDS = 5


def check_learnt(
    regressor: Regressor, tokens: np.ndarray, image_index: np.ndarray, y: np.ndarray,
    *, sample_weight: np.ndarray, groups: np.ndarray | None, regions: np.ndarray,
) -> float:  # fmt: skip
    """Warn where images do not predict responses; return the cross-validated r.

    That of regressors of ours is from within their fit. Any other is fitted five times more, to
    the averages of at most a thousand images; what a search has found is not searched again.

    Returns: NaN with fewer than ten images or two groups, and for regressors that do not look at
        images.
    """
    regressor = getattr(regressor, "best_estimator_", regressor)
    *_, inside = layers(regressor, fitted=True)
    if isinstance(inside, DiffusionRegressor):  # which has warned
        return inside.cross_validated_r_
    if hasattr(inside, "cross_validated_r_"):
        found = CrossValidated(inside.cross_validated_r_, inside.cross_validated_p_)
    elif isinstance(inside, (MeanResponse, DummyRegressor)):
        return np.nan
    else:
        found = _cross_validate(regressor, tokens, image_index, y, sample_weight, groups, regions)
    if said := images_at_fault(found, tokens, y, image_index, sample_weight):
        warn(said)
    return found.r


def _cross_validate(
    regressor: Regressor, tokens: np.ndarray, image_index: np.ndarray, y: np.ndarray,
    sample_weight: np.ndarray, groups: np.ndarray | None, regions: np.ndarray,
) -> CrossValidated:  # fmt: skip
    """Correlate what a regressor predicts for images it was not fitted to with the responses."""
    rng = np.random.default_rng(0)
    images, index = np.unique(image_index, return_inverse=True)
    group = np.zeros(len(images), int)
    group[index] = merge_groups(index, groups)
    if len(images) < _LEAST_IMAGES or group.max() == 0:
        return CrossValidated(np.nan, np.nan)
    chosen = np.arange(len(images))
    if len(images) > _MOST_IMAGES:
        chosen = np.sort(rng.choice(len(images), _MOST_IMAGES, replace=False))
    total = np.bincount(index, weights=sample_weight)
    average = average_rows(y, index, sample_weight)[chosen]
    tokens, total = np.asarray(tokens[images[chosen]]), total[chosen]
    group = np.unique(group[chosen], return_inverse=True)[1]
    fold, predicted = fold_of(group, _N_FOLDS, rng), np.empty_like(average)
    for one in range(fold.max() + 1):
        held, kept = np.flatnonzero(fold == one), np.flatnonzero(fold != one)
        fitted = clone_and_fit(
            regressor, tokens, kept, average[kept], sample_weight=total[kept], groups=group[kept],
            regions=regions, subjects=None, y_mask=None,
        )  # fmt: skip
        predicted[held] = predict_regressor(fitted, tokens[held], y.shape[1:])
    found = cross_validated_r(average, predicted, np.arange(len(average)), fold, total)
    logger.info("%s: cross-validated r %.3f", type(regressor).__name__, found.r)
    return found
