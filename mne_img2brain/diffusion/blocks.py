"""Transformer blocks: adaLN-Zero, self-attention, cross-attention to the image."""

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable


def split_heads(x: torch.Tensor, n_heads: int) -> torch.Tensor:
    """(batch, token, hidden) to (batch, head, token, hidden / head)."""
    return x.unflatten(2, (n_heads, -1)).transpose(1, 2)


def merge_heads(x: torch.Tensor) -> torch.Tensor:
    """(batch, head, token, hidden / head) to (batch, token, hidden)."""
    return x.transpose(1, 2).flatten(2)


class KeyValue(nn.Module):
    """Keys and values of image tokens for one block; they do not depend on the timestep."""

    def __init__(self, hidden_size: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.linear = nn.Linear(hidden_size, 2 * hidden_size)

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(image, token, hidden) to two of (image, head, token, hidden / head)."""
        key, value = self.linear(tokens).chunk(2, dim=2)
        return split_heads(key, self.n_heads), split_heads(value, self.n_heads)


class Block(nn.Module):
    """Self-attention, cross-attention where there is an image to look at, and an MLP.

    Each branch is shifted, scaled and gated by the timestep (adaLN-Zero): an untrained block is
    the identity.
    """

    def __init__(
        self, hidden_size: int, n_heads: int, cross_attention: bool, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.n_branches = 3 if cross_attention else 2
        self.modulation = nn.Linear(hidden_size, 3 * self.n_branches * hidden_size)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        self.norm = nn.LayerNorm(hidden_size, elementwise_affine=False)
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size)
        self.self_out = nn.Linear(hidden_size, hidden_size)
        if cross_attention:
            self.query = nn.Linear(hidden_size, hidden_size)
            self.cross_out = nn.Linear(hidden_size, hidden_size)
        self.mlp = nn.Sequential(
            nn.Linear(hidden_size, 4 * hidden_size),
            nn.GELU(approximate="tanh"),
            nn.Linear(4 * hidden_size, hidden_size),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: torch.Tensor,
        time: torch.Tensor,
        key_value: Any = None,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Transform response tokens (n_batch, n_tokens, hidden_size).

        time (n_batch, hidden_size): embedding of the timestep, after its activation.
        mask (n_batch, 1, 1, n_keys): which keys are real: of the image, where there is
            cross-attention, else of all tokens.
        """
        parts = self.modulation(time)[:, None].chunk(self.n_branches, dim=2)  # (b, 1, 3 * h) each
        own_mask = None if self.n_branches == 3 else mask
        x = self._gate(x, parts[0], lambda h: self.attend_self(h, own_mask))
        if self.n_branches == 3:
            x = self._gate(x, parts[1], lambda h: self.attend_image(h, key_value, mask))
        return self._gate(x, parts[-1], self.mlp)

    def _gate(self, x: torch.Tensor, modulation: torch.Tensor, branch: "Callable") -> torch.Tensor:
        """Add a branch of the normalised, shifted and scaled input, times its gate."""
        shift, scale, gate = modulation.chunk(3, dim=2)  # (b, 1, h) each
        return x + gate * self.dropout(branch(torch.addcmul(shift, self.norm(x), 1 + scale)))

    def attend_self(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Attend to the other response tokens: (batch, token, hidden)."""
        q, k, v = (split_heads(part, self.n_heads) for part in self.qkv(x).chunk(3, dim=2))
        return self.self_out(merge_heads(F.scaled_dot_product_attention(q, k, v, mask)))

    def attend_image(
        self,
        x: torch.Tensor,
        key_value: tuple[torch.Tensor, torch.Tensor],
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Attend to image tokens: (batch, token, hidden)."""
        q = split_heads(self.query(x), self.n_heads)
        return self.cross_out(merge_heads(F.scaled_dot_product_attention(q, *key_value, mask)))

    def weights_on_image(
        self,
        x: torch.Tensor,
        time: torch.Tensor,
        key: torch.Tensor,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return cross-attention weights: (batch, head, response token, image token)."""
        own, across, _ = self.modulation(time)[:, None].chunk(3, dim=2)
        x = self._gate(x, own, self.attend_self)
        shift, scale, _ = across.chunk(3, dim=2)
        h = torch.addcmul(shift, self.norm(x), 1 + scale)
        q = split_heads(self.query(h), self.n_heads)
        logits = q @ key.transpose(2, 3) / q.shape[3] ** 0.5
        if mask is not None:
            logits = logits.masked_fill(~mask, -torch.inf)
        return logits.softmax(dim=3)
