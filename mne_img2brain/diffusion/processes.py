"""Processes that train one denoiser together, started by ``torchrun`` or ``accelerate launch``."""

import atexit
import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch
from torch import distributed


class Processes:
    """Those of this training: one, unless the environment says ``WORLD_SIZE``.

    Each runs the same program on the same data with the same random numbers, and computes its
    part of every batch.

    rank, count: which this is, and how many there are. The first is the one that writes.
    """

    def __init__(self) -> None:
        self.rank, self.count = 0, 1
        if not distributed.is_available() or not (
            distributed.is_initialized() or int(os.environ.get("WORLD_SIZE", 1)) > 1
        ):
            return
        if not distributed.is_initialized():
            backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
            distributed.init_process_group(backend)
            atexit.register(distributed.destroy_process_group)
        self.rank, self.count = distributed.get_rank(), distributed.get_world_size()

    def share(self, value: Any) -> Any:
        """Return what the first process has."""
        if self.count == 1:
            return value
        values = [value]
        with _ending(self):
            distributed.broadcast_object_list(values)
        return values[0]

    def add(self, values: torch.Tensor) -> torch.Tensor:
        """Sum over processes, in place."""
        if self.count > 1:
            with _ending(self):
                distributed.all_reduce(values)
        return values

    def add_gradients(self, parameters: list, loss: torch.Tensor) -> torch.Tensor:
        """Sum gradients over processes, in place; return the sum of losses."""
        if self.count == 1:
            return loss
        # what no process needed in this step keeps no gradient: the optimizer then leaves it alone
        used = [float(p.grad is not None) for p in parameters]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([loss.view(1), loss.new_tensor(used), *(g.flatten() for g in grads)])
        loss, used, flat = self.add(flat).split([1, len(used), len(flat) - 1 - len(used)])
        parts = flat.split([p.numel() for p in parameters])
        for parameter, part, n_used in zip(parameters, parts, used.tolist(), strict=True):
            parameter.grad = part.view_as(parameter) if n_used else None
        return loss[0]


@contextlib.contextmanager
def _ending(processes: Processes) -> Iterator[None]:
    """Say what it means that another process does not answer."""
    try:
        yield
    except RuntimeError as error:
        raise RuntimeError(
            f"Process {processes.rank} of {processes.count} cannot reach the others: one of them "
            "has ended. Start all of them again; with fit(checkpoint=...) training goes on from "
            "its last checkpoint."
        ) from error
