"""Noise drawn by a conditional diffusion transformer: network, schedule, samplers, training."""

from .checkpoint import kept_seed
from .denoiser import Denoiser
from .dit import BrainDiT, Condition
from .sampling import ddim, dpm_solver, guided
from .scheduler import NoiseScheduler
from .training import TrainingHistory, train_denoiser

__all__ = [
    "BrainDiT",
    "Condition",
    "Denoiser",
    "NoiseScheduler",
    "TrainingHistory",
    "ddim",
    "dpm_solver",
    "guided",
    "kept_seed",
    "train_denoiser",
]
