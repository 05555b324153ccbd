"""Tokens to one vector per image, for models that read a table."""

import numpy as np


def pool_tokens(
    tokens: np.ndarray, mask: np.ndarray | None = None, *, last: bool = False
) -> np.ndarray:
    r"""Pool the tokens of each image to one vector.

    .. math:: z = [\,h_1,\; \tfrac{1}{|V| - 1}\sum_{t \in V,\, t > 1} h_t,\; h_{\max V}\,]

    where :math:`h_t` are the tokens of one image and :math:`V` the valid ones. The first token is
    CLIP's class token, the mean stands for the patches, and the last valid one is, where captions
    are used, the caption's end token, into which CLIP's text tower writes its summary. Of an image
    with a single valid token the mean is that token.

    tokens (n_images, ..., n_features): what describes the images: one vector each, which passes
        through; tokens, of shape (n_images, n_tokens, n_features), where padding is NaN; or a grid
        of tokens, of shape (n_images, n_rows, n_columns, n_features), which is flattened to
        tokens.
    mask (n_images, n_tokens) | None: which tokens are valid. ``None`` takes those without NaN.
    last: whether the last valid token is appended, which is of use where the tokens of a caption
        follow those of the image.
    Returns pooled (n_images, n_pooled): two-dimensional input as it came, else class token and
        mean, ``2 * n_features`` wide, with ``last=True`` also the last token, ``3 * n_features``.
        Float32 input gives float32, everything else float64.
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
        if mask is not None:
            mask = np.reshape(mask, (len(tokens), -1))
    valid = _valid(tokens, mask)
    n_images, n_tokens, n_features = tokens.shape
    pooled = np.empty((n_images, (3 if last else 2) * n_features), dtype)
    # One image at a time: 334 tokens of 16,540 images in float64 would be 34 GB at once.
    for row, (image, keep) in enumerate(zip(tokens, valid, strict=True)):
        real = image[keep].astype(np.float64)
        rest = real[1:] if len(real) > 1 else real
        parts = [real[0], rest.mean(axis=0)] + ([real[-1]] if last else [])
        pooled[row] = np.concatenate(parts)
    return pooled


def _valid(tokens: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Return which tokens are real, and complain of images without any."""
    if mask is None:
        valid = np.isfinite(tokens).all(axis=2)
    else:
        valid = np.asarray(mask, dtype=bool)
        if valid.shape != tokens.shape[:2]:
            raise ValueError(
                f"The mask of the tokens has shape {np.shape(mask)}, but the tokens have shape "
                f"{tokens.shape}; give one bool for each image and token, {tokens.shape[:2]}."
            )
    empty = np.flatnonzero(~valid.any(axis=1))
    if len(empty):
        raise ValueError(
            f"Image {empty[0]} (and {len(empty) - 1} more) has no valid token; every image needs "
            "at least one token without NaN."
        )
    return valid
