"""What parameters may be: estimators of any library, and what stands for images and responses."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import mne
    from matplotlib.axes import Axes

    from .encoder import ImageToBrainEncoder

Images: TypeAlias = list | np.ndarray | str | os.PathLike
ImageIds: TypeAlias = np.ndarray | list | str | None
RandomState: TypeAlias = int | np.random.Generator | np.random.RandomState | None
PathLike: TypeAlias = str | os.PathLike
Picks: TypeAlias = str | Sequence | np.ndarray | slice | None
Baseline: TypeAlias = str | tuple[float | None, float | None] | None
# Named only: what they are of is not imported for them.
AxesLike: TypeAlias = "Axes | list[Axes] | np.ndarray | None"
Encoder: TypeAlias = "ImageToBrainEncoder"
Responses: TypeAlias = "mne.BaseEpochs | mne.Evoked | list | dict"


class Regressor(Protocol):
    """Tokens in, responses out, in scikit-learn's manner."""

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Learn from tokens and responses."""

    def predict(self, *args: Any, **kwargs: Any) -> np.ndarray:
        """Return the expected responses to tokens."""

    def get_params(self, deep: bool = True) -> dict:
        """Return the parameters."""

    def set_params(self, **params: Any) -> Any:
        """Set parameters."""


class Embedder(Protocol):
    """Images in, tokens out, in scikit-learn's manner."""

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Learn from images, or only check parameters."""

    def transform(self, *args: Any, **kwargs: Any) -> np.ndarray:
        """Return tokens, shape (n_images, n_tokens, n_features)."""

    def get_params(self, deep: bool = True) -> dict:
        """Return the parameters."""
