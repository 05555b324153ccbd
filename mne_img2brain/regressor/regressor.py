"""DiffusionRegressor: image tokens in, distributions of responses out. Arrays only."""

import copy
import dataclasses
from numbers import Real
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from .._log import use_log_level
from .._torch import seed_from
from ..diffusion import DrawNoise, NoiseScheduler
from ..diffusion.residual import SOLVERS, ResidualDiffusion
from ..mean.conditional_mean import ConditionalMean
from ..noise.by_subject import SubjectWhitener
from ..noise.power import InducedPower
from ..noise.whitening import ScaleWhitener, SpaceTimeWhitener
from ..trials.checks import (
    TrialArrays,
    check_fit_arrays,
    check_integers,
    check_subjects,
    check_tokens,
)
from ..trials.missing_sensors import fill_sensors
from ..trials.splits import plan_splits
from .adaptation import AdaptingMixin


class DiffusionRegressor(AdaptingMixin, RegressorMixin, BaseEstimator):
    r"""Expected responses by regression, single trials by diffusion.

    A response :math:`y` to an image with tokens :math:`c` is modelled as

    .. math:: y = \mu(c) + G(c)\, C z, \qquad z \sim p_\theta(z \mid c)

    where :math:`\mu` is a regressor, :math:`G` gives rhythms the power expected for the image
    (:class:`~mne_img2brain.noise.power.InducedPower`), :math:`C` undoes the whitening of the
    residuals in space and time, and :math:`p_\theta` is a diffusion transformer [1]_ [2]_ trained
    on out-of-fold residuals, as in CARD [3]_. The denoiser predicts the velocity
    :math:`v = \sqrt{\bar\alpha_t}\,\epsilon - \sqrt{1 - \bar\alpha_t}\,x_0` and minimises
    :math:`E \lVert v_\theta(x_t, t, c) - v \rVert^2`. It starts at :math:`v_\theta = 0`, which for
    whitened residuals is the Gaussian model, and its training is kept only where it lowers that
    loss on images held out and its draws are told from real residuals clearly less than those of
    :class:`~mne_img2brain.noise.clusters.NoiseStates`: a mixture of Gaussians, each with the
    covariance of a dozen trials that are alike, which draws noise where the denoiser is not kept.

    Parameters
    ----------
    mean_regressor : "auto" | sklearn regressor | None
        Predicts the expected response. ``"auto"`` is
        :class:`~mne_img2brain.mean.KernelMeanRegressor`; any other regressor sees tokens
        pooled to one vector per image. ``None`` subtracts the average response only, and leaves
        everything else to diffusion, as the paper does.
    whitening : "covariance" | "scale"
        Whiten residuals in space and time, or only divide by each sensor's SD.
    n_folds : int
        Folds of the out-of-fold residuals.
    validation_fraction : float
        The part of the trials, by whole groups, that decides when training stops.
    min_images : int
        With fewer distinct images splits are by trial, with a warning.
    hidden_size, n_layers, n_heads : int
        Width, depth and attention heads of the denoiser.
    patch_length : int
        Time points of one response token.
    conditioning : "cross_attention" | "addition" | "concatenation"
        How image tokens reach the denoiser.
    position : "both" | "region" | "time" | "none"
        Which of the brain-region and temporal embeddings place the response tokens.
    tokens : "region" | "channel"
        What one response token spans in space.
    dropout : float
        Dropout in the denoiser.
    schedule : "cosine" | "linear"
        Noise schedule.
    prediction_type : "v" | "x0" | "noise"
        What the denoiser predicts. ``"noise"`` needs ``zero_terminal_snr=False``.
    zero_terminal_snr : bool
        Whether the last timestep is pure noise.
    max_iter : int
        Gradient steps at most. With 0 noise is drawn by its states.
    batch_size : int
        Trials in one gradient step, and responses denoised at once.
    learning_rate, weight_decay, ema_decay : float
        Of AdamW and of the exponential moving average of the weights.
    condition_dropout : float
        How often training replaces the image by none, for classifier-free guidance.
    n_iter_no_change : int
        Evaluations on held-out images without improvement before training stops.
    n_steps : int
        Denoiser evaluations of one draw.
    solver : "dpm" | "ddim"
        Second-order multistep solver, or DDIM.
    eta : float
        Stochasticity of DDIM: 0 is deterministic given the first noise.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"mps"``.
    random_state : int | numpy.random.Generator | numpy.random.RandomState | None
        ``None`` is a fresh generator, never the global one.
    verbose : bool | str | int | None
        As everywhere in MNE.

    Attributes
    ----------
    mean_ : ConditionalMean
        The fitted mean.
    power_ : InducedPower
        The gains of single trials that follow the image.
    residual_ : ResidualDiffusion
        The fitted distribution of residuals.
    residual_averaged_ : float
        Of how many trials each residual is the average: 1, for residuals are scaled to single
        trials, but without a mean regressor that of the training data.
    residual_mean_weight_ : float
        Weight of the diffusion model's own mean in :meth:`predict`, chosen on held-out images.
    n_features_in_ : int
        Features of one token.
    n_iter_ : int
        Gradient steps that were made.

    References
    ----------
    .. [1] Peebles & Xie (2023). Scalable diffusion models with transformers. ICCV.
    .. [2] Xu et al. (2025). Image-to-brain signal generation for visual prosthesis with CLIP
       guided multimodal diffusion models. arXiv:2509.00787.
    .. [3] Han, Zheng & Zhou (2022). CARD: classification and regression diffusion models. NeurIPS.
    """

    def __init__(
        self,
        mean_regressor: Any = "auto",
        *,
        whitening: str = "covariance",
        n_folds: int = 5,
        validation_fraction: float = 0.15,
        min_images: int = 10,
        hidden_size: int = 128,
        n_layers: int = 4,
        n_heads: int = 4,
        patch_length: int = 10,
        conditioning: str = "cross_attention",
        position: str = "both",
        tokens: str = "region",
        dropout: float = 0.0,
        schedule: str = "cosine",
        prediction_type: str = "v",
        zero_terminal_snr: bool = True,
        max_iter: int = 1500,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.05,
        ema_decay: float = 0.999,
        condition_dropout: float = 0.1,
        n_iter_no_change: int = 5,
        n_steps: int = 25,
        solver: str = "dpm",
        eta: float = 0.0,
        device: str = "auto",
        random_state: Any = None,
        verbose: bool | str | int | None = None,
    ) -> None:
        self.mean_regressor = mean_regressor
        self.whitening = whitening
        self.n_folds = n_folds
        self.validation_fraction = validation_fraction
        self.min_images = min_images
        self.hidden_size = hidden_size
        self.n_layers = n_layers
        self.n_heads = n_heads
        self.patch_length = patch_length
        self.conditioning = conditioning
        self.position = position
        self.tokens = tokens
        self.dropout = dropout
        self.schedule = schedule
        self.prediction_type = prediction_type
        self.zero_terminal_snr = zero_terminal_snr
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.ema_decay = ema_decay
        self.condition_dropout = condition_dropout
        self.n_iter_no_change = n_iter_no_change
        self.n_steps = n_steps
        self.solver = solver
        self.eta = eta
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @classmethod
    def xu2025(cls, **parameters: Any) -> Self:
        """Return the paper's model: diffusion alone, noise prediction, guided by CLIP tokens.

        The paper gives cross-attention on concatenated image and caption tokens, region and
        temporal embeddings, and DDIM. It does not give width, depth, schedule, steps or the
        training budget; chosen here are the linear schedule and noise prediction of DDPM,
        50 DDIM steps and this library's default width and depth.

        Parameters
        ----------
        **parameters
            Parameters of :class:`DiffusionRegressor` that override the preset.

        Returns
        -------
        DiffusionRegressor
        """
        preset = {
            "mean_regressor": None,
            "whitening": "scale",
            "schedule": "linear",
            "prediction_type": "noise",
            "zero_terminal_snr": False,
            "solver": "ddim",
            "n_steps": 50,
        }
        return cls(**{**preset, **parameters})

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        sample_weight: np.ndarray | None = None,
        groups: np.ndarray | None = None,
        token_mask: np.ndarray | None = None,
        regions: np.ndarray | None = None,
        subjects: np.ndarray | None = None,
        y_mask: np.ndarray | None = None,
        image_index: np.ndarray | None = None,
    ) -> Self:
        """Fit the mean, then the distribution of what it leaves over.

        1. put trials in canonical order and group them, so that no split parts an image's trials;
        2. fit the mean; predict every trial by a mean that has not seen its group;
        3. scale the residuals to one trial, divide them by gains that follow the image, and
           whiten them in space and time;
        4. train the denoiser on them until held-out images say stop;
        5. choose on held-out images how much of the denoiser's own mean to add to the mean.

        Parameters
        ----------
        X : array, shape (n_trials, n_features) | (n_trials, n_tokens, n_features) | \
                (n_trials, n_rows, n_columns, n_features)
            Image tokens; padding tokens are NaN throughout, or named by ``token_mask``.
        y : array, shape (n_trials,) | (n_trials, n_channels) | (n_trials, n_channels, n_times)
            Responses in any unit.
        sample_weight : array, shape (n_trials,) | None
            Of how many trials each row is the average. Rows of weight 0 are left out.
        groups : array, shape (n_trials,) | None
            What splits keep together (concepts). Equal images always are.
        token_mask : array of bool, shape (n_trials, n_tokens) | None
            Which tokens are real.
        regions : array of int, shape (n_channels,) | None
            The brain region of each sensor. ``None`` is one region.
        subjects : array of int, shape (n_trials,) | None
            The subject of each trial, ``0 .. n_subjects - 1``.
        y_mask : array of bool, shape (n_trials, n_channels) | None
            Which sensors each trial has; the others may be NaN in ``y``.
        image_index : array of int, shape (n_trials,) | None
            The row of ``X`` that each trial answers to. ``X`` then holds each image once, and
            its length, and that of ``token_mask``, is the number of images.

        Returns
        -------
        self : DiffusionRegressor

        Raises
        ------
        ValueError
            If shapes do not agree, values are not finite, or there are fewer than two trials.
        """
        with use_log_level(self.verbose):
            return self._fit(
                check_fit_arrays(
                    self,
                    X,
                    y,
                    sample_weight,
                    groups,
                    token_mask,
                    regions,
                    subjects,
                    y_mask,
                    image_index,
                )
            )

    def _fit(self, data: TrialArrays) -> Self:
        """Fit on checked arrays."""
        self._check_parameters()
        rng = np.random.default_rng(seed_from(self.random_state))
        # 1. canonical order, groups, folds
        data, plan = plan_splits(data, self.min_images, self.n_folds, self.validation_fraction, rng)
        tokens, image = data.tokens, data.image_index
        # 2. mean and out-of-fold residuals
        mean = ConditionalMean(self.mean_regressor, plan.by_trial)
        out_of_fold = mean.fit(
            tokens, image, data.y, data.weight, plan.fold, plan.group, data.subject, data.y_mask
        )
        self.average_response_ = np.tensordot(data.weight, data.y, axes=1) / data.weight.sum()
        # responses are not needed any more, and are large: residuals take the place of predictions
        residuals = np.subtract(data.y, out_of_fold, out=out_of_fold)
        data = dataclasses.replace(data, y=residuals)
        # 3. an average over n trials varies by 1 / sqrt(n) of a trial; without a mean regressor
        # the response to the image is in the residuals too, and does not
        weight, averaged = data.weight, 1.0
        if self.mean_regressor is None:
            averaged = float(1 / np.mean(1 / weight))
            weight = np.ones(len(weight))
        residuals *= np.sqrt(weight)[:, None, None]
        if data.y_mask is not None:
            residuals = fill_sensors(residuals, data.y_mask, same_variance=True)
        power = InducedPower()
        if self.mean_regressor is not None:
            residuals = power.fit_transform(
                residuals, image, self._regress_power(tokens, image, plan),
                by_trial=plan.by_trial, subject=data.subject,
            )  # fmt: skip
        kind = SpaceTimeWhitener if self.whitening == "covariance" else ScaleWhitener
        whitener = SubjectWhitener(kind()).fit(
            residuals, None if plan.by_trial else image, weight, data.subject
        )
        # 4. diffusion
        residual = ResidualDiffusion(
            whitener,
            NoiseScheduler(
                schedule=self.schedule,
                prediction_type=self.prediction_type,
                zero_terminal_snr=self.zero_terminal_snr,
            ),
            {
                "n_times": residuals.shape[2],
                "regions": [int(region) for region in data.regions],
                "n_features": tokens.shape[2],
                "hidden_size": self.hidden_size,
                "n_layers": self.n_layers,
                "n_heads": self.n_heads,
                "patch_length": min(self.patch_length, residuals.shape[2]),
                "conditioning": self.conditioning,
                "position": self.position,
                "tokens": self.tokens,
                "n_subjects": 0 if data.subject is None else int(data.subject.max()) + 1,
                "dropout": self.dropout,
            },
            device=self.device,
            batch_size=self.batch_size,
        )
        residual.fit(
            residuals,
            tokens,
            image,
            validation=plan.validation,
            subject=data.subject,
            y_mask=data.y_mask,
            seed=int(rng.integers(2**31)),
            max_iter=self.max_iter,
            # without a mean regressor the response to the image is the denoiser's alone
            judge_draws=None
            if self.mean_regressor is None
            else {"n_steps": self.n_steps, "solver": self.solver},
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            ema_decay=self.ema_decay,
            condition_dropout=self.condition_dropout,
            n_iter_no_change=self.n_iter_no_change,
        )
        self.mean_, self.residual_, self.residual_averaged_ = mean, residual, averaged
        self.power_ = power
        self.target_shape_ = data.target_shape
        self.n_iter_ = residual.history_.iterations[-1] if self.max_iter else 0
        self.n_features_in_ = tokens.shape[2]
        self.n_tokens_ = tokens.shape[1]
        # 5. the denoiser's own mean
        self.residual_mean_weight_ = (
            1.0
            if self.mean_regressor is None
            else residual.choose_mean_weight(
                residuals, tokens, image, data.weight, plan.validation, data.subject
            )
        )
        return self

    def _regress_power(self, tokens: np.ndarray, image: np.ndarray, plan: Any) -> Any:
        """Return what regresses scores of log power on images as the mean is regressed."""

        def regress(scores: np.ndarray) -> tuple[ConditionalMean, np.ndarray]:
            # the power of an average, scaled to one trial, is no surer than that of a trial
            weight, model = (
                np.ones(len(scores)),
                ConditionalMean(self.mean_regressor, plan.by_trial),
            )
            predicted = model.fit(tokens, image, scores[:, None], weight, plan.fold, plan.group)
            return model, predicted[:, 0]

        return regress

    def predict(
        self,
        X: np.ndarray,
        token_mask: np.ndarray | None = None,
        subjects: np.ndarray | None = None,
    ) -> np.ndarray:
        """Predict the expected response: deterministic, unguided.

        Parameters
        ----------
        X : array, shape (n_images, ...)
            Image tokens, as in :meth:`fit`.
        token_mask : array of bool, shape (n_images, n_tokens) | None
            Which tokens are real.
        subjects : array of int, shape (n_images,) | None
            Whose response; ``None`` is the average subject.

        Returns
        -------
        array, shape (n_images, n_channels, n_times) or as ``y`` was
            In the unit of ``y``.
        """
        tokens, subjects = self._check_predict(X, token_mask, subjects)
        expected, own = self._means(tokens, subjects)
        if own is not None:
            weighted = self.residual_mean_weight_ * own
            added = self.residual_.whitener.inverse_transform(weighted, subjects)
            expected = expected + self.power_.multiply(
                added, self.power_.predict(tokens), np.arange(len(tokens))
            )
        return expected.reshape(len(tokens), *self.target_shape_)

    def sample(
        self,
        X: np.ndarray,
        n_draws: int = 1,
        *,
        random_state: Any = None,
        guidance_scale: float = 1.0,
        n_averaged: int = 1,
        token_mask: np.ndarray | None = None,
        subjects: np.ndarray | None = None,
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
        n_draws : int
            How many draws of each image.
        random_state : int | numpy.random.Generator | numpy.random.RandomState | None
            ``None`` is a fresh generator, never the global one.
        guidance_scale : float
            Classifier-free guidance :math:`g`: outputs with the image are extrapolated from
            those without, :math:`o_\varnothing + g (o_c - o_\varnothing)`, on every channel; the
            mean likewise from the average response. 1 is no guidance.
        n_averaged : int
            Draw averages over that many trials; their residuals are those of single trials
            divided by :math:`\sqrt{n}`.
        token_mask : array of bool, shape (n_images, n_tokens) | None
            Which tokens are real.
        subjects : array of int, shape (n_images,) | None
            Whose response; ``None`` is the average subject.

        Returns
        -------
        array, shape (n_images, n_draws, n_channels, n_times), the last axes as ``y`` was
            In the unit of ``y``.
        """
        tokens, subjects = self._check_predict(X, token_mask, subjects)
        check_integers(n_draws=(n_draws, 1), n_averaged=(n_averaged, 1))
        if not isinstance(guidance_scale, Real) or not np.isfinite(guidance_scale):
            raise ValueError(f"guidance_scale={guidance_scale!r}; give a finite number.")
        expected, own = self._means(tokens, subjects)
        if guidance_scale != 1:
            average = self.average_response_
            expected = average + guidance_scale * (expected - average)
        power = self.power_.predict(tokens)
        noise = DrawNoise(seed_from(random_state), n_draws, self.residual_.architecture_shape)
        image = np.repeat(np.arange(len(tokens)), n_draws)
        result = np.empty((len(image), *noise.shape))
        for draws, drawn in self.residual_.draw(
            tokens, image, noise, subject=subjects, n_steps=self.n_steps, solver=self.solver,
            eta=self.eta, guidance_scale=guidance_scale,
        ):  # fmt: skip
            of, centre = image[draws], expected[image[draws]]
            whose = None if subjects is None else subjects[of]
            if own is not None:
                # centre on the prediction: the mean of draws is predict
                weighted = self.residual_mean_weight_ * own[of]
                added = self.residual_.whitener.inverse_transform(weighted, whose)
                centre = centre + self.power_.multiply(added, power, of)
                drawn = drawn - own[of]
            scatter = self.power_.multiply(self.residual_.colour(drawn, whose), power, of)
            result[draws] = centre + scatter * np.sqrt(self.residual_averaged_ / n_averaged)
        return result.reshape(len(tokens), n_draws, *self.target_shape_)

    @property
    def n_stored_trials_(self) -> int:
        """Of how many recorded trials the residuals are kept, to draw noise by."""
        check_is_fitted(self)
        return self.residual_.whitener.n_stored_trials

    def without_trials(self) -> Self:
        """Return a copy that holds no recorded trial, to be given away.

        Noise is drawn by the states of the recording, from the residuals of trials, and residuals
        and predictions together are the trials. The copy predicts the same; its draws come from one
        Gaussian with the covariance of the trials, and are told from real trials more often.

        Returns
        -------
        DiffusionRegressor
            It shares all else with this one.
        """
        check_is_fitted(self)
        bare = copy.copy(self)
        bare.residual_ = self.residual_.without_trials()
        return bare

    def _means(
        self, tokens: np.ndarray, subjects: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the mean regressor's prediction and the denoiser's own mean, whitened."""
        expected = self.mean_.predict(tokens, subjects)
        own = self.residual_.mean(tokens, subjects) if self.residual_.trained_ else None
        return expected, own

    def _check_predict(
        self, X: Any, token_mask: Any, subjects: Any
    ) -> tuple[np.ndarray, np.ndarray | None]:
        check_is_fitted(self)
        tokens = check_tokens(self, X, token_mask, reset=False)
        subjects = check_subjects(subjects, len(tokens), len(self.mean_.parts_))
        return tokens, subjects

    def _check_parameters(self) -> None:
        if self.whitening not in ("covariance", "scale"):
            raise ValueError(f"whitening={self.whitening!r}; give 'covariance' or 'scale'.")
        if self.solver not in SOLVERS:
            raise ValueError(f"solver={self.solver!r}; give one of {sorted(SOLVERS)}.")
        if not 0 < self.validation_fraction < 1:
            raise ValueError(
                f"validation_fraction={self.validation_fraction!r}; give a number between 0 and 1."
            )
        check_integers(
            n_folds=(self.n_folds, 2),
            min_images=(self.min_images, 2),
            max_iter=(self.max_iter, 0),
            batch_size=(self.batch_size, 1),
            n_steps=(self.n_steps, 1),
        )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.target_tags.multi_output = True
        tags.non_deterministic = self.random_state is None
        return tags
