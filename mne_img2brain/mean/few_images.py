"""The expected response where there are a handful of images with many trials each."""

from typing import Any, Self

import numpy as np
from scipy import linalg
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from .._linalg import average_rows
from .._parameters import all_or_nothing
from ..trials.pooling import pool_tokens
from ..trials.scores import ResponseScoreMixin
from ..trials.splits import distinct_rows
from .whitening import Whitener

_RIDGE = 1e-3  # of the mean squared distance of images: they are met, and what lies between is


class FewImagesRegressor(ResponseScoreMixin, RegressorMixin, BaseEstimator):
    r"""Average the trials of each image, keep of their differences what stands above the noise.

    A penalty cannot be chosen by leaving images out where there are two. Here the average of each
    image's trials, less the average of all, is whitened over sensors and times. The noise of
    what results is then white and of known size, and its singular values :math:`s` (patterns over
    sensors x courses over time) are shrunk as is best for that size [1]_,

    .. math:: \eta(s) = \frac{1}{s} \sqrt{(s^2 - \beta - 1)^2 - 4 \beta}\quad (s > 1 + \sqrt\beta),
        \qquad 0 \text{ otherwise},

    in units of noise times the root of the longer side, :math:`\beta` the ratio of the sides.
    Predictions for other images interpolate linearly in the pooled tokens.

    Attributes
    ----------
    mean_ : array, shape (n_channels, n_times)
        The average response.
    differences_ : array, shape (n_images, n_channels, n_times)
        What each image adds to it.

    See Also
    --------
    KernelMeanRegressor : For ten images and more.

    References
    ----------
    .. [1] Gavish & Donoho (2017). Optimal shrinkage of singular values. IEEE Transactions on
       Information Theory 63, 2137-2152.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.mean import FewImagesRegressor
    >>> rng = np.random.default_rng(0)
    >>> tokens = np.repeat(np.eye(2), 20, axis=0)  # two images of 20 trials
    >>> y = 1 + 5 * tokens[:, :1, None] + rng.standard_normal((40, 3, 20))
    >>> regressor = FewImagesRegressor().fit(tokens, y)
    >>> regressor.predict(np.eye(2)).mean(axis=(1, 2)).round(1)
    array([6., 1.])
    """

    @all_or_nothing
    def fit(self, X: Any, y: np.ndarray, sample_weight: np.ndarray | None = None) -> Self:
        """Average, whiten, shrink.

        Parameters
        ----------
        X : array, shape (n_trials, n_features) | (n_trials, n_tokens, n_features)
            Tokens; equal rows are one image.
        y : array, shape (n_trials, n_channels, n_times)
            Responses.
        sample_weight : array, shape (n_trials,) | None, default None
            Of how many trials each row is the average.

        Returns
        -------
        self : FewImagesRegressor
        """
        weight = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, float)
        first, image = distinct_rows(X)
        n_images, shape = len(first), y.shape[1:]
        total = np.bincount(image, weights=weight)
        average = average_rows(y, image, weight)
        mean = average.mean(axis=0)
        differences = average - mean
        dof = len(y) - n_images
        if dof > 0:
            noise = (y - average[image]) * np.sqrt(weight * len(y) / dof)[:, None, None]
            if np.any(noise):
                white = Whitener(shape).fit(noise.reshape(len(y), -1), dof)
                # variance of an average less the mean of all averages
                variance = 1 / total * (1 - 2 / n_images) + np.mean(1 / total) / n_images
                for i in range(n_images):
                    one = white.whiten(differences[i].reshape(1, -1)).reshape(shape)
                    one = _shrink(one, np.sqrt(max(variance[i], 0)))
                    differences[i] = white.colour(one.reshape(1, -1)).reshape(shape)
        features = self._pool(X[first])
        self.centre_, spread = features.mean(axis=0), features.std(axis=0)
        self.scale_ = np.where(spread > 1e-7 * np.abs(self.centre_), spread, np.inf)
        self.images_ = (features - self.centre_) / self.scale_
        gram = self.images_ @ self.images_.T
        size = np.trace(gram) / n_images or 1.0
        gram += _RIDGE * size * np.eye(n_images)
        self.coef_ = linalg.solve(gram, differences.reshape(n_images, -1), assume_a="pos")
        self.mean_, self.differences_ = mean, differences
        self.n_features_in_ = X.shape[-1]
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predict the expected response.

        Parameters
        ----------
        X : array, shape (n_images, n_features) | (n_images, n_tokens, n_features)
            Tokens.

        Returns
        -------
        array, shape (n_images, n_channels, n_times)
        """
        check_is_fitted(self)
        features = (self._pool(X) - self.centre_) / self.scale_
        difference = (features @ self.images_.T) @ self.coef_
        return self.mean_ + difference.reshape(len(features), *self.mean_.shape)

    @staticmethod
    def _pool(X: np.ndarray) -> np.ndarray:
        return X[:, 0] if X.ndim == 3 and X.shape[1] == 1 else np.asarray(pool_tokens(X), float)


def _shrink(x: np.ndarray, noise: float) -> np.ndarray:
    """Shrink singular values as is best for white noise of that SD."""
    if noise == 0:
        return x
    u, s, v = linalg.svd(x, full_matrices=False)
    beta = min(x.shape) / max(x.shape)
    unit = noise * np.sqrt(max(x.shape))
    y = s / unit
    kept = y > 1 + np.sqrt(beta)
    shrunk = np.zeros_like(y)
    shrunk[kept] = np.sqrt((y[kept] ** 2 - beta - 1) ** 2 - 4 * beta) / y[kept]
    return (u * (shrunk * unit)) @ v
