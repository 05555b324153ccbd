"""The loss of a denoiser: of batches of training trials, and of trials that are held out."""

import functools
import itertools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from sklearn.utils import gen_batches

from .._torch import accelerated, rows_on
from ..noise.trial_power import BLUR
from .memory import Halving

if TYPE_CHECKING:
    from ..trials.checks import TrialArrays
    from .denoiser import Denoiser
    from .dit import BrainDiT
    from .processes import Processes

_N_VALIDATION_TIMESTEPS = 8
_MAX_VALIDATION = 512
_BATCH = 256  # held-out trials at once


class Batch(NamedTuple):
    """Some trials, and what is done to them.

    rows, timestep, noise (n, ...): which trials, at which timestep, with which noise.
    blur (n, n_power): what is added to the scores of their power.
    drop (n,): which of them are denoised without their image.
    """

    rows: np.ndarray
    timestep: torch.Tensor
    noise: torch.Tensor
    blur: np.ndarray
    drop: np.ndarray

    def part(self, which: slice | np.ndarray) -> "Batch":
        """Return some of them."""
        return Batch._make(values[which] for values in self)


class Loss:
    """The squared error of a network on residuals; parameters as of :func:`train_denoiser`."""

    def __init__(
        self,
        denoiser: "Denoiser",
        network: "BrainDiT",
        data: "TrialArrays",
        power: np.ndarray | None,
    ) -> None:
        self.denoiser, self.network, self.data, self.power = denoiser, network, data, power
        self.n_power, self.device = 0 if power is None else power.shape[1], network.device
        self.halving = Halving(max(_BATCH, denoiser.batch_size))
        tokens = denoiser.scaled_.of(data.tokens)
        self.token_mask, self.call = tokens.mask, accelerated(network, reduced=True)
        self.x0_of, self.tokens_of = rows_on(self.device, data.y), rows_on(self.device, tokens)

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Return the mean error of some trials: a tensor without dimensions."""
        data, device, rows = self.data, self.device, batch.rows
        images, where = np.unique(data.image_index[rows], return_inverse=True)
        mask = torch.as_tensor(self.token_mask[images])
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            condition = self.network.encode_condition(self.tokens_of(images), mask)
            if batch.drop.any():
                condition = condition.join(self.network.null_condition())
                where = np.where(batch.drop, len(images), where)
        condition = condition[torch.as_tensor(where, device=device)]
        clean, noise, timestep = self.x0_of(rows), batch.noise.to(device), batch.timestep.to(device)
        scheduler, subject, power = self.denoiser.scheduler_, None, None
        if data.subject is not None:
            subject = torch.as_tensor(data.subject[rows], device=device)
        if self.power is not None:
            power = torch.as_tensor(self.power[rows] + batch.blur, device=device)
        noisy = scheduler.add_noise(clean, noise, timestep)
        output = self.call(noisy, timestep, condition, subject, power)
        error = (output - scheduler.target(clean, noise, timestep)).square()
        if data.y_mask is None:
            return error.mean()
        keep = torch.as_tensor(data.y_mask[rows], device=device)[:, :, None]
        return (error * keep).sum() / (keep.sum() * error.shape[2]).clamp(min=1)

    def of_part(self, batch: Batch, own: np.ndarray) -> torch.Tensor:
        """Return what some of the trials add to the mean error of all."""
        mask = self.data.y_mask
        counts = np.ones(len(batch.rows)) if mask is None else mask[batch.rows].sum(axis=1)
        return float(counts[own].sum() / max(counts.sum(), 1)) * self(batch.part(own))


class Batches:
    """Training trials, (n_trials,), in random order.

    order: trials still to come, as a checkpoint remembers it.
    """

    def __init__(self, loss_of: Loss, rows: np.ndarray, rng: np.random.Generator) -> None:
        self.loss_of, self.rows, self.rng = loss_of, rows, rng
        self.order: np.ndarray = np.empty(0, np.intp)
        on_cpu = loss_of.device.type == "cpu"
        self.generator = None if on_cpu else torch.Generator(loss_of.device)

    def take(self) -> Batch:
        """Return the next trials."""
        rng, denoiser = self.rng, self.loss_of.denoiser
        if len(self.order) < denoiser.batch_size:
            self.order = np.concatenate([self.order, rng.permutation(self.rows)])
        rows, self.order = np.split(self.order, [denoiser.batch_size])
        # one timestep from each slice of the schedule: less variance than uniform draws
        uniform = (rng.permutation(len(rows)) + rng.random(len(rows))) / len(rows)
        timestep = torch.as_tensor((uniform * denoiser.scheduler_.n_timesteps).astype(np.int64))
        noise = self._normal((len(rows), *self.loss_of.data.y.shape[1:]))
        drop = rng.random(len(rows)) < denoiser.condition_dropout
        return Batch(rows, timestep, noise, _blur(rng, len(rows), self.loss_of.n_power), drop)

    def _normal(self, shape: tuple) -> torch.Tensor:
        """Draw on the device: an accelerator would wait for the CPU longer than it computes."""
        if self.generator is None:
            return torch.as_tensor(self.rng.standard_normal(shape, dtype=np.float32))
        self.generator.manual_seed(int(self.rng.integers(2**63)))
        return torch.randn(shape, generator=self.generator, device=self.loss_of.device)


class HeldOut:
    """Held-out trials with fixed timesteps and noise: the same question at every evaluation."""

    def __init__(self, loss_of: Loss, rows: np.ndarray, rng: np.random.Generator) -> None:
        self.loss_of = loss_of
        if len(rows) > _MAX_VALIDATION:
            rows = np.sort(rng.choice(rows, _MAX_VALIDATION, replace=False))
        k, n = np.arange(_N_VALIDATION_TIMESTEPS), len(rows)
        n_timesteps = loss_of.denoiser.scheduler_.n_timesteps
        grid = ((k + 0.5) / len(k) * n_timesteps).astype(np.int64)
        timesteps = [torch.as_tensor(np.roll(np.resize(grid, n), shift)) for shift in range(2)]
        shape = (n, *loss_of.data.y.shape[1:])
        noise = [torch.as_tensor(rng.standard_normal(shape, dtype=np.float32)) for _ in timesteps]
        blur, drop = _blur(rng, n, loss_of.n_power), np.zeros(n, bool)
        self.batches = [Batch(rows, *one, blur, drop) for one in zip(timesteps, noise, strict=True)]

    def loss(self, processes: "Processes") -> float:
        """Return the mean loss over trials, the same in all processes."""
        total, n = torch.zeros(1, dtype=torch.float64), len(self.batches[0].rows)
        parts = itertools.product(self.batches, gen_batches(n, _BATCH))
        for batch, which in itertools.islice(parts, processes.rank, None, processes.count):
            part = batch.part(which)
            of_part = functools.partial(self.loss_of.of_part, part)
            losses = self.loss_of.halving(of_part, np.arange(len(part.rows)))
            total += float(sum(losses)) * len(part.rows)
        return float(processes.add(total)) / (len(self.batches) * n)


def _blur(rng: np.random.Generator, n: int, n_power: int) -> np.ndarray:
    """Return what scores of power are blurred by."""
    return BLUR * rng.standard_normal((n, n_power), dtype=np.float32)
