"""Figures of how like real trials draws are: ranks, spectra, standard deviation."""

import numpy as np
from matplotlib.figure import Figure

from .._types import AxesLike
from .canvas import (
    REAL,
    REFERENCE,
    as_named,
    check_named,
    check_numbers,
    check_window,
    finish,
    get_axes,
    styles,
    tidy,
    time_axis,
)


def plot_calibration(
    ranks: np.ndarray | dict, *, axes: AxesLike = None, show: bool = True
) -> Figure:
    """Draw the rank histogram of real values among draws, and the coverage of their intervals.

    Flat on the left and on the diagonal on the right is calibrated. A U on the left and a curve
    below the diagonal on the right: draws vary too little.

    Parameters
    ----------
    ranks : array of int, shape (n_bins,) | dict of str to array
        Counts from :func:`mne_img2brain.metrics.rank_histogram`, for each encoder.
    axes : array-like of matplotlib.axes.Axes | None, default None
        Two; ``None`` makes a new figure.
    show : bool, default True
        Whether to show the figure.

    Returns
    -------
    matplotlib.figure.Figure

    See Also
    --------
    mne_img2brain.metrics.rank_histogram : The ranks.

    Examples
    --------
    >>> from mne_img2brain.viz import plot_calibration
    >>> figure = plot_calibration({"narrow": [30, 12, 10, 12, 31]}, show=False)
    >>> len(figure.axes)
    2
    """
    ranks = check_named("ranks", as_named(ranks))
    for name, counts in ranks.items():
        counts = check_numbers(f"ranks of {name!r}", counts)
        if not (counts >= 0).all() or not counts.sum() > 0:
            raise ValueError(f"ranks of {name!r} are {counts}; counts are 0 or more, not all 0.")
    figure, axes = get_axes(axes, 2, figsize=(8, 3.2))
    look = styles(ranks)
    for name, counts in ranks.items():
        counts = np.asarray(counts, float)
        edges = np.linspace(0, 1, len(counts) + 1)
        share = len(counts) * counts / counts.sum()
        axes[0].stairs(share, edges, baseline=None, label=name, **look[name])
        half = len(counts) // 2
        levels = [1 - 2 * k / len(counts) for k in range(half, -1, -1)]
        covered = [counts[k : len(counts) - k].sum() / counts.sum() for k in range(half, -1, -1)]
        axes[1].plot(
            100 * np.array(levels), 100 * np.array(covered), marker="o", ms=3, **look[name]
        )
    axes[0].axhline(1, color=REFERENCE, lw=1, ls=":", label="calibrated")
    axes[0].set(
        xlabel="Rank of real values among draws\n(0: below all, 1: above all)",
        ylabel="Frequency / expected",
        xlim=(0, 1),
    )
    axes[0].set_ylim(0, max(1.4, 1.05 * axes[0].get_ylim()[1]))
    axes[1].plot([0, 100], [0, 100], color=REFERENCE, lw=1, ls=":")
    axes[1].set(
        xlabel="Central interval of draws (%)", ylabel="Real values inside (%)", xlim=(0, 100),
        ylim=(0, 101), aspect="equal",
    )  # fmt: skip
    for axis in axes:
        tidy(axis)
    axes[0].legend(frameon=False, fontsize=9)
    return finish(figure, show)


