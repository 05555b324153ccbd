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
    recorded: "Recorded", prediction: np.ndarray, known: bool, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compare dissimilarities in windows of 50 ms.

    Parameters
    ----------
    recorded : Recorded
        The real trials.
    prediction : array, shape (n_images, n_channels, n_times)
        The prediction.
    known : bool
        Whether the recording distinguishes the images.
    seed : int
        Of random halves.

    Returns
    -------
    centres : array, shape (n_windows,)
        The centres of the windows, in seconds.
    values : array, shape (n_windows,)
        The similarity to the prediction.
    ceilings : array, shape (2, n_windows)
        The lower and the upper end of the ceiling, NaN where there is none.
    """
    centres, inside = windows(recorded.times)
    values = [similarity(recorded.mean[..., w], prediction[..., w]) for w in inside]
    bands = [ceiling(recorded, w, known, seed, n_splits=3) for w in inside]
    return centres, np.array(values), np.array([(band[0], band[2]) for band in bands]).T


def ceiling(
    recorded: "Recorded", inside: np.ndarray | slice, known: bool, seed: int, n_splits: int = 10
) -> tuple[float, float, float]:
    r"""Say what the dissimilarities of the noise-free responses would get.

    The model is scored against the dissimilarities of all trials. With :math:`r` the similarity of
    those of two halves, its mean over splits, Spearman-Brown gives that of two recordings with all
    trials, :math:`2 r / (1 + r)`: another recording is noisier than a model that knows the
    response, and a bound from below. The root of it is the expected similarity, where the noise of
    dissimilarities falls as trials are added. Where noise multiplied by noise is most of it, it
    falls with the square: :math:`\sqrt{4 r / (1 + 3 r)}` is the bound from above.

    Parameters
    ----------
    recorded : Recorded
        The real trials.
    inside : array of bool, shape (n_times,) | slice
        The times.
    known : bool
        Whether the recording distinguishes the images.
    seed : int
        Of random halves.
    n_splits : int
        How many.

    Returns
    -------
    lower, expected, upper : float
        NaN where an image has but one trial, or halves do not agree.

    References
    ----------
    Nili et al. (2014), A toolbox for representational similarity analysis, PLoS Computational
    Biology 10: the noise ceiling as a band.
    """
    if not known or min(len(of_image) for of_image in recorded.trials) < 2:
        return np.nan, np.nan, np.nan
    rng = np.random.default_rng(seed)
    splits = [similarity(*half_means(recorded, inside, rng)) for _ in range(n_splits)]
    r = float(np.mean(splits))
    if not r > 0:
        return np.nan, np.nan, np.nan
    again = spearman_brown(r)
    return float(again), float(np.sqrt(again)), float(np.sqrt(spearman_brown(r, 4)))
