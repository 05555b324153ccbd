"""The reader of pickles against pickle itself, and against pickles that want to do something."""

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from decimal import Decimal

import numpy as np
import pytest

from mne_img2brain.datasets.restricted_pickle import (
    RefusedError,
    TensorInsideError,
    read_npy,
    read_pickle,
    read_torch_zip,
)


def same(a, b):
    """Compare nested containers that hold arrays."""
    if isinstance(b, np.ndarray):
        assert isinstance(a, np.ndarray)
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        if b.dtype == object:
            assert all(same(x, y) for x, y in zip(a.ravel(), b.ravel(), strict=True))
        else:
            np.testing.assert_array_equal(a, b)
    elif isinstance(b, dict):
        assert list(a) == list(b)
        assert all(same(a[key], b[key]) for key in b)
    elif isinstance(b, (list, tuple)):
        assert type(a) is type(b)
        assert len(a) == len(b)
        assert all(same(x, y) for x, y in zip(a, b, strict=True))
    else:
        assert a == b
        assert type(a) is type(b) or isinstance(a, memoryview)
    return True


def ordinary(rng):
    shared = rng.standard_normal((2, 3))
    return {
        "data": rng.standard_normal((5, 3, 4, 50)),
        "fortran": np.asfortranarray(rng.standard_normal((20, 30))),
        "half": rng.standard_normal((3, 4)).astype(np.float16),
        "big_endian": np.arange(5, dtype=">i4"),
        "empty": np.empty((0, 3)),
        "names": ["Pz", "Oz"],
        "unicode": np.array([["a", "bc"], ["d", "é"]]),
        "objects": np.array(["Pz", [1, 2], None], dtype=object),
        "lists": np.array([[1, 2], [3, 4, 5]], dtype=object),
        "scalars": [np.float64(0.5), np.int32(3), np.bool_(True)],
        "numbers": (1, -1, 255, 70000, -(2**40), 2**100, 0.1, True, False, None, 2 + 1j),
        "sets": [{1, 2}, frozenset({"x"}), set()],
        "bytes": [b"few", b"many" * 1000],
        "again": [shared, shared],
        "long text": "x" * 300,
        "nested": {"a": {"b": [(1, (2,)), ()]}},
    }


@pytest.mark.parametrize("protocol", range(6))
def test_reads_what_pickle_reads(tmp_path, rng, protocol):
    value = ordinary(rng)
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    found, _ = read_pickle(path)
    assert same(found, value)


@pytest.mark.parametrize("protocol", range(6))
def test_the_slow_pickler_writes_the_same_language(tmp_path, rng, protocol):
    stream = io.BytesIO()
    pickle._Pickler(stream, protocol).dump(ordinary(rng))
    path = tmp_path / "file.pkl"
    path.write_bytes(stream.getvalue())
    assert same(read_pickle(path)[0], ordinary(np.random.default_rng(0)))


def test_large_arrays_stay_in_the_file(tmp_path, rng):
    """The array changes when the file does: nothing was copied."""
    path = tmp_path / "file.npy"
    data = rng.standard_normal((4, 1000))
    path.write_bytes(pickle.dumps({"data": data}, protocol=4))
    found, mapped = read_npy(path)
    raw = path.read_bytes()
    at = raw.index(data.tobytes())
    with open(path, "r+b") as stream:
        stream.seek(at)
        stream.write(np.float64(42.0).tobytes())
    assert found["data"][0, 0] == 42.0
    assert not found["data"].flags.owndata
    assert not found["data"].flags.writeable
    mapped.saw(2**40)  # pages are handed back, and come back
    np.testing.assert_array_equal(found["data"][1:], data[1:])


