"""Which image was seen? Recorded responses against the predicted responses of all images."""

import numpy as np
from scipy.special import gammaln

from ._shapes import check_responses


def similarity(y_true: np.ndarray, y_pred: np.ndarray, *, centre: bool = False) -> np.ndarray:
    """Correlate every recorded response with every predicted one.

    centre: whether the mean over images is taken off both first, per sensor and time. Gifford et
        al. (2022) do not; of two images it must not be: what is left of one is then minus the
        other.
    Returns r (n_recorded, n_predicted) over sensors and times; 0 where one of them is flat.
    """
    y_true, y_pred = check_responses(y_true, y_pred)
    sides = []
    for y in (y_true, y_pred):
        scale = np.sqrt((y**2).mean())
        if centre:
            y = y - y.mean(axis=0)
        flat = y.reshape(len(y), -1)
        flat = flat - flat.mean(axis=1, keepdims=True)
        length = np.sqrt((flat**2).sum(axis=1, keepdims=True))
        # What is left of equal numbers after centring is rounding: no identity is in it.
        empty = length <= 1e-12 * scale * np.sqrt(flat.shape[1])
        sides.append(np.where(empty, 0.0, flat / np.where(empty, 1.0, length)))
    return sides[0] @ sides[1].T


def identification_ranks(
    y_true: np.ndarray, y_pred: np.ndarray, *, centre: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Rank of the true image among all, for each recorded response.

    Parameters
    ----------
    y_true, y_pred : array, shape (n_images, n_channels, n_times)
        The recorded and the predicted responses.
    centre : bool, default False
        Whether the mean over images is taken off both first.

    Returns
    -------
    n_better : array of int, shape (n_images,)
        How many other images are more similar to the recorded response than the true one. The rank
        is ``1 + n_better + n_equal / 2``; by chance it is (n_images + 1) / 2 on average.
    n_equal : array of int, shape (n_images,)
        How many other images are exactly as similar.

    See Also
    --------
    top_k : Top-k accuracy from ranks.
    n_way_accuracy : Accuracy among fewer candidates.
    identification_curve : Ranks over time.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import identification_ranks
    >>> recorded = np.random.default_rng(0).standard_normal((4, 2, 5))
    >>> predicted = recorded[[0, 1, 3, 2]]  # the last two are mixed up
    >>> n_better, n_equal = identification_ranks(recorded, predicted)
    >>> n_better > 0, n_equal
    (array([False, False,  True,  True]), array([0, 0, 0, 0]))
    """
    r = similarity(y_true, y_pred, centre=centre)
    true = np.diag(r)[:, None]
    # Equal predictions have equal similarities up to the rounding of a product of matrices.
    n_better = (r > true + 1e-12).sum(axis=1)
    n_equal = (np.abs(r - true) <= 1e-12).sum(axis=1) - 1
    return n_better, n_equal


def top_k(n_better: np.ndarray, n_equal: np.ndarray, k: int) -> np.ndarray:
    """Probability that the true image is among the best ``k``, ties being broken by lot.

    Parameters
    ----------
    n_better, n_equal : array of int, shape (n_images,)
        From :func:`identification_ranks`.
    k : int
        How many guesses. Chance is ``k / n_images``.

    Returns
    -------
    array, shape (n_images,)
        One probability per image; their mean is the top-k accuracy.

    See Also
    --------
    identification_ranks : Where the ranks come from.
    n_way_accuracy : Accuracy among fewer candidates.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import top_k
    >>> n_better, n_equal = np.array([0, 1, 0]), np.array([0, 0, 1])
    >>> top_k(n_better, n_equal, 1).tolist()
    [1.0, 0.0, 0.5]
    """
    return np.clip((k - np.asarray(n_better)) / (np.asarray(n_equal) + 1.0), 0.0, 1.0)


def n_way_accuracy(n_better: np.ndarray, n_equal: np.ndarray, n_way: int) -> np.ndarray:
    r"""Top-1 accuracy if the true image stood among ``n_way - 1`` others drawn at random.

    With :math:`w` of the :math:`N - 1` others worse than the true image, it wins when all drawn
    ones are among them: :math:`\binom{w}{n - 1} / \binom{N - 1}{n - 1}`. Ties are broken by lot:
    with :math:`e` others equal, this is averaged over :math:`w, \dots, w + e`.

    Parameters
    ----------
    n_better, n_equal : array of int, shape (n_images,)
        From :func:`identification_ranks`.
    n_way : int
        The number of candidates, 2 to n_images. Chance is ``1 / n_way``.

    Returns
    -------
    array, shape (n_images,)
        One probability per image.

    See Also
    --------
    identification_ranks : Where the ranks come from.
    top_k : Accuracy among all images.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import n_way_accuracy
    >>> n_better, n_equal = np.array([0, 1, 4, 0, 0]), np.zeros(5, int)
    >>> n_way_accuracy(n_better, n_equal, 2).round(6).tolist()
    [1.0, 0.75, 0.0, 1.0, 1.0]
    """
    n_others = len(n_better) - 1
    if not 2 <= n_way <= n_others + 1:
        raise ValueError(f"n_way={n_way}; expected 2 to {n_others + 1}, the number of images.")
    draw = n_way - 1
    worse = np.arange(draw, n_others + 1)
    log_wins = gammaln(worse + 1) - gammaln(worse - draw + 1)
    log_wins -= gammaln(n_others + 1) - gammaln(n_others - draw + 1)
    wins = np.concatenate([np.zeros(draw), np.exp(log_wins)])
    below = np.concatenate([[0.0], np.cumsum(wins)])
    n_better, n_equal = np.asarray(n_better), np.asarray(n_equal)
    most = n_others - n_better
    return (below[most + 1] - below[most - n_equal]) / (n_equal + 1)


def identification_curve(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    times: np.ndarray,
    *,
    width: float = 0.05,
    step: float | None = None,
    centre: bool = False,
    k: tuple[int, ...] = (1, 5),
) -> tuple[np.ndarray, dict[int, np.ndarray], np.ndarray]:
    """Identification in a window that slides over time.

    Parameters
    ----------
    y_true, y_pred : array, shape (n_images, n_channels, n_times)
        The recorded and the predicted responses.
    times : array, shape (n_times,)
        The times, in seconds.
    width : float, default 0.05
        The width of the window, in seconds, rounded to whole samples.
    step : float | None, default None
        From one window to the next, in seconds. ``None`` is half the width.
    centre : bool, default False
        Whether the mean over images is taken off both first.
    k : tuple of int, default (1, 5)
        Which top-k accuracies.

    Returns
    -------
    centres : array, shape (n_windows,)
        The centres of the windows, in seconds.
    accuracy : dict of int to array, shape (n_windows,)
        The top-k accuracy in every window.
    mean_rank : array, shape (n_windows,)
        The mean rank in every window.

    See Also
    --------
    identification_ranks : Over all times together.
    mne_img2brain.viz.plot_identification : Plot it.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import identification_curve
    >>> rng = np.random.default_rng(0)
    >>> recorded, times = rng.standard_normal((6, 4, 20)), np.arange(20) / 100
    >>> predicted = rng.standard_normal((6, 4, 20))
    >>> predicted[..., 10:] = recorded[..., 10:]  # right from 0.1 s on
    >>> centres, accuracy, mean_rank = identification_curve(
    ...     recorded, predicted, times, width=0.1, step=0.1, k=(1,)
    ... )
    >>> len(centres), float(accuracy[1][-1]), float(mean_rank[-1])
    (2, 1.0, 1.0)
    """
    times = np.asarray(times, float)
    spacing = np.median(np.diff(times)) if len(times) > 1 else width
    n_wide = max(1, round(width / spacing))
    n_step = max(1, n_wide // 2 if step is None else round(step / spacing))
    if n_wide > len(times):
        raise ValueError(
            f"width={width} s is more than the {len(times) * spacing:g} s that the data last."
        )
    starts = np.arange(0, len(times) - n_wide + 1, n_step)
    accuracy, mean_rank = {n: [] for n in k}, []
    for start in starts:
        inside = slice(start, start + n_wide)
        better, equal = identification_ranks(
            y_true[..., inside], y_pred[..., inside], centre=centre
        )
        mean_rank.append(np.mean(1 + better + equal / 2))
        for n in k:
            accuracy[n].append(top_k(better, equal, n).mean())
    accuracy = {n: np.array(values) for n, values in accuracy.items()}
    centres = np.array([times[start : start + n_wide].mean() for start in starts])
    return centres, accuracy, np.array(mean_rank)


def pairwise_accuracy(y_true: np.ndarray, y_pred: np.ndarray, *, centre: bool = False) -> float:
    r"""Share of pairs of images that are matched the right way round.

    A pair is right where :math:`r_{ii} + r_{jj} > r_{ij} + r_{ji}`; a tie is half right. Chance is
    0.5. For sets too small for identification.

    Parameters
    ----------
    y_true, y_pred : array, shape (n_images, n_channels, n_times)
        The recorded and the predicted responses, of at least two images.
    centre : bool, default False
        Whether the mean over images is taken off both first.

    Returns
    -------
    float
        The accuracy.

    See Also
    --------
    identification_ranks : The rank among all images.

    References
    ----------
    Mitchell et al. (2008), Predicting human brain activity associated with the meanings of nouns,
    Science 320.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import pairwise_accuracy
    >>> recorded = np.random.default_rng(0).standard_normal((4, 2, 5))
    >>> pairwise_accuracy(recorded, recorded), pairwise_accuracy(recorded, 0 * recorded)
    (1.0, 0.5)
    """
    return float(pairwise_by_image(y_true, y_pred, centre=centre).mean())


def pairwise_by_image(
    y_true: np.ndarray, y_pred: np.ndarray, *, centre: bool = False
) -> np.ndarray:
    """Share of the pairs of each image that are right, shape (n_images,)."""
    check_responses(y_true, y_pred, min_images=2)
    r = similarity(y_true, y_pred, centre=centre)
    own = np.diag(r)
    margin = own[:, None] + own[None, :] - r - r.T
    right = np.where(np.abs(margin) <= 1e-12, 0.5, margin > 0).astype(float)
    np.fill_diagonal(right, 0.0)
    return right.sum(axis=1) / (len(r) - 1)
