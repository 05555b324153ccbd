"""Whether values vary more over trials than over draws, by permutation."""

import numpy as np

_N_PERMUTATIONS = 199
_MOST_DIRECTIONS = 10


def largest_excess(
    real: np.ndarray, drawn: np.ndarray, rng: np.random.Generator, n_permutations: int
) -> np.ndarray:
    """Return the largest excess variance of any direction where labels are exchanged.

    real, drawn (n, n_values): values of trials and of draws, each of mean zero.
    """
    pooled, n_values = np.concatenate([real, drawn]), real.shape[1]
    # one product of matrices for all permutations: of labels, and of products of two values
    upper = np.triu_indices(n_values)
    products = pooled[:, upper[0]] * pooled[:, upper[1]]
    labels = np.tile(np.arange(len(pooled)) < len(real), (n_permutations, 1))
    grams = rng.permuted(labels, axis=1, out=labels).astype(products.dtype) @ products
    grams = grams / len(real) - (products.sum(axis=0) - grams) / len(drawn)
    excess = np.zeros((n_permutations, n_values, n_values))
    excess[:, upper[1], upper[0]] = grams  # the lower triangle is what eigvalsh reads
    return np.linalg.eigvalsh(excess)[:, -1]


def excess_is_chance(real: np.ndarray, drawn: np.ndarray, rng: np.random.Generator) -> bool:
    """Tell whether chance explains that trials vary more than draws.

    That is so unless the largest excess variance of any direction, of the first ten principal
    components, is beyond that of all but one of 199 permutations (p <= 0.01).
    """
    real, drawn = real - real.mean(axis=0), drawn - drawn.mean(axis=0)
    _, vectors = np.linalg.eigh(real.T @ real + drawn.T @ drawn)
    axes = vectors[:, -_MOST_DIRECTIONS:]
    real, drawn = real @ axes, drawn @ axes
    excess = np.linalg.eigvalsh(real.T @ real / len(real) - drawn.T @ drawn / len(drawn))[-1]
    return bool(np.sum(largest_excess(real, drawn, rng, _N_PERMUTATIONS) >= excess) > 1)
