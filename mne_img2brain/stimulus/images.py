"""Whatever an image comes as, the RGB image a person sees."""

import hashlib
import math
import os
import struct
import warnings
import zlib
from collections.abc import KeysView, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .._log import logger
from .._types import Images

# Of what Pillow reads: what needs no other program, and whose decoders come to an end.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "WEBP")
# 6,000 x 5,600: a few hundred MB while it is brought to RGB. What compresses well can claim to be
# larger by a thousand times than its file.
_MAX_PIXELS = 2**25
# Of decoded files, held by a list of images; an image of THINGS takes a megabyte.
_HELD_BYTES = 2**30
# What Pillow raises of files that are none.
_BROKEN = (
    ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RuntimeError, SyntaxError,
    TypeError, ValueError, Image.DecompressionBombError, struct.error, zlib.error,
)  # fmt: skip


def check_images(images: Any) -> list:
    """Return images as a list, one item each, without reading them.

    Parameters
    ----------
    images : list of str | Path | PIL.Image.Image | array, or array, shape \
            (n_images, height, width, 3) | (n_images, height, width), or path-like
        Paths, PIL images or arrays. Arrays are uint8, or uint16 for 16-bit grey. A folder stands
        for the images in it and in its folders, sorted by path.

    Returns
    -------
    list

    Raises
    ------
    TypeError
        If an item is none of these.
    ValueError
        If there is no image, or an array has another shape or type.

    See Also
    --------
    load_rgb : Read one of them.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.stimulus import check_images
    >>> len(check_images(np.zeros((3, 8, 8), np.uint8)))
    3
    >>> check_images(["cat.jpg", "dog.jpg"])
    ['cat.jpg', 'dog.jpg']
    """
    if isinstance(images, (str, Path)):
        if Path(images).is_dir():
            return _images_in(Path(images))
        raise TypeError(
            f"images is one path, {str(images)!r}; give a folder, or a list of images, here "
            f"[{str(images)!r}]."
        )
    if isinstance(images, Image.Image):
        raise TypeError("images is one image; give a list of images, here [image].")
    if hasattr(images, "get_data"):
        raise TypeError(f"images is a {type(images).__name__}, which is a recording; give images.")
    refuse_unordered(images, "images")
    if isinstance(images, np.ndarray):
        _check_array_of_images(images)
    try:
        images = list(images)
    except TypeError as error:
        raise TypeError(
            f"images is a {type(images).__name__}; give a list of paths, PIL images or arrays, or "
            "an array of shape (n_images, height, width, 3)."
        ) from error
    if not images:
        raise ValueError("images is empty; give at least one image.")
    for index, image in enumerate(images):
        if isinstance(image, np.ndarray):
            _check_array(image, index)
        elif not isinstance(image, (str, Path, Image.Image)):
            raise TypeError(
                f"images[{index}] is a {type(image).__name__}; expected a path, a PIL image or an "
                f"array.{_array_hint(image)}"
            )
    return images


def _images_in(folder: Path) -> list:
    """List the images of a folder and the folders in it, sorted by path."""
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in known
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not found:
        raise ValueError(f"There are no images (.jpg, .png ...) in the folder {str(folder)!r}.")
    logger.info("%d images in %s, first %s.", len(found), folder, found[0].name)
    return [str(path) for path in found]


def refuse_unordered(values: object, name: str) -> None:
    """Raise where values come in no order, or not as values: sets, dicts, tables, tensors."""
    kind = type(values).__name__
    if isinstance(values, Set) and not isinstance(values, KeysView):
        raise TypeError(f"{name} is a {kind}, which has no order; give a list.")
    if isinstance(values, Mapping):
        raise TypeError(
            f"{name} is a {kind}; give a list, here list({name}) for its keys or "
            f"list({name}.values()) for its values, in the order of image_ids."
        )
    if hasattr(values, "columns") and hasattr(values, "iloc"):
        raise TypeError(
            f"{name} is a {kind}; give the column of paths, table['column'].tolist(), or tokens as "
            "an array of floats, table.to_numpy('float32')."
        )
    if hint := _array_hint(values):
        raise TypeError(f"{name} is a {kind}.{hint}")


def refuse_missing(values: object, name: str, unit: str) -> None:
    """Raise where labels are None or NaN, which are equal to no other label."""
    values = np.asarray(values).tolist()
    missing = [i for i, value in enumerate(values) if value is None or value != value]
    if missing:
        raise ValueError(
            f"{name}[{missing[0]}] is {values[missing[0]]} ({len(missing)} of {len(values)} are "
            f"missing); give one label per {unit}."
        )


