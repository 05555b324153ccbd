"""Whether predictions of left-out images follow the responses at all."""

from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

from .._lazy import LazyTrials
from .._linalg import average_rows

#: Above this probability under chance nothing counts as learnt.
LEVEL = 0.01
_N_PERMUTATIONS = 999
_BATCH = 500
_MOST_IMAGES = 500


class CrossValidated(NamedTuple):
    """What cross-validation within a fit shows.

    Attributes
    ----------
    r : float
        Correlation across left-out images, the mean over sensors and times.
    p_value : float
        How probable such a correlation is where images have nothing to do with responses.

    See Also
    --------
    cross_validated_r : Computes it.

    Examples
    --------
    >>> from mne_img2brain.metrics import CrossValidated
    >>> r, p_value = CrossValidated(r=0.12, p_value=0.003)
    >>> r
    0.12
    """

    r: float
    p_value: float


def images_at_fault(
    found: CrossValidated,
    tokens: np.ndarray,
    y: np.ndarray | LazyTrials,
    image_index: np.ndarray,
    weight: np.ndarray | None = None,
) -> str:
    """Say that nothing was learnt, where that is so.

    That is where neither the cross-validated r is above chance nor images that are alike evoke
    responses that are alike (:func:`dependence`): in one or two of a hundred fits to noise either
    is. The second looks at differences of images that r, the mean over all sensors and times,
    drowns in noise.

    Returns: the warning, empty where something was learnt or nothing is known.
    """
    if not found.p_value > LEVEL or dependence(tokens, y, image_index, weight) <= LEVEL:
        return ""
    return (
        f"These images do not predict these responses (cross-validated r = {found.r:.2f}, not "
        "above chance): check image_ids."
    )


def dependence(
    tokens: np.ndarray, y: np.ndarray | LazyTrials, image_index: np.ndarray,
    weight: np.ndarray | None = None,
) -> float:  # fmt: skip
    """Test whether images that are alike evoke responses that are alike.

    The products of standardized tokens of all pairs of images are correlated with those of their
    mean responses, in up to 32 bins of time, whitened by half of the noise of single trials
    (Hilbert-Schmidt independence criterion), and the images of the responses are permuted.

    y: NaN where a sensor is missing.
    Returns: the p-value, 1 with fewer than five images.

    References
    ----------
    Gretton et al. (2008), A kernel statistical test of independence, NeurIPS 20.
    """
    rng = np.random.default_rng(0)
    weight = np.ones(len(y)) if weight is None else np.asarray(weight, float)
    images = np.unique(image_index[weight > 0])
    if len(images) < 5:
        return 1.0
    if len(images) > _MOST_IMAGES:
        images = np.sort(rng.choice(images, _MOST_IMAGES, replace=False))
    rows = np.flatnonzero(np.isin(image_index, images) & (weight > 0))
    index = np.searchsorted(images, image_index[rows])
    of_tokens = _token_products(tokens, images)
    # An image with itself says nothing of which images are alike.
    np.fill_diagonal(of_tokens, 0.0)
    of_responses = _response_products(_binned(y, rows), index, weight[rows], rng)
    found = (of_tokens * of_responses).sum()
    as_high = 1
    for _ in range(_N_PERMUTATIONS):
        order = rng.permutation(len(images))
        as_high += (of_tokens * of_responses[np.ix_(order, order)]).sum() >= found
    return float(as_high / (_N_PERMUTATIONS + 1))


