"""What the command line is given: images, epochs, encoders."""

from pathlib import Path

import mne
import numpy as np
import pandas as pd

from .._files import check_fif_file
from ..epochs.labels import check_subjects, subject_name
from ..stimulus import check_images

METADATA = "metadata:"
# Columns of a list of images that hold their paths, the first that is there.
_COLUMNS = ("image", "path", "file", "filename")


def read_images(source: str) -> tuple[list[str] | str, list[str] | None]:
    """Find the images that an argument names.

    source: a folder of images; a ``.txt`` or ``.csv`` list of paths; a ``.npy`` file of tokens; or
        ``metadata:COLUMN``.
    """
    if source.startswith(METADATA):
        if source == METADATA:
            raise ValueError("IMAGES is 'metadata:' without the name of a column.")
        return source.removeprefix(METADATA), None
    path = Path(source)
    if path.is_dir():
        return check_images(path), None
    if not path.is_file():
        raise FileNotFoundError(
            f"IMAGES: there is no file or folder {source!r}. Give a folder of images, a .txt or "
            ".csv list of them, a .npy file of tokens, or metadata:COLUMN."
        )
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return str(path), None
    if suffix == ".txt":
        lines = (line.strip() for line in _lines(path, "IMAGES"))
        return _resolved([line for line in lines if line and line[0] != "#"], path), None
    if suffix in (".csv", ".tsv"):
        return _from_table(path, "\t" if suffix == ".tsv" else ",")
    raise ValueError(
        f"IMAGES: {source!r} is a {suffix or 'nameless'} file; give a folder of images, a .txt "
        "or .csv list of them, a .npy file of tokens, or metadata:COLUMN."
    )


def _lines(path: Path, flag: str) -> list[str]:
    """Read the lines of a text file."""
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except ValueError as error:
        raise ValueError(f"{flag}: {str(path)!r} is no text in UTF-8.") from error
    except OSError as error:
        raise type(error)(f"{flag}: {str(path)!r} cannot be read: {error.strerror}.") from error


def _from_table(path: Path, separator: str) -> tuple[list[str], list[str] | None]:
    """Read paths, and captions where there are any, from a table."""
    try:
        table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:
        raise ValueError(f"IMAGES: {str(path)!r} is no table in text ({error}).") from error
    column = next((name for name in _COLUMNS if name in table), None)
    if column is None:
        raise ValueError(
            f"IMAGES: {str(path)!r} has the columns {list(table.columns)}; call the one with the "
            f"paths {_COLUMNS[0]!r}."
        )
    captions = table["caption"].tolist() if "caption" in table else None
    return _resolved(table[column].tolist(), path), captions


def _resolved(names: list[str], path: Path) -> list[str]:
    """Find images from the folder of their list."""
    if not names:
        raise ValueError(f"IMAGES: the list {str(path)!r} is empty.")
    found = [path.parent / name for name in names]
    missing = [one for one in found if not one.is_file()]
    if missing:
        raise FileNotFoundError(
            f"IMAGES: {len(missing)} of {len(found)} images of {str(path)!r} are not there, "
            f"first {str(missing[0])!r}."
        )
    return [str(one) for one in found]


def read_captions(path: Path | None, images: list[str] | str) -> list[str] | None:
    """Read captions, one a line."""
    if path is None:
        return None
    captions = _lines(Path(path), "--captions")
    if isinstance(images, list) and len(captions) != len(images):
        raise ValueError(
            f"--captions: {path} has {len(captions)} lines for {len(images)} images; give one "
            "line each."
        )
    return captions


def read_epochs(path: str, subject_column: str | None = None) -> mne.BaseEpochs:
    """Read epochs; a column of the metadata may say whose each is."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"EPOCHS: there is no file {str(path)!r}.")
    check_fif_file(Path(path), f"EPOCHS: {str(path)!r}")
    try:
        epochs = mne.read_epochs(path, verbose="error")
    except Exception as error:
        # whatever MNE raises of files that are cut off or damaged
        raise ValueError(
            f"EPOCHS: {str(path)!r} holds no epochs that can be read ({type(error).__name__}: "
            f"{error})."
        ) from error
    if subject_column is not None:
        metadata = epochs.metadata
        if metadata is None or subject_column not in metadata:
            there = "no metadata" if metadata is None else f"the columns {list(metadata)}"
            raise ValueError(f"--subject-column {subject_column}: the epochs have {there}.")
        epochs.metadata = metadata.assign(subject=metadata[subject_column].astype(str))
    return epochs


def split_subjects(epochs: mne.BaseEpochs) -> mne.BaseEpochs | dict[str, mne.BaseEpochs]:
    """Give each subject its epochs."""
    if epochs.metadata is None or "subject" not in epochs.metadata:
        return epochs
    subject = np.array([subject_name(value) for value in epochs.metadata["subject"]], dtype=object)
    check_subjects(subject)
    names = sorted(set(subject) - {None})
    return epochs if len(names) < 2 else {name: epochs[subject == name] for name in names}


def encoder_names(folders: list[str]) -> list[str]:
    """Name encoders by their folders, with as many folders above as tell them apart."""
    paths = [Path(folder).resolve() for folder in folders]
    if len(set(paths)) < len(paths):
        raise ValueError("An encoder is given twice.")
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            break
    return names