def _array_hint(values: object) -> str:
    """Say how a tensor becomes an array."""
    if not hasattr(values, "numpy") or not hasattr(values, "ndim"):
        return ""
    return (
        " Give arrays: tensor.detach().cpu().numpy(). Images are uint8 of shape (n_images, height, "
        "width, 3); tokens in their place are floats of shape (n_images, n_tokens, n_features)."
    )


def _check_array_of_images(images: np.ndarray) -> None:
    """Raise where an array is no array of images."""
    numbers = images.dtype.kind in "uibcf"
    if numbers and (images.ndim not in (3, 4) or images.dtype not in (np.uint8, np.uint16)):
        raise ValueError(
            f"An array of shape {images.shape} and type {images.dtype} was given as images. Images "
            "are uint8 of shape (n_images, height, width, 3). Tokens in their place are floats of "
            "shape (n_images, n_tokens, n_features): images.astype('float32') makes floats."
        )
    if images.ndim == 3 and images.shape[2] in (3, 4) and images.dtype == np.uint8:
        raise ValueError(
            f"images has shape {images.shape}, which is one RGB image; give a list, here [images]. "
            "(Grey images 3 or 4 pixels wide are given as a list too.)"
        )


def _check_array(image: np.ndarray, index: int) -> None:
    shape_fits = image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (1, 3, 4))
    if not shape_fits or 0 in image.shape:
        raise ValueError(
            f"images[{index}] is an array of shape {image.shape}; expected (height, width), or "
            "(height, width, 3) for RGB, or (height, width, 4) for RGBA."
        )
    if image.dtype != np.uint8 and not (image.dtype == np.uint16 and image.ndim == 2):
        raise ValueError(
            f"images[{index}] is an array of {image.dtype}; expected uint8, 0 to 255 (or uint16 "
            "for grey). Floats from 0 to 1: (255 * image).round().astype('uint8'). Tokens are one "
            "array of floats, (n_images, n_tokens, n_features): np.stack(images)."
        )


def load_rgb(image: str | Path | Image.Image | np.ndarray, index: int = 0) -> Image.Image:
    """Read one image as a person sees it.

    Photographs are turned as their EXIF data say, palettes looked up, 16-bit greys brought to 8
    bits, CMYK converted. What is transparent shows mid-grey, as a grey screen would.

    Parameters
    ----------
    image : str | Path | PIL.Image.Image | array
        The image.
    index : int, default 0
        Its position among the images, for messages.

    Returns
    -------
    PIL.Image.Image
        Of mode RGB.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    PermissionError
        If it may not be read.
    TypeError
        If it is no path, PIL image or array.
    ValueError
        If the file is no image of a format that is read (TIFF and EPS are not: they can hang, or
        start other programs), is cut off, or has more pixels than fit into a few hundred MB.

    See Also
    --------
    check_images : Check images without reading them.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.stimulus import load_rgb
    >>> image = load_rgb(np.full((6, 8), 255, np.uint8))  # 6 rows of 8 grey pixels
    >>> image.mode, image.size, image.getpixel((0, 0))
    ('RGB', (8, 6), (255, 255, 255))
    """
    where = f"images[{index}]"
    if isinstance(image, np.ndarray):
        _check_array(image, index)
        image = Image.fromarray(image[:, :, 0] if image.shape[2:] == (1,) else image)
    elif isinstance(image, (str, Path)):
        where = f"images[{index}], {str(image)!r}"
        image = _open(Path(image), where)
    elif not isinstance(image, Image.Image):
        raise TypeError(
            f"{where} is a {type(image).__name__}; expected a path, a PIL image or an array."
        )
    _decode(image, where)
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        return _from_deep_grey(image, where)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        grey = Image.new("RGBA", image.size, (128, 128, 128, 255))
        return Image.alpha_composite(grey, image).convert("RGB")
    return image.convert("RGB")


