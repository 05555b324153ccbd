"""A denoiser is kept where its draws are like real residuals, whatever its loss says."""

import types

import numpy as np
import pytest
from small_regressors import make_regressor

from mne_img2brain import Denoiser
from mne_img2brain.diffusion.selection import denoiser_helps
from mne_img2brain.trials.checks import TrialArrays
from mne_img2brain.trials.splits import SplitPlan

N_TRIALS, N_IMAGES = 240, 24


class Identity:
    def inverse_transform(self, values, subject=None):
        return values

    def colour(self, values, subject=None):
        return 3 * values


def fake(scale, n_times=30, n_channels=4):
    """Draws of the denoiser have an SD of ``scale``, those by states of 3."""

    def draw(images, place, noise, subject=None, own_mean=None):
        assert np.all(np.diff(place) >= 0)
        for rows in np.array_split(np.arange(len(place)), 3):
            yield rows, scale * noise(rows, 0)

    return types.SimpleNamespace(
        draw=draw,
        mean=lambda images, subject: np.zeros((len(images), n_channels, n_times)),
        whitener_=Identity(),
    )


def trials(residuals, image, tokens, held):
    n = len(residuals)
    data = TrialArrays(
        tokens, image, residuals, np.ones(n), np.zeros(residuals.shape[1], int), None, None, None,
        residuals.shape[1:],
    )  # fmt: skip
    return data, SplitPlan(image, image % 5, held, False)


@pytest.mark.parametrize(("real", "scale", "kept"), [(1, 1, True), (3, 1, False), (3, 2, False)])
def test_the_better_draws_win(real, scale, kept):
    rng = np.random.default_rng(0)
    residuals = real * rng.standard_normal((N_TRIALS, 4, 30))
    image = np.arange(N_TRIALS) % N_IMAGES
    tokens = rng.standard_normal((N_IMAGES, 1, 2))
    held = image < 16
    helps = denoiser_helps(fake(scale), *trials(residuals, image, tokens, held), 0)
    assert helps is kept
    # one image says nothing
    assert denoiser_helps(fake(scale), *trials(residuals, image, tokens, image < 1), 0)


def test_a_denoiser_that_draws_badly_is_dropped(monkeypatch):
    rng = np.random.default_rng(0)
    tokens = rng.standard_normal((60, 3)).astype(np.float32)
    # half of the trials are loud: one Gaussian has only one size
    loud = np.where(rng.random(240) < 0.5, 0.2, 2.0)[:, None, None]
    y = loud * rng.standard_normal((240, 4, 12))
    model = make_regressor(
        hidden_size=32, n_layers=1, n_heads=2, patch_length=6, max_iter=300, device="cpu",
        random_state=0,
    )  # fmt: skip
    asked = []

    def judge(denoiser, data, plan, seed):
        asked.append(denoiser.history_.best_iter > 0)
        return False

    monkeypatch.setattr("mne_img2brain.regressor.regressor.denoiser_helps", judge)
    model.fit(tokens, y, image_index=np.repeat(np.arange(60), 4))
    assert asked == [True]
    assert not isinstance(model.noise_, Denoiser)
    assert model.n_stored_trials_ == 240


@pytest.mark.parametrize("n_times", [1, 2, 3])
def test_power_is_judged_for_a_few_time_points(n_times):
    rng = np.random.default_rng(0)
    image = np.arange(800) % 8
    residuals = rng.standard_normal((800, 1, n_times))
    tokens = rng.standard_normal((8, 1, 2))
    model = fake(9, n_times, n_channels=1)
    assert not denoiser_helps(model, *trials(residuals, image, tokens, image < 8), 0)
