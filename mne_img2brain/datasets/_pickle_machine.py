"""The stack machine of restricted_pickle: opcodes, and the few names that mean something."""

import struct
from typing import Any, Literal

import numpy as np

# Shorter byte strings are copied; longer ones stay in the file.
_IN_PLACE = 1024
_MAX_DEPTH = 10_000_000


class RefusedError(ValueError):
    """A pickle asks for something that is neither an array nor a builtin container."""


class TensorInsideError(RefusedError):
    """A pickle refers to tensors that are stored beside it."""


class _Name:
    """A global that a pickle may use; its meaning is in :data:`_CALLS`, never imported."""

    def __init__(self, name: str) -> None:
        self.name = name


class _Pending:
    """An array or dtype whose state comes later; ``keys`` are the memo entries that hold it."""

    def __init__(self, kind: str, value: Any = None) -> None:
        self.kind, self.value, self.keys = kind, value, []


class _Mark:
    """Where a sequence of items begins on the stack."""


def _reconstruct(args: tuple[_Name, tuple, bytes]) -> _Pending:
    """numpy: an empty array, whose state follows."""
    return _Pending("array")


def _dtype(args: tuple[str, bool, bool]) -> _Pending:
    """numpy: a dtype from its code, byte order to follow."""
    code = args[0]
    if not isinstance(code, str):
        raise RefusedError(f"a dtype of {code!r}; arrays of plain numbers and strings are read")
    return _Pending("dtype", np.dtype(code))


def _frombuffer(args: tuple) -> np.ndarray:
    """numpy, protocol 5: an array over a buffer."""
    buffer, dtype, shape, order = args
    return _array(shape, dtype, buffer, order)


def _scalar(args: tuple[Any, bytes]) -> bool | float:
    """numpy: a scalar of its bytes."""
    dtype, raw = args
    return np.frombuffer(bytes(raw), dtype, count=1)[0]


def _encode(args: tuple[str, str]) -> bytes:
    """Protocol 2 writes bytes as text in latin-1."""
    text, code = args
    if code not in ("latin1", "latin-1"):
        raise RefusedError(f"_codecs.encode to {code!r}")
    return text.encode("latin-1")


def _bytearray(args: tuple) -> Any:
    """Return bytes that can be changed; never so many zeros as a number says."""
    if not all(isinstance(arg, (bytes, memoryview)) for arg in args):
        raise RefusedError("a bytearray of something that is not bytes")
    return bytearray(*args)


def _bytes(args: tuple) -> bytes:
    """Protocols 0 to 2 write no bytes at all as a call; there is no other."""
    if args:
        raise RefusedError("bytes of something")
    return b""


_BUILTINS = {
    **{
        kind.__name__: (lambda args, kind=kind: kind(*args))  # type: ignore[misc]
        for kind in (set, frozenset, complex, list, tuple, dict)
    },
    "bytearray": _bytearray,
    "bytes": _bytes,
}
_NUMPY = {"_reconstruct": _reconstruct, "scalar": _scalar}
_CALLS = {
    **{f"numpy.{core}.multiarray.{n}": f for core in ("core", "_core") for n, f in _NUMPY.items()},
    **{f"numpy.{core}.numeric._frombuffer": _frombuffer for core in ("core", "_core")},
    "numpy.dtype": _dtype,
    "numpy.ndarray": None,  # named as what _reconstruct makes; never called
    "_codecs.encode": _encode,
    **{
        f"{module}.{name}": function
        for module in ("builtins", "__builtin__")
        for name, function in _BUILTINS.items()
    },
}


def _array(shape: tuple, dtype: Any, buffer: Any, order: Literal["F", "C"]) -> np.ndarray:
    """View a buffer as an array."""
    if isinstance(shape, int):
        shape = (shape,)
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise RefusedError(f"an array over bytes with dtype {dtype!r}")
    n_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if n_bytes != len(buffer):
        raise ValueError(f"an array {shape} of {dtype} has {len(buffer)} bytes, not {n_bytes}")
    if n_bytes == 0:
        return np.empty(shape, dtype)
    return np.ndarray(shape, dtype, buffer=buffer, order=order)


