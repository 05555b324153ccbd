"""The folder of an encoder: three files that belong together.

The JSON holds a checksum of itself and of the others: what is damaged, cut off or of two encoders
is not read.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mne
from safetensors import SafetensorError
from safetensors.numpy import load, save_file

from .._files import as_path, digest, holds_nothing, places, write_together
from .._types import PathLike

FORMAT_VERSION = 2
# The last says of what the others are, and is the last to be replaced.
ENCODER_FILES = ("arrays.safetensors", "recording-info.fif", "encoder.json")
_ARRAYS, _INFO, _JSON = ENCODER_FILES


def check_destination(fname: PathLike, overwrite: bool = False) -> Path:
    """Raise where an encoder cannot go."""
    fname = as_path(fname)
    folder = Path(os.path.realpath(fname))
    if folder.is_dir() and not holds_nothing(folder):
        if not (folder / _JSON).is_file():
            raise FileExistsError(
                f"{fname} is there and is not a saved encoder; give another name, or that of an "
                "empty folder."
            )
        if not overwrite:
            raise FileExistsError(f"{fname} is there already; give another name or overwrite=True.")
    elif os.path.lexists(folder) and not folder.is_dir():
        raise FileExistsError(f"{fname} is a file; give the name of a folder.")
    return folder


def write_folder(
    fname: PathLike,
    structure: dict,
    arrays: dict,
    info: mne.Info,
    overwrite: bool = False,
) -> None:
    """Write the files of an encoder, all or none; others in the folder stay."""
    from mne.io import write_info

    folder = check_destination(fname, overwrite)
    written = {}

    def write_arrays(path: Path) -> None:
        try:
            save_file(arrays, path)
        except SafetensorError as error:
            raise OSError(str(error)) from error
        written[_ARRAYS] = digest(path)

    def write_recording(path: Path) -> None:
        write_info(path, info, overwrite=True, verbose="ERROR")
        written[_INFO] = digest(path)

    def write_json(path: Path) -> None:
        whole = {**structure, "files": written}
        whole["sha256"] = _checksum(whole)
        path.write_text(json.dumps(whole, indent=1, allow_nan=False), encoding="utf-8")

    write_together(folder, {_ARRAYS: write_arrays, _INFO: write_recording, _JSON: write_json})


def _checksum(structure: dict) -> str:
    """SHA-256 of all that the JSON says."""
    said = {name: value for name, value in structure.items() if name != "sha256"}
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def read_folder(fname: PathLike, check: Callable) -> tuple[dict, dict, bytes]:
    """Read what :func:`write_folder` wrote; ``check`` raises ValueError of what is not to be read.

    Of a folder that is written to at the same time, what was there before or is there afterwards.
    """
    fname = as_path(fname)
    for _ in range(1000):
        seen = _names(fname)
        try:
            structure, arrays, info = _read_once(fname, check)
            break
        except (ValueError, FileNotFoundError):
            if _names(fname) == seen:
                raise
            time.sleep(0.001)  # somebody is writing
    else:
        raise ValueError(f"{fname} is written to all the time; read it when that is done.")
    expected = _array_names(structure["encoder"])
    n_header = int.from_bytes(arrays[:8], "little")
    # the library takes seconds to read a header with a million entries
    if n_header > 10_000 + sum(300 + 6 * len(name) for name in expected):
        raise ValueError(f"{fname / _ARRAYS} is damaged: its header has {n_header} bytes.")
    try:
        found = load(arrays)
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{fname / _ARRAYS} is damaged: {error}.") from error
    if missing := expected - found.keys():
        raise ValueError(f"{fname / _ARRAYS} is damaged: it holds no {min(missing)!r}.")
    return structure, found, info


def _names(folder: Path) -> list[tuple]:
    """Which files are under the names of an encoder now."""
    found = []
    for place, *_ in places(folder):
        for name in ENCODER_FILES:
            try:
                about = (place / name).stat()
                found.append((place, name, about.st_ino, about.st_mtime_ns, about.st_size))
            except OSError:
                continue
    return found


def _read_once(fname: Path, check: Callable) -> tuple[dict, bytes, bytes]:
    """Read the first set of files that is whole."""
    problem: Exception = FileNotFoundError(
        f"{fname} holds no saved encoder: there is no encoder.json. Give the folder that "
        "ImageToBrainEncoder.save was given."
    )
    for i, (first, *others) in enumerate(places(fname)):
        if not (first / _JSON).is_file():
            continue
        try:
            structure = _read_json(first / _JSON, fname / _JSON, check)
            arrays, info = (
                _read_checked([first, *others], name, structure["files"][name], fname / name)
                for name in (_ARRAYS, _INFO)
            )
            return structure, arrays, info
        except (ValueError, FileNotFoundError) as error:
            if i == 0:
                problem = error
    raise problem


def _read_json(path: Path, label: Path, check: Callable) -> dict:
    """Read the description, as far as it is one."""
    try:
        structure = json.loads(_read(path, label))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{label} is damaged: {error}.") from error
    if not isinstance(structure, dict) or "format_version" not in structure:
        raise ValueError(f"{label} is not the description of a saved encoder.")
    version = structure["format_version"]
    if not isinstance(version, int) or version < 1:
        raise ValueError(f"{label} is damaged: format_version is {str(version)[:80]!r}.")
    if version > FORMAT_VERSION:
        raise ValueError(
            f"{label} is of format {version}, this version reads {FORMAT_VERSION}; update "
            "mne_img2brain."
        )
    if version < FORMAT_VERSION:
        raise ValueError(
            f"{label} is of format {version}, this version reads {FORMAT_VERSION}. Fit the encoder "
            f"again, or read it with mne_img2brain {structure.get('mne_img2brain', '')}, which "
            "wrote it."
        )
    try:
        check(structure["encoder"])
        if structure["sha256"] != _checksum(structure):
            raise ValueError("what it says does not agree with its checksum")
        for name in (_ARRAYS, _INFO):
            about = structure["files"][name]
            if not isinstance(about["bytes"], int) or not isinstance(about["sha256"], str):
                raise ValueError(f"it does not say of what {name} is")
    except KeyError as error:
        raise ValueError(f"{label} is damaged: there is no {error}.") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{label} is damaged: {error}.") from error
    return structure


def _read_checked(folders: list[Path], name: str, about: dict, label: Path) -> bytes:
    """Read the file that the description speaks of, from where it is."""
    problem = f"{label} is not there"
    for folder in folders:
        path = folder / name
        if not path.exists():
            continue
        if not path.is_file():
            problem = f"{label} is not a file"
        elif (n_bytes := path.stat().st_size) != about["bytes"]:
            problem = f"{label} is damaged: it has {n_bytes} bytes, not {about['bytes']}"
        else:
            content = _read(path, label)
            if hashlib.sha256(content).hexdigest() == about["sha256"]:
                return content
            problem = f"{label} is damaged: its checksum is not the one in {_JSON}"
    raise ValueError(f"{problem}. Copy or download the folder again.")


def _read(path: Path, label: Path) -> bytes:
    """Read a file, or say that one may not."""
    try:
        return path.read_bytes()
    except PermissionError as error:
        raise PermissionError(
            f"{label} may not be read by you; ask who owns it for the permission."
        ) from error


def _array_names(packed: Any) -> set[str]:
    """Find which arrays a structure is made of."""
    names, waiting = set(), [packed]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, dict):
            if item.keys() == {"array"} and isinstance(item["array"], str):
                names.add(item["array"])
            waiting.extend(item.values())
    return names
