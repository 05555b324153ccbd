"""Which image, caption, group and subject each trial has."""

from typing import Any

import numpy as np

from .._log import logger
from ..epochs import align, images_from_metadata, metadata_column
from ..stimulus.tokens import check_captions, indexable, take_images


def pair_trials(
    recording: Any,
    images: Any,
    image_ids: Any = None,
    captions: list[str] | str | None = None,
) -> tuple[list | np.ndarray, np.ndarray, list | None]:
    """Find the image of every trial, and leave out images without one.

    Parameters
    ----------
    recording : Recording
        The trials.
    images : list | array | str
        Images, tokens in their place, or the metadata column that holds paths.
    image_ids : array, shape (n_trials,) | str | None
        As in :func:`mne_img2brain.epochs.align`.
    captions : list of str | str | None
        One per image, or the metadata column that holds them.

    Returns
    -------
    images : list | array
        The images that trials answer to.
    row : array of int, shape (n_trials,)
        Which of them each trial answers to.
    captions : list of str | None
        Theirs.

    Raises
    ------
    ValueError
        If images and trials do not match.
    """
    if isinstance(images, str) and not images.endswith(".npy"):
        if image_ids is not None:
            raise ValueError(
                f"images={images!r} names a metadata column, which tells the image of every "
                "epoch; leave image_ids out."
            )
        images = images_from_metadata(recording, images)
    images = indexable(images)
    row = align(images, recording, image_ids)
    captions = _captions_per_image(recording, captions, row, len(images))
    used, row = np.unique(row, return_inverse=True)
    captions = None if captions is None else [captions[i] for i in used]
    return take_images(images, used), row, captions


def number_subjects(subject: np.ndarray) -> tuple[list, np.ndarray | None]:
    """Give every subject a number.

    Parameters
    ----------
    subject : array of object, shape (n_trials,)
        The subject of each trial, or None.

    Returns
    -------
    names : list of str
        The subjects, sorted.
    codes : array of int, shape (n_trials,) | None
        The number of each trial's; ``None`` for a single subject.
    """
    if subject[0] is None:
        return [], None
    names, codes = np.unique(subject.astype(str), return_inverse=True)
    return names.tolist(), (codes if len(names) > 1 else None)


def trial_groups(recording: Any, groups: np.ndarray | str | None) -> np.ndarray | None:
    """Return what splits keep together.

    Parameters
    ----------
    recording : Recording
        The trials.
    groups : array, shape (n_trials,) | str | None
        As given, or a metadata column. ``None`` takes the column ``concept`` where there is one
        without gaps.

    Returns
    -------
    array, shape (n_trials,) | None
    """
    frame = recording.metadata
    if groups is None and frame is not None and "concept" in frame:
        if frame["concept"].isna().any():
            logger.info("The metadata column 'concept' has gaps; trials are grouped by image only.")
            return None
        groups = "concept"
    return metadata_column(recording, groups) if isinstance(groups, str) else groups


def _captions_per_image(
    recording: Any, captions: list[str] | str | None, row: np.ndarray, n_images: int
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
