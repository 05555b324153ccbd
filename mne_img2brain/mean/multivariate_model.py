r"""Many responses, few images: noise that is shared between responses, signal that is too.

The model of the averaged responses :math:`Y` of ``n`` images, given an ``n x n`` kernel :math:`K`,
is a multivariate mixed model (Zhou and Stephens, 2014, Nature Methods 11), also known as a Gaussian
process with intrinsic coregionalisation (Alvarez et al., 2012):

.. math:: Y = 1\mu^\top + G + E, \qquad
          \mathrm{vec}\,G \sim N(0, \Sigma_g \otimes K), \quad
          \mathrm{vec}\,E \sim N(0, \Sigma_e \otimes \Omega^{-1})

with :math:`\Omega` the number of trials of each image.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.utils import gen_batches

from .kernels import rounding
from .response_space import weighted_mean

_PENALTIES = np.geomspace(0.1, 1e4, 31)
_BLOCK = 2048  # rows that are multiplied at a time
# The likelihood rises fast and then creeps; stopping early regularises.
_MAX_ITER = 10


@dataclass
class Rotation:
    r"""A weighted regression on features, on the axes in which it is diagonal.

    With :math:`A = \Omega^{1/2}(\Phi - 1\bar\phi^\top) = U S V^\top`, the rows of
    :math:`U^\top \Omega^{1/2} Y` are independent in the mixed model, with covariance
    :math:`s_i^2 \Sigma_g + \Sigma_e`.

    features (n_all, n_features): the features of all rows.
    rows (n_rows,): those that are in the regression.
    weight (n_rows,): the precision of each.
    mean (n_features,): the weighted mean of the features.
    eigenvalues (rank,): :math:`s_i^2`.
    vectors (n_features, rank): :math:`V`.
    """

    features: np.ndarray
    rows: np.ndarray
    weight: np.ndarray
    mean: np.ndarray
    eigenvalues: np.ndarray
    vectors: np.ndarray

    def predict(self, rows: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        """Multiply the centred features of any rows: array, shape (n, n_targets)."""
        if slopes.shape[1] < self.features.shape[1]:
            return (self.features @ slopes)[rows] - self.mean @ slopes
        return (self.features[rows] - self.mean) @ slopes

    def solve(self, left: np.ndarray, penalty: float, y: np.ndarray) -> np.ndarray:
        """Return the coefficients of ridge regression, multiplied from the left.

        left (n, n_features): multiplies the coefficients.
        y (n_all, n_targets): the responses; of those outside the regression none is used.
        Returns (n, n_targets).
        """
        left = (left @ self.vectors) / (self.eigenvalues + penalty) @ self.vectors.T
        solution = np.zeros((len(left), y.shape[1]), y.dtype)
        for part in gen_batches(len(self.rows), _BLOCK):
            rows = self.rows[part]
            smoother = left @ (self.features[rows] - self.mean).T * self.weight[part]
            solution += smoother.astype(y.dtype, copy=False) @ y[rows]
        return solution


def rotate(features: np.ndarray, weight: np.ndarray, rows: np.ndarray) -> Rotation:
    """Turn a weighted regression on the features of some rows to its axes."""
    weight = weight[rows].astype(features.dtype)
    parts = list(gen_batches(len(rows), _BLOCK))
    mean = sum(weight[part] @ features[rows[part]] for part in parts) / weight.sum()

    def centred(part: slice) -> np.ndarray:
        return (features[rows[part]] - mean) * np.sqrt(weight[part])[:, None]

    if len(rows) <= features.shape[1]:
        a = centred(slice(None))
        values, axes = _eigen(a @ a.T)
        vectors = a.T @ axes / np.sqrt(values)
    else:
        values, vectors = _eigen(sum(a.T @ a for a in map(centred, parts)))
    return Rotation(features, rows, weight, mean, values, vectors)


def _eigen(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues and eigenvectors that are not rounding."""
    values, vectors = np.linalg.eigh(gram)
    keep = values > rounding(values)
    return values[keep], vectors[:, keep]


