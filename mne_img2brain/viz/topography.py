"""Figures of sensors and times: responses and scores with topographies."""

from typing import Any

import matplotlib.pyplot as plt
import mne
import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from mne.io.constants import FIFF
from scipy.signal import find_peaks

from .._types import AxesLike
from .canvas import REAL, REFERENCE, UNITS, check_evoked, finish, get_axes, time_axis, unit_of


def plot_prediction(
    predicted: mne.Evoked,
    recorded: mne.Evoked,
    *,
    times: np.ndarray | list[float] | str = "peaks",
    ch_type: str | None = None,
    labels: tuple = ("Recorded", "Predicted"),
    title: str | None = None,
    axes: AxesLike = None,
    show: bool = True,
) -> Figure:
    """Draw a predicted beside a recorded response, with topographies and their difference.

    Parameters
    ----------
    predicted, recorded : mne.Evoked
        The responses, of the same times; sensors are matched by name.
    times : array-like of float | "peaks", default "peaks"
        When the topographies are, in seconds. ``"peaks"`` takes up to four peaks of the recorded
        field strength after image onset.
    ch_type : str | None, default None
        ``"eeg"``, ``"mag"`` or ``"grad"``; ``None`` is the first that there is.
    labels : tuple of str, default ('Recorded', 'Predicted')
        What ``recorded`` and ``predicted`` are called.
    title : str | None, default None
        What stands above.
    axes : array-like of matplotlib.axes.Axes | None, default None
        Two for the time courses, then for each time one for the recorded, one for the predicted
        topography and one for the difference (all times of one kind first), then one for the colour
        bar. ``None`` makes a new figure. Without positions, or with fewer than eight sensors, there
        are only the first two.
    show : bool, default True
        Whether to show the figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError
        If one of them is no Evoked.
    ValueError
        If sensors or times do not match, one of them has no values, or a topography is asked for
        at a time that there is not.

    See Also
    --------
    plot_score_joint : A map of scores.

    Examples
    --------
    >>> from mne_img2brain.datasets import simulate_epochs, simulate_images
    >>> from mne_img2brain.viz import plot_prediction
    >>> images, _ = simulate_images(4, size=32, random_state=0)
    >>> epochs, truth = simulate_epochs(images, random_state=0)
    >>> figure = plot_prediction(truth.average(), epochs.average(), times=[0.1], show=False)
    >>> len(figure.axes)  # two time courses, three topographies, the colour bar
    6
    """
    check_evoked(predicted=predicted, recorded=recorded)
    if isinstance(labels, str) or len(labels) != 2:
        raise ValueError(f"labels={labels!r}; give two, of the recorded and the predicted.")
    predicted, recorded, ch_type = _matched(predicted, recorded, ch_type)
    scale, unit = unit_of(recorded.info, ch_type)
    pair = (scale * recorded.data, scale * predicted.data)
    when = _times(recorded, times) if _has_positions(recorded.info) else np.array([])
    figure, axes = _grid(axes, len(when))
    colors = _front_to_back(recorded.info)
    low, high = np.min(pair), np.max(pair)
    room = 0.05 * (high - low) or 1.0
    for axis, data, name in zip(axes[:2], pair, labels, strict=True):
        for channel, color in zip(data, colors, strict=True):
            axis.plot(recorded.times, channel, color=color, lw=0.8)
        axis.axhline(0, color=REFERENCE, lw=0.8)
        for time in when:
            axis.axvline(time, color=REFERENCE, lw=0.8, ls="--")
        time_axis(axis, recorded.times)
        axis.set(ylim=(low - room, high + room), title=name)
    axes[0].set_ylabel(f"Amplitude ({unit})")
    if len(when):
        axes[0].text(
            0.98, 0.97, "dark: back\nlight: front", transform=axes[0].transAxes, size=8, va="top",
            ha="right",
        )  # fmt: skip
        place, info = _one_per_place(recorded.info)
        # Of two planar gradiometers the root of the mean square, which is strongest over a source.
        paired = place.max() + 1 < len(place)
        there, expected = (_by_place(data, place, squared=paired) for data in pair)
        kinds = {labels[0]: there, labels[1]: expected, "Difference": expected - there}
        _topographies(axes[2:], recorded.times, info, kinds, when, unit)
    if title is not None:
        figure.suptitle(title)
    return finish(figure, show)


