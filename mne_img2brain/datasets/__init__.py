"""Recordings to learn from: simulated ones, and readers of THINGS-EEG2 and THINGS-MEG."""

from . import things_eeg2, things_meg
from ._images import simulate_images
from .simulated import simulate_epochs

__all__ = ["simulate_epochs", "simulate_images", "things_eeg2", "things_meg"]
