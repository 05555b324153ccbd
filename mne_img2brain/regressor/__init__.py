"""Tokens to the distribution of responses: the mean and what single trials do around it."""

from .regressor import DiffusionRegressor

__all__ = ["DiffusionRegressor"]
