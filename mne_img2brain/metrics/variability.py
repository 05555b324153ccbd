"""Whether draws vary from trial to trial as real trials do."""

import numpy as np

from ._shapes import check_pair, check_trials


def within_image_variance(trials: np.ndarray | list[np.ndarray]) -> np.ndarray:
    """Variance over the trials of each image (ddof 1), (n_images, n_channels, n_times)."""
    trials = check_trials(trials, min_trials=2)
    return np.stack([of_image.var(axis=0, ddof=1) for of_image in trials])


def within_image_sd(trials: np.ndarray | list[np.ndarray]) -> np.ndarray:
    r"""Trial-to-trial standard deviation: the root of the mean within-image variance.

    .. math::

        \mathrm{SD}_{ct} = \sqrt{\frac{1}{N}\sum_i
        \frac{1}{n_i - 1}\sum_k (y_{ikct} - \bar y_{ict})^2}

    Parameters
    ----------
    trials : array, shape (n_images, n_trials, n_channels, n_times) | list of array
        The trials of each image, at least two of each.

    Returns
    -------
    array, shape (n_channels, n_times)
        The standard deviation, in the unit of the data.

    See Also
    --------
    sd_ratio : Compare draws with real trials.
    mne_img2brain.viz.plot_trial_sd : Plot it.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import within_image_sd
    >>> trials = np.array([[0.0, 2.0], [5.0, 7.0]]).reshape(2, 2, 1, 1)  # 2 images of 2 trials
    >>> within_image_sd(trials).round(3)
    array([[1.414]])
    """
    return np.sqrt(within_image_variance(trials).mean(axis=0))


def sd_ratio(
    draws: np.ndarray | list[np.ndarray], trials: np.ndarray | list[np.ndarray]
) -> np.ndarray:
    """Trial-to-trial standard deviation of draws over that of real trials.

    Parameters
    ----------
    draws, trials : array, shape (n_images, n_trials, n_channels, n_times) | list of array
        Generated and real trials of the same images, at least two of each; their numbers may
        differ.

    Returns
    -------
    array, shape (n_channels, n_times)
        The ratio, NaN where the real trials do not vary. Its median over sensors and times is a
        summary that a flat sensor does not upset.

    See Also
    --------
    within_image_sd : The standard deviation.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import sd_ratio
    >>> trials = np.random.default_rng(0).standard_normal((3, 4, 1, 2))
    >>> sd_ratio(2 * trials, trials)
    array([[2., 2.]])
    """
    draws, trials = check_pair(draws, trials, 2, 2)
    generated, real = within_image_sd(draws), within_image_sd(trials)
    return np.divide(generated, real, out=np.full_like(real, np.nan), where=real > 0)