def plot_score_joint(
    r: mne.Evoked,
    *,
    times: np.ndarray | list[float] | str = "peaks",
    ch_type: str | None = None,
    title: str | None = None,
    axes: AxesLike = None,
    show: bool = True,
) -> Figure:
    """Draw r of every sensor over time, with topographies; r has no unit.

    Parameters
    ----------
    r : mne.Evoked
        Values without a unit, as from :meth:`mne_img2brain.ImageToBrainEncoder.score_evoked`. NaN
        (bad sensors, and times at which nothing varies) are left out.
    times : array-like of float | "peaks", default "peaks"
        When the topographies are, in seconds. ``"peaks"`` takes up to four peaks of the mean over
        sensors after image onset.
    ch_type : str | None, default None
        ``"eeg"``, ``"mag"`` or ``"grad"``; ``None`` is the first that there is.
    title : str | None, default None
        What stands above; ``None`` is the comment of ``r``.
    axes : array-like of matplotlib.axes.Axes | None, default None
        One for the curves, one for each time and one for the colour bar; ``None`` makes a new
        figure. Without positions, or with fewer than eight sensors, there is only the first.
    show : bool, default True
        Whether to show the figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError
        If it is no Evoked.
    ValueError
        If no sensor has a value at any time, or a topography is asked for at a time that there is
        not.

    See Also
    --------
    plot_r_time : r over time.
    mne_img2brain.metrics.r_map : The map.

    Examples
    --------
    >>> import mne
    >>> import numpy as np
    >>> from mne_img2brain.epochs import EvokedMap
    >>> from mne_img2brain.viz import plot_score_joint
    >>> info = mne.create_info(["Oz", "Pz"], 100, "eeg")
    >>> r = EvokedMap(np.full((2, 50), 0.2), info, comment="r")
    >>> figure = plot_score_joint(r, show=False)
    >>> len(figure.axes)  # no topographies of two sensors without positions
    1
    """
    check_evoked(r=r)
    there = np.isfinite(r.data).any(axis=1)
    good = [name for name, ok in zip(r.ch_names, there, strict=True) if ok]
    r, _, _ = _matched(r.copy().pick(good), r.copy().pick(good), ch_type)
    defined = np.isfinite(r.data).any(axis=0)
    mean = np.full(len(r.times), np.nan)
    mean[defined] = np.nanmean(r.data[:, defined], axis=0)
    when = np.array([])
    if _has_positions(r.info):
        when = _times(r, times, strength=np.nan_to_num(mean, nan=np.nanmin(mean)))
    if axes is None:
        figure = plt.figure(figsize=(7, 4.6 if len(when) else 3), layout="constrained")
        if len(when):
            grid = figure.add_gridspec(
                2, len(when) + 1, height_ratios=[1, 1.4], width_ratios=[1] * len(when) + [0.07]
            )
            axes = [figure.add_subplot(grid[1, :])]
            axes += [figure.add_subplot(grid[0, column]) for column in range(len(when) + 1)]
        else:
            axes = [figure.add_subplot()]
    figure, axes = get_axes(axes, 1 + (len(when) + 1 if len(when) else 0))
    for channel, color in zip(r.data, _front_to_back(r.info), strict=True):
        axes[0].plot(r.times, channel, color=color, lw=0.7)
    axes[0].plot(r.times, mean, color=REAL, lw=2.2, label="mean over sensors")
    axes[0].axhline(0, color=REFERENCE, lw=0.8)
    time_axis(axes[0], r.times)
    axes[0].set(ylabel="Pearson r")
    for time in when:
        axes[0].axvline(time, color=REFERENCE, lw=0.8, ls="--")
    low, high = axes[0].get_ylim()
    axes[0].set_ylim(low, high + 0.15 * (high - low))  # room for the legend
    axes[0].legend(frameon=False, fontsize=9, loc="upper right")
    if len(when):
        place, info = _one_per_place(r.info)
        _topographies(axes[1:], r.times, info, {None: _by_place(r.data, place)}, when, "r")
    figure.suptitle(r.comment if title is None else title)
    return finish(figure, show)


