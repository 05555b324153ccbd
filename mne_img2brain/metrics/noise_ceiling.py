"""How well any model could do, given that trials differ; evaluation/ceilings.py uses it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .._log import progress_bar
from ._shapes import check_trials
from .accuracy import centred, correlate_centred
from .reliability import ceiling_of_r


class SplitHalf(NamedTuple):
    """Noise ceilings from split halves, each of shape (n_channels, n_times).

    Attributes
    ----------
    lower : array
        Correlation of one half with the other: what half the trials predict of the other half.
    upper : array
        Correlation of the mean of all trials with the half that is part of it. Circular.
    reliability : array
        ``full ** 2``: correlation that two independent averages of *all* trials would have.
    full : array
        Correlation of the noise-free response with the average of all trials, from
        :func:`ceiling_of_r`: the ceiling of a model that is scored against that average. Average
        it over sensors and times as the model's r is averaged: the root of an averaged reliability
        is larger than the average root. NaN where the halves do not agree.

    See Also
    --------
    split_half_ceiling : Computes it.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import split_half_ceiling
    >>> trials = np.random.default_rng(0).standard_normal((20, 1, 3, 4)).repeat(4, axis=1)
    >>> split_half_ceiling(trials, n_splits=2).lower.round(6).min()  # trials without noise
    np.float64(1.0)
    """

    lower: np.ndarray
    upper: np.ndarray
    reliability: np.ndarray
    full: np.ndarray


class NoiseSignal(NamedTuple):
    """Signal and noise of single trials, each of shape (n_channels, n_times).

    Attributes
    ----------
    ncsnr : array
        ``signal_sd / noise_sd``.
    signal_sd : array
        Standard deviation over images of the noise-free response, in the unit of the data.
    noise_sd : array
        Standard deviation over trials of one image, in the unit of the data.

    See Also
    --------
    ncsnr : Computes it.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import ncsnr
    >>> trials = np.array([[0.0, 2.0], [10.0, 12.0]]).reshape(2, 2, 1, 1)
    >>> ncsnr(trials).noise_sd.round(3)
    array([[1.414]])
    """

    ncsnr: np.ndarray
    signal_sd: np.ndarray
    noise_sd: np.ndarray


def random_halves(
    n_trials: Sequence[int], random_state: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Cut the trials of every image into two halves at random, the first of them the smaller."""
    orders = [random_state.permutation(n) for n in n_trials]
    return [(order[: len(order) // 2], order[len(order) // 2 :]) for order in orders]


def split_half_ceiling(
    trials: np.ndarray | list[np.ndarray],
    *,
    n_splits: int = 100,
    random_state: int | np.random.Generator = 0,
) -> SplitHalf:
    r"""Noise ceiling of r across images, from random halves of the trials.

    For each split, ``lower`` is r(half A, half B) and ``upper`` r(all, half A), both averaged over
    splits. A model compared with them is scored against half A too. ``upper`` is circular, and a
    model without noise can exceed ``lower``: neither is a hard limit.

    .. math::

        \rho = \frac{2 r_{AB}}{1 + r_{AB}}, \qquad r_\text{full} = \sqrt{\rho}

    Parameters
    ----------
    trials : array, shape (n_images, n_trials, n_channels, n_times) | list of array
        The real trials of each image, at least two of each. A list holds one array of shape
        (n_trials, n_channels, n_times) per image, and numbers of trials may differ.
    n_splits : int, default 100
        How many random splits.
    random_state : int | numpy.random.Generator, default 0
        Where the splits come from.

    Returns
    -------
    SplitHalf
        The ceilings: ``lower``, ``upper``, ``reliability``, ``full``.

    Raises
    ------
    ValueError
        If an image has fewer than two trials or there are fewer than three images.

    See Also
    --------
    ceiling_of_r : The ceiling alone.
    normalized_r : r as a share of it.
    ncsnr : The ceiling from variances.

    References
    ----------
    Gifford et al. (2022), NeuroImage 264.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import split_half_ceiling
    >>> rng = np.random.default_rng(0)
    >>> response = rng.standard_normal((200, 1, 1, 2))
    >>> trials = response + 2 * rng.standard_normal((200, 4, 1, 2))  # averages: as much noise
    >>> ceiling = split_half_ceiling(trials, n_splits=20)
    >>> np.abs(ceiling.full - np.sqrt(0.5)).max() < 0.1
    np.True_
    """
    trials = check_trials(trials, min_trials=2)
    if len(trials) < 3:
        raise ValueError(f"{len(trials)} image(s) given; a ceiling across images needs three.")
    rng = np.random.default_rng(random_state)
    lower, upper = correlate_halves(trials, n_splits, rng)
    full = ceiling_of_r(trials, random_state=rng)
    return SplitHalf(lower, upper, full**2, full)


def correlate_halves(
    trials: list[np.ndarray], n_splits: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean r of one half with the other and with all, each (n_channels, n_times)."""
    splits = [random_halves([len(t) for t in trials], rng) for _ in range(n_splits)]
    sides = [
        [
            averager([split[image][side] for split in splits], len(t))
            for image, t in enumerate(trials)
        ]
        for side in (0, 1)
    ]
    lower, upper = np.zeros((2, *trials[0].shape[1:]))
    for channel in progress_bar(range(len(lower)), "Noise ceiling"):
        of_channel = [t[:, channel] for t in trials]
        everything = centred(np.stack([y.mean(axis=0, keepdims=True) for y in of_channel]))
        one, other = (
            centred(np.stack([a @ y for a, y in zip(side, of_channel, strict=True)]))
            for side in sides
        )
        lower[channel] = correlate_centred(one, other).mean(axis=0)
        upper[channel] = correlate_centred(one, everything).mean(axis=0)
    return lower, upper


def averager(chosen: list[np.ndarray], n_trials: int) -> np.ndarray:
    """Return the matrix, (n_averages, n_trials), that averages the chosen trials each time."""
    weights = np.zeros((len(chosen), n_trials))
    for row, trials in zip(weights, chosen, strict=True):
        row[trials] = 1 / len(trials)
    return weights


def spearman_brown(r: float | np.ndarray, factor: float = 2.0) -> float | np.ndarray:
    r"""Correlation of averages ``factor`` times as long: :math:`k r / (1 + (k - 1) r)`.

    Parameters
    ----------
    r : float | array
        The correlation of two averages.
    factor : float, default 2.0
        How many times as many trials the longer averages have; 2 goes from halves to all trials.

    Returns
    -------
    float | array
        The correlation of two averages that are ``factor`` times as long. NaN where ``r`` is below
        zero: averages that disagree say nothing of longer ones.

    See Also
    --------
    split_half_ceiling : Uses it.

    References
    ----------
    Spearman (1910) and Brown (1910), British Journal of Psychology 3.

    Examples
    --------
    >>> from mne_img2brain.metrics import spearman_brown
    >>> round(float(spearman_brown(0.5)), 3)
    0.667
    """
    r = np.asarray(r, float)
    r = np.where(r < 0, np.nan, r)
    return factor * r / (1 + (factor - 1) * r)


def ncsnr(trials: np.ndarray | list[np.ndarray]) -> NoiseSignal:
    r"""Noise-ceiling signal-to-noise ratio, after THINGS-MEG and NSD.

    .. math::

        \sigma^2_\text{noise} = \frac{1}{N}\sum_i \mathrm{Var}_k(y_{ik}), \quad
        \sigma^2_\text{signal} = \max(0, \mathrm{Var}_{ik}(y_{ik}) - \sigma^2_\text{noise}), \quad
        \mathrm{ncsnr} = \sigma_\text{signal} / \sigma_\text{noise}

    where :math:`k` counts the trials of image :math:`i`; variances have ddof 1.

    Parameters
    ----------
    trials : array, shape (n_images, n_trials, n_channels, n_times) | list of array
        The real trials of each image, at least two of each.

    Returns
    -------
    NoiseSignal
        ``ncsnr``, ``signal_sd`` and ``noise_sd``, of shape (n_channels, n_times).

    See Also
    --------
    ceiling_r2 : The share of variance that a model can explain.
    split_half_ceiling : The ceiling from correlations.

    References
    ----------
    Hebart et al. (2023), THINGS-data, eLife 12; Allen et al. (2022), Nature Neuroscience 25.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import ncsnr
    >>> rng = np.random.default_rng(0)
    >>> response = rng.standard_normal((500, 1, 1, 1))
    >>> found = ncsnr(response + 2 * rng.standard_normal((500, 4, 1, 1)))
    >>> 0.4 < found.ncsnr.item() < 0.6
    True
    """
    trials = check_trials(trials, min_trials=2)
    variance = np.stack([of_image.var(axis=0, ddof=1) for of_image in trials])
    mean = np.stack([of_image.mean(axis=0) for of_image in trials])
    n, noise = np.array([len(of_image) for of_image in trials]), variance.mean(axis=0)
    between = np.square(mean - np.average(mean, axis=0, weights=n))
    total = (np.tensordot(n - 1, variance, 1) + np.tensordot(n, between, 1)) / (n.sum() - 1)
    signal_sd, noise_sd = np.sqrt(np.clip(total - noise, 0, None)), np.sqrt(noise)
    ratio = np.divide(signal_sd, noise_sd, out=np.full_like(noise, np.inf), where=noise_sd > 0)
    return NoiseSignal(ratio, signal_sd, noise_sd)


def ceiling_r2(ncsnr: float | np.ndarray, n_averaged: int) -> float | np.ndarray:
    r"""Share of variance that is signal: :math:`\mathrm{ncsnr}^2 / (\mathrm{ncsnr}^2 + 1/n)`.

    This is the ceiling of :math:`R^2`, *not* of r; its square root is the ceiling of r. Mixing the
    two squares a ceiling twice.

    Parameters
    ----------
    ncsnr : float | array
        The ratio of :func:`ncsnr`.
    n_averaged : int
        How many trials are averaged in the data that the model is scored against.

    Returns
    -------
    float | array
        The ceiling of :math:`R^2`, between 0 and 1.

    See Also
    --------
    ncsnr : The ratio.

    Examples
    --------
    >>> from mne_img2brain.metrics import ceiling_r2
    >>> float(ceiling_r2(0.5, n_averaged=4))
    0.5
    """
    squared = np.asarray(ncsnr, float) ** 2
    share = np.ones_like(squared)
    return np.divide(squared, squared + 1.0 / n_averaged, out=share, where=np.isfinite(squared))
