"""Maps over sensors and times of what has no unit, such as r."""

import functools
import inspect
from typing import Any

import mne
import numpy as np

from .._types import PathLike

# What the maps of an evaluation that are responses are called.
WITH_UNIT = ("recorded", "predicted")


class EvokedMap(mne.EvokedArray):
    """An evoked response's sensors and times, with values that have no unit.

    MNE shows EEG in microvolts; here ``plot``, ``plot_joint``, ``plot_topomap``, ``plot_image``,
    ``plot_topo``, ``animate_topomap``, ``to_data_frame`` and :class:`mne.Report` show the values as
    they are, and call them by the comment. ``units`` and ``scalings`` change that, as in MNE.
    Sensors without a value (NaN: bad ones), and such times before and after all others, are left
    out of figures. A FIF file does not keep that there is no unit: :func:`read_maps` reads it.

    Parameters
    ----------
    data, info, tmin, comment, nave, kind, baseline, verbose
        As in :class:`mne.EvokedArray`.

    See Also
    --------
    read_maps : Read saved maps.

    Examples
    --------
    >>> import mne
    >>> import numpy as np
    >>> from mne_img2brain.epochs import EvokedMap
    >>> info = mne.create_info(["Oz", "Pz"], 100, "eeg")
    >>> r = EvokedMap(np.array([[0.1, 0.3], [0.2, 0.4]]), info, tmin=0.1, comment="r")
    >>> r.copy().pick("Oz").data
    array([[0.1, 0.3]])
    """

    def _shown(self, parameters: Any) -> dict:
        """Return how MNE shows values as they are, of what a function takes."""
        types = {"grad" if kind.startswith("planar") else kind for kind in self.get_channel_types()}
        # where scalings are others than usual, topographies have the unit of "misc"
        shown = {
            "scalings": dict.fromkeys(types, 1.0),
            "units": dict.fromkeys([*types, "misc"], self.comment),
        }
        return {name: value for name, value in shown.items() if name in parameters}

    def _drawn(self) -> "EvokedMap":
        """Return the sensors and times that have values: MNE draws no map with one NaN."""
        known = np.isfinite(self.data)
        rows, times = np.flatnonzero(known.any(axis=1)), np.flatnonzero(known.any(axis=0))
        if known.all() or not len(rows):
            return self
        drawn = self.copy().pick(rows, exclude=())
        return drawn.crop(self.times[times[0]], self.times[times[-1]], verbose="error")

    def plot_joint(self, *args: Any, **kwargs: Any) -> Any:
        """Plot as :meth:`mne.Evoked.plot_joint`, without a unit."""
        given = inspect.signature(mne.Evoked.plot_joint).bind_partial(
            self._drawn(), *args, **kwargs
        )
        shown = self._shown(("scalings", "units"))
        for name in ("ts_args", "topomap_args"):
            given.arguments[name] = {**shown, **(given.arguments.get(name) or {})}
        return mne.Evoked.plot_joint(*given.args, **given.kwargs)


def _without_unit(name: str) -> Any:
    """Return a method of Evoked that shows values as they are."""
    method = getattr(mne.Evoked, name)
    signature = inspect.signature(method)

    @functools.wraps(method)
    def shown(self: EvokedMap, *args: Any, **kwargs: Any) -> Any:
        drawn = self if name == "to_data_frame" else self._drawn()
        given = signature.bind_partial(drawn, *args, **kwargs)
        for key, value in self._shown(signature.parameters).items():
            if given.arguments.get(key) is None:
                given.arguments[key] = value
        return method(*given.args, **given.kwargs)

    return shown


for _name in (
    "plot", "plot_image", "plot_topo", "plot_topomap", "animate_topomap", "to_data_frame",
):  # fmt: skip
    setattr(EvokedMap, _name, _without_unit(_name))


def to_evoked_map(
    values: np.ndarray, info: mne.Info, *, tmin: float, comment: str = "", unit: bool = False
) -> mne.EvokedArray:
    """Wrap a map over sensors and times, such as r, so that MNE can plot it.

    values (n_channels, n_times): the values.
    unit: whether the values are in the sensors' unit, such as V.
    """
    values = np.array(values, dtype=np.float64)
    kind = mne.EvokedArray if unit else EvokedMap
    evoked = kind(values, info.copy(), tmin=tmin, comment=comment, verbose="error")
    return start_at(evoked, tmin)


def start_at(inst: Any, tmin: float) -> Any:
    """Give an MNE object the time of its first sample, which constructors round to the grid."""
    # on the grid constructors are exact to the last bit
    return inst if abs(inst.times[0] - tmin) < 1e-12 else inst.shift_time(tmin, relative=False)


def read_maps(fname: PathLike) -> list[mne.Evoked]:
    """Read saved maps.

    Parameters
    ----------
    fname : path-like
        A file of evoked responses and maps, such as ``maps-ave.fif`` of an evaluation.

    Returns
    -------
    list of mne.Evoked
        Recorded and predicted responses as they are, everything else as :class:`EvokedMap`.

    See Also
    --------
    EvokedMap : What is read.
    mne.read_evokeds : Reads everything in volts.

    Examples
    --------
    >>> import tempfile
    >>> import mne
    >>> import numpy as np
    >>> from mne_img2brain.epochs import EvokedMap, read_maps
    >>> r = EvokedMap(np.full((1, 3), 0.5), mne.create_info(["Oz"], 100, "eeg"), comment="r")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     mne.write_evokeds(f"{folder}/maps-ave.fif", [r])
    ...     (again,) = read_maps(f"{folder}/maps-ave.fif")
    >>> again.comment, again.data.max()
    ('r', np.float64(0.5))
    """
    maps = []
    for evoked in mne.read_evokeds(fname, proj=False, verbose="error"):
        made = to_evoked_map(evoked.data, evoked.info, tmin=evoked.tmin, comment=evoked.comment)
        maps.append(evoked if evoked.comment.endswith(WITH_UNIT) else made)
    return maps
