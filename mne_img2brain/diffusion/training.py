"""Training a conditional denoiser, and stopping when held-out images say so."""

import contextlib
import copy
import dataclasses
import itertools
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import torch

from .._log import logger, progress_bar, warn
from .._parameters import Integer, check_given
from .._torch import evaluating, seeded_init
from .checkpoint import Checkpoint, identify, restore, snapshot
from .loss import Batches, HeldOut, Loss
from .processes import Processes

if TYPE_CHECKING:
    from ..trials.scaled_tokens import ScaledTokens
    from .dit import BrainDiT
    from .scheduler import NoiseScheduler

_WARMUP = 100  # gradient steps, at most a tenth of all
_LARGEST_GRADIENT = 1.0  # its norm
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
    model: "BrainDiT",
    x0: np.ndarray,
    tokens: "ScaledTokens | np.ndarray",
    *,
    image_index: np.ndarray,
    scheduler: "NoiseScheduler",
    token_mask: np.ndarray | None = None,
    subjects: np.ndarray | None = None,
    power: np.ndarray | None = None,
    y_mask: np.ndarray | None = None,
    validation: np.ndarray | None = None,
    max_iter: int = 1500,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.05,
    ema_decay: float = 0.999,
    condition_dropout: float = 0.1,
    eval_every: int = 100,
    n_iter_no_change: int = 5,
    seed: int = 0,
    device: str | torch.device = "cpu",
    checkpoint: str | os.PathLike | None = None,
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
    token_mask (n_images, n_tokens) | None: which tokens are real.
    power (n_trials, n_power) | None: scores of the power of each trial.
    validation (n_trials,) | None: the trials held out. ``None`` trains for ``max_iter`` steps.
    max_iter: gradient steps at most; 0 leaves the denoiser as it is.
    learning_rate: peak rate of AdamW; a linear warm-up, then a cosine to zero.
    weight_decay: of AdamW, on matrices only.
    ema_decay: decay of the average of weights; smaller at first, ``(1 + i) / (10 + i)``.
    condition_dropout: probability of training without the image.
    n_iter_no_change: evaluations without improvement before training stops.
    seed: seed of batches, timesteps and noise.
    checkpoint: a folder to keep the training in while it runs. A training of the same network,
        data and parameters goes on where the last one was stopped, and ends with the same weights,
        on one CPU thread to the last bit.
    interrupt: what Ctrl-C does: ``"keep"`` ends the training with the best weights so far.
    """
    check_given(
        max_iter=(max_iter, Integer(0)), batch_size=(batch_size, Integer(1)),
        eval_every=(eval_every, Integer(1)), n_iter_no_change=(n_iter_no_change, Integer(1)),
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    model.to(device)
    x0, held = _checked(x0, validation)
    image_index, train_rows, processes = np.asarray(image_index), np.flatnonzero(~held), Processes()
    if min(batch_size, len(train_rows)) < processes.count:
        raise ValueError(
            f"batch_size={batch_size} and {len(train_rows)} training trials are shared by "
            f"{processes.count} processes; start fewer."
        )
    seed = processes.share(seed)
    own = slice(processes.rank, None, processes.count)
    place = torch.device(device)
    loss_of = Loss(
        model, x0, tokens, image_index, scheduler, token_mask=token_mask, subjects=subjects,
        power=power, y_mask=y_mask, device=place,
    )  # fmt: skip
    n_power = 0 if power is None else power.shape[1]
    judge = None
    if held.any():
        judge = HeldOut(np.flatnonzero(held), rng, x0.shape[1:], scheduler, n_power)
    batches = Batches(
        train_rows, batch_size, x0.shape[1:], scheduler.n_timesteps, condition_dropout, rng, place,
        n_power,
    )  # fmt: skip
    optimizer = _optimizer(model, learning_rate, weight_decay)
    average = copy.deepcopy(model).eval()
    history, keep = TrainingHistory(), None
    if checkpoint is not None:
        settings = {
            "max_iter": max_iter, "batch_size": batch_size, "learning_rate": learning_rate,
            "weight_decay": weight_decay, "ema_decay": ema_decay, "seed": seed,
            "condition_dropout": condition_dropout, "eval_every": eval_every,
            "n_iter_no_change": n_iter_no_change,
            "scheduler": {name: str(value) for name, value in vars(scheduler).items()},
        }  # fmt: skip
        arrays = [x0, image_index, token_mask, subjects, power, y_mask, held]
        images = np.arange(image_index.max() + 1)
        given = (tokens[images[start : start + 256]] for start in range(0, len(images), 256))
        identity = identify(settings, model, itertools.chain(arrays, given))
        keep = Checkpoint(checkpoint, identity)
    best, best_loss = copy.deepcopy(average.state_dict()), math.inf
    if judge is not None:
        best_loss = _evaluate(history, 0, judge, model, average, loss_of, processes)
        logger.info(f"Denoiser, held-out loss untrained: {best_loss:.4f}.")
    model.train()
    running, waited, n_made = [], 0, 0

    def note(done: bool) -> None:
        """Write where the training is to the checkpoint."""
        numbers = {
            "done": done, "n_made": n_made, "waited": waited, "best_loss": best_loss,
            "order": batches.order.tolist(), "history": dataclasses.asdict(history),
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
            history = TrainingHistory(**numbers["history"])
            batches.order = np.array(numbers["order"], int)
            rng.bit_generator.state = numbers["rng"]
        last = n_made if waited >= n_iter_no_change else max_iter  # or it had come to its end
        first = n_made
        steps = range(n_made, last)
        for i in steps if processes.rank else progress_bar(steps, "Training the denoiser"):
            if keep is not None and keep.due():
                note(done=False)
            rows, timestep, noise, drop, blur = batches.take()
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * _rate(i, max_iter)
            loss = loss_of(rows[own], timestep[own], noise[own], drop[own], blur[own])
            loss = loss_of.share(rows, own) * loss
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            loss = processes.add_gradients(list(model.parameters()), loss.detach())
            torch.nn.utils.clip_grad_norm_(model.parameters(), _LARGEST_GRADIENT)
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
            loss = _evaluate(history, i + 1, judge, model, average, loss_of, processes)
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


def _checked(x0: np.ndarray, validation: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return responses in single precision, and which of them are held out."""
    x0 = np.ascontiguousarray(x0, dtype=np.float32)
    if not np.isfinite(x0).all():
        raise ValueError("x0 holds NaN or infinity; leave those trials out.")
    held = np.zeros(len(x0), bool) if validation is None else np.asarray(validation)
    if held.shape != (len(x0),) or held.dtype != bool or held.all():
        raise ValueError(
            f"validation has shape {held.shape} and type {held.dtype} and holds out {held.sum()} "
            f"of {len(x0)} trials; give one bool for each trial, and leave some to train on."
        )
    return x0, held


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


