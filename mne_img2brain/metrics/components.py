"""Latency and amplitude of the components of an evoked response."""

from typing import Literal, NamedTuple

import numpy as np

from .windows import time_mask


class Peak(NamedTuple):
    """Where a component peaks.

    Attributes
    ----------
    latency : float | array, shape (...)
        The time of the peak, in seconds.
    amplitude : float | array, shape (...)
        The value at the peak, in the unit of the data.

    See Also
    --------
    component_peak : Finds it.

    Examples
    --------
    >>> from mne_img2brain.metrics import component_peak
    >>> component_peak([0.0, 3.0, 1.0], [0.1, 0.15, 0.2], 0.1, 0.2).latency.item()
    0.15
    """

    latency: np.ndarray
    amplitude: np.ndarray


def component_peak(
    response: np.ndarray,
    times: np.ndarray,
    tmin: float,
    tmax: float,
    *,
    mode: Literal["abs", "pos", "neg"] = "abs",
) -> Peak:
    """Find the peak of a component such as P1, N1 or N170 inside a window.

    Parameters
    ----------
    response : array, shape (..., n_times)
        Evoked responses, for example (n_channels, n_times).
    times : array, shape (n_times,)
        The times, in seconds.
    tmin, tmax : float
        The window in which the component is looked for, in seconds, both ends included.
    mode : "abs" | "pos" | "neg", default "abs"
        Whether the largest, the most positive or the most negative value is the peak.

    Returns
    -------
    Peak
        ``latency`` and ``amplitude``, of shape (...): of one sampled time, as in
        :meth:`mne.Evoked.get_peak`; nothing is interpolated.

    Raises
    ------
    ValueError
        If the mode is another or the window is empty.

    See Also
    --------
    mne.Evoked.get_peak : The same of an Evoked, over all channels.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import component_peak
    >>> times = np.arange(0, 0.3, 0.01)
    >>> response = -np.exp(-(((times - 0.17) / 0.02) ** 2))
    >>> peak = component_peak(response, times, 0.13, 0.2, mode="neg")
    >>> round(float(peak.latency), 3), round(float(peak.amplitude), 3)
    (0.17, -1.0)
    """
    sign = {"abs": np.abs, "pos": np.positive, "neg": np.negative}
    if mode not in sign:
        raise ValueError(f"mode={mode!r}; expected 'abs', 'pos' or 'neg'.")
    inside = time_mask(times, tmin, tmax)
    values = np.asarray(response, float)[..., inside]
    index = sign[mode](values).argmax(axis=-1)
    amplitude = np.take_along_axis(values, index[..., None], axis=-1)[..., 0]
    return Peak(np.asarray(times, float)[inside][index], amplitude)
