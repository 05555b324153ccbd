"""The distribution of CLIP scores of captions."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .._files import write_text
from .._log import logger
from .._types import Embedder
from .embedding import captions_of


def score_captions(
    file: Path, images: dict, captions: dict | None, embedder: Embedder | None
) -> tuple[pd.DataFrame | None, str | None]:
    """Score captions against their images, once.

    file: the table; it is read where it is there.
    images: images of ``"train"`` and ``"test"``.
    captions: by file name of the image.
    embedder: a :class:`~mne_img2brain.ClipEmbedder` says which CLIP model to use.
    Returns scores: ``split``, ``image``, ``caption``, ``clip_score`` and, as the chance level,
        ``shuffled``: the score of an image with the caption of another.
    Returns reason: why there are no scores.
    """
    if file.is_file():
        return pd.read_csv(file, keep_default_na=False), None
    if captions is None:
        return None, "there are no captions; give captions=, or an embedder that writes them"
    from ..stimulus import clip_score

    model = {
        name: getattr(embedder, name)
        for name in ("model", "pretrained", "device", "batch_size")
        if hasattr(embedder, name)
    }
    parts = []
    for split, paths in images.items():
        texts: Any = captions_of(captions, paths)
        # every image with its neighbour's caption: another image, whatever the order
        others = np.roll(texts, len(texts) // 2).tolist()
        try:
            scores = [clip_score(paths, some, **model) for some in (texts, others)]
        except OSError as error:
            return None, f"images or CLIP weights are not there ({str(error).splitlines()[0]})"
        frame = {"split": split, "image": paths, "caption": texts}
        parts.append(pd.DataFrame({**frame, "clip_score": scores[0], "shuffled": scores[1]}))
        logger.info("CLIP scores of %d %s captions: %.3f.", len(texts), split, scores[0].mean())
    scores = pd.concat(parts, ignore_index=True)
    write_text(file, scores.to_csv(index=False))
    return scores, None
