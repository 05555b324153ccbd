"""The experiments of Xu et al. (2025): on THINGS-EEG2 and THINGS-MEG, and ablations on any data."""

from .ablation_rows import ablation_rows
from .ablations import ablate
from .reproduce import reproduce

__all__ = ["ablate", "ablation_rows", "reproduce"]
