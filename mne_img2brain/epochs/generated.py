"""Arrays back to MNE objects: generated epochs with their events and metadata."""

from collections.abc import Sequence

import mne
import numpy as np
import pandas as pd

from .._parameters import Integer
from .maps import start_at


def make_epochs(
    data: np.ndarray, info: mne.Info, *, tmin: float, baseline: tuple | None = None,
    metadata: pd.DataFrame | None = None, event_codes: np.ndarray | None = None,
    event_id: dict[str, int] | None = None,
) -> mne.EpochsArray:  # fmt: skip
    """Make epochs of an array in SI units.

    ``mne.EpochsArray`` would apply projectors that are not active and subtract the baseline, in
    place. Here projectors keep their state, and ``baseline`` is that of the training data.
    """
    data = np.array(data, dtype=np.float64)
    codes = np.ones(len(data), int) if event_codes is None else np.asarray(event_codes, dtype=int)
    if event_id is not None:
        there = set(codes.tolist())
        event_id = {name: int(code) for name, code in event_id.items() if code in there}
    samples = np.arange(len(data)) * data.shape[2]
    events = np.column_stack([samples, np.zeros(len(data), int), codes])
    epochs = mne.EpochsArray(
        data, info, events=events, tmin=tmin, event_id=event_id or None, proj=False, baseline=None,
        metadata=None if metadata is None else metadata.reset_index(drop=True), verbose="error",
    )  # fmt: skip
    start_at(epochs, tmin)
    # what mne.read_epochs does with data that were baseline-corrected when they were saved
    epochs.baseline = None if baseline is None else tuple(baseline)
    return epochs


