"""Regressors whose parameters, and those of their denoiser, are given side by side."""

from mne_img2brain import Denoiser, DiffusionRegressor


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
