"""How near a prediction is to the recorded response."""

import numpy as np

from ._shapes import check_responses


def mse(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    r"""Mean squared error.

    .. math:: \mathrm{MSE} = \frac{1}{N C T} \sum_{i, c, t} (\hat y_{ict} - y_{ict})^2

    The unit is the square of the data's. Values in the literature are of standardised data, so
    standardise before comparing.

    Parameters
    ----------
    y_true, y_pred : array, shape (n_images, n_channels, n_times)
        The recorded and the predicted responses.

    Returns
    -------
    float
        The error.

    See Also
    --------
    pearson : The other metric of the paper.
    r_map : Whether differences between images are predicted.

    References
    ----------
    Xu et al., Image-to-Brain Signal Generation for Visual Prosthesis with CLIP Guided Multimodal
    Diffusion Models: one of the two metrics of the paper.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import mse
    >>> recorded = np.zeros((3, 2, 5))  # images, channels, times
    >>> mse(recorded, recorded + 2)
    4.0
    """
    return float(mse_by_image(y_true, y_pred).mean())


def mse_by_image(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """Mean squared error of each image, shape (n_images,)."""
    y_true, y_pred = check_responses(y_true, y_pred)
    return ((y_pred - y_true) ** 2).mean(axis=(1, 2))


def pearson(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    r"""Pearson correlation within an image, over sensors and times: the paper's PCC.

    .. math::

        \mathrm{PCC} = \frac{1}{N} \sum_i
        \frac{\sum_{ct} (\hat y_{ict} - \bar{\hat y}_i)(y_{ict} - \bar y_i)}
             {\sqrt{\sum_{ct} (\hat y_{ict} - \bar{\hat y}_i)^2 \sum_{ct} (y_{ict} - \bar y_i)^2}}

    Sensors and times of an image are one long vector, whose mean is taken off. A response that is
    the same for all images scores well here: the evoked response itself is in it. Use
    :func:`r_map` to ask whether *differences* between images are predicted.

    Parameters
    ----------
    y_true, y_pred : array, shape (n_images, n_channels, n_times)
        The recorded and the predicted responses.

    Returns
    -------
    float
        The correlation. Zero for a flat prediction, NaN for a flat recording.

    See Also
    --------
    r_map : The correlation across images.
    mse : The other metric of the paper.

    References
    ----------
    Xu et al., Image-to-Brain Signal Generation for Visual Prosthesis with CLIP Guided Multimodal
    Diffusion Models: one of the two metrics of the paper.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import pearson
    >>> recorded = np.random.default_rng(0).standard_normal((3, 2, 5))
    >>> round(pearson(recorded, 3 * recorded + 1), 6)
    1.0
    >>> pearson(recorded, np.ones_like(recorded))
    0.0
    """
    return float(pearson_by_image(y_true, y_pred).mean())


def pearson_by_image(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """Pearson correlation within each image, shape (n_images,)."""
    y_true, y_pred = check_responses(y_true, y_pred)
    return correlation(*(y.reshape(len(y), -1).T for y in (y_true, y_pred)))


def r_map(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    r"""Pearson correlation across images, for each sensor and time.

    .. math::

        r_{ct} = \frac{\sum_i (\hat y_{ict} - \bar{\hat y}_{ct})(y_{ict} - \bar y_{ct})}
        {\sqrt{\sum_i (\hat y_{ict} - \bar{\hat y}_{ct})^2 \sum_i (y_{ict} - \bar y_{ct})^2}}

    Parameters
    ----------
    y_true, y_pred : array, shape (n_images, n_channels, n_times)
        The recorded and the predicted responses, of at least three images.

    Returns
    -------
    r : array, shape (n_channels, n_times)
        The correlations. A prediction that is the same for every image gets 0, for it explains
        none of the differences; a recording that is the same for every image gets NaN.

    Raises
    ------
    ValueError
        If shapes differ, something is not finite or there are fewer than three images.

    See Also
    --------
    normalized_r : The same, as a share of the noise ceiling.
    window_mean : Average it over channels and a window of time.
    pearson : The correlation within images.

    References
    ----------
    Gifford, Dwivedi, Roig and Cichy (2022), A large and rich EEG dataset for modeling human visual
    object recognition, NeuroImage 264.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import r_map
    >>> recorded = np.array([1.0, 2.0, 3.0]).reshape(3, 1, 1)  # 3 images, 1 channel, 1 time
    >>> r_map(recorded, np.array([2.0, 1.0, 3.0]).reshape(3, 1, 1)).round(3)
    array([[0.5]])
    """
    y_true, y_pred = check_responses(y_true, y_pred, min_images=3)
    return correlation(y_true, y_pred)


def difference_wave(responses: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean response to the second class minus that to the first.

    Parameters
    ----------
    responses : array, shape (n, n_channels, n_times)
        Trials, averages or predictions.
    labels : array, shape (n,)
        The class of each, two of them; the first is the one that sorts first.

    Returns
    -------
    array, shape (n_channels, n_times)
        The difference, in the unit of the responses.

    Raises
    ------
    ValueError
        If there are not exactly two classes, or not one label for each response.

    See Also
    --------
    difference_wave_r : Compare the recorded with the predicted difference.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import difference_wave
    >>> responses = np.array([1.0, 3.0, 10.0]).reshape(3, 1, 1)
    >>> difference_wave(responses, ["car", "car", "face"])
    array([[8.]])
    """
    responses, labels = np.asarray(responses, float), np.asarray(labels)
    classes = np.unique(labels)
    if len(classes) != 2 or len(labels) != len(responses):
        raise ValueError(
            f"{len(labels)} labels of classes {classes.tolist()} for {len(responses)} responses; "
            "give one label for each, of two classes."
        )
    first, second = (responses[labels == c].mean(axis=0) for c in classes)
    return second - first


def difference_wave_r(
    y_true: np.ndarray, labels_true: np.ndarray, y_pred: np.ndarray, labels_pred: np.ndarray
) -> float:
    """Correlate the recorded with the predicted difference between two conditions.

    For data sets of few images or conditions, where r across images says little.

    Parameters
    ----------
    y_true : array, shape (n_true, n_channels, n_times)
        Recorded trials or averages, cut to the times that count.
    labels_true : array, shape (n_true,)
        The condition of each.
    y_pred : array, shape (n_pred, n_channels, n_times)
        Predictions.
    labels_pred : array, shape (n_pred,)
        The condition of each.

    Returns
    -------
    float
        Pearson correlation over sensors and times; 0 where no difference is predicted.

    See Also
    --------
    difference_wave : One difference.
    r_map : The correlation across images, where there are many.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import difference_wave_r
    >>> recorded = np.array([[[0.0, 0.0, 0.0]], [[1.0, 2.0, 4.0]]])
    >>> predicted = 0.5 * recorded
    >>> round(difference_wave_r(recorded, ["car", "face"], predicted, ["car", "face"]), 6)
    1.0
    """
    waves = difference_wave(y_true, labels_true), difference_wave(y_pred, labels_pred)
    return pearson(*(wave[None] for wave in waves))


def correlation(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """Correlate along the first axis: 0 where ``y_pred`` is constant, NaN where ``y_true`` is."""
    return correlate_centred(centred(y_true), centred(y_pred))


def centred(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ``y`` centred along the first axis, and its length, 0 where it was constant."""
    deviation = y - y.mean(axis=0)
    length, size = (np.sqrt(np.einsum("i...,i...->...", v, v)) for v in (deviation, y))
    # Rounding makes the spread of equal numbers about 1e-16 of their size, not zero.
    return deviation, np.where(length <= 1e-12 * size, 0.0, length)


def correlate_centred(y_true: tuple, y_pred: tuple) -> np.ndarray:
    """Return :func:`correlation` of what :func:`centred` returned."""
    (x, x_length), (y, y_length) = y_true, y_pred
    length = x_length * y_length
    r = np.einsum("i...,i...->...", x, y) / np.where(length > 0, length, 1.0)
    r = np.where(y_length > 0, np.clip(r, -1, 1), 0.0)
    return np.where(x_length > 0, r, np.nan)


def normalized_r(r: np.ndarray, ceiling: np.ndarray, *, floor: float = 0.1) -> np.ndarray:
    """Divide a correlation by its noise ceiling.

    Parameters
    ----------
    r : array, shape (n_channels, n_times)
        The correlation of the prediction.
    ceiling : array, shape (n_channels, n_times)
        The correlation that a model without error would reach, not its square: for example
        ``split_half_ceiling(trials).full``.
    floor : float, default 0.1
        Where the ceiling is lower, the quotient is noise, and NaN is returned.

    Returns
    -------
    array, shape (n_channels, n_times)
        The normalised correlation. Values above 1 occur: the ceiling is an estimate.

    See Also
    --------
    r_map : The correlation.
    ceiling_of_r : The ceiling.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import normalized_r
    >>> normalized_r(np.array([[0.2, 0.2]]), np.array([[0.4, 0.01]]))
    array([[0.5, nan]])
    """
    r, ceiling = np.broadcast_arrays(np.asarray(r, float), np.asarray(ceiling, float))
    usable = np.nan_to_num(ceiling, nan=-np.inf) >= floor
    return np.divide(r, ceiling, out=np.full(r.shape, np.nan), where=usable)
