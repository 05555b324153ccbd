"""Whose response: the subjects of an encoder, and how it learns a new one."""

import numpy as np

from .._log import logger
from .._types import Encoder, ImageIds, Images, Responses
from ..epochs import check_like_fit, check_times, read_recording
from ..epochs.recording import Recording
from ..stimulus.near_copies import add_looks, looks_in_fit
from ..stimulus.stimuli import present
from .trial_labels import pair_trials, trial_groups


def can_adapt(encoder: Encoder) -> bool:
    """Tell whether the regressor learns new subjects."""
    regressor = getattr(encoder, "regressor_", encoder.regressor)
    return regressor is None or hasattr(regressor, "adapt")


def learn_subject(
    encoder: Encoder, images: Images, epochs: Responses, subject: str,
    image_ids: ImageIds, captions: list[str] | str | None,
    groups: np.ndarray | str | None,
) -> None:  # fmt: skip
    """Give an encoder one more subject."""
    if isinstance(epochs, dict):
        raise ValueError(
            f"epochs is a dict of {len(epochs)} subjects; adapt learns one at a time: give its "
            "epochs, and its name as subject."
        )
    if subject is not None and not isinstance(subject, str):
        raise TypeError(f"subject={subject!r} is a {type(subject).__name__}; give a name, a str.")
    subject = subject or ""
    if subject.strip() in ("", "None"):
        raise ValueError(f"subject={subject!r} names nobody; give the new subject a name.")
    if subject in encoder.subjects_:
        raise ValueError(
            f"subject={subject!r} is known already; give another name, or read or fit the "
            "encoder again."
        )
    recording = read_recording(epochs, ch_names=encoder.ch_names_)
    check_times(recording, encoder.times_, encoder.info_["sfreq"])
    check_like_fit(recording, encoder, "subjects")
    images, row, captions = pair_trials(recording, images, image_ids, captions)
    stimuli = present(images, encoder.embedder_, captions)
    image = stimuli.index[row]
    y, there = _standardised(encoder, recording)
    encoder.regressor_.adapt(
        stimuli.tokens, y, image_index=image, sample_weight=recording.n_averaged,
        groups=trial_groups(recording, groups, image),
        y_mask=None if there.all() else np.tile(there, (len(y), 1)),
    )  # fmt: skip
    encoder.subjects_ = [*encoder.subjects_, subject]
    seen = getattr(encoder, "training_looks_", {})
    encoder.training_looks_ = add_looks(seen, looks_in_fit(images, stimuli))
    keys = {*encoder.training_image_keys_, *stimuli.keys}
    encoder.training_image_keys_ = sorted(keys)


def _standardised(encoder: Encoder, recording: Recording) -> tuple[np.ndarray, np.ndarray]:
    """Return responses at the sensors of fit, in its scale, and which sensors there are."""
    there = np.isin(encoder.ch_names_, recording.ch_names)
    y = np.full((recording.n_trials, *encoder._shape), np.nan, np.float32)
    where = [encoder.ch_names_.index(name) for name in recording.ch_names]
    y[:, where] = encoder.scaler_.transform(recording.data, recording.ch_types)
    if not there.all():
        missing = np.array(encoder.ch_names_)[~there]
        logger.info("Channels that the new subject lacks: %s", ", ".join(missing))
    return y, there


def subject_codes(encoder: Encoder, subject: str | None, n_images: int) -> np.ndarray | None:
    """Return the regressor's number of a subject, once per image; None for the average."""
    if subject is None:
        return None
    if subject not in encoder.subjects_:
        known = ", ".join(map(repr, encoder.subjects_)) or "none: there was no subject column"
        raise ValueError(f"subject={subject!r} was not in fit; known subjects: {known}.")
    code = encoder.subjects_.index(subject)
    if encoder.n_training_subjects_ <= 1:
        # a single subject is what is shared, and has no number
        code -= encoder.n_training_subjects_
    return None if code < 0 else np.full(n_images, code)
