"""Training a conditional denoiser, and stopping when held-out images say so."""

import copy
import dataclasses
import itertools
import math
import os
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.utils import gen_batches

from .._log import logger, progress_bar, warn
from .._torch import evaluating, seeded_init
from .checkpoint import Checkpoint, identify
from .loss import Batches, HeldOut, Loss
from .processes import Processes

if TYPE_CHECKING:
    from ..trials.checks import TrialArrays
    from .denoiser import Denoiser
    from .dit import BrainDiT

_WARMUP = 100  # gradient steps, at most a tenth of all
_LARGEST_GRADIENT = 1.0  # its norm
_WARM_STEPS = 5  # before steps are timed, and that are
_EVALUATIONS = 20
_LEAST_BETWEEN = 100  # gradient steps
_OF_TRAINING = (
    "batch_size", "learning_rate", "weight_decay", "ema_decay", "condition_dropout",
    "n_iter_no_change",
)  # fmt: skip


@dataclass
class TrainingHistory:
    """What training did.

    losses: mean training loss between evaluations.
    iterations: gradient steps at each evaluation; the first is 0, the untrained denoiser.
    validation_losses: loss on held-out trials at each evaluation.
    best_iter: the evaluation that was kept: its number of gradient steps.
    """

    losses: list = field(default_factory=list)
    iterations: list = field(default_factory=list)
    validation_losses: list = field(default_factory=list)
    best_iter: int = 0


