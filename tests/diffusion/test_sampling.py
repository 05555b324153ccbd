"""Samplers against diffusers and against closed forms."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from mne_img2brain.diffusion import NoiseScheduler, ddim, dpm_solver, guided

STEPS = [1, 7, 10, 50]


def gaussian_denoiser(scheduler, mean, sd):
    """The best denoiser of N(mean, sd^2): E[x0 | x_t] in closed form."""

    def denoiser(x, timestep):
        a, s = scheduler.coefficients(int(timestep[0]), x)
        x0 = mean + a * sd**2 / (a**2 * sd**2 + s**2) * (x - a * mean)
        noise = (x - a * x0) / s
        return a * noise - s * x0

    return denoiser


def recursion(scheduler, timesteps, x, mean, sd):
    """DDIM on N(mean, sd^2), written out in float64 on one number."""
    alpha_bar = np.append(scheduler.alpha_bar.numpy(), 1.0)
    for now, after in zip(timesteps, [*timesteps[1:], -1], strict=True):
        a, s = np.sqrt(alpha_bar[now]), np.sqrt(1 - alpha_bar[now])
        x0 = mean + a * sd**2 / (a**2 * sd**2 + s**2) * (x - a * mean)
        noise = (x - a * x0) / s
        x = np.sqrt(alpha_bar[after]) * x0 + np.sqrt(1 - alpha_bar[after]) * noise
    return x


@pytest.mark.parametrize("ends", ["noise", "both", "response"])
@pytest.mark.parametrize("n_steps", STEPS)
def test_ddim_equals_its_recursion(n_steps, ends):
    """On grids that start at pure noise, that end at the first timestep, and that do both."""
    scheduler = NoiseScheduler()
    timesteps = {
        "noise": scheduler.timesteps(n_steps),
        "both": torch.linspace(999, 0, n_steps, dtype=torch.float64).round().long(),
        "response": 999 - scheduler.timesteps(n_steps).flip(0),
    }[ends]
    x = torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None]
    for mean, sd in [(0.7, 0.0), (0.7, 1.3)]:
        got = ddim(gaussian_denoiser(scheduler, mean, sd), x, scheduler, timesteps)
        expected = [recursion(scheduler, timesteps.tolist(), v, mean, sd) for v in x[:, 0].numpy()]
        assert_allclose(got[:, 0].numpy(), expected, atol=1e-12)
        if sd == 0:  # a point mass is met whatever the grid
            assert_allclose(got.numpy(), 0.7, atol=1e-10)
        elif ends != "response":  # which starts where the response still shows
            # the mean is met on every grid that starts at pure noise
            centre = ddim(gaussian_denoiser(scheduler, mean, sd), 0 * x[:1], scheduler, timesteps)
            assert_allclose(centre.numpy(), 0.7, atol=1e-10)


@pytest.mark.parametrize("schedule", ["linear"])
@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("n_steps", [10, 50])
@pytest.mark.parametrize("prediction", ["v", "noise", "x0"])
def test_ddim_equals_diffusers(schedule, eta, n_steps, prediction):
    """Theirs is right where the number of steps divides that of timesteps."""
    from diffusers import DDIMScheduler

    zero = prediction != "noise"
    theirs = DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=1e-4,
        beta_end=0.02,
        beta_schedule=schedule,
        clip_sample=False,
        prediction_type={"v": "v_prediction", "noise": "epsilon", "x0": "sample"}[prediction],
        timestep_spacing="trailing",
        rescale_betas_zero_snr=zero,
        set_alpha_to_one=True,
    )
    theirs.set_timesteps(n_steps)
    scheduler = NoiseScheduler(1000, schedule, prediction, zero)
    timesteps = scheduler.timesteps(n_steps)
    assert timesteps.tolist() == theirs.timesteps.tolist()
    assert_allclose(scheduler.alpha_bar.numpy(), theirs.alphas_cumprod.numpy(), atol=3e-5)
    theirs.alphas_cumprod = scheduler.alpha_bar  # float64 instead of their float32

    def denoiser(x, timestep):
        return torch.tanh(0.3 * x + 0.001 * timestep[:, None])

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    fresh = torch.randn(n_steps, 6, 4, generator=generator, dtype=torch.float64)
    got = ddim(denoiser, x, scheduler, timesteps, eta=eta, noise=iter(fresh))
    expected = x
    for step, t in enumerate(theirs.timesteps):
        last = step == n_steps - 1
        expected = theirs.step(
            denoiser(expected, t.repeat(6)), t, expected,
            eta=0.0 if last else eta, variance_noise=None if eta == 0 or last else fresh[step],
        ).prev_sample  # fmt: skip
    assert_allclose(got.numpy(), expected.numpy(), rtol=1e-6, atol=1e-8)


def test_second_order_keeps_the_spread_with_few_steps():
    """Of a unit Gaussian DDIM keeps 0.83 with ten steps; a second-order solver more."""
    scheduler = NoiseScheduler()
    x = torch.tensor([[1.0]], dtype=torch.float64)  # the map is linear: its slope is the SD
    denoiser = gaussian_denoiser(scheduler, 0.0, 1.0)
    slope = {}
    for n_steps in (10, 25):
        grid = scheduler.timesteps(n_steps)
        slope[n_steps] = (
            float(ddim(denoiser, x, scheduler, grid)),
            float(dpm_solver(denoiser, x, scheduler, grid)),
        )
    assert abs(1 - slope[10][1]) < abs(1 - slope[10][0])
    assert abs(1 - slope[25][1]) < 0.02


def test_solvers_agree_in_the_limit():
    scheduler = NoiseScheduler()
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    denoiser = gaussian_denoiser(scheduler, 0.5, 0.6)
    grid = scheduler.timesteps(500)
    a, b = (solve(denoiser, x, scheduler, grid) for solve in (ddim, dpm_solver))
    assert_allclose(a.numpy(), b.numpy(), atol=0.01)
    assert_allclose(b.numpy(), 0.5 + 0.6 * x.numpy(), atol=0.01)  # the flow of a Gaussian


def test_guidance_extrapolates_and_one_is_none():
    def both(x, timestep):
        return 2 * x, x

    x = torch.ones(2, 5, 3)
    assert torch.all(guided(both, 2.0)(x, None) == 3 * x)  # x + 2 (2x - x)
    assert torch.all(guided(both, 1.0)(x, None) == 2 * x)


def test_wrong_arguments_are_named():
    scheduler = NoiseScheduler()
    with pytest.raises(ValueError, match="deterministic"):
        dpm_solver(None, torch.zeros(1), scheduler, [5], eta=1.0)
    with pytest.raises(ValueError, match="n_steps=1001"):
        scheduler.timesteps(1001)
    with pytest.raises(ValueError, match="pure noise"):
        NoiseScheduler(prediction_type="noise")
    with pytest.raises(ValueError, match="schedule='sqrt'"):
        NoiseScheduler(schedule="sqrt")
    with pytest.raises(ValueError, match="n_timesteps=1"):
        NoiseScheduler(1)
