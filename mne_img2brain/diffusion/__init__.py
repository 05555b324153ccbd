"""Diffusion: noise schedule, samplers, training. A denoiser is a callable."""

from .draw_noise import DrawNoise
from .sampling import ddim, dpm_solver, guided
from .scheduler import NoiseScheduler
from .training import TrainingHistory, train_denoiser

__all__ = [
    "DrawNoise",
    "NoiseScheduler",
    "TrainingHistory",
    "ddim",
    "dpm_solver",
    "guided",
    "train_denoiser",
]
