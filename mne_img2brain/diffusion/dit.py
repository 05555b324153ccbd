"""BrainDiT: a diffusion transformer over brain regions and time, conditioned on an image."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .._parameters import check_given
from .blocks import Block, KeyValue
from .embedding import Patches, Position, TimestepEmbedding
from .gaussian import GaussianPart

CONDITIONINGS = ("cross_attention", "addition", "concatenation")
POSITIONS = ("both", "region", "time", "none")
TOKENS = ("region", "channel")


@dataclass
class Condition:
    """Images, projected once and used in every sampling step.

    tokens (n_images, n_tokens, hidden_size): embedded image tokens.
    mask (n_images, n_tokens) | None: which of them are real; ``None`` is all. Known when the
        condition is made: to ask in the forward pass would make the CPU wait for an accelerator.
    key_values: of every block, (n_images, n_heads, n_tokens, ...); empty without cross-attention.
    """

    tokens: torch.Tensor
    mask: torch.Tensor | None
    key_values: list

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, rows: torch.Tensor) -> "Condition":
        """Return the images of some rows, (n_rows,) of int."""
        pairs = [(key[rows], value[rows]) for key, value in self.key_values]
        mask = None if self.mask is None else self.mask[rows]
        return Condition(self.tokens[rows], mask, pairs)

    def join(self, nothing: "Condition") -> "Condition":
        """Return these images and then conditions "no image", each of a single token."""
        n, mask = self.tokens.shape[1], self.mask
        # Attention to copies of one token is attention to that token: no mask is needed.
        copies = bool(self.key_values) and mask is None

        def both(some: torch.Tensor, none: torch.Tensor) -> torch.Tensor:
            none = none.expand(*none.shape[:-2], n, -1) if copies else F.pad(none, (0, 0, 0, n - 1))
            return torch.cat([some, none])

        if not copies and (mask is not None or n > 1):
            real = mask if mask is not None else self.tokens.new_ones(len(self), n).bool()
            first = torch.arange(n, device=real.device) == 0
            mask = torch.cat([real, first.expand(len(nothing), n)])
        pairs = zip(self.key_values, nothing.key_values, strict=True)
        pairs = [(both(a[0], b[0]), both(a[1], b[1])) for a, b in pairs]
        return Condition(both(self.tokens, nothing.tokens), mask, pairs)

    def pooled(self) -> torch.Tensor:
        """Mean of the real tokens: (n_images, hidden_size)."""
        if self.mask is None:
            return self.tokens.mean(1)
        weight = self.mask[:, :, None].to(self.tokens.dtype)
        return (self.tokens * weight).sum(1) / weight.sum(1).clamp(min=1)


class BrainDiT(nn.Module):
    r"""Denoise responses to images.

    A token is one brain region in one stretch of time, placed by a region embedding + a temporal
    embedding. Blocks are those of DiT [1]_ (adaLN-Zero on the timestep) with cross-attention in
    between: response tokens are the Query, image and caption tokens Key and Value [2]_. The last
    linear map starts at zero, so an untrained model returns zero.

    Parameters and references are as of :class:`~mne_img2brain.Denoiser`, and

    n_features: width of an image token.
    conditioning: how the image enters: by cross-attention; as the mean of its tokens, added to the
        timestep's embedding; or as further tokens of self-attention.
    tokens: whether a token spans a region or one sensor; the latter is many times as costly.
    n_power: how many scores of a trial's power the timestep's embedding is joined by; 0 for none.
    n_subjects: subjects with an embedding of their own; 0 for none.
    n_adapted: how many of these, the last ones, do not count in the average subject.
    """

    def __init__(
        self,
        n_times: int,
        regions: list[int],
        n_features: int,
        *,
        hidden_size: int = 128,
        n_layers: int = 4,
        n_heads: int = 4,
        patch_length: int = 10,
        conditioning: str = "cross_attention",
        position: str = "both",
        tokens: str = "region",
        n_power: int = 0,
        n_subjects: int = 0,
        n_adapted: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_given(
            conditioning=(conditioning, *CONDITIONINGS), position=(position, *POSITIONS),
            tokens=(tokens, *TOKENS),
        )  # fmt: skip
        if hidden_size % n_heads:
            raise ValueError(
                f"hidden_size={hidden_size} is not a multiple of n_heads={n_heads}; each head "
                "takes an equal part of the width."
            )
        self.conditioning = conditioning
        if tokens == "channel":
            regions = range(len(regions))
        self.patches = Patches(n_times, list(regions), patch_length, hidden_size)
        self.position = Position(
            self.patches.n_regions, self.patches.n_patches, hidden_size, position
        )
        self.timestep = TimestepEmbedding(hidden_size)
        self.power: Any = None
        if n_power:
            self.power = nn.Sequential(
                nn.Linear(n_power, hidden_size), nn.SiLU(), nn.Linear(hidden_size, hidden_size)
            )
        self.gaussian: GaussianPart | None = None  # what is added to what the network says
        self.n_average = n_subjects - n_adapted
        self.subject: Any = nn.Embedding(n_subjects, hidden_size) if n_subjects else None
        if self.subject is not None:
            nn.init.normal_(self.subject.weight, std=0.02)
        self.image = nn.Sequential(nn.Linear(n_features, hidden_size), nn.LayerNorm(hidden_size))
        self.no_image = nn.Parameter(0.02 * torch.randn(1, 1, hidden_size))
        across = conditioning == "cross_attention"
        self.key_values = nn.ModuleList(
            KeyValue(hidden_size, n_heads) for _ in range(n_layers if across else 0)
        )
        self.blocks = nn.ModuleList(
            Block(hidden_size, n_heads, across, dropout) for _ in range(n_layers)
        )
        self.norm = nn.LayerNorm(hidden_size, elementwise_affine=False)
        self.modulation = nn.Linear(hidden_size, 2 * hidden_size)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.no_image.device

    def encode_condition(
        self, tokens: torch.Tensor, token_mask: torch.Tensor | None = None
    ) -> Condition:
        """Project finite tokens to what every block needs of them.

        token_mask (n_images, n_tokens) | None: which are real; best left on the CPU, where asking
            whether all are costs nothing.
        """
        if token_mask is not None:
            token_mask = None if bool(token_mask.all()) else token_mask.to(tokens.device)
        return self._condition(self.image(tokens), token_mask)

    def null_condition(self, n_images: int = 1) -> Condition:
        """Return the learnt condition "no image"."""
        return self._condition(self.no_image.expand(n_images, -1, -1), None)

    def _condition(self, tokens: torch.Tensor, mask: torch.Tensor | None) -> Condition:
        return Condition(tokens, mask, [project(tokens) for project in self.key_values])

    def forward(
        self,
        x: torch.Tensor,
        timestep: torch.Tensor,
        condition: Condition,
        subject: torch.Tensor | None = None,
        power: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Denoise responses (n_batch, n_channels, n_times), at a timestep (n_batch,).

        condition: one image per response.
        subject (n_batch,) | None: whose; ``None`` is the average of the subjects' embeddings.
        power (n_batch, n_power) | None: scores of the trial's power; ``None`` are zeros, the mean.
        """
        h, time, mask = self._prepare(x, timestep, condition, subject, power)  # (b, n, h), (b, h)
        n_response = h.shape[1] - (
            condition.tokens.shape[1] if self.conditioning == "concatenation" else 0
        )
        pairs = condition.key_values or [None] * len(self.blocks)
        for block, key_value in zip(self.blocks, pairs, strict=True):
            h = block(h, time, key_value, mask)  # (b, n, h)
        h = h[:, -n_response:]  # (b, region x patch, h)
        shift, scale = self.modulation(time)[:, None].chunk(2, dim=2)  # (b, 1, h)
        h = torch.addcmul(shift, self.norm(h), 1 + scale)  # (b, region x patch, h)
        output = self.patches.project(h)  # (b, channel, time)
        return output if self.gaussian is None else output + self.gaussian(x, timestep)

    def average_subject(self) -> torch.Tensor:
        """Return the mean embedding of the subjects of the training: (hidden_size,)."""
        weight = self.subject.weight
        return weight[: self.n_average].sum(0) / max(self.n_average, 1)

    def _prepare(
        self,
        x: torch.Tensor,
        timestep: torch.Tensor,
        condition: Condition,
        subject: torch.Tensor | None = None,
        power: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Embed responses, timestep and subject; say which keys are real."""
        h = self.position(self.patches.embed(x))  # (b, region x patch, h)
        time = self.timestep(timestep)  # (b, h)
        if self.subject is not None:
            whose = self.average_subject() if subject is None else self.subject(subject)
            time = time + whose
        if self.power is not None:
            scores = time.new_zeros(1, self.power[0].in_features) if power is None else power
            time = time + self.power(scores)
        if self.conditioning == "addition":
            return h, F.silu(time + condition.pooled()), None
        mask = condition.mask  # (b, t)
        if self.conditioning == "concatenation":
            if mask is not None:
                own = mask.new_ones(h.shape[:2])  # (b, region x patch)
                mask = torch.cat([mask, own], dim=1)  # (b, t + region x patch)
            h = torch.cat([condition.tokens, h], dim=1)
        return h, F.silu(time), None if mask is None else mask[:, None, None, :]

    def attention(
        self, x: torch.Tensor, timestep: torch.Tensor, condition: Condition
    ) -> torch.Tensor:
        """Return how much each response token of the average subject looks at each image token.

        Returns (n_layers, n_batch, n_heads, n_regions, n_patches, n_tokens): weights that sum to 1
            over image tokens.
        """
        if self.conditioning != "cross_attention":
            raise ValueError(
                f"conditioning={self.conditioning!r} has no cross-attention to look at."
            )
        h, time, mask = self._prepare(x, timestep, condition)
        layers = []
        block: Any
        for block, key_value in zip(self.blocks, condition.key_values, strict=True):
            layers.append(block.weights_on_image(h, time, key_value[0], mask))
            h = block(h, time, key_value, mask)
        grid = (self.patches.n_regions, self.patches.n_patches)
        return torch.stack(layers).unflatten(3, grid)  # (l, b, head, r, p, t)


def check_size(architecture: dict, weights: dict[str, np.ndarray]) -> None:
    """Refuse a denoiser that is larger than its weights before it takes memory."""
    n_numbers = sum(value.size for value in weights.values())
    hidden = architecture["hidden_size"]
    for name, size in architecture.items():
        largest = size if isinstance(size, int) else np.max(size) if name == "regions" else 0
        if largest > n_numbers or (
            name in ("n_features", "n_power", "n_subjects", "patch_length")
            and largest * hidden > n_numbers
        ):
            raise ValueError(f"a denoiser with {name}={largest} and {n_numbers} weights")
    if architecture["n_layers"] * hidden**2 > n_numbers:
        raise ValueError(
            f"a denoiser of {architecture['n_layers']} layers of {hidden} with {n_numbers} weights"
        )
