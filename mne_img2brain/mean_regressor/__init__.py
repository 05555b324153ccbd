"""The expected response to a picture: kernel mixed models that know what responses share."""

from .kernel_mean import KernelMeanRegressor

__all__ = ["KernelMeanRegressor"]
