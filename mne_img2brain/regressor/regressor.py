"""DiffusionRegressor: image tokens in, distributions of responses out. Arrays only."""

import copy
import dataclasses
import os
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from .._log import use_log_level
from .._parameters import all_or_nothing
from ..diffusion import Denoiser
from ..trials.checks import check_fit_arrays, check_subjects, check_tokens
from ..trials.scores import ResponseScoreMixin
from .adaptation import adapt_regressor
from .drawing import draw_responses, expected_response
from .fitting import fit_regressor

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .._types import RandomState, Regressor


class DiffusionRegressor(ResponseScoreMixin, RegressorMixin, BaseEstimator):
    r"""Expected responses by regression, single trials by diffusion.

    A response :math:`y` to an image with tokens :math:`c` is modelled as

    .. math:: y = \mu(c) + G(c)\, C z, \qquad z \sim p_\theta(z \mid c)

    where :math:`\mu` is a regressor, :math:`G` gives rhythms the power expected for the image
    (:class:`~mne_img2brain.noise.power.InducedPower`), :math:`C` undoes the whitening of the
    residuals in space and time, and :math:`p_\theta` is a diffusion transformer,
    :class:`~mne_img2brain.Denoiser`, trained on out-of-fold residuals, as in CARD [1]_. It is kept
    only where it lowers its loss on images held out and trials of these images score better under
    its draws (:func:`~mne_img2brain.diffusion.selection.compare_draws`) than under those of
    :class:`~mne_img2brain.noise.clusters.TrialClusters`: a mixture of Gaussians, each with the
    covariance of a dozen trials that are alike, which draws noise where the denoiser is not kept.

    Parameters
    ----------
    mean : "auto" | sklearn regressor | None, default "auto"
        Predicts the expected response. ``"auto"`` is
        :class:`~mne_img2brain.mean.KernelMeanRegressor`; any other regressor sees tokens pooled to
        one vector per image. ``None`` leaves all but the average response to diffusion, as the
        paper does.
    noise : "auto" | "gaussian" | Denoiser, default "auto"
        What draws single trials around the mean. A :class:`~mne_img2brain.Denoiser` is the
        transformer that is trained on what the mean leaves over, and ``"auto"`` is ``Denoiser()``;
        where it is not kept, and trials are not Gaussian, residuals of recorded trials are stored
        to draw by, which together with predictions are the trials. ``"gaussian"`` keeps none: it
        draws by their covariance and the gains of rhythms, and classifiers notice more often.
    max_iter : int | None, default None
        Gradient steps of the transformer at most; ``None`` leaves them to ``noise``; where that
        leaves them open too, none is trained beside a mean on fewer than 8,000 trials, and
        without a GPU on more than 2**24 numbers of trials. With 0 there is none.
    n_folds : int, default 5
        Folds of the out-of-fold residuals.
    min_images : int, default 10
        With fewer distinct images splits are by trial, with a warning.
    device : str, default "auto"
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"mps"``.
    random_state : int | numpy.random.Generator | numpy.random.RandomState | None, default None
        ``None`` is a fresh generator, never the global one.
    verbose : bool | str | int | None, default None
        As everywhere in MNE.

    Attributes
    ----------
    mean_ : ConditionalMean
        The fitted mean.
    power_ : InducedPower
        The gains of single trials that follow the image.
    noise_ : Denoiser | SubjectNoise
        What draws single trials: the transformer, where it was kept.
    residual_averaged_ : float
        Of how many trials each residual is the average: 1, but without a mean regressor that of
        the training data.
    noise_summary_ : NoiseSummary
        What was tried to draw single trials, what it cost, and what was kept.
    n_features_in_ : int
        Features of one token.
    n_iter_ : int
        Gradient steps that were made.
    history_ : TrainingHistory | None
        What the training of the transformer did, kept or not.

    See Also
    --------
    mne_img2brain.Denoiser : The transformer and its parameters.
    mne_img2brain.ImageToBrainEncoder : Images and Epochs in place of arrays.

    References
    ----------
    .. [1] Han, Zheng & Zhou (2022). CARD: classification and regression diffusion models. NeurIPS.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain import DiffusionRegressor
    >>> rng = np.random.default_rng(0)
    >>> tokens, y = rng.standard_normal((40, 5)), rng.standard_normal((40, 3, 20))
    >>> regressor = DiffusionRegressor(max_iter=0, random_state=0).fit(tokens, y)
    >>> regressor.predict(tokens[:2]).shape
    (2, 3, 20)
    >>> regressor.sample(tokens[:2], n_draws=4, random_state=0).shape
    (2, 4, 3, 20)
    """

    def __init__(
        self,
        mean: "str | Regressor | None" = "auto",
        noise: str | Denoiser = "auto",
        *,
        max_iter: int | None = None,
        n_folds: int = 5,
        min_images: int = 10,
        device: str = "auto",
        random_state: "RandomState" = None,
        verbose: bool | str | int | None = None,
    ) -> None:
        self.mean = mean
        self.noise = noise
        self.max_iter = max_iter
        self.n_folds = n_folds
        self.min_images = min_images
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @classmethod
    def xu2025(cls, **parameters: Any) -> Self:
        """Return the paper's model: diffusion alone, noise prediction, guided by CLIP tokens.

        The paper gives cross-attention on concatenated image and caption tokens, region and
        temporal embeddings, and DDIM, but neither width, depth, schedule, steps nor the training
        budget; chosen here are the linear schedule and noise prediction of DDPM, and the default
        width and depth. :meth:`sample` draws by 50 DDIM steps where nothing else is asked for.

        Parameters
        ----------
        **parameters
            Parameters of :class:`DiffusionRegressor` or :class:`~mne_img2brain.Denoiser` that
            override the preset.

        Returns
        -------
        DiffusionRegressor
        """
        own = set(cls().get_params(deep=False)) & set(parameters)
        given = {name: parameters.pop(name) for name in own}
        preset = {
            "whitening": "scale",
            "dropout": 0.0,
            "batch_size": 64,
            "schedule": "linear",
            "prediction_type": "noise",
            "zero_terminal_snr": False,
        }
        return cls(**{"mean": None, "noise": Denoiser(**{**preset, **parameters}), **given})

    @all_or_nothing
    def fit(
        self,
        X: "ArrayLike",
        y: "ArrayLike",
        *,
        sample_weight: np.ndarray | None = None,
        groups: np.ndarray | None = None,
        regions: np.ndarray | None = None,
        subjects: np.ndarray | None = None,
        y_mask: np.ndarray | None = None,
        image_index: np.ndarray | None = None,
        checkpoint: str | os.PathLike | None = None,
    ) -> Self:
        """Fit the mean, then the distribution of what it leaves over.

        1. put trials in canonical order and group them, so that no split parts an image's trials;
        2. fit the mean; predict every trial by a mean that has not seen its group;
        3. scale the residuals to one trial, divide them by gains that follow the image, and
           whiten them in space and time;
        4. train the denoiser on them until held-out images say stop.

        Parameters
        ----------
        X : array, shape (n_trials, n_features) | (n_trials, n_tokens, n_features) | \
                (n_trials, n_rows, n_columns, n_features)
            Image tokens; padding tokens are NaN throughout.
        y : array, shape (n_trials,) | (n_trials, n_channels) | (n_trials, n_channels, n_times)
            Responses in any unit.
        sample_weight : array, shape (n_trials,) | None, default None
            Of how many trials each row is the average. Rows of weight 0 are left out.
        groups : array, shape (n_trials,) | None, default None
            What splits keep together (concepts). Equal images always are.
        regions : array of int, shape (n_channels,) | None, default None
            The brain region of each sensor. ``None`` is one region.
        subjects : array of int, shape (n_trials,) | None, default None
            The subject of each trial, ``0 .. n_subjects - 1``.
        y_mask : array of bool, shape (n_trials, n_channels) | None, default None
            Which sensors each trial has; the others may be NaN in ``y``.
        image_index : array of int, shape (n_trials,) | None, default None
            The row of ``X`` that each trial answers to. ``X`` then holds each image once.
        checkpoint : path-like | None, default None
            A folder in which the training of the denoiser is kept while it runs. A fit to the same
            data with the same parameters that was stopped goes on from there (but for the mean,
            which is soon fitted), and ends with the same weights.

        Returns
        -------
        self : DiffusionRegressor

        Raises
        ------
        ValueError
            If a parameter is out of range, shapes do not agree, values are not finite, or there are
            fewer than two trials. An earlier fit is then left as it was.
        """
        with use_log_level(self.verbose):
            given = sample_weight, groups, regions, subjects, y_mask, image_index
            # which alone holds the trials, and lets them go when it can
            fit_regressor(self, check_fit_arrays(self, X, y, *given), checkpoint)
        return self

    @property
    def cross_validated_r_(self) -> float:
        """Correlation across images left out within fit; NaN without a mean regressor."""
        return self.mean_.cross_validated_.r

    @property
    def cross_validated_p_(self) -> float:
        """How probable such a correlation is under chance."""
        return self.mean_.cross_validated_.p_value

    def predict(self, X: "ArrayLike", subjects: np.ndarray | None = None) -> np.ndarray:
        """Predict the expected response: deterministic, unguided.

        Parameters
        ----------
        X : array, shape (n_images, ...)
            Image tokens, as in :meth:`fit`.
        subjects : array of int, shape (n_images,) | None, default None
            Whose response; ``None`` is the average subject.

        Returns
        -------
        array, shape (n_images, n_channels, n_times) or as ``y`` was
            In the unit of ``y``.
        """
        tokens, subjects = self._check_predict(X, subjects)
        expected = expected_response(self, tokens, subjects)
        return expected.reshape(len(tokens), *self.target_shape_)

    def sample(
        self,
        X: np.ndarray,
        n_draws: int = 1,
        *,
        random_state: "RandomState" = None,
        guidance_scale: float = 1.0,
        n_averaged: int = 1,
        n_steps: int | None = None,
        solver: str | None = None,
        eta: float = 0.0,
        subjects: np.ndarray | None = None,
        first_image: int = 0,
    ) -> np.ndarray:
        r"""Draw single-trial responses.

        The noise of a draw comes from ``SeedSequence(seed, spawn_key=(position, draw))`` on the
        CPU: it depends neither on the batch, nor on the device, nor on ``n_draws``. Few steps
        shrink the variability of draws: of a unit Gaussian, DDIM keeps an SD of 0.76 with 7 steps,
        0.83 with 10 and 0.965 with 50; the default second-order solver needs fewer.

        Parameters
        ----------
        X : array, shape (n_images, ...)
            Image tokens, as in :meth:`fit`.
        n_draws : int, default 1
            How many draws of each image.
        random_state : int | numpy.random.Generator | numpy.random.RandomState | None, default None
            ``None`` is a fresh generator, never the global one.
        guidance_scale : float, default 1.0
            Classifier-free guidance :math:`g`: outputs with the image are extrapolated from
            those without, :math:`o_\varnothing + g (o_c - o_\varnothing)`, on every channel; the
            mean likewise from the average response, and the log of induced power from that of the
            mean power. 1 is no guidance.
        n_averaged : int, default 1
            Draw averages over that many trials, whose residuals are divided by :math:`\sqrt{n}`.
        n_steps : int | None, default None
            Evaluations of the transformer for one draw; ``None`` is 25, with DDIM 50.
        solver : "dpm" | "ddim" | None, default None
            Second-order multistep solver, or DDIM. ``None`` is ``"dpm"``, and ``"ddim"`` where the
            transformer predicts noise.
        eta : float, default 0.0
            Stochasticity of DDIM: 0 is deterministic given the first noise.
        subjects : array of int, shape (n_images,) | None, default None
            Whose response; ``None`` is the average subject.
        first_image : int, default 0
            The position of the first image, where images are drawn for in several calls.

        Returns
        -------
        array, shape (n_images, n_draws, n_channels, n_times), the last axes as ``y`` was
            In the unit of ``y``.
        """
        tokens, subjects = self._check_predict(X, subjects)
        return draw_responses(
            self, tokens, subjects, n_draws, random_state=random_state,
            guidance_scale=guidance_scale, n_averaged=n_averaged, n_steps=n_steps, solver=solver,
            eta=eta, first_image=first_image,
        )  # fmt: skip

    def adapt(
        self,
        X: "ArrayLike",
        y: "ArrayLike",
        *,
        sample_weight: np.ndarray | None = None,
        groups: np.ndarray | None = None,
        y_mask: np.ndarray | None = None,
        image_index: np.ndarray | None = None,
    ) -> int:
        """Learn one more subject; what was learnt of the others, and of all, stays as it is.

        The mean gets a spatial layer over the average subject's response, the noise a covariance
        of the subject's own, and the denoiser, where one is used, one more embedding.

        Parameters
        ----------
        X, y, sample_weight, groups, y_mask, image_index
            As in :meth:`fit`, of the new subject alone; images of :meth:`fit` or others.

        Returns
        -------
        int
            The number of the subject, for ``subjects`` in :meth:`predict` and :meth:`sample`.

        Raises
        ------
        ValueError
            If responses have another shape than in fit, or what fit raises. Nothing is changed.
        """
        check_is_fitted(self)
        with use_log_level(self.verbose):
            data = check_fit_arrays(
                self, X, y, sample_weight, groups, None, None, y_mask, image_index,
                reset=False,
            )  # fmt: skip
            if data.target_shape != self.target_shape_:
                raise ValueError(
                    f"y holds responses of shape {data.target_shape}, but fit had "
                    f"{self.target_shape_}: give the same channels and times."
                )
            return adapt_regressor(self, data)

    @property
    def n_stored_trials_(self) -> int:
        """How many recorded trials are kept, to draw noise by."""
        check_is_fitted(self)
        return self.noise_.n_stored_trials

    def without_trials(self) -> Self:
        """Return a copy that holds no recorded trial, to be given away.

        Residuals, by which noise is drawn, and predictions together are the trials. The copy
        predicts the same; its draws come from one Gaussian with the covariance of the trials, and
        are easier to separate from real trials.

        Returns
        -------
        DiffusionRegressor
            It shares all else with this one.
        """
        check_is_fitted(self)
        bare = copy.copy(self)
        bare.noise_ = self.noise_.without_trials()
        if self.n_stored_trials_:
            bare.noise_summary_ = dataclasses.replace(self.noise_summary_, kept="one Gaussian")
        return bare

    def _check_predict(
        self, X: "ArrayLike", subjects: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        check_is_fitted(self)
        tokens = check_tokens(self, X, reset=False)
        return tokens, check_subjects(subjects, len(tokens), len(self.mean_.parts_))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.target_tags.multi_output = True
        tags.non_deterministic = self.random_state is None
        return tags
