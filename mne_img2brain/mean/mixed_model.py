r"""Many responses, few images: noise that is shared between responses, signal that is too.

The model of the averaged responses :math:`Y` of ``n`` images, given an ``n x n`` kernel :math:`K`,
is a multivariate mixed model (Zhou and Stephens, 2014), also known as a Gaussian process with
intrinsic coregionalisation (Alvarez et al., 2012):

.. math:: Y = 1\mu^\top + G + E, \qquad
          \mathrm{vec}\,G \sim N(0, \Sigma_g \otimes K), \quad
          \mathrm{vec}\,E \sim N(0, \Sigma_e \otimes \Omega^{-1})

with :math:`\Omega` the number of trials of each image.
"""

import numpy as np
from scipy import linalg

from .response_space import weighted_mean

__all__ = ["fit_mixed_model", "project", "rotate", "shrink", "solve"]

_PENALTIES = np.geomspace(0.1, 1e4, 31)


def rotate(features: np.ndarray, weight: np.ndarray) -> dict:
    r"""Turn a weighted regression on features to the axes in which it is diagonal.

    With :math:`A = \Omega^{1/2}(\Phi - 1\bar\phi^\top) = U S V^\top`, the rows of
    :math:`U^\top \Omega^{1/2} Y` are independent in the mixed model, with covariance
    :math:`s_i^2 \Sigma_g + \Sigma_e`.

    Parameters
    ----------
    features : array, shape (n_rows, n_features)
        The features.
    weight : array, shape (n_rows,)
        The precision of each row.

    Returns
    -------
    dict
        ``eigenvalues`` (rank,), ``vectors`` (n_features, rank), ``left`` (n_rows, rank), the
        ``weight`` and the ``mean`` of the features.
    """
    mean = np.average(features, axis=0, weights=weight)
    a = np.sqrt(weight)[:, None] * (features - mean)
    dual = a.shape[0] <= a.shape[1]
    values, axes = linalg.eigh(a @ a.T if dual else a.T @ a)
    keep = values > max(1e-10 * values.max(initial=0), 1e-300)
    values, axes = values[keep], axes[:, keep]
    other = (a.T if dual else a) @ axes / np.sqrt(values)
    vectors, left = (other, axes) if dual else (axes, other)
    return {
        "eigenvalues": values,
        "vectors": vectors,
        "left": left,
        "weight": weight,
        "mean": mean,
    }


def project(rotated: dict, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn responses to the axes of :func:`rotate`.

    Parameters
    ----------
    rotated : dict
        What :func:`rotate` returned.
    y : array, shape (n_rows, n_targets)
        The responses.

    Returns
    -------
    scores : array, shape (rank, n_targets)
        The responses along the axes.
    mean : array, shape (n_targets,)
        Their weighted mean.
    """
    mean = weighted_mean(y, rotated["weight"])
    # the axes of centred features are orthogonal to the mean: nothing of it is in the scores
    return (np.sqrt(rotated["weight"])[:, None] * rotated["left"]).T @ y, mean


def solve(
    rotated: dict,
    scores: np.ndarray,
    penalty: float | np.ndarray,
    coordinates: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """Ridge solution with one penalty per (mixed) response.

    Parameters
    ----------
    rotated : dict
        What :func:`rotate` returned.
    scores : array, shape (rank, n_targets)
        What :func:`project` returned.
    penalty : float | array, shape (n_targets,)
        The penalties.
    coordinates : tuple of array, shape (n_targets, n_targets) | None
        ``(mixing, unmixing)``: responses are solved as ``y @ unmixing.T`` and returned through
        ``mixing.T``.

    Returns
    -------
    array, shape (n_features, n_targets)
        The coefficients of the centred features.
    """
    return rotated["vectors"] @ shrink(rotated, scores, penalty, coordinates)


def shrink(
    rotated: dict,
    scores: np.ndarray,
    penalty: float | np.ndarray,
    coordinates: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """Ridge solution along the axes of :func:`rotate`; parameters as in :func:`solve`."""
    values = rotated["eigenvalues"]
    if coordinates is not None:
        scores = scores @ coordinates[1].T
    scores = np.sqrt(values)[:, None] / (values[:, None] + np.atleast_1d(penalty)) * scores
    return scores if coordinates is None else scores @ coordinates[0].T


def fit_mixed_model(
    rotated: dict, scores: np.ndarray, y: np.ndarray, max_iter: int = 10
) -> tuple[np.ndarray, tuple]:
    r"""Estimate the covariances of signal and noise by expectation maximisation.

    Started from the maximum marginal likelihood of each response alone. In the coordinates in
    which :math:`\Sigma_e = I` and :math:`\Sigma_g = \mathrm{diag}(d)` the posterior mean is a
    ridge regression with penalty :math:`1 / d_j` for response :math:`j`: responses that the
    features explain are shrunk little, the others to nothing.

    Parameters
    ----------
    rotated : dict
        What :func:`rotate` returned.
    scores : array, shape (rank, n_targets)
        What :func:`project` returned for ``y``.
    y : array, shape (n_rows, n_targets)
        The responses.
    max_iter : int
        Number of iterations. The likelihood rises fast and then creeps; stopping early
        regularises.

    Returns
    -------
    penalty : array, shape (n_targets,)
        The penalties, for :func:`solve`.
    coordinates : tuple of array, shape (n_targets, n_targets)
        The coordinates, for :func:`solve`.

    References
    ----------
    Zhou, X. and Stephens, M. (2014). Efficient multivariate linear mixed model algorithms for
    genome-wide association studies. Nature Methods 11, 407-409.
    """
    scale = rotated["eigenvalues"].mean()
    values = (rotated["eigenvalues"] / scale)[:, None]
    rank, n_targets = scores.shape
    # What no feature reaches is noise.
    rest_dof = max(len(y) - 1 - rank, 0)
    rest = np.zeros((n_targets, n_targets))
    if rest_dof:
        mean = np.average(y, axis=0, weights=rotated["weight"])
        b = np.sqrt(rotated["weight"])[:, None] * (y - mean)
        b = b - rotated["left"] @ scores
        rest = b.T @ b
    ratio, sigma = _each_alone(values, scores, np.diag(rest), rest_dof)
    floor = 1e-6 * sigma.mean() * ratio.mean() or 1e-300
    signal, noise = np.diag(sigma), np.diag(sigma * ratio + floor)
    for iteration in range(max_iter + 1):
        lower = linalg.cholesky(noise + floor * np.eye(n_targets), lower=True)
        inverse = linalg.solve_triangular(lower, np.eye(n_targets), lower=True)
        d, q = linalg.eigh(inverse @ signal @ inverse.T)
        d = np.maximum(d, 0)
        mixing, unmixing = lower @ q, q.T @ inverse
        if iteration == max_iter:
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
