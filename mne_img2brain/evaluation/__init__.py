"""Encoders against recordings: one call, one table, one report."""

from .convnet import TrialConvNet
from .judging import evaluate
from .result import Evaluation

__all__ = ["Evaluation", "TrialConvNet", "evaluate"]