def _matched(
    first: mne.Evoked, second: mne.Evoked, ch_type: str | None
) -> tuple[mne.Evoked, mne.Evoked, str]:
    """Return both with the same sensors of one type, in the same order."""
    if len(first.times) != len(second.times) or np.abs(first.times - second.times).max() > 1e-6:
        raise ValueError(
            f"Predicted and recorded responses have different times: {first.times[0]:g} to "
            f"{first.times[-1]:g} s ({len(first.times)}) and {second.times[0]:g} to "
            f"{second.times[-1]:g} s ({len(second.times)})."
        )
    types = dict(zip(second.ch_names, second.get_channel_types(), strict=True))
    if ch_type is None:
        there = set(types.values())
        ch_type = next((one for one in UNITS if one in there), next(iter(types.values())))
    names = [name for name in second.ch_names if types[name] == ch_type and name in first.ch_names]
    if not names:
        raise ValueError(
            f"Predicted and recorded responses have no sensor of type {ch_type!r} in common; types "
            f"are {sorted(set(types.values()))}."
        )
    pair = [evoked.copy().pick(names).reorder_channels(names) for evoked in (first, second)]
    return *pair, ch_type


def _has_positions(info: mne.Info) -> bool:
    """Tell whether there are eight sensors, each with a position: of fewer a map is invented."""
    if len(info["chs"]) < 8:
        return False
    positions = np.array([ch["loc"][:3] for ch in info["chs"]])
    return bool(np.isfinite(positions).all() and (np.abs(positions).sum(axis=1) > 0).all())


def _front_to_back(info: mne.Info) -> np.ndarray:
    """Return a colour for each sensor: dark at the back, light at the front."""
    n = len(info["chs"])
    if not _has_positions(info):
        return plt.get_cmap("cividis")(np.linspace(0, 0.9, n))
    y = np.array([ch["loc"][1] for ch in info["chs"]])
    span = max(np.ptp(y), 1e-12)
    return plt.get_cmap("cividis")(0.9 * (y - y.min()) / span)


def _times(
    evoked: mne.Evoked, times: str | np.ndarray | list, strength: np.ndarray | None = None
) -> np.ndarray:
    """Return when topographies are drawn: as asked for, or at the largest peaks after onset."""
    if not isinstance(times, str):
        when = np.atleast_1d(np.asarray(times, float))
        first, last = evoked.times[[0, -1]]
        slack = 0.5 / evoked.info["sfreq"]
        if not ((when >= first - slack) & (when <= last + slack)).all():
            raise ValueError(f"times={when}; give seconds from {first:g} to {last:g}.")
        return when
    if times != "peaks":
        raise ValueError(f"times={times!r}; give times in seconds or 'peaks'.")
    strength = evoked.data.std(axis=0) if strength is None else np.asarray(strength)
    strength = strength - min(0.0, strength.min())
    after = np.flatnonzero(evoked.times > 0.03)
    after = after if len(after) > 8 else np.arange(len(evoked.times))
    apart = max(1, round(0.05 * evoked.info["sfreq"]))
    least = 0.25 * strength[after].max()
    peaks, found = find_peaks(strength[after], distance=apart, height=least)
    peaks = peaks[np.argsort(found["peak_heights"])[::-1][:4]]
    if not len(peaks):
        peaks = np.array([int(np.argmax(strength[after]))])
    return np.sort(evoked.times[after[peaks]])


def _grid(axes: AxesLike, n_times: int) -> tuple[Figure, np.ndarray]:
    """Return two axes for time courses and three rows for topographies."""
    if axes is None:
        figure = plt.figure(
            figsize=(max(6.4, 1.7 * n_times + 1), 6.8 if n_times else 3), layout="constrained"
        )
        rows: Any = figure.add_gridspec(2, 1, height_ratios=[1, 1.6]) if n_times else None
        top = rows[0].subgridspec(1, 2) if n_times else figure.add_gridspec(1, 2)
        axes = [figure.add_subplot(top[0])]
        axes.append(figure.add_subplot(top[1], sharey=axes[0]))
        if n_times:
            below = rows[1].subgridspec(3, n_times + 1, width_ratios=[1] * n_times + [0.07])
            axes += [figure.add_subplot(below[k, t]) for k in range(3) for t in range(n_times)]
            axes.append(figure.add_subplot(below[:, -1]))
    return get_axes(axes, 2 + (3 * n_times + 1 if n_times else 0))


