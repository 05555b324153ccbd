"""Read arrays and plain containers out of pickles, in place, running nothing the file asks for.

A pickle is a program. The standard library's interpreter follows it here, with a closed table in
place of imports, and without what builds objects of classes. Large byte strings stay in the file:
arrays are views of a memory map.
"""

import math
import mmap
import struct
import tokenize
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from .._types import PathLike
from ._unpickler import BROKEN, RefusedError, Unpickler, check_depth

# Pages of the file that are kept in memory while it is streamed.
_KEEP_BYTES = 64 * 2**20


class MappedFile:
    """A file as memory, whose pages can be handed back."""

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"There is no file {self.path}.")
        if self.path.stat().st_size == 0:
            raise ValueError(f"{self.path} is empty; fetch or copy it again.")
        with open(self.path, "rb") as stream:
            self.buffer = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        self._n_seen = 0

    def saw(self, n_bytes: int) -> None:
        """Count bytes that were read, and hand pages back when there are many."""
        self._n_seen += n_bytes
        if self._n_seen >= _KEEP_BYTES and hasattr(mmap, "MADV_DONTNEED"):
            # the map is read only: what is dropped comes back from the file when it is touched
            self.buffer.madvise(mmap.MADV_DONTNEED)
            self._n_seen = 0


def read_pickle(path: PathLike | MappedFile, offset: int = 0) -> tuple[Any, MappedFile]:
    """Read a pickle of builtin containers and arrays, which are read-only views of the file."""
    mapped = path if isinstance(path, MappedFile) else MappedFile(path)
    try:
        value = Unpickler(mapped.buffer, offset).load()
        check_depth(value)
    except RefusedError as error:
        raise type(error)(
            f"{mapped.path} is a pickle that asks for {error}. Only NumPy arrays and builtin "
            "containers are read, because a pickle can run any code: ask who made the file for "
            "arrays."
        ) from None
    except EOFError:
        raise ValueError(f"{mapped.path} is cut short; fetch or copy it again.") from None
    except BROKEN as error:
        raise ValueError(
            f"{mapped.path} is neither an NPY file nor a whole pickle: {error}."
        ) from None
    return value, mapped


def read_npy(path: PathLike) -> tuple[Any, MappedFile]:
    """Read what is under a name that ends in ``.npy``: an array, an object, or a bare pickle.

    Returns value: the array, as a view of the file; what a 0-dimensional object array holds; or,
        where there is no NPY header, what was pickled.
    """
    mapped = MappedFile(path)
    if mapped.buffer[:6] != np.lib.format.MAGIC_PREFIX:
        if mapped.buffer[:4] == b"PK\x03\x04":
            raise ValueError(
                f"{mapped.path} is a zip archive (.npz or .pt) under another name, not an .npy "
                "file; give it its own name back."
            )
        return read_pickle(mapped)
    shape, fortran, dtype, offset = _npy_header(mapped.path)
    if dtype.hasobject:
        value, _ = read_pickle(mapped, offset)
        return (
            value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
        ), mapped
    n_bytes = math.prod(shape) * dtype.itemsize
    if offset + n_bytes > len(mapped.buffer):
        raise ValueError(
            f"{mapped.path} is cut short: an array {shape} of {dtype} takes {n_bytes} bytes, but "
            f"there are {len(mapped.buffer) - offset}. Fetch or copy it again."
        )
    return np.ndarray(
        shape, dtype, buffer=mapped.buffer, offset=offset, order="F" if fortran else "C"
    ), mapped


def _npy_header(path: Path) -> tuple[tuple, bool, np.dtype, int]:
    """Read shape, order, dtype and where the numbers begin."""
    try:
        with open(path, "rb") as stream:
            version = np.lib.format.read_magic(stream)
            if version == (1, 0):
                header = np.lib.format.read_array_header_1_0(stream)
            elif version == (2, 0):
                header = np.lib.format.read_array_header_2_0(stream)
            else:
                raise ValueError(f"NPY format {version}; 1.0 and 2.0 are read")
            if min(header[0], default=0) < 0:
                raise ValueError(f"a shape of {header[0]}")
            return *header, stream.tell()
    # NumPy parses the header as Python, with what that raises where it is none
    except (*BROKEN, EOFError, SyntaxError, tokenize.TokenError) as error:
        raise ValueError(f"{path} has no whole NPY header: {error}.") from error


def read_torch_zip(path: PathLike) -> tuple[Any, MappedFile]:
    """Read arrays that were put in a ``.pt`` file as NumPy arrays, without torch."""
    mapped = MappedFile(path)
    try:
        if not zipfile.is_zipfile(mapped.path):
            raise ValueError("torch.save writes zip archives since torch 1.6")
        with zipfile.ZipFile(mapped.path) as archive:
            inside = [entry for entry in archive.infolist() if entry.filename.endswith("data.pkl")]
        if len(inside) != 1 or inside[0].compress_type != zipfile.ZIP_STORED:
            raise ValueError("it holds no data.pkl; torch.save did not write it")
        start = inside[0].header_offset
        # a local header is 30 bytes, a name and an extra field, whose lengths it tells
        n_name, n_extra = struct.unpack_from("<HH", mapped.buffer, start + 26)
    except (*BROKEN, struct.error, zipfile.BadZipFile) as error:
        raise ValueError(f"{mapped.path} is not a file that torch.save writes: {error}.") from error
    return read_pickle(mapped, start + 30 + n_name + n_extra)