def generated_metadata(
    n_images: int, *, image_ids: Sequence | np.ndarray | None = None,
    names: list[str] | None = None, captions: list[str] | None = None,
    subject: str | None = None, n_draws: int | None = None, n_averaged: int = 1,
    metadata: pd.DataFrame | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Make the metadata of generated epochs: one row per image, or per image and draw.

    metadata: the user's own columns, one row per image. They replace columns of the same name, but
        for ``draw`` and ``n_averaged``.
    """
    frame = pd.DataFrame({"image_id": np.arange(n_images) if image_ids is None else image_ids})
    columns = {"image": names, "caption": captions, "subject": [subject] * n_images}
    for name, values in columns.items():
        # where nothing is known NaN: an empty name would be taken for a name
        cells = [str(value) if value else np.nan for value in values or [None] * n_images]
        frame[name] = pd.Series(cells, dtype=object)
    frame["draw"] = np.nan
    if metadata is not None:
        metadata = _checked_metadata(metadata, n_images)
        if "draw" in metadata:
            raise ValueError(
                "metadata has a column 'draw', which is the number of the draw; rename it."
            )
        for name in metadata.columns.drop("n_averaged", errors="ignore"):
            frame[name] = metadata[name]
    # of how many trials recorded data were averages is not true of generated ones
    if n_averaged != 1:
        frame["n_averaged"] = n_averaged
    if n_draws is not None:
        frame = frame.loc[frame.index.repeat(n_draws)].reset_index(drop=True)
        frame["draw"] = np.tile(np.arange(n_draws), n_images)
    return frame


def events_for(
    n_images: int,
    *,
    event_id: str | list[str] | dict[str, int] | None = None,
    metadata: pd.DataFrame | None = None,
    known: dict[str, int] | None = None,
) -> tuple[np.ndarray, dict[str, int]]:
    """Choose the event code of every image, so that ``generated["face"]`` selects its epochs.

    Codes that the user does not choose are those of the training epochs, ``known``, where they have
    that condition, and else do not clash with theirs: :func:`mne.concatenate_epochs` joins both.

    event_id: None: all are ``"generated"``; list: the condition of each image; str: the metadata
        column that holds them; dict: names and codes of conditions, which are in the one column
        whose values are all among the names, or all among the codes; one name that no column
        mentions is the condition of all images.
    """
    if metadata is not None:
        metadata = _checked_metadata(metadata, n_images)
    if isinstance(event_id, dict):
        return _codes_from_dict(event_id, metadata, n_images)
    if event_id is None:
        event_id = ["generated"] * n_images
    elif isinstance(event_id, str):
        if metadata is None or event_id not in metadata:
            there = "there is no metadata" if metadata is None else f"it has {list(metadata)}"
            raise ValueError(
                f"event_id={event_id!r} is not a column of metadata: {there}. Names of conditions "
                "are a list, one for each image."
            )
        missing = np.flatnonzero(metadata[event_id].isna())
        if len(missing):
            raise ValueError(
                f"The column {event_id!r} of metadata, which holds the conditions, is empty in row "
                f"{missing[0]}; fill it for every image."
            )
        event_id = metadata[event_id].tolist()
    if isinstance(event_id, (set, frozenset)) or not np.iterable(event_id):
        raise TypeError(
            f"event_id is a {type(event_id).__name__}; give a list with the condition of each "
            "image, a column of metadata, or a dict of name to code."
        )
    if None in list(event_id):
        raise ValueError("event_id has None among the conditions; give one per image.")
    conditions = [str(value) for value in event_id]
    if len(conditions) != n_images:
        raise ValueError(
            f"event_id has {len(conditions)} conditions, but there are {n_images} images; "
            "give one per image."
        )
    known = known or {}
    safe = _safe_names(sorted(set(conditions)))
    # the power of ten above: event codes of images not in the training epochs are below it too
    free = 1 if not known else 10 ** len(str(max(0, *known.values())))
    new = [name for name in safe.values() if name not in known and name != "generated"]
    code_of = {"generated": free, **known}
    code_of |= {name: code for code, name in enumerate(new, start=free + 1)}
    codes = np.array([code_of[safe[value]] for value in conditions], dtype=int)
    return codes, {name: code_of[name] for name in safe.values()}


def _checked_metadata(metadata: pd.DataFrame | None, n_images: int) -> pd.DataFrame:
    """Check that there is one row per image."""
    if not isinstance(metadata, pd.DataFrame):
        raise TypeError(f"metadata is a {type(metadata).__name__}; give a pandas.DataFrame.")
    if len(metadata) != n_images:
        raise ValueError(
            f"metadata has {len(metadata)} rows, but there are {n_images} images; give one row per "
            "image."
        )
    return metadata.reset_index(drop=True)


def _codes_from_dict(
    event_id: dict, metadata: pd.DataFrame | None, n_images: int
) -> tuple[np.ndarray, dict]:
    """Find the metadata column that says which of the user's conditions an image is."""
    for name, code in event_id.items():
        if code not in Integer(-(2**31), 2**31 - 1):
            raise ValueError(f"event_id[{name!r}]={code!r}; give an event code, an integer.")
    columns = {} if metadata is None else {str(c): metadata[c].tolist() for c in metadata}
    # True is no code, though it equals 1
    columns = {c: v for c, v in columns.items() if v and not any(isinstance(x, bool) for x in v)}
    names, codes = set(event_id), set(event_id.values())
    fitting = [c for c, values in columns.items() if _all_in(values, names)]
    by_name = bool(fitting)
    if not by_name:
        fitting = [c for c, values in columns.items() if _all_in(values, codes)]
    safe = _safe_names(list(event_id))
    labels = {safe[name]: int(code) for name, code in event_id.items()}
    cells = [value for values in columns.values() for value in values]
    if len(event_id) == 1 and not any(_all_in([value], names | codes) for value in cells):
        return np.full(n_images, next(iter(labels.values())), dtype=int), labels
    if len(fitting) != 1:
        what = "No column" if not fitting else f"More than one column ({', '.join(fitting)})"
        raise ValueError(
            f"{what} of metadata has only values among {list(event_id)}, so the condition of each "
            "image is not clear; give metadata with one such column, or event_id as a list with "
            "the condition of each image."
        )
    values = columns[fitting[0]]
    chosen = [event_id[value] if by_name else value for value in values]
    return np.array(chosen, dtype=int), labels


def _all_in(values: list, allowed: set) -> bool:
    """Tell whether all values are among some; what cannot be looked up is not."""
    try:
        return set(values) <= allowed
    except TypeError:
        return False


def _safe_names(names: list) -> dict:
    """Replace what separates names from codes in a FIF file; different names stay apart."""
    safe = {}
    for name in names:
        plain = str(name).replace(":", "_").replace(";", "_")
        unique, number = plain, 2
        while unique in safe.values() or (unique != name and unique in names):
            unique, number = f"{plain} ({number})", number + 1
        safe[name] = unique
    return safe
