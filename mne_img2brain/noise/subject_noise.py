"""The noise of single trials that knows whose they are."""

import copy
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from sklearn.utils import gen_batches

from .._lazy import LazyTrials, take
from .._log import logger
from .trial_noise import TrialNoise

_BATCH = 256  # draws at once
_LEAST_TRIALS = 40  # a covariance over sensors and times is not learnt from fewer


class SubjectNoise:
    """The noise of all subjects, and that of each.

    In whitened space all subjects are alike: one denoiser serves them, and what is drawn gets the
    noise of the subject asked for. Sensors that a subject lacks are noise too, that goes with the
    noise of the others: residuals come with these sensors filled, and are whitened together.

    pooled: serves the average subject, and subjects with fewer than 40 trials.
    own: that of each subject, or None.
    """

    def __init__(self, pooled: TrialNoise) -> None:
        self.pooled = pooled
        self.own: list[TrialNoise | None] = []

    def fit(
        self,
        residuals: np.ndarray | LazyTrials,
        groups: np.ndarray | None,
        n_averaged: np.ndarray,
        subject: np.ndarray | None = None,
    ) -> Self:
        """Learn the noise of all and that of each subject.

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
    ) -> TrialNoise | None:
        """Return the noise of one subject, None with too few trials."""
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
        return self._each(TrialNoise.transform, residuals, subject)

    def inverse_transform(
        self, whitened: np.ndarray, subject: np.ndarray | None = None
    ) -> np.ndarray:
        """Undo :meth:`transform`."""
        return self._each(TrialNoise.inverse_transform, whitened, subject)

    def draw_of(self, numbers: np.ndarray, subject: np.ndarray | None = None) -> np.ndarray:
        """Turn standard normal numbers into residuals of subjects (n_draws,), or of all."""
        return self._each(TrialNoise.draw, numbers, subject)

    def mean(self, tokens: np.ndarray, subject: np.ndarray | None = None) -> None:
        """Noise without a network does not add to the prediction: None."""

    def draw(
        self, tokens: np.ndarray, image_index: np.ndarray, numbers: Callable,
        *, subject: np.ndarray | None = None, **sampling: Any,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:  # fmt: skip
        """Draw residuals as :meth:`mne_img2brain.Denoiser.draw` does, without tokens and steps."""
        for rows in gen_batches(len(image_index), _BATCH):
            draws = np.arange(rows.start, rows.stop)
            whose = None if subject is None else subject[image_index[draws]]
            yield draws, self.draw_of(next(numbers(draws)), whose)

    @property
    def n_stored_trials(self) -> int:
        """Of how many recorded trials it keeps the residuals."""
        # a subject's trials are among those of all too, unless it was learnt later
        own = sum(noise.n_stored_trials for noise in self.own if noise is not None)
        return max(own, self.pooled.n_stored_trials)

    def without_trials(self, *, gaussian: bool = True) -> Self:
        """Return a copy that keeps no recorded trial; parameters as of :class:`TrialNoise`."""
        bare = type(self)(self.pooled.without_trials(gaussian=gaussian))
        bare.own = [
            None if noise is None else noise.without_trials(gaussian=gaussian) for noise in self.own
        ]
        return bare

    def _each(
        self, what: Callable, values: np.ndarray | LazyTrials, subject: np.ndarray | None
    ) -> np.ndarray:
        """Call a method of the noise of each subject."""
        if subject is None:
            return what(self.pooled, values)
        result = np.empty(np.shape(values), np.result_type(values.dtype, np.float32))
        for one in np.unique(subject):
            rows = subject == one
            result[rows] = what(self.own[one] or self.pooled, values[rows])
        return result

    @classmethod
    def from_state(cls, state: dict) -> Self:
        """Make what draws of the attributes of one."""
        self = cls(state["pooled"])
        self.own = state["own"]
        if not isinstance(self.pooled, TrialNoise):
            self.pooled = TrialNoise.from_whitener(self.pooled)
            self.own = [one and TrialNoise.from_whitener(one) for one in self.own]
        return self


SubjectWhitener = SubjectNoise  # as encoders call it that were saved when whiteners drew
