"""Whether the spread of draws says how far real trials are from the prediction."""

import numpy as np
from scipy.spatial.distance import cdist

from .._parameters import Number, check_given
from ._shapes import check_pair


def coverage(
    draws: np.ndarray | list[np.ndarray],
    trials: np.ndarray | list[np.ndarray],
    *,
    level: float = 0.9,
    per_image: bool = False,
) -> np.ndarray:
    r"""Share of real trials inside the central interval of the draws.

    The ends of the interval are the draws of rank :math:`p (n + 1)`, interpolated
    (``method="weibull"`` of :func:`numpy.quantile`). A real trial that is exchangeable with
    :math:`n` draws is then inside with probability ``level`` exactly, whatever the distribution;
    with the default quantiles it would be 0.891 instead of 0.9 for 200 draws.

    Parameters
    ----------
    draws, trials : array, shape (n_images, n_trials, n_channels, n_times) | list of array
        Generated and real trials of the same images. Fewer than ``2 / (1 - level) - 1`` draws do
        not reach the tails.
    level : float, default 0.9
        The content of the interval.
    per_image : bool, default False
        Whether to keep images apart.

    Returns
    -------
    array, shape (n_channels, n_times) | (n_images, n_channels, n_times)
        The share of trials inside, which is ``level`` where draws are calibrated.

    Raises
    ------
    ValueError
        If there are too few draws for the level.

    See Also
    --------
    rank_histogram : All levels at once.
    crps : A score of calibration and sharpness.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import coverage
    >>> rng = np.random.default_rng(0)
    >>> draws = rng.standard_normal((4, 50, 1, 2))  # images, draws, channels, times
    >>> trials = rng.standard_normal((4, 500, 1, 2))
    >>> np.abs(coverage(draws, trials, level=0.9) - 0.9).max() < 0.05
    np.True_
    """
    check_given(level=(level, Number(0, 1, closed="neither")))
    needed = int(np.ceil(2 / (1 - level) - 1 - 1e-9))
    draws, trials = check_pair(draws, trials, needed)
    tails = [(1 - level) / 2, (1 + level) / 2]
    inside = []
    for generated, real in zip(draws, trials, strict=True):
        low, high = np.quantile(generated, tails, axis=0, method="weibull")
        inside.append(((real >= low) & (real <= high)).mean(axis=0))
    inside = np.stack(inside)
    return inside if per_image else inside.mean(axis=0)


def rank_histogram(
    draws: np.ndarray | list[np.ndarray],
    trials: np.ndarray | list[np.ndarray],
    *,
    n_bins: int | None = None,
    random_state: int | np.random.Generator = 0,
) -> np.ndarray:
    """Count the ranks of real values among the draws.

    Flat where draws are calibrated, a U where they vary too little, a hill where too much, a slope
    where their mean is off. Ranks are pooled over images, trials, sensors and times.

    Parameters
    ----------
    draws, trials : array, shape (n_images, n_trials, n_channels, n_times) | list of array
        Generated and real trials of the same images; as many draws for every image.
    n_bins : int | None, default None
        How many bins the ``n_draws + 1`` ranks are gathered into, a divisor of that number.
        ``None`` is one bin per rank.
    random_state : int | numpy.random.Generator, default 0
        What breaks ties between a real value and draws.

    Returns
    -------
    counts : array of int, shape (n_bins,)
        How often a real value fell into each bin.

    See Also
    --------
    coverage : The share of real trials inside one interval.
    mne_img2brain.viz.plot_calibration : Plot it.

    References
    ----------
    Hamill (2001), Interpretation of rank histograms for verifying ensemble forecasts, Monthly
    Weather Review 129.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import rank_histogram
    >>> draws = np.array([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1)
    >>> trials = np.array([0.5, 2.5, 2.6]).reshape(1, 3, 1, 1)
    >>> rank_histogram(draws, trials).tolist()
    [1, 0, 2, 0]
    """
    draws, trials = check_pair(draws, trials)
    n_draws = len(draws[0])
    if any(len(generated) != n_draws for generated in draws):
        raise ValueError("rank_histogram needs the same number of draws for every image.")
    n_bins = n_draws + 1 if n_bins is None else n_bins
    if (n_draws + 1) % n_bins:
        raise ValueError(
            f"n_bins={n_bins} does not divide the {n_draws + 1} ranks that {n_draws} draws have; "
            "bins would hold unequal numbers of ranks."
        )
    rng = np.random.default_rng(random_state)
    counts = np.zeros(n_draws + 1, int)
    for generated, real in zip(draws, trials, strict=True):
        for trial in real:
            below = (generated < trial).sum(axis=0)
            equal = (generated == trial).sum(axis=0)
            counts += np.bincount(
                (below + rng.integers(0, equal + 1)).ravel(), minlength=len(counts)
            )
    return counts.reshape(n_bins, -1).sum(axis=1)


