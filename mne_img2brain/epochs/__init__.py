"""Epochs to arrays and back: picks, alignment, scaling by channel type, rank."""

from .generated import events_for, generated_metadata, make_epochs
from .image_of_trial import (
    align,
    check_distinct_trials,
    ids_of_trials,
    metadata_column,
    named_images,
)
from .maps import EvokedMap, read_maps, to_evoked_map
from .prepared import check_like_fit, check_units
from .recording import Recording, read_recording
from .scaling import ChannelScaler, project, signal_basis
from .sensors_and_times import check_times, take_channels

__all__ = [
    "ChannelScaler", "EvokedMap", "Recording", "align", "check_distinct_trials", "check_like_fit",
    "check_times", "check_units", "events_for", "generated_metadata", "ids_of_trials",
    "make_epochs", "metadata_column", "named_images", "project", "read_maps", "read_recording",
    "signal_basis", "take_channels", "to_evoked_map",
]  # fmt: skip
