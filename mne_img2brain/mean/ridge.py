"""Plain ridge regression of all responses: its penalty, and predictions of images left out."""

from collections.abc import Callable

import numpy as np

from .._lazy import parts_of
from .multivariate_model import Rotation, project
from .response_space import weighted_mean

_PENALTIES = np.geomspace(1e-3, 1e4, 22)  # times the mean square of the features


def cross_validate_ridge(
    features: np.ndarray, folds: list[Rotation], held: list[np.ndarray], target: np.ndarray,
    weight: np.ndarray, penalty: float | str, judge: Callable | None,
) -> tuple[float, np.ndarray]:  # fmt: skip
    """Choose the penalty with the least error, and predict the rows that each fold holds out.

    folds, held: the regression of each fold, and the rows it does not see.
    penalty: a number, or ``"auto"``.
    judge: what turns targets to where errors are judged; None divides by their variance.
    Returns the penalty and the predictions (n_rows, n_targets).
    """
    mean = weighted_mean(target, weight)
    predicted = np.tile(mean, (len(target), 1))
    grid = np.array([penalty], float) if penalty != "auto" else _grid(features, weight)
    spread = weighted_mean((target - mean) ** 2, weight)
    per_target = np.where(spread > 0, 1 / np.where(spread > 0, spread, 1), 0)
    if judge is not None:
        per_target = np.ones(len(mean))
    loss, solutions = np.zeros(len(grid)), []
    for rows, rotated in zip(held, folds, strict=True):
        # Held-out features on the axes of the fold: a penalty then costs one sum of squares,
        # |T D S - R|^2 = d' (T'T * SS') d - 2 d' diag(T'R S') + ..., with D = diag(d).
        scores, of_fold = project(rotated, target[rotated.rows])
        turned = rotated.predict(rows, rotated.vectors)
        solutions.append((turned, scores, of_fold))
        if len(grid) > 1:
            seen, missed = scores, target[rows] - of_fold
            if judge is not None:
                seen, missed = judge(scores), judge(missed)
            weighted = turned * weight[rows][:, None]
            square = (turned.T @ weighted) * ((seen * per_target) @ seen.T)
            cross = ((weighted.T @ missed) * per_target * seen).sum(axis=1)
            values = rotated.eigenvalues[:, None]
            d = np.sqrt(values) / (values + grid)
            loss += (d * (square @ d)).sum(axis=0) - 2 * cross @ d
    chosen = float(grid[loss.argmin()]) if held else float(grid[-1])
    for rows, rotated, (turned, scores, of_fold) in zip(held, folds, solutions, strict=True):
        values = rotated.eigenvalues
        predicted[rows] = of_fold + (turned * (np.sqrt(values) / (values + chosen))) @ scores
    return chosen, predicted


def _grid(features: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return penalties in the unit of the features."""
    centre = np.average(features, axis=0, weights=weight)
    size = sum(
        weight[part] @ ((features[part] - centre) ** 2).sum(axis=1) for part in parts_of(features)
    )
    return _PENALTIES * (size / len(features) or 1.0)


def predict_ridge(
    rotated: Rotation, features: np.ndarray, penalty: float, responses: np.ndarray
) -> np.ndarray:
    """Predict all targets from centred features, in the order that takes the fewer products."""
    if len(features) <= len(rotated.eigenvalues):
        return rotated.solve(features, penalty, responses)
    coef = rotated.solve(rotated.vectors.T, penalty, responses)
    return (features @ rotated.vectors).astype(responses.dtype) @ coef
