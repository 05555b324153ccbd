"""Which image, caption, group and subject each trial has."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from .._log import logger
from .._types import ImageIds, Images
from ..epochs import align, check_distinct_trials, ids_of_trials, metadata_column, named_images
from ..epochs.recording import Recording
from ..stimulus.images import refuse_missing, refuse_unordered
from ..stimulus.stimuli import Stimuli, check_captions, content_keys, indexable, take_images
from ..trials.splits import merge_groups


def pair_trials(
    recording: Recording,
    images: Images,
    image_ids: ImageIds = None,
    captions: list[str] | str | None = None,
) -> tuple[list | np.ndarray, np.ndarray, list | None]:
    """Find the image of every trial, and leave out images without one.

    Returns row (n_trials,): which of them each trial answers to.
    """
    images = indexable(named_images(recording, images, image_ids))
    row = align(images, recording, image_ids)
    captions = _captions_per_image(recording, captions, row, len(images))
    used, row = np.unique(row, return_inverse=True)
    captions = None if captions is None else [captions[i] for i in used]
    images = take_images(images, used)
    check_distinct_trials(recording, row, lambda: content_keys(images))
    return images, row, captions


def number_subjects(subject: np.ndarray) -> tuple[list, np.ndarray | None]:
    """Give every subject a number; codes are None where there is one subject."""
    if all(name is None for name in subject):
        return [], None
    names, codes = np.unique(subject.astype(str), return_inverse=True)
    return names.tolist(), (codes if len(names) > 1 else None)


def trial_groups(
    recording: Recording, groups: np.ndarray | str | None, image: np.ndarray | None = None
) -> np.ndarray | None:
    """Return what splits keep together.

    groups (n_trials,): as given, or a metadata column. ``None`` takes the column ``concept`` where
        there is one without gaps and none of its groups has more than half of the trials.
    image (n_trials,) | None: the image of each trial, which groups do not part.
    Returns (n_trials,) | None.
    """
    frame = recording.metadata
    if groups is not None:
        refuse_unordered(groups, "groups")
        labels = metadata_column(recording, groups) if isinstance(groups, str) else groups
        if np.shape(labels) != (recording.n_trials,):
            raise ValueError(
                f"groups has shape {np.shape(labels)}, but there are {recording.n_trials} trials; "
                "give one label per trial."
            )
        labels = np.asarray(labels)
        refuse_missing(labels, "groups", "trial")
        return labels
    if frame is None or "concept" not in frame:
        return None
    # nobody asked for this column: where it cannot serve it is left alone
    concept = frame["concept"]
    if concept.isna().any():
        logger.info("The metadata column 'concept' has gaps; trials are grouped by image only.")
        return None
    values = concept.astype(str).to_numpy()
    merged = merge_groups(np.arange(len(values)) if image is None else image, values)
    if np.bincount(merged).max() > len(values) / 2:
        logger.info(
            "The metadata column 'concept' joins more than half of the trials, which cannot be "
            "held out; trials are grouped by image only."
        )
        return None
    return values


def user_ids(
    recording: Recording, image_ids: ImageIds, stimuli: Stimuli, row: np.ndarray
) -> tuple[dict, str | None]:
    """Remember what the user calls images, for the metadata of what is generated.

    Without ``image_ids`` the metadata column ``image_id``, where it names images one by one.
    Returns form: whether ids are images' paths, file names or these without extension.
    """
    asked = image_ids is not None
    if not asked:
        frame = recording.metadata
        if frame is None or "image_id" not in frame or frame["image_id"].isna().any():
            return {}, None
        image_ids = "image_id"
    values = [_plain(value) for value in ids_of_trials(recording, image_ids).tolist()]
    ids = {}
    for i, value in zip(row, values, strict=True):
        if ids.setdefault(stimuli.keys[i], value) != value and not asked:
            return {}, None
    if not asked and len(set(ids.values())) < len(ids):
        return {}, None
    for form, name_of in NAME_FORMS.items():
        if values == [name and name_of(name) for name in (stimuli.names[i] for i in row)]:
            return ids, form
    return ids, None


# What a user may call the image of a path.
NAME_FORMS: dict[str, Callable] = {
    "path": str,
    "name": lambda path: Path(path).name,
    "stem": lambda path: Path(path).stem,
}


def _plain(value: float | str) -> int | str:
    """Return an id as JSON can hold it."""
    if isinstance(value, (int, float)) and value == int(value):
        return int(value)
    return str(value)


def _captions_per_image(
    recording: Recording, captions: list[str] | str | None, row: np.ndarray, n_images: int
) -> list[str] | None:
    """Return captions in the order of the images."""
    if captions is None:
        return None
    if not isinstance(captions, str):
        return check_captions(captions, n_images)
    of_trial = metadata_column(recording, captions)
    of_image = [""] * n_images
    for image, caption in zip(row, of_trial, strict=True):
        if of_image[image] not in ("", caption):
            raise ValueError(
                f"Trials of image {image} have different captions in the metadata column "
                f"{captions!r}: {of_image[image]!r} and {caption!r}; an image has one caption."
            )
        of_image[image] = caption
    return of_image
