"""Work shared out over threads."""

import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from mne_img2brain._linalg import in_threads


def _blas() -> set[int]:
    return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}


@pytest.mark.parametrize("n_threads", [1, 2])
def test_in_order_and_as_many_threads_as_blas_would_use(n_threads):
    """Two items meet in two threads, which share BLAS; afterwards BLAS is as it was."""
    together = threading.Barrier(n_threads)
    limits, inner = [], []

    def work(item):
        together.wait(timeout=60)
        limits.append(_blas())
        inner.append(in_threads(lambda _: threading.get_ident(), range(3)))
        return item**2

    with threadpool_limits(n_threads, user_api="blas"):
        before = _blas()
        assert in_threads(work, range(n_threads)) == [0, 1][:n_threads]
        assert _blas() == before
    assert all(one == {1} for one in limits)
    assert all(len(set(idents)) == 1 for idents in inner), "threads within threads"


def test_errors_are_raised_and_the_limit_lifted():
    with threadpool_limits(2, user_api="blas"):
        with pytest.raises(ZeroDivisionError):
            in_threads(lambda item: 1 / item, [1, 0])
        assert _blas() == {2}


def test_a_fit_does_not_depend_on_the_number_of_threads():
    """But for rounding: each part of the work is the same, and sums are made in one order."""
    from mne_img2brain.mean import KernelMeanRegressor

    rng = np.random.default_rng(0)
    tokens = rng.standard_normal((120, 4, 6))
    y = np.einsum("itf,fcs->ics", tokens, rng.standard_normal((6, 5, 12)))
    y += rng.standard_normal(y.shape)
    predicted = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads, user_api="blas"):
            predicted.append(KernelMeanRegressor().fit(tokens, y).predict(tokens))
    np.testing.assert_allclose(*predicted, rtol=1e-9, atol=1e-9 * np.abs(predicted[0]).max())
