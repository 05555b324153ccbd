"""How many real trials a prediction is worth."""

from typing import NamedTuple

import numpy as np

from .._log import progress_bar
from ._shapes import check_trials
from .accuracy import centred, correlate_centred
from .noise_ceiling import averager, random_halves


class EquivalentTrials(NamedTuple):
    """How many real trials a prediction is worth.

    Attributes
    ----------
    n_trials : float
        The number of trials whose average predicts held-out trials as well as the model does; 0 for
        a model without any r, infinite for one above what any number of trials would reach, NaN
        where trials themselves predict nothing.
    r_model : float
        The model's r with the held-out average.
    r_trials : array, shape (n_counts,)
        The r of the average of 1, 2, ... trials with the same held-out average.

    See Also
    --------
    equivalent_trials : Computes it.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import equivalent_trials
    >>> trials = np.random.default_rng(0).standard_normal((20, 10, 3, 4))
    >>> len(equivalent_trials(trials.mean(axis=1), trials).r_trials)  # of averages of 1 to 5
    5
    """

    n_trials: float
    r_model: float
    r_trials: np.ndarray


def equivalent_trials(
    y_pred: np.ndarray,
    trials: np.ndarray | list[np.ndarray],
    *,
    mask: np.ndarray | None = None,
    n_splits: int = 20,
    random_state: int | np.random.Generator = 0,
) -> EquivalentTrials:
    r"""How many real trials must be averaged to predict as well as the model.

    Half the trials of every image are held out and averaged. The r across images with that average,
    its mean over sensors and times, is measured for the model and for averages of
    :math:`k = 1, 2, \dots` of the remaining trials, over ``n_splits`` random halves. The number is
    read off :math:`r_k = a \sqrt{k / (k + b)}`, which is what independent trials of equal noise
    follow: :math:`k / r_k^2` is a straight line, fitted to the measured points.

    Parameters
    ----------
    y_pred : array, shape (n_images, n_channels, n_times)
        The predicted responses.
    trials : array, shape (n_images, n_trials, n_channels, n_times) | list of array
        The real trials, at least four of each image.
    mask : array of bool, shape (n_times,) | None, default None
        The times that count.
    n_splits : int, default 20
        How many random halves.
    random_state : int | numpy.random.Generator, default 0
        Where the halves come from.

    Returns
    -------
    EquivalentTrials
        ``n_trials``, ``r_model`` and ``r_trials``.

    See Also
    --------
    ceiling_of_r : The r of a prediction without error.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import equivalent_trials
    >>> rng = np.random.default_rng(0)
    >>> response = rng.standard_normal((100, 3, 4))
    >>> trials = response[:, None] + 2 * rng.standard_normal((100, 10, 3, 4))
    >>> predicted = response + rng.standard_normal((100, 3, 4))  # noise of 4 averaged trials
    >>> worth = equivalent_trials(predicted, trials)
    >>> 3 < worth.n_trials < 5
    True
    """
    trials = check_trials(trials, min_trials=4, n_images=len(y_pred))
    y_pred = np.asarray(y_pred, float)
    mask = slice(None) if mask is None else mask
    rng = np.random.default_rng(random_state)
    n_trials = [len(of_image) for of_image in trials]
    counts = np.arange(1, min(n_trials) // 2 + 1)
    splits = [random_halves(n_trials, rng) for _ in range(n_splits)]
    # of each split the trials held out, then the first 1, 2, ... of the others
    averages = [
        averager([c for a, b in halves for c in (b, *(a[:count] for count in counts))], n)
        for n, halves in zip(n_trials, zip(*splits, strict=True), strict=True)
    ]
    r = np.zeros((n_splits, 1 + len(counts)))  # of the prediction, and of 1, 2, ... trials
    n_cells = np.zeros((n_splits, 1))
    for channel in progress_bar(range(y_pred.shape[1]), "Equivalent trials"):
        products = [a @ t[:, channel][:, mask] for a, t in zip(averages, trials, strict=True)]
        means = np.stack(products).reshape(len(trials), n_splits, 1 + len(counts), -1)
        held_out = centred(means[:, :, :1])
        others = y_pred[:, channel][:, None, None, mask], means[:, :, 1:]
        of_cells = [correlate_centred(held_out, centred(other)) for other in others]
        r += np.nansum(np.concatenate(of_cells, axis=1), axis=2)
        n_cells += np.isfinite(of_cells[0]).sum(axis=2)
    r_model, *r_trials = (r / n_cells).mean(axis=0)
    r_trials = np.array(r_trials)
    return EquivalentTrials(_invert(r_model, counts, r_trials), float(r_model), r_trials)


def _invert(r: float, counts: np.ndarray, r_trials: np.ndarray) -> float:
    """Read the number of trials for ``r`` off the curve through the measured points.

    k / r_k^2 = (k + b) / a^2 is a straight line in k.
    """
    if r <= 0:
        return 0.0
    usable = r_trials > 0
    if usable.sum() < 2:
        return float("nan")
    squared = r_trials[usable] ** 2
    slope, intercept = np.polyfit(counts[usable], counts[usable] / squared, 1, w=squared)
    slope, intercept = max(slope, 0.0), max(intercept, 0.0)
    return float(intercept * r**2 / (1 - slope * r**2)) if slope * r**2 < 1 else float("inf")
