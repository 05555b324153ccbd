"""What the mean leaves over: whitened, learnt and drawn by a conditional diffusion transformer."""

import copy
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
import torch

from .._log import logger
from .._torch import evaluating, resolve_device, seeded_init
from ..trials.scaled_tokens import ScaledTokens
from . import BrainDiT, ddim, dpm_solver, guided, train_denoiser
from .selection import denoiser_helps

SOLVERS = {"ddim": ddim, "dpm": dpm_solver}


class ResidualDiffusion:
    r"""The distribution of single-trial residuals given the image.

    Residuals are whitened in space and time, :math:`x_0 = W r`, and a transformer learns to
    denoise :math:`x_t = \sqrt{\bar\alpha_t} x_0 + \sqrt{1 - \bar\alpha_t}\,\epsilon`. In whitened
    space a denoiser that returns zero *is* the Gaussian model when it predicts the velocity, so
    training starts there and is kept only where held-out images say it helps; elsewhere noise is
    drawn by its states.

    Parameters
    ----------
    whitener : SubjectWhitener
        Fitted on the residuals.
    scheduler : NoiseScheduler
        The forward process.
    architecture : dict
        Passed to :class:`~mne_img2brain.diffusion.BrainDiT`.
    device : torch.device | str
        Where the denoiser runs.
    batch_size : int
        How many responses are denoised at once.
    """

    def __init__(
        self,
        whitener: Any,
        scheduler: Any,
        architecture: dict,
        device: str = "auto",
        batch_size: int = 64,
    ) -> None:
        self.whitener = whitener
        self.scheduler = scheduler
        self.architecture = architecture
        self.device = device
        self.batch_size = batch_size

    def fit(
        self,
        residuals: np.ndarray,
        tokens: np.ndarray,
        image_index: np.ndarray,
        *,
        validation: np.ndarray,
        subject: np.ndarray | None = None,
        y_mask: np.ndarray | None = None,
        seed: int = 0,
        max_iter: int = 1500,
        judge_draws: dict | None = None,
        **training: Any,
    ) -> Self:
        """Train the denoiser on residuals.

        Parameters
        ----------
        residuals : array, shape (n_trials, n_channels, n_times)
            What the mean leaves over, scaled to single trials.
        tokens : array, shape (n_images, n_tokens, n_features)
            The images; NaN pads.
        image_index : array of int, shape (n_trials,)
            The image of each trial.
        validation : array of bool, shape (n_trials,)
            The trials that choose when to stop.
        subject : array of int, shape (n_trials,) | None
            The subject of each trial.
        y_mask : array of bool, shape (n_trials, n_channels) | None
            Which sensors a trial has.
        seed : int
            Of the initial weights and of the training noise.
        max_iter : int
            How many gradient steps at most. With none noise is drawn by its states.
        judge_draws : dict | None
            Steps and solver with which draws for held-out images are compared with those by
            states of the noise; the denoiser is dropped where these are better. ``None`` asks its
            loss alone.
        **training
            Passed to :func:`~mne_img2brain.diffusion.train_denoiser`.

        Returns
        -------
        self : ResidualDiffusion
        """
        self.scaled_ = ScaledTokens.fit(tokens)
        self._build(seed)
        if max_iter > 0:
            whitened = self.whitener.transform(residuals, subject).astype(np.float32, copy=False)
            self.history_ = train_denoiser(
                self.denoiser_,
                whitened,
                self.scaled_,
                image_index=image_index,
                scheduler=self.scheduler,
                token_mask=self.scaled_.mask,
                subjects=subject,
                y_mask=y_mask,
                validation=validation,
                max_iter=max_iter,
                batch_size=self.batch_size,
                seed=seed,
                device=resolve_device(self.device),
                **training,
            )
        self.trained_ = max_iter > 0 and self.history_.best_iter > 0
        if self.trained_ and judge_draws is not None:
            self.trained_ = denoiser_helps(
                self, residuals, tokens, image_index, subject, validation, seed, **judge_draws
            )
        if self.trained_:
            self.whitener = self.whitener.without_trials(gaussian=False)  # the denoiser draws
        else:
            logger.info("Without a denoiser that helps, noise is drawn by its states.")
        self.scaled_ = self.scaled_.of(np.empty((0, *tokens.shape[1:]), np.float32))
        return self

    def _build(self, seed: int = 0) -> None:
        """Make an untrained denoiser on the device."""
        with seeded_init(seed):
            self.denoiser_ = BrainDiT(**self.architecture)
        self.denoiser_.to(resolve_device(self.device)).eval()

    def _condition(self, tokens: np.ndarray) -> Any:
        """Project the images to keys and values, once."""
        scaled = self.scaled_.of(tokens)
        device = next(self.denoiser_.parameters()).device
        parts = torch.as_tensor(scaled[np.arange(len(tokens))], device=device)
        return self.denoiser_.encode_condition(parts, torch.as_tensor(scaled.mask, device=device))

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
        shape = self.architecture_shape
        means = np.zeros((len(tokens), *shape), dtype=np.float32)
        if not self.trained_:
            return means
        if not self.scheduler.zero_terminal_snr:
            return self._mean_of_draws(tokens, subject)
        last = self.scheduler.n_timesteps - 1
        with evaluating(self.denoiser_):
            for rows in _batches(len(tokens), self.batch_size):
                condition = self._condition(tokens[rows])
                device = next(self.denoiser_.parameters()).device
                # The expected input at pure noise is zero; the prediction there is the mean.
                x = torch.zeros(len(rows), *shape, device=device)
                timestep = torch.full((len(rows),), last, device=device)
                output = self.denoiser_(x, timestep, condition, _rows(subject, rows, device))
                x0, _ = self.scheduler.predict_x0_noise(output, x, last)
                means[rows] = x0.cpu().numpy()
        return means

    def _mean_of_draws(
        self, tokens: np.ndarray, subject: Any, n_draws: int = 8, n_steps: int = 50
    ) -> np.ndarray:
        """Average draws from noise that is the same for every image: in whitened space."""
        rng = np.random.default_rng(0)
        start = rng.standard_normal((n_draws, *self.architecture_shape), dtype=np.float32)
        image = np.repeat(np.arange(len(tokens)), n_draws)
        means = np.zeros((len(tokens), *self.architecture_shape), dtype=np.float32)
        for draws, drawn in self.draw(
            tokens,
            image,
            lambda draws, step: start[draws % n_draws],
            subject=subject,
            n_steps=n_steps,
            solver="ddim",
        ):
            np.add.at(means, image[draws], drawn / n_draws)
        return means

    def choose_mean_weight(
        self,
        residuals: np.ndarray,
        tokens: np.ndarray,
        image_index: np.ndarray,
        weight: np.ndarray,
        validation: np.ndarray,
        subject: np.ndarray | None = None,
    ) -> float:
        r"""Choose how much of the model's own mean to add to the prediction.

        The weight :math:`w` in [0, 1] minimises :math:`\sum |\bar r - w\, C m|^2` over held-out
        images, and is 0 unless the gain exceeds its standard error over images: a mean that
        does not help on images it has not seen is noise.

        Parameters
        ----------
        residuals : array, shape (n_trials, n_channels, n_times)
            As in :meth:`fit`, scaled to single trials.
        tokens : array, shape (n_images, n_tokens, n_features)
            The images.
        image_index : array of int, shape (n_trials,)
            The image of each trial.
        weight : array, shape (n_trials,)
            Of how many trials each row is the average.
        validation : array of bool, shape (n_trials,)
            The trials held out in training.
        subject : array of int, shape (n_trials,) | None
            The subject of each trial.

        Returns
        -------
        float
        """
        if not self.trained_:
            return 0.0
        rows = np.flatnonzero(validation)
        keys = np.column_stack([image_index, image_index if subject is None else subject])[rows]
        pairs, inverse = np.unique(keys, axis=0, return_inverse=True)
        inverse = inverse.ravel()
        target = np.zeros((len(pairs), *residuals.shape[1:]))
        np.add.at(target, inverse, residuals[rows] * np.sqrt(weight[rows])[:, None, None])
        target /= np.bincount(inverse, weights=weight[rows])[:, None, None]
        own = self.mean(tokens[pairs[:, 0]], None if subject is None else pairs[:, 1])
        own = self.whitener.inverse_transform(own, None if subject is None else pairs[:, 1])
        cross, square = (own * target).sum(axis=(1, 2)), (own**2).sum(axis=(1, 2))
        best = float(np.clip(cross.sum() / max(square.sum(), np.finfo(float).tiny), 0, 1))
        gain = 2 * best * cross - best**2 * square
        error = gain.std(ddof=1) * np.sqrt(len(gain)) if len(gain) > 1 else np.inf
        best = best if gain.sum() > error else 0.0
        logger.info(f"Weight of the denoiser's own mean, from held-out images: {best:.2f}.")
        return best

    def draw(
        self,
        tokens: np.ndarray,
        image: np.ndarray,
        noise: Any,
        *,
        subject: np.ndarray | None = None,
        n_steps: int = 25,
        solver: str = "dpm",
        eta: float = 0.0,
        guidance_scale: float = 1.0,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Draw whitened residuals.

        Parameters
        ----------
        tokens : array, shape (n_images, n_tokens, n_features)
            The images; NaN pads.
        image : array of int, shape (n_draws,)
            Which image each draw is for.
        noise : callable
            ``noise(draws, step)`` returns an array, shape (n_batch, n_channels, n_times): the
            standard normal numbers that draws start from (``step`` 0) and meet later (if
            ``eta`` > 0), as :class:`~mne_img2brain.diffusion.DrawNoise` does.
        subject : array of int, shape (n_images,) | None
            Whose residuals; ``None`` is the average subject.
        n_steps, solver, eta, guidance_scale
            As in :class:`~mne_img2brain.DiffusionRegressor`.

        Yields
        ------
        draws : array of int, shape (n_batch,)
            Which draws these are.
        residuals : array, shape (n_batch, n_channels, n_times)
            In whitened space.
        """
        gaussian = not self.trained_
        device = next(self.denoiser_.parameters()).device
        safe = 0.1 if self.scheduler.prediction_type == "noise" else 0.0
        timesteps = self.scheduler.timesteps(n_steps, min_signal=safe)
        with evaluating(self.denoiser_):
            nothing: Any = None if gaussian else self.denoiser_.null_condition(1)
            # a few images at a time: they are projected once, for all draws and steps
            for images in _batches(len(tokens), self.batch_size):
                condition: Any = None if gaussian else self._condition(tokens[images])
                of_these = np.flatnonzero(np.isin(image, images))
                for rows in _batches(len(of_these), self.batch_size):
                    draws = of_these[rows]
                    start = noise(draws, 0)
                    if gaussian:
                        yield draws, start
                        continue
                    given = torch.as_tensor(image[draws] - images[0], device=device)
                    denoiser = self._denoiser(
                        condition[given],
                        nothing[torch.zeros_like(given)],
                        _rows(subject, image[draws], device),
                        guidance_scale,
                    )

                    def later(step: int, draws: np.ndarray = draws) -> torch.Tensor:
                        return torch.as_tensor(noise(draws, step + 1), device=device)

                    x = SOLVERS[solver](
                        denoiser,
                        torch.as_tensor(start, device=device),
                        self.scheduler,
                        timesteps,
                        eta=eta,
                        noise=later if eta > 0 else None,
                    )
                    yield draws, x.cpu().numpy()

    def _denoiser(
        self, of_image: Any, of_nothing: Any, subject: torch.Tensor | None, guidance_scale: float
    ) -> Callable:
        """Return the denoiser as a callable of noisy responses and timestep, guided."""
        conditional, unconditional = (
            lambda x, timestep, given=given: self.denoiser_(x, timestep, given, subject)
            for given in (of_image, of_nothing)
        )
        return guided(conditional, unconditional, guidance_scale)

    def colour(self, drawn: np.ndarray, subject: np.ndarray | None = None) -> np.ndarray:
        """Turn what was drawn in whitened space into residuals.

        Parameters
        ----------
        drawn : array, shape (n_batch, n_channels, n_times)
            What :meth:`draw` yields.
        subject : array of int, shape (n_batch,) | None
            Whose residuals; ``None`` is the average subject.

        Returns
        -------
        array, shape (n_batch, n_channels, n_times)
            Residuals of single trials.
        """
        whitener = self.whitener
        turn = whitener.inverse_transform if self.trained_ else whitener.colour
        return turn(drawn, subject)

    def without_trials(self) -> Self:
        """Return a copy that keeps no recorded trial; the denoiser, if used, is the same."""
        bare = copy.copy(self)
        bare.whitener = self.whitener.without_trials()
        return bare

    def get_state(self) -> dict:
        """Return what prediction needs, weights as arrays.

        Returns
        -------
        dict
            For :meth:`from_state`.
        """
        state = {name: value for name, value in vars(self).items() if name != "denoiser_"}
        state["device"] = "auto"
        state["weights"] = {
            name: value.detach().cpu().numpy()
            for name, value in self.denoiser_.state_dict().items()
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
        ResidualDiffusion
        """
        self = cls.__new__(cls)
        weights = state.pop("weights")
        vars(self).update(state)
        _check_architecture(self.architecture, weights)
        self._build()
        self.denoiser_.load_state_dict({k: torch.as_tensor(v) for k, v in weights.items()})
        return self

    @property
    def architecture_shape(self) -> tuple[int, int]:
        """Shape of one response: (n_channels, n_times)."""
        return len(self.architecture["regions"]), self.architecture["n_times"]

    def to(self, device: Any) -> Self:
        """Move the denoiser; later calls run there."""
        self.device = device
        self.denoiser_.to(resolve_device(device))
        return self


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


def _pick(subject: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    return None if subject is None else subject[rows]


def _rows(
    subject: np.ndarray | None, rows: np.ndarray, device: torch.device
) -> torch.Tensor | None:
    return None if subject is None else torch.as_tensor(subject[rows], device=device)
