"""Arrays back to MNE objects: generated epochs with their events and metadata, and maps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mne
import numpy as np
import pandas as pd


def make_epochs(
    data: np.ndarray,
    info: mne.Info,
    *,
    tmin: float,
    baseline: tuple | None = None,
    metadata: pd.DataFrame | None = None,
    event_codes: np.ndarray | None = None,
    event_id: dict[str, int] | None = None,
) -> mne.EpochsArray:
    """Make epochs of an array, leaving the array, the projectors and the baseline as they are.

    ``mne.EpochsArray`` would apply projectors that are not active and subtract the baseline, in
    place. Here ``baseline`` is recorded, as that of the training data, and not subtracted again;
    projectors keep their state.

    Parameters
    ----------
    data : array, shape (n_epochs, n_channels, n_times)
        In SI units.
    info : mne.Info
        Of the channels in ``data``; copied.
    tmin : float
        Seconds from image onset of the first time point.
    baseline : tuple of float | None
        The baseline that ``data`` have.
    metadata : pandas.DataFrame | None
        One row per epoch.
    event_codes : array of int, shape (n_epochs,) | None
        The event code of each epoch; None is 1 for all.
    event_id : dict of str -> int | None
        Names of event codes; those without an epoch are left out.

    Returns
    -------
    mne.EpochsArray
        With event samples that are unique.

    Raises
    ------
    ValueError
        If the numbers of epochs, channels or metadata rows differ.
    """
    data = np.array(data, dtype=np.float64)
    if data.ndim != 3 or data.shape[1] != len(info["ch_names"]):
        raise ValueError(
            f"data has shape {data.shape}; expected (n_epochs, {len(info['ch_names'])}, n_times)."
        )
    codes = np.ones(len(data), int) if event_codes is None else np.asarray(event_codes, dtype=int)
    if codes.shape != (len(data),):
        raise ValueError(f"event_codes has shape {codes.shape}, but there are {len(data)} epochs.")
    if metadata is not None and len(metadata) != len(data):
        raise ValueError(
            f"metadata has {len(metadata)} rows, but there are {len(data)} epochs; give one row "
            "per epoch."
        )
    if event_id is not None:
        there = set(codes.tolist())
        event_id = {name: int(code) for name, code in event_id.items() if code in there}
    samples = np.arange(len(data)) * data.shape[2]
    events = np.column_stack([samples, np.zeros(len(data), int), codes])
    epochs = mne.EpochsArray(
        data,
        info,
        events=events,
        tmin=tmin,
        event_id=event_id or None,
        proj=False,
        baseline=None,
        metadata=None if metadata is None else metadata.reset_index(drop=True),
        verbose="error",
    )
    # what mne.read_epochs does with data that were baseline-corrected when they were saved
    epochs.baseline = None if baseline is None else tuple(baseline)
    return epochs


def to_evoked_map(
    values: np.ndarray, info: mne.Info, *, tmin: float, comment: str = ""
) -> mne.EvokedArray:
    """Wrap a map over sensors and times, such as r, so that MNE can plot it.

    Parameters
    ----------
    values : array, shape (n_channels, n_times)
        Without units.
    info : mne.Info
        Of these channels; copied.
    tmin : float
        Seconds from image onset of the first time point.
    comment : str
        What the values are.

    Returns
    -------
    mne.EvokedArray
        The values as they are: plot with ``scalings=1`` and ``units=""``.
    """
    values = np.array(values, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] != len(info["ch_names"]):
        raise ValueError(
            f"values has shape {values.shape}; expected ({len(info['ch_names'])}, n_times)."
        )
    return mne.EvokedArray(values, info.copy(), tmin=tmin, comment=comment, verbose="error")


def generated_metadata(
    n_images: int,
    *,
    names: list[str] | None = None,
    captions: list[str] | None = None,
    subject: str | Sequence | np.ndarray | None = None,
    n_draws: int | None = None,
    metadata: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Make the metadata of generated epochs: one row per image, or per image and draw.

    Parameters
    ----------
    n_images : int
        Number of images.
    names : list of str | None
        Path or name of each image; empty where there is none.
    captions : list of str | None
        Caption of each image.
    subject : str | array-like of str, shape (n_images,) | None
        Whose response it is.
    n_draws : int | None
        Number of draws of each image. None makes one row per image, draw being -1: the expected
        response.
    metadata : pandas.DataFrame | None
        The user's own columns, one row per image. They replace columns of the same name, but for
        ``draw``.

    Returns
    -------
    pandas.DataFrame, shape (n_images * n_draws, n_columns)
        Columns ``image_id`` (position among the images given), ``image``, ``caption``,
        ``subject``, ``draw`` and the user's own. The draws of one image are neighbours.

    Raises
    ------
    ValueError
        If something does not have one item per image, or the user's columns include ``draw``.
    """
    if isinstance(subject, str) or subject is None:
        subject = [subject or ""] * n_images
    columns = {
        "image": [""] * n_images if names is None else list(names),
        "caption": [""] * n_images if captions is None else list(captions),
        "subject": [str(value) for value in subject],
    }
    for name, values in columns.items():
        if len(values) != n_images:
            raise ValueError(f"There are {len(values)} values of {name!r} for {n_images} images.")
    frame = pd.DataFrame({"image_id": np.arange(n_images), **columns, "draw": -1})
    if metadata is not None:
        metadata = _checked_metadata(metadata, n_images)
        if "draw" in metadata:
            raise ValueError(
                "metadata has a column 'draw', which is the number of the draw; rename it."
            )
        for name in metadata.columns:
            frame[name] = metadata[name].to_numpy()
    if n_draws is not None:
        frame = frame.loc[frame.index.repeat(n_draws)].reset_index(drop=True)
        frame["draw"] = np.tile(np.arange(n_draws), n_images)
    return frame


