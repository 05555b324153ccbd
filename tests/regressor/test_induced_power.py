"""Draws have the rhythms of their image, and nothing else of them changes."""

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mne_img2brain import DiffusionRegressor
from mne_img2brain.encoder.saving import pack, unpack
from mne_img2brain.mean import image_features
from mne_img2brain.mean.kernels import KernelMap
from mne_img2brain.mean.multivariate_model import rotate
from mne_img2brain.regressor.drawing import means_of

N_IMAGES, N_TRIALS, C, T = 120, 4, 4, 64
TIME = np.arange(T) / T


def make(rng, tokens, n_trials, amplitude=1.0):
    """Make trials: noise, an evoked response, and alpha whose late power follows the image."""
    n = len(tokens) * n_trials
    of = np.repeat(np.arange(len(tokens)), n_trials)
    late = 1 / (1 + np.exp(-(TIME - 0.4) / 0.03))
    gain = np.exp(0.5 * amplitude * tokens[of, :1] * late)
    wave = gain * rng.rayleigh(1, (n, 1)) * np.sin(2 * np.pi * (10 * TIME + rng.random((n, 1))))
    evoked = np.exp(-0.5 * ((TIME - 0.25) / 0.05) ** 2) * tokens[of, 1:2]
    pattern = np.array([1.0, 0.6, -0.2, -0.5])[:, None]
    noise = 0.5 * rng.standard_normal((n, C, T))
    return (noise + wave[:, None] * pattern + evoked[:, None]).reshape(-1, n_trials, C, T)