def plot_spectra(
    freqs: np.ndarray,
    spectra: dict,
    real: np.ndarray,
    *,
    fmax: float | None = None,
    axes: AxesLike = None,
    show: bool = True,
) -> Figure:
    """Draw the spectrum of draws and of real trials.

    Parameters
    ----------
    freqs : array, shape (n_freqs,)
        The frequencies, in Hz.
    spectra : dict of str to array, shape (n_freqs,)
        The power of each encoder's draws, in dB, the mean over sensors.
    real : array, shape (n_freqs,)
        The power of real trials, in dB.
    fmax : float | None, default None
        The highest frequency to draw, in Hz.
    axes : array-like of matplotlib.axes.Axes | None, default None
        Two, for the spectra and their difference; ``None`` makes a new figure.
    show : bool, default True
        Whether to show the figure.

    Returns
    -------
    matplotlib.figure.Figure

    See Also
    --------
    mne_img2brain.metrics.spectra : The spectra.
    mne_img2brain.metrics.band_log_ratio : The difference in decibel.

    Examples
    --------
    >>> from mne_img2brain.viz import plot_spectra
    >>> figure = plot_spectra([5, 10, 20], {"ridge": [2.0, 3.0, 0.0]}, [2.1, 3.2, 0.1], show=False)
    >>> len(figure.axes)
    2
    """
    freqs = check_numbers("freqs", freqs)
    real = check_numbers("real", real, len(freqs))
    for name, power in check_named("spectra", spectra).items():
        check_numbers(f"spectra[{name!r}]", power, len(freqs))
    if fmax is not None and not fmax >= freqs[0]:
        raise ValueError(f"fmax={fmax}; give a frequency from {freqs[0]:g} Hz up.")
    figure, axes = get_axes(axes, 2, figsize=(9, 3.2))
    shown = freqs <= (freqs[-1] if fmax is None else fmax)
    look = styles(spectra)
    axes[0].plot(freqs[shown], np.asarray(real)[shown], color=REAL, lw=2.5, alpha=0.6, label="real")
    for name, power in spectra.items():
        axes[0].plot(freqs[shown], np.asarray(power)[shown], label=name, **look[name])
        axes[1].plot(freqs[shown], (np.asarray(power) - real)[shown], **look[name])
    axes[1].axhspan(-1, 1, color="0.93", lw=0, zorder=-5)
    axes[1].text(freqs[shown][-1], 1, "within 1 dB ", ha="right", va="top", color=REFERENCE, size=8)
    axes[1].axhline(0, color=REAL, lw=1, alpha=0.6)
    low, high = axes[1].get_ylim()
    axes[1].set_ylim(min(low, -1.5), max(high, 1.5))
    axes[0].set(ylabel="Power (dB re 1 trial SD² / Hz)")
    axes[1].set(ylabel="Draws − real (dB)")
    for axis in axes:
        axis.set(xlabel="Frequency (Hz)", xlim=(freqs[shown][0], freqs[shown][-1]))
        tidy(axis)
    axes[0].legend(frameon=False, fontsize=9)
    return finish(figure, show)


def plot_trial_sd(
    times: np.ndarray,
    sd: dict,
    real: np.ndarray,
    *,
    window: tuple | None = None,
    axes: AxesLike = None,
    show: bool = True,
) -> Figure:
    """Draw the trial-to-trial standard deviation over time, the mean over sensors.

    Parameters
    ----------
    times : array, shape (n_times,)
        The times, in seconds.
    sd : dict of str to array, shape (n_times,)
        That of each encoder's draws, in units of the real trials' mean.
    real : array, shape (n_times,)
        That of real trials.
    window : tuple of float | None, default None
        The window that counts, in seconds; it is shaded.
    axes : matplotlib.axes.Axes | None, default None
        Where to draw; ``None`` makes a new figure.
    show : bool, default True
        Whether to show the figure.

    Returns
    -------
    matplotlib.figure.Figure

    See Also
    --------
    mne_img2brain.metrics.within_image_sd : The standard deviation.

    Examples
    --------
    >>> from mne_img2brain.viz import plot_trial_sd
    >>> figure = plot_trial_sd([0.0, 0.1, 0.2], {"ridge": [0.9, 1.0, 1.0]}, [1.0] * 3, show=False)
    >>> len(figure.axes)
    1
    """
    times = check_numbers("times", times)
    real = check_numbers("real", real, len(times))
    for name, values in check_named("sd", sd).items():
        check_numbers(f"sd[{name!r}]", values, len(times))
    check_window(window)
    figure, (axis,) = get_axes(axes, 1, figsize=(6, 3.2))
    axis.plot(times, real, color=REAL, lw=2.5, alpha=0.6, label="real")
    for (name, values), style in zip(sd.items(), styles(sd).values(), strict=True):
        axis.plot(times, values, label=name, **style)
    time_axis(axis, np.asarray(times), window)
    top = max(np.max(real), *(np.max(values) for values in sd.values()))
    axis.set(ylabel="SD over trials of an image\n(real trials' mean = 1)", ylim=(0, 1.15 * top))
    axis.legend(frameon=False, fontsize=9, loc="lower right")
    return finish(figure, show)
