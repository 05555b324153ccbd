"""Whitening of residuals in space and time, and back."""

import numpy as np


class ScaleWhitener:
    """Divide every sensor by its own SD: no whitening but of the units."""

    def fit(self, residuals, groups=None):
        """Measure the SD of every sensor.

        Parameters
        ----------
        residuals : array, shape (n_trials, n_channels, n_times)
            Residuals of single trials.
        groups : array, shape (n_trials,) | None
            Not used.

        Returns
        -------
        self : ScaleWhitener
        """
        scale = np.sqrt(np.mean(np.square(residuals), axis=(0, 2)))
        self.scale_ = np.where(scale > 0, scale, 1.0)[:, None]
        return self

    def transform(self, residuals):
        """Divide: array, shape (n, n_channels, n_times)."""
        return residuals / self.scale_

    def inverse_transform(self, whitened):
        """Multiply: array, shape (n, n_channels, n_times)."""
        return whitened * self.scale_


class SpaceTimeWhitener:
    """Sample covariance, for now."""

    def fit(self, residuals, groups=None):
        n, c, t = residuals.shape
        flat = residuals.reshape(n, -1)
        self.shape_ = (c, t)
        cov = flat.T @ flat / n
        cov[np.diag_indices(len(cov))] *= 1 + 1e-3
        values, vectors = np.linalg.eigh(cov)
        keep = values > 1e-9 * values[-1]
        self.vectors_, self.sd_ = vectors[:, keep], np.sqrt(values[keep])
        return self

    def transform(self, residuals):
        flat = residuals.reshape(len(residuals), -1)
        return ((flat @ self.vectors_ / self.sd_) @ self.vectors_.T).reshape(residuals.shape)

    def inverse_transform(self, whitened):
        flat = whitened.reshape(len(whitened), -1)
        return ((flat @ self.vectors_ * self.sd_) @ self.vectors_.T).reshape(whitened.shape)
