"""The expected response to an image: kernel mixed models that know what responses share."""

from .few_images import FewImagesRegressor
from .kernel_mean import KernelMeanRegressor

__all__ = ["FewImagesRegressor", "KernelMeanRegressor"]
