"""Image tokens, standardised row by row as they are asked for."""

import dataclasses
from typing import Any, Self

import numpy as np


@dataclasses.dataclass
class ScaledTokens:
    """Standardised image tokens, computed for the rows that are asked for.

    The tokens of THINGS do not fit in memory in float32; a batch of them does.

    tokens (n_images, n_tokens, n_features): any float type, memory-mapped or not; NaN pads.
    mean, scale (n_features,): what is subtracted and divided by.
    """

    tokens: np.ndarray
    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, tokens: np.ndarray) -> Self:
        """Take mean and SD of every feature over the tokens that are not padding."""
        total: Any = 0.0
        square: Any = 0.0
        count = 0
        for image in tokens:
            real = np.asarray(image, dtype=np.float64)
            real = real[~np.isnan(real[:, 0])]
            count, total = count + len(real), total + real.sum(axis=0)
            square = square + (real**2).sum(axis=0)
        mean = total / count
        scale = np.sqrt(np.maximum(square / count - mean**2, 0))
        # a feature that hardly varies says nothing; do not blow it up
        scale = np.maximum(scale, max(1e-3 * scale.mean(), 1e-12))
        return cls(tokens, mean.astype(np.float32), scale.astype(np.float32))

    def of(self, tokens: np.ndarray) -> Self:
        """Return the same scaling over other images."""
        return dataclasses.replace(self, tokens=tokens)

    @property
    def shape(self) -> tuple:
        """Shape (n_images, n_tokens, n_features)."""
        return self.tokens.shape

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, rows: np.ndarray | slice) -> np.ndarray:
        scaled = (np.asarray(self.tokens[rows], dtype=np.float32) - self.mean) / self.scale
        return np.nan_to_num(scaled)

    @property
    def mask(self) -> np.ndarray:
        """Which tokens are real: array of bool, shape (n_images, n_tokens)."""
        return ~np.isnan(np.asarray(self.tokens[:, :, 0]))
