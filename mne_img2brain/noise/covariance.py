"""Structured covariances over sensors and times, and the likelihood that chooses among them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import linalg

# Rows of a covariance over all sensors and times that is still formed: 2048 take some seconds.
_MAX_FULL = 2048
_RANK = 1e-12  # eigenvalues below this share of the largest are rounding
_WEIGHTS = (0, 0.01, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_WEIGHTS += (0.95, 0.98, 0.99, 0.999)  # of the sample covariance


def components(scatter: np.ndarray) -> np.ndarray:
    """Return the eigenvectors of a covariance that are more than rounding, largest first."""
    values, vectors = linalg.eigh(scatter)
    keep = values > _RANK * max(values[-1], 0)
    return np.ascontiguousarray(vectors[:, keep][:, ::-1])


def list_candidates(shape: tuple[int, int], n_trials: int) -> list[tuple[str, str]]:
    """List the structures that can be estimated, with what each is drawn to."""
    if 0 in shape:
        return [("separate", "itself")]
    if n_trials < 8:
        return [("kronecker", "itself")]
    targets = {
        "kronecker": ("itself",),
        "separate": ("itself",),
        "time_wise": ("separate",),
        "space_wise": ("separate",),
        "full": ("stationary", "time_wise", "space_wise", "separate"),
    }
    if np.prod(shape) > _MAX_FULL:
        targets.pop("full")
    elif 1 in shape:
        targets = {"kronecker": ("itself",), "full": ("stationary", "separate")}
    return [(one, target) for one, several in targets.items() for target in several]


def into_blocks(z: np.ndarray, structure: str) -> np.ndarray:
    """Order coordinates (n, n_space, n_time) as (n_blocks, n, size); blocks are independent."""
    n, n_space, n_time = z.shape
    if structure == "time_wise":
        return z.transpose(2, 0, 1)
    if structure == "space_wise":
        return z.transpose(1, 0, 2)
    if structure == "full":
        return z.reshape(1, n, n_space * n_time)
    return z.reshape(n, n_space * n_time).T[:, :, None]


def from_blocks(blocks: np.ndarray, structure: str, shape: tuple[int, int, int]) -> np.ndarray:
    """Undo :func:`into_blocks`."""
    if structure == "time_wise":
        return blocks.transpose(1, 2, 0)
    if structure == "space_wise":
        return blocks.transpose(1, 0, 2)
    return (blocks[0] if structure == "full" else blocks[:, :, 0].T).reshape(shape)


def sample_covariance(z: np.ndarray, structure: str) -> np.ndarray:
    """Return the sample covariance: array, shape (n_blocks, size, size)."""
    if structure in ("kronecker", "separate"):
        return _variance(z).reshape(-1, 1, 1)
    return np.stack([b.T @ b for b in _each_block(z, structure)]) / len(z)


def _each_block(z: np.ndarray, structure: str) -> Iterator[np.ndarray]:
    """Blocks of :func:`into_blocks`, one at a time: contiguous and float64."""
    return (np.ascontiguousarray(block, dtype=float) for block in into_blocks(z, structure))


def _variance(z: np.ndarray) -> np.ndarray:
    """Mean square of every coordinate: array, shape (n_space, n_time)."""
    return sum(np.square(one, dtype=float) for one in z) / len(z)


def target_covariance(
    z: np.ndarray, structure: str, target: str, time_basis: np.ndarray
) -> np.ndarray:
    """Return what the sample covariance of a structure is drawn to, in the same blocks."""
    variance = _variance(z)
    if structure == "kronecker":
        total = max(variance.mean(), np.finfo(float).tiny)
        return (np.outer(variance.mean(axis=1), variance.mean(axis=0)) / total).reshape(-1, 1, 1)
    if structure == "separate":
        return variance.reshape(-1, 1, 1)
    if target == "separate":
        rows = into_blocks(variance[None], structure)[:, 0]
        return rows[:, :, None] * np.eye(rows.shape[1])
    if target == "stationary":
        return _stationary_covariance(z, time_basis)[None]
    n_space, n_time = variance.shape
    full = np.zeros((n_space, n_time, n_space, n_time))
    if target == "time_wise":
        full[:, np.arange(n_time), :, np.arange(n_time)] = sample_covariance(z, target)
    else:
        full[np.arange(n_space), :, np.arange(n_space)] = sample_covariance(z, target)
    return full.reshape(1, variance.size, variance.size)


def _stationary_covariance(z: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Return the covariance over components that depends on the distance of two times alone."""
    n_space, n_time = z.shape[1:]
    flat = z.reshape(len(z), -1)
    sample = (flat.T @ flat / len(z)).reshape(n_space, n_time, n_space, n_time)
    over_times = basis @ sample.transpose(0, 2, 1, 3) @ basis.T
    result = basis.T @ average_diagonals(over_times) @ basis
    return raise_eigenvalues(result.transpose(0, 2, 1, 3).reshape(flat.shape[1], flat.shape[1]))


