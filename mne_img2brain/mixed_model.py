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

__all__ = ["SignalPrior", "Whitener", "fit_mixed_model", "project", "rotate", "solve"]

_PENALTIES = np.geomspace(0.1, 1e4, 31)


class Whitener:
    r"""Make the noise of responses white, symmetrically (ZCA).

    .. math:: \tilde Y_i = \Sigma_{space}^{-1/2}\, Y_i\, \Sigma_{time}^{-1/2}

    The two covariances are the maximum likelihood under a Kronecker product (Dutilleul, 1999),
    each with a part ``d / (d + degrees of freedom)`` of its off-diagonal taken away and its
    eigenvalues kept above ``floor`` of their mean: filtered data have directions without noise,
    and nothing is to be gained by blowing them up.

    Parameters
    ----------
    shape : tuple of int
        ``(n_channels, n_times)`` of one response. Without structure, ``(1, n_targets)``.
    floor : float
        Smallest eigenvalue of a covariance, as a part of their mean.
    max_dense : int
        A side longer than this is given a diagonal covariance.
    """

    def __init__(self, shape, floor=0.01, max_dense=2000):
        self.shape = shape
        self.floor = floor
        self.max_dense = max_dense

    def fit(self, deviations, dof=None, max_iter=3):
        """Estimate the two covariances.

        Parameters
        ----------
        deviations : array, shape (n_rows, n_targets)
            Noise: responses less what all responses to their image share.
        dof : int | None
            Degrees of freedom of the deviations; ``None`` takes the number of rows.
        max_iter : int
            Number of alternations.

        Returns
        -------
        self
        """
        n_channels, n_times = self.shape
        dof = len(deviations) if dof is None else dof
        # To unit scale first: T/m are 1e-12, and the square of that is not far from underflow.
        self.scale_ = np.sqrt(np.mean(deviations**2)) or 1.0
        noise = (deviations / self.scale_).reshape(-1, n_channels, n_times)
        self.space_, self.time_ = self._symmetric(np.eye(n_channels)), None
        for _ in range(max_iter if n_channels > 1 else 1):
            half = np.einsum("dc,nct->ndt", self.space_[1], noise)
            self.time_ = self._symmetric(self._covariance(half, 2, dof * n_channels))
            if n_channels > 1:
                half = self._times(noise, self.time_[1])
                self.space_ = self._symmetric(self._covariance(half, 1, dof * n_times))
        return self

    def _covariance(self, x, axis, dof):
        """Covariance along one axis, shrunk towards its diagonal."""
        n = x.shape[axis]
        if n > self.max_dense:
            return np.mean(x**2, axis=tuple({0, 1, 2} - {axis}))
        x = np.moveaxis(x, axis, 0).reshape(n, -1)
        covariance = x @ x.T / x.shape[1]
        diagonal = np.diag(np.diag(covariance))
        return covariance + n / (n + dof) * (diagonal - covariance)

    def _symmetric(self, covariance):
        """Square root and inverse square root with a floor; vectors for a diagonal."""
        if covariance.ndim == 1:
            values = np.maximum(covariance, self.floor * (covariance.mean() or 1.0))
            return np.sqrt(values), 1 / np.sqrt(values)
        values, vectors = linalg.eigh(covariance)
        values = np.maximum(values, self.floor * (max(values.mean(), 0) or 1.0))
        return (vectors * np.sqrt(values)) @ vectors.T, (vectors / np.sqrt(values)) @ vectors.T

    @staticmethod
    def _times(x, matrix):
        """Multiply the last axis by a matrix or a diagonal."""
        return x * matrix if matrix.ndim == 1 else x @ matrix

    def _apply(self, y, which):
        """Apply one of the two square roots along space and time."""
        x = y.reshape(-1, *self.shape)
        x = self._times(x, self.time_[which])
        if self.shape[0] > 1:
            space = self.space_[which]
            x = x * space[:, None] if space.ndim == 1 else np.einsum("dc,nct->ndt", space, x)
        return x.reshape(y.shape)

    def whiten(self, y):
        """Whiten responses of shape (n_rows, n_targets)."""
        return self._apply(y / self.scale_, 1)

    def colour(self, y):
        """Undo :meth:`whiten`."""
        return self._apply(y, 0) * self.scale_