class _Machine:
    """Run one pickle over a buffer."""

    def __init__(self, buffer: Any, offset: int) -> None:
        self.view, self.at = memoryview(buffer), offset
        self.stack, self.memo = [], {}

    # reading -----------------------------------------------------------------------------------
    def take(self, n_bytes: int) -> Any:
        """Return the next bytes, in place."""
        piece = self.view[self.at : self.at + n_bytes]
        if n_bytes < 0 or len(piece) != n_bytes:
            raise EOFError
        self.at += n_bytes
        return piece

    def number(self, code: Any) -> int:
        """Return the next little-endian number."""
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def line(self) -> bytes:
        """Return the next line, for opcodes written as text."""
        pieces = []
        while (byte := bytes(self.take(1))) != b"\n":
            pieces.append(byte)
            if len(pieces) > 1_000_000:
                raise ValueError("a line that does not end")
        return b"".join(pieces)

    def raw(self, n_bytes: int) -> Any:
        """Return bytes: a copy of few, a view of many."""
        piece = self.take(n_bytes)
        return piece if n_bytes >= _IN_PLACE else bytes(piece)

    # the stack ---------------------------------------------------------------------------------
    def pop(self) -> Any:
        """Take the top of the stack."""
        if not self.stack:
            raise ValueError("an empty stack")
        return self.stack.pop()

    def pop_mark(self) -> list:
        """Take the items above the last mark."""
        items = []
        while (item := self.pop()) is not _Mark:
            items.append(item)
        return items[::-1]

    def remember(self, key: int) -> None:
        """Put the top of the stack in the memo."""
        top = self.stack[-1]
        if isinstance(top, _Pending):
            top.keys.append(key)
        self.memo[key] = top

    def name(self, module: str, name: str) -> _Name:
        """Look a global up; anything unknown is refused."""
        full = f"{module}.{name}"
        if full not in _CALLS:
            if module.startswith("torch"):
                raise TensorInsideError(full)
            raise RefusedError(full)
        return _Name(full)

    def reduce(self) -> None:
        """Call one of the known names."""
        args, function = self.pop(), self.pop()
        call: Any = _CALLS[function.name] if isinstance(function, _Name) else None
        if call is None or not isinstance(args, tuple):
            raise RefusedError(getattr(function, "name", f"a call of {type(function).__name__}"))
        self.stack.append(call(tuple(_settled(arg) for arg in args)))

    def build(self) -> None:
        """Complete an array or a dtype with its state."""
        state, pending = self.pop(), self.pop()
        if not isinstance(pending, _Pending) or not isinstance(state, tuple):
            raise RefusedError(f"state of a {type(pending).__name__}")
        state = tuple(_settled(item) for item in state)
        value = _dtype_of(pending, state) if pending.kind == "dtype" else _array_of(state)
        for key in pending.keys:
            self.memo[key] = value
        self.stack.append(value)

    def container(self, kind: type) -> Any:
        """Return the container below the items to be added."""
        target = self.stack[-1] if self.stack else None
        if type(target) is not kind:
            raise RefusedError(f"items put into a {type(target).__name__}")
        return target


def _settled(value: Any) -> Any:
    """Return a dtype that needed no state as it is."""
    if isinstance(value, _Pending) and value.kind == "dtype":
        return value.value
    return value


def _dtype_of(pending: _Pending, state: tuple) -> Any:
    """Apply the byte order; structured dtypes are refused."""
    if len(state) < 5 or state[2] is not None or state[3] is not None or state[4] is not None:
        raise RefusedError("a structured dtype")
    return pending.value.newbyteorder(state[1]) if state[1] in "<>" else pending.value


def _array_of(state: tuple) -> np.ndarray:
    """Make an array of shape, dtype, order and bytes, or of a list of objects."""
    shape, dtype, fortran, raw = state[-4:]
    if not isinstance(dtype, np.dtype):
        raise RefusedError("an array without a dtype")
    order: Literal["F", "C"] = "F" if fortran else "C"
    if dtype.hasobject:
        if not isinstance(raw, list) or len(raw) != int(np.prod(shape, dtype=np.int64)):
            raise ValueError("an object array with too few or too many items")
        array = np.empty(len(raw), dtype=object)
        for position, item in enumerate(raw):
            array[position] = item
        return array.reshape(shape, order=order)
    return _array(shape, dtype, raw, order)


def _pairs(items: list) -> Any:
    """Pair keys and values."""
    return zip(items[::2], items[1::2], strict=True)


_CONSTANTS = {b"N": None, b"\x88": True, b"\x89": False}
_EMPTY = {b"]": list, b"}": dict, b")": tuple, b"\x8f": set}
_NUMBERS = {b"J": "i", b"K": "B", b"M": "H"}
_TEXTS = {b"X": "I", b"\x8c": "B", b"\x8d": "Q"}
_BYTES = {b"B": "I", b"C": "B", b"\x8e": "Q", b"\x96": "Q"}
_OLD_STRINGS = {b"T": "i", b"U": "B"}
_TUPLES = {b"\x85": 1, b"\x86": 2, b"\x87": 3}
_PUT = {b"p": None, b"q": "B", b"r": "I"}
_GET = {b"g": None, b"h": "B", b"j": "I"}


