"""Large arrays that are computed where they are looked at, or wait in a file."""

import contextlib
import math
import os
import shutil
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

_MAX_VALUES = 2**22  # numbers computed at a time where all are asked for
_LARGE = 2**25  # bytes


class LazyTrials:
    """Trials that are never there all at once: a copy of them would be as large as a recording.

    Like an array they have a shape and a type, and rows are looked up in them; numpy makes an
    array of them where it needs all.

    read: given rows (n_rows,), returns these trials in a new array.
    """

    ndim = 3

    def __init__(
        self, read: Callable[[np.ndarray], np.ndarray], shape: tuple[int, ...], dtype: np.dtype
    ) -> None:
        self.read = read
        self.shape = shape
        self.dtype = dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        rows = np.arange(len(self))[rows]
        if not rows.ndim:
            return self.read(rows[None])[0]
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        for part in parts_of(found):
            found[part] = self.read(rows[part])
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(self.dtype if dtype is None else dtype, copy=False)


def take(trials: np.ndarray | LazyTrials, rows: np.ndarray) -> LazyTrials:
    """Return some trials, in that order, read where they are looked at."""
    shape = (len(rows), *trials.shape[1:])
    return LazyTrials(lambda some: trials[rows[some]], shape, trials.dtype)


def scratch(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """Return an array to be filled: where it is large in a temporary file, if there is room."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size > _LARGE and os.name == "posix":
        with contextlib.suppress(OSError), tempfile.TemporaryFile() as file:
            _reserve(file.fileno(), size)
            return np.asarray(np.memmap(file, dtype, "w+", shape=shape))
    return np.empty(shape, dtype)


def _reserve(file: int, size: int) -> None:
    """Raise where the disk is full: later a signal would end the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    elif shutil.disk_usage(tempfile.gettempdir()).free < 2 * size:  # macOS
        raise OSError("The disk is nearly full.")


def parts_of(trials: np.ndarray | LazyTrials, n_values: int = _MAX_VALUES) -> list[slice]:
    """Part trials into blocks of so many numbers."""
    length = max(1, n_values // max(1, int(np.prod(trials.shape[1:]))))
    return [slice(start, start + length) for start in range(0, len(trials), length)]
