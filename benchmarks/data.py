"""Images and responses of any size whose truth is known, made a block at a time."""

from pathlib import Path
from typing import Any

import numpy as np

_BLOCK = 500
_N_SOURCES = 12
_N_NOISE = 30
SFREQ = 250.0


def simulate(
    folder: Path,
    n_images: int,
    n_channels: int = 63,
    n_times: int = 250,
    *,
    n_trials: int = 1,
    nave: int = 4,
    n_tokens: int = 17,
    n_features: int = 768,
    n_new: int = 200,
    n_text: int = 0,
    dtype: str = "float32",
    seed: int = 0,
) -> dict:
    """Simulate tokens and responses into files that can be memory-mapped.

    Sources with a topography and a smooth time course each follow features of the tokens, half of
    them not linearly. Noise is 1/f over time, of sources that many channels share, and white.

    Parameters
    ----------
    folder : Path
        Where the files go.
    n_images, n_channels, n_times, n_trials : int
        Sizes of the training set; ``n_trials`` of each image.
    nave : int
        Of how many single trials each response is the average.
    n_tokens, n_features : int
        Sizes of the tokens of one image.
    n_new : int
        Held-out images, with their noise-free responses.
    n_text : int
        How many of the tokens are those of captions, of which all but the longest are padded.
    dtype : str
        Of the tokens.
    seed : int
        Of everything.

    Returns
    -------
    dict of str
        The paths of ``tokens``, ``y``, ``image_index``, ``new_tokens`` and ``truth``.
    """
    rng = np.random.default_rng(seed)
    drive = rng.standard_normal((n_features, _N_SOURCES)) / n_features**0.5
    place = rng.standard_normal((_N_SOURCES, n_channels))
    times = np.arange(n_times) / n_times - 0.2  # one second
    peak = rng.uniform(0.08, 0.5, (_N_SOURCES, 1))
    course = np.exp(-0.5 * ((times - peak) / 0.04) ** 2)
    patterns = (place[:, :, None] * course[:, None]).reshape(_N_SOURCES, -1)
    latent = rng.standard_normal((40, n_features))  # tokens of one image are alike
    mixing = rng.standard_normal((n_channels, _N_NOISE)) / _N_NOISE**0.5
    frequencies = np.maximum(np.fft.rfftfreq(n_times, 1 / SFREQ), 1)
    shape = frequencies**-0.5 / np.sqrt(np.mean(1 / frequencies))

    def tokens_of(n: int, out: np.ndarray) -> np.ndarray:
        """Make tokens; return the noise-free responses, flat."""
        common = rng.standard_normal((n, 1, 40)) @ latent / 40**0.5
        out[:] = 0.7 * common + 0.7 * rng.standard_normal((n, n_tokens, n_features))
        source = (out[:, 0] + out.mean(axis=1, dtype=float)) @ drive
        source[:, ::2] += np.sin(3 * source[:, ::2])
        return (0.3 * source) @ patterns

    def open_array(name: str, shape: tuple, dtype: Any = np.float32) -> np.ndarray:
        return np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, shape)

    tokens = open_array("tokens", (n_images, n_tokens, n_features), np.dtype(dtype))
    y = open_array("y", (n_images * n_trials, n_channels, n_times))
    index = open_array("image_index", (n_images * n_trials,), np.intp)
    index[:] = np.repeat(np.arange(n_images), n_trials)
    block = max(1, min(_BLOCK, 10**7 // (n_tokens * n_features)))
    for start in range(0, n_images, block):
        images = slice(start, min(start + block, n_images))
        truth = tokens_of(images.stop - start, tokens[images])
        for trial in range(n_trials):
            slow = rng.standard_normal((len(truth), _N_NOISE, n_times), dtype=np.float32)
            slow = np.fft.irfft(np.fft.rfft(slow) * shape, n_times)
            noise = mixing @ slow
            noise += 0.3 * rng.standard_normal(noise.shape, dtype=np.float32)
            rows = slice(start * n_trials + trial, images.stop * n_trials, n_trials)
            y[rows] = truth.reshape(noise.shape) + 2 * noise / nave**0.5
    new = open_array("new_tokens", (n_new, n_tokens, n_features), np.dtype(dtype))
    truth = open_array("truth", (n_new, n_channels, n_times))
    truth[:] = tokens_of(n_new, new).reshape(truth.shape)
    for some in (tokens, new) if n_text else ():
        for image in some[1:]:
            image[n_tokens - rng.integers(n_text) :] = np.nan
    names = ("tokens", "y", "image_index", "new_tokens", "truth")
    return {name: str(folder / f"{name}.npy") for name in names}
