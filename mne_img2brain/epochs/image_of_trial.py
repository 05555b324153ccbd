"""Which image each trial answers to."""

from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path, PureWindowsPath

import numpy as np

from .._log import logger
from .._types import ImageIds, Images
from .recording import Recording


def align(
    images: Sequence | np.ndarray, recording: Recording, image_ids: ImageIds = None
) -> np.ndarray:
    """Return the position in ``images`` of every trial's image.

    Without ``image_ids``, images and trials are matched by order: one image per trial, or one per
    event, dropped ones included. Anything else is an error: nothing is guessed.

    image_ids: of trials or of events: positions counted from 0, or paths, file names or these
        without extension; or the metadata column that holds them. Paths of another folder or
        machine match by their base name where that is unique.
    """
    n_images, n_trials, n_events = len(images), recording.n_trials, recording.n_events
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
            "position in images of each trial's image, or the metadata column that holds it or "
            "the name of its file."
        )
    label, ids = _all_ids(recording, image_ids)
    of_trials = _of_trials(ids, recording)
    kinds = (int, float, np.number)
    numbers = ids.dtype.kind == "O" and all(isinstance(value, kinds) for value in ids.tolist())
    if ids.dtype.kind in "OUST" and not numbers:
        rows = _positions_by_name(of_trials, images, label)
    else:
        rows = _positions_by_number(of_trials, ids, n_images, label)
    n_unused = n_images - len(np.unique(rows))
    if n_unused:
        logger.info("%d of %d images have no trial.", n_unused, n_images)
    return rows


def ids_of_trials(recording: Recording, image_ids: ImageIds) -> np.ndarray:
    """Return what the user calls the image of every trial, as it was given."""
    return _of_trials(_all_ids(recording, image_ids)[1], recording)