def alpha(trials):
    """Log alpha power of images: (n_images, n_trials, n_channels, n_times) -> (n_images,)."""
    late = (trials - trials.mean(axis=1, keepdims=True))[..., T // 2 :]
    power = np.square(np.abs(np.fft.rfft(late * np.hanning(T // 2))))[..., 4:7]
    return np.log(power.sum(axis=(2, 3))).mean(axis=1)


@pytest.fixture(scope="module")
def fitted():
    """Fit without a transformer."""
    rng = np.random.default_rng(3)
    tokens = rng.standard_normal((N_IMAGES, 6))
    y = make(rng, tokens, N_TRIALS).reshape(-1, C, T)
    image = np.repeat(np.arange(N_IMAGES), N_TRIALS)
    model = DiffusionRegressor(max_iter=0, random_state=0)
    return model.fit(tokens, y, image_index=image), tokens, y, image


def test_draws_follow_the_image(fitted, rng):
    model, *_ = fitted
    new = rng.standard_normal((60, 6))
    real, draws = make(rng, new, 30), model.sample(new, 30, random_state=0)
    recorded, drawn = alpha(real), alpha(draws)
    assert np.corrcoef(recorded, drawn)[0, 1] > 0.9
    assert 0.5 < np.polyfit(recorded, drawn, 1)[0] < 1.2
    assert_allclose(draws.std(axis=1).mean(), real.std(axis=1).mean(), rtol=0.05)


def test_guidance_acts_on_power(fitted, rng):
    """As many times the contrast of log power between images; 0 is the mean power for all."""
    model, *_ = fitted
    new = rng.standard_normal((60, 6))
    recorded = alpha(make(rng, new, 30))
    slopes = []
    for scale in (0, 1, 2):
        draws = model.sample(new, 30, guidance_scale=scale, random_state=0)
        slopes.append(np.polyfit(recorded, alpha(draws), 1)[0])
    # the noise of other sources is in alpha too: that part of it does not grow
    assert abs(slopes[0]) < 0.1 < 0.5 < slopes[1]
    assert 1.6 * slopes[1] < slopes[2] < 2.1 * slopes[1]


def test_the_expected_response_is_that_of_the_mean(fitted, rng):
    model, *_ = fitted
    new = rng.standard_normal((5, 6))
    assert_array_equal(model.predict(new), model.mean_.predict(new[:, None]))
    draws = model.sample(new, 2000, random_state=0)
    error = draws.std(axis=1) / 2000**0.5
    assert np.abs((draws.mean(axis=1) - model.predict(new)) / error).max() < 5


def test_averages_over_trials_have_the_power_of_trials(rng):
    tokens = rng.standard_normal((240, 6))
    average = make(rng, tokens, 4).mean(axis=1)
    weight = np.full(len(tokens), 4)
    model = DiffusionRegressor(max_iter=0, random_state=0)
    model.fit(tokens, average, sample_weight=weight)
    assert any(band["low"] < 10 < band["high"] for band in model.power_.bands_)
    new = rng.standard_normal((60, 6))
    single, averaged = (model.sample(new, 30, n_averaged=n, random_state=0) for n in (1, 4))
    real = make(rng, new, 30)
    assert np.corrcoef(alpha(real), alpha(single))[0, 1] > 0.8
    assert_allclose(single.std(axis=1).mean(), real.std(axis=1).mean(), rtol=0.15)
    assert_allclose(averaged.std(axis=1), single.std(axis=1) / 2)


def test_a_new_subject_has_the_rhythms_of_the_others(fitted, rng):
    model, *_ = fitted
    arrays = {}  # adapt changes the model: work on a copy
    copy = unpack(json.loads(json.dumps(pack(model, arrays))), arrays)
    tokens = rng.standard_normal((40, 6))
    image = np.repeat(np.arange(40), 3)
    code = copy.adapt(tokens, 3 * make(rng, tokens, 3).reshape(-1, C, T), image_index=image)
    new = rng.standard_normal((60, 6))
    draws = copy.sample(new, 30, subjects=np.full(60, code), random_state=0)
    real = 3 * make(rng, new, 30)
    assert np.corrcoef(alpha(real), alpha(draws))[0, 1] > 0.9
    # its noise is its own
    assert_allclose(draws.std(axis=1).mean(), real.std(axis=1).mean(), rtol=0.1)


def test_what_is_read_draws_the_same(fitted, rng):
    model, *_ = fitted
    arrays = {}
    read = unpack(json.loads(json.dumps(pack(model, arrays))), arrays)
    new = rng.standard_normal((4, 6))
    drawn = [one.sample(new, 3, random_state=1) for one in (model, read)]
    assert_array_equal(*drawn)


def test_where_nothing_follows_the_image_draws_are_as_without(rng, monkeypatch):
    tokens, image = rng.standard_normal((40, 5)), np.repeat(np.arange(40), 4)
    y = make(rng, tokens, 4, amplitude=0.0).reshape(-1, C, T)

    def draws():
        model = DiffusionRegressor(max_iter=0, random_state=0).fit(tokens, y, image_index=image)
        assert not model.power_.bands_
        return model.sample(tokens[:5], 3, random_state=0)

    with_power = draws()
    monkeypatch.setattr("mne_img2brain.noise.power._LEAST_UNITS", 41)  # not looked for
    assert_array_equal(with_power, draws())


def test_one_argument_leaves_recorded_trials_out(rng):
    tokens, image = rng.standard_normal((60, 5)), np.repeat(np.arange(60), 4)
    size_of_trial = rng.lognormal(0, 0.5, (240, 1, 1))
    y = size_of_trial * make(rng, tokens, 4, amplitude=0.0).reshape(-1, C, T)
    stored, bare = (
        DiffusionRegressor(noise=noise, max_iter=0, random_state=0).fit(
            tokens, y, image_index=image
        )
        for noise in ("auto", "gaussian")
    )
    assert stored.n_stored_trials_ == 240
    assert bare.n_stored_trials_ == 0
    assert_array_equal(bare.predict(tokens), stored.predict(tokens))
    power = [one.sample(tokens, 40, random_state=0).var(axis=1).mean() for one in (stored, bare)]
    assert_allclose(power[0], power[1], rtol=0.1)
    bare.adapt(tokens, y, image_index=image)
    assert bare.n_stored_trials_ == 0


def test_gaussian_truth_keeps_nothing_beyond_the_gaussian():
    kept = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        tokens, image = rng.standard_normal((60, 5)), np.repeat(np.arange(60), 4)
        mixing = rng.standard_normal((C, C))
        noise = mixing @ np.cumsum(rng.standard_normal((240, C, T)), axis=2)
        y = noise + 3 * tokens[image, :1, None] * np.exp(-0.5 * ((TIME - 0.4) / 0.1) ** 2)
        model = DiffusionRegressor(max_iter=0, random_state=0).fit(tokens, y, image_index=image)
        gains = model.noise_.pooled.clusters_.gains_
        kept += bool(model.power_.bands_) or model.n_stored_trials_ > 0 or gains is not None
    assert kept <= 1


def test_mean_and_power_look_at_images_once(monkeypatch):
    """Kernels of new images are computed for both together, after reading from a file too."""
    rng = np.random.default_rng(0)
    tokens = rng.standard_normal((N_IMAGES, 3))
    y = make(rng, tokens, N_TRIALS).reshape(-1, C, T)
    image = np.repeat(np.arange(N_IMAGES), N_TRIALS)
    rotations = []
    monkeypatch.setattr(image_features, "rotate", lambda *a: rotations.append(a) or rotate(*a))
    model = DiffusionRegressor(max_iter=0, random_state=0).fit(tokens, y, image_index=image)
    assert model.power_.bands_
    assert len(rotations) == 2 * 6  # two kernels, five folds and all images: none for power alone
    arrays = {}
    packed = json.loads(json.dumps(pack(model, arrays)))
    compared = []
    compare = KernelMap.compare
    monkeypatch.setattr(
        KernelMap, "compare", lambda self, x: compared.append(self) or compare(self, x)
    )
    for one in (model, unpack(packed, arrays)):
        compared.clear()
        expected, scores = means_of(one, tokens[:7, None], None)
        used = one.mean_.shared_.maps_.keys() | one.power_.regressor_.shared_.maps_.keys()
        assert len(compared) == len(used)
        assert_array_equal(expected, one.predict(tokens[:7]))
        assert_array_equal(scores, one.power_.predict(tokens[:7, None]))
