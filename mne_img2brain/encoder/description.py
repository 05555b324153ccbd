"""What a fitted encoder is, in words: for notebooks and model cards."""

import collections
import html
import math
from collections.abc import Iterable

import numpy as np

from .._types import Encoder
from ..epochs.preparation import limits
from ..epochs.regions import lobe_of

_KINDS = {"eeg": "EEG", "mag": "magnetometers", "grad": "gradiometers"}


def describe(encoder: Encoder) -> dict[str, str]:
    """Describe a fitted encoder, line by line."""
    times, info = encoder.times_, encoder.info_
    lines = {
        "sensors": _counts(_KINDS.get(kind, kind) for kind in info.get_channel_types()),
        "regions": _counts(lobe_of(encoder.regions_)),
        "times": f"{_seconds(times[0])} to {_seconds(times[-1])} s from image onset, "
        f"{len(times)} points at {info['sfreq']:g} Hz",
        "band": f"{info['highpass']:g} to {info['lowpass']:g} Hz",
        "baseline": _baseline(encoder.baseline_, times),
        "images": f"{len(encoder.training_image_keys_):,} distinct",
        "trials": f"{encoder.n_trials_:,}",
    }
    if stored := getattr(encoder.regressor_, "n_stored_trials_", 0):
        lines["trials"] += f", residuals of {stored:,} kept to draw noise by"
    r = getattr(encoder, "cross_validated_r_", math.nan)
    if math.isfinite(r):
        lines["cross-validated r"] = f"{r:.3f}, across images left out in fit"
    subjects = encoder.subjects_
    lines["subjects"] = f"{len(subjects)}: {_some(subjects)}" if subjects else "not told apart"
    if encoder.noise_summary_ is not None:
        lines["single trials"] = f"by {encoder.noise_summary_}"
    if encoder.left_out_:
        lines["left out"] = f"{len(encoder.left_out_)}: {_some(encoder.left_out_)}"
    return lines


def html_table(encoder: Encoder) -> str:
    """Return what was fitted, as a table for notebooks."""
    cell = "padding:0.15em 1em 0.15em 0;text-align:left;vertical-align:top"
    rows = "".join(
        f'<tr><th scope="row" style="{cell}">{html.escape(name)}</th>'
        f'<td style="{cell}">{html.escape(text)}</td></tr>'
        for name, text in describe(encoder).items()
    )
    return f'<table style="border-collapse:collapse;margin:0.5em 0">{rows}</table>'


def _counts(values: Iterable) -> str:
    """Count equal values, the most frequent first."""
    counts = collections.Counter(str(value) for value in values).most_common()
    return ", ".join(f"{count} {value}" for value, count in counts)


def _some(names: list[str], n_shown: int = 10) -> str:
    """Name a few of many."""
    shown = ", ".join(names[:n_shown])
    return shown if len(names) <= n_shown else f"{shown}, ..."


def _seconds(value: float) -> str:
    """Write a time without the dust of floating point."""
    return f"{value + 0.0:.3f}".rstrip("0").rstrip(".").replace("-0.000", "0")


def _baseline(baseline: tuple[float | None, float | None] | None, times: np.ndarray) -> str:
    """Describe the baseline, whose ends may be those of the epochs."""
    if baseline is None:
        return "none subtracted"
    ends = limits(baseline, times)
    return f"{_seconds(ends[0])} to {_seconds(ends[1])} s"
