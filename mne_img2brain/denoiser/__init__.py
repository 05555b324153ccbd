"""The denoiser: a diffusion transformer over brain regions and time."""

from .dit import BrainDiT, Condition

__all__ = ["BrainDiT", "Condition"]
