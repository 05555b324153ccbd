"""Figures of how predictions follow recordings: over time, and among candidates."""

import mne
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .._types import AxesLike
from .canvas import (
    REFERENCE,
    as_named,
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
    axes: AxesLike = None,
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
    r = check_named("r", as_named(r))
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
    over_time: dict, n_way: dict, *, axes: AxesLike = None, show: bool = True
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
        xscale="log", xlabel="Number of candidate images", ylabel="Right image chosen (%)",
        title="In the whole window", ylim=(0, 102),
    )  # fmt: skip
    ticks = [n for n in (2, 5, 10, 20, 50, 100, 200, 500, 1000) if n <= n_images]
    axes[1].set_xticks(ticks, labels=[str(n) for n in ticks])
    axes[1].minorticks_off()
    tidy(axes[1])
    axes[0].legend(frameon=False, fontsize=9)
    return finish(figure, show)


def plot_rsa(
    values: dict, ceiling: np.ndarray | None = None, *, axes: AxesLike = None, show: bool = True
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


def _grey_out(axis: Axes, times: np.ndarray, unknown: np.ndarray) -> None:
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
