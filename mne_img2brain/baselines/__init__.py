"""What a generator has to beat: mean response, ridge, ridge with Gaussian noise, a neighbour."""

from .gaussian import GaussianResiduals
from .neighbors import MeanResponse, NearestNeighbor
from .ridge import RidgeBaseline, RidgeGaussian

__all__ = ["GaussianResiduals", "MeanResponse", "NearestNeighbor", "RidgeBaseline", "RidgeGaussian"]
