"""The same by a conditional diffusion transformer: network, noise schedule, samplers, training."""

from .checkpoint import kept_seed
from .denoiser import Denoiser
from .dit import BrainDiT, Condition
from .sampling import DrawNoise, ddim, dpm_solver, guided
from .scheduler import NoiseScheduler
from .training import TrainingHistory, train_denoiser

__all__ = [
    "BrainDiT",
    "Condition",
    "Denoiser",
    "DrawNoise",
    "NoiseScheduler",
    "TrainingHistory",
    "ddim",
    "dpm_solver",
    "guided",
    "kept_seed",
    "train_denoiser",
]
