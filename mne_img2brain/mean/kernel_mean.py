r"""The expected response: a mixture of kernel regressions that know what responses share."""

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from .._lazy import LazyTrials
from .._log import logger, progress_bar
from .._parameters import Integer, Number, all_or_nothing, check_parameters
from ..metrics import cross_validated_r
from ..trials.checks import check_image_index
from ..trials.scores import ResponseScoreMixin
from .image_features import ImageFeatures
from .kernels import KERNELS
from .prediction import get_state, predict_together, set_state
from .response_space import average_trials, check_responses, find_spaces, weighted_mean
from .stacking import (
    LeftOut,
    Problem,
    cross_validate,
    judged_targets,
    mix_left_out,
    solve_model,
    weigh_models,
)
from .whitening import Whitener

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .._types import RandomState

_FEW = 100  # below this many images, errors are judged on whitened responses


class KernelMeanRegressor(ResponseScoreMixin, RegressorMixin, BaseEstimator):
    r"""Expected response to an image, from its tokens.

    Trials of one image are averaged, the noise that trials of one image show is whitened in space
    and time, the first principal components of the whitened averages are regressed together, and
    regressions with several kernels are mixed:

    .. math:: f(x) = \mu + \sum_m b_m\, k_m(x, X) A_m, \qquad b_m \ge 0

    where :math:`A_m` gives the posterior mean of the multivariate mixed model
    :math:`\mathrm{vec}\,Y \sim N(0,\ \Sigma_g \otimes K_m + \Sigma_e \otimes \Omega^{-1})`
    [1]_ [2]_ with :math:`\Omega` the number of trials of each image. Response components that the
    tokens explain are thereby shrunk little and others to nothing, where ridge regression shrinks
    all alike. One of the mixed is plain ridge regression on the pooled tokens, its one penalty
    chosen by cross-validation; the weights :math:`b` minimise the cross-validated squared error
    (stacking [3]_), so that little is lost where the truth is linear and the noise white.

    Kernels are sums of terms. ``"linear"`` is linear in class token and mean token; ``"rbf"`` is
    :math:`\exp(-0.3 \lVert x - x' \rVert^2 / D)` of them, :math:`D` the mean squared distance;
    ``"local"`` adds the mean over token places of one such kernel per place, which is not linear
    but additive over places.

    Parameters
    ----------
    kernel : {"auto", "linear", "rbf", "local"}, default "auto"
        One kernel, or ``"auto"`` for a mixture of those that suit the input.
    penalty : {"auto"} | float, default "auto"
        A number gives plain (kernel) ridge regression with this penalty: with
        ``kernel="linear"`` and ``standardize=False`` that is :class:`sklearn.linear_model.Ridge`.
    n_components : int, default 60
        Largest number of response components that are regressed together; never more than a tenth
        of the images. 0 leaves out the mixed models, as do fewer than 50 images.
    n_folds : int, default 5
        Number of folds by which penalty and mixture are chosen.
    n_landmarks : int, default 3000
        With more distinct images than this, kernels are approximated from this many of them
        (Nyström [4]_).
    min_images : int, default 10
        With fewer distinct images, folds are made of trials and no longer of images.
    standardize : bool, default True
        Whether features are scaled to unit standard deviation over the distinct images.
    random_state : int | numpy.random.RandomState | None, default 0
        Deals the folds and chooses landmarks.

    Attributes
    ----------
    weights_ : dict
        The weight of each model in the mixture.
    penalty_ : float
        The penalty of plain ridge regression.
    cv_score_ : dict
        Cross-validated Pearson correlation over images, mean over targets, of each model and of
        the mixture, about the mean of each fold's training images.
    cross_validated_r_, cross_validated_p_ : float
        Correlation of the mixture across left-out images within folds, and its p-value against
        chance, by :func:`mne_img2brain.metrics.cross_validated_r`.
    n_features_in_ : int
        Width of the tokens.

    See Also
    --------
    FewImagesRegressor : For few images.
    mne_img2brain.DiffusionRegressor : Uses it for the expected response.

    Notes
    -----
    Memory: beside the responses themselves, the out-of-fold predictions, as large as the average
    responses. Arrays of distinct images x landmarks, one for each kernel, and axes of regressions
    wait in temporary files where they have more than 32 MB.
    The fit is made in the precision of the responses, kernels in that of the tokens, predictions
    in float64.

    Noise covariance, components, penalty and mixture behind :attr:`out_of_fold_` come from all
    training rows; coefficients and covariances of the mixed models are those of the fold. The
    optimism is below what 700 images can show (see the page "What we tried").

    References
    ----------
    .. [1] Zhou, X. and Stephens, M. (2014). Efficient multivariate linear mixed model algorithms
       for genome-wide association studies. Nature Methods 11, 407-409.
    .. [2] Alvarez, M. A., Rosasco, L. and Lawrence, N. D. (2012). Kernels for vector-valued
       functions: a review. Foundations and Trends in Machine Learning 4, 195-266.
    .. [3] Breiman, L. (1996). Stacked regressions. Machine Learning 24, 49-64.
    .. [4] Williams, C. and Seeger, M. (2001). Using the Nyström method to speed up kernel
       machines. NIPS 13, 682-688.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.mean import KernelMeanRegressor
    >>> rng = np.random.default_rng(0)
    >>> tokens = rng.standard_normal((60, 5))
    >>> y = np.einsum("if,fct->ict", tokens, rng.standard_normal((5, 3, 20)))
    >>> y += rng.standard_normal(y.shape)
    >>> regressor = KernelMeanRegressor(random_state=0).fit(tokens[:50], y[:50])
    >>> regressor.predict(tokens[50:]).shape
    (10, 3, 20)
    """

    def __init__(
        self,
        kernel: str = "auto",
        *,
        penalty: str | float = "auto",
        n_components: int = 60,
        n_folds: int = 5,
        n_landmarks: int = 3000,
        min_images: int = 10,
        standardize: bool = True,
        random_state: "RandomState" = 0,
    ) -> None:
        self.kernel = kernel
        self.penalty = penalty
        self.n_components = n_components
        self.n_folds = n_folds
        self.n_landmarks = n_landmarks
        self.min_images = min_images
        self.standardize = standardize
        self.random_state = random_state

    @all_or_nothing
    def fit(
        self,
        X: "ArrayLike",
        y: "ArrayLike",
        sample_weight: np.ndarray | None = None,
        groups: np.ndarray | None = None,
        image_index: np.ndarray | None = None,
    ) -> Self:
        """Fit the mixture.

        1. Average the rows of each image. 2. Deal the images into folds by ``groups``. 3. Whiten
        the noise, take components. 4. Fit every model in every fold, choose penalty and weights.
        5. Fit the models of the mixture on all images.

        Parameters
        ----------
        X : array, shape (n_rows, n_features) | (n_rows, n_tokens, n_features) | \
                (n_rows, n_grid_rows, n_grid_columns, n_features)
            Features or tokens, padding NaN. Equal rows are one image.
        y : array, shape (n_rows,) | (n_rows, n_targets) | (n_rows, n_channels, n_times)
            The responses. Give them three dimensions where they have sensors and times.
        sample_weight : array, shape (n_rows,) | None, default None
            Of how many trials each row is the average.
        groups : array, shape (n_rows,) | None, default None
            Labels of images that no fold may separate.
        image_index : array of int, shape (n_rows,) | None, default None
            The row of ``X`` that each response answers to. ``X`` then holds each image once, and
            its length is the number of images.

        Returns
        -------
        self : KernelMeanRegressor
            The fitted regressor.

        Raises
        ------
        ValueError
            If shapes do not agree, numbers are not finite, a parameter is out of range, or all
            images are of one group.
        """
        self._check_parameters()
        X = self._check_tokens(X)
        n_rows = len(X) if image_index is None else len(image_index)
        y, weight = check_responses(y, sample_weight, n_rows, type(self).__name__)
        if image_index is None:
            image_index = np.arange(len(X))
        image_index = check_image_index(image_index, len(X), len(y))
        rows = np.flatnonzero(weight > 0)
        groups = None if groups is None else np.asarray(groups)[rows]
        images = ImageFeatures.of(self, X, image_index[rows], _some(y, rows), groups)
        self.regress(images, y, weight)
        left = weight <= 0
        self._unweighted = self.predict(X[image_index[left]]) if left.any() else None
        return self

    def _rng(self) -> np.random.Generator:
        return np.random.default_rng(check_random_state(self.random_state).randint(2**31 - 1))

    def regress(
        self, images: ImageFeatures, y: np.ndarray | LazyTrials, weight: np.ndarray
    ) -> None:
        """Regress responses to images that were looked at; rows of weight 0 are left out."""
        rows = np.flatnonzero(weight > 0)
        some, fold = _some(y, rows), images.fold
        responses, total, deviations = average_trials(some, weight[rows], images.image, images.unit)
        if self.penalty == "auto":
            total = total / total.mean()
        n_components = min(self.n_components, len(responses) // 10, responses.shape[1])
        if self.penalty != "auto" or len(responses) < _FEW // 2:
            n_components = 0
        shape: Any = y.shape[1:] if y.ndim == 3 else (1, responses.shape[1])
        white = Whitener(shape).fit(deviations) if len(deviations) >= 40 else None
        del deviations
        everything, *spaces = find_spaces(
            responses, total, fold, shape, white, n_components, self._rng()
        )

        # With few images, errors are judged where noise is white: there the signal is seen best.
        judge = white.whiten if white and len(responses) < _FEW else None
        mean = weighted_mean(responses, total)
        judged = np.arange(len(mean)) if judge else judged_targets(len(responses), len(mean))
        problem = Problem(images, responses, total, mean, spaces, judged, judge)
        # Everything below is per unit: an image, or with few images a part of its trials.
        models, solved = [], {}
        for name in progress_bar(list(images.maps), "Fitting the mean"):
            penalty = self.penalty if name == "linear" or self.kernel == name else None
            models += cross_validate(problem, name, penalty)
            if models[-1].kind == "mixed":
                solved[models[-1].label] = solve_model(models[-1], images, everything.scores, total)
        weights, found = weigh_models(problem, models)
        self.views_, self.maps_, self.coef_, self.offset_ = images.views, {}, {}, {}
        self.x_ndim_, self.n_features_in_ = images.x_ndim, images.n_features
        self.mean_, self.colours_ = mean, everything.colours
        self.response_shape_ = tuple(y.shape[1:])
        labels = [model.label for model in models]
        self.weights_ = dict(zip(labels, map(float, weights), strict=True))
        self.cv_score_ = dict(zip([*labels, "mixture"], found, strict=True))
        for model, b in zip(models, weights, strict=True):
            if model.kind == "ridge":
                self.penalty_ = model.penalty
            if b > 0:
                self.maps_[model.kernel] = images.maps[model.kernel]
                if model.kind == "ridge":
                    solved[model.label] = solve_model(model, images, responses, total)
                coef, offset = solved[model.label]
                self.coef_[model.label], self.offset_[model.label] = b * coef, b * offset
        self._left_out = mix_left_out(problem, models, weights)
        found = cross_validated_r(responses, self._left_out, np.arange(len(fold)), fold, total)
        self.cross_validated_r_, self.cross_validated_p_ = found
        self._row_unit, self._unweighted = np.full(len(y), -1), None
        self._row_unit[rows] = images.unit
        logger.info(
            f"Regression on {images.n_images} images: cross-validated r "
            + ", ".join(f"{label} {r:.3f}" for label, r in self.cv_score_.items())
        )

    @property
    def out_of_fold_(self) -> np.ndarray:
        """Prediction for each training row by models that did not see its group."""
        check_is_fitted(self, "coef_")
        predicted = self._left_out[self._row_unit]
        if self._unweighted is not None:
            predicted[self._row_unit < 0] = self._unweighted.reshape(-1, predicted.shape[1])
        return predicted.reshape(-1, *self.response_shape_)

    def predict(self, X: "ArrayLike") -> np.ndarray:
        """Predict the expected response.

        Parameters
        ----------
        X : array, shape (n_images, n_features) | (n_images, n_tokens, n_features) | \
                (n_images, n_grid_rows, n_grid_columns, n_features)
            Features or tokens as in ``fit``.

        Returns
        -------
        array, shape (n_images,) | (n_images, n_targets) | (n_images, n_channels, n_times)
            The expected responses, in the unit of ``y``.
        """
        return predict_together([self], X)[0]

    def pop_out_of_fold(self) -> LeftOut:
        """Return the out-of-fold predictions, and forget them: they are as large as averages.

        Returns
        -------
        LeftOut
            Of rows with a weight above 0; rows that share a prediction share its memory.
        """
        values = self._left_out.reshape(-1, *self.response_shape_)
        del self._left_out
        return LeftOut(values, self._row_unit)

    def get_state(self) -> dict:
        """Return what prediction needs, as arrays and JSON-able values.

        Returns
        -------
        dict
            ``params`` and ``meta`` hold numbers, strings and lists; ``arrays`` holds arrays. Of
            a regressor that is not fitted, the parameter of another, there are ``params`` only.
        """
        return get_state(self)

    @classmethod
    def from_state(cls, state: dict) -> Self:
        """Make a fitted regressor from what :meth:`get_state` returned.

        Parameters
        ----------
        state : dict
            The state.

        Returns
        -------
        KernelMeanRegressor
            It predicts as the saved one did; out-of-fold predictions are not saved.
        """
        self = cls(**state["params"])
        set_state(self, state)
        return self

    def _check_parameters(self) -> None:
        check_parameters(
            self, kernel=("auto", *KERNELS), penalty=("auto", Number(0, closed="high")),
            n_folds=Integer(2), n_components=Integer(0), n_landmarks=Integer(1),
            min_images=Integer(1), standardize=bool,
        )  # fmt: skip

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _check_tokens(self, X: "ArrayLike", fitted: bool = False) -> np.ndarray:
        """Return tokens as a 2-D or 3-D array."""
        if getattr(X, "ndim", 2) not in (3, 4):
            X = validate_data(self, X, reset=not fitted)
        else:
            X = check_array(X, allow_nd=True, ensure_all_finite="allow-nan")
            X = X.reshape(len(X), -1, X.shape[-1])
        if not fitted:
            return X
        if X.ndim != self.x_ndim_ or X.shape[-1] != self.n_features_in_:
            raise ValueError(
                f"X has {X.ndim} dimensions and {X.shape[-1]} features, but {type(self).__name__} "
                f"is expecting {self.x_ndim_} dimensions and {self.n_features_in_} features as "
                "input, as in fit."
            )
        return X


def _some(y: np.ndarray | LazyTrials, rows: np.ndarray) -> np.ndarray | LazyTrials:
    """Return some responses as floating-point numbers; all of them without a copy."""
    y = y if y.dtype.kind == "f" else np.asarray(y, np.float64)
    return y if len(rows) == len(y) else y[rows]
