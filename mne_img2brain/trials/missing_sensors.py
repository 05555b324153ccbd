"""Sensors that some subjects lack, estimated from those that they have."""

import numpy as np
from scipy import linalg

_RIDGE = 1e-3  # of the mean variance
_MIN_TRIALS = 40  # to regress one sensor on the others


def fill_sensors(y: np.ndarray, mask: np.ndarray, same_variance: bool = False) -> np.ndarray:
    r"""Fill what is missing with its regression on what is there.

    With :math:`o` the sensors that are there and :math:`m` one that is not, :math:`\hat y_m =
    \mu_m + \Sigma_{mo} \Sigma_{oo}^{-1} (y_o - \mu_o)`, the covariances from trials that have all
    of them, or where there are none as many of them as can be. A sensor that no trial has gets
    its mean, 0.

    same_variance: whether what that regression leaves over in a trial that has the sensor, chosen
        at random, is added, in the size of the noise that it is added to. The filled sensors then
        vary as recorded ones do, among each other and with those that are there: for residuals,
        whose covariance matters.
    """
    rng = np.random.default_rng(0)
    mask3 = mask[:, :, None]
    y = np.where(mask3, y, 0.0)
    n_times = y.shape[2]
    count = np.maximum(mask.sum(axis=0), 1)
    mean = y.sum(axis=0) / count[:, None]
    variance = np.sum(np.square(y - mean) * mask3, axis=(0, 2)) / count / n_times
    y = np.where(mask3, y, mean)
    ridge = _RIDGE * max(variance.mean(), np.finfo(float).tiny)
    patterns = np.unique(mask, axis=0)
    for pattern in patterns:
        rows = np.flatnonzero((mask == pattern).all(axis=1))
        there = pattern.copy()
        for lost in map(int, np.flatnonzero(~pattern)):
            learn, known = _teachers(mask, patterns, there, lost)
            if not len(learn):
                continue  # nobody has it
            x, sought = y[learn][:, known], y[learn, lost]
            middle, level = x.mean(axis=0), sought.mean(axis=0)
            x -= middle
            given = y[rows][:, known] - middle
            weights = np.zeros(len(known))
            if len(known):
                gram = np.einsum("ict,idt->cd", x, x, optimize=True)
                cross = np.einsum("ict,it->c", x, sought - level, optimize=True)
                gram += ridge * len(learn) * n_times * np.eye(len(known))
                weights = linalg.solve(gram, cross, assume_a="pos")
            filled = np.einsum("c,ict->it", weights, given)
            if same_variance:
                left = sought - level - np.einsum("c,ict->it", weights, x)
                size = np.sqrt(np.mean(x**2)) if len(known) else 0.0
                loud = np.sqrt(np.mean(given**2)) / size if size else 1.0
                filled += loud * left[rng.integers(len(learn), size=len(rows))]
                there[lost] = True  # sensors that are filled later go with this one
            y[rows, lost] = filled + level
    return y


def _teachers(
    mask: np.ndarray, patterns: np.ndarray, there: np.ndarray, lost: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the trials and the sensors from which a lost one is learnt.

    As many sensors as can be, but rather fewer than learnt from a handful of trials.
    """
    learn: np.ndarray = np.flatnonzero(mask[:, lost])
    known: np.ndarray = np.empty(0, np.intp)
    enough = min(len(learn), _MIN_TRIALS)
    for pattern in patterns[patterns[:, lost]]:
        shared = np.flatnonzero(pattern & there)
        trials = np.flatnonzero(mask[:, lost] & mask[:, shared].all(axis=1))
        if len(shared) > len(known) and len(trials) >= enough:
            learn, known = trials, shared
    return learn, known
