"""How far the predictions of an encoder follow recordings."""

import mne
import numpy as np

from .._linalg import average_rows
from .._log import warn
from .._types import Encoder, ImageIds, Images, Responses
from ..epochs import check_like_fit, check_times, read_recording, take_channels, to_evoked_map
from ..metrics import r_map
from ..stimulus.near_copies import warn_of_copies
from .any_regressor import predict_regressor
from .generating import embed_images, in_units
from .new_subject import subject_codes
from .trial_labels import pair_trials


def score_map(
    encoder: Encoder,
    images: Images,
    epochs: Responses,
    image_ids: ImageIds,
    captions: list[str] | str | None,
    subject: str | None,
) -> mne.EvokedArray:
    """Return r across images for every sensor and time; images are the same where they look so."""
    recording = read_recording(epochs, ch_names=encoder.ch_names_, min_trials=1)
    check_times(recording, encoder.times_, encoder.info_["sfreq"])
    check_like_fit(recording, encoder)
    data = take_channels(recording, encoder.ch_names_)
    images, row, captions = pair_trials(recording, images, image_ids, captions)
    stimuli = embed_images(encoder, images, captions)
    # images are the same where their content is, wherever they stand in the list
    image, n_images = stimuli.index[row], len(stimuli.tokens)
    distinct = set(stimuli.keys)
    if len(distinct) < 3:
        raise ValueError(
            f"There are {len(distinct)} distinct images; r across images needs at least three."
        )
    n_seen = len(distinct & set(encoder.training_image_keys_))
    if n_seen:
        warn(
            f"{n_seen} of {len(distinct)} images were in the fit: their r says nothing about new "
            "images. If that is intended: warnings.filterwarnings('ignore', '.*were in the fit')"
        )
    looks = getattr(encoder, "training_looks_", {})
    warn_of_copies(images, stimuli.keys, looks, encoder.training_image_keys_, "this encoder")
    weight = recording.n_averaged
    recorded = average_rows(data, image, weight)
    codes = subject_codes(encoder, subject, n_images)
    predicted = predict_regressor(encoder.regressor_, stimuli.tokens, encoder._shape, codes)
    good = np.isfinite(recorded).all(axis=(0, 2))
    r = np.full(encoder._shape, np.nan)
    r[good] = r_map(recorded[:, good], in_units(encoder, predicted)[:, good])
    return to_evoked_map(r, encoder.info_, tmin=encoder.tmin_, comment="r across images")
