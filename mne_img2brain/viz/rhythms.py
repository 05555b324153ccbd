"""Figures of rhythms: power and phase over time and frequency, and power against power."""

from typing import Literal

import mne
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from .._parameters import check_given
from .._types import AxesLike, Picks
from .canvas import REFERENCE, check_named, check_numbers, finish, get_axes, styles, tidy


def plot_time_frequency(
    recorded: mne.time_frequency.AverageTFR,
    generated: mne.time_frequency.AverageTFR,
    *,
    kind: Literal["power", "coherence"] = "power",
    picks: Picks = None,
    axes: AxesLike = None,
    show: bool = True,
) -> Figure:
    """Draw recorded trials, draws and their difference over time and frequency.

    Power is in decibel, sensor by sensor, and averaged over sensors: recorded and drawn power
    against their own mean before image onset (of all times where there is nothing before), and
    drawn against recorded power. Where they are equal, the last map is white.

    Parameters
    ----------
    recorded, generated : mne.time_frequency.AverageTFR
        Power, or inter-trial coherence, of the same sensors, frequencies and times.
    kind : "power" | "coherence", default "power"
        Which of them.
    picks : str | array-like | slice | None, default None
        Sensors to average, as everywhere in MNE; ``None`` is all.
    axes : array-like of matplotlib.axes.Axes | None, default None
        Three; ``None`` makes a new figure.
    show : bool, default True
        Whether to show the figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError
        If something is no AverageTFR.
    ValueError
        If maps are not of the same sensors, frequencies and times.

    See Also
    --------
    plot_power_calibration : Power of images against power of images.
    mne_img2brain.evaluation.Evaluation : Its ``plot_power``.

    Examples
    --------
    >>> import mne
    >>> import numpy as np
    >>> from mne_img2brain.viz import plot_time_frequency
    >>> info = mne.create_info(["Oz", "Pz"], 25, "eeg")
    >>> power = mne.time_frequency.AverageTFRArray(
    ...     info, np.ones((2, 3, 10)), np.arange(-2, 8) / 25, [8.0, 10.0, 12.0]
    ... )
    >>> figure = plot_time_frequency(power, power, show=False)
    >>> [axis.get_title() for axis in figure.axes[:3]]
    ['Recorded', 'Draws', 'Draws / recorded']
    """
    for name, value in (("recorded", recorded), ("generated", generated)):
        if not isinstance(value, mne.time_frequency.AverageTFR):
            raise TypeError(f"{name} is a {type(value).__name__}; give an mne AverageTFR.")
    if recorded.ch_names != generated.ch_names or recorded.data.shape != generated.data.shape:
        raise ValueError(
            f"recorded has shape {recorded.data.shape}, generated {generated.data.shape}; both "
            "must be of the same sensors, frequencies and times."
        )
    check_given(kind=(kind, "power", "coherence"))
    times, freqs = recorded.times, recorded.freqs
    there, drawn = (one.get_data(picks=picks) for one in (recorded, generated))
    if kind == "power":
        before = times < 0 if (times < 0).any() else np.full(len(times), True)
        change = [10 * np.log10(p / p[..., before].mean(axis=-1, keepdims=True)) for p in
                  (there, drawn)]  # fmt: skip
        maps = [one.mean(axis=0) for one in (*change, 10 * np.log10(drawn / there))]
        titles = ("Recorded", "Draws", "Draws / recorded")
        labels = ("Power, change from baseline (dB)", "Power (dB)")
    else:
        maps = [there.mean(axis=0), drawn.mean(axis=0), (drawn - there).mean(axis=0)]
        titles = ("Recorded", "Draws", "Draws − recorded")
        labels = ("Inter-trial coherence", "Difference")
    figure, axes = get_axes(axes, 3, figsize=(11, 3))
    limit = max(np.abs(maps[0]).max(), np.abs(maps[1]).max(), 1e-9)
    least = 1.0 if kind == "power" else 0.05  # a map of nothing is not to look like something
    for place, (axis, values, title) in enumerate(zip(axes, maps, titles, strict=True)):
        vmax = max(limit if place < 2 else np.abs(values).max(), least)
        alone = kind == "coherence" and place < 2
        image = axis.pcolormesh(
            times, freqs, values, shading="gouraud", cmap="Reds" if alone else "RdBu_r",
            vmin=0 if alone else -vmax, vmax=vmax, rasterized=True,
        )  # fmt: skip
        axis.set(yscale="log", title=title, xlabel="Time from image onset (s)")
        ticks = [f for f in (5, 10, 20, 40, 80) if freqs[0] <= f <= freqs[-1]]
        axis.set_yticks(ticks, [str(f) for f in ticks])
        axis.yaxis.set_minor_formatter(NullFormatter())
        if times[0] < 0 < times[-1]:
            axis.axvline(0, color="black", lw=0.8, ls=":")
        if place:
            figure.colorbar(image, ax=axis, label=labels[place - 1], pad=0.02)
    axes[0].set_ylabel("Frequency (Hz)")
    return finish(figure, show)


def plot_power_calibration(
    power: dict, *, differ: dict | None = None, axes: AxesLike = None, show: bool = True
) -> Figure:
    """Draw recorded induced power of images against that of their draws.

    On the diagonal draws know by how much images differ. A steeper line: recorded images differ by
    more; a flat one: draws differ where recorded trials do not.

    Parameters
    ----------
    power : dict of str to tuple of array
        For each band of frequency drawn and recorded power, in dB from the mean over images.
    differ : dict of str to bool | None, default None
        Whether recorded images differ in each band. Bands in which they do not are drawn faint.
    axes : matplotlib.axes.Axes | None, default None
        Where to draw; ``None`` makes a new figure.
    show : bool, default True
        Whether to show the figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError
        If power is no dict.
    ValueError
        If there is nothing to draw, or lengths do not match.

    See Also
    --------
    plot_time_frequency : Power over time and frequency.
    mne_img2brain.evaluation.Evaluation : Its ``plot_power``.

    Examples
    --------
    >>> from mne_img2brain.viz import plot_power_calibration
    >>> figure = plot_power_calibration({"alpha": ([-1.0, 0.0, 1.0], [-1.2, 0.1, 1.1])}, show=False)
    >>> len(figure.axes)
    1
    """
    check_named("power", power)
    figure, (axis,) = get_axes(axes, 1, figsize=(3.8, 3.6))
    look = styles(power)
    for name, (drawn, recorded) in power.items():
        drawn = check_numbers(f"power[{name!r}][0]", drawn)
        recorded = check_numbers(f"power[{name!r}][1]", recorded, len(drawn))
        known = differ is None or differ.get(name, True)
        axis.plot(
            drawn, recorded, marker="o", ms=3, alpha=1.0 if known else 0.3,
            label=name if known else f"{name} (no difference)", **look[name],
        )  # fmt: skip
    axis.axline((0, 0), slope=1, color=REFERENCE, lw=0.8, ls=":")
    limit = 1.05 * max(1.0, *(np.abs(pair).max() for pair in power.values()))
    axis.set(
        title="Images, from their mean", xlabel="Power of draws (dB)",
        ylabel="Recorded power (dB)", xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal",
    )  # fmt: skip
    tidy(axis)
    axis.legend(frameon=False, fontsize=7, loc="lower right")
    return finish(figure, show)
