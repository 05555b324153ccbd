"""DiffusionRegressor: image tokens in, distributions of responses out. Arrays only."""

import copy
import dataclasses
import os
from numbers import Integral, Real
from time import perf_counter
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from .._log import logger, progress, use_log_level, warn
from .._parameters import Integer, Number, all_or_nothing, check_parameters
from .._torch import resolve_device, seed_from
from ..diffusion import Denoiser, DrawNoise, kept_seed
from ..diffusion.denoiser import N_TIMESTEPS, SOLVERS
from ..diffusion.processes import Processes
from ..diffusion.selection import LEAST_TRIALS, NoiseSummary, compare_draws
from ..mean.conditional_mean import ConditionalMean
from ..metrics.cross_validated import images_at_fault
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
from ..trials.scores import ResponseScoreMixin
from ..trials.splits import SplitPlan, plan_splits
from .adaptation import adapt_regressor

if TYPE_CHECKING:
    from .._types import RandomState


_MOST_GUIDANCE = 100  # times the effect of an image: more is a slip of the keyboard


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
        :class:`~mne_img2brain.mean.KernelMeanRegressor`; any other regressor sees tokens
        pooled to one vector per image. ``None`` subtracts the average response only, and leaves
        everything else to diffusion, as the paper does.
    noise : "auto" | "gaussian" | Denoiser, default "auto"
        What draws single trials around the mean. A :class:`~mne_img2brain.Denoiser` is the
        transformer that is trained on what the mean leaves over, and ``"auto"`` is ``Denoiser()``;
        where it is not kept, and trials are not Gaussian, residuals of recorded trials are stored
        to draw by clusters of them, and together with predictions they are the trials.
        ``"gaussian"`` keeps no recorded trial: it draws by their covariance and the gains of
        rhythms, which classifiers separate from recorded trials more often.
    max_iter : int | None, default None
        Gradient steps of the transformer at most; ``None`` leaves them to ``noise``; where that
        leaves them open too, no transformer is trained beside a mean on fewer than 30,000 trials:
        with 16,000 it was no better than power and clusters. With 0 there is none.
    n_folds : int, default 5
        Folds of the out-of-fold residuals, by default 5.
    min_images : int, default 10
        With fewer distinct images, by default 10, splits are by trial, with a warning.
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
    noise_ : Denoiser | SubjectWhitener
        What draws single trials: the transformer, where it was kept.
    residual_averaged_ : float
        Of how many trials each residual is the average: 1, for residuals are scaled to single
        trials, but without a mean regressor that of the training data.
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
        mean: Any = "auto",
        noise: Any = "auto",
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
        temporal embeddings, and DDIM. It does not give width, depth, schedule, steps or the
        training budget; chosen here are the linear schedule and noise prediction of DDPM,
        and this library's default width and depth. Noise prediction is drawn by 50 DDIM steps
        unless :meth:`sample` is told otherwise.

        Parameters
        ----------
        **parameters
            Parameters of :class:`DiffusionRegressor` or :class:`~mne_img2brain.Denoiser` that
            override the preset.

        Returns
        -------
        DiffusionRegressor
        """
        own = set(cls().get_params(deep=False))
        network = {
            "whitening": "scale",
            "schedule": "linear",
            "prediction_type": "noise",
            "zero_terminal_snr": False,
            **{name: value for name, value in parameters.items() if name not in own},
        }
        given = {name: value for name, value in parameters.items() if name in own}
        return cls(**{"mean": None, "noise": Denoiser(**network), **given})

    @all_or_nothing
    def fit(
        self,
        X: Any,
        y: Any,
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
            The row of ``X`` that each trial answers to. ``X`` then holds each image once, and
            its length is the number of images.
        checkpoint : path-like | None, default None
            A folder in which the training of the denoiser is kept while it runs. Where a fit to the
            same data with the same parameters was stopped, training goes on from there (the mean,
            which takes a small part of the time, is fitted again), and ends with the same weights.

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
            return self._fit(
                check_fit_arrays(
                    self,
                    X,
                    y,
                    sample_weight,
                    groups,
                    regions,
                    subjects,
                    y_mask,
                    image_index,
                ),
                checkpoint,
            )

    def _fit(self, data: TrialArrays, checkpoint: str | os.PathLike | None) -> Self:
        """Fit on checked arrays."""
        denoiser = self._denoiser()
        resolve_device(self.device)
        seed, processes = seed_from(self.random_state), Processes()
        if checkpoint is not None and not isinstance(self.random_state, Integral):
            seed = seed if processes.rank else kept_seed(checkpoint, seed)
        seed = processes.share(seed)
        rng = np.random.default_rng(seed)
        # 1. canonical order, groups, folds
        data, plan = plan_splits(
            data, self.min_images, self.n_folds, denoiser.validation_fraction, rng
        )
        # 2. mean and out-of-fold residuals
        mean = ConditionalMean(
            self.mean,
            plan.by_trial,
            n_folds=self.n_folds,
            min_images=self.min_images,
            random_state=int(rng.integers(2**31)),
        )
        kept: list = []  # what power has in common with the mean
        out_of_fold = mean.fit(data, plan, kept)
        average = _average(data)
        said = images_at_fault(
            mean.cross_validated_, data.tokens, data.y, data.image_index, data.weight
        )
        if said:
            warn(said)
        # responses are not needed any more, and are large: residuals take the place of predictions
        residuals = np.subtract(data.y, out_of_fold, out=out_of_fold)
        # 3. an average over n trials varies by 1 / sqrt(n) of a trial; without a mean regressor
        # the response to the image is in the residuals too, and does not
        weight, averaged = data.weight, 1.0
        if self.mean is None:
            averaged = float(1 / np.mean(1 / weight))
            weight = np.ones(len(weight))
        residuals *= np.sqrt(weight)[:, None, None]
        if data.y_mask is not None:
            residuals = fill_sensors(residuals, data.y_mask, same_variance=True)
        power = InducedPower()
        if self.mean is not None:
            residuals = power.fit_transform(
                residuals, data.image_index, lambda v: mean.regress(v, data, plan, kept),
                by_trial=plan.by_trial, subject=data.subject,
            )  # fmt: skip
        kept.clear()
        data = dataclasses.replace(data, y=residuals)
        whitener: Any = ScaleWhitener()
        if denoiser.whitening == "covariance":
            whitener = SpaceTimeWhitener(draws_only=not self._trains(denoiser, data))
        groups = None if plan.by_trial else data.image_index
        noise: Any = SubjectWhitener(whitener).fit(residuals, groups, weight, data.subject)
        noise = noise.without_trials() if self._gaussian else noise
        # 4. the transformer, where it helps on images held out
        seed = int(rng.integers(2**31))
        noise, summary = self._choose_noise(denoiser, data, plan, noise, seed, checkpoint)
        summary.n_bands = len(power.bands_)
        logger.info(f"Single trials are drawn by {summary}.")
        if noise.n_stored_trials:
            logger.info(
                f"Residuals of {noise.n_stored_trials} recorded trials are kept to draw by; "
                "noise='gaussian' leaves them out."
            )
        self.mean_, self.noise_, self.residual_averaged_ = mean, noise, averaged
        self.power_, self.average_response_ = power, average
        self.noise_summary_, self.n_iter_ = summary, summary.n_iter
        self.history_, self.target_shape_ = getattr(denoiser, "history_", None), data.target_shape
        self.n_tokens_, self.n_features_in_ = data.tokens.shape[1:]
        return self

    @property
    def cross_validated_r_(self) -> float:
        """Correlation across images left out within fit; NaN without a mean regressor."""
        return self.mean_.cross_validated_.r

    @property
    def cross_validated_p_(self) -> float:
        """How probable such a correlation is under chance."""
        return self.mean_.cross_validated_.p_value

    def _choose_noise(
        self,
        denoiser: Denoiser,
        data: TrialArrays,
        plan: SplitPlan,
        noise: Any,
        seed: int,
        checkpoint: str | os.PathLike | None,
    ) -> tuple[Any, NoiseSummary]:
        """Train the transformer where it can win, and return what draws: it, or ``noise``."""
        summary = NoiseSummary(
            kept="trial clusters" if noise.n_stored_trials else "one Gaussian",
            n_trials=len(data.y),
        )
        needed = self.mean is None  # there is nothing else that knows the image
        if denoiser.max_iter is None and not self._trains(denoiser, data):
            summary.reason = (
                f"not trained on fewer than {LEAST_TRIALS:,} trials unless max_iter asks"
            )
        elif self._trains(denoiser, data):
            start = perf_counter()
            denoiser.fit(data, plan, noise, seed=seed, device=self.device, checkpoint=checkpoint)
            summary.n_iter = denoiser.history_.iterations[-1]
            if denoiser.history_.best_iter == 0:
                summary.reason = "it did not lower the loss on images held out"
            elif needed:
                summary.reason = "the only one that knows the image"
            else:
                summary.compare(compare_draws(denoiser, data, plan, seed))
            if denoiser.history_.best_iter > 0 and (needed or summary.helps):
                summary.kept, noise = "the transformer", denoiser.without_trials()
                noise.mean_weight_ = float(needed)
            summary.seconds = perf_counter() - start
        return noise, summary

    def _trains(self, denoiser: Denoiser, data: TrialArrays) -> bool:
        """Tell whether the transformer is trained: where asked for, needed, or likely to help."""
        if denoiser.max_iter is None:
            return self.mean is None or len(data.y) >= LEAST_TRIALS
        return denoiser.max_iter > 0

    @property
    def _gaussian(self) -> bool:
        """Whether noise is drawn without transformer and without recorded trials."""
        return isinstance(self.noise, str) and self.noise == "gaussian"

    def _denoiser(self) -> Denoiser:
        """Return the transformer to be fitted, with all parameters checked."""
        check_parameters(
            self,
            n_folds=Integer(2),
            min_images=Integer(2),
            max_iter=(Integer(0), None),
            noise=("auto", "gaussian", Denoiser),
        )
        predicts = hasattr(self.mean, "fit") and hasattr(self.mean, "predict")
        if isinstance(self.mean, type) or not (
            predicts or self.mean is None or (isinstance(self.mean, str) and self.mean == "auto")
        ):
            raise ValueError(
                f"mean={self.mean!r}; give 'auto', a regressor such as Ridge(), or None."
            )
        denoiser = Denoiser() if isinstance(self.noise, str) else clone(self.noise)
        if self._gaussian:
            return denoiser.set_params(max_iter=0)
        if self.max_iter is not None:
            denoiser.set_params(max_iter=self.max_iter)
        denoiser.check_parameters()
        return denoiser

    def predict(
        self,
        X: np.ndarray,
        subjects: np.ndarray | None = None,
    ) -> np.ndarray:
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
        if getattr(self.noise_, "mean_weight_", 0):
            expected, power = self._means(tokens, subjects)
            own = self.noise_.mean(tokens, subjects)
            expected = expected + self._own_mean(own, power, subjects)
        else:
            expected = self.mean_.predict(tokens, subjects)
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
            Draw averages over that many trials; their residuals are those of single trials
            divided by :math:`\sqrt{n}`.
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
        check_integers(
            n_draws=(n_draws, 1), n_averaged=(n_averaged, 1), first_image=(first_image, 0)
        )
        if not isinstance(guidance_scale, Real) or not abs(guidance_scale) <= _MOST_GUIDANCE:
            raise ValueError(
                f"guidance_scale={guidance_scale!r}; give a number within {_MOST_GUIDANCE}: 0 "
                "ignores the image, 1 is no guidance, 2 doubles its effect."
            )
        if solver not in (None, *SOLVERS):
            raise ValueError(f"solver={solver!r}; give one of {sorted(SOLVERS)}, or None.")
        if n_steps is not None and n_steps not in Integer(1, N_TIMESTEPS):
            raise ValueError(f"n_steps={n_steps!r}; give {Integer(1, N_TIMESTEPS)} or None.")
        if eta not in Number(0, 1):
            raise ValueError(f"eta={eta!r}; give {Number(0, 1)}.")
        if eta > 0 and solver == "dpm":
            raise ValueError(f"eta={eta!r}, but 'dpm' is deterministic; give solver='ddim' or 0.")
        expected, power = self._means(tokens, subjects)
        own = self.noise_.mean(tokens, subjects)
        if guidance_scale != 1:
            average = self.average_response_
            expected = average + guidance_scale * (expected - average)
        if own is not None:
            expected = expected + self._own_mean(own, power, subjects)
        noise = DrawNoise(seed_from(random_state), n_draws, expected.shape[1:], first_image)
        image = np.repeat(np.arange(len(tokens)), n_draws)
        result = np.empty((len(image), *expected.shape[1:]))
        done = progress(len(image), "Drawing")
        # draws have the mean zero: the mean of what is returned is predict
        for draws, scatter in self.noise_.draw(
            tokens, image, noise, subject=subjects, own_mean=own, n_steps=n_steps, solver=solver,
            eta=eta, guidance_scale=guidance_scale,
        ):  # fmt: skip
            scatter = self.power_.multiply(scatter, power, image[draws], guidance_scale)
            scatter = scatter * np.sqrt(self.residual_averaged_ / n_averaged)
            result[draws] = expected[image[draws]] + scatter
            done(len(draws))
        return result.reshape(len(tokens), n_draws, *self.target_shape_)

    def adapt(
        self,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        groups: Any = None,
        y_mask: Any = None,
        image_index: Any = None,
    ) -> int:
        """Learn one more subject; what was learnt of the others, and of all, stays as it is.

        The mean gets a spatial layer over the response of the average subject, the noise a
        covariance of the subject's own, and the denoiser, where one is used, one more embedding.

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

        Noise is drawn by the states of the recording, from the residuals of trials, and residuals
        and predictions together are the trials. The copy predicts the same; its draws come from one
        Gaussian with the covariance of the trials, and are easier to separate from real trials.

        Returns
        -------
        DiffusionRegressor
            It shares all else with this one.
        """
        check_is_fitted(self)
        bare = copy.copy(self)
        bare.noise_ = self.noise_.without_trials()
        if self.n_stored_trials_ and hasattr(self, "noise_summary_"):  # early versions had none
            bare.noise_summary_ = dataclasses.replace(self.noise_summary_, kept="one Gaussian")
        return bare

    def _means(
        self, tokens: np.ndarray, subjects: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean regressor's prediction, and the scores of power that follows images."""
        expected, power = self.mean_.predict_with(self.power_.regressor_, tokens, subjects)
        return expected, np.zeros((len(tokens), 0)) if power is None else power[:, 0]

    def _own_mean(
        self, own: np.ndarray, power: np.ndarray, subjects: np.ndarray | None
    ) -> np.ndarray:
        """Return what the transformer's own mean adds to the response."""
        added = self.noise_.mean_response(own, subjects)
        return self.power_.multiply(added, power, np.arange(len(own)))

    def _check_predict(self, X: Any, subjects: Any) -> tuple[np.ndarray, np.ndarray | None]:
        check_is_fitted(self)
        tokens = check_tokens(self, X, reset=False)
        subjects = check_subjects(subjects, len(tokens), len(self.mean_.parts_))
        return tokens, subjects

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.target_tags.multi_output = True
        tags.non_deterministic = self.random_state is None
        return tags


def _average(data: TrialArrays) -> np.ndarray:
    """Return the average response, of each sensor over the trials that have it."""
    if data.y_mask is None:
        return np.tensordot(data.weight, data.y, axes=1) / data.weight.sum()
    weight = data.weight[:, None] * data.y_mask
    total = np.maximum(weight.sum(axis=0), np.finfo(float).tiny)
    return np.einsum("ic,ict->ct", weight, data.y) / total[:, None]
