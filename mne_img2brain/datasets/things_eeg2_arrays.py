"""Files of THINGS-EEG2 that hold conditions x repetitions x channels x times."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ._unpickler import TensorInsideError
from .restricted_pickle import read_npy, read_torch_zip
from .things_eeg2_images import read_json
from .things_layout import entries


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
