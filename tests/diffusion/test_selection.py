"""A transformer is kept where trials score better under its draws, image by image."""

import types
from itertools import repeat

import numpy as np
import pytest
from small_regressors import make_regressor

from mne_img2brain import Denoiser
from mne_img2brain.diffusion.selection import LEAST_TRIALS, NoiseSummary, compare_draws
from mne_img2brain.noise.subject_noise import SubjectNoise
from mne_img2brain.noise.trial_noise import TrialNoise
from mne_img2brain.trials.checks import TrialArrays
from mne_img2brain.trials.splits import SplitPlan


class Identity:
    def draw_of(self, values, subject=None):
        return values


def drawing(make, shape):
    """Make a denoiser whose draws are ``make(tokens of each draw, white noise)``."""

    asked = []

    def draw(tokens, image_index, numbers, subject=None, own_mean=None):
        asked.append(subject)
        assert np.all(np.diff(image_index) >= 0)
        for draws in np.array_split(np.arange(len(image_index)), 3):
            yield draws, make(tokens[image_index[draws]], next(numbers(draws)))

    return types.SimpleNamespace(
        draw=draw, mean=lambda tokens, subject: np.zeros((len(tokens), *shape)),
        whitener_=Identity(), asked=asked,
    )  # fmt: skip


def recording(make, seed, n_images=120, shape=(4, 32), subject=None, by_trial=False):
    """Trials, four of each image, all held out but of every third image."""
    rng = np.random.default_rng(seed)
    image = np.repeat(np.arange(n_images), 4)
    tokens = rng.standard_normal((n_images, 1, 2))
    y = make(tokens[image], rng.standard_normal((len(image), *shape)))
    n = len(image)
    data = TrialArrays(
        tokens, image, y, np.ones(n), np.zeros(shape[0], int), None, subject, None, shape
    )
    held = image % 3 > 0
    return data, SplitPlan(np.arange(n) if by_trial else image, image % 5, held, by_trial)


def white(tokens, noise):
    return noise


def louder(tokens, noise, power=0.5):
    """A broadband power that follows the image; over images it is what it is without it."""
    return noise * np.exp(power * tokens[:, :, :1])


def mixed(tokens, noise):
    """Sensors go together as the image says, each as loud as ever."""
    angle = 0.6 * tokens[:, 0, :1]
    first, second = noise[:, 0], np.sin(angle) * noise[:, 0] + np.cos(angle) * noise[:, 1]
    return np.concatenate([np.stack([first, second], axis=1), noise[:, 2:]], axis=1)


def shuffled(tokens, noise):
    return louder(tokens[::-1], noise)


@pytest.mark.parametrize(
    ("truth", "model", "better"),
    [
        (louder, louder, True),
        (mixed, mixed, True),
        (louder, shuffled, False),  # the right power, of other images
        (white, louder, False),
        (white, lambda tokens, noise: 0.8 * noise, False),
    ],
)
def test_draws_of_the_image_win(truth, model, better):
    for seed in range(3):
        data, plan = recording(truth, seed)
        found = compare_draws(drawing(model, (4, 32)), data, plan, seed)
        assert (found["gain"] > found["threshold"]) is better


def test_equal_draws_are_rarely_kept():
    """Draws with and without are of one distribution: kept in 2.5 % of recordings."""
    rng = np.random.default_rng(0)
    model = drawing(lambda tokens, noise: rng.standard_normal(noise.shape), (2, 16))
    n_errors, kept = [], 0
    for seed in range(30):
        data, plan = recording(white, seed, n_images=30, shape=(2, 16))
        found = compare_draws(model, data, plan, seed)
        n_errors.append(found["gain"] / found["gain_error"])
        kept += found["gain"] > found["threshold"]
    assert kept <= 3
    # the standard error is what the gain varies by
    assert 0.6 < np.std(n_errors) < 1.5
    assert abs(np.mean(n_errors)) < 0.5


