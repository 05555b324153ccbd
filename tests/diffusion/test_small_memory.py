"""On a device with little memory batches are computed in parts, with the same result."""

import logging

import numpy as np
import pytest
import torch
from mne.utils import use_log_level
from numpy.testing import assert_allclose

from mne_img2brain import DiffusionRegressor
from mne_img2brain.diffusion import BrainDiT

SMALL = {
    "hidden_size": 16, "n_layers": 1, "n_heads": 2, "batch_size": 16, "max_iter": 4,
    "validation_fraction": 0.5, "learning_rate": 0.02, "ema_decay": 0.0, "random_state": 0,
}  # fmt: skip


@pytest.fixture
def memory(monkeypatch):
    """Let the network take so many rows, and fail at one call when gradients are nearly done."""
    forward, calls = BrainDiT.forward, []

    def fail(*_):
        raise torch.OutOfMemoryError("Tried to allocate 20.00 MiB.")

    def limit(n_rows, failing=None):
        calls.clear()
        hooks = []

        def limited(self, x, *given):
            calls.append(len(x))
            for hook in hooks:
                hook.remove()
            if len(calls) == failing:
                hooks.append(self.patches.to_token.register_hook(fail))
            return forward(self, x, *given) if len(x) <= n_rows else fail()

        monkeypatch.setattr(BrainDiT, "forward", limited)
        return calls

    return limit


@pytest.fixture
def trials(rng):
    """Tokens, responses that follow them, and which sensors of which trial were recorded."""
    tokens = rng.standard_normal((60, 2, 3)).astype(np.float32)
    y = tokens.mean(axis=1)[:, :, None] + 0.3 * rng.standard_normal((60, 3, 20))
    return tokens, y.astype(np.float32), rng.random((60, 3)) < 0.8


def fitted(trials, **parameters):
    tokens, y, mask = trials
    return DiffusionRegressor.xu2025(**SMALL, **parameters).fit(tokens, y, y_mask=mask)


def test_gradients_are_summed_over_parts(trials, memory, caplog):
    whole = fitted(trials)
    assert whole.history_.best_iter == 4
    calls = memory(7)
    with use_log_level("INFO"), caplog.at_level(logging.INFO, logger="mne"):
        parts = [fitted(trials)]
    assert caplog.text.count("do not fit into the memory of the device") == 1
    # 30 held-out trials, twice; then four gradient steps of 16
    of_held_out, of_step = [4] * 7 + [2], [4] * 4
    assert calls == [30, 15, 8, *2 * of_held_out, *4 * of_step, *2 * of_held_out]
    calls = memory(7, failing=3 + 16 + 4 * 3 + 3)  # the third part of the last step
    parts.append(fitted(trials))
    assert calls[-37:] == [4, 4, 4, *34 * [2]]  # of which 30 are of held-out trials
    for one in parts:
        assert_allclose(one.history_.losses, whole.history_.losses, rtol=1e-5)
        assert_allclose(one.history_.validation_losses, whole.history_.validation_losses, rtol=1e-4)
        weights = one.noise_.network_.state_dict()
        for name, value in whole.noise_.network_.state_dict().items():
            assert_allclose(weights[name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("zero_terminal_snr", [True, False])
def test_draws_are_those_of_one_batch(trials, memory, zero_terminal_snr, caplog):
    prediction = "v" if zero_terminal_snr else "noise"
    regressor = fitted(trials, prediction_type=prediction, zero_terminal_snr=zero_terminal_snr)
    new, options = trials[0][:10], {"n_steps": 5, "solver": "ddim", "eta": 1.0}

    def generated():
        drawn = regressor.sample(new, 3, random_state=1, guidance_scale=2.0, **options)
        return regressor.predict(new), drawn

    whole = generated()
    memory(6)
    with use_log_level("INFO"), caplog.at_level(logging.INFO, logger="mne"):
        parts = generated()
    assert "do not fit into the memory of the device" in caplog.text
    for one, other in zip(parts, whole, strict=True):
        assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert np.ptp(whole[1], axis=1).min() > 0  # draws of an image differ


def test_what_to_do_where_one_trial_does_not_fit(trials, memory):
    regressor = fitted(trials)
    memory(0)
    advice = r"One trial alone .* smaller hidden_size or n_layers, or device='cpu'. \(Tried to"
    for call in (lambda: fitted(trials), lambda: regressor.sample(trials[0][:10], 3)):
        with pytest.raises(torch.OutOfMemoryError, match=advice):
            call()
