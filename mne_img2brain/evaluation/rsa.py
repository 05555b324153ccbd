"""Representational similarity through rsatoolbox, an extra."""

import importlib.util
from typing import TYPE_CHECKING

import numpy as np

from ..metrics import spearman_brown
from .ceilings import half_means

if TYPE_CHECKING:
    from .material import Recorded


def installed() -> bool:
    """Tell whether rsatoolbox is there."""
    return importlib.util.find_spec("rsatoolbox") is not None


def similarity(real: np.ndarray, prediction: np.ndarray) -> float:
    """Correlate, by Spearman, the dissimilarities between images; NaN where one is flat."""
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm, compare

    rdms: list = []
    for responses in (real, prediction):
        flat = responses.reshape(len(responses), -1)
        size = np.sqrt((flat**2).mean())
        same = np.ptp(flat, axis=0).max() <= 1e-9 * size
        if same or flat.std(axis=1).min() <= 1e-9 * size:
            return float("nan")
        rdms.append(calc_rdm(Dataset(flat / flat.std()), method="correlation"))
    return float(compare(rdms[0], rdms[1], method="spearman").item())


def windows(times: np.ndarray, width: float = 0.05) -> tuple[np.ndarray, list]:
    """Cut times into windows, and return their centres and slices."""
    n_wide = max(2, round(width / np.median(np.diff(times))))
    starts = np.arange(0, len(times) - n_wide + 1, n_wide)
    centres = np.array([times[start : start + n_wide].mean() for start in starts])
    return centres, [slice(start, start + n_wide) for start in starts]


def time_course(
    recorded: "Recorded", prediction: np.ndarray, known: bool, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return centres, similarities and ends of the ceiling, (2, n), in windows of 50 ms."""
    centres, inside = windows(recorded.times)
    values = [similarity(recorded.mean[..., w], prediction[..., w]) for w in inside]
    bands = [ceiling(recorded, w, known, seed, n_splits=3) for w in inside]
    return centres, np.array(values), np.array([(band[0], band[2]) for band in bands]).T


def ceiling(
    recorded: "Recorded", inside: np.ndarray | slice, known: bool, seed: int, n_splits: int = 10
) -> tuple[float, float, float]:
    """Return lower end, expectation and upper end of what noise-free responses get."""
    if not known or min(len(of_image) for of_image in recorded.trials) < 2:
        return np.nan, np.nan, np.nan
    rng = np.random.default_rng(seed)
    splits = [similarity(*half_means(recorded, inside, rng)) for _ in range(n_splits)]
    r = float(np.mean(splits))
    if not r > 0:
        return np.nan, np.nan, np.nan
    # Spearman-Brown gives another recording with all trials, noisier than the response; its root
    # what the response gets, where noise falls as trials are added; the last holds where noise
    # multiplied by noise is most of it. After Nili et al. (2014): the ceiling as a band.
    again = spearman_brown(r)
    return float(again), float(np.sqrt(again)), float(np.sqrt(spearman_brown(r, 4)))
