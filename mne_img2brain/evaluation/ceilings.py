"""What a model that knows the noise-free response would get from these recordings."""

from typing import NamedTuple

import numpy as np

from .._log import warn
from ..metrics import ceiling_of_r, identification_ranks, pairwise_accuracy, top_k
from ..metrics.noise_ceiling import correlate_halves
from ..metrics.reliability import noise_variance
from . import rsa
from .material import Recorded, half_means, span

NOTHING = "these recordings do not distinguish these images"


class Ceilings(NamedTuple):
    """Noise ceilings of the data that predictions are scored against."""

    # (n_channels, n_times); NaN in those parts of the epoch (baseline, before, in and after the
    # window) in which the recording does not distinguish the images
    r: np.ndarray
    lower: np.ndarray  # half the trials against the other half
    upper: np.ndarray  # and against all
    known: bool  # whether the recording distinguishes the images in the window
    identification: dict  # by half of the trials in place of a prediction; empty if not known
    rsa: np.ndarray  # lower end, expectation and upper end, NaN if not known
    rsa_course: np.ndarray  # the ends over time, (2, n_windows)


def find_ceilings(
    recorded: Recorded, inside: np.ndarray, n_splits: int, seed: int
) -> Ceilings | None:
    """Return the ceilings of r, None where fewer than three images have two trials."""
    repeated = [of_image for of_image in recorded.trials if len(of_image) > 1]
    if len(repeated) < 3:
        return None
    r = np.full(recorded.mean.shape[1:], np.nan)
    # Cells are drawn to their like: the window is to know nothing of the baseline.
    times, first = recorded.times, np.flatnonzero(inside)[0]
    early = np.arange(len(inside)) < first
    for part in (early & (times < 0), early & (times >= 0), inside, ~inside & ~early):
        if part.any():
            trials = [of_image[..., span(part)] for of_image in recorded.trials]
            r[:, part] = ceiling_of_r(trials, recorded.weights, random_state=seed)
    known = bool(np.isfinite(r[:, inside]).any())
    if not known:
        warn(
            f"Noise ceilings are not given: {NOTHING} (the correlation of two halves of the "
            f"trials is not above chance, {len(repeated)} images with two trials or more)."
        )
    lower, upper = correlate_halves(repeated, n_splits, np.random.default_rng(seed))
    halves, total = {}, np.full(3, np.nan)
    course = np.full((2, len(rsa.windows(times)[0])), np.nan)
    if known and len(repeated) == len(recorded.trials):
        halves = identification(recorded, span(inside), seed)
        if rsa.installed() and len(repeated) > 3:
            total, course = rsa.find_ceilings(recorded, span(inside), seed)
    return Ceilings(r, lower, upper, known, halves, total, course)


def within_images(recorded: Recorded, scale: np.ndarray) -> tuple[float, float]:
    """Return MSE and PCC of the noise-free response with the mean of all trials, or NaN."""
    if max(len(of_image) for of_image in recorded.trials) < 2:
        return np.nan, np.nan
    variance, left, _ = noise_variance(recorded.trials, recorded.weights)
    variance = variance / scale**2
    noise, squares = _sums_of_squares(recorded, recorded.mean / scale, np.eye(len(left)), scale)
    return float(variance.mean() * left.mean()), _root_of_share(noise.sum(), squares.sum())


def difference_wave(recorded: Recorded, inside: slice) -> float:
    """Return r of the noise-free with the recorded difference of two classes, or NaN."""
    if max(len(of_image) for of_image in recorded.trials) < 2:
        return np.nan
    labels = np.asarray(recorded.labels)
    second = labels == np.unique(labels)[1]
    contrast = np.where(second, 1 / second.sum(), -1 / (~second).sum())[None]
    wave = np.tensordot(contrast, recorded.mean, axes=1)[..., inside]
    noise, squares = _sums_of_squares(recorded, wave, contrast, 1.0, inside)
    return _root_of_share(noise.sum(), squares.sum())


def _sums_of_squares(
    recorded: Recorded,
    responses: np.ndarray,
    weights: np.ndarray,
    scale: np.ndarray | float,
    inside: slice | np.ndarray = slice(None),
) -> tuple[np.ndarray, np.ndarray]:
    """Return how much of the variation over sensors and times is noise, and how much there is."""
    # responses (n, n_channels, n_times) are sums of image means with weights (n, n_images)
    trials = (t[..., inside] / scale for t in recorded.trials)
    centred = (t - t.mean(axis=(1, 2), keepdims=True) for t in trials)
    variance, left, _ = noise_variance(centred, recorded.weights)
    noise = (weights**2 @ left) * variance.sum()
    deviation = responses - responses.mean(axis=(1, 2), keepdims=True)
    return noise, (deviation**2).sum(axis=(1, 2))


def _root_of_share(noise: float, squares: float) -> float:
    """Return the root of the share that is no noise, NaN where there is none."""
    return float(np.sqrt(1 - noise / squares)) if squares > noise else np.nan


def identification(recorded: Recorded, inside: slice, seed: int) -> dict[str, float]:
    """Identify half of each image's trials by the other half: a bound from below."""
    found = []
    for halves in half_means(recorded, seed):
        one, other = (half[..., inside] for half in halves)
        better, equal = identification_ranks(one, other)
        found.append(
            {
                "top-1": top_k(better, equal, 1).mean(),
                "top-5": top_k(better, equal, 5).mean(),
                "mean rank": (1 + better + equal / 2).mean(),
                "pairwise accuracy": pairwise_accuracy(one, other),
            }
        )
    return {name: float(np.mean([row[name] for row in found])) for name in found[0]}
