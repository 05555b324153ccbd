"""Whether one can tell that a trial was in the fit."""

from typing import NamedTuple

import numpy as np
from sklearn.metrics import roc_auc_score

_FLOOR = 1e-5  # of the variance of the first component: what is below is rounding


class Membership(NamedTuple):
    """How well what a model gives away separates trials of the fit from others; 0.5 is chance.

    Attributes
    ----------
    distance : float
        By their distance from the expected response of their image.
    covariance : float
        By their Mahalanobis distance from it, with the covariance of draws.
    nearest : float
        By their correlation with the draw that is most like them.
    error : float
        The standard error of an AUC of so many trials by chance.

    See Also
    --------
    membership_auc : Computes it.

    Examples
    --------
    >>> from mne_img2brain.metrics import Membership
    >>> found = Membership(distance=0.51, covariance=0.9, nearest=0.5, error=0.02)
    >>> [name for name in found._fields[:3] if getattr(found, name) > 0.5 + 2 * found.error]
    ['covariance']
    """

    distance: float
    covariance: float
    nearest: float
    error: float


def membership_auc(members: np.ndarray, others: np.ndarray, draws: np.ndarray) -> Membership:
    r"""Separate trials that a model was fitted to from trials that it was not, by three attacks.

    All trials are given without the expected response of their image,
    :math:`e = y - \mu(\text{image})`. With :math:`W` what whitens draws, the scores are
    :math:`-\lVert e \rVert` with sensors scaled, :math:`-\lVert W e \rVert`, and
    :math:`\max_k |\cos(W e, W d_k)|` over draws :math:`d_k`.

    Parameters
    ----------
    members : array, shape (n_members, n_channels, n_times)
        Trials of the fit, less ``predict`` for their images.
    others : array, shape (n_others, n_channels, n_times)
        Trials of the same people and images that were not in the fit, less the same.
    draws : array, shape (n_draws, n_channels, n_times)
        What ``sample`` draws for these images, less the same; several times as many as an epoch
        has values, or all three attacks are blunt.

    Returns
    -------
    Membership
        The area under the ROC curve of each attack.

    Raises
    ------
    ValueError
        If there are fewer than two trials or draws of a kind, or they differ in shape.

    See Also
    --------
    nearest_distance : Whether draws are copies of trials.

    References
    ----------
    Shokri et al. (2017), Membership inference attacks against machine learning models.

    Examples
    --------
    A model that draws its training trials once more gives them away:

    >>> import numpy as np
    >>> from mne_img2brain.metrics import membership_auc
    >>> rng = np.random.default_rng(0)
    >>> members, others = rng.standard_normal((2, 40, 2, 5))
    >>> draws = members[rng.integers(40, size=200)] + 0.1 * rng.standard_normal((200, 2, 5))
    >>> membership_auc(members, others, draws).nearest
    1.0
    """
    given = {"members": members, "others": others, "draws": draws}
    kinds = [np.asarray(trials, dtype=float) for trials in given.values()]
    for name, trials in zip(given, kinds, strict=True):
        if trials.ndim != 3 or len(trials) < 2 or trials.shape[1:] != kinds[0].shape[1:]:
            raise ValueError(
                f"{name} has shape {trials.shape}; give at least two trials, of shape (n, "
                f"n_channels, n_times), the last two as in members, {kinds[0].shape[1:]}."
            )
    scale = kinds[2].std(axis=(0, 2))[:, None]
    scale = np.where(scale > 0, scale, 1.0)
    trials = np.concatenate(kinds[:2]) / scale
    trials, drawn = trials.reshape(len(trials), -1), (kinds[2] / scale).reshape(len(draws), -1)
    _, size, axes = np.linalg.svd(drawn, full_matrices=False)
    kept = np.square(size) > _FLOOR * size[0] ** 2
    whitener = axes[kept].T / size[kept]
    white, white_draws = trials @ whitener, drawn @ whitener
    likeness = np.abs(_unit(white) @ _unit(white_draws).T).max(axis=1)
    is_member = np.arange(len(trials)) < len(members)
    n, m = len(members), len(others)
    scores = (-np.linalg.norm(trials, axis=1), -np.linalg.norm(white, axis=1), likeness)
    distance, covariance, nearest = (float(roc_auc_score(is_member, score)) for score in scores)
    return Membership(distance, covariance, nearest, ((n + m + 1) / (12 * n * m)) ** 0.5)


def _unit(x: np.ndarray) -> np.ndarray:
    """Scale rows to length one."""
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.finfo(float).tiny)
