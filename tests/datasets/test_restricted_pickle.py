"""The reader of pickles against pickle itself, and against pickles that want to do something."""

import io
import os
import pickle
import time
import tracemalloc
import zipfile
from collections import OrderedDict
from decimal import Decimal

import numpy as np
import pytest

from mne_img2brain.datasets._unpickler import RefusedError, TensorInsideError
from mne_img2brain.datasets.restricted_pickle import read_npy, read_pickle, read_torch_zip


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


def hash_bomb():
    """A key of 40 pairs of pairs of pairs: its hash takes 2 ** 40 steps, its pickle 337 bytes."""
    program = b"\x80\x04(K\x01K\x02t\x94"
    for i in range(40):
        program += b"0(h" + bytes([i]) + b"h" + bytes([i]) + b"t\x94"
    return program + b"0}h\x28K\x01s."


@pytest.mark.parametrize(
    ("program", "match"),
    [
        (hash_bomb(), "key or member that is a tuple"),
        (hash_bomb().replace(b"0}h\x28K\x01s.", b"0\x8f(h\x28\x90."), "key or member"),
        (hash_bomb().replace(b"0}h\x28K\x01s.", b"0(h\x28\x91."), "key or member"),
        (hash_bomb().replace(b"0}h\x28K\x01s.", b"0cbuiltins\nset\n]h\x28a\x85R."),
         "key or member"),
        (b"\x80\x04}\x8a\xff" + b"\x7f" * 255 + b"K\x01s.", "key or member that is a int"),
        (b"\x80\x04}" + b"((" + b"K\x01" * 17 + b"tNu.", "key or member that is a tuple"),
        (b"\x80\x04N" + b"2" * 9_000_000 + b".", "steps"),
        (b"\x80\x04(" + b"\x8f" * 1_900_000 + b"t.", "more memory"),
        (b"\x80\x04" + b"(" * 1_900_000 + b"t.", "more memory"),
        (b"\x80\x04)" + b"\x85" * 500_000 + b".", "nested more than"),
        (b"\x80\x04" + b"]" * 500_000 + b"a" * 499_999 + b".", "nested more than"),
        (b"\x80\x04]\x94h\x00a" + b"]\x94h\x01a0.", None),
        (b"\x80\x04X\x00\x00\x10\x00" + b"x" * 2**20 + b"\x94"
         + b"c_codecs\nencode\nh\x00\x8c\x06latin1\x86R" * 1000 + b".", "more memory"),
        (b"\x80\x04cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n\x8c\x0aS100000000\x85RC\x01x\x86R.",
         "a scalar of"),
        (b"\x80\x04cnumpy\ndtype\n\x8c\x40" + b"f8," * 21 + b"i\x85R.", "a dtype of"),
        (b"\x80\x04cnumpy.core.numeric\n_frombuffer\n(C\x01xcnumpy\ndtype\n\x8c\x02i1\x85R"
         b"(\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01J\xff\xff\xff\xfft\x8c\x01Ct R.",
         "neither"),
        (b"\x80\x04\x96\xff\xff\xff\xff\xff\xff\xff\x7f.", "cut short"),
        (b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xffN.", None),
        (b"\x80\x04cbuiltins\nset\nC\x01x\x85R.", "members out of a bytes"),
        (b"\x80\x04cbuiltins\ncomplex\nX\x03\x00\x00\x00abcN\x86R.", "complex"),
        (b"I" + b"9" * 5000 + b"\n.", "neither"),
        (b"I" + b"9" * 500_000, "cut short"),
        (b"\x80\x04(cos\nsystem\no.", r"os\.system"),
        (b"(S'touch evil'\nios\nsystem\n.", "opcode"),
        (b"\x80\x02c__builtin__\nset\n)\x81.", "opcode"),
        (b"\x80\x04\x97.", "opcode"),
    ],
)  # fmt: skip
def test_what_a_small_file_may_cost_is_bounded(tmp_path, program, match):
    (tmp_path / "x.pkl").write_bytes(program)
    began = time.process_time()
    if match is None:
        read_pickle(tmp_path / "x.pkl")
    else:
        with pytest.raises(ValueError, match=match) as caught:
            read_pickle(tmp_path / "x.pkl")
        assert str(caught.value).startswith(f"{tmp_path / 'x.pkl'} is")
    assert time.process_time() - began < 5


def test_containers_may_be_shared_and_hold_themselves(tmp_path):
    endless: list = []
    endless.append(endless)
    shared = [[1]]
    (tmp_path / "x.pkl").write_bytes(pickle.dumps([shared] * 200))
    assert read_pickle(tmp_path / "x.pkl")[0] == [[[1]]] * 200
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"a": [endless]}))
    value, _ = read_pickle(tmp_path / "x.pkl")
    assert value["a"][0][0] is value["a"][0]


def test_keys_that_are_read(tmp_path):
    value = {1: 0, "a": 1, b"b": 2, 0.5: 3, ("a", 1): 4, (1, (2.0)): 5, None: 6, np.int32(7): 8}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(value))
    assert read_pickle(tmp_path / "x.pkl")[0] == value


def test_a_large_dict_is_mapped_and_not_copied(tmp_path):
    data = {"data": np.zeros((25, 1_000_000), np.float32), "names": ["x"] * 1000}
    for protocol in (3, 4, 5):
        with (tmp_path / "x.pkl").open("wb") as stream:
            pickle.dump(data, stream, protocol=protocol)
        tracemalloc.start()
        found, mapped = read_pickle(tmp_path / "x.pkl")
        assert tracemalloc.get_traced_memory()[1] < 2**20
        tracemalloc.stop()
        assert found["data"].shape == (25, 1_000_000)
        assert not found["data"].flags.owndata
        del found, mapped


def test_headers_that_are_none(tmp_path, rng):
    """NumPy and zipfile raise errors of many kinds; here they are one, with the file's name."""
    np.save(tmp_path / "x.npy", rng.standard_normal(3))
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps([1]))
    for name, read, n in [("x.npy", read_npy, 128), ("x.pt", read_torch_zip, None)]:
        whole = (tmp_path / name).read_bytes()
        for _ in range(400):
            broken = bytearray(whole)
            for at in rng.integers(len(whole[:n]), size=3):
                broken[at] = rng.integers(256)
            (tmp_path / f"b{name}").write_bytes(broken)
            message = f"b{name}"
            try:
                read(tmp_path / f"b{name}")
            except ValueError as error:
                message = str(error)
            assert f"b{name}" in message
    for header in (b"{'descr': '<f8', 'fortran_order': False, 'shape': (-5,), }", b"{(", b"(" * 60):
        padded = header.ljust(117) + b"\n"
        content = b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded
        (tmp_path / "h.npy").write_bytes(content)
        with pytest.raises(ValueError, match=r"h\.npy"):
            read_npy(tmp_path / "h.npy")
