"""The Gaussian part of a denoiser is the best linear one."""

import numpy as np
import pytest
import torch

from mne_img2brain.diffusion import NoiseScheduler
from mne_img2brain.diffusion.gaussian import GaussianPart
from mne_img2brain.noise import whitening
from mne_img2brain.noise.covariance import list_candidates
from mne_img2brain.noise.trial_noise import TrialNoise


@pytest.mark.parametrize("structure", ["separate", "time_wise", "space_wise", "full"])
@pytest.mark.parametrize("predicts", ["v", "x0", "noise"])
def test_no_linear_denoiser_is_better(monkeypatch, structure, predicts):
    """Regression on noisy residuals with that covariance gives the same matrix."""

    def candidates(shape, n_trials):
        return 2 * [one for one in list_candidates(shape, n_trials) if one[0] == structure]

    monkeypatch.setattr(whitening, "list_candidates", candidates)
    rng = np.random.default_rng(0)
    noise = np.cumsum(rng.standard_normal((400, 2, 6)), axis=2)
    whitener = TrialNoise().fit(noise).whitener_
    scheduler = NoiseScheduler(prediction_type=predicts, zero_terminal_snr=predicts != "noise")
    part = GaussianPart(whitener, scheduler)
    identity = np.eye(12).reshape(12, 2, 6)
    root = whitener.half_colour(identity).reshape(12, 12)  # of the covariance, symmetric
    covariance = root @ root
    for timestep in (100, 500, 900):
        a, s = (float(c) for c in scheduler.coefficients(timestep, torch.zeros(1)))
        gain = a * covariance @ np.linalg.inv(a**2 * covariance + s**2 * np.eye(12))
        rest = (np.eye(12) - a * gain) / s  # of the noise
        expected = {"x0": gain, "noise": rest, "v": a * rest - s * gain}[predicts]
        x = torch.as_tensor(identity, dtype=torch.float32)
        found = part(x, torch.full((12,), timestep)).numpy().reshape(12, 12)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_it_has_nothing_to_save():
    whitener = TrialNoise().fit(np.random.default_rng(0).standard_normal((60, 2, 6))).whitener_
    part = GaussianPart(whitener, NoiseScheduler())
    assert not part.state_dict()
    assert not list(part.parameters())
