"""What was seen: images, or tokens of images, each distinct one embedded once."""

import dataclasses
import hashlib
import inspect
from pathlib import Path

import numpy as np

from .._log import logger
from .._types import Embedder, Images
from .images import ImageList, image_list, image_name, refuse_unordered, tell_apart, unique_images


@dataclasses.dataclass(frozen=True)
class Stimuli:
    """Images in the order the user gave them, and the tokens of the distinct ones."""

    tokens: np.ndarray  # (n_distinct, n_tokens, n_features): by the embedder, or the user's own
    index: np.ndarray  # (n_images,): which row of tokens each image is
    keys: list  # one content hash per image
    names: list  # one file name per image, empty where there is none
    captions: list | None  # one per image

    def __len__(self) -> int:
        return len(self.index)


def load_tokens(images: Images) -> np.ndarray | None:
    """Return tokens where the user gave tokens in place of images, else None.

    Tokens are an array of floats with two to four dimensions (images first), or the name of a
    ``.npy`` file that holds one; the file is memory-mapped.
    """
    if isinstance(images, (str, Path)) and str(images).endswith(".npy"):
        path = Path(images)
        if not path.is_file():
            raise FileNotFoundError(f"There is no token file {path}.")
        try:
            images = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ValueError(
                f"{path} does not hold a plain array of numbers (objects are not read)."
            ) from error
        if images.dtype.kind != "f":
            raise ValueError(
                f"{path} holds an array of {images.dtype}; tokens are floats of shape (n_images, "
                "n_tokens, n_features)."
            )
    if not isinstance(images, np.ndarray) or images.dtype.kind != "f":
        return None
    if images.ndim == 4 and images.shape[-1] in (1, 3, 4):
        raise ValueError(
            f"An array of floats of shape {images.shape} looks like images; images are uint8, "
            "0 to 255. Tokens of this shape can be given as (n_images, n_tokens, n_features)."
        )
    if images.ndim not in (2, 3, 4):
        raise ValueError(
            f"Tokens have shape {images.shape}; expected (n_images, n_features), (n_images, "
            "n_tokens, n_features) or (n_images, n_rows, n_columns, n_features)."
        )
    if images.size == 0:
        raise ValueError(
            f"Tokens have shape {images.shape}, which holds no number; give at least one image, "
            "token and feature."
        )
    return images


def content_keys(images: list | np.ndarray) -> list[str]:
    """Hash what each image shows, or what its tokens are."""
    if load_tokens(images) is None:
        return image_list(images).content_keys()
    return [_token_key(row) for row in images]


def _token_key(row: np.ndarray) -> str:
    """Hash one image's tokens by value: in single precision, with one zero and one NaN."""
    with np.errstate(over="ignore"):
        row = np.array(row, dtype=np.float32, order="C") + np.float32(0)
    row[np.isnan(row)] = np.nan
    return hashlib.sha256(row.tobytes()).hexdigest()


def indexable(images: Images) -> ImageList | np.ndarray:
    """Return tokens, or images as a list that reads each once, without reading an image."""
    tokens = load_tokens(images)
    return image_list(images) if tokens is None else tokens


def take_images(images: list | np.ndarray, rows: np.ndarray) -> list | np.ndarray:
    """Take sorted rows of what :func:`indexable` returned; all of it is not copied."""
    if len(rows) == len(images):
        return images
    return images[rows] if isinstance(images, np.ndarray) else image_list(images).take(rows)


def present(
    images: Images, embedder: Embedder | None, captions: list[str] | None = None
) -> Stimuli:
    """Embed every distinct image once, by a fitted embedder; tokens need none."""
    tokens = load_tokens(images)
    if tokens is not None:
        if captions is not None:
            captions = check_captions(captions, len(tokens))
        keys = content_keys(tokens)
        first, index = tell_apart(keys)
        if len(first) < len(keys):
            tokens = tokens[first]
        return Stimuli(tokens, index, keys, [""] * len(keys), captions)
    images = image_list(images)
    if embedder is None:
        raise ValueError(
            "This encoder has no embedder: it was fitted on tokens, or saved without its embedder. "
            "Give tokens in place of images, or the embedder to read_encoder(fname, embedder=...)."
        )
    distinct, index, keys = unique_images(images)
    arguments = {}
    texts = None
    takes_captions = "captions" in inspect.signature(embedder.transform).parameters
    if captions is not None:
        texts = check_captions(captions, len(images))
        if not takes_captions:
            raise ValueError(
                f"captions were given, but {type(embedder).__name__} takes none; leave them out, "
                "or use ClipEmbedder."
            )
        # the same image with two captions is two stimuli
        first, apart = tell_apart(list(zip(index.tolist(), texts, strict=True)))
        distinct = distinct.take(index[first])
        keys = [keys[row] for row in index[first]]
        index = apart
        arguments["captions"] = [texts[row] for row in first]
    elif hasattr(embedder, "captions") and (written := embedder.captions(distinct)) is not None:
        texts = [written[row] for row in index]
        if takes_captions:  # those that are returned are those embedded
            arguments["captions"] = written
    more = f" ({len(images)} given)" if len(images) > len(distinct) else ""
    logger.info(f"Embedding {len(distinct)} distinct images{more}.")
    tokens = np.asarray(embedder.transform(distinct, **arguments))
    if tokens.ndim < 2 or len(tokens) != len(distinct) or tokens.dtype.kind != "f":
        raise ValueError(
            f"{type(embedder).__name__}.transform returned shape {tokens.shape} and type "
            f"{tokens.dtype} for {len(distinct)} images; expected one row of floats per image, "
            "(n_images, n_tokens, n_features)."
        )
    names = [image_name(image) for image in images]
    return Stimuli(tokens, index, [keys[row] for row in index], names, texts)


def check_captions(captions: list[str] | str, n_images: int) -> list[str]:
    """Return captions as a list, one string per image."""
    if isinstance(captions, str):
        raise ValueError(
            f"captions is one string for {n_images} images; give a list with one per image."
        )
    refuse_unordered(captions, "captions")
    if not np.iterable(captions):
        raise TypeError(f"captions is a {type(captions).__name__}; give a list of strings.")
    captions = list(captions)
    if len(captions) != n_images:
        raise ValueError(
            f"There are {len(captions)} captions for {n_images} images; give one per image."
        )
    wrong = [i for i, caption in enumerate(captions) if not isinstance(caption, str)]
    if wrong:
        raise ValueError(
            f"Caption {wrong[0]} is a {type(captions[wrong[0]]).__name__}; captions are strings."
        )
    return captions