class Training:
    """A training on its way: all that a checkpoint keeps of it.

    average: the network with the exponential average of its weights.
    best, best_loss: the averaged weights that were best on held-out trials, and their loss.
    running: losses since the last evaluation.
    n_made, waited: gradient steps, and evaluations since the best.
    """

    def __init__(self, denoiser: "Denoiser", network: "BrainDiT", batches: Batches) -> None:
        self.denoiser, self.network, self.batches = denoiser, network, batches
        self.optimizer = _optimizer(network, denoiser.learning_rate, denoiser.weight_decay)
        self.average = copy.deepcopy(network).eval()
        self.best: dict[str, torch.Tensor] = {}
        self.best_loss, self.waited, self.n_made = math.inf, 0, 0
        self.history, self.running = TrainingHistory(), []

    def step(self, max_iter: int, processes: Processes) -> None:
        """Make one of so many gradient steps, after a warm-up at a rate that falls to zero."""
        batch = self.batches.take()
        warmup = max(1, min(_WARMUP, max_iter // 10))
        cosine = 0.5 * (1 + math.cos(math.pi * self.n_made / max_iter))
        for group in self.optimizer.param_groups:
            group["lr"] = self.denoiser.learning_rate * min((self.n_made + 1) / warmup, cosine)

        parameters: list = list(self.network.parameters())
        learnt = [parameter for parameter in parameters if parameter.requires_grad]

        def gradients(rows: np.ndarray) -> tuple[torch.Tensor, tuple]:
            loss = self.batches.loss_of.of_part(batch, rows)
            return loss.detach(), torch.autograd.grad(loss, learnt, allow_unused=True)

        own, losses = np.arange(processes.rank, len(batch.rows), processes.count), []
        self.optimizer.zero_grad(set_to_none=True)
        for loss, found in self.batches.loss_of.halving(gradients, own):
            losses.append(loss)
            for parameter, gradient in zip(learnt, found, strict=True):
                if gradient is not None:
                    so_far = parameter.grad
                    parameter.grad = gradient if so_far is None else so_far + gradient
        self.running.append(processes.add_gradients(parameters, torch.stack(losses).sum()))
        torch.nn.utils.clip_grad_norm_(parameters, _LARGEST_GRADIENT)
        self.optimizer.step()
        decay = min(self.denoiser.ema_decay, (1 + self.n_made) / (10 + self.n_made))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), parameters, 1 - decay)
        self.n_made += 1

    def judge(self, held_out: HeldOut, processes: Processes) -> None:
        """Judge the averaged weights on held-out trials, and keep them where they are best."""
        current = copy.deepcopy(self.network.state_dict())
        self.network.load_state_dict(self.average.state_dict())
        with evaluating(self.network):
            loss = held_out.loss(processes)
        self.network.load_state_dict(current)
        if self.running:
            self.history.losses.append(float(torch.stack(self.running).mean()))
        self.history.iterations.append(self.n_made)
        self.history.validation_losses.append(loss)
        self.running, self.waited = [], self.waited + 1
        if loss < self.best_loss:
            self.best, self.best_loss = copy.deepcopy(self.average.state_dict()), loss
            self.waited, self.history.best_iter = 0, self.n_made

    @property
    def is_over(self) -> bool:
        """Whether images held out say that more steps do not help.

        What other noise serves for is not waited for, unless steps are asked for: where there is
        something to learn the first evaluation shows it (see "What we tried").
        """
        optional = self.denoiser.max_iter is None and not self.denoiser.mean_weight_
        patience = self.denoiser.n_iter_no_change
        if optional and not self.history.best_iter:
            patience = 1
        return self.waited >= patience

    def numbers(self) -> dict:
        """Return the numbers of a training."""
        return {
            "n_made": self.n_made, "waited": self.waited, "best_loss": self.best_loss,
            "order": self.batches.order.tolist(), "history": dataclasses.asdict(self.history),
            "rng": self.batches.rng.bit_generator.state,
        }  # fmt: skip

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return its tensors by name."""
        parts = {"model": self.network.state_dict(), "average": self.average.state_dict()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            parts[f"optimizer.{index}"] = moments
        parts |= {"best": self.best, "random": {"cpu": torch.get_rng_state()}}
        if self.network.device.type == "cuda":
            parts["random"]["cuda"] = torch.cuda.get_rng_state(self.network.device)
        found = {f"{part}.{name}": v for part, state in parts.items() for name, v in state.items()}
        return found | ({"running": torch.stack(self.running)} if self.running else {})

    def restore(self, numbers: dict, tensors: dict[str, torch.Tensor]) -> None:
        """Go on from what :meth:`numbers` and :meth:`tensors` returned."""
        self.n_made, self.waited = numbers["n_made"], numbers["waited"]
        self.best_loss, self.history = numbers["best_loss"], TrainingHistory(**numbers["history"])
        self.batches.order = np.array(numbers["order"], int)
        self.batches.rng.bit_generator.state = numbers["rng"]

        def part(name: str) -> dict[str, torch.Tensor]:
            start = f"{name}."
            return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}

        device = self.network.device
        self.network.load_state_dict(part("model"))
        self.average.load_state_dict(part("average"))
        self.best = {name: value.to(device) for name, value in part("best").items()}
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in part("optimizer").items():
            index, _, key = name.partition(".")
            moments.setdefault(int(index), {})[key] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})
        self.running = list(tensors["running"].to(device)) if "running" in tensors else []
        torch.set_rng_state(tensors["random.cpu"])
        if device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random.cuda"], device)


def train_denoiser(
    denoiser: "Denoiser",
    network: "BrainDiT",
    data: "TrialArrays",
    power: np.ndarray | None,
    validation: np.ndarray,
    *,
    seed: int,
    checkpoint: str | os.PathLike | None = None,
) -> TrainingHistory:
    r"""Train a network of a denoiser on residuals, in place.

    .. math:: L = E_{x_0, c, t, \epsilon} \lVert o_\theta(x_t, t, c) - o(x_0, \epsilon, t) \rVert^2

    with :math:`t` uniform, :math:`o` what the scheduler says is predicted, and the image
    :math:`c` replaced by none with probability ``condition_dropout``. AdamW decays matrices alone,
    at a rate that warms up and falls to zero as a cosine. Weights are averaged exponentially over
    gradient steps, and twenty times the averaged weights are judged on held-out trials at fixed
    timesteps and with fixed noise; the best are kept, the untrained ones among them. All random
    numbers come from ``seed`` on the CPU. Where ``torchrun`` started several processes each
    computes its part of every batch, and the first writes the checkpoint.

    network: on return it is in evaluation mode, with the best weights.
    data: ``y`` are the residuals, as the network is to draw them.
    power (n_trials, n_power) | None: scores of the power of each trial.
    validation (n_trials,): the trials held out.
    checkpoint: a folder to keep the training in while it runs. A training of the same network,
        data and parameters goes on where the last one was stopped, and ends with the same weights,
        on one CPU thread to the last bit.
    """
    processes, n_train = Processes(), int(np.sum(~validation))
    if min(denoiser.batch_size, n_train) < processes.count:
        raise ValueError(
            f"batch_size={denoiser.batch_size} and {n_train} training trials are shared by "
            f"{processes.count} processes; start fewer."
        )
    max_iter = denoiser.steps_for(len(data.y))
    eval_every = max(_LEAST_BETWEEN, max_iter // _EVALUATIONS)
    seed = processes.share(seed)
    rng = np.random.default_rng(seed)
    loss_of = Loss(denoiser, network, data, power)
    held_out = HeldOut(loss_of, np.flatnonzero(validation), rng)
    batches = Batches(loss_of, np.flatnonzero(~validation), rng)
    keep = None
    if checkpoint is not None and processes.rank == 0:
        settings = {name: getattr(denoiser, name) for name in _OF_TRAINING}
        settings |= {"max_iter": max_iter, "eval_every": eval_every, "seed": seed}
        settings["scheduler"] = {k: str(value) for k, value in vars(denoiser.scheduler_).items()}
        arrays = [data.y, data.image_index, loss_of.token_mask, data.subject, power]
        tokens = denoiser.scaled_.of(data.tokens)
        images = gen_batches(data.image_index.max() + 1, 256)
        given = (tokens[some] for some in images)
        arrays = itertools.chain([*arrays, data.y_mask, validation], given)
        keep = Checkpoint(checkpoint, identify(settings, network, arrays))
    training = Training(denoiser, network, batches)
    training.judge(held_out, processes)
    logger.info(f"Denoiser, held-out loss untrained: {training.best_loss:.4f}.")
    network.train()
    try:
        with seeded_init(seed, network.device):  # dropout draws from the global generators
            found = processes.share(None if keep is None else keep.load())
            if found is not None:
                training.restore(*found)
            first = training.n_made
            last = first if training.is_over else max_iter
            steps = range(first, last)
            for i in steps if processes.rank else progress_bar(steps, "Training the denoiser"):
                if keep is not None and keep.due():
                    keep.save({"done": False, **training.numbers()}, training.tensors())
                training.step(max_iter, processes)
                if i + 1 == first + _WARM_STEPS:
                    start = perf_counter()
                elif i + 1 == first + 2 * _WARM_STEPS:
                    _tell_duration((perf_counter() - start) / _WARM_STEPS, last - i - 1)
                if (i + 1) % eval_every == 0 or i + 1 == max_iter:
                    training.judge(held_out, processes)
                    if training.is_over:
                        break
            if keep is not None:
                keep.save({"done": True, **training.numbers()}, training.tensors())
    except KeyboardInterrupt:
        if denoiser.interrupt != "keep" or processes.count > 1:
            raise
        warn("The training was stopped; the best weights so far are kept.")
    network.load_state_dict(training.best)
    network.eval()
    logger.info(
        f"Denoiser: best held-out loss {training.best_loss:.4f} after "
        f"{training.history.best_iter} of {training.n_made} gradient steps."
    )
    return training.history


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
