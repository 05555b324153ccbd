"""Images to tokens: loading, captions, embedders (listed below), one cache on disk."""

import lazy_loader

# Module, which --embedder names -> class, which saved encoders may hold.
EMBEDDERS = {"clip": "ClipEmbedder", "gabor": "GaborEmbedder"}
# Read on first use: a Gabor embedder needs neither torch nor transformers.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "caption_score": ["clip_score"],
        "captions": ["Captioner"],
        "images": ["check_images", "load_rgb"],
        **{module: [name] for module, name in EMBEDDERS.items()},
    },
)
