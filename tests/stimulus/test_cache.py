"""The cache on disk: half precision, safe against two writers and cut-off writes."""

import multiprocessing

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
    cache.put_text("k", "a dög\non a mat")
    assert cache.get_text("k") == "a dög\non a mat"


def test_other_settings_are_another_cache(tmp_path):
    Cache(tmp_path, "test", {"model": "x"}).put_text("k", "x")
    assert Cache(tmp_path, "test", {"model": "y"}).get_text("k") is None
    assert Cache(tmp_path, "test", {"model": "x"}).get_text("k") == "x"


@pytest.mark.parametrize("keep", [0, 5, 100, -8])
def test_a_damaged_file_is_as_good_as_none(tmp_path, keep):
    cache = Cache(tmp_path, "test", {})
    cache.put_array("k", np.ones((10, 10)))
    (path,) = tmp_path.rglob("*.npy")
    path.write_bytes(path.read_bytes()[:keep])
    assert cache.get_array("k") is None
    cache.put_array("k", np.ones((10, 10)))
    assert_array_equal(cache.get_array("k"), 1)


def test_a_write_that_fails_leaves_nothing(tmp_path):
    cache = Cache(tmp_path, "test", {})
    with pytest.raises((TypeError, ValueError)):
        cache.put_array("k", np.array(["no number"]))
    with pytest.raises(TypeError):
        cache.put_text("k", object())
    assert not [p for p in tmp_path.rglob("*") if p.suffix in (".npy", ".part")]
    assert cache.get_text("k") is None


def test_two_processes_write_at_once(tmp_path):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.starmap(write_many, [(tmp_path, 0), (tmp_path, 1)]) == [0, 1]
    cache = Cache(tmp_path, "test", {"a": 1})
    for key in range(5):
        assert_array_equal(cache.get_array(str(key)), key)
    assert not list(tmp_path.rglob("*.part"))


def test_where_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("MNE_IMG2BRAIN_CACHE", str(tmp_path / "env"))
    assert cache_folder() == tmp_path / "env"
    assert cache_folder(tmp_path / "own") == tmp_path / "own"
    monkeypatch.delenv("MNE_IMG2BRAIN_CACHE")
    assert "mne_img2brain" in str(cache_folder())
