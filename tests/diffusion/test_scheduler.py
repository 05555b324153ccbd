"""The forward process."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from mne_img2brain.diffusion import NoiseScheduler


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
@pytest.mark.parametrize("zero", [True, False])
def test_alpha_bar_falls_to_zero_where_asked(schedule, zero):
    prediction = "v" if zero else "noise"
    alpha_bar = NoiseScheduler(1000, schedule, prediction, zero).alpha_bar.numpy()
    assert np.all(np.diff(alpha_bar) < 0)
    assert alpha_bar[0] > 0.999
    assert (alpha_bar[-1] == 0) == zero
    if schedule == "linear" and not zero:  # DDPM's last: prod(1 - beta)
        assert_allclose(alpha_bar[-1], np.prod(1 - np.linspace(1e-4, 0.02, 1000)), rtol=1e-9)


@pytest.mark.parametrize("prediction", ["v", "x0", "noise"])
def test_target_and_back(prediction):
    scheduler = NoiseScheduler(100, "cosine", prediction, prediction != "noise")
    generator = torch.Generator().manual_seed(0)
    x0, noise = torch.randn(2, 30, 4, generator=generator, dtype=torch.float64)
    timestep = torch.arange(30) * 3
    x_t = scheduler.add_noise(x0, noise, timestep)
    output = scheduler.target(x0, noise, timestep)
    back = scheduler.predict_x0_noise(output, x_t, timestep)
    assert_allclose(back[0].numpy(), x0.numpy(), atol=1e-8)
    assert_allclose(back[1].numpy(), noise.numpy(), atol=1e-8)


def test_pure_noise_holds_the_mean():
    """At zero terminal SNR the velocity is minus the response."""
    scheduler = NoiseScheduler()
    x0, noise = torch.full((1, 3), 2.0), torch.ones(1, 3)
    assert torch.all(scheduler.target(x0, noise, 999) == -x0)
    assert torch.all(scheduler.add_noise(x0, noise, 999) == noise)


@pytest.mark.parametrize("n_steps", [1, 3, 7, 10, 999, 1000])
def test_grids(n_steps):
    scheduler = NoiseScheduler()
    grid = scheduler.timesteps(n_steps)
    assert len(grid) == n_steps
    assert torch.all(grid[:-1] > grid[1:])
    assert grid[0] == 999
    assert grid.min() >= 0


def test_a_grid_that_keeps_some_signal():
    scheduler = NoiseScheduler(1000, "linear", "noise", zero_terminal_snr=False)
    grid = scheduler.timesteps(50, min_signal=0.1)
    signal = scheduler.alpha_bar.sqrt()
    assert signal[grid[0]] >= 0.1 > signal[grid[0] + 1]
    assert len(grid) == 50
    assert torch.all(grid[:-1] > grid[1:])