def project(rotated: Rotation, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return responses along the axes of a rotation, (rank, n_targets), and their mean."""
    mean = weighted_mean(y, rotated.weight)
    weighted = np.zeros((len(rotated.features), y.shape[1]), rotated.features.dtype)
    weighted[rotated.rows] = rotated.weight[:, None] * (y - mean)
    scores = rotated.vectors.T @ (rotated.features.T @ weighted)
    return scores / np.sqrt(rotated.eigenvalues)[:, None], mean


def shrink(
    rotated: Rotation, scores: np.ndarray, penalty: np.ndarray, coordinates: tuple
) -> np.ndarray:
    """Return coefficients of the axes of a rotation, with one penalty per mixed response.

    scores: what :func:`project` returned.
    coordinates (n_targets, n_targets): ``(mixing, unmixing)``: responses are solved as ``y @
        unmixing.T`` and returned through ``mixing.T``.
    """
    values = rotated.eigenvalues[:, None]
    scores = np.sqrt(values) / (values + penalty) * (scores @ coordinates[1].T)
    return scores @ coordinates[0].T


def fit_mixed_model(
    rotated: Rotation, scores: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, tuple]:
    r"""Estimate the covariances of signal and noise by expectation maximisation.

    Started from the maximum marginal likelihood of each response alone. In the coordinates in
    which :math:`\Sigma_e = I` and :math:`\Sigma_g = \mathrm{diag}(d)` the posterior mean is a
    ridge regression with penalty :math:`1 / d_j` for response :math:`j`: responses that the
    features explain are shrunk little, the others to nothing.

    scores: what :func:`project` returned for ``y``.
    Returns penalty and coordinates, for :func:`shrink`.
    """
    scale = rotated.eigenvalues.mean()
    values = (rotated.eigenvalues / scale)[:, None]
    rank, n_targets = scores.shape
    # What no feature reaches is noise.
    rest_dof = max(len(y) - 1 - rank, 0)
    rest = np.zeros((n_targets, n_targets))
    if rest_dof:
        mean = np.average(y, axis=0, weights=rotated.weight)
        slopes = rotated.vectors @ (scores / np.sqrt(rotated.eigenvalues)[:, None])
        b = y - mean - rotated.predict(rotated.rows, slopes)
        rest = b.T @ (rotated.weight[:, None] * b)
    ratio, sigma = _each_alone(values, scores, np.diag(rest), rest_dof)
    floor = 1e-6 * sigma.mean() * ratio.mean() or 1e-300
    signal, noise = np.diag(sigma), np.diag(sigma * ratio + floor)
    for iteration in range(_MAX_ITER + 1):
        lower = np.linalg.cholesky(noise + floor * np.eye(n_targets))
        inverse = np.linalg.inv(lower)
        d, q = np.linalg.eigh(inverse @ signal @ inverse.T)
        d = np.maximum(d, 0)
        mixing, unmixing = lower @ q, q.T @ inverse
        if iteration == _MAX_ITER:
            break
        z = scores @ unmixing.T
        shrunk = d / (values * d + 1)  # posterior variance of a unit-kernel signal
        part = np.sqrt(values) * shrunk * z
        left = (1 - values * shrunk) * z
        new_signal = part.T @ part / rank + np.diag(shrunk.mean(axis=0))
        new_noise = left.T @ left + np.diag((values * shrunk).sum(axis=0))
        new_noise = (new_noise + unmixing @ rest @ unmixing.T) / (rank + rest_dof)
        signal = mixing @ new_signal @ mixing.T
        noise = mixing @ new_noise @ mixing.T
        signal, noise = (signal + signal.T) / 2, (noise + noise.T) / 2
    return scale / np.maximum(d, 1e-8), (mixing, unmixing)


def _each_alone(
    values: np.ndarray, scores: np.ndarray, rest: np.ndarray, rest_dof: int
) -> tuple[np.ndarray, np.ndarray]:
    """Noise-to-signal ratio and signal variance of each response by marginal likelihood."""
    n_targets = scores.shape[1]
    best = np.full(n_targets, -np.inf)
    ratio, sigma = np.ones(n_targets), np.ones(n_targets)
    n = len(scores) + rest_dof
    for candidate in _PENALTIES:
        total = values + candidate
        variance = ((scores**2 / total).sum(axis=0) + rest / candidate) / n
        variance = np.maximum(variance, 1e-300)
        log_det = np.log(total).sum() + rest_dof * np.log(candidate)
        likelihood = -0.5 * (log_det + n * np.log(variance))
        better = likelihood > best
        best[better], ratio[better], sigma[better] = likelihood[better], candidate, variance[better]
    return ratio, sigma
