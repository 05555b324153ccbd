"""Tokens to one vector per image, for models that read a table."""

import numpy as np


def pool_tokens(tokens: np.ndarray, *, last: bool = False) -> np.ndarray:
    r"""Pool the tokens of each image to one vector.

    .. math:: z = [\,h_1,\; \tfrac{1}{|V| - 1}\sum_{t \in V,\, t > 1} h_t,\; h_{\max V}\,]

    where :math:`h_t` are the tokens of one image and :math:`V` the valid ones. The first token is
    CLIP's class token, the mean stands for the patches, and the last valid one is, where captions
    are used, the caption's end token, into which CLIP's text tower writes its summary. Of an image
    with a single valid token the mean is that token.

    tokens: (n_images, n_features), which passes through; (n_images, n_tokens, n_features), where
        padding is NaN; or a grid of them, (n_images, n_rows, n_columns, n_features).
    last: whether the last valid token is appended: where the tokens of a caption follow.
    Returns (n_images, 2 or 3 times n_features), in float32 where tokens are, else in float64.
    """
    tokens = np.asarray(tokens)
    if tokens.ndim not in (2, 3, 4):
        raise ValueError(
            f"tokens has shape {tokens.shape}; expected (n_images, n_features), "
            "(n_images, n_tokens, n_features) or (n_images, n_rows, n_columns, n_features)."
        )
    dtype = np.float32 if tokens.dtype == np.float32 else np.float64
    if tokens.ndim == 2:
        return tokens.astype(dtype, copy=False)
    if tokens.ndim == 4:
        tokens = tokens.reshape(len(tokens), -1, tokens.shape[-1])
    valid = np.isfinite(tokens).all(axis=2)
    empty = np.flatnonzero(~valid.any(axis=1))
    if len(empty):
        raise ValueError(
            f"Image {empty[0]} (and {len(empty) - 1} more) has no valid token; every image needs "
            "at least one token without NaN."
        )
    pooled = np.empty((len(tokens), (3 if last else 2) * tokens.shape[2]), dtype)
    # One image at a time: 334 tokens of 16,540 images in float64 would be 34 GB at once.
    for row, (image, keep) in enumerate(zip(tokens, valid, strict=True)):
        real = image[keep].astype(np.float64)
        rest = real[1:] if len(real) > 1 else real
        parts = [real[0], rest.mean(axis=0)] + ([real[-1]] if last else [])
        pooled[row] = np.concatenate(parts)
    return pooled
