"""Axes, colours and windows that figures share."""

from typing import Any

import matplotlib.pyplot as plt
import mne
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .._types import AxesLike

# Okabe and Ito (2008): told apart in the common forms of colour blindness. Black is for what is
# real, grey for ceilings and chance.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLES = ("-", "--", "-.", ":")
REAL = "black"
REFERENCE = "0.45"

# What a value in SI is multiplied by, and the unit then.
UNITS = {"eeg": (1e6, "µV"), "mag": (1e15, "fT"), "grad": (1e13, "fT/cm")}


def unit_of(info: mne.Info, ch_type: str) -> tuple[float, str]:
    """Return what values are multiplied by, and their unit; whitened recordings have none."""
    if "no unit" in (info["description"] or ""):
        return 1.0, "no unit"
    return UNITS.get(ch_type, (1.0, "a.u."))


def styles(names: dict | list[str]) -> dict:
    """Return colour and line style of every name: colour alone need not tell lines apart."""
    return {
        name: {"color": COLORS[i % len(COLORS)], "linestyle": STYLES[i % len(STYLES)], "lw": 1.8}
        for i, name in enumerate(names)
    }


def get_axes(axes: AxesLike, n: int, n_rows: int = 1, **layout: Any) -> tuple[Figure, np.ndarray]:
    """Return ``n`` axes and their figure, new ones where none are given."""
    if axes is None:
        figure, axes = plt.subplots(
            n_rows, n // n_rows, squeeze=False, layout="constrained", **layout
        )
        return figure, axes.ravel()
    axes = np.atleast_1d(np.array(axes, dtype=object)).ravel()
    if len(axes) != n:
        raise ValueError(f"axes holds {len(axes)} axes; this figure needs {n}.")
    return axes[0].figure, axes


def check_evoked(**given: object) -> None:
    """Raise unless every ``name=value`` is an Evoked with numbers in it."""
    for name, value in given.items():
        if not isinstance(value, mne.Evoked):
            hint = "; average them first" if isinstance(value, mne.BaseEpochs) else ""
            raise TypeError(f"{name} is a {type(value).__name__}; give an mne.Evoked{hint}.")
        if not np.isfinite(value.data).any():
            raise ValueError(f"{name} has values at no sensor and time; there is nothing to draw.")


def check_named(name: str, values: object) -> dict:
    """Return what is drawn by its names, which there must be."""
    if not isinstance(values, dict):
        raise TypeError(f"{name} is a {type(values).__name__}; give a dict of name to values.")
    if not values:
        raise ValueError(f"{name} is empty; give a dict with at least one entry.")
    return values


def check_numbers(name: str, values: object, n: int | None = None) -> np.ndarray:
    """Return a row of numbers, shape (n,)."""
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}={str(values)[:40]!r}; give a row of numbers.") from error
    if array.ndim != 1 or not len(array) or n not in (None, len(array)):
        expected = "(n,), n > 0" if n is None else f"({n},)"
        raise ValueError(f"{name} has shape {array.shape}; expected {expected}.")
    return array


def check_window(window: tuple | None, name: str = "window") -> None:
    """Raise unless a window is None or two numbers in rising order."""
    if window is not None:
        first, last = check_numbers(name, window, 2)
        if not first < last:
            raise ValueError(f"{name}={tuple(window)}; give its first and its last second.")


def finish(figure: Figure, show: bool) -> Figure:
    """Show a figure where that was asked for, and return it."""
    if show:
        plt.show(block=False)
    return figure


def tidy(axis: Axes) -> None:
    """Take off the frame's top and right sides."""
    axis.spines[["top", "right"]].set_visible(False)


def time_axis(axis: Axes, times: np.ndarray, window: tuple[float, float] | None = None) -> None:
    """Label a time axis, mark image onset and shade the window that counts."""
    axis.set(xlabel="Time from image onset (s)", xlim=(times[0], times[-1]))
    if times[0] < 0 < times[-1]:
        axis.axvline(0, color=REFERENCE, lw=0.8, ls=":")
    if window is not None:
        axis.axvspan(*window, color="0.93", zorder=-5, lw=0, label="window of the scores")
    tidy(axis)


def as_named(values: dict | mne.Evoked | np.ndarray) -> dict:
    """Return a dict with one entry where there is only one thing to draw."""
    return values if isinstance(values, dict) else {"prediction": values}
