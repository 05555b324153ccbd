"""The experiments of Xu et al. (2025) on THINGS-EEG2 and THINGS-MEG, in one call."""

from .reproduce import reproduce

__all__ = ["reproduce"]
