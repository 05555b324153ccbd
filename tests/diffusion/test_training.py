"""Training: learns what is there, stops where there is nothing."""

import logging

import numpy as np
import pytest
import torch
from mne.utils import use_log_level
from numpy.testing import assert_allclose
from small_regressors import train_network

from mne_img2brain._torch import evaluating, seeded_init
from mne_img2brain.diffusion import BrainDiT, NoiseScheduler, dpm_solver, training


def model(n_channels=2, n_times=6, n_features=1, **parameters):
    with seeded_init(0):
        return BrainDiT(
            n_times, [0] * n_channels, n_features,
            **{"hidden_size": 32, "n_layers": 1, "n_heads": 2, "patch_length": 3, **parameters},
        )  # fmt: skip


def test_draws_have_the_mean_and_sd_of_each_image(rng):
    """Two images: N(+1, 0.3^2) and N(-1, 0.3^2) everywhere."""
    tokens = np.array([[[-1.0]], [[1.0]]], np.float32)
    image = rng.integers(0, 2, 600)
    x0 = 2.0 * image[:, None, None] - 1 + 0.3 * rng.standard_normal((600, 2, 6))
    validation = np.arange(600) < 100
    scheduler = NoiseScheduler()
    denoiser = model()
    history = train_network(
        denoiser, x0, tokens, image, validation, max_iter=600, learning_rate=3e-3
    )
    assert history.best_iter > 0
    assert min(history.validation_losses) < 0.5 * history.validation_losses[0]
    noise = torch.as_tensor(rng.standard_normal((400, 2, 6)), dtype=torch.float32)
    with evaluating(denoiser):
        condition = denoiser.encode_condition(torch.as_tensor(tokens))
        for shown, mean in [(0, -1.0), (1, 1.0)]:
            given = condition[torch.full((400,), shown)]
            draws = dpm_solver(
                lambda x, t, given=given: denoiser(x, t, given), noise, scheduler,
                scheduler.timesteps(25),
            )  # fmt: skip
            assert_allclose(draws.mean(), mean, atol=0.1)
            assert_allclose(draws.std(dim=0).mean(), 0.3, atol=0.1)


def test_where_there_is_nothing_to_learn_the_gaussian_stays(rng, monkeypatch):
    monkeypatch.setattr(training, "_LEAST_BETWEEN", 30)
    x0 = rng.standard_normal((60, 2, 6))
    tokens = rng.standard_normal((60, 1, 1)).astype(np.float32)
    denoiser = model()
    history = train_network(
        denoiser, x0, tokens, np.arange(60), np.arange(60) % 3 == 0, max_iter=300,
        n_iter_no_change=2, learning_rate=3e-3,
    )  # fmt: skip
    assert history.best_iter == 0
    assert history.iterations[-1] < 300  # it did not wait for the end
    assert history.iterations == list(range(0, history.iterations[-1] + 1, 30))
    # the loss of "zero" on white data is that of the velocity: 1 for every value
    assert_allclose(history.validation_losses[0], 1, atol=0.1)
    x = torch.ones(3, 2, 6)
    with torch.no_grad():
        out = denoiser(x, torch.tensor([1, 2, 3]), denoiser.null_condition(3))
    assert torch.all(out == 0)


def test_the_seed_decides_and_masked_sensors_do_not_count(rng):
    x0 = rng.standard_normal((40, 2, 6)).astype(np.float32)
    tokens = rng.standard_normal((40, 2, 1)).astype(np.float32)
    mask = np.ones((40, 2), bool)
    mask[:, 1] = False
    other = x0.copy()
    other[:, 1] = 100.0
    losses = []
    for data, seed in [(x0, 0), (x0, 0), (x0, 1)]:
        history = train_network(
            model(), data, tokens, np.arange(40), np.arange(40) < 5, max_iter=5, seed=seed
        )
        losses.append(history.losses)
    assert losses[0] == losses[1] != losses[2]
    masked = [
        train_network(
            model(), data, tokens, np.arange(40), np.arange(40) < 5, y_mask=mask, max_iter=1,
            condition_dropout=0.0,
        ).losses[0]
        for data in (x0, other)
    ]  # fmt: skip
    # at the first step the output is zero: the loss is that of the first sensor alone
    assert masked[0] == pytest.approx(masked[1], rel=1e-6)


