"""Were recordings that are joined, or compared with a fit, prepared alike.

What cannot be right is an error, what may be intended a warning. Data have the last word where they
can: a recording that was referenced without a projector is the same as one with an applied one.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from mne.io.constants import FIFF

from .._log import logger, warn

# runs are joined as MNE joins them; compared data are of the same sensors; subjects differ in head
# position and in the projectors found in their own data
Mode = Literal["runs", "compared", "subjects"]

# between the sizes of two recordings: averages of 1,000 trials are 30 times as small as trials,
# units differ by 1,000 at least
_MOST_RATIO = 100.0
# SD in SI units: more is another unit (ten times what amplifiers and sensors give)
_LARGEST = {"eeg": 5e-3, "ecog": 5e-2, "seeg": 5e-2, "dbs": 5e-2, "mag": 1e-9, "grad": 1e-8}
# of a direction that was projected out, in units of a channel's SD: single precision is 1e-7
_GONE = 1e-3
_THERE = 0.3
_MANY = 20_000


@dataclass(frozen=True)
class Preparation:
    """What was done to data.

    Attributes
    ----------
    info : mne.Info
        Of the channels.
    baseline : tuple of float | None
        The baseline that was subtracted.
    times : array, shape (n_times,)
        Seconds from image onset.
    data : array, shape (n_trials, n_channels, n_times) | None
        The trials, in SI units.
    directions : array, shape (n_channels, n_directions) | None
        Of a fit, the space that its data were in.
    scales : dict of str -> float
        The SD of each channel type over time, in SI units.
    """

    info: Any
    baseline: tuple | None
    times: np.ndarray
    data: np.ndarray | None
    directions: np.ndarray | None
    scales: dict

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

    def size_of(self, names: list, vectors: np.ndarray) -> float:
        """Return how much of the data is along some directions in sensor space.

        Parameters
        ----------
        names : list of str
            The channels.
        vectors : array, shape (n_directions, n_channels)
            The directions.

        Returns
        -------
        float
            In units of a channel's SD; NaN where channels are missing.
        """
        place = {name: i for i, name in enumerate(self.info["ch_names"])}
        if self.space is None or any(name not in place for name in names):
            return np.nan
        rows = self.space[[place[name] for name in names]]
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        usual = np.linalg.norm(rows) / np.sqrt(len(rows))
        return float(np.linalg.norm(vectors @ rows) / np.sqrt(len(vectors)) / usual)

    def corrected(self, baseline: tuple) -> bool:
        """Tell whether the mean of every trial in a window is zero.

        Parameters
        ----------
        baseline : tuple of float
            The window.

        Returns
        -------
        bool
        """
        if self.data is None:
            return False
        half = 0.5 / self.info["sfreq"]
        first, last = _limits(baseline, self.times)
        inside = (self.times >= first - half) & (self.times <= last + half)
        if not inside.any():
            return False
        data = self.data[:: max(1, self.data.size // 10**7)]
        data = data[:, np.isfinite(data).all(axis=(0, 2))]
        return bool(np.sqrt(np.mean(data[..., inside].mean(-1) ** 2)) < _GONE * data.std())


def preparation(recording: Any) -> Preparation:
    """Say how a recording was prepared.

    Parameters
    ----------
    recording : Recording
        The trials.

    Returns
    -------
    Preparation
    """
    return Preparation(
        recording.info, recording.baseline, recording.times, recording.data, None,
        sizes(recording.data, recording.ch_types),
    )  # fmt: skip


def sizes(data: np.ndarray, ch_types: np.ndarray) -> dict:
    """Return the SD over time of every channel type, offsets of trials left out.

    Parameters
    ----------
    data : array, shape (n_trials, n_channels, n_times)
        Trials.
    ch_types : array of str, shape (n_channels,)
        The type of each channel.

    Returns
    -------
    dict of str -> float
    """
    data = data[:: max(1, data.size // 10**7)]
    variance = data.var(axis=2) if data.shape[2] > 1 else data.var(axis=0)
    result = {}
    for ch_type in dict.fromkeys(ch_types.tolist()):
        of_type = np.ma.masked_invalid(variance[..., ch_types == ch_type])
        # the median over trials: artefacts are no other unit
        of_trial = of_type.mean(axis=-1) if of_type.ndim == 2 else of_type
        of_trial = np.ma.atleast_1d(of_trial).compressed()
        result[ch_type] = float(np.sqrt(np.median(of_trial))) if len(of_trial) else 0.0
    return result


def check_like_fit(
    recording: Any, encoder: Any, mode: Mode = "compared", *, label: str = "fit"
) -> None:
    """Raise or warn where a recording was not prepared as the data of a fit.

    Parameters
    ----------
    recording : Recording
        What is compared with the fit.
    encoder : encoder
        Fitted. What it does not say of its data is not compared.
    mode : "compared" | "subjects"
        Whether the recording may be of another subject.
    label : str
        What messages call the fit.

    Raises
    ------
    ValueError
        If baseline, projectors, channel types or sizes differ.
    """
    scaler, basis = getattr(encoder, "scaler_", None), getattr(encoder, "basis_", None)
    info, scales = encoder.info_, {} if scaler is None else scaler.scales_
    if basis is not None and scaler is not None:
        basis = np.array([[scales[kind]] for kind in info.get_channel_types()]) * basis
    if getattr(encoder, "n_training_subjects_", 1) > 1:
        mode = "subjects"
    part = preparation(recording)
    # an encoder that does not say which baseline its data had
    baseline = getattr(encoder, "baseline_", part.baseline)
    fit = Preparation(info, baseline, np.asarray(encoder.times_), None, basis, scales)
    check_alike(part, fit, "epochs", label, mode)


def check_alike(
    part: Preparation, first: Preparation, name: str, first_name: str, mode: Mode
) -> None:
    """Raise or warn where two sets of data were not prepared alike.

    Parameters
    ----------
    part, first : Preparation
        What is compared, and with what.
    name, first_name : str
        What messages call them.
    mode : "runs" | "compared" | "subjects"
        Runs are joined: what :func:`mne.concatenate_epochs` refuses is refused.

    Raises
    ------
    ValueError
        If they cannot be joined or compared.
    """
    _check_baselines(part, first, name, first_name, mode)
    few = [side.data is not None and len(side.data) < 2 for side in (part, first)]
    if mode != "runs" or not any(few):  # one trial of a list may be an artefact
        _check_sizes(part, first, name, first_name)
    if part.info is first.info:
        return
    for channel in part.ch_types.keys() & first.ch_types.keys():
        kinds = part.ch_types[channel], first.ch_types[channel]
        if kinds[0] != kinds[1]:
            raise ValueError(
                f"Channel {channel!r} is of another type ({kinds[0]!r}) in {name} than in "
                f"{first_name} ({kinds[1]!r}); use epochs.set_channel_types to set it alike."
            )
    told = _check_projectors(part, first, name, first_name, mode)
    if not told:
        _check_reference(part, first, name, first_name, mode)
    _check_head(part, first, name, first_name, mode)
    _check_filters(part, first, name, first_name)


def check_units(recording: Any) -> None:
    """Warn where data are larger than sensors give in MNE's units.

    Parameters
    ----------
    recording : Recording
        The trials. With a metadata column ``unit`` the user has said that they are of another.
    """
    if recording.metadata is not None and "unit" in recording.metadata:
        return
    for ch_type, size in sizes(recording.data, recording.ch_types).items():
        if size > _LARGEST.get(ch_type, np.inf):
            unit = {"mag": "T", "grad": "T/m"}.get(ch_type, "V")
            _warn(
                f"the {ch_type} data have a standard deviation of {size:.3g} {unit}. MNE's unit is "
                f"{unit}; multiply microvolts, say, by 1e-6. What is generated will be called "
                f"{unit} whatever the data are in",
                "data have a standard deviation",
            )


def _warn(message: str, pattern: str) -> None:
    """Warn of what may be intended, and say how to silence it."""
    warn(
        f"Please check how the data were prepared: {message}. If that is intended: "
        f"warnings.filterwarnings('ignore', '.*{pattern}')"
    )


def _check_baselines(
    part: Preparation, first: Preparation, name: str, first_name: str, mode: Mode
) -> None:
    pair = part.baseline, first.baseline
    if pair == (None, None):
        return
    if pair[0] is not None and pair[1] is not None:
        apart = _limits(pair[0], part.times) - _limits(pair[1], first.times)
        if np.abs(apart).max() <= 0.5 / first.info["sfreq"]:
            return
    if mode != "runs" and (
        (pair[1] is not None and part.corrected(pair[1]))
        or (pair[0] is not None and first.corrected(pair[0]))
    ):
        return
    remedy = "apply the same baseline to all of them"
    if first.data is None and pair[1] is not None:
        remedy = f"use epochs.apply_baseline({_rounded(pair[1])})"
    elif first.data is None:
        remedy = "fit on epochs with that baseline, or use epochs to which none was applied"
    raise ValueError(
        f"{name} has the baseline {_rounded(pair[0])} and {first_name} has {_rounded(pair[1])}; "
        f"{remedy}."
    )


def _limits(baseline: tuple, times: np.ndarray) -> np.ndarray:
    """Return the first and last second of a baseline."""
    first, last = baseline
    return np.array([times[0] if first is None else first, times[-1] if last is None else last])


def _rounded(baseline: tuple | None) -> tuple | None:
    """Return a baseline as a person writes it."""
    return baseline and tuple(None if t is None else round(float(t), 6) for t in baseline)


def _check_sizes(part: Preparation, first: Preparation, name: str, first_name: str) -> None:
    for ch_type in part.scales.keys() & first.scales.keys():
        sd, other = part.scales[ch_type], first.scales[ch_type]
        if sd > 0 and other > 0 and not 1 / _MOST_RATIO < sd / other < _MOST_RATIO:
            raise ValueError(
                f"The {ch_type} data of {name} are {sd / other:.3g} times as large as those of "
                f"{first_name}; give both in the same unit (MNE's are V, T and T/m)."
            )


def _projectors(prepared: Preparation) -> list:
    """Return the projectors that concern the channels there are."""
    names = set(prepared.info["ch_names"])
    return [p for p in prepared.info["projs"] if names & set(p["data"]["col_names"])]


def _state(prepared: Preparation, wanted: Any) -> bool | None:
    """Tell whether a projector was applied; None where there is none."""
    for proj in _projectors(prepared):
        if same_projector(proj, wanted):
            return bool(proj["active"])
    return None


def same_projector(one: Any, other: Any) -> bool:
    """Tell whether two projectors take the same out of the same channels.

    Parameters
    ----------
    one, other : mne.Projection
        Whether they were applied does not count.

    Returns
    -------
    bool
    """
    a, b = one["data"], other["data"]
    return (
        list(a["col_names"]) == list(b["col_names"])
        and a["data"].shape == b["data"].shape
        and np.allclose(a["data"], b["data"], atol=1e-6)
    )


_STATES = {True: "applied", False: "waiting to be applied", None: "missing"}


def _check_projectors(
    part: Preparation, first: Preparation, name: str, first_name: str, mode: Mode
) -> bool:
    """Compare projectors and their state; tell whether there was a warning."""
    told = False
    for proj in [*_projectors(first), *_projectors(part)]:
        states = _state(part, proj), _state(first, proj)
        if states[0] == states[1]:
            continue
        reference = proj["kind"] == FIFF.FIFFV_PROJ_ITEM_EEG_AVREF
        what = (
            f"The projector {proj['desc']!r} is {_STATES[states[0]]} in {name} and "
            f"{_STATES[states[1]]} in {first_name}"
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
        if size < _GONE or referenced:
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
                    _warn(other, "the projector")
                told = True
                continue
        if None in states and mode == "subjects":
            _warn(
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


def _check_reference(
    part: Preparation, first: Preparation, name: str, first_name: str, mode: Mode
) -> None:
    """Compare the reference of EEG, by the data where they tell it."""
    names = [ch for ch, kind in part.ch_types.items() if kind == "eeg"]
    there = [ch for ch, kind in first.ch_types.items() if kind == "eeg"]
    if not names or not there:
        return
    flags = [_referenced(side) for side in (part, first)]
    average = [_averaged(side, names if set(names) == set(there) else []) for side in (part, first)]
    if average == [True, True]:
        return
    what = f"the EEG reference of {name} is another than that of {first_name}"
    pattern = "the EEG reference of"
    if None not in average and average[0] != average[1]:
        kinds = ["the average" if is_average else "not the average" for is_average in average]
        what += f" ({kinds[0]}, and {kinds[1]})"
        if mode != "subjects" and flags[0] != flags[1]:
            raise ValueError(
                f"{what[0].upper()}{what[1:]}; reference both alike (epochs.set_eeg_reference)."
            )
        _warn(what, pattern)
    elif flags[0] != flags[1]:
        said = ["one set by you" if flag else "that of the amplifier" for flag in flags]
        _warn(f"{what} (by info, {said[0]} and {said[1]})", pattern)


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
    return True if size < _GONE else False if size > _THERE else None


def _check_head(
    part: Preparation, first: Preparation, name: str, first_name: str, mode: Mode
) -> None:
    """Compare the position of the head in the MEG helmet."""
    if mode == "subjects" or not {"mag", "grad"} & set(part.ch_types.values()):
        return
    here, there = part.info["dev_head_t"], first.info["dev_head_t"]
    if (here is None) == (there is None) and (
        here is None or np.allclose(here["trans"], there["trans"], rtol=1e-6, equal_nan=True)
    ):
        return
    what = (
        f"the position of the head (info['dev_head_t']) in {name} is another than in {first_name}, "
        "so that MEG sensors saw other places"
    )
    if mode == "runs":
        raise ValueError(
            f"{what[0].upper()}{what[1:]}. Bring the runs to one position with "
            "mne.preprocessing.maxwell_filter(raw, destination=...), or, where that is intended, "
            "join them with mne.concatenate_epochs(epochs, on_mismatch='ignore')."
        )
    _warn(f"{what}; mne.preprocessing.maxwell_filter(raw, destination=...) aligns them",
          "the position of the head")  # fmt: skip


def _check_filters(part: Preparation, first: Preparation, name: str, first_name: str) -> None:
    """Compare the filters that data went through."""
    for key, word in (("highpass", "high-pass"), ("lowpass", "low-pass")):
        here, there = (float(side.info[key] or 0.0) for side in (part, first))
        if not np.isclose(here, there, rtol=0.02, atol=1e-3):
            _warn(
                f"{name} has a {word} of {here:g} Hz and {first_name} of {there:g} Hz "
                f"(info[{key!r}]); filter both alike",
                f"has a {word} of",
            )
