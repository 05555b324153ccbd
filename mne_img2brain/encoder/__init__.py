"""Images and Epochs in, generated Epochs out: the estimator that users meet."""

from . import attribution
from .encoder import ImageToBrainEncoder, read_encoder
from .writing import write_generated

__all__ = ["ImageToBrainEncoder", "attribution", "read_encoder", "write_generated"]
