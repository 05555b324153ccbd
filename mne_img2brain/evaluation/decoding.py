"""Train on draws, test on real trials, within an evaluation."""

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold

from .._types import Regressor
from ..metrics import train_on_generated
from .rows import Rows


def judge_usefulness(
    rows: Rows, draws: np.ndarray, trials: list[np.ndarray], labels: np.ndarray,
    estimator: Regressor | None, n_repeats: int, seed: int,
) -> None:  # fmt: skip
    """Add how well decoders trained on draws and on real trials decode real trials."""
    classes, counts = np.unique(labels, return_counts=True)
    n_folds = min(5, *counts)
    if n_folds >= 2:
        folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
        splits = [_by_image(split, trials, labels) for split in folds.split(labels, labels)]
    else:
        splits = _by_trial(trials, labels, seed)
    scores = {"generated": [], "real": []}
    for images, real, y_real, test, y_test in splits:
        generated = np.concatenate([draws[image] for image in images])
        y_generated = np.repeat(labels[images], draws.shape[1])
        result = train_on_generated(
            generated, y_generated, real, y_real, test, y_test, estimator=estimator,
            scoring="roc_auc" if len(classes) == 2 else "balanced_accuracy",
            n_repeats=max(1, n_repeats // len(splits)), random_state=seed,
        )  # fmt: skip
        scores["generated"].append(result.generated.mean())
        scores["real"].append(result.real.mean())
    what = "AUC" if len(classes) == 2 else "balanced accuracy"
    rows.add(
        "decoding, trained on draws", np.mean(scores["generated"]), chance=1 / len(classes),
        ceiling=np.mean(scores["real"]), unit=what, n=len(labels),
    )  # fmt: skip


def _by_image(
    split: tuple[np.ndarray, np.ndarray], trials: list[np.ndarray], labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return training images, real training trials and test trials of other images."""
    sides = []
    for images in split:
        of_side = [trials[image] for image in images]
        sides.append((np.concatenate(of_side), np.repeat(labels[images], list(map(len, of_side)))))
    return split[0], *sides[0], *sides[1]


def _by_trial(trials: list[np.ndarray], labels: np.ndarray, seed: int) -> list:
    """Return the same with the trials of every image in folds."""
    X = np.concatenate(trials)
    y = np.repeat(labels, [len(of_image) for of_image in trials])
    images = np.arange(len(trials))
    folds = KFold(5, shuffle=True, random_state=seed)
    return [(images, X[a], y[a], X[b], y[b]) for a, b in folds.split(X)]
