"""Images that are copies of others but for their size, their compression or a few pixels."""

from collections.abc import Iterable

import numpy as np
from PIL import Image

from .._log import warn
from .images import image_list
from .stimuli import Stimuli, take_images

# Of 256 bits, those of copies (half and double size, JPEG of quality 30, one bit) differ in 32 at
# most; those of different images of simulate_images in 94, of the 92 objects of Kriegeskorte et al.
# in 94, of frontal faces and houses in 56 at least.
_MOST_BITS = 40
_HASH_SIZE = 16
_N_DIRECTIONS = 32
# Tokens are near where they are a fourth as far as the two most alike of the training images.
_SHARE = 0.25
# and far where no image of the fit is a tenth as far from the mean
_FAR = 10.0


def looks_of(images: list | np.ndarray, tokens: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Describe what images look like, and what their tokens are, in a few bytes each.

    Returns: ``bits``, shape (n_images, 32): perceptual hashes, eight bits a byte. ``shown``, shape
        (n_images,): whether an image has a hash; flat ones have none. Both are absent for tokens.
        ``tokens``, shape (n_images, n): means over tokens in at most 32 random directions.
    """
    looks = {}
    if isinstance(images, np.ndarray) and images.dtype.kind == "f":
        tokens = images
    else:
        images = image_list(images)
        hashes = [_hash(images.rgb(index)) for index in range(len(images))]
        looks["shown"] = np.array([one is not None for one in hashes])
        empty = np.zeros(_HASH_SIZE**2 // 8, np.uint8)
        looks["bits"] = np.stack([empty if one is None else one for one in hashes])
    if tokens is not None:
        looks["tokens"] = _project(tokens)
    return looks


def looks_in_fit(images: list | np.ndarray, stimuli: Stimuli) -> dict[str, np.ndarray]:
    """Describe what the distinct images of a fit look like, and what their tokens are."""
    if isinstance(images, np.ndarray) and images.dtype.kind == "f":
        return looks_of(stimuli.tokens)
    once = np.unique(stimuli.index, return_index=True)[1]
    return looks_of(take_images(images, once), stimuli.tokens)


def add_looks(looks: dict[str, np.ndarray], more: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Put the looks of two sets of images together, as far as both have them."""
    return {name: np.concatenate([looks[name], more[name]]) for name in looks if name in more}


def near_copies(looks: dict[str, np.ndarray], of: dict[str, np.ndarray]) -> np.ndarray:
    """Tell which images are near copies of others; tokens are compared with tokens."""
    n_images = len(next(iter(looks.values())))
    if "bits" in looks:
        if "bits" not in of or not of["shown"].any():
            return np.zeros(n_images, bool)
        ours, others = (_signs(x["bits"]) for x in (looks, of))
        differ = (_HASH_SIZE**2 - ours @ others[of["shown"]].T) / 2
        return (differ.min(axis=1) <= _MOST_BITS) & looks["shown"]
    if "tokens" not in of or looks["tokens"].shape[1] != of["tokens"].shape[1]:
        return np.zeros(n_images, bool)
    return _distances(looks["tokens"], of["tokens"]).min(axis=1) <= _SHARE * _least(of["tokens"])


def warn_of_copies(
    images: list | np.ndarray,
    keys: list[str],
    seen: dict[str, np.ndarray],
    seen_keys: Iterable[str],
    name: str,
) -> None:
    """Warn where images are near copies of those in a fit, without being the same."""
    known, first = set(seen_keys), {}
    for position, key in enumerate(keys):
        if key not in known:
            first.setdefault(key, position)
    positions = np.array(sorted(first.values()), dtype=np.intp)
    if not len(positions) or not seen:
        return
    copies = positions[near_copies(looks_of(take_images(images, positions)), seen)]
    if len(copies):
        warn(
            f"{len(copies)} images (first at position {copies[0]}) are near copies of images in "
            f"the fit of {name}: they differ from them in size, compression or a few pixels, or "
            "their tokens are nearly equal. What they score says nothing about new images; hold "
            "images out by concept. If that is intended: "
            "warnings.filterwarnings('ignore', '.*near copies of images')"
        )


def warn_of_far_tokens(tokens: np.ndarray, seen: dict[str, np.ndarray]) -> None:
    """Warn where tokens are far from all that a fit has seen, of another embedder or scale."""
    if "tokens" not in seen:
        return
    ours, others = _project(tokens), seen["tokens"]
    centre = others.mean(axis=0)
    usual = np.linalg.norm(others - centre, axis=1).max()
    if ours.shape[1] != others.shape[1] or not usual > 0:
        return
    far = np.linalg.norm(ours - centre, axis=1) / usual
    if far.max() > _FAR:
        warn(
            f"The tokens of {np.sum(far > _FAR)} of {len(far)} images are up to {far.max():.0f} "
            "times as far from those in the fit as these are from one another: of another "
            "embedder, or scaled otherwise? The responses predicted are no better than that."
        )


def warn_of_placeholders(stimuli: Stimuli, looks: dict[str, np.ndarray]) -> None:
    """Warn where a fit has one image only, or many that show the same one colour."""
    n_images = len(stimuli)
    if len(set(stimuli.keys)) == 1 < n_images:
        warn(
            f"All {n_images} images are the same, to the last bit: no difference between images "
            "can be learnt."
        )
        return
    for image in np.flatnonzero(~looks.get("shown", np.ones(1, bool))):
        places = np.flatnonzero(stimuli.index == image)
        names = {stimuli.names[place] for place in places}
        n_files = 0 if "" in names else len(names)
        # one colour that is shown again is a control; many files of it, or half of all, are none
        if n_files >= 3 or (not n_files and 3 <= len(places) >= n_images / 2):
            warn(
                f"{n_files or len(places)} of {n_images} images (first at position {places[0]}) "
                "show one and the same colour: do they stand for images that are missing?"
            )


def _hash(image: Image.Image) -> np.ndarray | None:
    """Return a perceptual hash, None for an image without anything on it."""
    import imagehash

    grey = image.convert("L")
    if np.asarray(grey).std() < 2:
        return None
    return np.packbits(imagehash.phash(grey, hash_size=_HASH_SIZE).hash)


def _signs(bits: np.ndarray) -> np.ndarray:
    """Return bits as -1 and 1, whose products count how many are equal."""
    return 2 * np.unpackbits(bits, axis=1).astype(np.float32) - 1


def _project(tokens: np.ndarray) -> np.ndarray:
    """Average tokens of an image, and look at them in a few fixed random directions."""
    n_features, means = tokens.shape[-1], []
    n_tokens = int(np.prod(tokens.shape[1:-1]))
    for start in range(0, len(tokens), 256):  # tokens may be a file larger than the memory
        part = np.asarray(tokens[start : start + 256], float).reshape(-1, n_tokens, n_features)
        known = ~np.isnan(part)
        means.append(np.where(known, part, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1))
    mean = np.concatenate(means)
    if n_features <= _N_DIRECTIONS:
        return mean.astype(np.float32)
    directions = np.random.default_rng(0).standard_normal((n_features, _N_DIRECTIONS))
    return (mean @ directions / np.sqrt(n_features)).astype(np.float32)


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the distances of all rows of two arrays."""
    centre = b.mean(axis=0, dtype=float)
    a, b = a - centre, b - centre
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.sqrt(np.clip(squares, 0, None))


def _least(tokens: np.ndarray) -> float:
    """Return the distance of the two most alike of some images, -1 where there are no two."""
    some = tokens[:: -(-len(tokens) // 2000)]
    between = _distances(some, some)[np.triu_indices(len(some), 1)]
    if len(between) == 0:
        return -1.0
    # The same tokens twice are one image; rounding keeps them apart.
    apart = between[between > 1e-4 * np.median(between)]
    return float(apart.min()) if len(apart) else -1.0
