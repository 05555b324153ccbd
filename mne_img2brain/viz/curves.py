"""Figures of curves: over time, frequency, number of candidates, rank."""

from typing import Any

import mne
import numpy as np
from matplotlib.figure import Figure

from .canvas import (
    REAL,
    REFERENCE,
    check_evoked,
    check_named,
    check_numbers,
    check_window,
    finish,
    get_axes,
    styles,
    tidy,
    time_axis,
)


def _named(values: dict | mne.Evoked | np.ndarray) -> dict:
    """Return a dict with one entry where there is only one thing to draw."""
    return values if isinstance(values, dict) else {"prediction": values}


def _check_pairs(name: str, values: dict) -> None:
    """Raise unless each entry is two rows of numbers of one length."""
    for key, pair in values.items():
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise ValueError(f"{name}[{key!r}] is not a pair of arrays.")
        first = check_numbers(f"{name}[{key!r}][0]", pair[0])
        check_numbers(f"{name}[{key!r}][1]", pair[1], len(first))


def plot_r_time(
    r: mne.Evoked | dict,
    ceiling: mne.Evoked | None = None,
    *,
    window: tuple | None = None,
    axes: Any = None,
    show: bool = True,
) -> Figure:
    """Draw r over time, the mean over sensors, with its noise ceiling.

    Parameters
    ----------
    r : mne.Evoked | dict of str to mne.Evoked
        Maps of r, one for each encoder.
    ceiling : mne.Evoked | None, default None
        The noise ceiling of r. Where it is NaN, and the recording does not distinguish the images,
        the figure is greyed out.
    window : tuple of float | None, default None
        The window that is averaged elsewhere, in seconds; it is shaded.
    axes : matplotlib.axes.Axes | None, default None
        Where to draw; ``None`` makes a new figure.
    show : bool, default True
        Whether to show the figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    TypeError
        If what is drawn is no dict, array or Evoked as above.
    ValueError
        If there is nothing to draw, or lengths do not match.

    See Also
    --------
    mne_img2brain.metrics.r_map : r.
    mne_img2brain.metrics.ceiling_of_r : The noise ceiling.

    Examples
    --------
    >>> import mne
    >>> import numpy as np
    >>> from mne_img2brain.epochs import EvokedMap
    >>> from mne_img2brain.viz import plot_r_time
    >>> info = mne.create_info(["Oz", "Pz"], 100, "eeg")
    >>> r = EvokedMap(np.full((2, 50), 0.2), info, comment="r")
    >>> figure = plot_r_time({"ridge": r}, window=(0.1, 0.4), show=False)
    >>> len(figure.axes)
    1
    """
    r = check_named("r", _named(r))
    check_evoked(**{f"r[{name!r}]": evoked for name, evoked in r.items()})
    # A ceiling that is known nowhere is no mistake: all of the figure is greyed out.
    if ceiling is not None and not (hasattr(ceiling, "data") and np.isnan(ceiling.data).all()):
        check_evoked(ceiling=ceiling)
    check_window(window)
    figure, (axis,) = get_axes(axes, 1, figsize=(6, 3.2))
    for (name, evoked), style in zip(r.items(), styles(r).values(), strict=True):
        axis.plot(evoked.times, _mean_of_known(evoked.data), label=name, **style)
        times = evoked.times
    if ceiling is not None:
        mean = np.clip(_mean_of_known(ceiling.data), 0, None)
        if np.isfinite(mean).any():
            axis.plot(ceiling.times, mean, color=REFERENCE, lw=1.2, label="noise ceiling")
            axis.set_ylim(top=min(1.0, 1.1 * np.nanmax(mean)))
        _grey_out(axis, ceiling.times, np.isnan(mean))
    axis.axhline(0, color=REFERENCE, lw=0.8)
    time_axis(axis, times, window)
    axis.set(ylabel="Pearson r across images\n(mean over sensors)")
    axis.legend(frameon=False, fontsize=9)
    return finish(figure, show)


