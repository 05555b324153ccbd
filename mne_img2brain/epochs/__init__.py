"""Epochs to arrays and back: picks, alignment, scaling by channel type, rank."""

from .alignment import align, images_from_metadata, metadata_column
from .generated import events_for, generated_metadata, make_epochs, to_evoked_map
from .matching import check_times, match_channels, take_channels
from .recording import Recording, read_recording
from .scaling import ChannelScaler, project, signal_basis

__all__ = [
    "ChannelScaler",
    "Recording",
    "align",
    "check_times",
    "events_for",
    "generated_metadata",
    "images_from_metadata",
    "make_epochs",
    "match_channels",
    "metadata_column",
    "project",
    "read_recording",
    "signal_basis",
    "take_channels",
    "to_evoked_map",
]
