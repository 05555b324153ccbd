"""Whose response: the subjects of an encoder, and how it learns a new one."""

from typing import TYPE_CHECKING, Any, Self

import mne
import numpy as np
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from .._log import logger
from ..epochs import (
    ChannelScaler,
    check_like_fit,
    check_times,
    read_recording,
)
from ..stimulus.near_copies import add_looks, looks_in_fit
from ..stimulus.tokens import present
from .pairing import pair_trials, trial_groups

if TYPE_CHECKING:
    from ..epochs.recording import Recording
    from . import ImageToBrainEncoder


def _can_adapt(encoder: "ImageToBrainEncoder") -> bool:
    """Tell whether the regressor learns new subjects."""
    regressor = getattr(encoder, "regressor_", encoder.regressor)
    return regressor is None or hasattr(regressor, "adapt")


class SubjectsMixin:
    """The subjects of an encoder."""

    ch_names_: list[str]
    embedder_: Any
    info_: mne.Info
    n_training_subjects_: int
    regressor_: Any
    scaler_: ChannelScaler
    subjects_: list[str]
    times_: np.ndarray
    training_image_keys_: list[str]
    training_looks_: dict

    @available_if(_can_adapt)
    def adapt(
        self,
        images: Any,
        epochs: Any,
        *,
        subject: str,
        image_ids: np.ndarray | list[int] | str | None = None,
        captions: list[str] | str | None = None,
        groups: np.ndarray | str | None = None,
    ) -> Self:
        """Learn a new subject from little data; all else stays as it is.

        Minutes of recording suffice where many subjects, or one with much data, were learnt
        before: only how this subject's sensors mix the shared sources is learnt, and its noise.
        With data for it, more is. Predictions for other subjects, and for the average subject, do
        not change.

        Parameters
        ----------
        images : list | array | str
            Images or tokens, as in :meth:`~mne_img2brain.ImageToBrainEncoder.fit`; those of fit
            or others.
        epochs : mne.BaseEpochs | mne.Evoked | list
            The new subject's responses, with the times of the training data. Sensors match by
            name; others are left out, and missing ones are predicted from what subjects share.
        subject : str
            The name to ask for in ``predict`` and ``sample``.
        image_ids : array of int, shape (n_epochs,) | str | None, default None
            The position in ``images`` of the image of each epoch.
        captions : list of str | str | None, default None
            One per image.
        groups : array, shape (n_epochs,) | str | None, default None
            What splits keep together.

        Returns
        -------
        self : ImageToBrainEncoder

        Raises
        ------
        ValueError
            If the subject is known already or has no name, sensors or times do not fit, or the
            data were prepared in another way or are of another unit. Nothing is changed then.
        """
        check_is_fitted(self)
        if isinstance(epochs, dict):
            raise ValueError(
                f"epochs is a dict of {len(epochs)} subjects; adapt learns one at a time: give its "
                "epochs, and its name as subject."
            )
        if subject is not None and not isinstance(subject, str):
            raise TypeError(
                f"subject={subject!r} is a {type(subject).__name__}; give a name, a str."
            )
        subject = subject or ""
        if subject.strip() in ("", "None"):
            raise ValueError(f"subject={subject!r} names nobody; give the new subject a name.")
        if subject in self.subjects_:
            raise ValueError(
                f"subject={subject!r} is known already; give another name, or read or fit the "
                "encoder again."
            )
        recording = read_recording(epochs, ch_names=self.ch_names_)
        check_times(recording, self.times_, self.info_["sfreq"])
        check_like_fit(recording, self, "subjects")
        images, row, captions = pair_trials(recording, images, image_ids, captions)
        stimuli = present(images, self.embedder_, captions)
        image = stimuli.index[row]
        y, there = self._standardised(recording)
        self.regressor_.adapt(
            stimuli.tokens,
            y,
            image_index=image,
            sample_weight=recording.n_averaged,
            groups=trial_groups(recording, groups, image),
            y_mask=None if there.all() else np.tile(there, (len(y), 1)),
        )
        self.subjects_ = [*self.subjects_, subject]
        seen = getattr(self, "training_looks_", {})
        self.training_looks_ = add_looks(seen, looks_in_fit(images, stimuli))
        keys = {*self.training_image_keys_, *stimuli.keys}
        self.training_image_keys_ = sorted(keys)
        return self

    def _standardised(self, recording: "Recording") -> tuple[np.ndarray, np.ndarray]:
        """Return responses at the sensors of fit, in its scale, and which sensors there are."""
        place = {name: i for i, name in enumerate(self.ch_names_)}
        where = np.array([place[name] for name in recording.ch_names])
        y = np.full((recording.n_trials, len(place), len(self.times_)), np.nan)
        y[:, where] = self.scaler_.transform(recording.data, recording.ch_types)
        there = np.zeros(len(place), bool)
        there[where] = True
        if not there.all():
            missing = [name for name in self.ch_names_ if not there[place[name]]]
            logger.info("Channels that the new subject lacks: %s", ", ".join(missing))
        return y, there

    def _subject_codes(self, subject: str | None, n_images: int) -> np.ndarray | None:
        """Return the regressor's number of a subject, once per image; None for the average."""
        if subject is None:
            return None
        if subject not in self.subjects_:
            known = ", ".join(map(repr, self.subjects_)) or "none: there was no subject column"
            raise ValueError(f"subject={subject!r} was not in fit; known subjects: {known}.")
        code = self.subjects_.index(subject)
        if self.n_training_subjects_ <= 1:
            # a single subject is what is shared, and has no number
            code -= self.n_training_subjects_
        return None if code < 0 else np.full(n_images, code)
