"""Confidence intervals over images."""

from collections.abc import Callable

import numpy as np


def bootstrap(
    statistic: Callable, *parts: np.ndarray, n_resamples: int = 1000, random_state: int = 0
) -> np.ndarray:
    """Resample images and compute a statistic of means over them each time.

    Whatever is a function of means over images can be bootstrapped without touching the trials
    again: an average is such a function, so are a correlation (of five moments), a ratio of
    standard deviations (of two variances) and a spectrum in decibel.

    Resampling is *paired*: with the same number of images and the same ``random_state``, resample
    ``b`` holds the same images for every call, so that the difference of two models' results is a
    bootstrap of their difference.

    Parameters
    ----------
    statistic : callable
        Takes one array per part, the mean over the images of a resample, of shape (...), and
        returns a float or an array.
    *parts : array, shape (n_images, ...)
        What is averaged over images.
    n_resamples : int, default 1000
        How many resamples.
    random_state : int, default 0
        The seed.

    Returns
    -------
    array, shape (n_resamples, ...)
        The statistic of every resample.

    Raises
    ------
    ValueError
        If the parts are of different numbers of images.

    See Also
    --------
    interval : The interval of what is returned.

    References
    ----------
    Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapters 6 and 13.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import bootstrap, interval
    >>> of_images = np.random.default_rng(0).standard_normal(100)
    >>> low, high = interval(bootstrap(float, of_images))
    >>> low < of_images.mean() < high
    np.True_
    """
    n_images = len(parts[0])
    if any(len(part) != n_images for part in parts):
        raise ValueError(
            f"The parts are of {[len(part) for part in parts]} images; a resample needs the same "
            "images of each."
        )
    rng = np.random.default_rng(random_state)
    weights = rng.multinomial(n_images, np.full(n_images, 1 / n_images), size=n_resamples)
    weights = weights / n_images
    flat = [np.asarray(part, float).reshape(n_images, -1) for part in parts]
    # 64 resamples at a time: a product of matrices is fast, all of them at once are gigabytes.
    results = []
    for start in range(0, n_resamples, 64):
        means = [weights[start : start + 64] @ values for values in flat]
        for row in zip(*means, strict=True):
            shaped = (m.reshape(np.shape(p)[1:]) for m, p in zip(row, parts, strict=True))
            results.append(statistic(*shaped))
    return np.array(results)


def interval(resampled: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of resampled values.

    Parameters
    ----------
    resampled : array, shape (n_resamples,)
        From :func:`bootstrap`; NaN is left out.
    level : float, default 0.95
        The content of the interval.

    Returns
    -------
    low, high : float
        The ends, NaN where nothing is left.

    See Also
    --------
    bootstrap : Where resampled values come from.

    Examples
    --------
    >>> from mne_img2brain.metrics import interval
    >>> interval([0.0, 1.0, 2.0, 3.0, 4.0], level=0.5)
    (1.0, 3.0)
    """
    resampled = np.asarray(resampled, float)
    resampled = resampled[~np.isnan(resampled)]
    if not resampled.size:
        return float("nan"), float("nan")
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def r_moments(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """Return what a correlation across images is made of, for :func:`bootstrap`.

    (n_images, 5, ...): x, y, x*x, y*y and x*y, standardised first for the sake of rounding.
    """
    x, y = (_standardized(np.asarray(values, float)) for values in (y_true, y_pred))
    return np.stack([x, y, x * x, y * y, x * y], axis=1)


def _standardized(y: np.ndarray) -> np.ndarray:
    """Return ``y`` with mean 0 and SD 1 along the first axis; what is constant becomes 0."""
    centred = y - y.mean(axis=0)
    sd = centred.std(axis=0)
    flat = sd <= 1e-12 * np.sqrt((y**2).mean(axis=0))
    return np.where(flat, 0.0, centred / np.where(flat, 1.0, sd))


def r_from_moments(moments: np.ndarray) -> np.ndarray:
    """Return the correlation of mean moments, 0 where something does not vary in the resample."""
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = moments
    variance = (mean_xx - mean_x**2) * (mean_yy - mean_y**2)
    varies = variance > 1e-20
    return np.where(
        varies, (mean_xy - mean_x * mean_y) / np.sqrt(np.where(varies, variance, 1.0)), 0.0
    )
