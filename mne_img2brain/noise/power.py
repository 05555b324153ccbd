"""How strong the rhythms of single trials are, given the image."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import norm
from sklearn.utils import gen_batches
from sklearn.utils.extmath import randomized_svd

from .._lazy import LazyTrials, parts_of
from .._linalg import in_threads
from .._log import logger
from .tiles import bands_of, rhythm_components

_MOST_COMPONENTS = 16  # over sensors, of each band
_MOST_SCORES = 20  # and a tenth of the images: noise of the others would hide what a few follow
_LEAST_UNITS = 20  # images, or trials of few images: with fewer a standard error says nothing
_MOST_SLOPE = 2.0  # predictions that are shrunk more than that have found too little to be believed
_CHANCE = 0.01  # that any band is kept where no power follows the image
_FLOOR = 1e-10  # of power, where a filter left nothing but rounding
_MAX_VALUES = 2**24  # numbers of the trials that components are learnt from
_BATCH_VALUES = 2**21


class InducedPower:
    r"""Gains of single-trial residuals that follow the image.

    The power of a tile, a band of frequencies within a window of time
    (:func:`~mne_img2brain.noise.tiles.bands_of`) of a spatial component of that band
    (:func:`~mne_img2brain.noise.tiles.rhythm_components`), is expected to be

    .. math:: E[P \mid \text{image}] \propto \exp g(\text{image}), \qquad
        g = \sum_k s_k(\text{image})\, V_k

    with :math:`V_k` the principal components over tiles of the log power of trials, and
    :math:`s_k` regressions on the tokens of the image. In each band :math:`g` is multiplied with
    the slope of the log power of trials on out-of-fold predictions, and a band is kept only where
    these covary over images by more standard errors than chance would in one fit of a hundred;
    where none is kept nothing is changed. Residuals are divided by their gains before their noise
    is modelled,

    .. math:: r \mapsto r + \sum_b A_b\, \left((e^{-g_b(t) / 2} - 1) \odot W_b^\top r_b(t)\right),

    with :math:`W_b` the filters and :math:`A_b` the patterns of a band, and draws are multiplied.
    Over the images of the fit the mean of :math:`e^g` is 1 for each tile: what the noise loses in
    power at some images it has at others.

    bands_: of each band kept: its ``place`` among the bands, ``low`` and ``high`` in cycles per
        epoch, ``slope``, ``n_errors``, the standard errors of the covariance, and ``filters`` and
        ``patterns``, shape (n_channels, n_components).
    log_power_ (n_scores, n_components, n_kept): log power for a score of 1, of the tiles of bands
        kept.
    offset_, lowest_, highest_ (n_components, n_kept): what is subtracted from :math:`g`, and its
        range over the images of the fit, which predictions do not leave.
    """

    def __init__(self) -> None:
        self.bands_: list[dict] = []
        self.regressor_: Any = None

    def fit_transform(
        self,
        residuals: np.ndarray | LazyTrials,
        image_index: np.ndarray,
        regress: Callable[[np.ndarray], tuple[object, np.ndarray]],
        *,
        by_trial: bool = False,
        subject: np.ndarray | None = None,
    ) -> np.ndarray | LazyTrials:
        """Learn gains, and divide residuals by those that did not see their image.

        residuals: scaled to single trials.
        regress: given scores, shape (n_trials, n_scores), it returns a fitted regressor whose
            ``predict`` takes tokens, and out-of-fold predictions of the scores.
        by_trial: whether folds part the trials of an image: the units of the test are trials then.
        subject (n_trials,) | None: what subjects differ in is not the image's.
        Returns the residuals, divided where they are looked at; as they were where no band is kept.
        """
        self.bands_, self.regressor_ = [], None
        unit = np.arange(len(residuals)) if by_trial else image_index
        n_units = len(np.unique(unit))
        if n_units < _LEAST_UNITS:
            return residuals
        scale, found, logs = measure_log_power(residuals, subject, np.random.default_rng(0))
        components = [(filters / scale, patterns * scale) for filters, patterns in found]
        n_scores = min(_MOST_SCORES, n_units // 10, len(logs), logs[0].size)
        axes = randomized_svd(logs.reshape(len(logs), -1), n_scores, random_state=0)[2]
        logger.info("Log power of rhythms is regressed on the images too.")
        model, predicted = regress(logs.reshape(len(logs), -1) @ axes.T)
        predicted = predicted - predicted.mean(axis=0)
        axes = axes.reshape(-1, *logs.shape[1:])
        self._keep_bands(components, logs, axes, predicted, unit, residuals.shape[2])
        if not self.bands_:
            logger.info("Power that follows the image: none was found.")
            return residuals
        self.regressor_ = model
        self._centre(predicted)
        found = [f"{b['low']:.3g}-{b['high']:.3g} ({b['n_errors']:.1f})" for b in self.bands_]
        logger.info(
            "Power follows the image in these bands, in cycles per epoch (with standard errors): "
            + ", ".join(found)
        )
        return LazyTrials(
            lambda rows: self.divide(residuals[rows], predicted, rows),
            residuals.shape,
            residuals.dtype,
        )

    def _keep_bands(
        self,
        components: list[tuple[np.ndarray, np.ndarray]],
        logs: np.ndarray,
        axes: np.ndarray,
        predicted: np.ndarray,
        unit: np.ndarray,
        n_times: int,
    ) -> None:
        """Judge each band on trials that predictions did not see."""
        bands, kept, end = bands_of(n_times), [], 0
        units = np.unique(unit, return_inverse=True)[1].ravel()
        for k, (band, (filters, patterns)) in enumerate(zip(bands, components, strict=True)):
            start, end = end, end + band.windows.shape[1]
            part = axes[..., start:end]
            # along the axes of the band
            found = np.tensordot(logs[..., start:end], part, axes=((1, 2), (1, 2)))
            of_units = np.bincount(units, weights=np.sum(predicted * found, axis=1))
            error = of_units.std(ddof=1) * len(of_units) ** 0.5
            n_errors = float(of_units.sum() / error) if error > 0 else 0.0
            if n_errors <= norm.isf(_CHANCE / len(bands)):
                continue
            gram = np.einsum("jct,kct->jk", part, part)
            slope = float(of_units.sum() / np.sum((predicted @ gram) * predicted))
            slope = min(slope, _MOST_SLOPE)
            kept.append(slope * part)
            self.bands_.append(
                {
                    "place": k,
                    "low": band.low,
                    "high": band.high,
                    "slope": slope,
                    "n_errors": n_errors,
                    "filters": filters,
                    "patterns": patterns,
                }
            )
        if kept:
            self.log_power_ = np.ascontiguousarray(np.concatenate(kept, axis=2))

    def _centre(self, predicted: np.ndarray) -> None:
        """Set what makes the mean gain 1, and the range of gains."""
        shape = self.log_power_.shape[1:]
        total = np.zeros(shape)
        self.lowest_, self.highest_ = np.full(shape, np.inf), np.full(shape, -np.inf)
        for rows in gen_batches(len(predicted), max(1, _BATCH_VALUES // self.log_power_[0].size)):
            log_power = self._expand(predicted[rows])
            total += np.exp(log_power).sum(axis=0)
            self.lowest_ = np.minimum(self.lowest_, log_power.min(axis=0))
            self.highest_ = np.maximum(self.highest_, log_power.max(axis=0))
        self.offset_ = np.log(total / len(predicted))

    def _expand(self, scores: np.ndarray) -> np.ndarray:
        # einsum, unlike a product of matrices, is the same to the last digit in any batch
        return np.einsum("nk,kct->nct", scores, self.log_power_)

    def predict(self, tokens: np.ndarray) -> np.ndarray:
        """Predict scores (n_images, n_scores), for :meth:`divide` and :meth:`multiply`."""
        if not self.bands_:
            return np.zeros((len(tokens), 0))
        return np.asarray(self.regressor_.predict(tokens)).reshape(len(tokens), -1)

    def multiply(
        self,
        residuals: np.ndarray,
        scores: np.ndarray,
        image_index: np.ndarray,
        guidance_scale: float = 1.0,
    ) -> np.ndarray:
        """Give residuals the power of their image, in place.

        guidance_scale: what log power, against that of the mean power over images, is multiplied
            with.
        """
        return self._scale(residuals, scores, image_index, 0.5 * guidance_scale)

    def divide(
        self, residuals: np.ndarray, scores: np.ndarray, image_index: np.ndarray
    ) -> np.ndarray:
        """Undo :meth:`multiply`, but for where bands overlap, in place."""
        return self._scale(residuals, scores, image_index, -0.5)

    def _scale(
        self, residuals: np.ndarray, scores: np.ndarray, image_index: np.ndarray, exponent: float
    ) -> np.ndarray:
        all_bands = bands_of(residuals.shape[2])
        for rows in parts_of(residuals, _BATCH_VALUES) if self.bands_ else ():
            values, end = residuals[rows], 0
            images, place = np.unique(image_index[rows], return_inverse=True)
            log_power = np.clip(self._expand(scores[images]), self.lowest_, self.highest_)
            log_power = exponent * (log_power - self.offset_)
            for kept in self.bands_:
                band = all_bands[kept["place"]]
                start, end = end, end + band.windows.shape[1]
                gain = np.expm1(log_power[..., start:end] @ band.windows.T)
                sources = band.cut(kept["filters"].T.astype(values.dtype) @ values)
                sources *= gain.astype(values.dtype)[place.ravel()]
                residuals[rows] += kept["patterns"].astype(values.dtype) @ sources
        return residuals


def measure_log_power(
    residuals: np.ndarray | LazyTrials, subject: np.ndarray | None, rng: np.random.Generator
) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """Return the unit of each sensor, filters and patterns of each band in it, and log power."""
    size = residuals[0].size
    most = max(2 * _LEAST_UNITS, _MAX_VALUES // size)
    some = residuals[np.sort(rng.permutation(len(residuals))[:most])]
    scale = np.sqrt(np.mean(np.square(some), axis=(0, 2)))[:, None]
    unit = np.where(scale > 0, scale, 1.0)
    bands = bands_of(residuals.shape[2])
    found = rhythm_components((some / unit).astype(np.float32), bands, _MOST_COMPONENTS)
    # a silent channel has no part in a pattern
    found = [(filters, np.where(scale > 0, patterns, 0.0)) for filters, patterns in found]
    return unit, found, log_power(residuals, unit, [filters for filters, _ in found], subject)


def log_power(
    residuals: np.ndarray | LazyTrials,
    unit: np.ndarray,
    filters: list[np.ndarray],
    subject: np.ndarray | None,
) -> np.ndarray:
    """Return the log power of all tiles, centred subject by subject.

    filters (n_channels, n_components): of each band, of residuals divided by ``unit``.
    Returns (n_trials, n_components, n_tiles).
    """
    bands = bands_of(residuals.shape[2])
    n_tiles = sum(band.windows.shape[1] for band in bands)
    logs = np.empty((len(residuals), filters[0].shape[1], n_tiles), np.float32)

    def measure(rows: slice) -> None:
        trials = (residuals[rows] / unit).astype(np.float32)
        parts = [
            band.power(one.T.astype(np.float32) @ trials)
            for band, one in zip(bands, filters, strict=True)
        ]
        logs[rows] = np.log(np.maximum(np.concatenate(parts, axis=2), _FLOOR))

    in_threads(measure, parts_of(residuals, _BATCH_VALUES))
    for one in [None] if subject is None else np.unique(subject):
        own = slice(None) if one is None else subject == one
        logs[own] -= logs[own].mean(axis=0)
    return logs