def test_few_images_and_subjects():
    # with one image held out nothing is said
    data, plan = recording(white, 0, n_images=2)
    assert compare_draws(drawing(white, (4, 32)), data, plan, 0) == {}
    # where trials are split every trial is a case: the same draws gain nothing at all
    data, plan = recording(white, 0, n_images=2, by_trial=True)
    found = compare_draws(drawing(white, (4, 32)), data, plan, 0)
    assert found["gain"] == found["gain_error"] == 0
    # subjects have their own draws
    data, plan = recording(louder, 0, subject=np.arange(480) % 2)
    model = drawing(louder, (4, 32))
    found = compare_draws(model, data, plan, 0)
    assert found["gain"] > found["threshold"]
    assert set(model.asked[0]) == {0, 1}
    model = drawing(white, (4, 32))
    compare_draws(model, *recording(white, 0), 0)
    assert model.asked == [None]


@pytest.mark.parametrize("n_times", [1, 2, 3])
def test_a_few_time_points(n_times):
    rng = np.random.default_rng(0)
    data, plan = recording(white, 0, shape=(1, n_times))
    bad = drawing(lambda tokens, noise: 9 * rng.standard_normal(noise.shape), (1, n_times))
    assert compare_draws(bad, data, plan, 0)["gain"] < -1


def loud(n_images=60):
    """Half of the trials are loud: one Gaussian has only one size."""
    rng = np.random.default_rng(0)
    tokens = rng.standard_normal((n_images, 3)).astype(np.float32)
    size = np.where(rng.random(4 * n_images) < 0.5, 0.2, 2.0)[:, None, None]
    y = size * rng.standard_normal((4 * n_images, 4, 12))
    return {"X": tokens, "y": y, "image_index": np.repeat(np.arange(n_images), 4)}


@pytest.mark.parametrize("gain", [0.1, -0.1])
def test_what_was_tried_is_told(monkeypatch, gain):
    model = make_regressor(
        hidden_size=32, n_layers=1, n_heads=2, patch_length=6, max_iter=100, device="cpu",
        random_state=0,
    )  # fmt: skip
    asked = []

    def judge(denoiser, data, plan, seed):
        asked.append(denoiser.history_.best_iter > 0)
        return {
            "gain": gain, "gain_error": 0.03, "threshold": 0.06, "accuracy": 0.6,
            "accuracy_without": 0.5,
        }  # fmt: skip

    monkeypatch.setattr("mne_img2brain.regressor.fitting.compare_draws", judge)
    model.fit(**loud())
    assert asked == [True]
    found, kept = model.noise_summary_, gain > 0
    assert isinstance(model.noise_, Denoiser) is kept is found.helps
    assert found.kept == ("the transformer" if kept else "trial clusters")
    assert model.n_stored_trials_ == (0 if kept else 240)
    assert (found.n_trials, found.n_bands, found.gain) == (240, 0, gain)
    assert found.n_iter == model.n_iter_ > 0
    assert found.seconds > 0
    way = "better" if kept else "worse"
    assert f"score 10.00% {way} under its draws (standard error 3.00%)" in str(found)
    assert f"{found.kept}; no power follows the image; transformer ({found.n_iter} " in str(found)


@pytest.mark.parametrize(
    ("kept", "gain", "accuracy", "helps"),
    [
        ("trial clusters", -0.05, 0.51, True),  # alike, and keeps no trial
        ("trial clusters", -0.05, 0.53, False),
        ("trial clusters", -0.07, 0.50, False),
        ("trial clusters", 0.07, 0.60, True),
        ("one Gaussian", 0.05, 0.40, False),  # keeps no trial either
        ("one Gaussian", 0.07, 0.60, True),
    ],
)
def test_of_two_that_score_alike_the_one_without_trials(kept, gain, accuracy, helps):
    summary = NoiseSummary(kept, 100)
    summary.compare(
        {"gain": gain, "gain_error": 0.03, "threshold": 0.06, "accuracy": accuracy,
         "accuracy_without": 0.5}
    )  # fmt: skip
    assert summary.helps is helps
    assert ("keeps no recorded trial" in summary.reason) == (helps and gain < 0)


