"""Representational similarity through rsatoolbox, an extra."""

import importlib.util

import numpy as np

from ..metrics import spearman_brown
from .material import Recorded, half_means


def installed() -> bool:
    """Tell whether rsatoolbox is there."""
    return importlib.util.find_spec("rsatoolbox") is not None


def similarity(real: np.ndarray, prediction: np.ndarray) -> float:
    """Correlate, by Spearman, the dissimilarities between images; NaN where one is flat."""
    from rsatoolbox.rdm import RDMs, compare

    rdms: list = []
    for responses in (real, prediction):
        flat = responses.reshape(len(responses), -1)
        size = np.sqrt((flat**2).mean())
        same = np.ptp(flat, axis=0).max() <= 1e-9 * size
        if same or flat.std(axis=1).min() <= 1e-9 * size:
            return float("nan")
        # as its calc_rdm, through BLAS
        rdms.append(RDMs(1 - np.corrcoef(flat)[None]))
    return float(compare(rdms[0], rdms[1], method="spearman").item())


def windows(times: np.ndarray, width: float = 0.05) -> tuple[np.ndarray, list]:
    """Cut times into windows, and return their centres and slices."""
    n_wide = max(2, round(width / np.median(np.diff(times))))
    starts = np.arange(0, len(times) - n_wide + 1, n_wide)
    centres = np.array([times[start : start + n_wide].mean() for start in starts])
    return centres, [slice(start, start + n_wide) for start in starts]


def time_course(recorded: Recorded, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return centres and similarities in windows of 50 ms."""
    centres, inside = windows(recorded.times)
    values = [similarity(recorded.mean[..., w], prediction[..., w]) for w in inside]
    return centres, np.array(values)


def find_ceilings(recorded: Recorded, inside: slice, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ceiling, (3,), and lower and upper end of those of the time course, (2, n)."""
    _, spans = windows(recorded.times)
    total, course = [], []
    for split, halves in enumerate(half_means(recorded, seed)):
        total.append(similarity(*(half[..., inside] for half in halves)))
        if split < 3:
            course.append([similarity(*(half[..., w] for half in halves)) for w in spans])
    ends = np.array([ceiling(r) for r in np.mean(course, axis=0)])
    return ceiling(float(np.mean(total))), ends[:, [0, 2]].T


def ceiling(r: float) -> np.ndarray:
    """Return lower end, expectation and upper end of the ceiling, of the r of two halves."""
    if not r > 0:
        return np.full(3, np.nan)
    # Spearman-Brown gives another recording with all trials, noisier than the response; its root
    # what the response gets, where noise falls as trials are added; the last holds where noise
    # multiplied by noise is most of it. After Nili et al. (2014): the ceiling as a band.
    again = spearman_brown(r)
    return np.array([again, np.sqrt(again), np.sqrt(spearman_brown(r, 4))])
