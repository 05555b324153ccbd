"""The standard library's interpreter of pickles, told what names mean and what a file may cost."""

import math
import pickle
import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

# Shorter byte strings are copied; longer ones stay in the file.
_IN_PLACE = 1024
# What one file may cost: reads (an opcode takes one or more), bytes beside the file's own, nesting,
# and tuples as keys (their hashes can be made to collide, those of strings cannot).
_MAX_READS, _MAX_BYTES, _MAX_DEPTH, _MAX_TUPLES = 2_000_000, 2**27, 100, 4000
# What the interpreter raises where a file is none.
BROKEN = (
    ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, RuntimeError,
    TypeError, ValueError, pickle.UnpicklingError,
)  # fmt: skip


class RefusedError(ValueError):
    """A pickle asks for something that is neither an array nor a builtin container."""


class TensorInsideError(RefusedError):
    """A pickle refers to tensors that are stored beside it."""


class _Pending:
    """An array or dtype whose state comes later; ``keys`` are the memo entries that hold it."""

    def __init__(self, code: str | None) -> None:
        self.code, self.keys = code, []


class _Memo(dict):
    """What a pickle remembers; what is pending knows where it stands."""

    def __setitem__(self, key: int, value: Any) -> None:
        if isinstance(value, _Pending):
            value.keys.append(key)
        super().__setitem__(key, value)


_Base: Any = pickle._Unpickler  # type: ignore[attr-defined]


class Unpickler(_Base):
    """Follow one pickle in a buffer, from some byte of it on."""

    dispatch: dict[int, Callable] = dict(_Base.dispatch)

    def __init__(self, buffer: Any, offset: int) -> None:
        super().__init__(self, encoding="latin-1")
        self._view, self._at = memoryview(buffer), offset
        self._reads, self._tuples, self._left = 0, 0, _MAX_BYTES + 4 * len(self._view)
        self.memo = _Memo()

    def load(self) -> Any:
        """Return what was pickled."""
        value = _settled(super().load())
        if isinstance(value, _Pending):
            raise ValueError("an array without its numbers")
        return value

    # what the interpreter reads from -----------------------------------------------------------
    def read(self, n_bytes: int) -> Any:
        """Return the next bytes: a copy of few, a view of many."""
        self._reads += 1
        piece = self._view[self._at : self._at + n_bytes]
        if n_bytes < 0 or len(piece) != n_bytes:
            raise EOFError
        if self._reads > _MAX_READS:
            raise ValueError(f"it takes more than {_MAX_READS} steps")
        self._at += n_bytes
        return piece if n_bytes >= _IN_PLACE else bytes(piece)

    def readline(self) -> bytes:
        """Return the next line, for opcodes written as text."""
        end = bytes(self._view[self._at : self._at + 100_000]).find(b"\n")
        if end < 0:
            raise EOFError
        return bytes(self.read(end + 1)) if end < _IN_PLACE else self.read(end + 1).tobytes()

    # what names mean ---------------------------------------------------------------------------
    def find_class(self, module: str, name: str) -> Any:
        """Look a name up in the closed table; nothing is imported."""
        full = f"{module}.{name}".replace("numpy.core.", "numpy._core.")
        if full not in _CALLS:
            raise (TensorInsideError if module.startswith("torch") else RefusedError)(
                f"{module}.{name}"
            )
        return _CALLS[full]

    def persistent_load(self, pid: Any) -> Any:
        """Refuse what is stored elsewhere."""
        raise TensorInsideError("a tensor stored beside the pickle")

    def spend(self, n_bytes: int) -> None:
        """Count memory that is taken beside that of the file."""
        self._left -= n_bytes
        if self._left < 0:
            raise ValueError("it takes far more memory than it is long")

    # what is done with them: of each opcode the method of its name ------------------------------
    # (pop_mark also sets what append appends to)
    def _reduce(self) -> None:
        args, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Call) or function.call is None or not isinstance(args, tuple):
            raise RefusedError(
                function.name if isinstance(function, _Call)
                else f"a call of {type(function).__name__}"
            )  # fmt: skip
        self.append(function.call(self, *(_settled(arg) for arg in args)))

    def _build(self) -> None:
        # an array or a dtype is completed with its state
        state, pending = self.stack.pop(), self.stack.pop()
        if not isinstance(pending, _Pending) or not isinstance(state, tuple):
            raise RefusedError(f"state of a {type(pending).__name__}")
        state = tuple(_settled(item) for item in state)
        value = _array_of(state) if pending.code is None else _dtype_of(pending.code, state)
        for key in pending.keys:
            dict.__setitem__(self.memo, key, value)
        self.append(value)

    def _append(self) -> None:
        item = self.stack.pop()
        self.target(list).append(item)

    def _appends(self) -> None:
        items = self.pop_mark()
        self.target(list).extend(items)

    def _setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.target(dict).update(self.entries([key, value]))

    def _setitems(self) -> None:
        items = self.pop_mark()
        self.target(dict).update(self.entries(items))

    def _additems(self) -> None:
        items = self.pop_mark()
        self.target(set).update(self.members(items))

    def _dict(self) -> None:
        items = self.pop_mark()
        self.append(dict(self.entries(items)))

    def _frozenset(self) -> None:
        items = self.pop_mark()
        self.append(frozenset(self.members(items)))

    def _bytearray8(self) -> None:
        # bytes that may be changed are taken as bytes that may not
        self.append(self.read(int.from_bytes(self.read(8), "little")))

    def _frame(self) -> None:
        self.read(8)  # its length, which only matters to readers of streams

    def refuse(self) -> None:
        """Refuse what makes objects of classes."""
        raise RefusedError(f"the opcode {bytes(self._view[self._at - 1 : self._at])!r}")

    def target(self, kind: type) -> Any:
        """Return the container below the items to be added."""
        if type(self.stack[-1]) is not kind:
            raise RefusedError(f"items put into a {type(self.stack[-1]).__name__}")
        self.spend(16)
        return self.stack[-1]

    def entries(self, items: list) -> Iterable[tuple]:
        """Pair keys and values."""
        return zip(self.members(items[::2]), items[1::2], strict=True)

    def members(self, items: Any) -> list:
        """Check keys of a dict or members of a set: what is hashed at once."""
        if not isinstance(items, (list, tuple)):
            raise RefusedError(f"members out of a {type(items).__name__}")
        self.spend(100 * len(items))
        for item in items:
            parts = item if type(item) is tuple else (item,)
            self._tuples += type(item) is tuple
            if (
                len(parts) > 16
                or self._tuples > _MAX_TUPLES
                or not all(map(_hashed_at_once, parts))
            ):
                raise RefusedError(
                    f"a key or member that is a {type(item).__name__}; strings, bytes, numbers "
                    "and short tuples of these are read"
                )
        return list(items)


