"""How well a regressor predicts, as scikit-learn asks."""

from typing import Any

import numpy as np
from sklearn.metrics import r2_score


class ResponseScoreMixin:
    """``score`` for responses of any number of dimensions, so that a grid search can choose."""

    predict: Any

    def score(self, X: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
        r"""Return :math:`R^2`, the mean over sensors and times.

        Parameters
        ----------
        X : array, shape (n_images, ...)
            Tokens, as in ``fit``.
        y : array, shape (n_images, ...)
            Responses, as in ``fit``.
        sample_weight : array, shape (n_images,) | None
            Of how many trials each row is the average.

        Returns
        -------
        float
            1 is perfect, 0 is the mean response.
        """
        flat = [np.reshape(part, (len(part), -1)) for part in (y, self.predict(X))]
        return float(r2_score(*flat, sample_weight=sample_weight))