def crps(
    draws: np.ndarray | list[np.ndarray],
    trials: np.ndarray | list[np.ndarray],
    *,
    per_image: bool = False,
) -> np.ndarray:
    r"""Score each sensor and time by the continuous ranked probability score.

    .. math::

        \mathrm{CRPS} = \mathrm{E}|X - y| - \tfrac{1}{2}\,\mathrm{E}|X - X'|

    in its fair form: the second mean runs over pairs of different draws, so that the expectation
    does not depend on their number. Draws are sorted, which makes the cost n log n.

    Parameters
    ----------
    draws, trials : array, shape (n_images, n_trials, n_channels, n_times) | list of array
        Generated trials, at least two of each image, and real ones.
    per_image : bool, default False
        Whether to keep images apart.

    Returns
    -------
    array, shape (n_channels, n_times) | (n_images, n_channels, n_times)
        The score, in the unit of the data; smaller is better.

    See Also
    --------
    energy_score : The score of whole trials.
    coverage : Calibration alone.

    References
    ----------
    Gneiting and Raftery (2007), Strictly proper scoring rules, prediction, and estimation, JASA
    102; Ferro (2014), Fair scores for ensemble forecasts, QJRMS 140.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import crps
    >>> draws = np.array([0.0, 2.0]).reshape(1, 2, 1, 1)  # 1 image, 2 draws, 1 channel, 1 time
    >>> crps(draws, np.full((1, 1, 1, 1), 5.0))  # mean of 5 and 3, less half of 2
    array([[3.]])
    """
    draws, trials = check_pair(draws, trials, 2)
    scores = []
    for generated, real in zip(draws, trials, strict=True):
        n_draws = len(generated)
        # sum over pairs of |x_i - x_j| = 2 sum_k (2k - n - 1) x_(k)
        weights = 2 * np.arange(1, n_draws + 1) - n_draws - 1
        spread = np.tensordot(weights, np.sort(generated, axis=0), axes=1)
        spread /= n_draws * (n_draws - 1)
        error = np.mean([np.abs(generated - trial).mean(axis=0) for trial in real], axis=0)
        scores.append(error - spread)
    scores = np.stack(scores)
    return scores if per_image else scores.mean(axis=0)


def energy_score(
    draws: np.ndarray | list[np.ndarray],
    trials: np.ndarray | list[np.ndarray],
    *,
    scale: np.ndarray | None = None,
) -> float:
    r"""Energy score of whole trials, a proper score of the joint distribution.

    .. math::

        \mathrm{ES} = \mathrm{E}\lVert X - y \rVert - \tfrac{1}{2}\,\mathrm{E}\lVert X - X' \rVert

    with the norm over sensors and times together, and fair as in :func:`crps`.

    Parameters
    ----------
    draws, trials : array, shape (n_images, n_trials, n_channels, n_times) | list of array
        Generated trials, at least two of each image, and real ones.
    scale : array, shape (n_channels,) | None, default None
        What each sensor is divided by first, needed where sensors have different units.

    Returns
    -------
    float
        The score; smaller is better.

    See Also
    --------
    crps : The score of each channel and time.

    References
    ----------
    Gneiting and Raftery (2007), Strictly proper scoring rules, prediction, and estimation, JASA
    102.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import energy_score
    >>> draws = np.array([[0.0, 0.0], [6.0, 8.0]]).reshape(1, 2, 2, 1)
    >>> energy_score(draws, np.zeros((1, 1, 2, 1)))  # mean of 0 and 10, less half of 10
    0.0
    """
    return float(energy_score_by_image(draws, trials, scale=scale).mean())


def energy_score_by_image(
    draws: list[np.ndarray] | np.ndarray,
    trials: list[np.ndarray] | np.ndarray,
    *,
    scale: np.ndarray | None = None,
) -> np.ndarray:
    """Energy score of the trials of each image, shape (n_images,)."""
    draws, trials = check_pair(draws, trials, 2)
    scale = np.ones(draws[0].shape[1]) if scale is None else np.asarray(scale, float)
    scores = []
    for generated, real in zip(draws, trials, strict=True):
        generated, real = ((y / scale[:, None]).reshape(len(y), -1) for y in (generated, real))
        n_draws = len(generated)
        spread = cdist(generated, generated).sum() / (n_draws * (n_draws - 1))
        scores.append(cdist(generated, real).mean() - spread / 2)
    return np.array(scores)
