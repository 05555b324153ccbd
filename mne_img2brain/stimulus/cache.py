"""What was computed once for an image is kept on disk: tokens and captions."""

import hashlib
import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pooch
from numpy.typing import DTypeLike

from .._log import warn
from .._types import PathLike

ENVIRONMENT = "MNE_IMG2BRAIN_CACHE"
_ALIGN = 64  # bytes: an array starts where any processor likes to read one


def cache_folder(cache_dir: PathLike | None = None) -> Path:
    """Return the folder of the cache: given, else by the environment, else the system's."""
    return Path(cache_dir or os.environ.get(ENVIRONMENT) or pooch.os_cache("mne_img2brain"))


class Cache:
    """Arrays and texts by their key: a file that only grows, and an index of one line a key.

    ``arrays.bin`` holds the arrays one after another and is memory-mapped as a whole, so that
    thousands of arrays cost one open file. ``index.jsonl`` says of each key where its array
    starts, its type and shape, and a checksum over all of these. Arrays are appended in one write
    and entered in the index afterwards: other processes may read and write at the same time, and
    what is cut off, damaged or mixed up does not agree with its checksum and is as good as not
    there. Of two entries with one key the last counts.

    settings: JSON-able: everything that the content depends on beside the key.
    """

    def __init__(self, cache_dir: PathLike | None, kind: str, settings: dict) -> None:
        self._settings = json.dumps(settings, sort_keys=True)
        digest = hashlib.sha256(self._settings.encode()).hexdigest()[:24]
        self.folder = cache_folder(cache_dir) / f"{kind}-{digest}"
        self._entries: dict[str, dict] = {}
        self._read = 0  # bytes of the index
        self._map: np.ndarray = np.empty(0, np.uint8)
        self._complained = False

    def get_array(self, key: str) -> np.ndarray | None:
        """Return an array, mapped where it can be, or None where there is none or it is damaged."""
        digest = _digest(key)
        try:
            entry = self._entry(digest)
            array = None if entry is None else self._array(entry)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._complain("read", error)
            return None
        if array is None:
            self._entries.pop(digest, None)  # another process may enter a sound one
        return array

    def put_array(self, key: str, array: np.ndarray, dtype: DTypeLike = np.float16) -> None:
        """Keep an array as a type, unless it is beyond its range; warn of a disk without room."""
        with np.errstate(over="ignore"):
            kept = np.ascontiguousarray(array, dtype=np.dtype(dtype).newbyteorder("<"))
        if np.isinf(kept).any():
            return
        entry: dict = {"key": _digest(key), "dtype": kept.dtype.str, "shape": list(kept.shape)}
        content = kept.tobytes()
        entry["crc32"] = _checksum(entry, content)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            settings = self.folder / "settings.json"
            if not settings.exists():
                settings.write_text(self._settings, encoding="utf-8")
            padded = content + bytes(-len(content) % _ALIGN)
            entry["start"] = _append(self.folder / "arrays.bin", padded)
            # a line that a killed process left unfinished must not swallow this one
            _append(self.folder / "index.jsonl", b"\n" + json.dumps(entry).encode() + b"\n")
            self._entries[entry["key"]] = entry
        except OSError as error:
            self._complain("written", error)

    def get_text(self, key: str) -> str | None:
        """Return a text, or None where there is none or it is damaged."""
        encoded = self.get_array(f"{key}\0text")
        return None if encoded is None else encoded.tobytes().decode()

    def put_text(self, key: str, text: str) -> None:
        """Keep a text."""
        self.put_array(f"{key}\0text", np.frombuffer(str.encode(text), np.uint8), np.uint8)

    def _entry(self, digest: str) -> dict | None:
        """Find a key, among new lines of the index too if need be."""
        if digest not in self._entries:
            with (self.folder / "index.jsonl").open("rb") as file:
                file.seek(self._read)
                new = file.read()
            new = new[: new.rfind(b"\n") + 1]  # another process may be writing the rest
            self._read += len(new)
            for line in new.splitlines():
                try:
                    entry = json.loads(line)
                    self._entries[entry["key"]] = entry
                except (ValueError, TypeError, KeyError):
                    continue  # empty, or left unfinished
        return self._entries.get(digest)

    def _array(self, entry: dict) -> np.ndarray | None:
        """Read an array and check it."""
        try:
            dtype, shape, start = np.dtype(entry["dtype"]), entry["shape"], int(entry["start"])
            stop = start + dtype.itemsize * int(np.prod(shape))
            content = self._bytes(start, stop)
            if _checksum(entry, content) != entry["crc32"]:
                return None
            return content.view(dtype).reshape(shape)
        except (ValueError, TypeError, KeyError):
            return None  # the line in the index is damaged

    def _bytes(self, start: int, stop: int) -> np.ndarray:
        """Take a part of the file: mapped, or read where the map is too short."""
        path = self.folder / "arrays.bin"
        size = path.stat().st_size
        if not 0 <= start <= stop <= size:
            raise ValueError("The file is cut off, or the index is wrong.")
        # Maps that somebody still looks at stay open: the file must have doubled for another.
        if stop > len(self._map) and size >= 2 * len(self._map):
            self._map = np.memmap(path, np.uint8, "r")
        if stop <= len(self._map):
            return self._map[start:stop]
        return np.fromfile(path, np.uint8, stop - start, offset=start)

    def _complain(self, done: str, error: OSError) -> None:
        """Say once that the cache is of no use, and what to do about it."""
        if not self._complained:
            warn(
                f"The cache {self.folder} cannot be {done} ({error.strerror or error}): what is "
                "computed now will be computed again next time. Give cache_dir= a folder of your "
                f"own, or set {ENVIRONMENT}."
            )
        self._complained = True


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _checksum(entry: dict, content: Any) -> int:
    """Checksum of an array and of what the index says about it."""
    described = json.dumps([entry["key"], entry["dtype"], entry["shape"]]).encode()
    return zlib.crc32(content, zlib.crc32(described))


def _append(path: Path, content: bytes) -> int:
    """Append to a file in one write, with the permissions of umask; return where it starts."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags, 0o666)
    try:
        if os.write(handle, content) != len(content):
            raise OSError(f"{path} could not be written to its end: is the disk full?")
        return os.lseek(handle, 0, os.SEEK_CUR) - len(content)
    finally:
        os.close(handle)
