"""Averages of rows that belong together, and work on matrices shared out over threads."""

import functools
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import sparse
from threadpoolctl import ThreadpoolController

_inside = threading.local()
_controller = functools.cache(ThreadpoolController)


def in_threads(function: Callable, items: Iterable) -> list:
    """Return the result of a function for each item, in order, computed in threads.

    As many threads as BLAS would use, which is left with what is over: matrices of some hundred
    rows are multiplied slower by threads that wait for one another than side by side.
    """
    items = list(items)
    blas = _controller().select(user_api="blas")
    n_threads = max([library.num_threads for library in blas.lib_controllers], default=1)
    n_workers = min(n_threads, len(items))
    if n_workers < 2 or getattr(_inside, "a_thread", False):
        return [function(item) for item in items]

    def mark() -> None:
        _inside.a_thread = True

    with blas.limit(limits=n_threads // n_workers), ThreadPoolExecutor(n_workers, "", mark) as pool:
        return list(pool.map(function, items))


def average_rows(
    values: np.ndarray, index: np.ndarray, weight: np.ndarray | None = None
) -> np.ndarray:
    """Return the weighted average of the rows of each index, shape (n_indices, ...)."""
    weight = np.ones(len(index)) if weight is None else weight
    total = np.bincount(index, weights=weight)
    sums = sparse.csr_array((weight, (index, np.arange(len(index)))), (len(total), len(index)))
    means = sums @ values.reshape(len(values), -1) / total[:, None]
    return means.reshape(len(total), *values.shape[1:])
