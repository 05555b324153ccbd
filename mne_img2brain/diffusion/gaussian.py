"""What a Gaussian says of a noisy trial: the network has only the rest to learn."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from ..noise.covariance import into_blocks

if TYPE_CHECKING:
    from ..noise.whitening import SpaceTimeWhitener
    from .scheduler import NoiseScheduler


class GaussianPart(nn.Module):
    r"""The best linear denoiser of half-white residuals.

    Were they Gaussian, with the variance :math:`\lambda` along an eigenvector of their covariance,

    .. math:: E[x_0 \mid x_t] = \frac{\sqrt{\bar\alpha_t}\, \lambda}
        {\bar\alpha_t \lambda + 1 - \bar\alpha_t}\, x_t

    along it. It is what an untrained denoiser returns, so that training starts from the Gaussian
    model.

    whitener: its covariance, on which residuals of all subjects are half white.
    """

    def __init__(self, whitener: "SpaceTimeWhitener", scheduler: "NoiseScheduler") -> None:
        super().__init__()
        self.predicts = scheduler.prediction_type
        alpha_bar = scheduler.alpha_bar
        n_space, n_time = whitener.space_.shape[1], whitener.time_.shape[1]
        place = np.arange(n_space * n_time).reshape(1, n_space, n_time)
        order = into_blocks(place, whitener.structure_)[:, 0]  # (n_blocks, size)
        for name, values in {
            "space": whitener.space_,
            "time": whitener.time_,
            "order": order,
            "back": np.argsort(order.ravel()),
            "vectors": whitener.vectors_,
            "variance": whitener.half_variance[:, None],
            "signal": alpha_bar.sqrt()[:, None],
            "spread": (1 - alpha_bar).sqrt()[:, None],
        }.items():
            values = torch.as_tensor(values.copy() if isinstance(values, np.ndarray) else values)
            values = values.float() if values.is_floating_point() else values
            self.register_buffer(name, values, persistent=False)

    def forward(self, x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """Return what the denoiser is to predict, (n_batch, n_channels, n_times)."""
        own: Any = self  # buffers are tensors
        with torch.autocast(x.device.type, enabled=False):
            z = own.space.T @ x.float() @ own.time
            blocks = z.flatten(1)[:, own.order].transpose(0, 1) @ own.vectors  # (blocks, n, size)
            signal, spread = own.signal[timestep], own.spread[timestep]  # (n, 1)
            power = signal**2 * own.variance + spread**2  # (blocks, n, size)
            gain = signal * spread * (1 - own.variance) / power  # of v
            if self.predicts == "x0":
                gain = signal * own.variance / power
            elif self.predicts == "noise":
                gain = spread / power
            blocks = (gain * blocks) @ own.vectors.mT
            z = blocks.transpose(0, 1).flatten(1)[:, own.back].view_as(z)
            return own.space @ z @ own.time.T
