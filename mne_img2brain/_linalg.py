"""Averages of rows that belong together."""

import numpy as np
from scipy import sparse


def average_rows(
    values: np.ndarray, index: np.ndarray, weight: np.ndarray | None = None
) -> np.ndarray:
    """Return the weighted average of the rows of each index, shape (n_indices, ...)."""
    weight = np.ones(len(index)) if weight is None else weight
    total = np.bincount(index, weights=weight)
    sums = sparse.csr_array((weight, (index, np.arange(len(index)))), (len(total), len(index)))
    means = sums @ values.reshape(len(values), -1) / total[:, None]
    return means.reshape(len(total), *values.shape[1:])
