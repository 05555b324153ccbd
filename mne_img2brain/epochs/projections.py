"""Were two sets of data projected and referenced alike."""

import mne
import numpy as np
from mne.io.constants import FIFF

from .._log import logger
from .preparation import GONE, Mode, Preparation, warn_of

# an average-referenced recording with an interpolated sensor is between GONE and this
_THERE = 0.3


def _projectors(prepared: Preparation) -> list:
    """Return the projectors that concern the channels there are."""
    names = set(prepared.info["ch_names"])
    return [p for p in prepared.info["projs"] if names & set(p["data"]["col_names"])]


def _state(prepared: Preparation, wanted: mne.Projection) -> bool | None:
    """Tell whether a projector was applied; None where there is none."""
    for proj in _projectors(prepared):
        if same_projector(proj, wanted):
            return bool(proj["active"])
    return None


def same_projector(one: mne.Projection, other: mne.Projection) -> bool:
    """Tell whether two projectors take the same out of the same channels."""
    a, b = one["data"], other["data"]
    return (
        list(a["col_names"]) == list(b["col_names"])
        and a["data"].shape == b["data"].shape
        and np.allclose(a["data"], b["data"], atol=1e-6)
    )


_STATES = {True: "applied", False: "waiting to be applied", None: "missing"}


def check_projectors(part: Preparation, first: Preparation, mode: Mode) -> bool:
    """Compare projectors and their state."""
    told = False
    for proj in [*_projectors(first), *_projectors(part)]:
        states = _state(part, proj), _state(first, proj)
        if states[0] == states[1]:
            continue
        reference = proj["kind"] == FIFF.FIFFV_PROJ_ITEM_EEG_AVREF
        what = (
            f"The projector {proj['desc']!r} is {_STATES[states[0]]} in {part.name} and "
            f"{_STATES[states[1]]} in {first.name}"
        )
        if mode == "runs":
            raise ValueError(
                f"{what}. Apply the same projectors in all runs (epochs.add_proj, "
                "epochs.apply_proj), or in none (epochs.del_proj where they wait)."
            )
        if True not in states:
            continue  # data are as they were in both
        lacking, has_it = (part, first) if states[1] else (first, part)
        size = lacking.size_of(list(proj["data"]["col_names"]), np.asarray(proj["data"]["data"]))
        referenced = reference and lacking.info["custom_ref_applied"] and not size > _THERE
        if size < GONE or referenced:
            continue  # what it does was done without a projector
        if None in states and not reference:
            # found in each recording's own data: others that were applied do the same
            others = [p for p in _projectors(lacking) if p["active"] and p["kind"] == proj["kind"]]
            if mode == "subjects":
                logger.info("%s.", what)
                continue
            if others:
                if not told:
                    other = f"{what[0].lower()}{what[1:]}, where others were applied"
                    warn_of(other, "the projector")
                told = True
                continue
        if None in states and mode == "subjects":
            warn_of(
                f"{what[0].lower()}{what[1:]}: apply it to all subjects, or to none",
                "the projector",
            )
            told = True
            continue
        remedy = "apply it in both or in none"
        if states == (False, True):
            remedy = "use epochs.apply_proj()" if first.data is None else remedy
        elif first.data is None and states[1] and reference:
            remedy = "use epochs.set_eeg_reference(projection=True).apply_proj()"
        elif first.data is None and states[1]:
            remedy = "add it (epochs.add_proj) and use epochs.apply_proj()"
        elif first.data is None:
            remedy = "use epochs to which it was not applied, or fit on epochs to which it was"
        raise ValueError(f"{what}; {remedy}.")
    return told


def check_reference(part: Preparation, first: Preparation, mode: Mode) -> None:
    """Compare the reference of EEG, by the data where they tell it."""
    names = [ch for ch, kind in part.ch_types.items() if kind == "eeg"]
    there = [ch for ch, kind in first.ch_types.items() if kind == "eeg"]
    if not names or not there:
        return
    flags = [_referenced(side) for side in (part, first)]
    average = [_averaged(side, names if set(names) == set(there) else []) for side in (part, first)]
    if average == [True, True]:
        return
    what = f"the EEG reference of {part.name} is another than that of {first.name}"
    pattern = "the EEG reference of"
    if None not in average and average[0] != average[1]:
        kinds = ["the average" if is_average else "not the average" for is_average in average]
        what += f" ({kinds[0]}, and {kinds[1]})"
        if mode != "subjects" and flags[0] != flags[1]:
            raise ValueError(
                f"{what[0].upper()}{what[1:]}; reference both alike (epochs.set_eeg_reference)."
            )
        warn_of(what, pattern)
    elif flags[0] != flags[1]:
        said = ["one set by you" if flag else "that of the amplifier" for flag in flags]
        warn_of(f"{what} (by info, {said[0]} and {said[1]})", pattern)


def _referenced(prepared: Preparation) -> bool:
    """Tell whether Info says that EEG was referenced anew."""
    return bool(prepared.info["custom_ref_applied"]) or any(
        proj["active"] and proj["kind"] == FIFF.FIFFV_PROJ_ITEM_EEG_AVREF
        for proj in _projectors(prepared)
    )


def _averaged(prepared: Preparation, names: list) -> bool | None:
    """Tell whether channels are average-referenced; None where the data do not tell."""
    if len(names) < 3:
        return None
    size = prepared.size_of(names, np.ones((1, len(names))))
    return True if size < GONE else False if size > _THERE else None
