"""Models of others as encoders: a function from images to arrays."""

from collections.abc import Callable, Sequence
from typing import Self

import mne
import numpy as np
from PIL import Image, ImageOps
from sklearn.base import BaseEstimator

from .._types import Encoder, Images
from ..epochs import ChannelScaler
from ..epochs.regions import assign_regions
from ..stimulus.images import image_list

_UNITS = {
    "V": 1.0, "mV": 1e-3, "uV": 1e-6, "nV": 1e-9,
    "T": 1.0, "pT": 1e-12, "fT": 1e-15, "T/m": 1.0, "fT/cm": 1e-13,
}  # fmt: skip
_DIMENSIONS = ("image", "draw", "channel", "time")


class FunctionEmbedder(BaseEstimator):
    """Call a function with images; what it predicts, flattened, is the only token.

    predict, layout, scale, size: as in :func:`wrap_function`, ``scale`` in place of ``unit``.
    shape: (n_channels, n_times) of a prediction; None is not known yet.
    """

    def __init__(
        self, predict: Callable, layout: Sequence[str], scale: np.ndarray, size: int,
        shape: tuple[int, int] | None = None,
    ) -> None:  # fmt: skip
        self.predict = predict
        self.layout = layout
        self.scale = scale
        self.size = size
        self.shape = shape

    def fit(self, images: Images, y: None = None) -> Self:
        """Learn nothing."""
        return self

    def respond(self, images: list | np.ndarray) -> np.ndarray:
        """Return responses times scale, shape (n_images, n_channels, n_times)."""
        square = (self.size, self.size)
        images = image_list(images)
        shown = (images.rgb(row) for row in range(len(images)))
        pixels = np.stack(
            [np.asarray(ImageOps.fit(rgb, square, Image.Resampling.BICUBIC)) for rgb in shown]
        )
        given = self.predict(pixels)
        if hasattr(given, "detach"):  # a tensor, perhaps on an accelerator
            given = given.detach().cpu()
        given = np.asarray(given, dtype=float)
        if given.ndim != len(self.layout) or given.shape[self.layout.index("image")] != len(pixels):
            raise ValueError(
                f"predict returned an array of shape {given.shape} for {len(pixels)} images; "
                f"layout={tuple(self.layout)} expects these dimensions. Give the layout it has."
            )
        wanted = [name for name in _DIMENSIONS if name in self.layout]
        given = given.transpose([self.layout.index(name) for name in wanted])
        if "draw" in wanted:
            given = given.mean(axis=1)
        if self.shape is not None and given.shape[1:] != self.shape:
            raise ValueError(
                f"predict returned {given.shape[1:]} channels and times for each image; there are "
                f"{self.shape} in info and times. Check layout, info and times."
            )
        if not np.isfinite(given).all():
            raise ValueError("predict returned values that are not finite.")
        return given * np.reshape(self.scale, (-1, 1))

    def transform(self, images: list | np.ndarray) -> np.ndarray:
        """Return what the function predicts: array, shape (n_images, 1, n_channels * n_times)."""
        return self.respond(images).reshape(len(images), 1, -1)


class _AsPredicted(BaseEstimator):
    """The regressor of a model whose predictions are the tokens."""

    def predict(self, tokens: np.ndarray, subjects: np.ndarray | None = None) -> np.ndarray:
        return np.reshape(tokens, (len(tokens), -1))


def wrap_function(
    cls: type[Encoder], predict: Callable, info: mne.Info, tmin: float,
    *, layout: Sequence[str], unit: str | float | np.ndarray, baseline: tuple | None, size: int,
) -> Encoder:  # fmt: skip
    """Check what a function predicts for two images of random pixels; make an encoder of it."""
    if not callable(predict):
        raise ValueError(f"predict={predict!r}; give a function of an array of images.")
    if not isinstance(info, mne.Info):
        raise ValueError(f"info={info!r}; give an mne.Info with the channels that predict returns.")
    layout = tuple(layout)
    if len(set(layout)) < len(layout) or not {"image", "channel", "time"} <= set(layout) <= set(
        _DIMENSIONS
    ):
        raise ValueError(
            f"layout={layout}; give 'image', 'channel', 'time' and perhaps 'draw', each once, in "
            "the order of the array that predict returns."
        )
    if isinstance(unit, str) and unit not in _UNITS:
        raise ValueError(f"unit={unit!r}; give one of {', '.join(_UNITS)}, or numbers.")
    scale = np.atleast_1d(np.asarray(_UNITS[unit] if isinstance(unit, str) else unit, float))
    n_channels = len(info["ch_names"])
    if scale.shape not in ((1,), (n_channels,)) or not (np.isfinite(scale) & (scale > 0)).all():
        raise ValueError(
            f"unit has the shape {scale.shape}; give one positive number, or one for each of the "
            f"{n_channels} channels of info."
        )
    embedder = FunctionEmbedder(predict, layout, scale, size)
    noise = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    response = embedder.respond(noise)
    shape = response.shape[1:]
    if shape[0] != n_channels:
        raise ValueError(
            f"predict returned {shape[0]} channels, info has {n_channels}. Check layout and info."
        )
    times = tmin + np.arange(shape[1]) / info["sfreq"]
    if baseline is not None and not times[0] <= (baseline[0] or times[0]) <= times[-1]:
        raise ValueError(f"baseline={baseline} begins outside of {times[0]:g} to {times[-1]:g} s.")
    scaler = ChannelScaler().fit(response, info.get_channel_types())
    scales = np.array([scaler.scales_[kind] for kind in info.get_channel_types()])
    embedder.shape, embedder.scale = shape, np.broadcast_to(scale, (n_channels,)) / scales
    encoder = cls(embedder)
    encoder.embedder_, encoder.regressor_ = embedder, _AsPredicted()
    encoder.scaler_, encoder.info_, encoder.times_ = scaler, info.copy(), times
    encoder.tmin_ = float(tmin)
    encoder.baseline_, encoder.ch_names_ = baseline, list(info["ch_names"])
    encoder.regions_ = assign_regions(info)
    encoder.basis_ = np.eye(n_channels)
    encoder.left_out_, encoder.subjects_, encoder.n_training_subjects_ = [], [], 0
    encoder.training_image_keys_, encoder.image_ids_, encoder.image_id_form_ = [], {}, None
    encoder.event_id_, encoder.n_trials_ = {}, 0
    return encoder