def _optimizer(model: "BrainDiT", learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """Return AdamW, which decays matrices, and neither biases, gains nor embeddings."""
    vectors = ("bias", "position", "subject", "no_image")
    matrices, others = [], []
    for name, parameter in model.named_parameters():
        is_matrix = parameter.ndim > 1 and not any(vector in name for vector in vectors)
        (matrices if is_matrix else others).append(parameter)
    groups: list[dict] = [{"params": matrices, "weight_decay": weight_decay}, {"params": others}]
    fused = next(model.parameters()).device.type == "cuda"
    return torch.optim.AdamW(
        groups, lr=learning_rate, weight_decay=0.0, betas=(0.9, 0.99), fused=fused
    )


def _rate(i: int, max_iter: int) -> float:
    """Return the learning rate of a gradient step, as a part of the largest."""
    warmup = max(1, min(_WARMUP, max_iter // 10))
    return min((i + 1) / warmup, 0.5 * (1 + math.cos(math.pi * i / max_iter)))


def _evaluate(
    history: TrainingHistory,
    iteration: int,
    judge: HeldOut,
    model: "BrainDiT",
    average: "BrainDiT",
    loss_of: Loss,
    processes: Processes,
) -> float:
    """Judge the averaged weights and note the result."""
    own = copy.deepcopy(model.state_dict())
    model.load_state_dict(average.state_dict())
    with evaluating(model):
        loss = judge.loss(loss_of, processes)
    model.load_state_dict(own)
    history.iterations.append(iteration)
    history.validation_losses.append(loss)
    return loss


@torch.no_grad()
def _update_average(average: "BrainDiT", model: "BrainDiT", decay: float) -> None:
    """Move the averaged weights towards the current ones."""
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
