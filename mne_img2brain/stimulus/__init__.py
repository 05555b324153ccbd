"""Images to tokens: loading, captions, embedders, one cache on disk."""

import lazy_loader

# Read on first use: a Gabor embedder needs neither torch nor transformers.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "caption_score": ["clip_score"],
        "captions": ["Captioner"],
        "clip": ["ClipEmbedder"],
        "gabor": ["GaborEmbedder"],
        "images": ["check_images", "load_rgb"],
    },
)
