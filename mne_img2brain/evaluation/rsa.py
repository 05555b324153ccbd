"""Representational similarity through rsatoolbox, an extra."""

import importlib.util
from typing import TYPE_CHECKING

import numpy as np

from ..metrics import trial_halves

if TYPE_CHECKING:
    from .material import Recorded


def installed() -> bool:
    """Tell whether rsatoolbox is there."""
    return importlib.util.find_spec("rsatoolbox") is not None


def similarity(real: np.ndarray, prediction: np.ndarray) -> float:
    """Compare the dissimilarities between images of recorded and predicted responses.

    Parameters
    ----------
    real, prediction : array, shape (n_images, n_channels, n_times)
        The responses.

    Returns
    -------
    float
        Spearman correlation of the two sets of dissimilarities (1 - r); NaN where all predictions
        are the same, or one is flat.
    """
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
    recorded: "Recorded", prediction: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compare dissimilarities in windows of 50 ms.

    Parameters
    ----------
    recorded : Recorded
        The real trials.
    prediction : array, shape (n_images, n_channels, n_times)
        The prediction.
    seed : int
        Of random halves.

    Returns
    -------
    centres : array, shape (n_windows,)
        The centres of the windows, in seconds.
    values : array, shape (n_windows,)
        The similarity to the prediction.
    ceilings : array, shape (n_windows,)
        The similarity of two halves of the trials, NaN where there are none.
    """
    centres, inside = windows(recorded.times)
    values = [similarity(recorded.mean[..., w], prediction[..., w]) for w in inside]
    ceilings = [ceiling(recorded, w, seed) for w in inside]
    return centres, np.array(values), np.array(ceilings)


def ceiling(recorded: "Recorded", inside: np.ndarray | slice, seed: int) -> float:
    """Return the similarity of two halves of the trials, NaN where an image has but one."""
    if min(len(of_image) for of_image in recorded.trials) < 2:
        return float("nan")
    halves = trial_halves(recorded.trials, seed)
    return similarity(*(np.stack([t.mean(axis=0) for t in half])[..., inside] for half in halves))
