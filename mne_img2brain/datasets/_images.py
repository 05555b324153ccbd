"""Images made from random numbers, and the low-level features simulated sources see."""

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from .._parameters import Integer, check_given
from .._types import Images
from ..stimulus.images import check_images, load_rgb

CATEGORIES = ("texture", "grating", "disc", "rectangle", "star")


def simulate_images(
    n_images: int, *, size: int = 96, random_state: int | np.random.Generator | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Draw images: a coloured 1/f background and, on most, an object of one of four kinds.

    Parameters
    ----------
    n_images : int
        Number of images.
    size : int, default 96
        Height and width in pixels.
    random_state : int | numpy.random.Generator | None, default None
        Seed; None is fresh entropy.

    Returns
    -------
    images : array of uint8, shape (n_images, size, size, 3)
        The images.
    categories : array of str, shape (n_images,)
        What each shows: ``"texture"``, ``"grating"``, ``"disc"``, ``"rectangle"`` or ``"star"``,
        in turn.

    Raises
    ------
    ValueError
        If there are no images, or they have fewer than 8 pixels or more than 4096 along each side.

    See Also
    --------
    simulate_epochs : Simulate responses to them.

    Examples
    --------
    >>> from mne_img2brain.datasets import simulate_images
    >>> images, categories = simulate_images(5, size=32, random_state=0)
    >>> images.shape, categories.tolist()
    ((5, 32, 32, 3), ['texture', 'grating', 'disc', 'rectangle', 'star'])
    """
    check_given(n_images=(n_images, Integer(1)), size=(size, Integer(8, 4096)))
    rng = generator(random_state)
    categories = np.array([CATEGORIES[i % len(CATEGORIES)] for i in range(n_images)])
    images = np.stack([_draw(category, size, rng) for category in categories])
    return images, categories


def generator(random_state: int | np.random.Generator | None) -> np.random.Generator:
    """Return a generator of random numbers."""
    kinds = Integer(0), np.random.Generator, np.random.SeedSequence, None
    check_given(random_state=(random_state, *kinds))
    return np.random.default_rng(random_state)


def image_features(images: Images, n_pixels: int = 32) -> np.ndarray:
    """Measure contrast, orientation, colour and luminance in each quarter of the visual field.

    Returns (n_images, 4, 8): quarters upper left, upper right, lower left, lower right; features:
        fine contrast, coarse contrast, energy at 0, 45, 90 and 135 degrees, colour contrast,
        luminance.
    """
    loaded = (load_rgb(image, index) for index, image in enumerate(check_images(images)))
    box = Image.Resampling.BOX
    small = (np.asarray(item.resize((n_pixels, n_pixels), box)) for item in loaded)
    return np.array([_features_of(rgb / 255) for rgb in small])


def _features_of(rgb: np.ndarray) -> np.ndarray:
    """Features of one image, shape (4, 8)."""
    luminance = rgb.mean(axis=2)
    opponent = np.abs(rgb[..., 0] - rgb[..., 1]) + np.abs(rgb[..., 2] - rgb[..., :2].mean(axis=2))
    smooth = gaussian_filter(luminance, 1.5)
    down, right = np.gradient(smooth)
    angle, energy = 2 * np.arctan2(down, right), np.hypot(down, right)
    maps = [np.abs(luminance - smooth), np.abs(smooth - gaussian_filter(luminance, 5))]
    maps += [
        energy * np.clip(np.cos(angle - preferred), 0, None)
        for preferred in np.pi * np.array([0, 0.5, 1, 1.5])
    ]
    maps = np.stack([*maps, opponent, luminance], axis=-1)
    half = len(maps) // 2
    quarters = maps.reshape(2, half, 2, half, -1).mean(axis=(1, 3))
    return quarters.reshape(4, -1)


def _draw(category: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw one image."""
    rows, columns = np.mgrid[:size, :size] / size - 0.5
    image = 0.5 + 0.12 * _one_over_f(size, rng)[..., None] * rng.uniform(0.3, 1.6)
    image = image + 0.10 * rng.standard_normal(3)
    y, x = rows - rng.uniform(-0.22, 0.22), columns - rng.uniform(-0.22, 0.22)
    turn, radius = rng.uniform(0, np.pi), rng.uniform(0.12, 0.3)
    along, across = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    distance = np.hypot(x, y)
    surface = 0.5 + 0.35 * rng.uniform(-1, 1, size=3)
    if category == "texture":
        inside = np.zeros_like(distance)
    elif category == "grating":
        waves = np.sin(2 * np.pi * rng.uniform(4, 14) * along + rng.uniform(0, 2 * np.pi))
        inside = np.exp(-((distance / radius) ** 2))
        surface = 0.5 + 0.5 * rng.uniform(0.3, 1) * waves[..., None] * np.ones(3)
    elif category == "disc":
        inside = distance < radius
    elif category == "rectangle":
        inside = (np.abs(along) < radius) & (np.abs(across) < radius * rng.uniform(0.4, 0.9))
    else:
        n_points = rng.integers(3, 7)
        edge = 0.7 + 0.3 * np.cos(n_points * (np.arctan2(y, x) - turn))
        inside = distance < 1.2 * radius * edge
    inside = np.asarray(inside, float)[..., None]
    image = (1 - inside) * image + inside * surface
    return (255 * np.clip(image, 0, 1)).astype(np.uint8)


def _one_over_f(size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a texture with the amplitude spectrum of natural scenes, variance one."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((size, size))) / frequency
    texture = np.fft.irfft2(spectrum, s=(size, size))
    return texture / texture.std()
