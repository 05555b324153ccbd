"""How much of what is recorded is the response to the image, where trials are few."""

import numpy as np

from ._shapes import check_trials

__all__ = ["ceiling_of_r", "halves_agree", "noise_variance"]

# Ceilings that a cell may have; 1 is a recording without noise.
_GRID = np.linspace(0.0, 0.995, 100)
_N_ITERATIONS = 150
_SPREAD = 0.1
# Their distribution over sensors and times is learnt from so many quantiles.
_N_QUANTILES = 2000
_LEVEL = 0.01


def noise_variance(
    trials: list[np.ndarray], weights: list[np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray, int]:
    """Variance of the noise of a single trial, and what is left of it in the mean of an image.

    Parameters
    ----------
    trials : list of array, shape (n_trials, n_channels, n_times)
        The trials of each image; at least one image has two.
    weights : list of array, shape (n_trials,) | None
        Of how many trials each row is the average. ``None`` is one.

    Returns
    -------
    variance : array, shape (n_channels, n_times)
        Of a single trial around the mean of its image, pooled over images.
    left : array, shape (n_images,)
        The share of it that the mean of each image's trials has: one over their number.
    df : int
        The degrees of freedom of the variance.
    """
    if weights is None:
        weights = [np.ones(len(of_image)) for of_image in trials]
    df = sum(len(of_image) - 1 for of_image in trials)
    squares = np.zeros(trials[0].shape[1:])
    for of_image, weight in zip(trials, weights, strict=True):
        deviation = of_image - np.average(of_image, axis=0, weights=weight)
        squares += np.tensordot(weight, deviation**2, axes=1)
    return squares / max(df, 1), np.array([1 / weight.sum() for weight in weights]), df


def ceiling_of_r(
    trials: np.ndarray | list[np.ndarray],
    weights: list[np.ndarray] | None = None,
    *,
    random_state: int | np.random.Generator = 0,
) -> np.ndarray:
    r"""Correlation across images of the noise-free response with the mean of all trials.

    Of a cell (sensor and time) whose share of signal in the variance of the image means is
    :math:`\rho`, it is :math:`\sqrt\rho`. That share is seen through
    :math:`F = \mathrm{Var}(\text{image means}) / (\sigma^2 / n)`, which of few images or trials
    is mostly noise: the root of each cell's own estimate, averaged, is far off. So the distribution
    of ceilings over cells is learnt first, by maximum likelihood (:math:`(1 - \rho) F` has Fisher's
    distribution), and a cell gets the mean of what its :math:`F` leaves possible: nonparametric
    empirical Bayes. The mean over cells is then the ceiling of the mean r; single cells are drawn
    to their like.

    Parameters
    ----------
    trials : array, shape (n_images, n_trials, n_channels, n_times) | list of array
        The real trials of each image. Some images may have a single one.
    weights : list of array, shape (n_trials,) | None, default None
        Of how many trials each row is the average. ``None`` is one.
    random_state : int | numpy.random.Generator, default 0
        Of the permutations of :func:`halves_agree`.

    Returns
    -------
    ceiling : array, shape (n_channels, n_times)
        r, not its square: 0 to 1. NaN everywhere where the recording does not distinguish the
        images, and in cells that do not vary.

    Raises
    ------
    ValueError
        If there are fewer than three images.

    See Also
    --------
    halves_agree : Whether there is a ceiling at all.
    normalized_r : r as a share of it.
    split_half_ceiling : Other ceilings from halves.

    References
    ----------
    Efron (2014), Two modeling strategies for empirical Bayes estimation, Statistical Science 29.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import ceiling_of_r
    >>> rng = np.random.default_rng(0)
    >>> response = rng.standard_normal((50, 1, 3, 4))
    >>> trials = response + 2 * rng.standard_normal((50, 4, 3, 4))  # averages: as much noise
    >>> abs(ceiling_of_r(trials).mean() - np.sqrt(0.5)) < 0.1
    np.True_
    """
    trials = check_trials(trials)
    if len(trials) < 3:
        raise ValueError(f"{len(trials)} image(s) given; a ceiling across images needs three.")
    ceiling, ratio = (np.full(trials[0].shape[1:], np.nan) for _ in range(2))
    if not halves_agree(trials, random_state=random_state):
        return ceiling
    noise, left, df = noise_variance(trials, weights)
    mean = np.stack(
        [
            np.average(t, axis=0, weights=None if weights is None else weights[index])
            for index, t in enumerate(trials)
        ]
    )
    between, within = mean.var(axis=0, ddof=1), noise * left.mean()
    # Rounding makes the variance of equal numbers about 1e-32 of their squares, not zero.
    dust = 1e-24 * (mean**2).mean(axis=0)
    varies, noisy = between > dust, within > dust
    ceiling[varies & ~noisy] = 1.0
    cells = varies & noisy
    if cells.any():
        np.divide(between, within, out=ratio, where=cells)
        ceiling = np.where(cells, _posterior_mean(ratio, len(trials) - 1, df), ceiling)
    return ceiling


def _posterior_mean(ratio: np.ndarray, df_images: int, df_noise: int) -> np.ndarray:
    """Return the expected ceiling of every cell, given the F ratios of all.

    The distribution of ceilings starts at what profiles over sensors and over times make of them,
    and expectation-maximization parts it as far as the ratios insist. From a flat start it takes
    noise of few images for differences between cells: ceilings of equal cells were 0.06 too low for
    12 images of 2 trials (now 0.03), 0.04 for 30 (now 0.01).

    Parameters
    ----------
    ratio : array, shape (n_channels, n_times)
        F ratios, NaN where there is none.
    df_images, df_noise : int
        Degrees of freedom of their numerator and denominator.

    Returns
    -------
    array, shape (n_channels, n_times)
    """
    used = np.isfinite(ratio)
    sample = ratio[used]
    if len(sample) > _N_QUANTILES:
        sample = np.quantile(sample, (np.arange(_N_QUANTILES) + 0.5) / _N_QUANTILES)
    # F has mean df / (df - 2) where there is no signal.
    excess = ratio * max(df_noise - 2, 1) / df_noise - 1
    mean = max(excess[used].mean(), 1e-9)
    power = (_profile(excess)[:, None] * _profile(excess.T) / mean)[used]
    start = np.sqrt(power / (1 + power))
    nearest = np.rint(start / _GRID[1]).astype(int).clip(max=len(_GRID) - 1)
    counts = np.bincount(nearest, minlength=len(_GRID))
    kernel = np.exp(-((_GRID - _GRID[:, None]) ** 2) / (2 * _SPREAD**2))
    weight = counts @ (kernel / kernel.sum(axis=1, keepdims=True)) / len(start)
    weight = 0.9 * weight + 0.1 / len(_GRID)
    likelihood = _likelihood(sample, df_images, df_noise)
    for _ in range(_N_ITERATIONS):
        share = likelihood * weight
        weight = (share / share.sum(axis=1, keepdims=True)).mean(axis=0)
    expected = []
    cells = ratio[used]
    for part in np.array_split(cells, -(-len(cells) // 10_000)):
        share = _likelihood(part, df_images, df_noise) * weight
        expected.append(share @ _GRID / share.sum(axis=1))
    result = np.full(ratio.shape, np.nan)
    result[used] = np.concatenate(expected)
    return result


def _profile(excess: np.ndarray) -> np.ndarray:
    """Average over columns; of differences between rows keep what their noise does not explain."""
    known = np.isfinite(excess)
    count = known.sum(axis=1)
    filled = np.where(known, excess, 0.0)
    overall = filled.sum() / count.sum()
    rows = np.divide(filled.sum(axis=1), count, out=np.full(len(count), overall), where=count > 0)
    squares = np.where(known, (excess - rows[:, None]) ** 2, 0.0).sum(axis=1)
    noise = (squares / np.maximum(count - 1, 1) / np.maximum(count, 1)).mean()
    if len(rows) < 2:
        return np.full(len(rows), max(overall, 0.0))
    # Half more than independent cells would have, for neighbours share noise.
    kept = np.sqrt(max(0.0, 1 - 1.5 * noise / max(rows.var(ddof=1), 1e-30)))
    return np.clip(overall + kept * (rows - overall), 0, None)


def _likelihood(ratio: np.ndarray, k: int, m: int) -> np.ndarray:
    """Density of F ratios under every ceiling of the grid, up to a factor for each ratio.

    Image means vary by 1 / (1 - ceiling^2) of what their noise does.
    """
    noise = 1 - _GRID**2
    x = np.maximum(ratio[:, None], 1e-12) * noise
    log = (k / 2 - 1) * np.log(x) - (k + m) / 2 * np.log1p(k * x / m) + np.log(noise)
    return np.exp(log - log.max(axis=1, keepdims=True))


def halves_agree(
    trials: np.ndarray | list[np.ndarray],
    *,
    random_state: int | np.random.Generator = 0,
    n_permutations: int = 999,
) -> bool:
    """Tell whether a recording distinguishes its images.

    The trials of every image are cut into two parts (more where there are fewer than eight images,
    so that there is enough to permute), and the correlation across images between parts, its mean
    over sensors and times, is compared with that after the images of a part have changed places.

    Parameters
    ----------
    trials : array, shape (n_images, n_trials, n_channels, n_times) | list of array
        The real trials; images with a single one are left out.
    random_state : int | numpy.random.Generator, default 0
        Of parts and permutations.
    n_permutations : int, default 999
        How many permutations.

    Returns
    -------
    bool
        Whether the correlation is above that of all but one in a hundred permutations. False where
        fewer than three images have two trials.

    See Also
    --------
    ceiling_of_r : The noise ceiling.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import halves_agree
    >>> rng = np.random.default_rng(0)
    >>> noise = rng.standard_normal((20, 4, 3, 4))
    >>> halves_agree(noise), halves_agree(noise + rng.standard_normal((20, 1, 3, 4)))
    (False, True)
    """
    rng = np.random.default_rng(random_state)
    repeated = [of_image for of_image in trials if len(of_image) > 1]
    if len(repeated) < 3:
        return False
    # A thousand images are enough, and a matrix of all against all of them is small.
    if len(repeated) > 1000:
        repeated = [repeated[i] for i in rng.choice(len(repeated), 1000, replace=False)]
    n_parts = 2 if len(repeated) >= 8 else min(8, *(len(of_image) for of_image in repeated))
    order = [rng.permutation(len(of_image)) for of_image in repeated]
    parts = [
        np.stack([t[o[p::n_parts]].mean(axis=0).ravel() for t, o in zip(repeated, order)])  # noqa: B905
        for p in range(n_parts)
    ]
    parts = [part - part.mean(axis=0) for part in parts]
    scale = np.sqrt(sum((part**2).sum(axis=0) for part in parts))
    parts = [part / np.where(scale > 0, scale, 1.0) for part in parts]
    n = len(repeated)
    shuffled = [np.tile(np.arange(n), (n_permutations + 1, 1)) for _ in parts]
    for rows in shuffled[1:]:
        rows[1:] = rng.permuted(rows[1:], axis=1)
    agreement = np.zeros(n_permutations + 1)
    for second in range(1, n_parts):
        for first in range(second):
            product = parts[first] @ parts[second].T
            agreement += product[shuffled[first], shuffled[second]].sum(axis=1)
    # The first row is as recorded. Rounding makes equal sums differ.
    as_high = agreement >= agreement[0] - 1e-9 * np.abs(agreement).max()
    return bool(agreement[0] > 0 and as_high.mean() <= _LEVEL)
