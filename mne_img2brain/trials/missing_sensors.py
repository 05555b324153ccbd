"""Sensors that some subjects lack, estimated from those that they have."""

import numpy as np
from scipy import linalg

_RIDGE = 1e-3  # of the mean variance


def fill_sensors(y: np.ndarray, mask: np.ndarray, same_variance: bool = False) -> np.ndarray:
    r"""Fill what is missing with its regression on what is there.

    With :math:`o` the sensors that are there and :math:`m` one that is not, :math:`\hat y_m =
    \mu_m + \Sigma_{mo} \Sigma_{oo}^{-1} (y_o - \mu_o)`, the covariances from trials that have all
    of them. A sensor that no such trial has gets its mean.

    Parameters
    ----------
    y : array, shape (n_trials, n_channels, n_times)
        The responses; what stands in missing places is not used.
    mask : array of bool, shape (n_trials, n_channels)
        Which sensors each trial has.
    same_variance : bool
        Whether the filled sensors are scaled to the variance that they have where recorded: for
        residuals, whose size matters.

    Returns
    -------
    array, shape (n_trials, n_channels, n_times)
        A copy.
    """
    mask3 = mask[:, :, None]
    y = np.where(mask3, y, 0.0)
    n_times = y.shape[2]
    count = np.maximum(mask.sum(axis=0), 1)
    mean = y.sum(axis=0) / count[:, None]
    variance = np.sum(np.square(y - mean) * mask3, axis=(0, 2)) / count / n_times
    y = np.where(mask3, y, mean)
    ridge = _RIDGE * max(variance.mean(), np.finfo(float).tiny)
    for pattern in np.unique(mask, axis=0):
        there = np.flatnonzero(pattern)
        rows = np.flatnonzero((mask == pattern).all(axis=1))
        for lost in np.flatnonzero(~pattern):
            learn = np.flatnonzero(mask[:, lost] & mask[:, there].all(axis=1))
            if len(learn) == 0 or len(there) == 0:
                continue  # never together: its mean
            known, sought = y[learn][:, there], y[learn, lost]
            middle, level = known.mean(axis=0), sought.mean(axis=0)
            known -= middle
            gram = np.einsum("ict,idt->cd", known, known, optimize=True)
            cross = np.einsum("ict,it->c", known, sought - level, optimize=True)
            gram += ridge * len(learn) * n_times * np.eye(len(there))
            weights = linalg.solve(gram, cross, assume_a="pos")
            filled = np.einsum("c,ict->it", weights, y[rows][:, there] - middle)
            if same_variance and np.any(filled):
                filled *= np.sqrt(variance[lost] / np.mean(np.square(filled)))
            y[rows, lost] = filled + level
    return y
