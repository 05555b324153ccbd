"""Expected power: that of draws, image by image."""

import mne
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge

from mne_img2brain import DiffusionRegressor, ImageToBrainEncoder

N_IMAGES, N_TRIALS, SFREQ = 120, 4, 64.0
TIMES = np.arange(64) / SFREQ - 0.25
CHANNELS = ["O1", "Oz", "O2", "Fz"]


def record(rng, tokens, n_trials):
    """Epochs in volts: alpha after 0.1 s follows the first token feature, the evoked the second."""
    of = np.repeat(np.arange(len(tokens)), n_trials)
    n = len(of)
    late = 1 / (1 + np.exp(-(TIMES - 0.15) / 0.03))
    gain = np.exp(0.5 * tokens[of, :1] * late) * rng.rayleigh(1, (n, 1))
    wave = gain * np.sin(2 * np.pi * (10 * TIMES + rng.random((n, 1))))
    evoked = np.exp(-0.5 * ((TIMES - 0.12) / 0.05) ** 2) * tokens[of, 1:2]
    pattern = np.array([1.0, 1.2, 0.9, 0.1])[:, None]
    y = 0.4 * rng.standard_normal((n, 4, 64)) + (wave + evoked)[:, None] * pattern
    info = mne.create_info(CHANNELS, SFREQ, "eeg").set_montage("easycap-M1")
    return mne.EpochsArray(1e-5 * y, info, tmin=TIMES[0], verbose="error"), of


@pytest.fixture(scope="module")
def fitted():
    """Fit without a transformer."""
    rng = np.random.default_rng(2)
    tokens = rng.standard_normal((N_IMAGES, 5))
    epochs, of = record(rng, tokens, N_TRIALS)
    encoder = ImageToBrainEncoder(regressor=DiffusionRegressor(max_iter=0, random_state=0))
    return encoder.fit(tokens, epochs, image_ids=of), tokens


def test_it_is_the_power_of_draws(fitted, rng):
    encoder, _ = fitted
    new, freqs, cycles = rng.standard_normal((2, 5)), np.array([8.0, 12.0, 20.0]), [3.0, 4.0, 5.0]
    power = encoder.predict_power(new, freqs, cycles, n_draws=30)
    assert isinstance(power, mne.time_frequency.EpochsTFRArray)
    for one, found in zip(new, power.data, strict=True):
        draws = encoder.sample(one[None], 30, random_state=0).get_data()
        induced = draws - encoder.predict(one[None]).get_data()
        expected = mne.time_frequency.tfr_array_morlet(
            induced, SFREQ, freqs, cycles, output="avg_power"
        )
        assert_allclose(found, expected, rtol=1e-4)


def test_total_power_adds_the_expected_response(fitted, rng):
    encoder, _ = fitted
    new, freqs = rng.standard_normal((2, 5)), np.array([8.0, 16.0])
    induced, total = (
        encoder.predict_power(new, freqs, 3.0, n_draws=5, total=total) for total in (False, True)
    )
    response = encoder.predict(new).get_data()
    evoked = mne.time_frequency.tfr_array_morlet(response, SFREQ, freqs, 3.0, output="power")
    assert_allclose(total.data - induced.data, evoked, rtol=1e-4, atol=1e-6 * evoked.max())


def test_power_follows_the_image(fitted, rng):
    encoder, _ = fitted
    new = rng.standard_normal((40, 5))
    power = encoder.predict_power(new, np.array([6.0, 10.0, 25.0]), 3.0, n_draws=20)
    power.apply_baseline((None, 0.0), mode="logratio", verbose="error")
    late = power.copy().crop(0.3, 0.6).data[:, :3].mean(axis=(1, 3))
    r = [np.corrcoef(new[:, 0], late[:, k])[0, 1] for k in range(3)]
    assert r[1] > 0.9
    recorded, of = record(rng, new, 20)
    residuals = recorded.get_data().reshape(40, 20, 4, 64)
    residuals = (residuals - residuals.mean(axis=1, keepdims=True)).reshape(-1, 4, 64)
    real = mne.time_frequency.tfr_array_morlet(residuals, SFREQ, [10.0], 3.0, output="power")
    real = np.log(real[:, :3, 0, (TIMES >= 0.3) & (TIMES <= 0.6)].mean(axis=(1, 2)))
    real = np.array([real[of == i].mean() for i in range(40)])
    # recorded power does not go with the truth any better: twenty trials are noisy
    ceiling = np.corrcoef(real, new[:, 0])[0, 1]
    assert np.corrcoef(real, late[:, 1])[0, 1] > 0.95 * ceiling


def test_an_image_has_its_power_whatever_the_others(fitted, rng):
    encoder, _ = fitted
    new = rng.standard_normal((3, 5))
    every = encoder.predict_power(new[[0, 1, 2, 0]], n_draws=5).data
    assert_array_equal(every[0], every[3])
    assert_allclose(encoder.predict_power(new[1:2], n_draws=5).data[0], every[1], rtol=1e-5)


def test_times_events_and_metadata_are_those_of_predict(fitted, rng):
    encoder, _ = fitted
    new, event_id = rng.standard_normal((4, 5)), ["face", "house", "face", "house"]
    power = encoder.predict_power(new, decim=4, n_draws=3, event_id=event_id)
    response = encoder.predict(new, event_id=event_id)
    assert_allclose(power.times, response.times[::4])
    assert power.info["sfreq"] == SFREQ / 4
    assert power.metadata.equals(response.metadata)
    assert len(power["face"]) == 2
    assert len(power.freqs) == 20
    assert power.freqs[-1] <= 0.45 * SFREQ
    assert power.average().data.shape == (4, 20, 16)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"freqs": [40.0]}, "half of the sampling"),
        ({"freqs": [0.0, 4.0]}, "above 0"),
        ({"freqs": [8.0, 8.0]}, "ascending"),
        ({"freqs": [8.0], "n_cycles": 7.0}, "longer than an epoch"),
        ({"freqs": [8.0], "n_cycles": [2.0, 3.0]}, "one for each of 1"),
        ({"n_draws": 1}, "n_draws"),
        ({"decim": 0}, "decim"),
    ],
)
def test_wrong_arguments_are_named(fitted, arguments, match):
    encoder, tokens = fitted
    with pytest.raises(ValueError, match=match):
        encoder.predict_power(tokens[:1], **arguments)


def test_without_draws_there_is_no_power():
    assert not hasattr(ImageToBrainEncoder(regressor=Ridge()), "predict_power")
