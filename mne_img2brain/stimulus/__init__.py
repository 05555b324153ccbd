"""Images to tokens: loading, captions, embedders, one cache on disk."""

import importlib
from collections.abc import Callable

# Read on first use: a Gabor embedder needs neither torch nor transformers.
_HOME = {
    "Captioner": "captions",
    "ClipEmbedder": "clip",
    "GaborEmbedder": "gabor",
    "check_images": "images",
    "clip_score": "caption_score",
    "load_rgb": "images",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Callable | type:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