def events_for(
    n_images: int,
    *,
    event_id: str | list[str] | dict[str, int] | None = None,
    names: list[str] | None = None,
    metadata: pd.DataFrame | None = None,
) -> tuple[np.ndarray, dict[str, int]]:
    """Choose the event code of every image, so that ``generated["face"]`` selects its epochs.

    Parameters
    ----------
    n_images : int
        Number of images.
    event_id : None | str | list of str, shape (n_images,) | dict of str -> int
        How images are grouped into conditions:

        - None: one code per image, called by its file name; folders are added (``cat/01.jpg``)
          until different images have different names. MNE takes what is between slashes as
          tags, so that ``generated["cat"]`` works too. Images without a name are called
          ``image 0``, ``image 1`` ...
        - list: the condition of each image;
        - str: the metadata column that holds the conditions;
        - dict: names and codes; the conditions are in the one metadata column whose values are
          all among the names (or all among the codes).
    names : list of str | None
        Path or name of each image.
    metadata : pandas.DataFrame | None
        One row per image.

    Returns
    -------
    codes : array of int, shape (n_images,)
        The event code of each image, from 1 unless the user chose codes.
    event_id : dict of str -> int
        The name of each code.

    Raises
    ------
    ValueError
        If the conditions are not clear.
    """
    if metadata is not None:
        metadata = _checked_metadata(metadata, n_images)
    if event_id is None:
        conditions = _image_labels(n_images, names)
        ordered = list(dict.fromkeys(conditions))
    elif isinstance(event_id, dict):
        return _codes_from_dict(event_id, metadata, n_images)
    else:
        if isinstance(event_id, str):
            if metadata is None or event_id not in metadata:
                there = "there is no metadata" if metadata is None else f"it has {list(metadata)}"
                raise ValueError(f"event_id={event_id!r} is not a column of metadata: {there}.")
            event_id = metadata[event_id].tolist()
        conditions = [_safe_name(value) for value in event_id]
        if len(conditions) != n_images:
            raise ValueError(
                f"event_id has {len(conditions)} conditions, but there are {n_images} images; "
                "give one per image."
            )
        ordered = sorted(set(conditions))
    code_of = {name: code for code, name in enumerate(ordered, start=1)}
    return np.array([code_of[name] for name in conditions], dtype=int), code_of


def _checked_metadata(metadata: Any, n_images: int) -> Any:
    """Check that there is one row per image."""
    if not isinstance(metadata, pd.DataFrame):
        raise TypeError(f"metadata is a {type(metadata).__name__}; give a pandas.DataFrame.")
    if len(metadata) != n_images:
        raise ValueError(
            f"metadata has {len(metadata)} rows, but there are {n_images} images; give one row per "
            "image."
        )
    return metadata.reset_index(drop=True)


def _codes_from_dict(event_id: dict, metadata: Any, n_images: int) -> tuple[np.ndarray, dict]:
    """Find the metadata column that says which of the user's conditions an image is."""
    if len(event_id) == 1:
        return np.full(n_images, next(iter(event_id.values())), dtype=int), dict(event_id)
    columns = {} if metadata is None else {str(c): metadata[c].tolist() for c in metadata}
    codes = set(event_id.values())
    fitting = [c for c, values in columns.items() if values and set(values) <= set(event_id)]
    by_name = bool(fitting)
    if not by_name:
        fitting = [c for c, values in columns.items() if values and set(values) <= codes]
    if len(fitting) != 1:
        what = "No column" if not fitting else f"More than one column ({', '.join(fitting)})"
        raise ValueError(
            f"{what} of metadata has only values among {list(event_id)}, so the condition of each "
            "image is not clear; give metadata with one such column, or event_id as a list with "
            "the condition of each image."
        )
    values = columns[fitting[0]]
    chosen = [event_id[value] if by_name else value for value in values]
    return np.array(chosen, dtype=int), {_safe_name(k): int(v) for k, v in event_id.items()}


def _image_labels(n_images: int, names: list[str] | None) -> list[str]:
    """Call images by as little of their path as tells them apart."""
    names = [""] * n_images if names is None else [str(name) for name in names]
    if len(names) != n_images:
        raise ValueError(f"There are {len(names)} names for {n_images} images.")
    parts = {name: Path(name).parts for name in names if name}
    depth, longest = 1, max(map(len, parts.values()), default=1)
    while depth < longest and len({part[-depth:] for part in parts.values()}) < len(parts):
        depth += 1
    return [
        _safe_name("/".join(parts[name][-depth:])) if name else f"image {i}"
        for i, name in enumerate(names)
    ]


def _safe_name(value: str) -> str:
    """Replace what separates names from codes in a FIF file."""
    return str(value).replace(":", "_").replace(";", "_")
