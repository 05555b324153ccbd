"""The loss of a denoiser: of batches of training trials, and of trials that are held out."""

import itertools
from typing import TYPE_CHECKING

import numpy as np
import torch

from .._torch import accelerated, rows_on
from ..noise.trial_power import BLUR

if TYPE_CHECKING:
    from ..trials.scaled_tokens import ScaledTokens
    from .dit import BrainDiT
    from .processes import Processes
    from .scheduler import NoiseScheduler

__all__ = ["Batches", "HeldOut", "Loss"]

_N_VALIDATION_TIMESTEPS = 8
_MAX_VALIDATION = 512


class Loss:
    """The squared error of a denoiser; parameters as of :func:`train_denoiser`."""

    def __init__(
        self,
        model: "BrainDiT",
        x0: np.ndarray,
        tokens: "ScaledTokens | np.ndarray",
        image_index: np.ndarray,
        scheduler: "NoiseScheduler",
        *,
        token_mask: np.ndarray | None,
        subjects: np.ndarray | None,
        power: np.ndarray | None = None,
        y_mask: np.ndarray | None,
        device: torch.device,
    ) -> None:
        self.model, self.scheduler, self.device = model, scheduler, device
        self.image_index, self.token_mask = image_index, token_mask
        self.subjects, self.power, self.y_mask = subjects, power, y_mask
        self.network = accelerated(model, reduced=True)
        self.x0_of, self.tokens_of = rows_on(device, x0), rows_on(device, tokens)

    def __call__(
        self,
        rows: np.ndarray,
        timestep: torch.Tensor,
        noise: torch.Tensor,
        drop: np.ndarray | None = None,
        blur: np.ndarray | None = None,
    ) -> torch.Tensor:
        """Return the mean error of some trials: a tensor without dimensions.

        blur (n_rows, n_power): what is added to the scores of their power.
        drop (n_rows,): which of them are denoised without their image.
        """
        images, where = np.unique(self.image_index[rows], return_inverse=True)
        mask = None if self.token_mask is None else torch.as_tensor(self.token_mask[images])
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            condition = self.model.encode_condition(self.tokens_of(images), mask)
            if drop is not None and drop.any():
                condition = condition.join(self.model.null_condition())
                where = np.where(drop, len(images), where)
        condition = condition[torch.as_tensor(where, device=self.device)]
        clean, noise, timestep = self.x0_of(rows), noise.to(self.device), timestep.to(self.device)
        noisy = self.scheduler.add_noise(clean, noise, timestep)
        whose = (
            None
            if self.subjects is None
            else torch.as_tensor(self.subjects[rows], device=self.device)
        )
        power = None
        if self.power is not None and blur is not None:
            power = torch.as_tensor(self.power[rows] + blur, device=self.device)
        output = self.network(noisy, timestep, condition, whose, power)
        error = (output - self.scheduler.target(clean, noise, timestep)).square()
        if self.y_mask is None:
            return error.mean()
        keep = torch.as_tensor(self.y_mask[rows], device=self.device)[:, :, None]
        return (error * keep).sum() / (keep.sum() * error.shape[2]).clamp(min=1)

    def share(self, rows: np.ndarray, own: slice) -> float:
        """Return the part of the error of some trials that is that of this process."""
        counts = np.ones(len(rows)) if self.y_mask is None else self.y_mask[rows].sum(axis=1)
        return float(counts[own].sum() / max(counts.sum(), 1))


class Batches:
    """Training trials in random order, with timesteps, noise, and which images are left out.

    rows (n_trials,): the trials.
    shape: ``(n_channels, n_times)``.
    n_power: scores of their power that are blurred.
    order: trials still to come, as a checkpoint remembers it.
    """

    def __init__(
        self,
        rows: np.ndarray,
        size: int,
        shape: tuple[int, ...],
        n_timesteps: int,
        condition_dropout: float,
        rng: np.random.Generator,
        device: torch.device,
        n_power: int = 0,
    ) -> None:
        self.n_power = n_power
        self.rows, self.size, self.shape = rows, size, shape
        self.n_timesteps, self.condition_dropout = n_timesteps, condition_dropout
        self.rng, self.order, self.normal = rng, np.empty(0, np.intp), _Normal(rng, device)

    def take(self) -> tuple[np.ndarray, torch.Tensor, torch.Tensor, np.ndarray, np.ndarray]:
        """Return the next trials, timesteps, noise, which are without an image, and their blur."""
        rng = self.rng
        if len(self.order) < self.size:
            self.order = np.concatenate([self.order, rng.permutation(self.rows)])
        rows, self.order = self.order[: self.size], self.order[self.size :]
        # one timestep from each slice of the schedule: less variance than uniform draws
        uniform = (rng.permutation(len(rows)) + rng.random(len(rows))) / len(rows)
        timestep = torch.as_tensor((uniform * self.n_timesteps).astype(np.int64))
        noise = self.normal((len(rows), *self.shape))
        drop = rng.random(len(rows)) < self.condition_dropout
        return rows, timestep, noise, drop, _blur(rng, len(rows), self.n_power)


class HeldOut:
    """Held-out trials with fixed timesteps and noise: the same question at every evaluation."""

    def __init__(
        self,
        rows: np.ndarray,
        rng: np.random.Generator,
        shape: tuple[int, ...],
        scheduler: "NoiseScheduler",
        n_power: int = 0,
    ) -> None:
        if len(rows) > _MAX_VALIDATION:
            rows = np.sort(rng.choice(rows, _MAX_VALIDATION, replace=False))
        n = _N_VALIDATION_TIMESTEPS
        grid = ((np.arange(n) + 0.5) / n * scheduler.n_timesteps).astype(np.int64)
        self.rows = rows
        self.timesteps = [
            torch.as_tensor(np.roll(np.resize(grid, len(rows)), shift)) for shift in range(2)
        ]
        self.noise = [
            torch.as_tensor(rng.standard_normal((len(rows), *shape), dtype=np.float32))
            for _ in self.timesteps
        ]
        self.blur = _blur(rng, len(rows), n_power)

    def loss(self, loss_of: Loss, processes: "Processes", size: int = 256) -> float:
        """Return the mean loss over trials, the same in all processes."""
        total = torch.zeros(1, dtype=torch.float64)
        parts = itertools.product(range(len(self.noise)), range(0, len(self.rows), size))
        for k, start in itertools.islice(parts, processes.rank, None, processes.count):
            part = slice(start, start + size)
            given = self.timesteps[k][part], self.noise[k][part], None, self.blur[part]
            total += float(loss_of(self.rows[part], *given)) * len(given[0])
        return float(processes.add(total)) / (len(self.noise) * len(self.rows))


def _blur(rng: np.random.Generator, n: int, n_power: int) -> np.ndarray:
    """Return what scores of power are blurred by."""
    return BLUR * rng.standard_normal((n, n_power), dtype=np.float32)


class _Normal:
    """Standard normal numbers for training: made on the device, from a seed for every step.

    On a CPU they are those of the generator itself. An accelerator would otherwise wait for them
    longer than it computes.
    """

    def __init__(self, rng: np.random.Generator, device: torch.device) -> None:
        self.rng, self.device = rng, device
        self.generator = None if device.type == "cpu" else torch.Generator(device)

    def __call__(self, shape: tuple) -> torch.Tensor:
        if self.generator is None:
            return torch.as_tensor(self.rng.standard_normal(shape, dtype=np.float32))
        self.generator.manual_seed(int(self.rng.integers(2**63)))
        return torch.randn(shape, generator=self.generator, device=self.device)
