"""The cache on disk: one open file, checked, safe against two writers and cut-off writes."""

import multiprocessing
import os
import signal

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mne_img2brain.stimulus.cache import Cache, cache_folder


def write_many(folder, seed):
    """Write the same keys as the other process, again and again."""
    cache = Cache(folder, "test", {"a": 1})
    for _ in range(20):
        for key in range(5):
            cache.put_array(str(key), np.full((50, 40), key, np.float32))
    return seed


def write_numbers(folder):
    """Write an array of each number below 300."""
    cache = Cache(folder, "test", {"a": 1})
    for key in range(300):
        cache.put_array(str(key), np.full((30, 40), key))


@pytest.fixture
def few_handles():
    """Allow this process 40 more open files."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 40, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_arrays_and_texts_come_back(tmp_path, rng):
    cache = Cache(tmp_path, "test", {"model": "x"})
    array = rng.standard_normal((3, 4)).astype(np.float32)
    assert cache.get_array("k") is None
    cache.put_array("k", array)
    got = cache.get_array("k")
    assert isinstance(got, np.memmap)
    assert got.dtype == np.float16
    assert_array_equal(got, array.astype(np.float16))
    assert cache.get_text("k") is None
    for text in ("a dög\non a mat", ""):
        cache.put_text("k", text)
        assert cache.get_text("k") == Cache(tmp_path, "test", {"model": "x"}).get_text("k") == text
    cache.put_array("k", array, np.float32)
    assert_array_equal(cache.get_array("k"), array)
    assert cache.get_array("k").dtype == np.float32


def test_other_settings_are_another_cache(tmp_path):
    Cache(tmp_path, "test", {"model": "x"}).put_text("k", "x")
    assert Cache(tmp_path, "test", {"model": "y"}).get_text("k") is None
    assert Cache(tmp_path, "test", {"model": "x"}).get_text("k") == "x"


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files under /proc")
def test_thousands_of_arrays_are_one_open_file(tmp_path, few_handles):
    written = Cache(tmp_path, "test", {})
    kept = []
    for key in range(1500):
        written.put_array(str(key), np.full((5, 7), key))
        kept.append(written.get_array(str(key)))  # and the views are held
    cache = Cache(tmp_path, "test", {})
    found = [cache.get_array(str(key)) for key in range(1500)]
    for key in range(1500):
        assert_array_equal(found[key], np.float16(key))
        assert_array_equal(kept[key], found[key])
    assert all(array.shape == (5, 7) and isinstance(array, np.memmap) for array in found)
    assert sum(path.is_file() for path in tmp_path.rglob("*")) == 3


@pytest.mark.parametrize("keep", [0, 5, 100, -8])
@pytest.mark.parametrize("name", ["arrays.bin", "index.jsonl"])
def test_a_damaged_file_is_as_good_as_none(tmp_path, name, keep):
    cache = Cache(tmp_path, "test", {})
    cache.put_array("k", np.ones((10, 16)))
    (path,) = tmp_path.rglob(name)
    path.write_bytes(path.read_bytes()[:keep])
    fresh = Cache(tmp_path, "test", {})
    assert fresh.get_array("k") is None
    fresh.put_array("k", np.ones((10, 16)))
    for reader in (fresh, Cache(tmp_path, "test", {})):
        assert_array_equal(reader.get_array("k"), 1)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"shape": [2, 3]', '"shape": [3]'),
        ('"shape": [2, 3]', '"shape": [3, 2]'),
        ('"shape": [2, 3]', '"shape": [-1]'),
        ('"shape": [2, 3]', '"shape": [1000000000, 1000000000]'),
        ('"<f2"', '"<i2"'),
        ('"<f2"', '"O"'),
        ('"start": 0', '"start": 64'),
        ('"start": 0', '"start": -64'),
        ('"start": 0', '"start": null'),
    ],
)
def test_the_index_is_checked(tmp_path, old, new):
    """Another type, shape or place does not agree with the checksum."""
    cache = Cache(tmp_path, "test", {})
    cache.put_array("k", np.arange(6).reshape(2, 3))
    cache.put_array("other", np.ones((2, 3)))
    (path,) = tmp_path.rglob("index.jsonl")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    fresh = Cache(tmp_path, "test", {})
    assert fresh.get_array("k") is None
    assert_array_equal(fresh.get_array("other"), np.ones((2, 3)))


def test_one_flipped_bit_is_noticed(tmp_path, rng):
    cache = Cache(tmp_path, "test", {})
    arrays = [rng.standard_normal((4, 8)).astype(np.float16) for _ in range(3)]
    for key, array in enumerate(arrays):
        cache.put_array(str(key), array)
    (path,) = tmp_path.rglob("arrays.bin")
    content = path.read_bytes()
    for byte in rng.integers(64, 128, 20):  # the second array
        flipped = bytearray(content)
        flipped[byte] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        fresh = Cache(tmp_path, "test", {})
        assert fresh.get_array("1") is None
        assert_array_equal(fresh.get_array("0"), arrays[0])
        assert_array_equal(fresh.get_array("2"), arrays[2])


def test_a_write_that_fails_leaves_nothing(tmp_path):
    cache = Cache(tmp_path, "test", {})
    with pytest.raises((TypeError, ValueError)):
        cache.put_array("k", np.array(["no number"]))
    with pytest.raises(TypeError):
        cache.put_text("k", object())
    cache.put_array("k", np.array([1e9]))  # infinite in half precision
    assert not list(tmp_path.rglob("*"))
    assert cache.get_text("k") is None


def test_permissions_are_those_of_umask(tmp_path):
    old = os.umask(0o002)
    try:
        Cache(tmp_path, "test", {}).put_array("k", np.ones(3))
    finally:
        os.umask(old)
    modes = {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()}
    assert modes == {0o664}


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_not_ours(tmp_path):
    tmp_path.chmod(0o500)
    cache = Cache(tmp_path, "test", {})
    with pytest.warns(RuntimeWarning, match="cannot be written"):
        cache.put_array("k", np.ones(3))


def test_no_folder_is_one_warning(tmp_path, recwarn):
    (tmp_path / "file").write_text("")
    cache = Cache(tmp_path / "file", "test", {})
    for key in "ab":
        cache.put_array(key, np.ones(3))
        assert cache.get_array(key) is None
    (message,) = [str(w.message) for w in recwarn]
    assert "cannot be written" in message
    assert "MNE_IMG2BRAIN_CACHE" in message


def test_a_full_disk_is_a_warning_and_nothing_wrong(tmp_path, rng):
    """Writes that stop half way are not read, nor do they harm what is written afterwards."""
    resource = pytest.importorskip("resource")
    cache = Cache(tmp_path, "test", {})
    cache.put_array("before", np.ones((20, 30)))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.warns(RuntimeWarning, match="cannot be written"):
            cache.put_array("full", np.ones((20, 30)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    after = rng.standard_normal((20, 30)).astype(np.float16)
    cache.put_array("after", after)
    for reader in (cache, Cache(tmp_path, "test", {})):
        assert reader.get_array("full") is None
        assert_array_equal(reader.get_array("before"), 1)
        assert_array_equal(reader.get_array("after"), after)


def test_two_processes_write_at_once(tmp_path):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.starmap(write_many, [(tmp_path, 0), (tmp_path, 1)]) == [0, 1]
    cache = Cache(tmp_path, "test", {"a": 1})
    for key in range(5):
        assert_array_equal(cache.get_array(str(key)), key)


def test_it_is_read_while_another_process_writes(tmp_path):
    """What is there is right, and in the end all is there, without opening the cache anew."""
    cache = Cache(tmp_path, "test", {"a": 1})
    process = multiprocessing.get_context("spawn").Process(target=write_numbers, args=(tmp_path,))
    process.start()
    while process.is_alive():
        for key in (0, 17, 299):
            got = cache.get_array(str(key))
            assert got is None or (got.shape == (30, 40) and (got == key).all())
    process.join()
    assert process.exitcode == 0
    for key in range(300):
        assert_array_equal(cache.get_array(str(key)), np.full((30, 40), key))


def test_where_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("MNE_IMG2BRAIN_CACHE", str(tmp_path / "env"))
    assert cache_folder() == tmp_path / "env"
    assert cache_folder(tmp_path / "own") == tmp_path / "own"
    monkeypatch.delenv("MNE_IMG2BRAIN_CACHE")
    assert "mne_img2brain" in str(cache_folder())
