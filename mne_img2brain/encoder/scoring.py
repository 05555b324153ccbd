"""How far the predictions of an encoder follow recordings."""

from collections.abc import Callable
from typing import Any

import mne
import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._log import logger
from ..epochs import (
    check_like_fit,
    check_times,
    read_recording,
    take_channels,
    to_evoked_map,
)
from ..metrics import r_map
from ..stimulus.near_copies import warn_of_copies
from ..stimulus.tokens import present
from .any_regressor import predict_regressor
from .pairing import pair_trials


class ScoringMixin:
    """The scores of an encoder."""

    ch_names_: list[str]
    embedder_: Any
    info_: mne.Info
    regressor_: Any
    times_: np.ndarray
    tmin_: float
    training_image_keys_: list[str]
    _in_units: Callable
    _shape: Any
    _subject_codes: Callable

    def score(
        self,
        images: Any,
        epochs: Any,
        *,
        image_ids: np.ndarray | list[int] | str | None = None,
        captions: list[str] | str | None = None,
        subject: str | None = None,
    ) -> float:
        """Return the mean of r across images, over sensors and times after image onset.

        Trials of an image are averaged first: images are the same where their content is, whether
        they were given once, with ids, or once a trial. Bad sensors are left out of the mean.

        Parameters
        ----------
        images, epochs, image_ids, captions
            As in :meth:`~mne_img2brain.ImageToBrainEncoder.fit`, at least three distinct images.
            ``epochs`` must have been prepared as those of fit: baseline, projectors, reference,
            unit.
        subject : str | None, default None
            Whose predicted response; ``None`` is the average subject.

        Returns
        -------
        float
            Between -1 and 1. Not corrected for the noise in ``epochs``.
        """
        r = self.score_evoked(
            images, epochs, image_ids=image_ids, captions=captions, subject=subject
        )
        after = r.times > 0 if np.any(r.times > 0) else np.ones(len(r.times), bool)
        return float(np.nanmean(r.data[:, after]))

    def score_evoked(
        self,
        images: Any,
        epochs: Any,
        *,
        image_ids: np.ndarray | list[int] | str | None = None,
        captions: list[str] | str | None = None,
        subject: str | None = None,
    ) -> mne.EvokedArray:
        """Return Pearson's r across images, for every sensor and time.

        Parameters
        ----------
        images, epochs, image_ids, captions
            As in :meth:`~mne_img2brain.ImageToBrainEncoder.fit`, at least three images. Sensors
            match by name in any order; extra ones are ignored.
        subject : str | None, default None
            Whose predicted response; ``None`` is the average subject.

        Returns
        -------
        mne_img2brain.epochs.EvokedMap
            An :class:`mne.EvokedArray` whose values have no unit: ``plot``, ``plot_joint`` and
            ``plot_topomap`` show r as it is. NaN where the sensor is bad in ``epochs``.

        Raises
        ------
        ValueError
            If sensors are missing, times, sampling rate or preparation differ, or there are fewer
            than three distinct images.
        """
        check_is_fitted(self)
        recording = read_recording(epochs, ch_names=self.ch_names_, min_trials=1)
        check_times(recording, self.times_, self.info_["sfreq"])
        check_like_fit(recording, self)
        data = take_channels(recording, self.ch_names_)
        images, row, captions = pair_trials(recording, images, image_ids, captions)
        stimuli = present(images, self.embedder_, captions)
        # images are the same where their content is, wherever they stand in the list
        image, n_images = stimuli.index[row], len(stimuli.tokens)
        distinct = set(stimuli.keys)
        if len(distinct) < 3:
            raise ValueError(
                f"There are {len(distinct)} distinct images; r across images needs at least three."
            )
        n_seen = len(distinct & set(self.training_image_keys_))
        if n_seen:
            logger.info(
                "%d of %d images were in the fit: their r says nothing about new images.",
                n_seen, len(distinct),
            )  # fmt: skip
        looks = getattr(self, "training_looks_", {})
        warn_of_copies(images, stimuli.keys, looks, self.training_image_keys_, "this encoder")
        weight = recording.n_averaged
        recorded = np.zeros((n_images, *self._shape))
        np.add.at(recorded, image, data * weight[:, None, None])
        recorded /= np.bincount(image, weights=weight)[:, None, None]
        codes = self._subject_codes(subject, n_images)
        predicted = predict_regressor(self.regressor_, stimuli.tokens, self._shape, codes)
        good = np.isfinite(recorded).all(axis=(0, 2))
        r = np.full(self._shape, np.nan)
        r[good] = r_map(recorded[:, good], self._in_units(predicted)[:, good])
        return to_evoked_map(r, self.info_, tmin=self.tmin_, comment="r across images")
