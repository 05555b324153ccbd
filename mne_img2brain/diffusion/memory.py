"""Batches that the memory of a device does not hold, in parts."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import torch

from .._log import logger

Result = TypeVar("Result")


class Halving:
    """Computes so many rows at once, or as few as fit into the memory of a device from then on."""

    def __init__(self, n_at_once: int) -> None:
        self.n_at_once, self.n_wanted = n_at_once, n_at_once

    def __call__(
        self, compute: Callable[[np.ndarray], Result], rows: np.ndarray
    ) -> Iterator[Result]:
        """Yield what is computed of each part, in order."""
        while len(rows):
            part = rows[: self.n_at_once]
            try:
                found = compute(part)
            except torch.OutOfMemoryError as error:
                if len(part) == 1:
                    raise torch.OutOfMemoryError(
                        "One trial alone does not fit into the memory of the device; give Denoiser "
                        f"a smaller hidden_size or n_layers, or device='cpu'. ({error})"
                    ) from error
                if self.n_at_once == self.n_wanted:
                    logger.info(
                        f"{len(part)} trials at once do not fit into the memory of the device; "
                        "they are computed in parts."
                    )
                self.n_at_once = -(-len(part) // 2)
                continue
            yield found
            rows = rows[len(part) :]
