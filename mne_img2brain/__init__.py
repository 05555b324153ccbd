"""The M/EEG response to an image: images and epochs in, generated epochs out."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what __getattr__ finds when it is asked
    from . import baselines, datasets, metrics, stimulus, viz
    from ._sys_info import sys_info
    from .diffusion import Denoiser
    from .encoder import ImageToBrainEncoder, read_encoder, write_generated
    from .evaluation import evaluate
    from .regressor import DiffusionRegressor
    from .stimulus import ClipEmbedder, GaborEmbedder

__version__ = "0.1.0"

# Public name -> module that holds it. Read on first use, so that importing the package imports
# neither torch nor transformers nor matplotlib.
_HOME = {
    "ClipEmbedder": "stimulus.clip",
    "Denoiser": "diffusion",
    "DiffusionRegressor": "regressor",
    "GaborEmbedder": "stimulus.gabor",
    "ImageToBrainEncoder": "encoder",
    "evaluate": "evaluation",
    "read_encoder": "encoder",
    "sys_info": "_sys_info",
    "write_generated": "encoder",
}
_MODULES = {
    "attribution": "encoder.attribution",
    **{
        name: name
        for name in ("baselines", "datasets", "experiments", "metrics", "stimulus", "viz")
    },
}

__all__ = ["__version__", *sorted([*_HOME, *_MODULES])]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{_MODULES[name]}")
    if name in _HOME:
        value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