class SignalPrior:
    r"""Where, in space and in time, whitened responses have signal at all.

    The covariances of whitened responses over space and over time are turned to their axes. Along
    an axis pair with eigenvalues :math:`(1 + g_s, 1 + g_t)` times those of noise, the signal has
    about :math:`h = g_s g_t / \bar g_s` times its variance, and responses are multiplied with the
    square root of the Wiener gain :math:`h / (h + 1)`. Time axes without signal are left out. The
    principal components of what remains are found with far less noise: responses are smooth, and
    nothing is evoked before an image is shown.

    Parameters
    ----------
    shape : tuple of int
        ``(n_channels, n_times)``. Without structure, ``(1, n_targets)``: nothing is done.
    """

    def __init__(self, shape):
        self.shape = shape

    def fit(self, whitened):
        """Learn axes and gains.

        Parameters
        ----------
        whitened : array, shape (n_rows, n_targets)
            Whitened and centred responses.

        Returns
        -------
        self
        """
        n_channels, n_times = self.shape
        self.gain_ = None
        if min(n_channels, n_times) < 2:
            return self
        x = whitened.reshape(-1, n_channels, n_times)
        space, self.space_ = _descending(np.einsum("nct,ndt->cd", x, x))
        time, self.time_ = _descending(np.einsum("nct,ncu->tu", x, x))
        # The noise is white: its level is that of the many axes without signal.
        time = time / np.median(time[len(time) // 2 :]) - 1
        space = space / space[space > 1e-6 * space[0]][-1] - 1
        spread = len(x) * n_channels
        n_kept = int((time > 2 * np.sqrt(n_times / spread)).sum())
        n_kept = max(n_kept, min(5, n_times))
        self.time_ = self.time_[:, :n_kept]
        space, time = np.maximum(space, 1e-3), np.maximum(time[:n_kept], 1e-3)
        signal = np.outer(space / space.mean(), time)
        self.gain_ = np.sqrt(signal / (signal + 1))
        return self

    def reduce(self, whitened):
        """Turn whitened responses to the axes and weight them."""
        if self.gain_ is None:
            return whitened
        x = whitened.reshape(-1, *self.shape) @ self.time_
        return (np.einsum("cd,nct->ndt", self.space_, x) * self.gain_).reshape(len(x), -1)

    def expand(self, reduced):
        """Undo :meth:`reduce`."""
        if self.gain_ is None:
            return reduced
        x = reduced.reshape(-1, *self.gain_.shape) / self.gain_
        x = np.einsum("cd,ndt->nct", self.space_, x) @ self.time_.T
        return x.reshape(len(x), -1)


def _descending(covariance):
    """Eigenvalues and eigenvectors, the largest first."""
    values, vectors = linalg.eigh(covariance)
    return values[::-1], vectors[:, ::-1]


def rotate(features, weight):
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
    keep = values > max(1e-10 * values[-1], 1e-300)
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


def project(rotated, y):
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
    mean = np.average(y, axis=0, weights=rotated["weight"])
    return rotated["left"].T @ (np.sqrt(rotated["weight"])[:, None] * (y - mean)), mean


def solve(rotated, scores, penalty, coordinates=None):
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
    values = rotated["eigenvalues"]
    if coordinates is not None:
        scores = scores @ coordinates[1].T
    scores = np.sqrt(values)[:, None] / (values[:, None] + np.atleast_1d(penalty)) * scores
    if coordinates is not None:
        scores = scores @ coordinates[0].T
    return rotated["vectors"] @ scores


def fit_mixed_model(rotated, scores, y, max_iter=10):
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


def _each_alone(values, scores, rest, rest_dof):
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
