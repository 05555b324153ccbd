"""The images of THINGS-EEG2: their names, order and files."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .._files import as_path
from .._log import logger
from .._types import PathLike
from .restricted_pickle import read_npy
from .things_shared import check_images, check_plain, entries

_KEYS = tuple(
    f"{split}_img_{what}"
    for split in ("train", "test")
    for what in ("concepts", "concepts_THINGS", "files")
)
# Folders of images: as published, and as UBP names them.
_FOLDERS = {"train": ("training_images", "train_images"), "test": ("test_images",)}
_MEG_FOLDERS = ("images_meg", "images_test_meg")
_URL = "https://osf.io/download/qkgtf/"
# of the six lists as JSON with sorted keys, no spaces: the file's own bytes depend on who pickled
_CONTENT_SHA256 = "838f4b436c6f3fda629584aacfaf67699dff6820d052511b1f8ad3ebcf196a83"

ACCESS = (
    "The data of THINGS-EEG2 are at https://osf.io/3jk45 (image_metadata.npy among the images, "
    "https://osf.io/y63gw; recordings preprocessed by the authors, https://osf.io/anp5v; raw "
    "recordings, https://osf.io/crxs4). THINGS images may not be passed on: their archives open "
    "with the password that the THINGS initiative gives, https://osf.io/jum2f."
)


def fetch_image_metadata(folder: PathLike | None = None) -> Path:
    """Fetch ``image_metadata.npy`` of THINGS-EEG2, which names the image of every condition.

    The recordings and images have to be fetched by hand: the former are large, the latter
    may not be passed on.

    Parameters
    ----------
    folder : path-like | None, default None
        Where to put it; None is pooch's cache folder.

    Returns
    -------
    pathlib.Path
        The file, for ``metadata=`` of :func:`mne_img2brain.datasets.things_eeg2.load`.

    Raises
    ------
    RuntimeError
        If what came is not the list of 16,540 + 200 images; it is deleted.

    See Also
    --------
    mne_img2brain.datasets.things_eeg2.load : Read recordings.

    Examples
    --------
    >>> from mne_img2brain.datasets import things_eeg2
    >>> metadata = things_eeg2.fetch_image_metadata()  # doctest: +SKIP
    """
    import pooch

    folder = pooch.os_cache("mne_img2brain") if folder is None else Path(folder)
    # no hash of the file is published; the content is checked instead
    path = Path(pooch.retrieve(_URL, known_hash=None, fname="image_metadata.npy", path=folder))
    try:
        content = content_hash(read_image_metadata(path))
    except ValueError as error:
        content = str(error)
    if content != _CONTENT_SHA256:
        path.unlink()
        raise RuntimeError(
            f"What {_URL} sent is not the image metadata of THINGS-EEG2 ({content}). {ACCESS}"
        )
    return path


def content_hash(metadata: dict[str, list[str]]) -> str:
    """Return the SHA-256 of the six lists, however they are stored."""
    lists = {key: [str(item) for item in metadata[key]] for key in _KEYS}
    text = json.dumps(lists, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def read_image_metadata(path: PathLike) -> dict[str, list[str]]:
    """Read ``image_metadata.npy``, or the same lists as JSON."""
    path = as_path(path, "path")
    if path.suffix == ".json":
        return check_lists(read_json(path), str(path))
    return check_lists(read_npy(path)[0], str(path))


def read_json(path: Path) -> Any:
    """Read a JSON file, or say that it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON file ({error}).") from error


def check_lists(found: dict, label: str) -> dict[str, list[str]]:
    """Return the six lists of images."""
    entries(found, _KEYS, label, "is not image_metadata.npy of THINGS-EEG2")
    wrong = [key for key in _KEYS if isinstance(found[key], str) or not np.iterable(found[key])]
    if wrong:
        raise ValueError(f"{label}: {wrong[0]} is no list.")
    lists = {key: [str(item) for item in found[key]] for key in _KEYS}
    for split in ("train", "test"):
        lengths = {len(lists[key]) for key in _KEYS if key.startswith(split)}
        if len(lengths) != 1:
            raise ValueError(f"The {split} lists of {label} have different lengths: {lengths}.")
        for key in (f"{split}_img_concepts", f"{split}_img_files"):
            check_plain(lists[key], f"{label}: {key}")
    return lists


