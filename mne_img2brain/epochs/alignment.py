"""Which image each trial answers to."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .._log import logger


def align(images: Sequence | np.ndarray, recording: Any, image_ids: Any = None) -> np.ndarray:
    """Find the image of every trial.

    Without ``image_ids``, images and trials are matched by order: one image per trial, or,
    where there are as many images as events including the dropped ones
    (``len(epochs.drop_log)``), one image per event. Anything else is an error: nothing is
    guessed.

    Parameters
    ----------
    images : sequence
        The images, or anything with one item per image.
    recording : Recording
        The trials.
    image_ids : array-like, shape (n_trials,) | str | None
        The image of each trial: positions in ``images`` counted from 0, or, where ``images``
        are paths, paths, file names or file names without extension. One per event, dropped ones
        included, will do too. A str names a metadata column with such values.

    Returns
    -------
    array of int, shape (n_trials,)
        The position in ``images`` of each trial's image.

    Raises
    ------
    ValueError
        If the numbers do not fit, or ids are missing, unknown or out of range.
    """
    n_images, n_trials, n_events = len(images), recording.n_trials, recording.n_events
    if n_images == 0:
        raise ValueError("images is empty; give at least one image.")
    if image_ids is None:
        if n_images == n_trials:
            return np.arange(n_trials)
        if n_images == n_events:
            logger.info(
                "%d images for %d events, of which %d trials are left: matched by event.",
                n_images, n_events, n_trials,
            )  # fmt: skip
            return recording.selection.astype(int)
        raise ValueError(
            f"There are {n_images} images, but {n_trials} trials (of {n_events} events before "
            "any was dropped). Give one image per trial, one per event, or image_ids= with the "
            "position in images of each trial's image."
        )
    label = "image_ids"
    if isinstance(image_ids, str):
        label = f"The metadata column {image_ids!r}"
        image_ids = metadata_column(recording, image_ids)
    ids = np.asarray(image_ids)
    if ids.ndim != 1 or len(ids) not in (n_trials, n_events):
        raise ValueError(
            f"{label} has shape {ids.shape}, but there are {n_trials} trials (of {n_events} "
            "events); give one id per trial."
        )
    if len(ids) != n_trials:
        logger.info("%s has one value per event: those of the trials left are used.", label)
        ids = ids[recording.selection]
    if ids.dtype.kind in "OUST" and not _all_numbers(ids):
        rows = _positions_by_name(ids, images, label)
    else:
        rows = _positions_by_number(ids, n_images, label)
    n_unused = n_images - len(np.unique(rows))
    if n_unused:
        logger.info("%d of %d images have no trial.", n_unused, n_images)
    return rows


def metadata_column(recording: Any, column: str) -> np.ndarray:
    """Return a column of the metadata, one value per trial, none missing.

    Parameters
    ----------
    recording : Recording
        The trials.
    column : str
        The name of the column.

    Returns
    -------
    array, shape (n_trials,)
        The values.

    Raises
    ------
    ValueError
        If there is no such column, or a value is missing.
    """
    if recording.metadata is None:
        raise ValueError(
            f"The metadata column {column!r} was asked for, but epochs.metadata is None; set "
            "epochs.metadata to a DataFrame with one row per trial."
        )
    if column not in recording.metadata:
        raise ValueError(
            f"epochs.metadata has no column {column!r}; it has {list(recording.metadata.columns)}."
        )
    values = recording.metadata[column]
    missing = np.flatnonzero(values.isna())
    if len(missing):
        raise ValueError(
            f"The metadata column {column!r} is empty in {len(missing)} of {len(values)} trials, "
            f"first in trial {missing[0]}; fill it for every trial."
        )
    return values.to_numpy()


def images_from_metadata(recording: Any, column: str) -> list[str]:
    """Read the path of every trial's image from a metadata column.

    Parameters
    ----------
    recording : Recording
        The trials.
    column : str
        The name of the column.

    Returns
    -------
    list of str
        One path per trial.

    Raises
    ------
    ValueError
        If there is no such column, or it holds something that is not a path.
    """
    paths = []
    for trial, value in enumerate(metadata_column(recording, column).tolist()):
        if not isinstance(value, (str, Path)) or not str(value):
            raise ValueError(
                f"The metadata column {column!r} should hold paths of images, but trial {trial} "
                f"has {value!r}."
            )
        paths.append(str(value))
    return paths


def _all_numbers(ids: np.ndarray) -> bool:
    """Tell whether an object array holds numbers only."""
    return ids.dtype.kind == "O" and all(
        isinstance(value, (int, float, np.number)) for value in ids.tolist()
    )


def _positions_by_number(ids: np.ndarray, n_images: int, label: str) -> np.ndarray:
    """Check ids that are positions."""
    numbers = ids.astype(float) if ids.dtype.kind in "OfiuT" else None
    if numbers is None:
        raise ValueError(f"{label} has the type {ids.dtype}; give integers or names of images.")
    broken = ~np.isfinite(numbers) | (np.round(numbers) != numbers)
    if broken.any():
        trial = int(np.flatnonzero(broken)[0])
        raise ValueError(f"{label} should hold whole numbers, but trial {trial} has {ids[trial]}.")
    rows = numbers.astype(int)
    outside = np.flatnonzero((rows < 0) | (rows >= n_images))
    if len(outside):
        wrong = np.unique(rows[outside])
        shown = ", ".join(map(str, wrong[:5])) + (", ..." if len(wrong) > 5 else "")
        hint = ""
        if rows.min() == 1 and rows.max() == n_images:
            hint = " They seem to count from 1: subtract 1."
        raise ValueError(
            f"{label}: {shown} {'is' if len(wrong) == 1 else 'are'} out of range for {n_images} "
            f"images (0 to {n_images - 1}), first in trial {outside[0]}.{hint}"
        )
    return rows


def _positions_by_name(ids: np.ndarray, images: Sequence | np.ndarray, label: str) -> np.ndarray:
    """Find images by path, file name, or file name without extension."""
    if not all(isinstance(image, (str, Path)) for image in images):
        kinds = sorted({type(image).__name__ for image in images})
        raise ValueError(
            f"{label} holds names ({ids[0]!r} ...), but images are not paths ({', '.join(kinds)}); "
            "give positions in images, counted from 0."
        )
    paths = [Path(image) for image in images]
    wanted = [str(value) for value in ids]
    for name_of in (str, lambda path: path.name, lambda path: path.stem):
        position, twice = {}, set()
        for row, path in enumerate(paths):
            name = name_of(path)
            if name in position and paths[position[name]] != path:
                twice.add(name)
            position.setdefault(name, row)
        if name_of is str:
            # the same path in another spelling is the same path
            wanted_here = [str(Path(name)) for name in wanted]
        else:
            wanted_here = wanted
        found = [name in position for name in wanted_here]
        if all(found):
            unclear = sorted(twice & set(wanted_here))
            if unclear:
                raise ValueError(
                    f"{label}: several images are called {unclear[0]!r}; give whole paths."
                )
            return np.array([position[name] for name in wanted_here])
    names = {name for path in paths for name in (str(path), path.name, path.stem)}
    unknown = pd.unique(np.array([n for n in wanted if n not in names] or wanted, dtype=object))
    raise ValueError(
        f"{label}: no image is called {unknown[0]!r} ({len(unknown)} names are unknown); images "
        f"are paths such as {str(images[0])!r}."
    )
