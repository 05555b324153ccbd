"""The forward process: how much of a response is left at each timestep."""

import functools
import math

import torch

from .._parameters import Integer, check_given

SCHEDULES = ("cosine", "linear")
PREDICTIONS = ("v", "x0", "noise")


class NoiseScheduler:
    r"""Variance-preserving noise schedule and what the denoiser predicts.

    .. math:: x_t = \sqrt{\bar\alpha_t}\,x_0 + \sqrt{1 - \bar\alpha_t}\,\epsilon

    The denoiser's output is :math:`\epsilon` (``"noise"``), :math:`x_0` (``"x0"``) or the velocity
    :math:`v = \sqrt{\bar\alpha_t}\,\epsilon - \sqrt{1 - \bar\alpha_t}\,x_0` (``"v"``) [1]_. With
    zero terminal SNR [2]_ the last :math:`\bar\alpha` is exactly 0: square roots are shifted so
    that the last is 0 and scaled so that the first stays.

    schedule: cosine as in [3]_; linear as in DDPM, from 1e-4 to 0.02 for 1000 timesteps.
    Raises ValueError if a parameter is not known, or the noise is predicted at zero terminal SNR:
        at pure noise that says nothing of the response.

    References
    ----------
    .. [1] Salimans & Ho (2022). Progressive distillation for fast sampling of diffusion models.
    .. [2] Lin et al. (2024). Common diffusion noise schedules and sample steps are flawed. WACV.
    .. [3] Nichol & Dhariwal (2021). Improved denoising diffusion probabilistic models. ICML.
    """

    def __init__(
        self,
        n_timesteps: int = 1000,
        schedule: str = "cosine",
        prediction_type: str = "v",
        zero_terminal_snr: bool = True,
    ) -> None:
        check_given(
            schedule=(schedule, *SCHEDULES), prediction_type=(prediction_type, *PREDICTIONS),
            n_timesteps=(n_timesteps, Integer(2)),
        )  # fmt: skip
        if prediction_type == "noise" and zero_terminal_snr:
            raise ValueError(
                "prediction_type='noise' cannot be used with zero_terminal_snr=True: at pure noise "
                "the predicted noise says nothing of the response. Give prediction_type='v', or "
                "zero_terminal_snr=False."
            )
        self.n_timesteps = n_timesteps
        self.schedule = schedule
        self.prediction_type = prediction_type
        self.zero_terminal_snr = zero_terminal_snr

    @property
    def alpha_bar(self) -> torch.Tensor:
        """Share of the response's variance: float64 tensor, shape (n_timesteps,)."""
        return _alpha_bar(self.n_timesteps, self.schedule, self.zero_terminal_snr)

    def coefficients(
        self, timestep: int | torch.Tensor, like: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        r"""Return :math:`\sqrt{\bar\alpha_t}` and :math:`\sqrt{1 - \bar\alpha_t}`.

        timestep (n_batch,): -1 is the response itself.
        like: gives type and device, and the dimensions to be multiplied with.
        """
        which = (self.n_timesteps, self.schedule, self.zero_terminal_snr)
        tables = _roots(*which, like.dtype, like.device)
        if not isinstance(timestep, int):
            timestep = torch.as_tensor(timestep, device=like.device, dtype=torch.long)
        shape = (-1,) + (1,) * (like.ndim - 1)
        signal, spread = (table[timestep].reshape(shape) for table in tables)
        return signal, spread

    def add_noise(
        self, x0: torch.Tensor, noise: torch.Tensor, timestep: int | torch.Tensor
    ) -> torch.Tensor:
        """Return the response at a timestep (n_batch,): tensor like ``x0``."""
        a, s = self.coefficients(timestep, x0)
        return a * x0 + s * noise

    def target(
        self, x0: torch.Tensor, noise: torch.Tensor, timestep: int | torch.Tensor
    ) -> torch.Tensor:
        """Return what the denoiser should predict: tensor like ``x0``."""
        if self.prediction_type == "x0":
            return x0
        if self.prediction_type == "noise":
            return noise
        a, s = self.coefficients(timestep, x0)
        return a * noise - s * x0

    def predict_x0_noise(
        self, output: torch.Tensor, x_t: torch.Tensor, timestep: int | torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Turn the denoiser's output for ``x_t`` into the response and the noise it implies."""
        a, s = self.coefficients(timestep, x_t)
        if self.prediction_type == "v":
            return a * x_t - s * output, s * x_t + a * output
        if self.prediction_type == "x0":
            return output, (x_t - a * output) / s.clamp(min=1e-12)
        return (x_t - s * output) / a, output

    def timesteps(self, n_steps: int, min_signal: float = 0.0) -> torch.Tensor:
        r"""Choose the timesteps at which the denoiser is called, noisiest first.

        They are evenly spaced and start at the last, pure noise ("trailing" spacing).

        min_signal: least :math:`\sqrt{\bar\alpha_t}`. Predicted noise is turned into a response by
            dividing by it, which magnifies errors without bound where it vanishes; 0.1 keeps them
            at tenfold.
        Returns (n_steps,): strictly decreasing.
        """
        n = int((self.alpha_bar.sqrt() >= min_signal).sum())
        if not 1 <= n_steps <= n:
            raise ValueError(f"n_steps={n_steps}; give an integer from 1 to {n}.")
        position = torch.arange(n_steps, dtype=torch.float64)
        return (n - position * n / n_steps - 1).round().long()


@functools.lru_cache(maxsize=16)
def _alpha_bar(n: int, schedule: str, zero_terminal_snr: bool) -> torch.Tensor:
    """Compute the share of the response's variance at every timestep."""
    if schedule == "linear":
        scale = 1000 / n
        betas = torch.linspace(1e-4 * scale, 0.02 * scale, n, dtype=torch.float64)
        betas = betas.clamp(max=0.999)
    else:
        grid = torch.linspace(0, 1, n + 1, dtype=torch.float64)
        curve = torch.cos((grid + 0.008) / 1.008 * math.pi / 2) ** 2
        betas = (1 - curve[1:] / curve[:-1]).clamp(max=0.999)
    alpha_bar = torch.cumprod(1 - betas, dim=0)
    if zero_terminal_snr:
        root = alpha_bar.sqrt()
        root = (root - root[-1]) * root[0] / (root[0] - root[-1])
        alpha_bar = root**2
    return alpha_bar


@functools.lru_cache(maxsize=16)
def _roots(
    n: int, schedule: str, zero_terminal_snr: bool, dtype: torch.dtype, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Roots of both shares, on the device; the last entry is the response itself."""
    share = _alpha_bar(n, schedule, zero_terminal_snr)
    share = torch.cat([share, torch.ones(1, dtype=torch.float64)])
    return share.sqrt().to(device, dtype), (1 - share).sqrt().to(device, dtype)
