"""Recordings to learn from: simulated ones, and readers of public data sets."""

from .simulated import simulate_epochs, simulate_images

__all__ = ["simulate_epochs", "simulate_images"]
