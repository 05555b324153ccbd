"""Ridge regression, and ridge regression with Gaussian noise."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .._parameters import Integer, Number, check_given, check_parameters
from .._torch import seed_from
from .estimator import Baseline, averages
from .gaussian import draw_generators

if TYPE_CHECKING:
    from ..trials.checks import TrialArrays
    from ..trials.splits import SplitPlan

_ALPHAS = tuple(np.logspace(-1, 7, 17))


class RidgeBaseline(Baseline):
    r"""Ridge regression from the tokens of an image to its mean response.

    .. math:: \min_W \sum_i n_i \lVert \bar y_i - z_i W \rVert^2 + \alpha \lVert W \rVert^2

    with standardised pooled tokens :math:`z_i` and the mean :math:`\bar y_i` of the :math:`n_i`
    trials of image :math:`i`; for squared error that is the same fit as one on single trials. The
    penalty is chosen on the training data: by leaving out one image where each is a group of its
    own, else by folds of whole groups.

    Parameters
    ----------
    alphas : tuple of float
        The penalties to choose from, by default 0.1 to 1e7 in half powers of ten.
    tokens : "pooled" | "first" | "all", default "pooled"
        What of the tokens is used: see :func:`~mne_img2brain.trials.pooling.pool_tokens`; the first
        (class) token alone; or all of them side by side, padding as zero after standardising.
    per_target : bool, default False
        Whether every sensor and time has a penalty of its own.
    solver : "sklearn" | "himalaya", default "sklearn"
        Who solves it. himalaya chooses penalties per target only, by folds of groups.
    min_images, n_folds : int, default 10 and 5
        With fewer distinct images than ``min_images``, trials are split; how many folds.

    Attributes
    ----------
    models_ : list
        One fitted pipeline for each subject.

    See Also
    --------
    RidgeGaussian : The same with draws.
    mne_img2brain.mean.KernelMeanRegressor : The expected response of the default regressor.

    References
    ----------
    Hoerl and Kennard (1970), Technometrics 12; Dupré la Tour et al. (2022), NeuroImage 264
    (himalaya).

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.baselines import RidgeBaseline
    >>> rng = np.random.default_rng(0)
    >>> tokens = rng.standard_normal((100, 5))
    >>> y = np.einsum("if,fct->ict", tokens, rng.standard_normal((5, 3, 20)))
    >>> ridge = RidgeBaseline(alphas=(0.001, 1.0)).fit(tokens[:80], y[:80])
    >>> round(ridge.score(tokens[80:], y[80:]), 2)
    1.0
    """

    _needs_splits = True

    def __init__(
        self,
        alphas: tuple[float, ...] = _ALPHAS,
        *,
        tokens: Literal["pooled", "first", "all"] = "pooled",
        per_target: bool = False,
        solver: Literal["sklearn", "himalaya"] = "sklearn",
        min_images: int = 10,
        n_folds: int = 5,
    ) -> None:
        self.alphas = alphas
        self.tokens = tokens
        self.per_target = per_target
        self.solver = solver
        self.min_images = min_images
        self.n_folds = n_folds

    def _check_parameters(self) -> None:
        check_parameters(
            self, min_images=Integer(2), n_folds=Integer(2), per_target=bool,
            tokens=("pooled", "first", "all"), solver=("sklearn", "himalaya"),
        )  # fmt: skip
        alphas = np.atleast_1d(np.asarray(self.alphas, dtype=object))
        if (
            alphas.ndim != 1
            or not len(alphas)
            or any(a not in Number(0, closed="high") for a in alphas)
        ):
            raise ValueError(f"alphas={self.alphas!r}; give one or more numbers > 0.")
        if self.solver == "himalaya" and not self.per_target:
            raise ValueError("solver='himalaya' chooses penalties per target: per_target=True.")

    def _pool(self, tokens: np.ndarray) -> np.ndarray:
        if self.tokens == "first":
            return np.asarray(tokens[:, 0], float)
        if self.tokens == "all":
            return np.asarray(tokens, float).reshape(len(tokens), -1)
        return super()._pool(tokens)

    def _fit_part(self, table: np.ndarray, data: "TrialArrays", plan: "SplitPlan") -> Any:
        images, average, weight, fold, group = averages(data, plan)
        alone = len(np.unique(group)) == len(group) and not plan.by_trial
        even = np.allclose(weight, weight[0])
        folds = PredefinedSplit(np.unique(fold, return_inverse=True)[1])
        if self.solver == "himalaya":
            return self._himalaya(folds, even).fit(table[images], average)
        leave_one_out = alone or len(np.unique(fold)) < 2
        if not leave_one_out and self.per_target:
            raise ValueError(
                "per_target=True with groups of several images needs solver='himalaya': "
                "scikit-learn has penalties per target for leave-one-out only."
            )
        ridge = RidgeCV(
            np.asarray(self.alphas, float),
            cv=None if leave_one_out else folds,
            scoring=None if leave_one_out else "neg_mean_squared_error",
            alpha_per_target=self.per_target,
        )
        model = make_pipeline(_PaddedScaler(), ridge)
        return model.fit(
            table[images], average, **({} if even else {"ridgecv__sample_weight": weight})
        )

    def _himalaya(self, folds: PredefinedSplit, even: bool) -> Any:
        """Return himalaya's ridge, or say how to get it."""
        try:
            from himalaya.ridge import RidgeCV as HimalayaRidgeCV
        except ImportError as error:
            raise ImportError(
                "solver='himalaya' needs himalaya: pip install himalaya, or solver='sklearn'."
            ) from error
        if not even:
            raise ValueError(
                "himalaya knows no sample_weight, and images have different numbers of trials; use "
                "solver='sklearn'."
            )
        ridge = HimalayaRidgeCV(
            np.asarray(self.alphas, float),
            fit_intercept=True,
            cv=folds,
            solver_params={"warn": False},
        )
        return make_pipeline(_PaddedScaler(), ridge)