def average_diagonals(matrices: np.ndarray) -> np.ndarray:
    """Replace every diagonal of matrices (..., n, n) by its mean."""
    result = np.empty_like(matrices)
    n = matrices.shape[-1]
    for lag in range(-n + 1, n):
        rows = np.arange(max(0, -lag), min(n, n - lag))
        mean = matrices[..., rows, rows + lag].mean(axis=-1, keepdims=True)
        result[..., rows, rows + lag] = mean
    return result


def raise_eigenvalues(covariance: np.ndarray) -> np.ndarray:
    """Raise the eigenvalues of an estimate that may have negative ones to a small share."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    floor = 1e-9 * max(values[-1], 0)
    if values[0] >= floor:
        return covariance
    return (vectors * np.maximum(values, floor)) @ vectors.T


def judge(
    train: np.ndarray, test: np.ndarray, structure: str, target: str, time_basis: np.ndarray
) -> tuple[float, float]:
    """Return the log-likelihood of left-out trials, and the weight of the sample that it is of.

    In the coordinates that whiten the target, the sample covariance is diagonalised once for all.

    train, test (n_trials, n_space, n_time): trials in principal components, to estimate from and
        to judge on.
    """
    values, vectors = spectrum(target_covariance(train, structure, target, time_basis))
    inverse = (vectors / np.sqrt(values)[:, None]) @ vectors.mT
    determinant = 2 * float(np.sum(np.linalg.slogdet(inverse)[1]))
    if structure in ("kronecker", "separate"):
        square = _variance(test).ravel() * np.square(inverse).ravel()
        values, weights = np.ones(len(square)), [0.0]
    else:
        blocks = zip(
            _each_block(train, structure), _each_block(test, structure), inverse, strict=True
        )
        spectra = [_spectrum(a @ turn, b @ turn) for a, b, turn in blocks]
        values, square = (np.concatenate(parts) for parts in zip(*spectra, strict=True))
        weights = _WEIGHTS
    judged = []
    for weight in weights:
        mixed = np.maximum(weight * values + 1 - weight, 1e-12)
        gain = 0.5 * (determinant - np.sum(np.log(2 * np.pi * mixed) + square / mixed))
        judged.append((gain, weight))
    return max(judged)


def _spectrum(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues of the sample covariance, and the mean squares of other trials on its axes."""
    n, size = train.shape
    if n >= size:
        values, vectors = np.linalg.eigh(train.T @ train / n)
        return values, np.mean(np.square(test @ vectors), axis=0)
    # Fewer trials than numbers in each: all but n eigenvalues are 0, and their axes share the rest.
    values, left = np.linalg.eigh(train @ train.T / n)
    keep = values > 1e-10 * max(values[-1], 0)
    values, left = values[keep], left[:, keep]
    square = np.mean(np.square(test @ (train.T @ (left / np.sqrt(n * values)))), axis=0)
    n_rest = size - len(values)
    rest = max(np.mean(np.sum(np.square(test), axis=1)) - square.sum(), 0) / n_rest
    zeros = np.zeros(n_rest)
    return np.concatenate([values, zeros]), np.concatenate([square, zeros + rest])


def spectrum(covariance: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues (n_blocks, size), above zero, and vectors (n_blocks, size, size)."""
    values, vectors = np.linalg.eigh(covariance)
    largest = values.max(initial=0.0)
    return np.maximum(values, 1e-3 * _RANK * largest if largest else 1.0), vectors