def _hashed_at_once(item: Any) -> bool:
    """Tell whether the hash of something costs no more than reading it did."""
    if isinstance(item, int):
        return item.bit_length() <= 64
    return item is None or isinstance(item, (str, bytes, float, complex, np.number, np.bool_))


def _costing(load: Callable, n_bytes: int) -> Callable:
    """Count what an opcode of one byte takes."""

    def counted(self: Unpickler) -> None:
        self.spend(n_bytes)
        load(self)

    return counted


for _name in ("REDUCE", "BUILD", "APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "DICT",
              "FROZENSET", "BYTEARRAY8", "FRAME"):  # fmt: skip
    Unpickler.dispatch[getattr(pickle, _name)[0]] = getattr(Unpickler, f"_{_name.lower()}")
for _name in ("INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER"):
    Unpickler.dispatch[getattr(pickle, _name)[0]] = Unpickler.refuse
for _name in ("MARK", "EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET", "TUPLE", "TUPLE1", "TUPLE2",
              "TUPLE3", "LIST"):  # fmt: skip
    _code = getattr(pickle, _name)[0]
    Unpickler.dispatch[_code] = _costing(Unpickler.dispatch[_code], 200)


class _Call:
    """What a name means; ``call`` is given the interpreter and the arguments."""

    def __init__(self, name: str, call: Callable | None) -> None:
        self.name, self.call = name, call


def _reconstruct(unpickler: Unpickler, *args: Any) -> _Pending:
    """numpy: an empty array, whose state follows."""
    return _Pending(None)


def _dtype(unpickler: Unpickler, code: Any, *args: Any) -> _Pending:
    """numpy: a dtype from its code, byte order to follow."""
    if not isinstance(code, str) or not re.fullmatch(r"[?biufcSUVO]\d{0,9}", code):
        raise RefusedError(f"a dtype of {str(code)[:40]!r}; plain numbers and strings are read")
    return _Pending(code)


def _frombuffer(
    unpickler: Unpickler, buffer: Any, dtype: Any, shape: Any, order: Any
) -> np.ndarray:
    """numpy, protocol 5: an array over a buffer."""
    return _array(shape, dtype, buffer, order)


def _scalar(unpickler: Unpickler, dtype: Any, raw: Any) -> Any:
    """numpy: a scalar of its bytes."""
    if not isinstance(dtype, np.dtype) or dtype.hasobject or len(raw) != dtype.itemsize:
        raise RefusedError(f"a scalar of {dtype!r}")
    unpickler.spend(len(raw))
    return np.frombuffer(bytes(raw), dtype, count=1)[0]