class _PaddedScaler(StandardScaler):
    """Standardise what is there; padding becomes zero, the mean."""

    def transform(self, X: np.ndarray) -> np.ndarray:
        return np.nan_to_num(super().transform(X))


class RidgeGaussian(RidgeBaseline):
    r"""Ridge plus Gaussian noise with the covariance of the training residuals.

    The honest competitor of a generator: its mean is as good as a linear one can be, and its draws
    have the variance, the spectrum and the channel covariance of real trials; only what is not
    Gaussian, or differs from image to image, is missing.

    Residuals are out of fold: a model that has seen a trial leaves too little of it over. They hold
    the trials' variability and what the model misses of the mean. Those of averages over n trials
    are multiplied by :math:`\sqrt n`. Their covariance over sensors and times is that of the
    sample, with nothing added, where there are more trials than sensors times times, and the
    product of one over sensors and one over times, where there are fewer; see
    :class:`mne_img2brain.baselines.GaussianResiduals`.

    Parameters
    ----------
    alphas : tuple of float
        The penalties to choose from, by default 0.1 to 1e7 in half powers of ten.
    tokens : "pooled" | "first" | "all", default "pooled"
        What of the tokens is used.
    per_target : bool, default False
        Whether every sensor and time has a penalty of its own.
    solver : "sklearn" | "himalaya", default "sklearn"
        Who solves it.
    min_images, n_folds : int, default 10 and 5
        With fewer distinct images than ``min_images``, trials are split; how many folds.

    Attributes
    ----------
    models_ : list
        One fitted pipeline for each subject.
    residuals_ : GaussianResiduals
        The covariance of the residuals of all subjects.

    See Also
    --------
    RidgeBaseline : The mean alone.
    GaussianResiduals : The noise alone.
    mne_img2brain.DiffusionRegressor : The default regressor.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.baselines import RidgeGaussian
    >>> rng = np.random.default_rng(0)
    >>> tokens, y = rng.standard_normal((40, 5)), rng.standard_normal((40, 3, 20))
    >>> ridge = RidgeGaussian().fit(tokens, y)
    >>> ridge.sample(tokens[:2], n_draws=4, random_state=0).shape
    (2, 4, 3, 20)
    """

    _needs_residuals = True

    def sample(
        self,
        X: np.ndarray,
        n_draws: int = 1,
        *,
        random_state: int | np.random.Generator | np.random.RandomState | None = None,
        n_averaged: int = 1,
        subjects: np.ndarray | None = None,
        first_image: int = 0,
    ) -> np.ndarray:
        """Draw single-trial responses.

        The noise of a draw comes from ``SeedSequence(seed, spawn_key=(image position, draw))``: it
        does not depend on how many draws there are.

        Parameters
        ----------
        X : array, shape (n_images, ..., n_features)
            Image tokens, as in :meth:`fit`.
        n_draws : int, default 1
            How many draws for each image.
        random_state : int | numpy.random.Generator | numpy.random.RandomState | None, default None
            ``None`` is a fresh generator, never the global one.
        n_averaged : int, default 1
            Of how many trials a draw is the average; their noise is smaller by its root.
        subjects : array of int, shape (n_images,) | None, default None
            Whose response; ``None`` is the mean over subjects.
        first_image : int, default 0
            The position of the first image, where images are drawn for in several calls.

        Returns
        -------
        array, shape (n_images, n_draws, n_channels, n_times)
            In the unit of ``y``; the last dimensions are those of ``y``.
        """
        check_given(
            n_draws=(n_draws, Integer(1)), n_averaged=(n_averaged, Integer(1)),
            first_image=(first_image, Integer(0)),
        )  # fmt: skip
        expected = self.predict(X, subjects)
        seed = seed_from(random_state)
        draws = np.empty((len(expected), n_draws, *self._response_shape))
        for image in range(len(expected)):
            generators = draw_generators(seed, first_image + image, n_draws)
            draws[image] = self.residuals_.draw(generators)
        draws = draws.reshape(len(expected), n_draws, *self.target_shape_)
        return expected[:, None] + draws / np.sqrt(n_averaged)
