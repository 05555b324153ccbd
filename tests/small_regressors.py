"""Regressors whose parameters, and those of their denoiser, are given side by side."""

import numpy as np

from mne_img2brain import Denoiser, DiffusionRegressor
from mne_img2brain.diffusion import NoiseScheduler, train_denoiser
from mne_img2brain.trials.checks import TrialArrays
from mne_img2brain.trials.scaled_tokens import ScaledTokens


def make_regressor(mean="auto", **parameters):
    """Return a DiffusionRegressor; what it does not know is given to its denoiser."""
    own = set(DiffusionRegressor().get_params(deep=False))
    network = {name: value for name, value in parameters.items() if name not in own}
    given = {name: value for name, value in parameters.items() if name in own}
    return DiffusionRegressor(mean, **{"noise": Denoiser(**network), **given})


def keep_transformers(monkeypatch):
    """Let a transformer be kept, whatever validation says."""
    fit = Denoiser.fit

    def learnt(denoiser, *given, **options):
        fit(denoiser, *given, **options).history_.best_iter = 1
        return denoiser

    monkeypatch.setattr(Denoiser, "fit", learnt)
    better = {"gain": 1, "gain_error": 0, "threshold": 0, "accuracy": 0, "accuracy_without": 0}
    monkeypatch.setattr("mne_img2brain.regressor.fitting.compare_draws", lambda *_: better)


def train_network(
    network, x0, tokens, image, validation, *, subjects=None, y_mask=None, seed=0, checkpoint=None,
    **parameters,
):  # fmt: skip
    """Train a network that was made by hand, with parameters of Denoiser; return the history."""
    denoiser = Denoiser(**{"batch_size": 64, **parameters})
    denoiser.scheduler_, denoiser.mean_weight_ = NoiseScheduler(), 1.0
    n_channels, n_features = x0.shape[1], tokens.shape[2]
    denoiser.scaled_ = ScaledTokens(tokens, np.float32(0), np.ones(n_features, np.float32))
    x0 = np.asarray(x0, np.float32)
    data = TrialArrays(
        tokens, image, x0, np.ones(len(x0)), np.zeros(n_channels, int), None, subjects, y_mask,
        x0.shape[1:],
    )  # fmt: skip
    return train_denoiser(
        denoiser, network, data, None, validation, seed=seed, checkpoint=checkpoint
    )
