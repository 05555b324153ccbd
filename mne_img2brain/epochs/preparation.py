"""How data were prepared: what Info says, and what the data themselves tell."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import mne
import numpy as np

from .._log import warn

if TYPE_CHECKING:
    from .recording import Recording


# runs are joined as MNE joins them; compared data are of the same sensors; subjects differ in head
# position and in the projectors found in their own data
Mode = Literal["runs", "compared", "subjects"]

# of a direction that was projected out, in units of a channel's SD: single precision is 1e-7
GONE = 1e-3
_MANY = 20_000


@dataclass(frozen=True)
class Preparation:
    """What was done to data."""

    name: str  # what messages call them
    info: mne.Info
    baseline: tuple | None
    times: np.ndarray  # seconds from image onset
    data: np.ndarray | None  # (n_trials, n_channels, n_times) in SI units; None of a fit
    directions: np.ndarray | None = None  # (n_channels, n_directions): the space of a fit
    fitted_scales: dict | None = None  # of a fit, the SD of each channel type over time

    @cached_property
    def ch_types(self) -> dict:
        """Type of each channel."""
        return dict(zip(self.info["ch_names"], self.info.get_channel_types(), strict=True))

    @cached_property
    def space(self) -> np.ndarray | None:
        """Return columns that span what the data do, shape (n_channels, n_columns)."""
        if self.data is None:
            return self.directions
        step = max(1, self.data.shape[0] * self.data.shape[2] // _MANY)
        columns = np.moveaxis(self.data[::step], 1, 0).reshape(self.data.shape[1], -1)
        return columns[:, np.isfinite(columns).all(axis=0)]

    @cached_property
    def scales(self) -> dict:
        """The SD of each channel type over time, in SI units."""
        if self.data is None:
            return self.fitted_scales or {}
        return sizes(self.data, np.array(list(self.ch_types.values())))

    def size_of(self, names: list, vectors: np.ndarray) -> float:
        """Return how much of the data is along directions, (n_directions, n_channels)."""
        place = {name: i for i, name in enumerate(self.info["ch_names"])}
        if self.space is None or any(name not in place for name in names):
            return np.nan
        rows = self.space[[place[name] for name in names]]
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        usual = np.linalg.norm(rows) / np.sqrt(len(rows))
        return float(np.linalg.norm(vectors @ rows) / np.sqrt(len(vectors)) / usual)

    def corrected(self, baseline: tuple) -> bool:
        """Tell whether the mean of every trial in a window is zero."""
        if self.data is None:
            return False
        half = 0.5 / self.info["sfreq"]
        first, last = limits(baseline, self.times)
        inside = (self.times >= first - half) & (self.times <= last + half)
        if not inside.any():
            return False
        data = self.data[:: max(1, self.data.size // 10**7)]
        data = data[:, np.isfinite(data).all(axis=(0, 2))]
        return bool(np.sqrt(np.mean(data[..., inside].mean(-1) ** 2)) < GONE * data.std())


def preparation(recording: "Recording", name: str) -> Preparation:
    """Say how a recording was prepared."""
    return Preparation(name, recording.info, recording.baseline, recording.times, recording.data)


def sizes(data: np.ndarray, ch_types: np.ndarray) -> dict:
    """Return the SD over time of every channel type, offsets of trials left out."""
    data = data[:: max(1, data.size // 10**7)]
    # of one time point, over trials
    variance = data.var(axis=2) if data.shape[2] > 1 else data.var(axis=0).T
    result = {}
    for ch_type in dict.fromkeys(ch_types.tolist()):
        of_type = variance[:, ch_types == ch_type]
        of_type = of_type[np.isfinite(of_type)]
        # the median over trials and channels: artefacts are no other unit
        result[ch_type] = float(np.sqrt(np.median(of_type))) if len(of_type) else 0.0
    return result


def limits(baseline: tuple, times: np.ndarray) -> np.ndarray:
    """Return the first and last second of a baseline, whose ends may be those of the times."""
    first, last = baseline
    return np.array([times[0] if first is None else first, times[-1] if last is None else last])


def warn_of(message: str, pattern: str) -> None:
    """Warn of what may be intended, and say how to silence it."""
    warn(
        f"Please check how the data were prepared: {message}. If that is intended: "
        f"warnings.filterwarnings('ignore', '.*{pattern}')"
    )