def _step(machine: _Machine, code: bytes) -> None:
    """Follow one opcode."""
    push = machine.stack.append
    if code in _CONSTANTS:
        push(_CONSTANTS[code])
    elif code in _EMPTY:
        push(_EMPTY[code]())
    elif code in _NUMBERS:
        push(machine.number(_NUMBERS[code]))
    elif code in _TEXTS:
        push(str(machine.take(machine.number(_TEXTS[code])), "utf-8", "surrogatepass"))
    elif code in _BYTES:
        push(machine.raw(machine.number(_BYTES[code])))
    elif code in _OLD_STRINGS:
        push(str(machine.take(machine.number(_OLD_STRINGS[code])), "latin-1"))
    elif code in _TUPLES:
        items = [machine.pop() for _ in range(_TUPLES[code])]
        push(tuple(items[::-1]))
    elif code in _PUT:
        key = int(machine.line()) if _PUT[code] is None else machine.number(_PUT[code])
        machine.remember(key)
    elif code == b"\x94":
        machine.remember(len(machine.memo))
    elif code in _GET:
        key = int(machine.line()) if _GET[code] is None else machine.number(_GET[code])
        push(machine.memo[key])
    elif code == b"(":
        push(_Mark)
    elif code == b"G":
        push(struct.unpack(">d", machine.take(8))[0])
    elif code in (b"\x8a", b"\x8b"):
        n_bytes = machine.number("B" if code == b"\x8a" else "i")
        push(int.from_bytes(machine.take(n_bytes), "little", signed=True))
    else:
        _step_structure(machine, code)


def _step_structure(machine: _Machine, code: bytes) -> None:
    """Follow an opcode that makes containers, names or calls, or that older protocols use."""
    push, pop = machine.stack.append, machine.pop
    if code == b"a":
        item = pop()
        machine.container(list).append(item)
    elif code == b"e":
        items = machine.pop_mark()
        machine.container(list).extend(items)
    elif code == b"s":
        value, key = pop(), pop()
        machine.container(dict)[key] = value
    elif code == b"u":
        items = machine.pop_mark()
        machine.container(dict).update(_pairs(items))
    elif code == b"\x90":
        items = machine.pop_mark()
        machine.container(set).update(items)
    elif code == b"\x91":
        push(frozenset(machine.pop_mark()))
    elif code == b"t":
        push(tuple(machine.pop_mark()))
    elif code == b"l":
        push(machine.pop_mark())
    elif code == b"d":
        push(dict(_pairs(machine.pop_mark())))
    elif code == b"0":
        pop()
    elif code == b"1":
        machine.pop_mark()
    elif code == b"2":
        push(machine.stack[-1])
    elif code == b"c":
        push(machine.name(machine.line().decode(), machine.line().decode()))
    elif code == b"\x93":
        name, module = pop(), pop()
        push(machine.name(module, name))
    elif code == b"R":
        machine.reduce()
    elif code == b"b":
        machine.build()
    elif code == b"\x80":
        protocol = machine.number("B")
        if protocol > 5:
            raise ValueError(f"protocol {protocol}; 0 to 5 are known")
    elif code == b"\x95":
        machine.take(8)  # the length of a frame: frames only matter to readers of streams
    elif code in (b"P", b"Q"):
        raise TensorInsideError("a tensor stored beside the pickle")
    elif code == b"I":
        text = machine.line()
        push({b"00": False, b"01": True}.get(text, int(text)))
    elif code == b"L":
        push(int(machine.line().rstrip(b"L")))
    elif code == b"F":
        push(float(machine.line()))
    elif code == b"V":
        push(machine.line().decode("raw-unicode-escape"))
    elif code == b"\x98":
        pass  # READONLY_BUFFER: everything here is read only
    else:
        raise RefusedError(f"the opcode {code!r}")


def run(buffer: Any, offset: int, label: str) -> dict | np.ndarray:
    """Run the pickle at an offset of a buffer.

    Parameters
    ----------
    buffer : bytes-like
        The file.
    offset : int
        Where the pickle begins.
    label : str
        What errors call the file.

    Returns
    -------
    object
        What was pickled.

    Raises
    ------
    RefusedError
        If it asks for anything but arrays and builtin containers.
    ValueError
        If it is cut short or is no pickle.
    """
    machine = _Machine(buffer, offset)
    try:
        for _ in range(_MAX_DEPTH):
            code = bytes(machine.take(1))
            if code == b".":
                return _settled(machine.pop())
            _step(machine, code)
        raise ValueError("it has no end")
    except RefusedError as error:
        raise type(error)(
            f"{label} is a pickle that asks for {error}. Only NumPy arrays and builtin containers "
            "are read, because a pickle can run any code: ask who made the file for arrays."
        ) from None
    except EOFError:
        raise ValueError(f"{label} is cut short; fetch or copy it again.") from None
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"{label} is neither an NPY file nor a whole pickle: {error}.") from None