def _open(path: Path, where: str) -> Image.Image:
    """Open a file and read its pixels."""
    if os.path.isdir(path):
        raise ValueError(f"{where}, is a folder; give the image's file.")
    if os.path.exists(path) and not os.path.isfile(path):
        raise ValueError(f"{where}: this is not a file.")
    Image.init()
    try:
        # Pillow's own limits are four times as high, and are warnings at first
        with warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning):
            image = Image.open(path, formats=_FORMATS)
        with image:
            _decode(image, where)
        return image
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{where}: there is no such file.") from error
    except PermissionError as error:
        raise PermissionError(f"{where}: you may not read this file.") from error
    except UnidentifiedImageError as error:
        raise ValueError(
            f"{where}: this file is not an image of a format that is read ({', '.join(_FORMATS)}); "
            "save it as PNG."
        ) from error
    except _BROKEN as error:
        if isinstance(error, ValueError) and str(error).startswith(where):
            raise
        raise ValueError(f"{where}: the image is damaged or cut off ({error}).") from error


def _decode(image: Image.Image, where: str) -> None:
    """Read the pixels, or say that they cannot be read."""
    width, height = image.size
    if not width * height:
        raise ValueError(f"{where}: {width} x {height} pixels are no image.")
    if width * height > _MAX_PIXELS:
        raise ValueError(
            f"{where}: {width} x {height} pixels are more than are read ({_MAX_PIXELS:,}); reduce "
            "it before you give it."
        )
    try:
        image.load()
    except _BROKEN as error:
        raise ValueError(f"{where}: the image is damaged or cut off ({error}).") from error


def _from_deep_grey(image: Image.Image, where: str) -> Image.Image:
    """Bring grey of 16 or 32 bits to 8: 16-bit by its range, anything else by its extremes."""
    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"{where} has pixels that are not finite.")
    low, high = 0.0, 65535.0
    if values.min() < 0 or values.max() > high or image.mode == "F":
        low, high = values.min(), max(values.max(), values.min() + 1e-12)
    grey = np.round(255 * (values - low) / (high - low)).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def image_name(image: object) -> str:
    """Return what an image is called: its path as given, or an empty string."""
    if isinstance(image, (str, Path)):
        return str(image)
    return str(getattr(image, "filename", "") or "")


class ImageList(list):
    """Images as they were given, whose files are read and decoded once.

    What a file shows is held as long as the list, or one taken from it, is there; when the files
    take more than a gigabyte, the others are read again at each use. Embedders are given such a
    list: to one that does not know it, it is a list.
    """

    def __init__(self, images: Sequence | np.ndarray, of: "ImageList | None" = None) -> None:
        super().__init__(images)
        self._held: dict[str, Image.Image] = {} if of is None else of._held
        self._keys: list[str] | None = None

    def take(self, rows: Sequence[int] | np.ndarray) -> Self:
        """Return some of the images, which are not read again."""
        taken = type(self)([self[row] for row in rows], self)
        taken._keys = None if self._keys is None else [self._keys[row] for row in rows]
        return taken

    def rgb(self, index: int) -> Image.Image:
        """Return one image as a person sees it."""
        image = self[index]
        if not isinstance(image, (str, Path)):
            return load_rgb(image, index)
        shown = self._held.get(str(image))
        if shown is None:
            shown = load_rgb(image, index)
            # files of a kind are of a size
            if 4 * math.prod(shown.size) * (1 + len(self._held)) <= _HELD_BYTES:
                self._held[str(image)] = shown
        return shown.copy()

    def content_keys(self) -> list[str]:
        """Hash what each image shows, the same for the same image as a path and as an array."""
        if self._keys is None:
            known: dict[str | int, str] = {}
            self._keys = []
            for index, image in enumerate(self):
                identity = str(image) if isinstance(image, (str, Path)) else id(image)
                if identity not in known:
                    pixels = np.asarray(self.rgb(index))
                    digest = hashlib.sha256(repr(pixels.shape).encode())
                    digest.update(np.ascontiguousarray(pixels).tobytes())
                    known[identity] = digest.hexdigest()
                self._keys.append(known[identity])
        return self._keys


def image_list(images: Images) -> ImageList:
    """Return checked images as a list that reads each file once."""
    return images if isinstance(images, ImageList) else ImageList(check_images(images))


def unique_images(images: Images) -> tuple[ImageList, np.ndarray, list[str]]:
    """Return each image once, in order, which of them each image is, and the keys of these."""
    images = image_list(images)
    keys = images.content_keys()
    first, index = tell_apart(keys)
    return images.take(first), index, [keys[row] for row in first]


def tell_apart(keys: Sequence) -> tuple[list[int], np.ndarray]:
    """Return where each key is met first, and which of these keys each is."""
    first: dict = {}
    for row, key in enumerate(keys):
        first.setdefault(key, row)
    place = {key: index for index, key in enumerate(first)}
    return list(first.values()), np.array([place[key] for key in keys])
