"""Responses to tokens of region x time patch and back; where a token stands; the timestep."""

import math
from typing import Any

import torch
from torch import nn

_N_FREQUENCIES = 64  # of the timestep's embedding


class Patches(nn.Module):
    """Cut responses into patches of brain region x time, and put them together again.

    Regions have different numbers of sensors: patches are padded to the largest region, and every
    region has its own linear maps. Lengths that the patch does not divide are padded with zeros.

    regions (n_channels,): the region of each sensor, any integers.
    """

    def __init__(
        self, n_times: int, regions: list[int], patch_length: int, hidden_size: int
    ) -> None:
        super().__init__()
        regions = torch.as_tensor(regions)
        names, of_channel = torch.unique(regions, return_inverse=True)
        self.n_times = n_times
        self.patch_length = patch_length
        self.n_regions = len(names)
        self.n_patches = math.ceil(n_times / patch_length)
        sizes = torch.bincount(of_channel)
        self.width = int(sizes.max())
        # position of every channel in the padded layout (region, place within the region)
        place = torch.empty_like(of_channel)
        for region in range(len(names)):
            place[of_channel == region] = torch.arange(int(sizes[region]))
        self.slot: torch.Tensor
        self.register_buffer("slot", of_channel * self.width + place, persistent=False)
        n_values = self.width * patch_length
        self.to_token = nn.Parameter(torch.empty(self.n_regions, n_values, hidden_size))
        self.from_token = nn.Parameter(torch.zeros(self.n_regions, hidden_size, n_values))
        self.bias_in = nn.Parameter(torch.zeros(self.n_regions, 1, hidden_size))
        self.bias_out = nn.Parameter(torch.zeros(self.n_regions, 1, n_values))
        for region, size in enumerate(sizes.tolist()):
            nn.init.normal_(self.to_token[region], std=(size * patch_length) ** -0.5)

    def patchify(self, x: torch.Tensor) -> torch.Tensor:
        """Cut: (batch, channel, time) to (batch, region, patch, sensor in region x time)."""
        b = len(x)
        padded = x.new_zeros(b, self.n_regions * self.width, self.n_patches * self.patch_length)
        padded[:, self.slot, : self.n_times] = x
        parts = padded.view(b, self.n_regions, self.width, self.n_patches, self.patch_length)
        return parts.permute(0, 1, 3, 2, 4).flatten(3)  # (b, r, p, w * l)

    def unpatchify(self, patches: torch.Tensor) -> torch.Tensor:
        """Undo :meth:`patchify`."""
        b = len(patches)
        parts = patches.view(b, self.n_regions, self.n_patches, self.width, self.patch_length)
        padded = parts.permute(0, 1, 3, 2, 4).reshape(b, self.n_regions * self.width, -1)
        return padded[:, self.slot, : self.n_times]  # (b, c, t)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Responses to tokens: (batch, region x patch, hidden)."""
        patches = self.patchify(x)  # (b, r, p, v)
        b, r, p, v = patches.shape
        by_region = patches.transpose(0, 1).reshape(r, b * p, v)
        tokens = torch.baddbmm(self.bias_in, by_region, self.to_token)  # (r, b * p, h)
        return tokens.view(r, b, p, -1).transpose(0, 1).reshape(b, r * p, -1)

    def project(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens to responses: (batch, channel, time). Zero before training."""
        b, r, p = len(tokens), self.n_regions, self.n_patches
        by_region = tokens.view(b, r, p, -1).transpose(0, 1).reshape(r, b * p, -1)
        patches = torch.baddbmm(self.bias_out, by_region, self.from_token)  # (r, b * p, v)
        return self.unpatchify(patches.view(r, b, p, -1).transpose(0, 1).contiguous())


class Position(nn.Module):
    """Brain-region embedding + temporal embedding, learnable."""

    def __init__(self, n_regions: int, n_patches: int, hidden_size: int, position: str) -> None:
        super().__init__()
        self.shape = n_regions, n_patches
        self.region = self.time = None
        if position in ("both", "region"):
            self.region = nn.Parameter(0.02 * torch.randn(n_regions, 1, hidden_size))
        if position in ("both", "time"):
            self.time = nn.Parameter(0.02 * torch.randn(1, n_patches, hidden_size))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Add to tokens, (batch, region x patch, hidden)."""
        if self.region is None and self.time is None:
            return tokens
        place: Any = sum(part for part in (self.region, self.time) if part is not None)
        place = place.expand(*self.shape, -1).reshape(1, self.shape[0] * self.shape[1], -1)
        return tokens + place


class TimestepEmbedding(nn.Module):
    """Sines and cosines of the diffusion timestep, through a small network."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        exponents = torch.arange(_N_FREQUENCIES) / _N_FREQUENCIES
        self.frequencies: torch.Tensor
        self.register_buffer("frequencies", 10_000.0**-exponents, persistent=False)
        self.network = nn.Sequential(
            nn.Linear(2 * _N_FREQUENCIES, hidden_size),
            nn.SiLU(),
            nn.Linear(hidden_size, hidden_size),
        )

    def forward(self, timestep: torch.Tensor) -> torch.Tensor:
        """Embed: (batch,) to (batch, hidden)."""
        angle = timestep.float()[:, None] * self.frequencies  # (b, f)
        return self.network(torch.cat([angle.sin(), angle.cos()], dim=1))
