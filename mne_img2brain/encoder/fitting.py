"""How an encoder is fitted: images and trials paired, embedded, scaled, and regressed."""

import dataclasses

import numpy as np
from sklearn.base import clone

from .._log import warn
from .._types import Embedder, Encoder, ImageIds, Images, PathLike, Responses
from ..epochs import ChannelScaler, check_units, read_recording, signal_basis
from ..epochs.regions import assign_regions
from ..stimulus.near_copies import looks_in_fit, warn_of_placeholders
from ..stimulus.stimuli import present
from .any_regressor import check_part, clone_and_fit, tells_subjects
from .nothing_learnt import check_learnt
from .saving import warn_if_unsavable
from .trial_labels import number_subjects, pair_trials, trial_groups, user_ids


def fit_encoder(
    encoder: Encoder, images: Images, epochs: Responses, image_ids: ImageIds,
    captions: list[str] | str | None, groups: np.ndarray | str | None,
    checkpoint: PathLike | None,
) -> None:  # fmt: skip
    """Fit an encoder, all of it or nothing; parameters as of :meth:`ImageToBrainEncoder.fit`."""
    if encoder.embedder is not None:
        check_part(
            "embedder", encoder.embedder, "transform", "a transformer, such as ClipEmbedder()"
        )
    if encoder.regressor is not None:
        check_part("regressor", encoder.regressor, "predict", "one, such as DiffusionRegressor()")
    recording = read_recording(epochs, encoder.picks)
    if not recording.times[-1] > 0:
        warn(
            f"The last time of epochs is {recording.times[-1]:g} s, not after image onset "
            "(0 s): there is no response to an image to learn."
        )
    check_units(recording)
    images, row, captions = pair_trials(recording, images, image_ids, captions)
    if groups is not None:
        groups = trial_groups(recording, groups)
    embedder = new_embedder(encoder, images)
    stimuli = present(images, embedder, captions)
    looks = looks_in_fit(images, stimuli)
    warn_of_placeholders(stimuli, looks)
    del images  # which holds what it decoded
    image = stimuli.index[row]
    ids, form = user_ids(recording, image_ids, stimuli, row)
    scaler = ChannelScaler().fit(recording.data, recording.ch_types)
    basis = signal_basis(recording.data, recording.info, scaler)
    # as exact as files of epochs, in half the memory and time
    y = scaler.transform(recording.data, recording.ch_types, np.float32)
    # what is in volts is not needed any more, and is as large
    recording = dataclasses.replace(recording, data=y)
    names, subjects = number_subjects(recording.subject)
    if len(names) > 1 and not isinstance(epochs, dict) and not tells_subjects(encoder.regressor):
        warn(  # nobody asked for the column
            f"The metadata column 'subject' names {len(names)} subjects, which "
            f"{type(encoder.regressor).__name__} cannot tell apart: they are learnt as one. Fit "
            "one encoder a subject, or use DiffusionRegressor."
        )
        names, subjects = [], None
    regions = assign_regions(recording.info)
    given: dict = {
        "sample_weight": recording.n_averaged,
        "groups": trial_groups(recording, groups, image),
        "regions": np.unique(regions, return_inverse=True)[1],
    }
    regressor = clone_and_fit(
        encoder.regressor, stimuli.tokens, image, y, subjects=subjects,
        y_mask=None if recording.channel_mask.all() else recording.channel_mask,
        checkpoint=checkpoint, **given,
    )  # fmt: skip
    warn_if_unsavable(regressor)
    r = check_learnt(regressor, stimuli.tokens, image, y, **given)
    encoder.embedder_, encoder.regressor_, encoder.scaler_ = embedder, regressor, scaler
    encoder.info_, encoder.times_ = recording.info, recording.times
    encoder.tmin_, encoder.baseline_ = recording.tmin, recording.baseline
    encoder.ch_names_ = list(recording.info["ch_names"])
    encoder.regions_, encoder.basis_, encoder.left_out_ = regions, basis, list(recording.left_out)
    encoder.subjects_, encoder.n_training_subjects_ = names, len(names)
    encoder.training_image_keys_ = sorted(set(stimuli.keys))
    encoder.training_looks_ = looks
    encoder.image_ids_, encoder.image_id_form_ = ids, form
    encoder.event_id_ = {name: int(code) for name, code in recording.event_id.items()}
    encoder.n_trials_ = round(recording.n_averaged.sum())
    encoder.cross_validated_r_ = r


def new_embedder(encoder: Encoder, images: list | np.ndarray) -> Embedder | None:
    """Return a fitted embedder; None for tokens, where the user gave none."""
    if encoder.embedder is not None:
        return clone(encoder.embedder).fit(images)
    if isinstance(images, np.ndarray) and images.dtype.kind == "f":
        return None
    from ..stimulus import ClipEmbedder

    return ClipEmbedder().fit(images)
