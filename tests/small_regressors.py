"""Regressors whose parameters, and those of their denoiser, are given side by side."""

from mne_img2brain import Denoiser, DiffusionRegressor


def make_regressor(mean="auto", **parameters):
    """Return a DiffusionRegressor; what it does not know is given to its denoiser."""
    own = set(DiffusionRegressor().get_params(deep=False))
    network = {name: value for name, value in parameters.items() if name not in own}
    given = {name: value for name, value in parameters.items() if name in own}
    return DiffusionRegressor(mean, **{"noise": Denoiser(**network), **given})
