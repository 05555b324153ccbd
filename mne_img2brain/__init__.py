"""The M/EEG response to an image: images and epochs in, generated epochs out."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from . import baselines, datasets, experiments, metrics, stimulus, viz
    from ._sys_info import sys_info
    from .diffusion import Denoiser
    from .encoder import ImageToBrainEncoder, attribution, read_encoder, write_generated
    from .evaluation import evaluate
    from .regressor import DiffusionRegressor
    from .stimulus import ClipEmbedder, GaborEmbedder

__version__ = "0.1.0"

# Read on first use, so that importing the package imports neither torch nor matplotlib.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["baselines", "datasets", "experiments", "metrics", "stimulus", "viz"],
    submod_attrs={
        "_sys_info": ["sys_info"],
        "diffusion": ["Denoiser"],
        "encoder": ["ImageToBrainEncoder", "attribution", "read_encoder", "write_generated"],
        "evaluation": ["evaluate"],
        "regressor": ["DiffusionRegressor"],
        "stimulus": ["ClipEmbedder", "GaborEmbedder"],
    },
)
