"""Were recordings that are joined, or compared with a fit, prepared alike.

What cannot be right is an error, what may be intended a warning. Data have the last word where they
can: a recording that was referenced without a projector is the same as one with an applied one.
"""

from typing import TYPE_CHECKING

import numpy as np

from .._types import Encoder
from .preparation import Mode, Preparation, limits, preparation, sizes, warn_of
from .projections import check_projectors, check_reference

if TYPE_CHECKING:
    from .recording import Recording


# between the sizes of two recordings: averages of 1,000 trials are 30 times as small as trials,
# units differ by 1,000 at least
_MOST_RATIO = 100.0
# SD in SI units: more is another unit (ten times what amplifiers and sensors give)
_LARGEST = {"eeg": 5e-3, "ecog": 5e-2, "seeg": 5e-2, "dbs": 5e-2, "mag": 1e-9, "grad": 1e-8}
# and less: ten microvolts divided by a million
_SMALLEST = {"eeg": 3e-11, "ecog": 3e-11, "seeg": 3e-11, "dbs": 3e-11, "mag": 1e-18, "grad": 1e-17}


def check_like_fit(
    recording: "Recording",
    encoder: Encoder,
    mode: Mode = "compared",
    *,
    label: str = "fit",
) -> None:
    """Raise or warn where a recording was not prepared as the data of a fit.

    What the encoder does not say of its data is not compared.
    """
    scaler, basis = getattr(encoder, "scaler_", None), getattr(encoder, "basis_", None)
    info, scales = encoder.info_, {} if scaler is None else scaler.scales_
    if basis is not None and scaler is not None:
        basis = np.array([[scales[kind]] for kind in info.get_channel_types()]) * basis
    if getattr(encoder, "n_training_subjects_", 1) > 1:
        mode = "subjects"
    part = preparation(recording, "epochs")
    # an encoder that does not say which baseline its data had
    baseline = getattr(encoder, "baseline_", part.baseline)
    fit = Preparation(label, info, baseline, np.asarray(encoder.times_), None, basis, scales)
    check_alike(part, fit, mode)


def check_alike(part: Preparation, first: Preparation, mode: Mode) -> None:
    """Raise or warn where two sets of data were not prepared alike; runs as MNE joins them."""
    _check_baselines(part, first, mode)
    _check_sizes(part, first, mode)
    if part.info is first.info:
        return
    for channel in part.ch_types.keys() & first.ch_types.keys():
        kinds = part.ch_types[channel], first.ch_types[channel]
        if kinds[0] != kinds[1]:
            raise ValueError(
                f"Channel {channel!r} is of another type ({kinds[0]!r}) in {part.name} than in "
                f"{first.name} ({kinds[1]!r}); use epochs.set_channel_types to set it alike."
            )
    told = check_projectors(part, first, mode)
    if not told:
        check_reference(part, first, mode)
    _check_head(part, first, mode)
    _check_filters(part, first)


def check_units(recording: "Recording") -> None:
    """Warn where data are larger or smaller than sensors give in MNE's units."""
    if recording.metadata is not None and "unit" in recording.metadata:
        return
    for ch_type, size in sizes(recording.data, recording.ch_types).items():
        if not _SMALLEST.get(ch_type, 0) <= size <= _LARGEST.get(ch_type, np.inf):
            unit = {"mag": "T", "grad": "T/m"}.get(ch_type, "V")
            warn_of(
                f"the {ch_type} data have a standard deviation of {size:.3g} {unit}. MNE's unit is "
                f"{unit}; multiply microvolts, say, by 1e-6. What is generated will be called "
                f"{unit} whatever the data are in",
                "data have a standard deviation",
            )


def _check_baselines(part: Preparation, first: Preparation, mode: Mode) -> None:
    pair = part.baseline, first.baseline
    if pair == (None, None):
        return
    if pair[0] is not None and pair[1] is not None:
        apart = limits(pair[0], part.times) - limits(pair[1], first.times)
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
        f"{part.name} has the baseline {_rounded(pair[0])} and {first.name} has "
        f"{_rounded(pair[1])}; {remedy}."
    )


def _rounded(baseline: tuple | None) -> tuple | None:
    """Return a baseline as a person writes it."""
    return baseline and tuple(None if t is None else round(float(t), 6) for t in baseline)


def _check_sizes(part: Preparation, first: Preparation, mode: Mode) -> None:
    single = [side.data is not None and len(side.data) < 2 for side in (part, first)]
    # one trial of a list may be an artefact, of millivolts
    most = _MOST_RATIO**2 if mode == "runs" and any(single) else _MOST_RATIO
    if part.info is first.info:  # of thousands of single trials; types are looked up once
        vars(part)["ch_types"] = first.ch_types
    for ch_type in part.scales.keys() & first.scales.keys():
        sd, other = part.scales[ch_type], first.scales[ch_type]
        if sd > 0 and other > 0 and not 1 / most < sd / other < most:
            raise ValueError(
                f"The {ch_type} data of {part.name} are {sd / other:.3g} times as large as those "
                f"of {first.name}; give both in the same unit (MNE's are V, T and T/m)."
            )


def _check_head(part: Preparation, first: Preparation, mode: Mode) -> None:
    """Compare the position of the head in the MEG helmet."""
    if mode == "subjects" or not {"mag", "grad"} & set(part.ch_types.values()):
        return
    here, there = part.info["dev_head_t"], first.info["dev_head_t"]
    if (here is None) == (there is None) and (
        here is None or np.allclose(here["trans"], there["trans"], rtol=1e-6, equal_nan=True)
    ):
        return
    what = (
        f"the position of the head (info['dev_head_t']) in {part.name} is another than in "
        f"{first.name}, so that MEG sensors saw other places"
    )
    if mode == "runs":
        raise ValueError(
            f"{what[0].upper()}{what[1:]}. Bring the runs to one position with "
            "mne.preprocessing.maxwell_filter(raw, destination=...), or, where that is intended, "
            "join them with mne.concatenate_epochs(epochs, on_mismatch='ignore')."
        )
    warn_of(f"{what}; mne.preprocessing.maxwell_filter(raw, destination=...) aligns them",
          "the position of the head")  # fmt: skip


def _check_filters(part: Preparation, first: Preparation) -> None:
    """Compare the filters that data went through."""
    for key, word in (("highpass", "high-pass"), ("lowpass", "low-pass")):
        here, there = (float(side.info[key] or 0.0) for side in (part, first))
        if not np.isclose(here, there, rtol=0.02, atol=1e-3):
            warn_of(
                f"{part.name} has a {word} of {here:g} Hz and {first.name} of {there:g} Hz "
                f"(info[{key!r}]); filter both alike",
                f"has a {word} of",
            )
