"""Windows of time."""

import numpy as np


def time_mask(
    times: np.ndarray, tmin: float | None = None, tmax: float | None = None
) -> np.ndarray:
    """Find the times of a window, both ends included.

    Parameters
    ----------
    times : array, shape (n_times,)
        The times, in seconds.
    tmin, tmax : float | None, default None
        The ends of the window, in seconds. A time within half a sample of an end counts as inside.
        ``None`` is the first or the last time.

    Returns
    -------
    mask : array of bool, shape (n_times,)
        True inside the window.

    Raises
    ------
    ValueError
        If no time is in the window.

    See Also
    --------
    window_mean : Average a map over a window.

    Examples
    --------
    >>> from mne_img2brain.metrics import time_mask
    >>> time_mask([0.0, 0.1, 0.2, 0.3], tmin=0.1, tmax=0.2)
    array([False,  True,  True, False])
    """
    times = np.asarray(times, float)
    half = 0.5 * np.median(np.diff(times)) if len(times) > 1 else 0.0
    # A hair less than half a sample: an end exactly between two samples takes neither twice.
    half *= 1 - 1e-6
    low = -np.inf if tmin is None else tmin - half
    high = np.inf if tmax is None else tmax + half
    mask = (times >= low) & (times <= high)
    if not mask.any():
        raise ValueError(
            f"No time lies in the window {tmin} to {tmax} s; the data run from {times[0]:g} to "
            f"{times[-1]:g} s."
        )
    return mask


def window_mean(
    values: np.ndarray, times: np.ndarray, tmin: float | None = None, tmax: float | None = None
) -> float:
    """Average a map over sensors and a window of time.

    Parameters
    ----------
    values : array, shape (n_channels, n_times)
        The map. NaN (a bad sensor, a ceiling that is not defined) is left out.
    times : array, shape (n_times,)
        The times, in seconds.
    tmin, tmax : float | None, default None
        The ends of the window, in seconds, both included.

    Returns
    -------
    float
        The mean, NaN where nothing but NaN is in the window.

    See Also
    --------
    time_mask : The times of a window.
    r_map : A map to average.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import window_mean
    >>> window_mean(np.array([[1.0, 2.0, 3.0], [1.0, np.nan, 5.0]]), [0.0, 0.1, 0.2], tmin=0.1)
    3.3333333333333335
    """
    inside = np.asarray(values, float)[:, time_mask(times, tmin, tmax)]
    inside = inside[np.isfinite(inside)]
    return float(inside.mean()) if inside.size else float("nan")
