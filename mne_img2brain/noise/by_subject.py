"""Whitening that knows whose residuals it has."""

import copy
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.utils import gen_batches

from .._lazy import LazyTrials, take
from .._log import logger

if TYPE_CHECKING:
    from .whitening import ScaleWhitener, SpaceTimeWhitener

_BATCH = 256  # draws at once
_LEAST_TRIALS = 40  # a covariance over sensors and times is not learnt from fewer


class SubjectWhitener:
    """A whitener for the residuals of all subjects, and one for those of each.

    In whitened space all subjects are alike: one denoiser serves them, and what is drawn gets the
    noise of the subject asked for. Sensors that a subject lacks are noise too, that goes with the
    noise of the others: residuals come with these sensors filled, and are whitened together.

    pooled: serves the average subject, and subjects with fewer than 40 trials.
    own: of each subject the whitener, or None.
    """

    def __init__(self, pooled: "ScaleWhitener | SpaceTimeWhitener") -> None:
        self.pooled = pooled
        self.own = []

    def fit(
        self,
        residuals: np.ndarray | LazyTrials,
        groups: np.ndarray | None,
        n_averaged: np.ndarray,
        subject: np.ndarray | None = None,
    ) -> Self:
        """Fit the pooled whitener and that of each subject.

        residuals: scaled to single trials; sensors that a subject lacks are filled.
        groups (n_trials,) | None: the image of each trial.
        """
        if groups is not None and subject is not None:
            _, groups = np.unique(np.column_stack([groups, subject]), axis=0, return_inverse=True)
        self.pooled.fit(residuals, groups, n_averaged)
        for one in [] if subject is None else range(subject.max() + 1):
            rows = np.flatnonzero(subject == one)
            images = None if groups is None else groups[rows]
            self.own.append(self.fit_one(take(residuals, rows), images, n_averaged[rows]))
        return self

    def fit_one(
        self, residuals: np.ndarray | LazyTrials, groups: np.ndarray | None, n_averaged: np.ndarray
    ) -> Any:
        """Return the whitener of one subject, None with too few trials."""
        if len(residuals) < _LEAST_TRIALS:
            logger.info(
                f"{len(residuals)} trials of a subject do not show its noise: it is taken to be "
                "that of all subjects."
            )
            return None
        return copy.copy(self.pooled).fit(residuals, groups, n_averaged)

    def transform(
        self, residuals: np.ndarray | LazyTrials, subject: np.ndarray | None = None
    ) -> np.ndarray:
        """Whiten: array, shape (n_trials, n_channels, n_times); a subject for each, or None."""
        return self._each("transform", residuals, subject)

    def inverse_transform(
        self, whitened: np.ndarray, subject: np.ndarray | None = None
    ) -> np.ndarray:
        """Undo :meth:`transform`."""
        return self._each("inverse_transform", whitened, subject)

    def colour(self, noise: np.ndarray, subject: np.ndarray | None = None) -> np.ndarray:
        """Turn white noise into draws, with the covariance best for that."""
        return self._each("colour", noise, subject)

    def mean(self, tokens: np.ndarray, subject: np.ndarray | None = None) -> None:
        """Noise without a network does not add to the prediction: None."""

    def draw(
        self, tokens: np.ndarray, image_index: np.ndarray, noise: Callable,
        *, subject: np.ndarray | None = None, **sampling: Any,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:  # fmt: skip
        """Draw residuals as :meth:`mne_img2brain.Denoiser.draw` does, without tokens and steps."""
        for rows in gen_batches(len(image_index), _BATCH):
            draws = np.arange(rows.start, rows.stop)
            whose = None if subject is None else subject[image_index[draws]]
            yield draws, self.colour(noise(draws, 0), whose)

    @property
    def n_stored_trials(self) -> int:
        """Of how many recorded trials it keeps the residuals."""
        # a subject's trials are among those of all too, unless it was learnt later
        own = sum(whitener.n_stored_trials for whitener in self.own if whitener is not None)
        return max(own, self.pooled.n_stored_trials)

    def without_trials(self, *, gaussian: bool = True) -> Self:
        """Return a copy that keeps no recorded trial; parameters as of the whitener's method."""
        bare = type(self)(self.pooled.without_trials(gaussian=gaussian))
        bare.own = [
            None if whitener is None else whitener.without_trials(gaussian=gaussian)
            for whitener in self.own
        ]
        return bare

    def _each(
        self, method: str, values: np.ndarray | LazyTrials, subject: np.ndarray | None
    ) -> np.ndarray:
        """Call the whitener of each subject."""
        own = [] if subject is None else [s for s in np.unique(subject) if self.own[s] is not None]
        rest = np.ones(len(values), bool) if subject is None else ~np.isin(subject, own)
        if rest.all():
            return getattr(self.pooled, method)(values)
        result = np.empty(np.shape(values), np.result_type(values.dtype, np.float32))
        if rest.any():
            result[rest] = getattr(self.pooled, method)(values[rest])
        for one in own:
            rows = subject == one
            result[rows] = getattr(self.own[one], method)(values[rows])
        return result