def _token_products(tokens: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Multiply the standardized tokens of all pairs of images, token by token."""
    stacked = tokens.reshape(len(tokens), -1, tokens.shape[-1])
    n_tokens = stacked.shape[1]
    total = np.zeros((len(images), len(images)))
    for token in np.unique(np.linspace(0, n_tokens - 1, min(n_tokens, 64)).astype(int)):
        part = np.nan_to_num(np.asarray(stacked[images, token], float))
        part -= part.mean(axis=0)
        sd = part.std(axis=0)
        part /= np.where(sd > 0, sd, 1.0)
        total += part @ part.T
    return total


def _binned(y: np.ndarray | LazyTrials, rows: np.ndarray) -> np.ndarray:
    """Average times in bins, missing sensors being zero: shape (n_rows, n_channels * n_bins)."""
    edges = np.unique(np.linspace(0, y.shape[-1], min(32, y.shape[-1]) + 1).astype(int))[:-1]
    sums = np.stack([np.add.reduceat(y[row], edges, axis=-1) for row in rows])
    return np.nan_to_num(sums).reshape(len(rows), -1)


def _response_products(
    y: np.ndarray, index: np.ndarray, weight: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Multiply the mean responses of all pairs of images, half of the noise being whitened."""
    mean = average_rows(y, index, weight)
    noise = (y - mean[index]) * np.sqrt(weight)[:, None]
    mean = mean - np.average(mean, axis=0)
    repeated = np.bincount(index)[index] > 1
    noise = noise[repeated] if repeated.sum() >= 20 else mean
    if len(noise) > 2 * _MOST_IMAGES:
        noise = noise[rng.choice(len(noise), 2 * _MOST_IMAGES, replace=False)]
    # Covariances of many sensors and times have few directions: those of the trials.
    values, vectors = np.linalg.eigh(noise @ noise.T / len(noise))
    kept = values > 1e-9 * max(values[-1], 1e-300)
    values, vectors = values[kept], vectors[:, kept]
    directions = noise.T @ vectors / np.sqrt(values * len(noise))
    level = values.sum() / y.shape[1]
    scores = mean @ directions
    return mean @ mean.T - (scores * (values / (values + level))) @ scores.T


def cross_validated_r(
    y: np.ndarray,
    predicted: np.ndarray,
    image_index: np.ndarray,
    fold: np.ndarray,
    weight: np.ndarray | None = None,
) -> CrossValidated:
    r"""Correlate predictions of left-out images with the responses, and compare with chance.

    Trials of an image (of an image and fold, where folds part its trials) are averaged. The mean of
    each fold is taken off first, of predictions and of responses: what is left out is missing in
    the mean of the rest, so that the means of folds correlate at below zero where nothing is
    learnt (-0.07 to -0.23 with 80 images). Of what is left, every image contributes
    :math:`s_i = \frac{1}{CT} \sum_{ct} \hat z_{ict} z_{ict}`; r is their mean, and Student's t of
    that mean over images is the test against chance. Sensors and times may depend on one another.

    Parameters
    ----------
    y : array, shape (n_trials, n_channels, n_times)
        The responses.
    predicted : array, shape (n_trials, n_channels, n_times)
        What models that have not seen the trial's fold predict.
    image_index : array of int, shape (n_trials,)
        The image of each trial.
    fold : array of int, shape (n_trials,)
        The fold that holds each trial out.
    weight : array, shape (n_trials,) | None, default None
        Of how many trials each row is the average. ``None`` is one.

    Returns
    -------
    CrossValidated
        ``r`` and ``p_value``; NaN where a fold is all there is, or folds hold one image each.

    See Also
    --------
    r_map : The correlation with new images.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import cross_validated_r
    >>> responses = np.random.default_rng(0).standard_normal((20, 2, 5))  # one trial per image
    >>> found = cross_validated_r(responses, 0.5 * responses, np.arange(20), np.arange(20) % 4)
    >>> round(found.r, 6), found.p_value < 0.001
    (1.0, True)
    """
    weight = np.ones(len(y)) if weight is None else np.asarray(weight, float)
    used = np.flatnonzero(weight > 0)
    pairs, unit = np.unique(np.stack([fold[used], image_index[used]]), axis=1, return_inverse=True)
    unit = unit.ravel()
    _, fold_of_unit = np.unique(pairs[0], return_inverse=True)
    n, n_folds = len(fold_of_unit), fold_of_unit.max() + 1
    if n_folds < 2 or n - n_folds < 2:
        return CrossValidated(np.nan, np.nan)
    flat = [np.reshape(values, (len(y), -1)) for values in (y, predicted)]
    contribution = np.zeros(n)
    for start in range(0, flat[0].shape[1], _BATCH):
        parts = [values[used, start : start + _BATCH] for values in flat]
        parts = [average_rows(part, unit, weight[used]) for part in parts]
        parts = [part - average_rows(part, fold_of_unit)[fold_of_unit] for part in parts]
        length = np.sqrt(np.prod([(part**2).sum(axis=0) for part in parts], axis=0))
        scale = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
        contribution += np.prod(parts, axis=0) @ scale
    contribution *= n / flat[0].shape[1]
    r = float(contribution.mean())
    # Taking off the mean of a fold ties its images together: degrees of freedom are fewer.
    error = contribution.std(ddof=1) / np.sqrt(n - n_folds)
    if error == 0:
        return CrossValidated(r, float(r <= 0))
    return CrossValidated(r, float(student.sf(r / error, n - n_folds)))
