"""The trials and images of THINGS-MEG: which belong to a split, and where images are."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from .._files import as_path
from .._log import logger
from .._types import PathLike
from .things_shared import check_images, check_plain, find_files

CATCH_CODE = 999999
_COLUMNS = ("trial_type", "session_nr", "run_nr", "image_path")
_FOLDERS = ("images_meg", "images_test_meg")
_EEG_FOLDERS = ("training_images", "train_images", "test_images")

ACCESS = (
    "The data of THINGS-MEG are at https://openneuro.org/datasets/ds004212 (epochs in "
    "derivatives/preprocessed, lists of trials in sourcedata). THINGS images may not be passed "
    "on: their archives open with the password that the THINGS initiative gives, "
    "https://osf.io/jum2f."
)


def check_columns(metadata: pd.DataFrame, label: str) -> None:
    """Raise where metadata lack the columns that tell trials apart."""
    missing = [name for name in _COLUMNS if name not in metadata]
    if missing:
        raise ValueError(
            f"The metadata of {label} lack {', '.join(missing)}; they have "
            f"{', '.join(map(str, metadata.columns))}."
        )


def choose_trials(
    metadata: pd.DataFrame, codes: np.ndarray | None, split: str, protocol: str
) -> pd.DataFrame:
    """Choose the trials of a split, in the order of the file; 999999 codes catch trials."""
    kind = metadata["trial_type"].astype(str).str.strip()
    catch = kind.eq("catch").to_numpy()
    if codes is not None:
        catch = catch | (codes == CATCH_CODE)
    of_test = kind.eq("test").to_numpy() & ~catch
    of_train = kind.eq("exp").to_numpy() & ~catch
    paths = metadata["image_path"].astype(str).str.replace("\\", "/")
    for path in set(paths):
        check_plain(Path(path).parts, "image_path")
    concept = paths.map(_concept)
    if protocol == "zero-shot":
        of_train = of_train & ~concept.isin(set(concept[of_test])).to_numpy()
    chosen = of_train if split == "train" else of_test
    logger.info(
        "%d trials: %d of the training split, %d of the test split, %d catch trials left out.",
        len(metadata), of_train.sum(), of_test.sum(), catch.sum(),
    )  # fmt: skip
    if not chosen.any():
        raise ValueError(
            f"No trial of the {split} split ({protocol}) is left; the types of trials are "
            f"{', '.join(sorted(set(kind)))}."
        )
    frame = pd.DataFrame(
        {
            "concept": concept[chosen].to_numpy(),
            "image": paths[chosen].to_numpy(),
            "session": metadata["session_nr"][chosen].astype(int).to_numpy(),
            "run": metadata["run_nr"][chosen].astype(int).to_numpy(),
            "trial": chosen.nonzero()[0],
        }
    )
    order = _in_order(frame)
    position = {image: i for i, image in enumerate(order["image"])}
    frame.insert(2, "image_id", frame["image"].map(position))
    frame["repetition"] = frame.groupby("image_id").cumcount()
    frame["address"] = frame["trial"]
    return frame


def image_lists(
    path: Path,
    number: int,
    metadata: PathLike | None,
    images_dir: PathLike | None,
) -> dict[str, pd.DataFrame]:
    """List the images of the zero-shot split in the order of ATM's pickles: by concept and file."""
    table = _attributes(path, number, metadata)
    if table is not None:
        found = {split: choose_trials(table, None, split, "zero-shot") for split in _SPLITS}
        return {split: _in_order(frame) for split, frame in found.items()}
    folder = _folder_of(path, images_dir, "images_meg")
    test_folder = _folder_of(path, images_dir, "images_test_meg")
    if folder is None or test_folder is None:
        raise FileNotFoundError(
            "ATM's pickles do not name their images. Give sample_attributes_P1.csv of the data "
            "set as metadata=, or a folder with images_meg and images_test_meg as images_dir=. "
            f"{ACCESS}"
        )
    test = [f"images_test_meg/{file.name}" for file in _images(test_folder)]
    concepts = set(map(_concept, test))
    train = [
        f"images_meg/{sub.name}/{file.name}"
        for sub in sorted(folder.iterdir())
        if sub.is_dir() and sub.name not in concepts
        for file in _images(sub)
    ]
    lists = {"train": train, "test": test}
    frames = {k: pd.DataFrame({"concept": map(_concept, v), "image": v}) for k, v in lists.items()}
    return {split: _in_order(frame) for split, frame in frames.items()}