def test_no_steps_leave_the_denoiser_as_it_is(rng):
    x0 = rng.standard_normal((20, 2, 6))
    tokens = rng.standard_normal((20, 1, 1)).astype(np.float32)
    denoiser = model()
    before = {name: value.clone() for name, value in denoiser.state_dict().items()}
    history = train_network(denoiser, x0, tokens, np.arange(20), np.arange(20) < 5, max_iter=0)
    assert history.best_iter == 0
    assert history.losses == []
    assert history.iterations == [0]
    for name, value in denoiser.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("conditioning", ["cross_attention", "addition", "concatenation"])
def test_matrices_are_decayed_and_nothing_else(rng, monkeypatch, conditioning):
    """Without a gradient, one step takes its part from matrices and leaves all else in place."""
    losses = iter([1.0, 0.9])  # the step is kept
    monkeypatch.setattr(training.HeldOut, "loss", lambda *_: next(losses))
    x0 = rng.standard_normal((20, 2, 6))
    tokens = rng.standard_normal((20, 1, 1)).astype(np.float32)
    denoiser = model(conditioning=conditioning, n_subjects=2)
    with torch.no_grad():
        for parameter in denoiser.parameters():
            parameter.fill_(1.0)
    train_network(
        denoiser, x0, tokens, np.arange(20), np.arange(20) < 5, subjects=np.zeros(20, int),
        y_mask=np.zeros((20, 2), bool), max_iter=1, weight_decay=0.5, learning_rate=0.1,
    )  # fmt: skip
    linear = {
        f"{name}.weight"
        for name, module in denoiser.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    expected = linear | {"patches.to_token", "patches.from_token"}
    decayed = {name for name, value in denoiser.named_parameters() if not torch.all(value == 1)}
    assert decayed == expected


def test_mps_draws_from_the_seed_and_is_left_as_it_was(monkeypatch):
    """There is no such device here: its one generator is a number."""
    state = [7]
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: list(state))
    monkeypatch.setattr(torch.mps, "set_rng_state", lambda saved: state.__setitem__(0, saved[0]))
    monkeypatch.setattr(torch.mps, "manual_seed", lambda seed: state.__setitem__(0, seed))

    def interrupted():
        with seeded_init(3, "mps"):
            assert state == [3]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert state == [7]
    before = torch.random.get_rng_state()
    with seeded_init(3, "mps"):
        first = torch.rand(3)
    with seeded_init(3):
        assert torch.equal(torch.rand(3), first)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_long_training_is_announced(rng, monkeypatch, caplog):
    with use_log_level("INFO"), caplog.at_level(logging.INFO, logger="mne"):
        training._tell_duration(0.01, 100)
        assert caplog.text == ""
        training._tell_duration(2.0, 600)
    assert "up to 600 more gradient steps of 2.00 s: about 20 minutes" in caplog.text
    told, ticks = [], iter([10.0, 25.0])
    monkeypatch.setattr(training, "perf_counter", lambda: next(ticks))
    monkeypatch.setattr(training, "_tell_duration", lambda *given: told.append(given))
    train_network(
        model(), rng.standard_normal((40, 2, 6)), np.zeros((40, 1, 1), np.float32),
        np.arange(40), np.arange(40) < 5, max_iter=14,
    )  # fmt: skip
    assert told == [(3.0, 4)]  # five steps in 15 seconds, ten of fourteen made


def test_ctrl_c_ends_the_fit_or_keeps_the_best_so_far(rng, monkeypatch):
    image = rng.integers(0, 2, 200)
    x0 = 2.0 * image[:, None, None] - 1 + 0.3 * rng.standard_normal((200, 2, 6))

    def train(**options):
        denoiser = model()
        history = train_network(
            denoiser, x0, np.array([[[-1.0]], [[1.0]]], np.float32), image, np.arange(200) < 50,
            learning_rate=3e-3, max_iter=400, **options,
        )  # fmt: skip
        return denoiser, history

    def stopped(steps, message):
        yield from steps[:70]
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "progress_bar", stopped)
    monkeypatch.setattr(training, "_WARMUP", 1)
    monkeypatch.setattr(training, "_LEAST_BETWEEN", 20)
    with pytest.raises(KeyboardInterrupt):
        train()
    with pytest.warns(RuntimeWarning, match="best weights so far"):
        denoiser, history = train(interrupt="keep")
    assert history.best_iter == 60
    assert not denoiser.training
    untrained = model().state_dict()
    assert any(not torch.equal(untrained[k], v) for k, v in denoiser.state_dict().items())
