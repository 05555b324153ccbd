"""The transformer beside a bare loop: steps of training, and draws, on the fastest device."""

import time
from collections.abc import Callable

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from mne_img2brain.diffusion import (
    BrainDiT,
    Denoiser,
    NoiseScheduler,
    dpm_solver,
    train_denoiser,
)
from mne_img2brain.trials.checks import TrialArrays
from mne_img2brain.trials.scaled_tokens import ScaledTokens


def network(
    n_channels: int = 63,
    n_times: int = 250,
    n_tokens: int = 17,
    n_features: int = 768,
    width: int = 512,
    n_layers: int = 4,
    batch: int = 256,
    steps: int = 30,
    n_steps: int = 15,
) -> dict:
    """Time training and sampling end to end, and the same network driven by a bare loop.

    The bare loop has all data on the device, one batch, no held-out trials, no average of weights;
    on CUDA it is compiled and in bfloat16, as training here is.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rng, scheduler = np.random.default_rng(0), NoiseScheduler()
    n_images = 4 * batch
    x0 = rng.standard_normal((n_images, n_channels, n_times), np.float32)
    tokens = rng.standard_normal((n_images, n_tokens, n_features), np.float32)
    regions = (np.arange(n_channels) % min(9, n_channels)).tolist()

    data = TrialArrays(
        tokens, np.arange(n_images), x0, np.ones(n_images), np.array(regions), None, None, None,
        x0.shape[1:],
    )  # fmt: skip

    def made() -> BrainDiT:
        return BrainDiT(n_times, regions, n_features, hidden_size=width, n_layers=n_layers)

    def train(n: int) -> float:
        denoiser = Denoiser(max_iter=n, batch_size=batch)
        denoiser.scheduler_, denoiser.scaled_ = scheduler, ScaledTokens.fit(tokens)
        began = time.perf_counter()
        model = made().to(device)
        train_denoiser(denoiser, model, data, None, np.arange(n_images) == 0, seed=0)
        return time.perf_counter() - began

    train(2)
    ours = (train(3 * steps) - train(steps)) / (2 * steps)
    x, given = (torch.as_tensor(values[:batch], device=device) for values in (x0, tokens))
    times = torch.randint(0, scheduler.n_timesteps, (batch,), device=device)
    model = made().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), foreach=True)
    call = torch.compile(model) if device.type == "cuda" else model

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = (call(x, times, model.encode_condition(given)) - x).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    with FlopCounterMode(display=False) as counter:
        loss = (model(x, times, model.encode_condition(given)) - x).square().mean()
        loss.backward()
    bare = _seconds(step, steps, device)
    size = 8192 if device.type == "cuda" else 1024
    kind = torch.bfloat16 if device.type == "cuda" else torch.float32
    a = torch.randn(size, size, device=device, dtype=kind)
    ceiling = 2 * size**3 / _seconds(lambda: a @ a, steps, device)
    with torch.no_grad():
        condition = model.encode_condition(given)
        one = _seconds(lambda: model(x, times, condition), steps, device)
        whole = _seconds(
            lambda: dpm_solver(
                lambda z, t: model(z, t, condition), x, scheduler, scheduler.timesteps(n_steps)
            ),
            2,
            device,
        )
    return {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "ms per step": 1e3 * ours,
        "bare loop": 1e3 * bare,
        "of the ceiling": counter.get_total_flops() / ours / ceiling,
        "draws per second": batch / whole,
        "network alone": batch / (n_steps * one),
    }


def _seconds(call: Callable, n: int, device: torch.device) -> float:
    """Return the mean time of a call, after two to warm up."""
    for _ in range(2):
        call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(n):
        call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / n