def locate_images(images: pd.Series, path: Path, images_dir: PathLike | None) -> list[str]:
    """Replace the paths of images by where they are on this machine; relative where unknown."""
    given = None if images_dir is None else Path(images_dir).expanduser()
    if given is not None and not given.is_dir():
        raise FileNotFoundError(f"images_dir={str(given)!r} is not there.")
    name = Path(images.iloc[0]).parts[0]
    base = _folder_of(path, given, name)
    unique = list(dict.fromkeys(images))
    if base is not None:
        where = {image: base.parent / image for image in unique}
    elif given is not None:
        _refuse_eeg_images(given)
        # as the THINGS database has them: one folder per concept
        where = {image: given / _concept(image) / Path(image).name for image in unique}
    else:
        logger.info(
            "No folder %s beside the data: paths of images are relative. Give images_dir= to "
            "have them found.", name,
        )  # fmt: skip
        return images.tolist()
    check_images(list(where.values()), "missing", ACCESS)
    return [str(where[image]) for image in images]


_SPLITS = ("train", "test")


def _concept(path: str) -> str:
    """Return the concept of an image: its folder, or what its file is called."""
    parts = Path(path).parts
    return parts[-2] if len(parts) > 2 else re.sub(r"_\d+[a-z]*$", "", Path(path).stem)


def _in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row per image, ordered by concept and file."""
    unique = frame[["concept", "image"]].drop_duplicates("image")
    keys = [(c, Path(i).name) for c, i in zip(unique["concept"], unique["image"], strict=True)]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return unique.iloc[order].reset_index(drop=True)


def _attributes(path: Path, number: int, metadata: PathLike | None) -> np.ndarray | None:
    """Read the list of trials of a subject, if it is there."""
    name = f"sample_attributes_P{number}.csv"
    if metadata is None:
        places = [path, *list(path.parents)[:3]]
        files = [place / sub / name for place in places for sub in ("", "sourcedata")]
        file = next((file for file in files if file.is_file()), None)
        if file is None:
            file = next(iter(find_files(path, [name])), None) if path.is_dir() else None
        if file is None:
            return None
    else:
        file = as_path(metadata, "metadata")
        if not file.is_file():
            raise FileNotFoundError(f"metadata={str(metadata)!r} is not a file. {ACCESS}")
        if file.suffix != ".csv":
            hint = ""
            if "image_metadata" in file.name:
                hint = " It is that of THINGS-EEG2, which showed other images."
            raise ValueError(f"metadata={str(metadata)!r} should be {name}.{hint}")
    try:
        table = pd.read_csv(file)
    except (ValueError, OSError) as error:
        raise ValueError(f"{file} is no list of trials in CSV ({error}).") from error
    check_columns(table, str(file))
    return table


def _folder_of(path: Path, images_dir: PathLike | None, name: str) -> Path | None:
    """Find a folder of images."""
    if images_dir is not None:
        given = Path(images_dir)
        places = [given, given.parent] if given.name in _FOLDERS else [given]
    else:
        places = [path, *list(path.parents)[:3]]
    return next((place / name for place in places if (place / name).is_dir()), None)


def _refuse_eeg_images(folder: Path) -> None:
    """Raise for the images of THINGS-EEG2, whose folders of concepts are numbered."""
    numbered = any(re.match(r"\d{5}_", sub.name) for sub in folder.iterdir() if sub.is_dir())
    named = folder.name in _EEG_FOLDERS or any((folder / n).is_dir() for n in _EEG_FOLDERS)
    if numbered or named:
        raise ValueError(
            f"{folder} holds the images of THINGS-EEG2, but these are data of THINGS-MEG, which "
            f"showed others. Give the folder that holds {' and '.join(_FOLDERS)}."
        )


def _images(folder: Path) -> list[Path]:
    """List the images of a folder."""
    return sorted(f for f in folder.iterdir() if f.suffix.lower() in (".jpg", ".jpeg", ".png"))