def find_image_metadata(path: Path, images_dir: PathLike | None) -> Path:
    """Look for the metadata beside the data, above them, and beside the images."""
    places = [path, *list(path.resolve().parents)[:3]]
    if images_dir is not None:
        places += [Path(images_dir), Path(images_dir).parent]
    for place in places:
        for folder in (place, place / "image_set", place / "Image_set"):
            for name in ("image_metadata.npy", "image_metadata.json"):
                if (folder / name).is_file():
                    return folder / name
    raise FileNotFoundError(
        f"image_metadata.npy is neither in {path}, nor above it, nor beside the images. Without "
        "it nothing tells which image a condition showed. Fetch it with mne_img2brain.datasets."
        f"things_eeg2.fetch_image_metadata(), or give its path as metadata=. {ACCESS}"
    )


def image_table(
    metadata: dict[str, list[str]], split: str, n_conditions: int, label: str
) -> pd.DataFrame:
    """List concept and image of every condition; paths are below the folder of the images."""
    folders, files = metadata[f"{split}_img_concepts"], metadata[f"{split}_img_files"]
    if len(files) != n_conditions:
        other = "test" if split == "train" else "train"
        hint = ""
        if len(metadata[f"{other}_img_files"]) == n_conditions:
            hint = f" It has that many {other} images: the file holds the other split."
        raise ValueError(
            f"{label} holds {n_conditions} conditions, but the image metadata list {len(files)} "
            f"{split} images.{hint}"
        )
    concepts = [re.sub(r"^\d+_", "", folder) for folder in folders]
    if len(set(zip(concepts, folders, strict=True))) != len(set(concepts)):
        concepts = folders  # two concepts of one name: keep the numbers that tell them apart
    paths = [f"{_FOLDERS[split][0]}/{a}/{b}" for a, b in zip(folders, files, strict=True)]
    return pd.DataFrame({"concept": concepts, "image": paths})


def ubp_table(images: np.ndarray, split: str, n_conditions: int, label: str) -> pd.DataFrame:
    """List the images that a UBP file names itself, as :func:`image_table`."""
    images = np.asarray(images)
    images = images.reshape(len(images), -1)
    if len(images) != n_conditions or not (images == images[:, :1]).all():
        raise ValueError(
            f"{label}: 'img' should name one image for each of {n_conditions} conditions, the "
            f"same for all its repetitions; it has shape {images.shape}."
        )
    parts = [Path(str(name).replace("\\", "/")).parts for name in images[:, 0]]
    if any(len(part) < 2 for part in parts):
        raise ValueError(f"{label}: 'img' should hold paths <concept>/<file>, not {images[0, 0]!r}")
    check_plain([name for part in parts for name in part[-2:]], f"{label}: 'img'")
    concepts = [re.sub(r"^\d+_", "", part[-2]) for part in parts]
    paths = [f"{_FOLDERS[split][0]}/{part[-2]}/{part[-1]}" for part in parts]
    return pd.DataFrame({"concept": concepts, "image": paths})


def locate_images(
    table: pd.DataFrame, split: str, path: Path, images_dir: PathLike | None
) -> pd.DataFrame:
    """Replace the paths of images by where they are on this machine; relative where unknown."""
    names = _FOLDERS[split]
    given = None if images_dir is None else Path(images_dir).expanduser()
    places = [given] if given else [path, *list(path.resolve().parents)[:3]]
    subs = ("", "image_set", "Image_set", "Image_set_Resize")
    folders = [place / sub / name for place in places for sub in subs for name in names]
    if given is not None and given.name in names:
        folders.insert(0, given)
    folder = next((folder for folder in folders if folder.is_dir()), None)
    if folder is None and given is not None:
        if not given.is_dir():
            raise FileNotFoundError(f"images_dir={str(given)!r} is not there.")
        if given.name in _MEG_FOLDERS or any((given / name).is_dir() for name in _MEG_FOLDERS):
            raise ValueError(
                f"{given} holds the images of THINGS-MEG ({' and '.join(_MEG_FOLDERS)}), but "
                "these are data of THINGS-EEG2, which showed others. Give the folder that holds "
                f"{names[0]}."
            )
        raise FileNotFoundError(f"{given} has no folder {names[0]}. {ACCESS}")
    if folder is None:
        logger.info(
            "No folder %s beside the data: paths of images are relative. Give images_dir= to "
            "have them found.", names[0],
        )  # fmt: skip
        return table.copy()
    found = [folder.joinpath(*Path(image).parts[1:]) for image in table["image"]]
    check_images(found, f"not in {folder}", ACCESS)
    return table.assign(image=[str(file) for file in found])
