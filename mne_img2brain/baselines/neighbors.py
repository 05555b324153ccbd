"""Baselines that learn nothing: the mean response, and that to the nearest training image."""

from typing import TYPE_CHECKING, Literal

import numpy as np
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from .._parameters import Integer, check_parameters
from .estimator import Baseline, averages

if TYPE_CHECKING:
    from sklearn.utils import Tags

    from ..trials.checks import TrialArrays
    from ..trials.splits import SplitPlan


class _Constant:
    """The same response for every image."""

    def __init__(self, response: np.ndarray) -> None:
        self.response = response

    def predict(self, table: np.ndarray) -> np.ndarray:
        """Repeat the response."""
        return np.repeat(self.response[None], len(table), axis=0)


class MeanResponse(Baseline):
    """The mean response of the training trials, whatever the image.

    It holds everything that images share, and so scores well wherever that is what is measured; r
    across images is 0 and identification is at chance.

    Attributes
    ----------
    models_ : list
        One model for each subject.

    See Also
    --------
    NearestNeighbor : Looks at the image.
    mne_img2brain.evaluate : Judges baselines beside encoders.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.baselines import MeanResponse
    >>> rng = np.random.default_rng(0)
    >>> tokens, y = rng.standard_normal((40, 5)), rng.standard_normal((40, 3, 20))
    >>> predicted = MeanResponse().fit(tokens, y).predict(tokens[:2])
    >>> np.allclose(predicted, y.mean(axis=0))
    True
    """

    def _fit_part(self, table: np.ndarray, data: "TrialArrays", plan: "SplitPlan") -> _Constant:
        _, average, weight, _, _ = averages(data, plan)
        return _Constant(np.average(average, axis=0, weights=weight))

    def __sklearn_tags__(self) -> "Tags":
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True
        return tags


class NearestNeighbor(Baseline):
    """The mean response to the training images that are nearest in token space.

    Parameters
    ----------
    n_neighbors : int, default 1
        How many training images are averaged.
    metric : "cosine" | "euclidean", default "cosine"
        The distance of pooled tokens, standardised.

    Attributes
    ----------
    models_ : list
        One model for each subject.

    See Also
    --------
    MeanResponse : The mean of all images.
    RidgeBaseline : A linear regression.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.baselines import NearestNeighbor
    >>> rng = np.random.default_rng(0)
    >>> tokens, y = rng.standard_normal((40, 5)), rng.standard_normal((40, 3, 20))
    >>> nearest = NearestNeighbor(n_neighbors=1).fit(tokens, y)
    >>> np.allclose(nearest.predict(tokens[:2]), y[:2])
    True
    """

    def __init__(
        self, n_neighbors: int = 1, *, metric: Literal["cosine", "euclidean"] = "cosine"
    ) -> None:
        self.n_neighbors = n_neighbors
        self.metric = metric

    def _check_parameters(self) -> None:
        check_parameters(self, n_neighbors=Integer(1), metric=("cosine", "euclidean"))

    def _fit_part(self, table: np.ndarray, data: "TrialArrays", plan: "SplitPlan") -> "_Neighbors":
        images, average, _, _, _ = averages(data, plan)
        return _Neighbors(table[images], average, self.n_neighbors, self.metric)


class _Neighbors:
    """The mean of the nearest rows."""

    def __init__(
        self, table: np.ndarray, responses: np.ndarray, n_neighbors: int, metric: str
    ) -> None:
        self.scaler = StandardScaler().fit(table)
        self.table, self.responses = self.scaler.transform(table), responses
        self.n_neighbors, self.metric = min(n_neighbors, len(table)), metric

    def predict(self, table: np.ndarray) -> np.ndarray:
        """Average the responses to the nearest rows."""
        # fitted here, which costs nothing: it would not be saved
        nearest = NearestNeighbors(n_neighbors=self.n_neighbors, metric=self.metric)
        nearest.fit(self.table)
        rows = nearest.kneighbors(self.scaler.transform(table), return_distance=False)
        return self.responses[rows].mean(axis=1)