def check_distinct_trials(
    recording: Recording, row: np.ndarray, contents: Callable[[], Sequence]
) -> None:
    """Raise where trials of different images are equal to the last bit, which noise never is.

    contents: returns what the image at each position shows; asked only where there are copies.
    """
    data = recording.data.reshape(recording.n_trials, -1)
    if data.shape[1] < 8:  # few values of an analogue-to-digital converter may repeat
        return
    few = np.ascontiguousarray(data[:, :: max(1, data.shape[1] // 16)])
    first, shown = {}, None
    for trial, values in enumerate(few):
        other = first.setdefault(values.tobytes(), trial)
        if row[other] == row[trial] or not np.array_equal(data[other], data[trial], equal_nan=True):
            continue
        shown = contents() if shown is None else shown
        if shown[row[other]] != shown[row[trial]]:
            raise ValueError(
                f"Trials {other} and {trial} are equal to the last bit, but answer to different "
                "images; one is a copy of the other. Leave it out, or give both the same image."
            )


def _all_ids(recording: Recording, image_ids: ImageIds) -> tuple[str, np.ndarray]:
    """Return ids of trials or events as an array, and what messages call them."""
    label = "image_ids"
    if isinstance(image_ids, str):
        label = f"The metadata column {image_ids!r}"
        image_ids = metadata_column(recording, image_ids)
    if isinstance(image_ids, (Set, Mapping)):
        raise TypeError(
            f"image_ids is a {type(image_ids).__name__}, which has no order of trials; give a list "
            "with one id per trial."
        )
    ids = np.asarray(image_ids)
    n_trials, n_events = recording.n_trials, recording.n_events
    if ids.ndim != 1 or len(ids) not in (n_trials, n_events):
        raise ValueError(
            f"{label} has shape {ids.shape}, but there are {n_trials} trials (of {n_events} "
            "events); give one id per trial."
        )
    if len(ids) != n_trials:
        logger.info("%s has one value per event: those of the trials left are used.", label)
    return label, ids


def _of_trials(values: np.ndarray, recording: Recording) -> np.ndarray:
    """Return the values of trials, of one value per trial or per event."""
    return values if len(values) == recording.n_trials else values[recording.selection]


def metadata_column(recording: Recording, column: str) -> np.ndarray:
    """Return a column of the metadata, one value per trial, none missing."""
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
    missing = np.flatnonzero(values.isna() | (values == "n/a"))  # as BIDS writes it
    if len(missing):
        raise ValueError(
            f"The metadata column {column!r} is empty in {len(missing)} of {len(values)} trials, "
            f"first in trial {missing[0]}; fill it for every trial, or leave those out: "
            f"epochs[~epochs.metadata[{column!r}].isin(['n/a', None])]."
        )
    return values.to_numpy()


def named_images(recording: Recording, images: Images, image_ids: ImageIds) -> Images:
    """Return images as given, or read from the metadata column that they name.

    Where a column has the name of a folder it is the column, unless ``image_ids`` are given.
    """
    if not isinstance(images, str) or images.endswith(".npy"):
        return images
    named = recording.metadata is not None and images in recording.metadata
    if Path(images).is_dir() and not (named and image_ids is None):
        return images
    if image_ids is not None:
        raise ValueError(
            f"images={images!r} names a metadata column, which tells the image of every "
            "epoch; leave image_ids out."
        )
    paths = metadata_column(recording, images).tolist()
    for trial, value in enumerate(paths):
        if not isinstance(value, (str, Path)) or not str(value):
            raise ValueError(
                f"The metadata column {images!r} should hold paths of images, but trial {trial} "
                f"has {value!r}."
            )
    paths = [str(path) for path in paths]
    if not (Path(paths[0]).is_absolute() or Path(paths[0]).exists()):
        raise FileNotFoundError(
            f"The metadata column {images!r} names {paths[0]!r}, which is not there, seen from "
            f"{Path.cwd()}. Give the folder of the images in its place, and image_ids={images!r}."
        )
    return paths


def _positions_by_number(
    ids: np.ndarray, of_events: np.ndarray, n_images: int, label: str
) -> np.ndarray:
    """Check ids that are positions; those of dropped events may tell that they count from 1."""
    if ids.dtype.kind not in "Ofiu":
        raise ValueError(f"{label} has the type {ids.dtype}; give integers or names of images.")
    numbers = ids.astype(float)
    broken = ~np.isfinite(numbers) | (np.round(numbers) != numbers)
    if broken.any():
        trial = int(np.flatnonzero(broken)[0])
        raise ValueError(f"{label} should hold whole numbers, but trial {trial} has {ids[trial]}.")
    if np.abs(numbers).max() > 1e15:
        raise ValueError(
            f"{label} holds {ids[np.abs(numbers).argmax()]}; give positions in images, 0 to "
            f"{n_images - 1}."
        )
    rows = numbers.astype(int)
    outside = np.flatnonzero((rows < 0) | (rows >= n_images))
    all_ids = of_events.astype(float)
    from_one = rows.min() >= 1 and np.nanmin(all_ids) >= 1 and np.nanmax(all_ids) == n_images
    if from_one and not len(outside):
        raise ValueError(
            f"{label} runs from {np.nanmin(all_ids):g} to {n_images}, dropped events included, for "
            f"{n_images} images (0 to {n_images - 1}). They seem to count from 1: subtract 1."
        )
    if len(outside):
        wrong = np.unique(rows[outside])
        shown = ", ".join(map(str, wrong[:5])) + (", ..." if len(wrong) > 5 else "")
        hint = " They seem to count from 1: subtract 1." if from_one else ""
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
    paths = [_parts(image) for image in images]
    whole, by_name, by_stem = {}, {}, {}
    for row, path in enumerate(paths):
        # the same path twice, or in another spelling, is the same image
        if whole.setdefault(path, row) == row:
            by_name.setdefault(path[-1], []).append(row)
            by_stem.setdefault(Path(path[-1]).stem, []).append(row)
    found, unknown = {}, []
    for name in dict.fromkeys(str(value) for value in ids):
        path = _parts(name)
        rows = by_name.get(path[-1]) or by_stem.get(path[-1], [])
        rows = [whole[path]] if path in whole else rows
        if len(rows) > 1:
            # as much of the folders as tells them apart
            shared = [_n_shared(paths[row][:-1], path[:-1]) for row in rows]
            most = max(shared)
            rows = [row for row, n in zip(rows, shared, strict=True) if n == most]
        if len(rows) > 1:
            raise ValueError(
                f"{label}: several images are called {name!r} ({images[rows[0]]}, "
                f"{images[rows[1]]}); give whole paths."
            )
        if rows:
            found[name] = rows[0]
        else:
            unknown.append(name)
    if unknown:
        raise ValueError(
            f"{label}: no image is called {unknown[0]!r} ({len(unknown)} names are unknown); "
            f"images are paths such as {str(images[0])!r}."
        )
    taken = {}
    for name, row in found.items():
        other = taken.setdefault(row, name)
        folders = _parts(name)[:-1], _parts(other)[:-1]
        if all(folders) and _n_shared(*folders) < min(map(len, folders)):
            raise ValueError(
                f"{label}: {other!r} and {name!r} are of different folders, but only one image has "
                f"that name, {str(images[row])!r}; give the paths of both."
            )
    return np.array([found[str(value)] for value in ids])


def _parts(path: object) -> tuple:
    """Return the parts of a path, whichever system wrote it."""
    text = str(path)
    return (PureWindowsPath(text) if "\\" in text else Path(text)).parts or ("",)


def _n_shared(one: tuple, other: tuple) -> int:
    """Count the innermost folders that two paths share."""
    n = 0
    while n < min(len(one), len(other)) and one[-1 - n] == other[-1 - n]:
        n += 1
    return n
