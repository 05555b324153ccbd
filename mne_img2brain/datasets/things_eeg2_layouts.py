"""File layouts of THINGS-EEG2: what files are called, which are there, what arrays are in them.

Arrays are conditions x repetitions x channels x times; raw recordings are read in things_eeg2_raw.
"""

import re
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from ._unpickler import TensorInsideError
from .restricted_pickle import read_npy, read_torch_zip
from .things_eeg2_images import ACCESS, read_json
from .things_shared import entries, find_files

Variant = Literal["auto", "gifford", "nice", "atm", "ubp", "neurobridge", "raw"]
FILES = {
    "preprocessed": {
        "train": "preprocessed_eeg_training.npy", "test": "preprocessed_eeg_test.npy",
    },
    "ubp": {"train": "train.pt", "test": "test.pt"},
    "neurobridge": {"train": "train.npy", "test": "test.npy"},
    "raw": {"train": "raw_eeg_training.npy", "test": "raw_eeg_test.npy"},
}  # fmt: skip


def find_variant(path: Path, name: str, variant: str, split: str) -> tuple[str, list]:
    """Return the family of files there is for a subject, and the files of the split."""
    known = [file for names in FILES.values() for file in names.values()]
    found = find_files(path if path.is_dir() else path.parent, known, depth=4)
    if not found:
        _say_what_is_there(path)
    subjects = {}
    for file in found:
        owner = next((part for part in file.parts[::-1] if re.fullmatch(r"sub-\d+", part)), None)
        subjects.setdefault(owner, []).append(file)
    if name not in subjects:
        there = ", ".join(sorted(filter(None, subjects))) or "no folder called sub-*"
        raise FileNotFoundError(f"{path} has no data of {name}; there is {there}.")
    families = {}
    for file in subjects[name]:
        family = next(key for key, names in FILES.items() if file.name in names.values())
        home = file.parent.parent if family == "raw" else file.parent
        families.setdefault((family, home), []).append(file)
    if variant != "auto":
        family = "preprocessed" if variant in ("gifford", "nice", "atm") else variant
        families = {key: files for key, files in families.items() if key[0] == family}
        if not families:
            raise FileNotFoundError(
                f"{path} has no files of variant {variant!r} for {name}; they are called "
                f"{' and '.join(FILES[family].values())}."
            )
    if len(families) > 1:
        there = "; ".join(f"{family} in {home}" for family, home in sorted(families, key=str))
        raise ValueError(
            f"Several variants of {name} are mixed in {path}: {there}. Say which to read with "
            "variant=, or give the folder of one."
        )
    (family, home), files = families.popitem()
    chosen = [file for file in files if file.name == FILES[family][split]]
    if not chosen:
        raise FileNotFoundError(f"{home} has no {FILES[family][split]}, the {split} split.")
    return family, chosen


def _say_what_is_there(path: Path) -> None:
    """Raise for a folder without any file of THINGS-EEG2."""
    meg = find_files(path, ["preprocessed_P*-epo*.fif", "preprocessed_meg_*.pkl"], depth=3)
    if meg:
        raise ValueError(
            f"{path} holds THINGS-MEG ({meg[0].name}), not THINGS-EEG2; read it with "
            "mne_img2brain.datasets.things_meg.load."
        )
    expected = ", ".join(names["train"] for names in FILES.values())
    raise FileNotFoundError(
        f"{path} is not a folder of THINGS-EEG2: none of {expected} is in it or up to four folders "
        f"down. {ACCESS}"
    )


class Arrays(NamedTuple):
    """What a file holds: the data, and of UBP the names of images and the sessions of trials."""

    data: np.ndarray
    ch_names: list
    times: np.ndarray | list
    mapped: object
    images: np.ndarray | None = None
    sessions: np.ndarray | None = None


def _read_dict(file: Path) -> Arrays:
    """Gifford, NICE, ATM: a dict, in an object array or pickled bare."""
    found, mapped = read_npy(file)
    data, names, times = entries(found, ["preprocessed_eeg_data", "ch_names", "times"], file)
    return Arrays(data, names, times, mapped)


def _read_neurobridge(file: Path) -> Arrays:
    """NeuroBridge: an array with info.json beside it, or a dict."""
    found, mapped = read_npy(file)
    if isinstance(found, dict):
        data, names, times = entries(found, ["data", "ch_names", "times"], file)
        return Arrays(data, names, times, mapped)
    beside = [folder / "info.json" for folder in (file.parent, file.parent.parent)]
    info = next((place for place in beside if place.is_file()), None)
    if info is None:
        raise FileNotFoundError(
            f"There is no info.json beside {file} or one folder up; it names channels and times, "
            "whose order nothing else tells."
        )
    names, times = entries(read_json(info), ["ch_names", "times"], info)
    return Arrays(found, names, times, mapped)


def _read_ubp(file: Path) -> Arrays:
    """UBP: arrays, which NumPy can map, or tensors, which torch maps."""
    try:
        found, mapped = read_torch_zip(file)
    except TensorInsideError:
        found, mapped = _read_tensors(file), None
    data, names, times, images = entries(found, ["eeg", "ch_names", "times", "img"], file)
    return Arrays(data, names, times, mapped, images, found.get("session"))


def _read_tensors(file: Path) -> dict:
    """Let torch read tensors, and nothing else."""
    import torch

    try:
        found = torch.load(file, weights_only=True, mmap=True, map_location="cpu")
        return {
            key: value.numpy() if isinstance(value, torch.Tensor) else value
            for key, value in found.items()
        }
    except Exception as error:
        # torch raises errors of many kinds, and advises to read what may run anything
        raise ValueError(
            f"{file} is not a whole file of tensors, arrays and builtin containers "
            f"({type(error).__name__}); nothing else is read, because it can run any code."
        ) from None


def sessions_of(sessions: np.ndarray, shape: tuple[int, int, int, int], file: str) -> np.ndarray:
    """Return the session of every trial, counted from 1."""
    sessions = np.asarray(sessions, dtype=float)
    if sessions.shape != shape[:2]:
        raise ValueError(
            f"{file}: 'session' has shape {sessions.shape}, the trials have {shape[:2]}."
        )
    # the file counts sessions from 0, in floats
    return sessions.ravel().astype(int) + 1


READERS = {"preprocessed": _read_dict, "neurobridge": _read_neurobridge, "ubp": _read_ubp}
