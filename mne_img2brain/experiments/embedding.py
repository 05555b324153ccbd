"""Tokens of all images, computed once and shared by all fits of an experiment."""

import inspect
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from .._files import whole_file
from .._log import logger
from .._types import Embedder, PathLike
from ..stimulus.stimuli import load_tokens
from .settings import write_json

_CHUNK = 256  # images; 300 tokens of 768 features are 0.24 GB


def read_captions(captions: dict | PathLike | None) -> dict | None:
    """Read captions by the file name of their image, from a dict or a JSON file with one."""
    if captions is None:
        return None
    if not isinstance(captions, dict):
        path = Path(captions)
        if not path.is_file():
            raise FileNotFoundError(f"captions={str(captions)!r} is not a file.")
        captions = json.loads(path.read_text(encoding="utf-8"))
    wrong = not isinstance(captions, dict) or [
        name for name, text in captions.items() if not isinstance(text, str)
    ]
    if wrong:
        raise ValueError(
            "captions are a dict of file names of images to captions, or a JSON file with one; "
            f"given was {str(captions)[:60]}."
        )
    return {Path(name).name: text for name, text in captions.items()}


def captions_of(captions: dict | None, images: list[str]) -> list[str] | None:
    """Return the captions of images in their order."""
    if captions is None:
        return None
    missing = [image for image in images if Path(image).name not in captions]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(images)} images have no caption, first "
            f"{Path(missing[0]).name!r}; give one for each."
        )
    return [captions[Path(image).name] for image in images]


def given_tokens(tokens: dict, n_images: dict, chosen: np.ndarray) -> dict:
    """Check tokens that the user computed, or ``.npy`` files, and take those of chosen images."""
    if not isinstance(tokens, dict) or set(tokens) != {"train", "test"}:
        raise ValueError(
            "tokens holds 'train' and 'test': arrays of floats or names of .npy files, one row for "
            "each image in the order of image_id."
        )
    loaded = {}
    for split, value in tokens.items():
        array = load_tokens(str(value) if isinstance(value, Path) else value)
        if array is None:
            raise ValueError(
                f"tokens[{split!r}] is a {type(value).__name__}; give an array of floats or the "
                "name of a .npy file."
            )
        if len(array) != n_images[split]:
            raise ValueError(
                f"tokens[{split!r}] has {len(array)} rows, but there are {n_images[split]} "
                f"{split} images; give one row for each, in the order of image_id."
            )
        loaded[split] = array
    if loaded["train"].shape[2:] != loaded["test"].shape[2:]:
        raise ValueError(
            f"Tokens of train have shape {loaded['train'].shape}, of test {loaded['test'].shape}; "
            "embed both with one embedder."
        )
    if len(chosen) < len(loaded["train"]):
        loaded["train"] = loaded["train"][chosen]
    return loaded


def shared_tokens(
    folder: Path, images: dict, embedder: Any, captions: dict | None = None
) -> tuple[dict, dict | None]:
    """Embed all images once; what was embedded before is read.

    Tokens are kept as they are ready, so that a killed run goes on where it was.

    captions: by file name; for embedders that take captions.
    Returns tokens (n_images, n_tokens, n_features): memory-mapped; float16 where that loses
        nothing.
    Returns captions: also those that the embedder wrote.
    """
    files = {split: folder / f"tokens-{split}.npy" for split in images}
    to_do = [split for split, file in files.items() if not file.is_file()]
    for paths in (images[split] for split in to_do):
        missing = [image for image in paths if not Path(image).is_file()]
        if missing:
            raise FileNotFoundError(
                f"{len(missing)} of {len(paths)} images are not there, first {missing[0]}. Put the "
                "THINGS images beside the recordings, give reader={'images_dir': ...}, or give "
                "tokens= that were computed elsewhere."
            )
    folder.mkdir(parents=True, exist_ok=True)
    takes = "captions" in inspect.signature(embedder.transform).parameters
    written = folder / "captions.json"
    if captions is None and written.is_file():
        captions = json.loads(written.read_text(encoding="utf-8"))
    elif captions is None and to_do and hasattr(embedder, "captions"):
        everything = [image for paths in images.values() for image in paths]
        texts = embedder.fit(everything).captions(everything)
        if texts is not None:
            names = [Path(image).name for image in everything]
            captions = dict(zip(names, texts, strict=True))
            write_json(written, captions)
    if captions is not None and not takes:
        logger.info("%s takes no captions; they are only scored.", type(embedder).__name__)
    parts = {}
    for split in to_do:
        texts = captions_of(captions, images[split]) if takes else None
        parts[split] = _embed_parts(folder / "parts", split, images[split], embedder, texts)
    # captions of train and test may differ in length; models want one
    there = [file for file in files.values() if file.is_file()]
    width = max(_map(file).shape[1] for file in sum(parts.values(), there))
    for split, of_split in parts.items():
        _join(files[split], of_split, width)
    shutil.rmtree(folder / "parts", ignore_errors=True)
    return {split: _map(file) for split, file in files.items()}, captions


def _embed_parts(
    folder: Path, split: str, images: list[str], embedder: Embedder, captions: list[str] | None
) -> list[Path]:
    """Embed images some at a time, as far as that was not done before; return the files."""
    files = {start: folder / f"{split}-{start}.npy" for start in range(0, len(images), _CHUNK)}
    embedder = embedder.fit(images)
    for start, file in files.items():
        if file.is_file():
            continue
        some = slice(start, start + _CHUNK)
        arguments = {} if captions is None else {"captions": captions[some]}
        tokens = np.asarray(embedder.transform(images[some], **arguments))
        with whole_file(file) as new:
            np.save(new, _halved(tokens.reshape(len(tokens), -1, tokens.shape[-1])))
        done = min(start + _CHUNK, len(images))
        logger.info("Embedded %d of %d %s images.", done, len(images), split)
    return list(files.values())


def _halved(tokens: np.ndarray) -> np.ndarray:
    """Return tokens in float16 where that loses nothing, as with what CLIP's cache holds."""
    with np.errstate(over="ignore"):
        half = tokens.astype(np.float16)
    return half if np.array_equal(half, tokens, equal_nan=True) else tokens.astype(np.float32)


def _map(file: Path) -> np.ndarray:
    """Open an array without reading it."""
    return np.load(file, mmap_mode="r", allow_pickle=False)


def _join(file: Path, parts: list[Path], width: int) -> None:
    """Put tokens of images together, padded with NaN to one number of tokens."""
    mapped = [_map(part) for part in parts]
    dtype = np.result_type(*{part.dtype for part in mapped})
    shape = (sum(map(len, mapped)), width, mapped[0].shape[2])
    with whole_file(file) as new:
        whole = np.lib.format.open_memmap(new, mode="w+", dtype=dtype, shape=shape)
        start = 0
        for part in mapped:
            rows = slice(start, start + len(part))
            whole[rows, : part.shape[1]] = part
            whole[rows, part.shape[1] :] = np.nan
            start += len(part)
        whole.flush()
        del whole
