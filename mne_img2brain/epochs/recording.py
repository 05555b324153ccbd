"""What the encoder needs to know of a recording, read without touching the user's object."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import mne
import numpy as np
import pandas as pd

from .._lazy import parts_of, scratch
from .._log import logger, warn
from .._types import Picks, Responses
from .labels import averaged_column, check_names, check_subjects, subject_name, trials_averaged
from .preparation import preparation
from .prepared import check_alike
from .union import check_same_times, joined, union_of_sensors

_OUTLIER = 10_000  # times the span of the median trial: more than an artefact makes


@dataclass(frozen=True)
class Recording:
    """Epochs as arrays, with what it takes to make epochs again."""

    data: np.ndarray  # (n_trials, n_channels, n_times) in SI units; NaN: no such channel
    info: mne.Info  # of the channels in data, projectors in the state they were in
    times: np.ndarray  # seconds from image onset
    baseline: tuple | None
    event_codes: np.ndarray  # (n_trials,)
    event_id: dict
    metadata: pd.DataFrame | None  # one row per trial, indexed from 0
    n_averaged: np.ndarray  # (n_trials,): of how many trials each row of data is the average
    subject: np.ndarray  # (n_trials,): str, or None where that is not known
    selection: np.ndarray  # (n_trials,): the position among all events, dropped ones included
    n_events: int  # dropped ones included
    bads: tuple
    left_out: tuple  # channels not in data: bads, those without data, and those not picked
    channel_mask: np.ndarray  # (n_trials, n_channels): True where the trial has the channel

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return len(self.data)

    @property
    def tmin(self) -> float:
        """Seconds from image onset of the first time point."""
        return float(self.times[0])

    @property
    def sfreq(self) -> float:
        """Sampling rate in Hz."""
        return float(self.info["sfreq"])

    @property
    def ch_names(self) -> list[str]:
        """Names of the channels in ``data``."""
        return list(self.info["ch_names"])

    @cached_property
    def ch_types(self) -> np.ndarray:
        """Types of the channels in ``data``."""
        return np.array(self.info.get_channel_types())


def read_recording(
    epochs: mne.BaseEpochs | mne.Evoked | list | dict,
    picks: str | Sequence | np.ndarray | slice | None = None,
    *,
    ch_names: list[str] | None = None,
    min_trials: int = 2,
    name: str = "epochs",
) -> Recording:
    """Read trials, sensors, events and subjects; the object passed is left as it was.

    A list is concatenated (of single epochs it is what scikit-learn's cross-validation makes of
    Epochs); in a dict of subjects these may have different sensors; an Evoked counts as the average
    of its ``nave`` trials. Channels marked as bad are never taken, and of ``ch_names`` those that
    are there.
    """
    if isinstance(epochs, dict):
        if not epochs:
            raise ValueError("epochs is an empty dict; give {subject: epochs}.")
        check_names(epochs)
        parts = []
        for subject, value in epochs.items():
            part = _read_items(value, picks, ch_names, f"epochs[{subject!r}]")
            named = np.full(part.n_trials, subject_name(subject), dtype=object)
            parts.append(replace(part, subject=named))
        recording = union_of_sensors(parts, list(epochs)) if len(parts) > 1 else parts[0]
    else:
        recording = _read_items(epochs, picks, ch_names, name)
    if recording.n_trials < min_trials:
        raise ValueError(
            f"{name} has {recording.n_trials} trial{'' if recording.n_trials == 1 else 's'} left "
            f"(of {recording.n_events} events); at least {min_trials} are needed."
        )
    check_data(recording)
    check_subjects(recording.subject)
    if recording.left_out:
        logger.info("Channels left out: %s", ", ".join(recording.left_out))
    return recording


def check_data(recording: Recording) -> None:
    """Raise where data are not finite or a channel is flat, and say which."""
    data, mask = recording.data, recording.channel_mask
    finite = ~mask
    for part in parts_of(data):
        finite[part] |= np.isfinite(data[part]).all(axis=2)
    if not finite.all():
        trial, channel = np.argwhere(~finite)[0]
        what = "NaN" if np.isnan(data[trial, channel]).any() else "infinite values"
        raise ValueError(
            f"epochs contains {what}: first in trial {trial}, channel "
            f"{recording.ch_names[channel]!r}; {np.sum(~finite)} of {mask.sum()} pairs of trial "
            "and channel are concerned. Drop these trials or mark the channel as bad."
        )
    if recording.n_trials * data.shape[2] < 2:
        return
    lows, highs = data.min(axis=2), data.max(axis=2)  # NaN where a trial lacks the channel
    with np.errstate(invalid="ignore"):
        lowest, highest = np.nanmin(lows, axis=0), np.nanmax(highs, axis=0)
    flat = [name for name, same in zip(recording.ch_names, highest == lowest, strict=True) if same]
    if flat:
        raise ValueError(
            f"{len(flat)} flat channel{'' if len(flat) == 1 else 's'} (one and the same value in "
            f"all trials): {', '.join(flat)}. Mark them as bad (epochs.info['bads']) or leave them "
            "out with picks."
        )
    ranges = np.where(mask, highs - lows, 0.0)
    usual = np.median(ranges, axis=0)
    trial, channel = np.unravel_index(np.argmax(ranges - _OUTLIER * usual), ranges.shape)
    if ranges[trial, channel] > _OUTLIER * usual[channel] > 0:
        warn(
            f"Trial {trial} spans {ranges[trial, channel] / usual[channel]:.0f} times what the "
            f"median trial does at channel {recording.ch_names[channel]!r}: an artefact, or "
            "other units? Drop such trials, epochs.drop_bad(reject=...), or they decide the fit."
        )


def _read_items(
    value: Responses, picks: Picks, ch_names: list[str] | None, label: str
) -> Recording:
    """Read one object or a list of them."""
    if not isinstance(value, (list, tuple)):
        return _read_one(value, picks, ch_names, label)
    if len(value) == 0:
        raise ValueError(f"{label} is an empty list; give mne.Epochs or mne.Evoked objects.")
    bads = {bad for item in value if hasattr(item, "info") for bad in item.info["bads"]}
    # what a list of single trials repeats thousands of times is worked out once
    known = {}
    parts = [
        _read_one(item, picks, ch_names, f"{label}[{i}]", bads, known)
        for i, item in enumerate(value)
    ]
    return _concatenate(parts, label) if len(parts) > 1 else parts[0]


def _read_one(
    inst: mne.BaseEpochs | mne.Evoked, picks: Picks, ch_names: list[str] | None, label: str,
    bads: set | tuple = (), known: dict | None = None,
) -> Recording:  # fmt: skip
    """Read one Epochs or Evoked object."""
    if isinstance(inst, mne.BaseEpochs):
        if not inst.preload:
            inst = inst.copy().drop_bad()
        events, event_id = inst.events[:, 2].copy(), dict(inst.event_id)
        selection, n_events, metadata = inst.selection.copy(), len(inst.drop_log), inst.metadata
        n_averaged = np.ones(len(events))
    elif isinstance(inst, mne.Evoked):
        events, event_id = np.ones(1, int), {inst.comment or "evoked": 1}
        selection, n_events, metadata = np.zeros(1, int), 1, None
        n_averaged = np.array([trials_averaged(inst, label)])
    else:
        hint = ""
        if isinstance(inst, np.ndarray):
            hint = " An array has no sensors: mne.EpochsArray(data, info) makes epochs of it."
        raise TypeError(
            f"{label} is a {type(inst).__name__}; give mne.Epochs, mne.Evoked, a list of these, or "
            f"a dict {{subject: epochs}}.{hint}"
        )
    info, rows = _picked(inst, picks, ch_names, label, bads, known)
    if isinstance(inst, mne.Evoked):
        data = inst.data[None, rows]
    elif not inst.preload:
        data = scratch((len(inst), len(rows), len(inst.times)), np.float64)
        for part in parts_of(data):
            data[part] = inst[part].get_data(picks=rows, verbose="error")
    elif np.array_equal(rows, np.arange(len(inst.ch_names))):
        data = inst.get_data(copy=False).view()  # a copy would be as large as the recording
        data.flags.writeable = False
    else:
        data = inst.get_data(picks=rows, copy=False)
    if np.iscomplexobj(data):
        raise ValueError(
            f"{label} holds complex data (an analytic signal?); give real data, or the envelope of "
            "filtered real data: epochs.apply_hilbert(envelope=True)."
        )
    data = np.asarray(data, dtype=np.float64)
    subject = np.full(len(events), None, dtype=object)
    if metadata is not None:
        metadata = metadata.reset_index(drop=True)
        if "n_averaged" in metadata:
            n_averaged = averaged_column(metadata["n_averaged"], label)
        if "subject" in metadata:
            subject = np.array([subject_name(value) for value in metadata["subject"]], dtype=object)
    taken = set(info["ch_names"])
    return Recording(
        data=data, info=info, times=np.array(inst.times, float), baseline=inst.baseline,
        event_codes=events, event_id=event_id, metadata=metadata, n_averaged=n_averaged,
        subject=subject, selection=selection, n_events=n_events, bads=tuple(inst.info["bads"]),
        left_out=tuple(name for name in inst.ch_names if name not in taken),
        channel_mask=np.ones(data.shape[:2], dtype=bool),
    )  # fmt: skip


def _picked(
    inst: mne.BaseEpochs | mne.Evoked, picks: Picks, ch_names: list[str] | None, label: str,
    bads: set | tuple, known: dict | None,
) -> tuple[mne.Info, np.ndarray]:  # fmt: skip
    """Return the info of the channels taken and their rows in ``inst``."""
    key = _signature(inst.info)
    if known is not None and key in known:
        return known[key]
    # one empty sample: the public way to apply MNE's picks to an Info
    probe = mne.EvokedArray(np.zeros((len(inst.ch_names), 1)), inst.info.copy(), verbose="error")
    probe.info["bads"] = [ch for ch in inst.ch_names if ch in set(inst.info["bads"]) | set(bads)]
    if picks is None:
        rows = mne.pick_types(
            probe.info, meg=True, eeg=True, csd=True, seeg=True, ecog=True, dbs=True, fnirs=True,
            ref_meg=False, exclude="bads",
        )  # fmt: skip
    else:
        try:
            named = set(probe.copy().pick(picks, verbose="error").ch_names)
        except (ValueError, TypeError, IndexError) as error:
            raise ValueError(f"picks={picks!r} does not fit {label}: {error}") from error
        named -= set(probe.info["bads"])
        rows = [row for row, name in enumerate(inst.ch_names) if name in named]
    if ch_names is not None:
        rows = [row for row in rows if inst.ch_names[row] in set(ch_names)]
    rows = np.array(rows, dtype=int)
    if len(rows) == 0 and ch_names is not None:
        raise ValueError(
            f"None of the {len(ch_names)} channels of the training data ({', '.join(ch_names[:5])}"
            f"{', ...' if len(ch_names) > 5 else ''}) is a good channel of {label}, which has "
            f"{', '.join(inst.ch_names[:5])}{', ...' if len(inst.ch_names) > 5 else ''}."
        )
    if len(rows) == 0:
        n_bads = len(probe.info["bads"])
        raise ValueError(
            f"No channel of {label} is left: it has {len(inst.ch_names)} channels of types "
            f"{sorted(set(probe.info.get_channel_types()))}, {n_bads} of them bad, and picks="
            f"{picks!r}. Give picks that name good data channels."
        )
    picked = mne.pick_info(probe.info, rows, verbose="error"), rows
    if known is not None:
        known[key] = picked
    return picked


def _signature(info: mne.Info) -> tuple:
    """Return what two infos must share for one to stand for both."""
    return (
        tuple((ch["ch_name"], ch["kind"], ch["coil_type"], ch["unit"]) for ch in info["chs"]),
        tuple(info["bads"]),
        tuple((p["desc"], p["active"], p["data"]["data"].tobytes()) for p in info["projs"]),
        info["dev_head_t"] and info["dev_head_t"]["trans"].tobytes(),
        *(info[key] for key in ("custom_ref_applied", "highpass", "lowpass", "sfreq")),
    )


def _concatenate(parts: list[Recording], label: str) -> Recording:
    """Join the items of a list, which must agree, in the order given."""
    first = parts[0]
    names = first.ch_names
    prepared = preparation(first, f"{label}[0]")
    data = []
    for i, part in enumerate(parts):
        there = part.ch_names
        if there is not names and there != names:
            if set(there) != set(names):
                raise ValueError(
                    f"{label}[{i}] and {label}[0] have different channels: "
                    f"{sorted(set(there) ^ set(names))} are in one of them only. A list is "
                    "concatenated; give a dict {subject: epochs} for subjects with different "
                    "sensors, or pick common channels."
                )
            data.append(part.data[:, [there.index(name) for name in names]])
        else:
            data.append(part.data)
        check_same_times(part, first, f"{label}[{i}]", f"{label}[0]")
        if i:
            check_alike(preparation(part, f"{label}[{i}]"), prepared, "runs")
    mask = np.concatenate([part.channel_mask for part in parts])
    together = scratch((len(mask), *first.data.shape[1:]), np.float64)
    return joined(parts, np.concatenate(data, out=together), mask, first.info)