def _encode(unpickler: Unpickler, text: Any, code: Any) -> bytes:
    """Protocol 2 writes bytes as text in latin-1."""
    if code not in ("latin1", "latin-1") or not isinstance(text, str):
        raise RefusedError(f"_codecs.encode to {code!r}")
    unpickler.spend(len(text))
    return text.encode("latin-1")


def _bytearray(unpickler: Unpickler, *args: Any) -> bytearray:
    """Return bytes that can be changed; never so many zeros as a number says."""
    if len(args) == 2 and isinstance(args[0], str):
        args = (_encode(unpickler, *args),)
    if len(args) > 1 or not all(isinstance(arg, (bytes, memoryview)) for arg in args):
        raise RefusedError("a bytearray of something that is not bytes")
    unpickler.spend(sum(map(len, args)))
    return bytearray(*args)


def _bytes(unpickler: Unpickler, *args: Any) -> bytes:
    """Protocols 0 to 2 write no bytes at all as a call; there is no other."""
    if args:
        raise RefusedError("bytes of something")
    return b""


def _complex(unpickler: Unpickler, real: Any, imag: Any) -> complex:
    """Make a complex number of two others."""
    if not isinstance(real, float) or not isinstance(imag, float):
        raise RefusedError("a complex number of something that is not a number")
    return complex(real, imag)


_BUILTINS: dict[str, Callable] = {
    "set": lambda unpickler, items=(): set(unpickler.members(items)),
    "frozenset": lambda unpickler, items=(): frozenset(unpickler.members(items)),
    "complex": _complex,
    "bytearray": _bytearray,
    "bytes": _bytes,
}
_CALLS = {
    name: _Call(name, call)
    for name, call in {
        "numpy._core.multiarray._reconstruct": _reconstruct,
        "numpy._core.multiarray.scalar": _scalar,
        "numpy._core.numeric._frombuffer": _frombuffer,
        "numpy.dtype": _dtype,
        "numpy.ndarray": None,  # named as what _reconstruct makes; never called
        "_codecs.encode": _encode,
        **{f"{m}.{name}": f for m in ("builtins", "__builtin__") for name, f in _BUILTINS.items()},
    }.items()
}


def _settled(value: Any) -> Any:
    """Return a dtype that needed no state as it is."""
    if isinstance(value, _Pending) and value.code is not None:
        return np.dtype(value.code)
    return value


def _dtype_of(code: str, state: tuple) -> np.dtype:
    """Apply the byte order; structured dtypes are refused."""
    if len(state) < 5 or state[2] is not None or state[3] is not None or state[4] is not None:
        raise RefusedError("a structured dtype")
    dtype = np.dtype(code)
    return dtype.newbyteorder(state[1]) if state[1] in ("<", ">") else dtype


def _array_of(state: tuple) -> np.ndarray:
    """Make an array of shape, dtype, order and bytes, or of a list of objects."""
    shape, dtype, fortran, raw = state[-4:]
    if not isinstance(dtype, np.dtype):
        raise RefusedError("an array without a dtype")
    order = "F" if fortran else "C"
    if not dtype.hasobject:
        return _array(shape, dtype, raw, order)
    if not isinstance(raw, list) or len(raw) != _n_items(shape):
        raise ValueError("an object array with too few or too many items")
    array = np.empty(len(raw), dtype=object)
    for position, item in enumerate(raw):
        array[position] = item
    return array.reshape(shape, order=order)  # type: ignore[call-overload]


def _array(shape: Any, dtype: Any, buffer: Any, order: Any) -> np.ndarray:
    """View a buffer as an array."""
    shape = (shape,) if isinstance(shape, int) else shape
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise RefusedError(f"an array over bytes with dtype {dtype!r}")
    n_bytes = _n_items(shape) * dtype.itemsize
    if n_bytes != len(buffer):
        raise ValueError(f"an array {shape} of {dtype} has {len(buffer)} bytes, not {n_bytes}")
    if n_bytes == 0:
        return np.empty(shape, dtype)
    return np.ndarray(shape, dtype, buffer=buffer, order=order)


def _n_items(shape: Any) -> int:
    """Count what an array of a shape holds."""
    if not isinstance(shape, tuple) or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise ValueError(f"an array of shape {str(shape)[:80]}")
    return math.prod(shape)


def check_depth(value: Any) -> None:
    """Refuse containers in containers in containers: who looks through them must come to an end."""
    seen: set[int] = set()
    level = [value]
    for _ in range(_MAX_DEPTH):
        inner: list = []
        for item in level:
            if isinstance(item, np.ndarray) and item.dtype.hasobject:
                item = item.ravel().tolist()
            elif not isinstance(item, (dict, list, tuple)) or id(item) in seen:
                continue
            seen.add(id(item))
            inner.extend(item.values() if isinstance(item, dict) else item)
        if not inner:
            return
        level = inner
    raise ValueError(f"it is nested more than {_MAX_DEPTH} deep")
