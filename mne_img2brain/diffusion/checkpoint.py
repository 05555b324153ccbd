"""A training that can go on: all that it is of, in one file that is whole or not there."""

import contextlib
import hashlib
import itertools
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from .. import __version__
from .._files import as_path, whole_file, write_text
from .._log import logger, warn

_EVERY = 60.0  # seconds between two writes
_DAMAGED = (SafetensorError, ValueError, KeyError, TypeError, OSError)


def kept_seed(folder: str | os.PathLike, seed: int) -> int:
    """Keep the seed of a fit that was left to chance, so that the fit can go on."""
    path = as_path(folder, "checkpoint") / "seed.json"
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(kept, int) and kept >= 0:
            return kept
    except (ValueError, FileNotFoundError):
        pass
    write_text(path, json.dumps(seed))
    return seed


class Checkpoint:
    """Where a training is kept, and when."""

    def __init__(self, folder: str | os.PathLike, identity: str) -> None:
        self.path: Path = as_path(folder, "checkpoint") / f"denoiser-{identity[:24]}.safetensors"
        self._last = time.monotonic()

    def due(self) -> bool:
        """Tell whether it is time to write."""
        return time.monotonic() - self._last >= _EVERY

    def save(self, numbers: dict, tensors: dict[str, torch.Tensor]) -> None:
        """Write where the training is."""
        own = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
        with whole_file(self.path) as part:
            save_file(own, part, metadata={"numbers": json.dumps(numbers)})
        self._last = time.monotonic()

    def load(self) -> tuple[dict, dict[str, torch.Tensor]] | None:
        """Return what was saved last.

        Returns tensors: on the CPU. ``None`` in place of both where there is nothing, or it is
            damaged.
        """
        if not self.path.is_file():
            self._warn_of_others()
            return None
        try:
            with safe_open(self.path, framework="pt", device="cpu") as stored:
                numbers = json.loads(stored.metadata()["numbers"])
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        except _DAMAGED as error:
            warn(f"The checkpoint {self.path} is damaged ({error}); training begins anew.")
            return None
        logger.info(f"Training goes on after {numbers['n_made']} gradient steps ({self.path}).")
        return numbers, tensors

    def _warn_of_others(self) -> None:
        """Say where somebody may have thought that a training would go on."""
        for other in sorted(self.path.parent.glob("denoiser-*.safetensors")):
            with contextlib.suppress(*_DAMAGED), safe_open(other, framework="pt") as stored:
                numbers = json.loads(stored.metadata()["numbers"])
                if not numbers["done"]:
                    warn(
                        f"{other} is a training that was stopped after {numbers['n_made']} steps, "
                        "of other data, parameters or versions: this one begins anew."
                    )


def identify(settings: dict, network: torch.nn.Module, arrays: Iterable) -> str:
    """Hash what a training depends on."""
    settings = {**settings, "versions": [__version__, torch.__version__]}
    found = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    weights = [value.detach().cpu().numpy() for value in network.state_dict().values()]
    for array in itertools.chain(weights, arrays):
        found.update(b"none" if array is None else repr((array.shape, array.dtype)).encode())
        if array is not None:
            found.update(np.ascontiguousarray(array).data.cast("B"))
    return found.hexdigest()
