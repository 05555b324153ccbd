"""GaborEmbedder: a model of early vision, without weights and without a download."""

from typing import Self

import numpy as np
from PIL import Image
from scipy import fft
from sklearn.base import BaseEstimator, TransformerMixin

from .._lazy import scratch
from .._parameters import Integer, check_parameters
from ._run import N_JOBS, in_batches
from .images import image_list

_MAX_FILTERED = 2**26
_BATCH = 32  # images at once
_SAVED = ("size", "n_scales", "n_orientations", "grid")


class GaborEmbedder(TransformerMixin, BaseEstimator):
    r"""Multi-scale Gabor energies, luminance, contrast and colour on a grid.

    Each image is brought to ``size`` x ``size`` pixels of luminance and two opponent colours,
    and filtered with quadrature pairs of Gabors, whose energy

    .. math:: E_{s,\theta}(x) = \sqrt{(I * g^{even}_{s,\theta})^2 + (I * g^{odd}_{s,\theta})^2}

    models complex cells [1]_ [2]_. Energies are averaged over each cell of a grid, and their
    logarithm is taken. A token is one cell; its features are the energies by scale and
    orientation, mean luminance, contrast, both opponent colours and their contrast. The first
    token is the mean of all cells.

    Parameters
    ----------
    size : int, default 96
        Width and height at which images are filtered, in pixels.
    n_scales : int, default 4
        Spatial frequencies, an octave apart, from ``size / 4`` cycles per image down.
    n_orientations : int, default 8
        Orientations, from 0 (a vertical grating) in equal steps below 180 degrees.
    grid : int, default 4
        Cells along each side.
    n_jobs : int | None, default None
        Processes that embed images, as in scikit-learn: ``None`` is 1, or what
        ``joblib.parallel_config`` says, which also takes a cluster. It is not saved.

    See Also
    --------
    mne_img2brain.ClipEmbedder : Tokens by CLIP, the default.

    References
    ----------
    .. [1] Adelson & Bergen (1985). Spatiotemporal energy models for the perception of motion.
       J. Opt. Soc. Am. A 2, 284-299.
    .. [2] Kay, Naselaris, Prenger & Gallant (2008). Identifying natural images from human brain
       activity. Nature 452, 352-355.

    Examples
    --------
    >>> from mne_img2brain import GaborEmbedder
    >>> from mne_img2brain.datasets import simulate_images
    >>> images, _ = simulate_images(3, size=32, random_state=0)
    >>> embedder = GaborEmbedder(size=32, n_scales=2, grid=4)
    >>> embedder.fit_transform(images).shape  # mean and 16 cells, 2 * 8 + 6 features
    (3, 17, 22)
    """

    def __init__(
        self,
        size: int = 96,
        n_scales: int = 4,
        n_orientations: int = 8,
        grid: int = 4,
        *,
        n_jobs: int | None = None,
    ) -> None:
        self.size = size
        self.n_scales = n_scales
        self.n_orientations = n_orientations
        self.grid = grid
        self.n_jobs = n_jobs

    def fit(self, images: list | np.ndarray, y: None = None) -> Self:
        """Check the parameters; nothing is learnt."""
        self._check()
        self.n_features_out_ = self.n_scales * self.n_orientations + 6
        return self

    def transform(self, images: list | np.ndarray) -> np.ndarray:
        """Embed images: (n_images, 1 + grid * grid, n_features), cells in reading order."""
        self._check()
        images = image_list(images)
        shape = len(images), 1 + self.grid**2, self.n_scales * self.n_orientations + 6
        tokens = scratch(shape, np.float32)

        def read(row: int) -> Image.Image:
            return images.rgb(row).resize((self.size, self.size), Image.Resampling.BICUBIC)

        for row, array in in_batches(
            self._embed, read, range(len(images)), _BATCH, n_jobs=self.n_jobs, what="Embedding"
        ):
            tokens[row] = array
        return tokens

    def get_state(self) -> dict:
        """Return the parameters that tokens depend on, which are all there is to save."""
        return {name: getattr(self, name) for name in _SAVED}

    @classmethod
    def from_state(cls, state: dict) -> Self:
        """Make a fitted embedder from its saved parameters, which are checked."""
        return cls(**{name: state[name] for name in _SAVED}).fit([])

    def frequencies(self) -> np.ndarray:
        """Return the spatial frequencies: array, shape (n_scales,), in cycles per image."""
        return self.size / 4 / 2.0 ** np.arange(self.n_scales)

    def orientations(self) -> np.ndarray:
        """Return the orientations: array, shape (n_orientations,), in radians."""
        return np.pi * np.arange(self.n_orientations) / self.n_orientations

    def _check(self) -> None:
        check_parameters(
            self, size=Integer(8), n_scales=Integer(1), n_orientations=Integer(1), grid=Integer(1),
            n_jobs=N_JOBS,
        )  # fmt: skip
        # 24 bytes of each while an image is filtered
        n_filtered = self.size**2 * self.n_scales * self.n_orientations
        if n_filtered > _MAX_FILTERED:
            raise ValueError(
                f"size={self.size}, n_scales={self.n_scales} and n_orientations="
                f"{self.n_orientations} are {n_filtered:.2g} filtered pixels an image; give fewer "
                f"than {_MAX_FILTERED:.2g}."
            )
        if self.size % self.grid:
            raise ValueError(f"size={self.size} must be a multiple of grid={self.grid}.")
        if self.size / 4 / 2 ** (self.n_scales - 1) < 1:
            raise ValueError(
                f"n_scales={self.n_scales} is too many for size={self.size}: the lowest spatial "
                "frequency is below one cycle per image."
            )

    def _filters(self) -> np.ndarray:
        """Gabors in the Fourier domain, one half plane each: their response is complex."""
        cycles = fft.fftfreq(self.size) * self.size
        fy, fx = np.meshgrid(cycles, cycles, indexing="ij")
        filters = []
        for frequency in self.frequencies():
            for angle in self.orientations():
                along = fx * np.cos(angle) + fy * np.sin(angle)
                across = -fx * np.sin(angle) + fy * np.cos(angle)
                # bandwidth: one octave in frequency, 0.6 of the frequency across
                envelope = ((along - frequency) / (0.35 * frequency)) ** 2
                envelope += (across / (0.35 * frequency)) ** 2
                filters.append(2 * np.exp(-envelope / 2))
        return np.array(filters, dtype=np.float32)

    def _embed(self, images: list[Image.Image]) -> list[np.ndarray]:
        """Embed some small images."""
        filters = self._filters()
        return [self._embed_one(image, filters) for image in images]

    def _embed_one(self, image: Image.Image, filters: np.ndarray) -> np.ndarray:
        """Embed one image: (1 + grid * grid, n_features)."""
        red, green, blue = np.moveaxis(np.asarray(image, dtype=np.float32) / 255, 2, 0)
        luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
        opponents = red - green, (red + green) / 2 - blue
        spectrum = fft.fft2(luminance - luminance.mean())
        energy = np.abs(fft.ifft2(spectrum * filters))  # (filters, size, size)
        planes = [*energy, luminance, *opponents]
        means = [self._pool(plane) for plane in planes]
        spreads = [
            np.sqrt(np.maximum(self._pool(plane**2) - self._pool(plane) ** 2, 0))
            for plane in planes[len(energy) :]
        ]
        n = len(energy)
        # 1e-3 of full contrast: below that a grating is hardly seen
        log_energy = [np.log10(mean + 1e-3) for mean in means[:n]]
        cells = np.stack([*log_energy, *means[n:], *spreads], axis=1)
        return np.concatenate([cells.mean(axis=0, keepdims=True), cells])

    def _pool(self, plane: np.ndarray) -> np.ndarray:
        """Mean over each cell of the grid: (grid * grid,)."""
        step = self.size // self.grid
        return plane.reshape(self.grid, step, self.grid, step).mean(axis=(1, 3)).ravel()
