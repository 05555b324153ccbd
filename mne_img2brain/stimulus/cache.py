"""What was computed once for an image is kept on disk: tokens and captions."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pooch

ENVIRONMENT = "MNE_IMG2BRAIN_CACHE"


def cache_folder(cache_dir: str | os.PathLike | None = None) -> Path:
    """Return the folder of the cache.

    Parameters
    ----------
    cache_dir : path-like | None
        The user's wish. ``None`` takes the environment variable ``MNE_IMG2BRAIN_CACHE``, and where
        that is not set the cache folder of the operating system.

    Returns
    -------
    Path
    """
    return Path(cache_dir or os.environ.get(ENVIRONMENT) or pooch.os_cache("mne_img2brain"))


class Cache:
    """Files of float16 arrays or JSON, one per key, in a folder per way of computing them.

    A file is written under another name and then moved to its own, in one step: a write that is cut
    off leaves nothing behind, and of two processes that write the same file the last one wins with
    the same content.

    Parameters
    ----------
    cache_dir : path-like | None
        As in :func:`cache_folder`.
    kind : str
        What is kept, for a person who looks into the folder.
    settings : dict
        JSON-able: everything that the content depends on beside the key.
    """

    def __init__(self, cache_dir: str | os.PathLike | None, kind: str, settings: dict) -> None:
        text = json.dumps(settings, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:24]
        self.folder = cache_folder(cache_dir) / f"{kind}-{digest}"
        self._settings = text

    def _path(self, key: str, suffix: str) -> Path:
        name = hashlib.sha256(key.encode()).hexdigest()
        return self.folder / name[:2] / f"{name}{suffix}"

    def get_array(self, key: str) -> np.ndarray | None:
        """Return an array, or None where there is none or its file is damaged.

        Parameters
        ----------
        key : str
            What it is of.

        Returns
        -------
        array | None
            Memory-mapped float16.
        """
        with contextlib.suppress(OSError, ValueError, EOFError):
            return np.load(self._path(key, ".npy"), mmap_mode="r", allow_pickle=False)
        return None

    def put_array(self, key: str, array: np.ndarray) -> None:
        """Keep an array.

        Parameters
        ----------
        key : str
            What it is of.
        array : array
            Kept as float16.
        """
        half = np.asarray(array, dtype=np.float16)
        self._write(self._path(key, ".npy"), lambda file: np.save(file, half, allow_pickle=False))

    def get_text(self, key: str) -> str | None:
        """Return a text, or None where there is none or its file is damaged.

        Parameters
        ----------
        key : str
            What it is of.

        Returns
        -------
        str | None
        """
        with contextlib.suppress(OSError, ValueError):
            text = json.loads(self._path(key, ".json").read_text(encoding="utf-8"))
            if isinstance(text, str):
                return text
        return None

    def put_text(self, key: str, text: str) -> None:
        """Keep a text.

        Parameters
        ----------
        key : str
            What it is of.
        text : str
            The text.
        """
        self._write(self._path(key, ".json"), lambda file: file.write(json.dumps(text).encode()))

    def _write(self, path: Path, write: Callable) -> None:
        """Write to another name in the same folder, then move into place."""
        path.parent.mkdir(parents=True, exist_ok=True)
        readme = self.folder / "settings.json"
        if not readme.exists():
            self._replace(readme, lambda file: file.write(self._settings.encode()))
        self._replace(path, write)

    @staticmethod
    def _replace(path: Path, write: Callable) -> None:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                write(file)
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
            raise