def _head_outline(info: mne.Info) -> tuple[float, float, float, float] | None:
    """Return the circle through six sites of the 10-20 system, at which EEG's outline is drawn.

    MNE's own stands on the fiducials: on its template heads all sensors are then too far in front.
    None, which is MNE's own, where a site is missing.
    """
    at = {ch["ch_name"].upper(): ch["loc"][:3] for ch in info["chs"]}
    if any(site not in at for site in ("FP1", "FP2", "T7", "T8", "O1", "O2")):
        return None
    ring = np.array([at[site] for site in ("FP1", "FP2", "T7", "T8", "O1", "O2")])
    # The front and the back pair are as far from the middle as each other; so are left and right.
    middle = np.array([ring[2:4, 0].mean(), ring[[0, 1, 4, 5], 1].mean(), ring[:, 2].mean()])
    return (*middle, np.linalg.norm((ring - middle)[:, :2], axis=1).mean())


def _topographies(
    axes: np.ndarray, times: np.ndarray, info: mne.Info, kinds: dict, when: np.ndarray, unit: str
) -> None:
    """Draw one row of topographies for each kind of data, on one scale, and a colour bar."""
    columns = [int(np.abs(times - time).argmin()) for time in when]
    shown = np.concatenate([data[:, columns].ravel() for data in kinds.values()])
    limit = np.abs(shown[np.isfinite(shown)]).max(initial=0)
    limit = limit if limit > 0 else 1.0
    # What is nowhere below zero has no other side to colour.
    one_sided = not (shown < 0).any()
    cmap, vlim = ("Reds", (0, limit)) if one_sided else ("RdBu_r", (-limit, limit))
    # The same levels everywhere: lines in a weak map would draw its noise.
    levels = np.array([-0.75, -0.5, -0.25, 0.25, 0.5, 0.75]) * limit
    sphere = _head_outline(info)
    for row, (name, data) in enumerate(kinds.items()):
        for position, column in enumerate(columns):
            axis = axes[row * len(when) + position]
            if row == 0:
                axis.set_title(f"{1000 * times[column]:.0f} ms", fontsize=10)
            if position == 0 and name is not None:
                axis.set_ylabel(name, fontsize=10)
            finite = np.flatnonzero(np.isfinite(data[:, column]))
            if len(finite) < 8:
                axis.text(0.5, 0.5, "not defined", ha="center", transform=axis.transAxes, size=8)
                axis.set_axis_off()
                continue
            mne.viz.plot_topomap(
                data[finite, column],
                mne.pick_info(info, finite),
                axes=axis,
                show=False,
                cmap=cmap,
                vlim=vlim,
                contours=levels,
                sensors=True,
                sphere=sphere,
                # Nothing is shown where no sensor is near, whatever the outline of the head.
                extrapolate="local",
            )
    bar = axes[len(kinds) * len(when)]
    mappable = plt.cm.ScalarMappable(Normalize(*vlim), cmap=cmap)
    bar.figure.colorbar(mappable, cax=bar, label=unit)


def _one_per_place(info: mne.Info) -> tuple[np.ndarray, mne.Info]:
    """Return the place of each sensor, and info of one sensor for each place.

    Two planar gradiometers share a place, which a topography cannot show apart.
    """
    info = info.copy()
    info["bads"] = []
    names = info["ch_names"]
    if set(info.get_channel_types()) != {"grad"} or not names[0].startswith("MEG"):
        return np.arange(len(names)), info
    labels = [name[:-1] for name in names]
    _, first, place = np.unique(labels, return_index=True, return_inverse=True)
    info = mne.pick_info(info, first)
    for channel in info["chs"]:
        # Drawn like magnetometers: MNE draws single gradiometers not at all.
        channel["coil_type"], channel["unit"] = FIFF.FIFFV_COIL_VV_MAG_T3, FIFF.FIFF_UNIT_T
    return place, info


def _by_place(data: np.ndarray, place: np.ndarray, squared: bool = False) -> np.ndarray:
    """Average what shares a place: as it is, or the root of the mean square."""
    means = np.zeros((place.max() + 1, data.shape[1]))
    np.add.at(means, place, data**2 if squared else data)
    means /= np.bincount(place)[:, None]
    return np.sqrt(means) if squared else means