def test_no_transformer_of_few_trials():
    """Unless it is asked for, none is trained where none ever helped; alone it always is."""
    small = {"hidden_size": 8, "n_layers": 1, "n_heads": 1, "device": "cpu", "random_state": 0}
    model = make_regressor(**small).fit(**loud())
    assert model.n_iter_ == model.noise_summary_.n_iter == 0
    assert f"fewer than {LEAST_TRIALS:,} trials" in model.noise_summary_.reason
    assert model.noise_summary_.kept == "trial clusters"
    assert model.without_trials().noise_summary_.kept == "one Gaussian"
    alone = make_regressor(None, **small, n_iter_no_change=1).fit(**loud())
    assert alone.noise_summary_.n_iter == alone.n_iter_ > 0
    assert make_regressor(**small, max_iter=0).fit(**loud()).noise_summary_ == NoiseSummary(
        kept="trial clusters", n_trials=240
    )


def test_no_transformer_where_one_gaussian_serves(monkeypatch):
    """With many trials it is trained where they are more than Gaussian, or where asked for."""
    monkeypatch.setattr("mne_img2brain.regressor.fitting.LEAST_TRIALS", 200)
    small = {"hidden_size": 8, "n_layers": 1, "n_heads": 1, "device": "cpu", "random_state": 0}
    given = loud()
    assert make_regressor(**small, n_iter_no_change=1).fit(**given).n_iter_ > 0
    monkeypatch.setattr("mne_img2brain.regressor.fitting.MOST_VALUES", given["y"].size - 1)
    slow = make_regressor(**small).fit(**given)
    assert "without a GPU" in slow.noise_summary_.reason
    given["y"] = np.random.default_rng(0).standard_normal(given["y"].shape)
    monkeypatch.setattr("mne_img2brain.regressor.fitting.MOST_VALUES", given["y"].size)
    model = make_regressor(**small).fit(**given)
    assert model.n_iter_ == 0
    assert "one Gaussian" in model.noise_summary_.reason
    assert make_regressor(**small, max_iter=1).fit(**given).n_iter_ == 1


def test_the_first_evaluation_ends_what_learns_nothing(monkeypatch):
    """Unless steps were asked for, or the transformer is all that knows the image."""
    monkeypatch.setattr("mne_img2brain.regressor.fitting.LEAST_TRIALS", 200)
    monkeypatch.setattr("mne_img2brain.diffusion.denoiser._LEAST_STEPS", 60)
    monkeypatch.setattr("mne_img2brain.diffusion.training._LEAST_BETWEEN", 10)
    small = {"hidden_size": 8, "n_layers": 1, "n_heads": 1, "device": "cpu", "random_state": 0}
    nothing, given = {**small, "learning_rate": 1e-12, "n_iter_no_change": 3}, loud()
    model = make_regressor(**nothing).fit(**given)
    assert model.n_iter_ == 10
    assert "did not lower the loss" in model.noise_summary_.reason
    assert make_regressor(**nothing, max_iter=60).fit(**given).n_iter_ == 30
    assert make_regressor(None, **nothing).fit(**given).n_iter_ == 30


def test_steps_follow_trials():
    assert [Denoiser().steps_for(n) for n in (100, 8000, 16000)] == [1500, 3750, 7500]
    assert Denoiser(batch_size=128).steps_for(32000) == 30000
    assert Denoiser(max_iter=7).steps_for(10**6) == 7


def test_an_untrained_transformer_is_the_gaussian():
    """Training starts where the model without it is: white noise, coloured."""
    data, plan = recording(lambda tokens, noise: np.cumsum(noise, axis=2), 0, shape=(2, 16))
    whitener = SubjectNoise(TrialNoise()).fit(data.y, data.image_index, data.weight)
    denoiser = Denoiser(16, 1, 2, max_iter=0).fit(data, plan, whitener, device="cpu")
    start = np.random.default_rng(0).standard_normal((8, 2, 16), dtype=np.float32)
    drawn = denoiser.draw(data.tokens[:2], np.arange(8) // 4, lambda draws: repeat(start[draws]))
    drawn = np.concatenate([values for _, values in drawn])
    expected = whitener.inverse_transform(start)
    # what 25 steps do to the strongest of a random walk
    assert np.abs(drawn - expected).max() < 0.1 * expected.std()
    assert not denoiser.mean(data.tokens).any()
