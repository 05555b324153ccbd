"""From noise to a response: DDIM, a second-order solver, guidance by the image.

Guidance of the mean is in :mod:`mne_img2brain.regressor.drawing`, that of power in
:mod:`mne_img2brain.noise.power`.
"""

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from .scheduler import NoiseScheduler


def _steps(timesteps: list[int] | torch.Tensor) -> Iterable[tuple[int, int]]:
    """Pair every timestep with the one that follows; -1 is the response itself."""
    return pairwise([*torch.as_tensor(timesteps).tolist(), -1])


def ddim(
    denoiser: Callable, x: torch.Tensor, scheduler: "NoiseScheduler",
    timesteps: list[int] | torch.Tensor, *, eta: float = 0.0, noise: Any = None,
) -> torch.Tensor:  # fmt: skip
    r"""Draw responses with DDIM.

    .. math::

        x_{t'} = \sqrt{\bar\alpha_{t'}}\,\hat x_0
        + \sqrt{1 - \bar\alpha_{t'} - \sigma^2}\,\hat\epsilon + \sigma z, \qquad
        \sigma^2 = \eta^2 \frac{1 - \bar\alpha_{t'}}{1 - \bar\alpha_t}
        \left(1 - \frac{\bar\alpha_t}{\bar\alpha_{t'}}\right)

    where :math:`t'` is the next timestep of the grid that is given, not one that is computed
    again, and :math:`\bar\alpha = 1` after the last [1]_. :math:`\hat x_0` is never clipped.

    denoiser: ``denoiser(x, timestep)``, timestep a tensor of shape (n_batch,).
    x (n_batch, ...): standard normal noise.
    timesteps (n_steps,): strictly decreasing.
    eta: 0 is deterministic, 1 has the variance of DDPM.
    noise: yields the fresh noise :math:`z` of each step; needed where ``eta > 0``.

    References
    ----------
    .. [1] Song, Meng & Ermon (2021). Denoising diffusion implicit models. ICLR.
    """
    for now, after in _steps(timesteps):
        output = denoiser(x, torch.full((len(x),), now, device=x.device))
        x0, epsilon = scheduler.predict_x0_noise(output, x, now)
        signal, spread = scheduler.coefficients(after, x)
        if eta > 0 and after >= 0:
            signal_now, spread_now = scheduler.coefficients(now, x)
            ratio = (signal_now / signal).square()
            sigma = eta * (spread / spread_now) * (1 - ratio).clamp(min=0).sqrt()
            direction = (spread.square() - sigma.square()).clamp(min=0).sqrt()
            x = signal * x0 + direction * epsilon + sigma * next(noise)
        else:
            x = signal * x0 + spread * epsilon
    return x


def dpm_solver(
    denoiser: Callable, x: torch.Tensor, scheduler: "NoiseScheduler",
    timesteps: list[int] | torch.Tensor, *, eta: float = 0.0, noise: Any = None,
) -> torch.Tensor:  # fmt: skip
    r"""Draw responses with the second-order multistep solver DPM-Solver++(2M).

    With :math:`\lambda = \log(\sqrt{\bar\alpha} / \sqrt{1 - \bar\alpha})` and
    :math:`h = \lambda_{t'} - \lambda_t`,

    .. math::

        x_{t'} = \frac{\sigma_{t'}}{\sigma_t} x_t + \alpha_{t'} (1 - e^{-h})
        \left[\hat x_0 + \frac{h}{2 h_{\text{last}}} (\hat x_0 - \hat x_0^{\text{last}})\right]

    [1]_. The first step, the step from pure noise (where :math:`\lambda = -\infty`), the one after
    it and the last one are of first order, which is DDIM.

    eta: must be 0: the solver is deterministic, and meets no further noise.

    References
    ----------
    .. [1] Lu et al. (2025). DPM-Solver++: fast solver for guided sampling of diffusion
       probabilistic models. Machine Intelligence Research.
    """
    if eta != 0:
        raise ValueError(f"eta={eta}, but this solver is deterministic; use ddim, or eta=0.")
    last_x0: Any = None
    last_h: Any = None
    log_snr = _log_snr(scheduler)
    for now, after in _steps(timesteps):
        output = denoiser(x, torch.full((len(x),), now, device=x.device))
        x0, epsilon = scheduler.predict_x0_noise(output, x, now)
        signal, spread = scheduler.coefficients(after, x)
        h = log_snr[after] - log_snr[now]
        estimate = x0
        if last_h is not None and torch.isfinite(h) and torch.isfinite(last_h):
            estimate = x0 + float(h / (2 * last_h)) * (x0 - last_x0)
            # the noise that goes with the corrected response
            signal_now, spread_now = scheduler.coefficients(now, x)
            epsilon = (x - signal_now * estimate) / spread_now
        x = signal * estimate + spread * epsilon
        last_x0, last_h = x0, h
    return x


def _log_snr(scheduler: "NoiseScheduler") -> torch.Tensor:
    """Half the log signal-to-noise ratio of each timestep; the last entry is the response."""
    alpha_bar = torch.cat([scheduler.alpha_bar, torch.ones(1, dtype=torch.float64)])
    return 0.5 * (alpha_bar.log() - torch.log1p(-alpha_bar))


SOLVERS = {"ddim": ddim, "dpm": dpm_solver}
DEFAULT_STEPS = {"ddim": 50, "dpm": 25}


def guided(both: Callable, scale: float) -> Callable:
    r"""Combine a denoiser's outputs by classifier-free guidance, on every channel.

    .. math:: o = o_\varnothing + g\,(o_c - o_\varnothing)

    both: ``both(x, timestep)`` returns the outputs with and without the image (Ho & Salimans, 2022,
        Classifier-free diffusion guidance).
    """

    def denoiser(x: torch.Tensor, timestep: torch.Tensor | None) -> torch.Tensor:
        conditional, unconditional = both(x, timestep)
        return unconditional + scale * (conditional - unconditional)

    return denoiser
