"""Recordings to learn from: simulated ones, and readers of THINGS-EEG2 and THINGS-MEG."""

from . import things_eeg2, things_meg
from .simulated import simulate_epochs, simulate_images

__all__ = ["simulate_epochs", "simulate_images", "things_eeg2", "things_meg"]
