"""Training a conditional denoiser, and stopping when held-out images say so."""

import contextlib
import copy
import dataclasses
import itertools
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .._log import logger, progress_bar, warn
from .._torch import accelerated, evaluating, rows_on, seeded_init
from ..trials.checks import check_integers
from .checkpoint import Checkpoint, identify, restore, snapshot
from .processes import Processes

if TYPE_CHECKING:
    from .scheduler import NoiseScheduler

_N_VALIDATION_TIMESTEPS = 8
_MAX_VALIDATION = 512
_WARM_STEPS = 5  # before steps are timed, and that are


@dataclass
class TrainingHistory:
    """What training did.

    losses: mean training loss between evaluations.
    iterations: gradient steps at each evaluation; the first is 0, the untrained denoiser.
    validation_losses: loss on held-out trials at each evaluation; empty where none are held out.
    best_iter: the evaluation that was kept: its number of gradient steps.
    """

    losses: list = field(default_factory=list)
    iterations: list = field(default_factory=list)
    validation_losses: list = field(default_factory=list)
    best_iter: int = 0


def train_denoiser(
    model: Any,
    x0: np.ndarray,
    tokens: Any,
    *,
    image_index: np.ndarray,
    scheduler: "NoiseScheduler",
    token_mask: np.ndarray | None = None,
    subjects: np.ndarray | None = None,
    y_mask: np.ndarray | None = None,
    validation: np.ndarray | None = None,
    max_iter: int = 1500,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.05,
    warmup: int = 100,
    ema_decay: float = 0.999,
    condition_dropout: float = 0.1,
    eval_every: int = 100,
    n_iter_no_change: int = 5,
    gradient_clip: float = 1.0,
    seed: int = 0,
    device: str | torch.device = "cpu",
    checkpoint: str | os.PathLike | None = None,
    checkpoint_every: float | None = None,
    interrupt: str = "raise",
) -> TrainingHistory:
    r"""Train a denoiser on responses, in place.

    .. math:: L = E_{x_0, c, t, \epsilon} \lVert o_\theta(x_t, t, c) - o(x_0, \epsilon, t) \rVert^2

    with :math:`t` uniform, :math:`o` what the scheduler says is predicted, and the image
    :math:`c` replaced by none with probability ``condition_dropout``. Weights are averaged
    exponentially over gradient steps. Every ``eval_every`` steps the averaged weights are judged
    on held-out trials at fixed timesteps and with fixed noise; the best are kept, the untrained
    ones among them. All random numbers come from ``seed`` on the CPU. Where ``torchrun`` started
    several processes each computes its part of every batch, and the first writes the checkpoint.

    model: the denoiser; on return it is in evaluation mode, with the best weights.
    x0 (n_trials, n_channels, n_times): responses, standardised.
    tokens (n_images, n_tokens, n_features): anything that gives finite float32 for an array of
        rows.
    image_index (n_trials,): the image of each trial.
    token_mask (n_images, n_tokens) | None: which tokens are real.
    subjects (n_trials,) | None: the subject of each trial.
    y_mask (n_trials, n_channels) | None: which sensors count in the loss.
    validation (n_trials,) | None: the trials held out. ``None`` trains for ``max_iter`` steps.
    max_iter: gradient steps at most; 0 leaves the denoiser as it is.
    learning_rate: peak rate of AdamW; a linear warm-up of ``warmup`` steps, then a cosine to zero.
    weight_decay: of AdamW, on matrices only.
    warmup: steps of the warm-up, at most a tenth of ``max_iter``.
    ema_decay: decay of the average of weights; smaller at first, ``(1 + i) / (10 + i)``.
    condition_dropout: probability of training without the image.
    n_iter_no_change: evaluations without improvement before training stops.
    gradient_clip: largest norm of the gradient.
    seed: seed of batches, timesteps and noise.
    checkpoint: a folder to keep the training in while it runs. A training of the same network,
        data and parameters goes on where the last one was stopped, and ends with the same weights,
        on one CPU thread to the last bit.
    checkpoint_every: seconds between two writes to it; ``None`` is a minute.
    interrupt: what Ctrl-C does: ``"keep"`` ends the training with the best weights so far.
    Raises ValueError if a number of steps or trials is out of range, responses are not finite, or
        ``validation`` is not one bool for each trial or holds out all of them; or a batch has
        fewer trials than there are processes.
    Raises RuntimeError if another process of the training has ended.
    """
    check_integers(
        max_iter=(max_iter, 0), batch_size=(batch_size, 1), eval_every=(eval_every, 1),
        n_iter_no_change=(n_iter_no_change, 1),
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    model.to(device)
    x0 = np.ascontiguousarray(x0, dtype=np.float32)
    image_index = np.asarray(image_index)
    if not np.isfinite(x0).all():
        raise ValueError("x0 holds NaN or infinity; leave those trials out.")
    held = np.zeros(len(x0), bool) if validation is None else np.asarray(validation)
    if held.shape != (len(x0),) or held.dtype != bool or held.all():
        raise ValueError(
            f"validation has shape {held.shape} and type {held.dtype} and holds out {held.sum()} "
            f"of {len(x0)} trials; give one bool for each trial, and leave some to train on."
        )
    train_rows, processes = np.flatnonzero(~held), Processes()
    if min(batch_size, len(train_rows)) < processes.count:
        raise ValueError(
            f"batch_size={batch_size} and {len(train_rows)} training trials are shared by "
            f"{processes.count} processes; start fewer."
        )
    seed = processes.share(seed)
    own = slice(processes.rank, None, processes.count)
    network = accelerated(model, reduced=True)
    x0_of, tokens_of = rows_on(device, x0), rows_on(device, tokens)
    normal = _Normal(rng, torch.device(device))
    judge = _Judge(np.flatnonzero(held), rng, x0.shape[1:], scheduler) if held.any() else None

    def batch(
        rows: np.ndarray,
        timestep: torch.Tensor,
        noise: torch.Tensor,
        drop: np.ndarray | None = None,
    ) -> torch.Tensor:
        """Return the squared error of some trials: a tensor without dimensions."""
        images, where = np.unique(image_index[rows], return_inverse=True)
        mask = None if token_mask is None else torch.as_tensor(token_mask[images])
        condition = model.encode_condition(tokens_of(images), mask)
        if drop is not None and drop.any():
            condition = condition.join(model.null_condition())
            where = np.where(drop, len(images), where)
        condition = condition[torch.as_tensor(where, device=device)]
        clean, noise, timestep = x0_of(rows), noise.to(device), timestep.to(device)
        noisy = scheduler.add_noise(clean, noise, timestep)
        whose = None if subjects is None else torch.as_tensor(subjects[rows], device=device)
        output = network(noisy, timestep, condition, whose)
        error = (output - scheduler.target(clean, noise, timestep)).square()
        if y_mask is None:
            return error.mean()
        keep = torch.as_tensor(y_mask[rows], device=device)[:, :, None]
        return (error * keep).sum() / (keep.sum() * error.shape[2]).clamp(min=1)

    matrices, others = _sort_parameters(model)
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": weight_decay}, {"params": others}],
        lr=learning_rate, weight_decay=0.0, betas=(0.9, 0.99),
    )  # fmt: skip
    warmup = max(1, min(warmup, max_iter // 10))
    average = copy.deepcopy(model).eval()
    history = TrainingHistory()
    place, keep = torch.device(device), None
    if checkpoint is not None:
        settings = {
            "max_iter": max_iter, "batch_size": batch_size, "learning_rate": learning_rate,
            "weight_decay": weight_decay, "warmup": warmup, "ema_decay": ema_decay,
            "condition_dropout": condition_dropout, "eval_every": eval_every,
            "n_iter_no_change": n_iter_no_change, "gradient_clip": gradient_clip, "seed": seed,
            "scheduler": {name: str(value) for name, value in vars(scheduler).items()},
        }  # fmt: skip
        arrays = [x0, image_index, token_mask, subjects, y_mask, held]
        images = np.arange(image_index.max() + 1)
        given = (tokens[images[start : start + 256]] for start in range(0, len(images), 256))
        identity = identify(settings, model, itertools.chain(arrays, given))
        keep = Checkpoint(checkpoint, identity, checkpoint_every)
    best, best_loss = copy.deepcopy(average.state_dict()), math.inf
    if judge is not None:
        best_loss = _evaluate(history, 0, judge, model, average, batch, processes)
        logger.info(f"Denoiser, held-out loss untrained: {best_loss:.4f}.")
    model.train()
    running, order, waited, n_made = [], np.empty(0, np.intp), 0, 0

    def note(done: bool) -> None:
        """Write where the training is to the checkpoint."""
        numbers = {
            "done": done, "n_made": n_made, "waited": waited, "best_loss": best_loss,
            "order": order.tolist(), "history": dataclasses.asdict(history),
            "rng": rng.bit_generator.state,
        }  # fmt: skip
        if keep is not None and processes.rank == 0:
            keep.save(numbers, snapshot(model, average, best, optimizer, running, place))

    keeps = interrupt == "keep" and processes.count == 1
    with _stoppable(keeps), seeded_init(seed, device):  # dropout draws from the global generators
        found = None if keep is None or processes.rank else keep.load()
        if (found := processes.share(found)) is not None:
            numbers, tensors = found
            best, running = restore(tensors, model, average, optimizer, place)
            n_made, waited, best_loss = (numbers[k] for k in ("n_made", "waited", "best_loss"))
            history, order = TrainingHistory(**numbers["history"]), np.array(numbers["order"], int)
            rng.bit_generator.state = numbers["rng"]
        last = n_made if waited >= n_iter_no_change else max_iter  # or it had come to its end
        first = n_made
        steps = range(n_made, last)
        for i in steps if processes.rank else progress_bar(steps, "Training the denoiser"):
            if keep is not None and keep.due():
                note(done=False)
            if len(order) < batch_size:
                order = np.concatenate([order, rng.permutation(train_rows)])
            rows, order = order[:batch_size], order[batch_size:]
            rate = min((i + 1) / warmup, 0.5 * (1 + math.cos(math.pi * i / max_iter)))
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * rate
            # one timestep from each slice of the schedule: less variance than uniform draws
            uniform = (rng.permutation(len(rows)) + rng.random(len(rows))) / len(rows)
            timestep = torch.as_tensor((uniform * scheduler.n_timesteps).astype(np.int64))
            noise = normal((len(rows), *x0.shape[1:]))
            drop = rng.random(len(rows)) < condition_dropout
            counts = np.ones(len(rows)) if y_mask is None else y_mask[rows].sum(axis=1)
            share = float(counts[own].sum() / max(counts.sum(), 1))
            loss = share * batch(rows[own], timestep[own], noise[own], drop[own])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            loss = processes.add_gradients(list(model.parameters()), loss.detach())
            torch.nn.utils.clip_grad_norm_(model.parameters(), gradient_clip)
            optimizer.step()
            _update_average(average, model, min(ema_decay, (1 + i) / (10 + i)))
            running.append(loss)
            n_made = i + 1
            if n_made == first + _WARM_STEPS:
                start = perf_counter()
            elif n_made == first + 2 * _WARM_STEPS:
                _tell_duration((perf_counter() - start) / _WARM_STEPS, last - n_made)
            if (i + 1) % eval_every and i + 1 < max_iter:
                continue
            history.losses.append(float(torch.stack(running).mean()))
            running = []
            if judge is None:
                continue
            loss = _evaluate(history, i + 1, judge, model, average, batch, processes)
            waited += 1
            if loss < best_loss:
                best, best_loss, waited = copy.deepcopy(average.state_dict()), loss, 0
                history.best_iter = i + 1
            if waited >= n_iter_no_change:
                break
        note(done=True)
    if judge is None:
        best, history.best_iter = average.state_dict(), n_made
    model.load_state_dict(best)
    model.eval()
    if judge is not None:
        logger.info(
            f"Denoiser: best held-out loss {best_loss:.4f} after {history.best_iter} of {n_made} "
            "gradient steps."
        )
    return history


@contextlib.contextmanager
def _stoppable(keeps: bool) -> Iterator[None]:
    """Let Ctrl-C end a block, where what was reached is kept."""
    try:
        yield
    except KeyboardInterrupt:
        if not keeps:
            raise
        warn("The training was stopped; the best weights so far are kept.")


def _tell_duration(seconds: float, n_steps: int) -> None:
    """Say how long that many gradient steps will take, where it is long."""
    if seconds * n_steps > 60:
        logger.info(
            f"Training the denoiser takes up to {n_steps} more gradient steps of {seconds:.2f} s: "
            f"about {seconds * n_steps / 60:.0f} minutes, or less where it does not help."
        )


def _sort_parameters(model: Any) -> tuple[Any, Any]:
    """Return the matrices, which are decayed, and biases, gains and embeddings, which are not."""
    vectors = ("bias", "position", "subject", "no_image")
    matrices: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        is_matrix = parameter.ndim > 1 and not any(vector in name for vector in vectors)
        (matrices if is_matrix else others).append(parameter)
    return matrices, others


class _Normal:
    """Standard normal numbers for training: made on the device, from a seed for every step.

    On a CPU they are those of the generator itself. An accelerator would otherwise wait for them
    longer than it computes.
    """

    def __init__(self, rng: np.random.Generator, device: torch.device) -> None:
        self.rng, self.device = rng, device
        self.generator: Any = None if device.type == "cpu" else torch.Generator(device)

    def __call__(self, shape: tuple) -> torch.Tensor:
        if self.generator is None:
            return torch.as_tensor(self.rng.standard_normal(shape, dtype=np.float32))
        self.generator.manual_seed(int(self.rng.integers(2**63)))
        return torch.randn(shape, generator=self.generator, device=self.device)


class _Judge:
    """Held-out trials with fixed timesteps and noise: the same question at every evaluation."""

    def __init__(
        self, rows: np.ndarray, rng: np.random.Generator, shape: Any, scheduler: "NoiseScheduler"
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

    def loss(self, batch: Callable, processes: Processes, size: int = 64) -> float:
        """Return the mean loss over trials, the same in all processes."""
        total = torch.zeros(1, dtype=torch.float64)
        parts = itertools.product(range(len(self.noise)), range(0, len(self.rows), size))
        for k, start in itertools.islice(parts, processes.rank, None, processes.count):
            part = slice(start, start + size)
            rows = self.rows[part]
            total += float(batch(rows, self.timesteps[k][part], self.noise[k][part])) * len(rows)
        return float(processes.add(total)) / (len(self.noise) * len(self.rows))


def _evaluate(
    history: TrainingHistory,
    iteration: int,
    judge: _Judge,
    model: Any,
    average: Any,
    batch: Callable,
    processes: Processes,
) -> float:
    """Judge the averaged weights and note the result."""
    own = copy.deepcopy(model.state_dict())
    model.load_state_dict(average.state_dict())
    with evaluating(model):
        loss = judge.loss(batch, processes)
    model.load_state_dict(own)
    history.iterations.append(iteration)
    history.validation_losses.append(loss)
    return loss


@torch.no_grad()
def _update_average(average: Any, model: Any, decay: float) -> None:
    """Move the averaged weights towards the current ones."""
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
