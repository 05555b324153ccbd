"""Denoiser: single-trial noise given the image, by a conditional diffusion transformer."""

import copy
import dataclasses
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Self, cast

import numpy as np
import torch
from sklearn.base import BaseEstimator

from .._parameters import Integer, Number, all_or_nothing, check_parameters
from .._torch import resolve_device, seeded_init
from ..noise.trial_power import TrialPower
from ..trials.scaled_tokens import ScaledTokens
from .dit import CONDITIONINGS, POSITIONS, TOKENS, BrainDiT, check_size
from .drawing import draw_whitened, mean_residuals
from .gaussian import GaussianPart
from .scheduler import PREDICTIONS, SCHEDULES, NoiseScheduler
from .training import train_denoiser

if TYPE_CHECKING:
    from ..noise.subject_noise import SubjectNoise
    from ..noise.whitening import SpaceTimeWhitener
    from ..trials.checks import TrialArrays
    from ..trials.splits import SplitPlan

N_TIMESTEPS = 1000  # of the forward process
_LEAST_STEPS = 1500
_PASSES = 120
_OF_NETWORK = (
    "hidden_size", "n_layers", "n_heads", "conditioning", "position", "tokens", "dropout",
)  # fmt: skip


class Denoiser(BaseEstimator):
    r"""A diffusion transformer that draws what single trials do around the mean.

    Residuals are whitened in space and time, beside a mean half-way, so that strong directions
    still stand out: :math:`x_0 \propto \Sigma^{1/4} W r`. A transformer [1]_ [2]_ learns to denoise
    :math:`x_t = \sqrt{\bar\alpha_t} x_0 + \sqrt{1 - \bar\alpha_t}\,\epsilon`: it predicts

    .. math:: v = \sqrt{\bar\alpha_t}\,\epsilon - \sqrt{1 - \bar\alpha_t}\,x_0, \qquad
        \min_\theta E \lVert v_\theta(x_t, t, c) - v \rVert^2.

    Beside a mean it is told the power of the trial, the scores of its log power on eight principal
    components, and adds to what a Gaussian with that covariance predicts. So an untrained denoiser
    *is* the Gaussian model, and training starts there.

    The constructor only stores what is asked for; it is given as ``noise`` to
    :class:`~mne_img2brain.DiffusionRegressor`, which fits it.

    Parameters
    ----------
    hidden_size, n_layers, n_heads : int, default 128, 4 and 4
        Width, depth and attention heads.
    patch_length : int, default 10
        Time points of one response token.
    tokens : "region" | "channel", default "region"
        What one response token spans in space.
    position : "both" | "region" | "time" | "none", default "both"
        Which of the brain-region and temporal embeddings place the response tokens.
    conditioning : "cross_attention" | "addition" | "concatenation", default "cross_attention"
        How image tokens reach the denoiser.
    dropout : float, default 0.1
        Dropout in the network.
    schedule : "cosine" | "linear", default "cosine"
        Noise schedule.
    prediction_type : "v" | "x0" | "noise", default "v"
        What the denoiser predicts. ``"noise"`` needs ``zero_terminal_snr=False``.
    zero_terminal_snr : bool, default True
        Whether the last timestep is pure noise.
    whitening : "covariance" | "scale", default "covariance"
        Whiten residuals in space and time, or only divide by each sensor's SD.
    validation_fraction : float, default 0.15
        The part of the trials, by whole groups, that decides when training stops.
    max_iter : int | None, default None
        Gradient steps at most. ``None`` follows the number of trials: as many as show each trial
        120 times, at least 1500. With 0 no transformer is trained.
    batch_size : int, default 256
        Trials in one gradient step, and responses denoised at once: in parts where memory is short.
    learning_rate, weight_decay, ema_decay : float, default 0.001, 0.05 and 0.999
        Of AdamW and of the exponential moving average of the weights.
    condition_dropout : float, default 0.1
        How often training replaces the image by none, for classifier-free guidance.
    n_iter_no_change : int, default 5
        Evaluations on held-out images without improvement before training stops. There are twenty
        of them, at least 100 steps apart; beside a mean, and with ``max_iter=None``, the first has
        to improve on the untrained denoiser.
    interrupt : "raise" | "keep", default "raise"
        What Ctrl-C does while it trains: ``"raise"`` ends the fit, and the one before it stays;
        ``"keep"`` ends the training, and the fit goes on with the best weights so far.

    Attributes
    ----------
    network_ : BrainDiT
        The trained network.
    history_ : TrainingHistory
        What training did.
    mean_weight_ : float
        Weight of the denoiser's own mean in predictions: 1 where no other mean was fitted, else 0.

    References
    ----------
    .. [1] Peebles & Xie (2023). Scalable diffusion models with transformers. ICCV.
    .. [2] Xu et al. (2025). Image-to-brain signal generation for visual prosthesis with CLIP
       guided multimodal diffusion models. arXiv:2509.00787.

    See Also
    --------
    mne_img2brain.DiffusionRegressor : Fits it to what the mean leaves over.

    Examples
    --------
    >>> from mne_img2brain import Denoiser, DiffusionRegressor
    >>> regressor = DiffusionRegressor(noise=Denoiser(hidden_size=64, n_layers=2))
    >>> regressor.set_params(noise__max_iter=500).noise.max_iter
    500
    """

    def __init__(
        self,
        hidden_size: int = 128,
        n_layers: int = 4,
        n_heads: int = 4,
        patch_length: int = 10,
        *,
        tokens: str = "region",
        position: str = "both",
        conditioning: str = "cross_attention",
        dropout: float = 0.1,
        schedule: str = "cosine",
        prediction_type: str = "v",
        zero_terminal_snr: bool = True,
        whitening: str = "covariance",
        validation_fraction: float = 0.15,
        max_iter: int | None = None,
        batch_size: int = 256,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.05,
        ema_decay: float = 0.999,
        condition_dropout: float = 0.1,
        n_iter_no_change: int = 5,
        interrupt: str = "raise",
    ) -> None:
        self.hidden_size = hidden_size
        self.n_layers = n_layers
        self.n_heads = n_heads
        self.patch_length = patch_length
        self.tokens = tokens
        self.position = position
        self.conditioning = conditioning
        self.dropout = dropout
        self.schedule = schedule
        self.prediction_type = prediction_type
        self.zero_terminal_snr = zero_terminal_snr
        self.whitening = whitening
        self.validation_fraction = validation_fraction
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.ema_decay = ema_decay
        self.condition_dropout = condition_dropout
        self.n_iter_no_change = n_iter_no_change
        self.interrupt = interrupt

    @all_or_nothing
    def fit(
        self,
        data: "TrialArrays",
        plan: "SplitPlan",
        whitener: "SubjectNoise",
        *,
        around_mean: bool = True,
        seed: int = 0,
        device: str = "auto",
        checkpoint: str | os.PathLike | None = None,
    ) -> Self:
        """Train the network on residuals.

        Parameters
        ----------
        data : TrialArrays
            ``y`` is what the mean leaves over, scaled to single trials.
        plan : SplitPlan
            ``validation`` chooses when to stop.
        whitener : SubjectNoise
            Fitted on the residuals.
        around_mean : bool, default True
            Whether a mean was taken off: only then the power of ``data.y`` is that of noise.
        seed : int, default 0
            Of the initial weights and of the training noise.
        device : str, default "auto"
            Where the network runs.
        checkpoint : path-like | None, default None
            A folder to keep the training in.

        Returns
        -------
        self : Denoiser
        """
        self.check_parameters()
        self.device_, self.whitener_, self.mean_weight_ = device, whitener, float(not around_mean)
        self.scheduler_, self.power_, scores = self._scheduler(), None, None
        if around_mean and self.whitening == "covariance":
            self.power_ = TrialPower()
            scores = self.power_.fit(data.y, data.subject, np.random.default_rng(seed))
        self.architecture_ = {
            "n_times": data.y.shape[2],
            "regions": [int(region) for region in data.regions],
            "n_features": data.tokens.shape[2],
            **{name: getattr(self, name) for name in _OF_NETWORK},
            "patch_length": min(self.patch_length, data.y.shape[2]),
            "n_power": 0 if self.power_ is None else self.power_.n_scores,
            "n_subjects": 0 if data.subject is None else int(data.subject.max()) + 1,
        }
        self.scaled_ = ScaledTokens.fit(data.tokens)
        self.network_ = self.build(self.architecture_, seed)
        x0 = self.half_colour(whitener.transform(data.y, data.subject))
        self.history_ = train_denoiser(
            self, self.network_, dataclasses.replace(data, y=x0), scores, plan.validation,
            seed=seed, checkpoint=checkpoint,
        )  # fmt: skip
        self.scaled_ = self.scaled_.of(np.empty((0, *data.tokens.shape[1:]), np.float32))
        return self

    def steps_for(self, n_trials: int) -> int:
        """Return the gradient steps at most: ``max_iter``, or what so many trials want."""
        if self.max_iter is not None:
            return self.max_iter
        return max(_LEAST_STEPS, int(_PASSES * n_trials / self.batch_size))

    def check_parameters(self) -> None:
        """Raise a ValueError that names the first parameter that cannot be."""
        check_parameters(
            self, hidden_size=Integer(1, 8192), n_layers=Integer(1, 256), n_heads=Integer(1),
            patch_length=Integer(1), tokens=TOKENS, position=POSITIONS, conditioning=CONDITIONINGS,
            dropout=Number(0, 1, closed="low"), schedule=SCHEDULES, prediction_type=PREDICTIONS,
            zero_terminal_snr=bool, whitening=("covariance", "scale"),
            validation_fraction=Number(0, 0.9, closed="high"), max_iter=(Integer(0), None),
            batch_size=Integer(1), learning_rate=Number(0, 1, closed="high"),
            weight_decay=Number(0), ema_decay=Number(0, 1, closed="low"),
            condition_dropout=Number(0, 1), n_iter_no_change=Integer(1),
            interrupt=("raise", "keep"),
        )  # fmt: skip
        if self.hidden_size % self.n_heads:
            raise ValueError(
                f"hidden_size={self.hidden_size} is not a multiple of n_heads={self.n_heads}; each "
                "head takes an equal part of the width."
            )
        self._scheduler()

    def _scheduler(self) -> NoiseScheduler:
        """Return the forward process; parameters that do not go together are an error."""
        return NoiseScheduler(
            N_TIMESTEPS, schedule=self.schedule, prediction_type=self.prediction_type,
            zero_terminal_snr=self.zero_terminal_snr,
        )  # fmt: skip

    @property
    def _pooled(self) -> "SpaceTimeWhitener":
        """The whitener that residuals of all subjects are half coloured by."""
        return cast("SpaceTimeWhitener", self.whitener_.pooled.whitener_)

    def build(self, architecture: dict, seed: int = 0) -> BrainDiT:
        """Make an untrained network on the device."""
        with seeded_init(seed):
            network = BrainDiT(**architecture)
        if self.power_ is not None:
            network.gaussian = GaussianPart(self._pooled, self.scheduler_)
        return network.to(resolve_device(self.device_)).eval()

    def half_colour(self, whitened: np.ndarray) -> np.ndarray:
        """Return what the network is trained on, for white residuals, in float32."""
        if self.power_ is not None:
            whitened = self._pooled.half_colour(whitened)
        return whitened.astype(np.float32, copy=False)

    def residuals(self, x0: np.ndarray, subject: np.ndarray | None) -> np.ndarray:
        """Return the residuals of what the network draws, in their unit."""
        if self.power_ is not None:
            x0 = self._pooled.half_whiten(x0)
        return self.whitener_.inverse_transform(x0, subject)

    def mean(self, tokens: np.ndarray, subject: np.ndarray | None = None) -> np.ndarray:
        r"""Return the mean of the model's whitened residuals, in one pass.

        At the last timestep of a schedule with zero terminal SNR the input is pure noise, and the
        best prediction of :math:`x_0` from it is :math:`E[x_0 \mid \text{image}]`. Without zero
        terminal SNR it is the mean of eight draws of 50 steps, whose noise is that of all images.

        Parameters
        ----------
        tokens : array, shape (n_images, n_tokens, n_features)
            The images; NaN pads.
        subject : array of int, shape (n_images,) | None, default None
            Whose residuals; ``None`` is the average subject.

        Returns
        -------
        array, shape (n_images, n_channels, n_times)
            As the network is trained: white, or half-white.
        """
        return mean_residuals(self, tokens, subject)

    def draw(
        self,
        tokens: np.ndarray,
        image_index: np.ndarray,
        numbers: Callable,
        *,
        subject: np.ndarray | None = None,
        n_steps: int | None = None,
        solver: str | None = None,
        eta: float = 0.0,
        guidance_scale: float = 1.0,
        own_mean: np.ndarray | None = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Draw residuals of single trials, a batch at a time.

        Parameters
        ----------
        tokens : array, shape (n_images, n_tokens, n_features)
            The images; NaN pads.
        image_index : array of int, shape (n_draws,)
            Which image each draw is for.
        numbers : callable
            ``numbers(draws)`` yields standard normal numbers, shape (n_batch, n_channels, n_times):
            what draws start from, beside a mean what their power comes from, and what they meet
            at each step (if ``eta`` > 0).
        subject, n_steps, solver, eta, guidance_scale
            As in :meth:`mean` and :meth:`mne_img2brain.DiffusionRegressor.sample`.
        own_mean : array, shape (n_images, n_channels, n_times) | None, default None
            What :meth:`mean` returned: taken off, so that draws have the mean zero.

        Yields
        ------
        draws, residuals : array, shape (n_batch,) and (n_batch, n_channels, n_times)
            Which draws these are; in the unit of the residuals.
        """
        for draws, drawn in draw_whitened(
            self, tokens, image_index, numbers, subject, n_steps, solver, eta, guidance_scale
        ):
            image = image_index[draws]
            if own_mean is not None:
                drawn = drawn - own_mean[image]
            whose = None if subject is None else subject[image]
            yield draws, self.residuals(drawn, whose)

    @property
    def n_stored_trials(self) -> int:
        """How many recorded trials it keeps: none."""
        return self.whitener_.n_stored_trials

    def without_trials(self) -> Self:
        """Return a copy that keeps no recorded trial; the network is the same."""
        bare = copy.copy(self)
        bare.whitener_ = self.whitener_.without_trials(gaussian=False)
        return bare

    def get_state(self) -> dict:
        """Return what prediction needs, weights as arrays."""
        if not hasattr(self, "network_"):
            return dict(vars(self))
        state = {name: value for name, value in vars(self).items() if name != "network_"}
        state["device_"] = "auto"
        state["weights"] = {
            name: value.detach().cpu().numpy() for name, value in self.network_.state_dict().items()
        }
        return state

    @classmethod
    def from_state(cls, state: dict) -> Self:
        """Make a fitted model from what :meth:`get_state` returned."""
        self = cls.__new__(cls)
        weights = state.pop("weights", None)
        self.__dict__.update({"power_": None, **state})  # of before power: white residuals
        if weights is not None:
            check_size(self.architecture_, weights)
            self.network_ = self.build(self.architecture_)
            self.network_.load_state_dict({k: torch.as_tensor(v) for k, v in weights.items()})
        return self

    @property
    def shape_(self) -> tuple[int, int]:
        """Shape of one response: (n_channels, n_times)."""
        return len(self.architecture_["regions"]), self.architecture_["n_times"]

    def to(self, device: str) -> Self:
        """Move the denoiser; later calls run there."""
        self.device_ = device
        self.network_.to(resolve_device(device))
        return self
