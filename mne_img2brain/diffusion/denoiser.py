"""Denoiser: single-trial noise given the image, by a conditional diffusion transformer."""

import copy
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator

from .._parameters import Integer, Number, all_or_nothing, check_parameters
from .._torch import accelerated, evaluating, resolve_device, seeded_init
from ..trials.scaled_tokens import ScaledTokens
from .dit import CONDITIONINGS, POSITIONS, TOKENS, BrainDiT
from .sampling import ddim, dpm_solver, guided
from .scheduler import PREDICTIONS, SCHEDULES, NoiseScheduler
from .training import train_denoiser

if TYPE_CHECKING:
    from ..noise.by_subject import SubjectWhitener
    from ..trials.checks import TrialArrays
    from ..trials.splits import SplitPlan

N_TIMESTEPS = 1000  # of the forward process
_LEAST_STEPS = 1500
_PASSES = 12
_EVALUATIONS = 20  # of a training; by default a quarter of them without a gain ends it
_LEAST_BETWEEN = 100  # gradient steps
SOLVERS = {"ddim": ddim, "dpm": dpm_solver}


class Denoiser(BaseEstimator):
    r"""A diffusion transformer that draws what single trials do around the mean.

    Residuals are whitened in space and time, :math:`x_0 = W r`, and a transformer [1]_ [2]_ learns
    to denoise :math:`x_t = \sqrt{\bar\alpha_t} x_0 + \sqrt{1 - \bar\alpha_t}\,\epsilon`: it
    predicts

    .. math:: v = \sqrt{\bar\alpha_t}\,\epsilon - \sqrt{1 - \bar\alpha_t}\,x_0, \qquad
        \min_\theta E \lVert v_\theta(x_t, t, c) - v \rVert^2.

    In whitened space a denoiser that returns zero *is* the Gaussian model, so training starts
    there.

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
    dropout : float, default 0.0
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
        12 times, at least 1500. With 0 no transformer is trained.
    batch_size : int, default 64
        Trials in one gradient step, and responses denoised at once.
    learning_rate, weight_decay, ema_decay : float, default 0.001, 0.05 and 0.999
        Of AdamW and of the exponential moving average of the weights.
    condition_dropout : float, default 0.1
        How often training replaces the image by none, for classifier-free guidance.
    n_iter_no_change : int, default 5
        Evaluations on held-out images without improvement before training stops.
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
        dropout: float = 0.0,
        schedule: str = "cosine",
        prediction_type: str = "v",
        zero_terminal_snr: bool = True,
        whitening: str = "covariance",
        validation_fraction: float = 0.15,
        max_iter: int | None = None,
        batch_size: int = 64,
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
        whitener: "SubjectWhitener",
        *,
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
        whitener : SubjectWhitener
            Fitted on the residuals.
        seed : int
            Of the initial weights and of the training noise.
        device : str
            Where the network runs.
        checkpoint : path-like | None
            A folder to keep the training in, as in :func:`~mne_img2brain.diffusion.train_denoiser`.

        Returns
        -------
        self : Denoiser
        """
        self.check_parameters()
        self.device_, self.whitener_, self.mean_weight_ = device, whitener, 1.0
        self.scheduler_ = self._scheduler()
        self.architecture_ = {
            "n_times": data.y.shape[2],
            "regions": [int(region) for region in data.regions],
            "n_features": data.tokens.shape[2],
            "hidden_size": self.hidden_size,
            "n_layers": self.n_layers,
            "n_heads": self.n_heads,
            "patch_length": min(self.patch_length, data.y.shape[2]),
            "conditioning": self.conditioning,
            "position": self.position,
            "tokens": self.tokens,
            "n_subjects": 0 if data.subject is None else int(data.subject.max()) + 1,
            "dropout": self.dropout,
        }
        self.scaled_ = ScaledTokens.fit(data.tokens)
        self._build(seed)
        whitened = whitener.transform(data.y, data.subject).astype(np.float32, copy=False)
        n_steps = self.steps_for(len(whitened))
        self.history_ = self.train(
            self.network_, whitened, data, plan, seed=seed, max_iter=n_steps,
            eval_every=max(_LEAST_BETWEEN, n_steps // _EVALUATIONS),
            learning_rate=self.learning_rate, weight_decay=self.weight_decay,
            checkpoint=checkpoint,
        )  # fmt: skip
        self.scaled_ = self.scaled_.of(np.empty((0, *data.tokens.shape[1:]), np.float32))
        return self

    def train(
        self, network: BrainDiT, whitened: np.ndarray, data: "TrialArrays", plan: "SplitPlan",
        **options: Any,
    ) -> Any:  # fmt: skip
        """Train a network of this denoiser on whitened residuals: its TrainingHistory."""
        tokens = self.scaled_.of(data.tokens)
        return train_denoiser(
            network,
            whitened,
            tokens,
            image_index=data.image_index,
            scheduler=self.scheduler_,
            token_mask=tokens.mask,
            subjects=data.subject,
            y_mask=data.y_mask,
            validation=plan.validation,
            batch_size=self.batch_size,
            ema_decay=self.ema_decay,
            condition_dropout=self.condition_dropout,
            n_iter_no_change=self.n_iter_no_change,
            interrupt=self.interrupt,
            device=resolve_device(self.device_),
            **options,
        )

    def steps_for(self, n_trials: int) -> int:
        """Return the gradient steps at most: ``max_iter``, or what so many trials want."""
        if self.max_iter is not None:
            return self.max_iter
        return max(_LEAST_STEPS, int(_PASSES * n_trials / self.batch_size))

    def check_parameters(self) -> None:
        """Raise a ValueError that names the first parameter that cannot be."""
        check_parameters(
            self,
            hidden_size=Integer(1, 8192),
            n_layers=Integer(1, 256),
            n_heads=Integer(1),
            patch_length=Integer(1),
            tokens=TOKENS,
            position=POSITIONS,
            conditioning=CONDITIONINGS,
            dropout=Number(0, 1, closed="low"),
            schedule=SCHEDULES,
            prediction_type=PREDICTIONS,
            zero_terminal_snr=bool,
            whitening=("covariance", "scale"),
            validation_fraction=Number(0, 0.9, closed="high"),
            max_iter=(Integer(0), None),
            batch_size=Integer(1),
            learning_rate=Number(0, 1, closed="high"),
            weight_decay=Number(0),
            ema_decay=Number(0, 1, closed="low"),
            condition_dropout=Number(0, 1),
            n_iter_no_change=Integer(1),
            interrupt=("raise", "keep"),
        )
        if self.hidden_size % self.n_heads:
            raise ValueError(
                f"hidden_size={self.hidden_size} is not a multiple of n_heads={self.n_heads}; each "
                "head takes an equal part of the width."
            )
        self._scheduler()

    def _scheduler(self) -> NoiseScheduler:
        """Return the forward process; parameters that do not go together are an error."""
        return NoiseScheduler(
            N_TIMESTEPS,
            schedule=self.schedule,
            prediction_type=self.prediction_type,
            zero_terminal_snr=self.zero_terminal_snr,
        )

    def _build(self, seed: int = 0) -> None:
        """Make an untrained denoiser on the device."""
        with seeded_init(seed):
            self.network_ = BrainDiT(**self.architecture_)
        self.network_.to(resolve_device(self.device_)).eval()

    def _condition(self, tokens: np.ndarray) -> Any:
        """Project the images to keys and values, once."""
        scaled = self.scaled_.of(tokens)
        device = next(self.network_.parameters()).device
        parts = torch.as_tensor(scaled[np.arange(len(tokens))], device=device)
        return self.network_.encode_condition(parts, torch.as_tensor(scaled.mask))

    def mean(self, tokens: np.ndarray, subject: np.ndarray | None = None) -> np.ndarray:
        r"""Return the mean of the model's whitened residuals, in one pass.

        At the last timestep of a schedule with zero terminal SNR the input is pure noise, and the
        best prediction of :math:`x_0` from it is :math:`E[x_0 \mid \text{image}]`. Without zero
        terminal SNR it is the mean of eight draws of 50 steps, whose noise is that of all images.

        Parameters
        ----------
        tokens : array, shape (n_images, n_tokens, n_features)
            The images; NaN pads.
        subject : array of int, shape (n_images,) | None
            Whose residuals; ``None`` is the average subject.

        Returns
        -------
        array, shape (n_images, n_channels, n_times)
            In whitened space.
        """
        shape = self.shape_
        means = np.zeros((len(tokens), *shape), dtype=np.float32)
        if not self.scheduler_.zero_terminal_snr:
            return self._mean_of_draws(tokens, subject)
        last = self.scheduler_.n_timesteps - 1
        with evaluating(self.network_):
            for rows in _batches(len(tokens), self.batch_size):
                condition = self._condition(tokens[rows])
                device = next(self.network_.parameters()).device
                # The expected input at pure noise is zero; the prediction there is the mean.
                x = torch.zeros(len(rows), *shape, device=device)
                timestep = torch.full((len(rows),), last, device=device)
                output = self.network_(x, timestep, condition, _rows(subject, rows, device))
                x0, _ = self.scheduler_.predict_x0_noise(output, x, last)
                means[rows] = x0.cpu().numpy()
        return means

    def _mean_of_draws(
        self, tokens: np.ndarray, subject: Any, n_draws: int = 8, n_steps: int = 50
    ) -> np.ndarray:
        """Average draws from noise that is the same for every image: in whitened space."""
        rng = np.random.default_rng(0)
        start = rng.standard_normal((n_draws, *self.shape_), dtype=np.float32)
        image = np.repeat(np.arange(len(tokens)), n_draws)
        means = np.zeros((len(tokens), *self.shape_), dtype=np.float32)
        for draws, drawn in self._draw_whitened(
            tokens, image, lambda draws, step: start[draws % n_draws], subject, n_steps, "ddim"
        ):
            np.add.at(means, image[draws], drawn / n_draws)
        return means

    def draw(
        self,
        tokens: np.ndarray,
        image_index: np.ndarray,
        noise: Callable,
        *,
        subject: np.ndarray | None = None,
        n_steps: int | None = None,
        solver: str | None = None,
        eta: float = 0.0,
        guidance_scale: float = 1.0,
        own_mean: np.ndarray | None = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Draw residuals of single trials.

        Parameters
        ----------
        tokens : array, shape (n_images, n_tokens, n_features)
            The images; NaN pads.
        image_index : array of int, shape (n_draws,)
            Which image each draw is for, in ascending order.
        noise : callable
            ``noise(draws, step)`` returns an array, shape (n_batch, n_channels, n_times): the
            standard normal numbers that draws start from (``step`` 0) and meet later (if
            ``eta`` > 0), as :class:`~mne_img2brain.diffusion.DrawNoise` does.
        subject : array of int, shape (n_images,) | None
            Whose residuals; ``None`` is the average subject.
        n_steps, solver, eta, guidance_scale
            As in :meth:`mne_img2brain.DiffusionRegressor.sample`.
        own_mean : array, shape (n_images, n_channels, n_times) | None
            What :meth:`mean` returned: taken off, so that draws have the mean zero.

        Yields
        ------
        draws : array of int, shape (n_batch,)
            Which draws these are.
        residuals : array, shape (n_batch, n_channels, n_times)
            In the unit of the residuals.
        """
        for draws, drawn in self._draw_whitened(
            tokens, image_index, noise, subject, n_steps, solver, eta, guidance_scale
        ):
            image = image_index[draws]
            if own_mean is not None:
                drawn = drawn - own_mean[image]
            whose = None if subject is None else subject[image]
            yield draws, self.whitener_.inverse_transform(drawn, whose)

    def _draw_whitened(
        self,
        tokens: np.ndarray,
        image_index: np.ndarray,
        noise: Callable,
        subject: np.ndarray | None,
        n_steps: int | None = None,
        solver: str | None = None,
        eta: float = 0.0,
        guidance_scale: float = 1.0,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Draw in whitened space, batch by batch."""
        paper = self.scheduler_.prediction_type == "noise"
        solver = solver or ("ddim" if paper else "dpm")
        n_steps = n_steps or (50 if solver == "ddim" else 25)
        device = next(self.network_.parameters()).device
        timesteps = self.scheduler_.timesteps(n_steps, min_signal=0.1 if paper else 0.0)
        network = accelerated(self.network_)
        with evaluating(self.network_):
            nothing = self.network_.null_condition(1)
            # a few images at a time: they are projected once, for all draws and steps
            for images in _batches(len(tokens), self.batch_size):
                condition = self._condition(tokens[images])
                first, last = np.searchsorted(image_index, [images[0], images[-1] + 1])
                for rows in _batches(last - first, self.batch_size):
                    draws = first + rows
                    given = torch.as_tensor(image_index[draws] - images[0], device=device)
                    denoiser = _guide(
                        network,
                        condition[given],
                        nothing[torch.zeros_like(given)],
                        _rows(subject, image_index[draws], device),
                        guidance_scale,
                    )

                    def later(step: int, draws: np.ndarray = draws) -> torch.Tensor:
                        return torch.as_tensor(noise(draws, step + 1), device=device)

                    x = SOLVERS[solver](
                        denoiser,
                        torch.as_tensor(noise(draws, 0), device=device),
                        self.scheduler_,
                        timesteps,
                        eta=eta,
                        noise=later if eta > 0 else None,
                    )
                    yield draws, x.cpu().numpy()

    def mean_response(self, own_mean: np.ndarray, subject: np.ndarray | None = None) -> np.ndarray:
        """Return what :meth:`mean` adds to the prediction, in the unit of the residuals."""
        return self.whitener_.inverse_transform(self.mean_weight_ * own_mean, subject)

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
        """Return what prediction needs, weights as arrays.

        Returns
        -------
        dict
            For :meth:`from_state`.
        """
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
        """Make a fitted model from what :meth:`get_state` returned.

        Parameters
        ----------
        state : dict
            The state.

        Returns
        -------
        Denoiser
        """
        self: Any = cls.__new__(cls)
        weights = state.pop("weights", None)
        vars(self).update(state)
        if weights is not None:
            _check_architecture(self.architecture_, weights)
            self._build()
            self.network_.load_state_dict({k: torch.as_tensor(v) for k, v in weights.items()})
        return self

    @property
    def shape_(self) -> tuple[int, int]:
        """Shape of one response: (n_channels, n_times)."""
        return len(self.architecture_["regions"]), self.architecture_["n_times"]

    def to(self, device: Any) -> Self:
        """Move the denoiser; later calls run there."""
        self.device_ = device
        self.network_.to(resolve_device(device))
        return self


def _guide(
    network: Callable,
    of_image: Any,
    of_nothing: Any,
    subject: torch.Tensor | None,
    guidance_scale: float,
) -> Callable:
    """Return a network as a callable of noisy responses and timestep, guided."""
    if guidance_scale == 1:
        return lambda x, timestep: network(x, timestep, of_image, subject)
    condition = of_image.join(of_nothing)
    subjects = None if subject is None else torch.cat([subject, subject])

    def both(x: torch.Tensor, timestep: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Denoise with and without the image, in one call."""
        doubled = torch.cat([x, x]), torch.cat([timestep, timestep])
        return network(*doubled, condition, subjects).chunk(2)

    return guided(both, guidance_scale)


def _check_architecture(architecture: dict, weights: dict[str, np.ndarray]) -> None:
    """Refuse a denoiser that is larger than its weights before it takes memory."""
    n_numbers = sum(value.size for value in weights.values())
    hidden = architecture["hidden_size"]
    for name, size in architecture.items():
        largest = size if isinstance(size, int) else np.max(size) if name == "regions" else 0
        if largest > n_numbers or (
            name in ("n_features", "n_subjects", "patch_length") and largest * hidden > n_numbers
        ):
            raise ValueError(f"a denoiser with {name}={largest} and {n_numbers} weights")
    if architecture["n_layers"] * hidden**2 > n_numbers:
        raise ValueError(
            f"a denoiser of {architecture['n_layers']} layers of {hidden} with {n_numbers} weights"
        )


def _batches(n: int, batch_size: int) -> list[np.ndarray]:
    return [np.arange(start, min(start + batch_size, n)) for start in range(0, n, batch_size)]


def _rows(
    subject: np.ndarray | None, rows: np.ndarray, device: torch.device
) -> torch.Tensor | None:
    return None if subject is None else torch.as_tensor(subject[rows], device=device)
