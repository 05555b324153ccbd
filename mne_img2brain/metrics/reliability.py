"""How much of what is recorded is the response to the image, where trials are few."""

from collections.abc import Iterable
from itertools import islice

import numpy as np
from numpy.polynomial.hermite_e import hermegauss

from ._shapes import check_trials

# Signal-to-noise ratios that a sensor may have, the least as a share of their mean; how far single
# cells may be from their sensor and time (SD of the log).
_N_LEVELS, _LEAST = 50, 0.05
_SPREADS = (0.0, 0.4, 0.8, 1.4)
_NODES, _WEIGHTS = hermegauss(5)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
_N_ITERATIONS = 25  # more would part what the ratios hardly tell apart
_MOST_CELLS = 100  # of a row, to learn its level
_LEVEL = 0.01


def noise_variance(
    trials: Iterable[np.ndarray], weights: list[np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray, int]:
    """Variance of the noise of a single trial, and what is left of it in the mean of an image.

    weights: of how many trials each row of each image is the average.
    Returns the variance around the mean of an image, pooled over images; for each image one over
        the number of its trials; and the degrees of freedom of the variance.
    """
    df, squares, left = 0, np.zeros(()), []
    for index, of_image in enumerate(trials):
        weight = np.ones(len(of_image)) if weights is None else weights[index]
        deviation = of_image - np.average(of_image, axis=0, weights=weight)
        squares = squares + np.tensordot(weight, deviation**2, axes=1)
        df += len(of_image) - 1
        left.append(1 / weight.sum())
    return squares / max(df, 1), np.array(left), df


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
    is mostly noise: the root of each cell's own estimate, averaged, is far off, most of all where
    sensors know nothing. So it is learnt first, by maximum likelihood (:math:`(1 - \rho) F` has
    Fisher's distribution), how sensors and times differ, with a preference for sensors without any
    signal to those with a little, and a cell gets the mean of what is then possible:
    nonparametric empirical Bayes. The mean over cells is the ceiling of the mean r; single cells
    are drawn to their like.

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
        ceiling = np.where(cells, _posterior_mean(ratio, trials, df), ceiling)
    return ceiling


def _posterior_mean(ratio: np.ndarray, trials: list[np.ndarray], df_noise: int) -> np.ndarray:
    """Return the expected ceiling of every cell, given the F ratios of all, (n_channels, n_times).

    The signal-to-noise ratio of a cell is that of its sensor, times a profile over time, times what
    is left, log-normal. The distributions over sensors and over times are learnt, with an atom at
    zero and nothing just above it: the root of a little would not be little.
    """
    used = np.isfinite(ratio)
    df = len(trials) - 1, df_noise
    # F has mean df / (df - 2) where there is no signal.
    mean = max(ratio[used].mean() * max(df_noise - 2, 1) / df_noise - 1, 1e-3)
    grid = np.geomspace(_LEAST * mean, max(500.0, 10 * mean), _N_LEVELS - 1)
    grid = np.concatenate([[0.0], grid])
    rows = (row for t in trials if len(t) > 1 for row in t - t.mean(axis=0))
    noise = np.stack(list(islice(rows, 1000)))
    over_times, over_sensors = (
        _share_of_independent(n, df_noise) for n in (noise, noise.swapaxes(1, 2))
    )
    profile = np.ones(ratio.shape[1])
    for step in range(2):
        models = [
            _mixture(_log_likelihood(ratio, grid, profile, spread, df, over_times))
            for spread in _SPREADS
        ]
        evidence = np.array([total for _, total in models]) * over_sensors
        weight = np.exp(evidence - evidence.max())
        if step == 0:
            best = int(weight.argmax())
            sensors = _relative(models[best][0] @ grid)
            like = _log_likelihood(ratio.T, grid, sensors, _SPREADS[best], df, over_sensors)
            profile = _relative(_mixture(like)[0] @ grid)
    weight /= weight.sum()
    expected = np.zeros(ratio.shape)
    for (of_sensor, _), spread, of_model in zip(models, _SPREADS, weight, strict=True):
        for level, share in zip(grid, of_model * of_sensor.T, strict=True):
            rows = share > 1e-4
            possible = level * profile * np.exp(spread * _NODES[:, None, None])
            density = _log_density(ratio[rows], possible, df)
            density = _WEIGHTS[:, None, None] * np.exp(density - density.max(axis=0))
            root = np.sqrt(possible / (1 + possible))
            expected[rows] += share[rows, None] * (density * root).sum(axis=0) / density.sum(axis=0)
    return np.where(used, expected, np.nan)


def _relative(levels: np.ndarray) -> np.ndarray:
    """Divide by the mean, which may be 0."""
    return levels / max(levels.mean(), 1e-12)


def _share_of_independent(noise: np.ndarray, df: int) -> float:
    """Return how many independent cells a row is worth, as a share; (n_trials, n_rows, n_cells).

    F ratios of two cells are correlated as the square of their noise.
    """
    some = np.moveaxis(noise[:, :: -(-noise.shape[1] // 16)], 1, 0)
    some = some / np.sqrt((some**2).sum(axis=1, keepdims=True) + 1e-300)
    n = some.shape[2]
    squares = ((some.swapaxes(1, 2) @ some) ** 2).sum() / len(some)
    together = squares - n - n * (n - 1) / min(df, len(noise))
    return n / (n + max(0.0, together))


def _log_density(ratio: np.ndarray, level: np.ndarray, df: tuple[int, int]) -> np.ndarray:
    """Log density of F ratios where image means vary by 1 + level times their noise, but a factor.

    0 where there is no ratio.
    """
    k, m = df
    x = np.maximum(ratio, 1e-12) / (1 + level)
    return np.nan_to_num(k / 2 * np.log(x) - (k + m) / 2 * np.log1p(k * x / m))


def _log_likelihood(
    ratio: np.ndarray, grid: np.ndarray, profile: np.ndarray, spread: float, df: tuple[int, int],
    independent: float,
) -> np.ndarray:  # fmt: skip
    """Log-likelihood of each row under each level of the grid, shape (n_rows, n_levels)."""
    step = -(-ratio.shape[1] // _MOST_CELLS)
    ratio, profile = ratio[:, ::step], profile[::step]
    like = np.zeros((len(ratio), len(grid)))
    nodes = np.exp(spread * _NODES[:, None, None]) if spread else np.ones((1, 1, 1))
    weights = _WEIGHTS if spread else np.ones(1)
    for column, level in enumerate(grid):
        each = _log_density(ratio, level * profile * nodes, df)
        top = each.max(axis=0)
        each = top + np.log(np.tensordot(weights, np.exp(each - top), axes=1))
        like[:, column] = each.sum(axis=1)
    return like * min(1.0, independent * step)


def _mixture(like: np.ndarray) -> tuple[np.ndarray, float]:
    """Learn how levels are distributed over rows.

    Returns the posterior, shape (n_rows, n_levels), and the log-likelihood.
    """
    top = like.max(axis=1, keepdims=True)
    density = np.exp(like - top)
    prior = np.full(like.shape[1], 0.1 / like.shape[1])
    prior[0] += 0.6
    weight = np.full(like.shape[1], 0.5 / (like.shape[1] - 1))
    weight[0] = 0.5
    for _ in range(_N_ITERATIONS):
        share = density * weight
        weight = prior + (share / share.sum(axis=1, keepdims=True)).sum(axis=0)
        weight /= weight.sum()
    share = density * weight
    total = share.sum(axis=1, keepdims=True)
    return share / total, float((np.log(total) + top).sum())


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
