"""Several recordings as one: times that agree, joint events, sensors united by name."""

from dataclasses import replace
from typing import TYPE_CHECKING

import mne
import numpy as np
import pandas as pd

from .._lazy import parts_of, scratch
from .._log import logger
from .preparation import preparation
from .prepared import check_alike
from .projections import same_projector

if TYPE_CHECKING:
    from .recording import Recording


def check_same_times(
    part: "Recording", first: "Recording", name: str, first_name: str, *, atol: float = 1e-8
) -> None:
    """Raise where two recordings differ in sampling rate or times."""
    if not np.isclose(part.sfreq, first.sfreq, rtol=1e-6):
        raise ValueError(
            f"{name} has a sampling rate of {part.sfreq:g} Hz and {first_name} of "
            f"{first.sfreq:g} Hz; resample one of them."
        )
    same = len(part.times) == len(first.times)
    if not same or not np.allclose(part.times, first.times, atol=atol):
        raise ValueError(
            f"{name} has {len(part.times)} times from {part.times[0]:g} to {part.times[-1]:g} s "
            f"and {first_name} has {len(first.times)} from {first.times[0]:g} to "
            f"{first.times[-1]:g} s; crop them to the same times (or move them there with "
            "epochs.shift_time)."
        )


def join_events(parts: list) -> tuple[np.ndarray, dict]:
    """Give each name one code across recordings; return codes and names."""
    if all(part.event_id == parts[0].event_id for part in parts):
        return np.concatenate([part.event_codes for part in parts]), dict(parts[0].event_id)
    code_of, codes = {}, []
    taken = {code for part in parts for code in part.event_id.values()}
    for part in parts:
        translate = {}
        for name, code in part.event_id.items():
            if name not in code_of:
                free = code if code not in code_of.values() else max(taken) + 1
                taken.add(free)
                code_of[name] = free
            translate[code] = code_of[name]
        codes.append([translate.get(code, code) for code in part.event_codes.tolist()])
    return np.concatenate(codes).astype(int), code_of


def union_of_sensors(parts: list, names: list) -> "Recording":
    """Join the recordings of several subjects; NaN where a subject lacks a channel."""
    first = parts[0]
    info = _union_info([part.info for part in parts])
    first_name = f"epochs[{names[0]!r}]"
    prepared = preparation(first, first_name)
    for part, subject in zip(parts[1:], names[1:], strict=True):
        name = f"epochs[{subject!r}]"
        check_same_times(part, first, name, first_name, atol=0.5 / first.sfreq)
        check_alike(preparation(part, name), prepared, "subjects")
    column = {name: i for i, name in enumerate(info["ch_names"])}
    n_trials = sum(part.n_trials for part in parts)
    data = scratch((n_trials, len(column), len(first.times)), np.float64)
    mask = np.zeros((n_trials, len(column)), dtype=bool)
    start = 0
    for part in parts:
        stop = start + part.n_trials
        where = [column[name] for name in part.ch_names]
        for rows in parts_of(part.data):
            data[start:stop][rows] = np.nan
            data[start:stop][rows, where] = part.data[rows]
        mask[start:stop, where] = True
        start = stop
    if not mask.all():
        partial = [name for name, i in column.items() if not mask[:, i].all()]
        logger.info("Channels that not every subject has: %s", ", ".join(partial))
    return joined(parts, data, mask, info)


def joined(parts: list, data: np.ndarray, mask: np.ndarray, info: mne.Info) -> "Recording":
    """Give recordings that were put together the events and names of all."""
    codes, event_id = join_events(parts)
    offsets = np.cumsum([0, *(part.n_events for part in parts)])
    selection = [part.selection + n for part, n in zip(parts, offsets[:-1], strict=True)]
    there = set(info["ch_names"])
    bads = dict.fromkeys(ch for part in parts for ch in part.bads if ch not in there)
    left_out = dict.fromkeys(ch for part in parts for ch in part.left_out if ch not in there)
    metadata = None
    if any(part.metadata is not None for part in parts):
        frames = [
            pd.DataFrame(index=range(part.n_trials)) if part.metadata is None else part.metadata
            for part in parts
        ]
        metadata = pd.concat(frames, ignore_index=True)
    return replace(
        parts[0], data=data, info=info, event_codes=codes, event_id=event_id,
        metadata=metadata,
        n_averaged=np.concatenate([part.n_averaged for part in parts]),
        subject=np.concatenate([part.subject for part in parts]),
        selection=np.concatenate(selection), n_events=int(offsets[-1]), bads=tuple(bads),
        left_out=tuple(left_out), channel_mask=mask,
    )  # fmt: skip


def _union_info(infos: list[mne.Info]) -> mne.Info:
    """Unite channels by name; keep the projectors that all subjects share."""
    joint = mne.EvokedArray(np.zeros((len(infos[0]["ch_names"]), 1)), infos[0], verbose="error")
    for info in infos[1:]:
        new = [i for i, name in enumerate(info["ch_names"]) if name not in joint.ch_names]
        for name in set(info["ch_names"]) & set(joint.ch_names):
            kinds = [
                i.get_channel_types([i["ch_names"].index(name)])[0] for i in (info, joint.info)
            ]
            if kinds[0] != kinds[1]:
                raise ValueError(
                    f"Channel {name!r} is of type {kinds[1]!r} in one subject and {kinds[0]!r} in "
                    "another; set the same channel types in all of them."
                )
        if new:
            more = mne.pick_info(info, new, verbose="error")
            with more._unlock():
                more["projs"], more["comps"] = [], joint.info["comps"]
                for key in ("dev_head_t", "dig", "subject_info", "custom_ref_applied"):
                    more[key] = joint.info[key]
            joint.add_channels(
                [mne.EvokedArray(np.zeros((len(new), 1)), more, verbose="error")],
                force_update_info=True,
            )

    def has(info: mne.Info, wanted: mne.Projection) -> bool:
        """Tell whether an Info has a projector in the same state."""
        same = (proj for proj in info["projs"] if same_projector(proj, wanted))
        return any(proj["active"] == wanted["active"] for proj in same)

    shared = [proj for proj in joint.info["projs"] if all(has(info, proj) for info in infos)]
    united = joint.info
    if any(len(info["projs"]) != len(shared) for info in infos):
        logger.info("Projectors that not every subject has are left out of the joint info.")
        with united._unlock():
            united["projs"] = shared
    return united
