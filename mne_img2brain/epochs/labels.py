"""Whose trials they are, and of how many each is the average."""

import mne
import numpy as np
import pandas as pd

from .._log import logger
from .maps import EvokedMap

# what str() and files make of a missing name
_NO_NAME = {"", "None", "nan", "NaN", "n/a", "<NA>"}

_MOST_AVERAGED = 1e6  # trials: nobody has recorded more for one average


def trials_averaged(evoked: mne.Evoked, label: str) -> float:
    """Return of how many trials an Evoked is the average."""
    if isinstance(evoked, EvokedMap):
        raise ValueError(
            f"{label} is a map without a unit ({evoked.comment!r}), not a response; give averages "
            "of trials."
        )
    if evoked.kind != "average":
        raise ValueError(
            f"{label} is a {evoked.kind.replace('_', ' ')} (kind={evoked.kind!r}), not a response; "
            "give averages: [evoked for evoked in evokeds if evoked.kind == 'average']."
        )
    if not (np.isfinite(evoked.nave) and evoked.nave > 0):
        raise ValueError(
            f"{label} is the average of nave={evoked.nave} trials; set evoked.nave to the number "
            "of trials that were averaged, above 0."
        )
    return float(evoked.nave)


def averaged_column(column: pd.Series, label: str) -> np.ndarray:
    """Return of how many trials each row is the average; what is missing is 1.

    Concatenation with recordings without that column leaves it empty.
    """
    counts = pd.to_numeric(column, errors="coerce").to_numpy(float, na_value=np.nan, copy=True)
    missing = column.isna().to_numpy()
    if missing.any():
        logger.info(
            "The metadata column 'n_averaged' of %s is empty in %d of %d rows: these count as "
            "single trials.",
            label, missing.sum(), len(missing),
        )  # fmt: skip
    counts[missing] = 1
    broken = ~np.isfinite(counts) | (counts <= 0) | (counts > _MOST_AVERAGED)
    if broken.any():
        row = int(np.flatnonzero(broken)[0])
        raise ValueError(
            f"Row {row} of the metadata column 'n_averaged' of {label} is {column.iloc[row]!r}; "
            f"give the number of trials that were averaged, above 0 and up to {_MOST_AVERAGED:.0e}."
        )
    return counts


def subject_name(value: object) -> str | None:
    """Return the name of a subject; None for what is missing, or what str() makes of it."""
    missing = pd.api.types.is_scalar(value) and pd.isna(value)
    text = "" if missing else str(value).strip()
    return None if text in _NO_NAME else text


def check_names(epochs: dict) -> None:
    """Raise where the keys of a dict do not name subjects."""
    names = [subject_name(subject) for subject in epochs]
    if None in names:
        raise ValueError(
            f"epochs has the key {list(epochs)[names.index(None)]!r}, which names no subject; give "
            "{subject: epochs}, or the epochs alone."
        )
    if len(set(names)) < len(names):
        raise ValueError(
            f"epochs has keys with the same name ({names}); give every subject its own."
        )


def check_subjects(subject: np.ndarray) -> None:
    """Raise where only some trials have the name of a subject."""
    missing = np.flatnonzero([name is None for name in subject])
    if 0 < len(missing) < len(subject):
        raise ValueError(
            f"Row {missing[0]} of the metadata column 'subject' (all of epochs taken together) is "
            f"empty ({len(missing)} of {len(subject)} are); name the subject of every trial, or of "
            "none."
        )
