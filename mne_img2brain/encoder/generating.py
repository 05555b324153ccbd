"""From new images to tokens, and from responses to epochs as the training epochs are."""

import mne
import numpy as np
import pandas as pd

from .._types import Encoder, Images
from ..epochs import events_for, generated_metadata, make_epochs, project
from ..stimulus.near_copies import warn_of_far_tokens
from ..stimulus.stimuli import Stimuli, present
from .trial_labels import NAME_FORMS


def embed_images(encoder: Encoder, images: Images, captions: list[str] | None) -> Stimuli:
    """Embed images, or take tokens, and say where they are unlike those of the fit."""
    stimuli = present(images, encoder.embedder_, captions)
    warn_of_far_tokens(stimuli.tokens, getattr(encoder, "training_looks_", {}))
    return stimuli


def as_epochs(
    encoder: Encoder, data: np.ndarray, stimuli: Stimuli, n_draws: int | None,
    subject: str | None, metadata: pd.DataFrame | None, event_id: dict | list[str] | str | None,
    n_averaged: int = 1,
) -> mne.EpochsArray:  # fmt: skip
    """Give standardised responses their unit, rank, events and metadata."""
    frame = generated_metadata(
        len(stimuli), image_ids=_ids_of(encoder, stimuli), names=stimuli.names,
        captions=stimuli.captions,
        subject=subject or (encoder.subjects_[0] if encoder.n_training_subjects_ == 1 else None),
        n_draws=n_draws, n_averaged=n_averaged, metadata=metadata,
    )  # fmt: skip
    codes, event_id = events_for(
        len(stimuli), event_id=event_id, metadata=metadata, known=encoder.event_id_
    )
    codes = np.repeat(codes, n_draws or 1)
    return make_epochs(
        in_units(encoder, data), encoder.info_, tmin=encoder.tmin_, baseline=encoder.baseline_,
        metadata=frame, event_id=event_id, event_codes=codes,
    )  # fmt: skip


def in_units(encoder: Encoder, data: np.ndarray) -> np.ndarray:
    """Give standardised responses the rank and the units of the training data."""
    types = encoder.info_.get_channel_types()
    return encoder.scaler_.inverse_transform(project(data, encoder.basis_), types)


def _ids_of(encoder: Encoder, stimuli: Stimuli) -> list | None:
    """Return what the user calls images; None counts them."""
    if all(key in encoder.image_ids_ for key in stimuli.keys):
        return [encoder.image_ids_[key] for key in stimuli.keys]
    if encoder.image_id_form_ is not None and all(stimuli.names):
        return [NAME_FORMS[encoder.image_id_form_](name) for name in stimuli.names]
    return None