def test_npy_arrays_and_objects(tmp_path, rng):
    array = rng.standard_normal((3, 4)).astype(">f4")
    np.save(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(read_npy(tmp_path / "a.npy")[0], array)
    np.save(tmp_path / "f.npy", np.asfortranarray(array))
    np.testing.assert_array_equal(read_npy(tmp_path / "f.npy")[0], array)
    np.save(tmp_path / "d.npy", {"data": array, "names": ["x"]})
    assert same(read_npy(tmp_path / "d.npy")[0], {"data": array, "names": ["x"]})
    np.save(tmp_path / "o.npy", np.array(["x", 1], dtype=object))
    assert same(read_npy(tmp_path / "o.npy")[0], np.array(["x", 1], dtype=object))


class Evil:
    """What an attacker would put in a file."""

    def __init__(self, *what):
        self.what = what

    def __reduce__(self):
        return self.what


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (Evil(os.system, ("touch evil",)), r"(posix|nt)\.system"),
        (Evil(eval, ("1+1",)), r"builtin(s|__)\.eval"),
        (Evil(getattr, ("x", "upper")), r"builtin(s|__)\.getattr"),
        (Evil(np.load, ("x.npy",)), "numpy"),
        (OrderedDict(a=1), r"collections\.OrderedDict"),
        (Decimal(1), r"decimal\.Decimal"),
        (np.zeros(2, dtype=[("a", int)]), "structured dtype"),
        ({"deep": [np.array([Evil(os.system, ("touch evil",))], dtype=object)]}, "system"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_refuses_by_name(tmp_path, monkeypatch, value, named, protocol):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(value, protocol=protocol))
    with pytest.raises(RefusedError, match=named):
        read_pickle(tmp_path / "evil.pkl")
    assert not (tmp_path / "evil").exists()


def test_refuses_objects_inside_npy(tmp_path):
    np.save(tmp_path / "evil.npy", {"x": Evil(os.system, ("true",))})
    with pytest.raises(RefusedError, match=r"evil\.npy is a pickle that asks for .*system"):
        read_npy(tmp_path / "evil.npy")


@pytest.mark.parametrize(
    ("program", "named"),
    [
        # a known name called with what is not a tuple, a state for a list, items into a number
        (b"\x80\x04cnumpy\ndtype\nK\x01R.", r"numpy\.dtype"),
        (b"\x80\x04cnumpy\nndarray\n)R.", r"numpy\.ndarray"),
        (b"\x80\x04]}b.", "state of a list"),
        (b"\x80\x04K\x01K\x02a.", "items put into a int"),
        (b"\x80\x04cbuiltins\nbytearray\nJ\x00\x00\x00\x7f\x85R.", "bytearray of something"),
        (b"\x80\x04\x82\x01.", "opcode"),
    ],
)
def test_refuses_programs_that_abuse_known_names(tmp_path, program, named):
    (tmp_path / "x.pkl").write_bytes(program)
    with pytest.raises(RefusedError, match=named):
        read_pickle(tmp_path / "x.pkl")


def test_broken_files_say_so(tmp_path, rng):
    whole = pickle.dumps({"data": rng.standard_normal((50, 50))}, protocol=4)
    (tmp_path / "cut.pkl").write_bytes(whole[:-100])
    with pytest.raises(ValueError, match=r"cut\.pkl is cut short"):
        read_pickle(tmp_path / "cut.pkl")
    np.save(tmp_path / "cut.npy", rng.standard_normal((50, 50)))
    raw = (tmp_path / "cut.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(raw[:-8])
    with pytest.raises(ValueError, match=r"cut\.npy is cut short: an array \(50, 50\)"):
        read_npy(tmp_path / "cut.npy")
    (tmp_path / "text.npy").write_bytes(b"<html>not found</html>")
    with pytest.raises(ValueError, match="neither an NPY file nor a whole pickle|asks for"):
        read_npy(tmp_path / "text.npy")
    (tmp_path / "empty.npy").write_bytes(b"")
    with pytest.raises(ValueError, match="is empty"):
        read_npy(tmp_path / "empty.npy")
    with pytest.raises(FileNotFoundError, match="no file"):
        read_npy(tmp_path / "nothing.npy")
    with zipfile.ZipFile(tmp_path / "zip.npy", "w") as archive:
        archive.writestr("a", "b")
    with pytest.raises(ValueError, match="zip archive"):
        read_npy(tmp_path / "zip.npy")
    with pytest.raises(ValueError, match=r"no data\.pkl"):
        read_torch_zip(tmp_path / "zip.npy")
    with pytest.raises(ValueError, match="is not a file that torch.save writes"):
        read_torch_zip(tmp_path / "text.npy")


def test_every_cut_of_a_pickle_is_an_error(tmp_path, rng):
    """Whatever byte a copy stops at, nothing but ValueError comes out."""
    whole = pickle.dumps({"data": rng.standard_normal(3), "names": ["a", (1, 2)]}, protocol=4)
    for stop in range(1, len(whole)):
        (tmp_path / "cut.pkl").write_bytes(whole[:stop])
        with pytest.raises(ValueError, match="cut short|neither"):
            read_pickle(tmp_path / "cut.pkl")


def test_random_bytes_are_an_error(tmp_path, rng):
    for _ in range(300):
        (tmp_path / "x.pkl").write_bytes(b"\x80\x04" + rng.bytes(60) + b".")
        # chance may also write a whole pickle of an integer: that is none of 300 draws here
        with pytest.raises(ValueError, match=r"x\.pkl"):
            read_pickle(tmp_path / "x.pkl")


@pytest.mark.parametrize("protocol", [2, 5])
def test_arrays_in_pt_files(tmp_path, rng, protocol):
    torch = pytest.importorskip("torch")
    value = {"eeg": rng.standard_normal((3, 500)).astype(np.float16), "ch_names": ["Pz"]}
    torch.save(value, tmp_path / "x.pt", pickle_protocol=protocol)
    assert same(read_torch_zip(tmp_path / "x.pt")[0], value)
    torch.save({"eeg": torch.zeros(3)}, tmp_path / "t.pt", pickle_protocol=protocol)
    with pytest.raises(TensorInsideError):
        read_torch_zip(tmp_path / "t.pt")
