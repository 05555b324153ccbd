"""Does a recording have the sensors and times of the training data."""

import numpy as np

from .._log import warn
from .recording import Recording


def take_channels(recording: Recording, ch_names: list[str]) -> np.ndarray:
    """Return the data of some channels in a given order, NaN where a channel is marked as bad.

    Returns (n_trials, n_channels, n_times): a new array in SI units.
    """
    position = {name: i for i, name in enumerate(recording.ch_names)}
    bads = [name for name in ch_names if name not in position and name in recording.bads]
    missing = [name for name in ch_names if name not in position and name not in bads]
    if missing:
        shown = ", ".join(missing[:10]) + (", ..." if len(missing) > 10 else "")
        raise ValueError(
            f"{len(missing)} of the {len(ch_names)} channels of the training data are missing in "
            f"epochs: {shown}. Rename or interpolate them, or fit an encoder on common channels."
        )
    if len(bads) == len(ch_names):
        raise ValueError("All channels of the training data are marked as bad in epochs.")
    if bads:
        warn(f"Channels marked as bad in epochs are left out: {', '.join(bads)}.")
    index = np.array([position.get(name, -1) for name in ch_names])
    data = recording.data[:, index]
    data[:, index < 0] = np.nan
    return data


def check_times(recording: Recording, times: np.ndarray, sfreq: float) -> None:
    """Raise where a recording has other times than the training data, by half a sample."""
    if not np.isclose(recording.sfreq, sfreq, rtol=1e-6):
        raise ValueError(
            f"epochs has a sampling rate of {recording.sfreq:g} Hz, but the encoder was fitted at "
            f"{sfreq:g} Hz; use epochs.resample({sfreq:.10g})."
        )
    there = recording.times
    if len(there) != len(times) or np.abs(there - times).max() > 0.5 / sfreq:
        raise ValueError(
            f"epochs has {len(there)} times from {there[0]:g} to {there[-1]:g} s, but the encoder "
            f"was fitted on {len(times)} from {times[0]:g} to {times[-1]:g} s; use "
            f"epochs.crop({times[0]:.6g}, {times[-1]:.6g})."
        )