def plot_identification(
    over_time: dict, n_way: dict, *, axes: Any = None, show: bool = True
) -> Figure:
    """Draw how well images are identified, over time and against the number of candidates.

    Parameters
    ----------
    over_time : dict of str to tuple of array
        For each encoder the centres of windows, in seconds, and the top-1 accuracy in each.
    n_way : dict of str to tuple of array
        For each encoder numbers of candidates, up to all images, and the accuracy among so many.
    axes : array-like of matplotlib.axes.Axes | None, default None
        Two; ``None`` makes a new figure.
    show : bool, default True
        Whether to show the figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    TypeError
        If what is drawn is no dict, array or Evoked as above.
    ValueError
        If there is nothing to draw, or lengths do not match.

    See Also
    --------
    mne_img2brain.metrics.identification_curve : The curves.

    Examples
    --------
    >>> from mne_img2brain.viz import plot_identification
    >>> over_time = {"ridge": ([0.05, 0.15, 0.25], [0.1, 0.4, 0.3])}
    >>> n_way = {"ridge": ([2, 5, 10], [0.9, 0.7, 0.5])}
    >>> figure = plot_identification(over_time, n_way, show=False)
    >>> len(figure.axes)
    2
    """
    check_named("over_time", over_time)
    check_named("n_way", n_way)
    _check_pairs("over_time", over_time)
    _check_pairs("n_way", n_way)
    if over_time.keys() != n_way.keys():
        raise ValueError(f"over_time is of {list(over_time)}, n_way of {list(n_way)}.")
    figure, axes = get_axes(axes, 2, figsize=(9, 3.2))
    look = styles(over_time)
    n_images = max(max(counts) for counts, _ in n_way.values())
    for name, (centres, accuracy) in over_time.items():
        axes[0].plot(centres, 100 * np.asarray(accuracy), label=name, **look[name])
    axes[0].axhline(100 / n_images, color=REFERENCE, lw=1, ls=":", label="chance")
    time_axis(axes[0], np.asarray(centres))
    axes[0].set(ylabel=f"Top-1 among {n_images} (%)", title="In a sliding window")
    axes[0].set_ylim(bottom=0)
    for name, (counts, accuracy) in n_way.items():
        axes[1].plot(counts, 100 * np.asarray(accuracy), marker="o", ms=3, **look[name])
    counts = np.arange(2, n_images + 1)
    axes[1].plot(counts, 100 / counts, color=REFERENCE, lw=1, ls=":")
    axes[1].set(
        xscale="log",
        xlabel="Number of candidate images",
        ylabel="Right image chosen (%)",
        title="In the whole window",
        ylim=(0, 102),
    )
    ticks = [n for n in (2, 5, 10, 20, 50, 100, 200, 500, 1000) if n <= n_images]
    axes[1].set_xticks(ticks, labels=[str(n) for n in ticks])
    axes[1].minorticks_off()
    tidy(axes[1])
    axes[0].legend(frameon=False, fontsize=9)
    return finish(figure, show)


def plot_calibration(ranks: np.ndarray | dict, *, axes: Any = None, show: bool = True) -> Figure:
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
        The figure.

    Raises
    ------
    TypeError
        If what is drawn is no dict, array or Evoked as above.
    ValueError
        If there is nothing to draw, or lengths do not match.

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
    ranks = check_named("ranks", _named(ranks))
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
        xlabel="Central interval of draws (%)",
        ylabel="Real values inside (%)",
        xlim=(0, 100),
        ylim=(0, 101),
        aspect="equal",
    )
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
    axes: Any = None,
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
        The figure.

    Raises
    ------
    TypeError
        If what is drawn is no dict, array or Evoked as above.
    ValueError
        If there is nothing to draw, or lengths do not match.

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
    axes: Any = None,
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
        The figure.

    Raises
    ------
    TypeError
        If what is drawn is no dict, array or Evoked as above.
    ValueError
        If there is nothing to draw, or lengths do not match.

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


def plot_rsa(
    values: dict, ceiling: np.ndarray | None = None, *, axes: Any = None, show: bool = True
) -> Figure:
    """Draw the similarity of predicted and recorded dissimilarities over time.

    Parameters
    ----------
    values : dict of str to tuple of array
        For each encoder the centres of windows, in seconds, and the similarity in each.
    ceiling : array, shape (n_windows,) | (2, n_windows) | None, default None
        The similarity of two halves of the trials; or the lower and the upper end of the noise
        ceiling.
    axes : matplotlib.axes.Axes | None, default None
        Where to draw; ``None`` makes a new figure.
    show : bool, default True
        Whether to show the figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    TypeError
        If what is drawn is no dict, array or Evoked as above.
    ValueError
        If there is nothing to draw, or lengths do not match.

    See Also
    --------
    mne_img2brain.evaluate : Computes it.

    Examples
    --------
    >>> from mne_img2brain.viz import plot_rsa
    >>> figure = plot_rsa({"ridge": ([0.05, 0.15, 0.25], [0.0, 0.3, 0.2])}, show=False)
    >>> len(figure.axes)
    1
    """
    _check_pairs("values", check_named("values", values))
    figure, (axis,) = get_axes(axes, 1, figsize=(6, 3.2))
    look = styles(values)
    for name, (centres, similarity) in values.items():
        # The same prediction for every image has no dissimilarities.
        if np.isfinite(similarity).any():
            axis.plot(centres, similarity, label=name, **look[name])
    if ceiling is not None and np.isfinite(ceiling).any():
        if np.ndim(ceiling) == 2:
            axis.fill_between(
                centres, *ceiling, color=REFERENCE, alpha=0.35, lw=0, label="noise ceiling"
            )
        else:
            axis.plot(centres, ceiling, color=REFERENCE, lw=1.2, label="two halves of the trials")
    axis.axhline(0, color=REFERENCE, lw=0.8)
    time_axis(axis, np.asarray(centres))
    axis.set(ylabel="Spearman correlation\nof dissimilarities")
    axis.legend(frameon=False, fontsize=9)
    return finish(figure, show)


def _mean_of_known(data: np.ndarray) -> np.ndarray:
    """Average over sensors what is known, NaN where nothing is."""
    known = np.isfinite(data)
    total, count = np.where(known, data, 0.0).sum(axis=0), known.sum(axis=0)
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)


def _grey_out(axis: Any, times: np.ndarray, unknown: np.ndarray) -> None:
    """Grey what nothing reliable can be said of."""
    if not unknown.any():
        return
    half = 0.5 * np.median(np.diff(times)) if len(times) > 1 else 0.5
    edges = np.flatnonzero(np.diff(np.concatenate([[False], unknown, [False]]).astype(int)))
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        axis.axvspan(
            times[first] - half, times[last - 1] + half, color="0.85", lw=0, zorder=3, alpha=0.7
        )
    axis.plot([], [], color="0.85", lw=8, label="images not distinguished")
