"""Trials that are computed where they are looked at are those of an array."""

import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mne_img2brain import DiffusionRegressor, _lazy
from mne_img2brain._lazy import LazyTrials
from mne_img2brain.mean.conditional_mean import ConditionalMean
from mne_img2brain.trials.checks import check_fit_arrays
from mne_img2brain.trials.splits import canonical_order, distinct_rows, plan_splits


@pytest.mark.parametrize("n_values", [1, 7, 10**6])
@pytest.mark.parametrize(
    "rows", [3, -1, slice(2, 7), [4, 0, 4], np.arange(9) % 2 == 0, np.zeros(0, int)]
)
def test_they_are_looked_up_like_rows_of_an_array(rng, monkeypatch, rows, n_values):
    monkeypatch.setattr(_lazy, "parts_of", lambda trials: PARTS_OF(trials, n_values))
    y = rng.standard_normal((9, 2, 3)).astype(np.float32)
    lazy = LazyTrials(lambda some: 2 * y[some], y.shape, y.dtype)
    assert_array_equal(lazy[rows], 2 * y[rows])
    assert_array_equal(np.asarray(lazy), 2 * y)
    assert np.asarray(lazy, float).dtype == float
    assert lazy[rows].dtype == y.dtype
    assert len(lazy) == 9


PARTS_OF = _lazy.parts_of


def test_fit_leaves_the_responses_as_they_were(rng):
    """Also where they come in the order that trials are put in."""
    tokens, y = rng.standard_normal((60, 1, 5)), rng.standard_normal((60, 3, 20))
    order = canonical_order(y, distinct_rows(tokens)[1])
    tokens, y = tokens[order], y[order]
    y.flags.writeable = False
    assert DiffusionRegressor(max_iter=0, random_state=0).fit(tokens, y).n_iter_ == 0


def test_single_trials_are_not_copied_for_the_mean(rng):
    n_images, n_trials = 20, 1000
    tokens = rng.standard_normal((n_images, 1, 5)).astype(np.float32)
    y = rng.standard_normal((n_images * n_trials, 8, 150), np.float32)
    image = np.repeat(np.arange(n_images), n_trials)
    data = check_fit_arrays(
        DiffusionRegressor(), tokens, y, None, None, None, None, None, image
    )  # fmt: skip
    tracemalloc.start()
    try:
        data, plan = plan_splits(data, 10, 5, 0.1, rng)
        left_out, _ = ConditionalMean().fit(data, plan)
        residuals = left_out.subtract_from(data.y, np.sqrt(data.weight))
        sizes = [np.square(residuals[rows : rows + 100]).sum() for rows in range(0, len(y), 100)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.sum(sizes) == pytest.approx(y.size, rel=0.01)
    assert peak < 0.8 * y.nbytes


def test_what_is_large_waits_in_a_file_that_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(_lazy.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(_lazy, "_LARGE", 1000)
    array = _lazy.scratch((30, 10), np.float64)
    assert type(array) is np.ndarray
    array[:] = 3.0
    assert array.sum() == 900
    assert list(tmp_path.iterdir()) == []  # gone with the process, however it ends


@pytest.mark.parametrize("reserves", [True, False])
def test_a_full_disk_is_no_error(monkeypatch, reserves):
    def refuse(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_lazy, "_LARGE", 1000)
    if reserves:
        monkeypatch.setattr(_lazy.os, "posix_fallocate", refuse, raising=False)
    else:
        monkeypatch.delattr(_lazy.os, "posix_fallocate", raising=False)
        usage = type("Usage", (), {"free": 2000})
        monkeypatch.setattr(_lazy.shutil, "disk_usage", lambda folder: usage)
    array = _lazy.scratch((30, 10), np.float32)
    array[:] = 1.0
    assert array.sum() == 300
    assert array.base is None  # in memory


def test_fits_are_the_same_whether_arrays_wait_in_files(rng, monkeypatch):
    tokens = rng.standard_normal((60, 3, 8)).astype(np.float32)
    image, subject = np.tile(np.arange(60), 3), np.repeat(np.arange(3), 60)
    y = tokens.mean(axis=(1, 2))[image, None, None] + rng.standard_normal((180, 4, 20))
    found = []
    for large in (2**25, 100):
        monkeypatch.setattr(_lazy, "_LARGE", large)
        regressor = DiffusionRegressor(max_iter=0, random_state=0)
        regressor.fit(tokens, y.astype(np.float32), image_index=image, subjects=subject)
        found.append(regressor.sample(tokens[:5], 2, subjects=np.zeros(5, int), random_state=0))
    assert_array_equal(*found)
