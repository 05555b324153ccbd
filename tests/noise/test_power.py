"""Power that follows the image: found where it is, nothing changed where it is not."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold, cross_val_predict

from mne_img2brain.noise.power import InducedPower
from mne_img2brain.noise.tiles import bands_of, rhythm_components

N_IMAGES, N_TRIALS, C, T = 150, 4, 5, 64
PATTERN = np.array([1.0, 0.6, 0.2, -0.2, -0.5])


def ridge(tokens, image_index):
    """Return what regresses scores on tokens, out of fold."""
    model = RidgeCV(np.logspace(-1, 4, 12))

    def regress(scores):
        x = tokens[image_index]
        predicted = cross_val_predict(model, x, scores, groups=image_index, cv=GroupKFold(5))
        return model.fit(x, scores), predicted

    return regress


def noise(rng, n):
    """Return coloured Gaussian noise with the topographies of eight sources."""
    sources = np.cumsum(rng.standard_normal((n, 8, 2 * T)), axis=2)[..., T:]
    sources -= sources.mean(axis=2, keepdims=True)
    mixing = np.random.default_rng(5).standard_normal((8, C)) / 20
    return np.einsum("nst,sc->nct", sources, mixing) + 0.3 * rng.standard_normal((n, C, T))


def rhythm(rng, log_gain):
    """Return a rhythm of 10 cycles an epoch whose log power from the middle on is ``log_gain``."""
    n, time = len(log_gain), np.arange(T) / T
    wave = np.sin(2 * np.pi * (10 * time + rng.random((n, 1)))) * rng.rayleigh(1, (n, 1))
    return (wave * np.where(time > 0.5, np.exp(log_gain[:, None] / 2), 1))[:, None] * PATTERN[
        :, None
    ]


@pytest.fixture(scope="module")
def recording():
    """Make trials whose rhythm follows the first feature of the image, and gains for it."""
    rng = np.random.default_rng(1)
    tokens = rng.standard_normal((N_IMAGES, 6))
    image = np.repeat(np.arange(N_IMAGES), N_TRIALS)
    trials = noise(rng, len(image)) + rhythm(rng, tokens[image, 0])
    power = InducedPower()
    normal = np.asarray(power.fit_transform(trials, image, ridge(tokens, image)))
    return tokens, image, trials, power, normal


@pytest.mark.parametrize("n_times", [1, 2, 3, 4, 7, 58, 250])
def test_tiles_add_up_to_the_signal(n_times, rng):
    x = rng.standard_normal((3, 2, n_times))
    bands = bands_of(n_times)
    assert_allclose(sum(band.cut(x) for band in bands), x, atol=1e-12)
    for band in bands:
        assert band.high < 1.5 * band.low or band.low == 0  # half an octave, and what is slower
        assert_allclose(band.windows.sum(axis=1), 1)
        # the windows' power adds up to that of the band
        power = band.power(x) @ band.windows.sum(axis=0)
        assert_allclose(power, np.square(band.cut(x)).sum(axis=2))


def test_a_band_has_the_power_of_its_frequencies():
    time = (np.arange(T) + 0.5) / T
    wave = np.cos(2 * np.pi * 10 * time)[None, None]
    total = np.array([np.square(band.cut(wave)).sum() for band in bands_of(T)])
    best = bands_of(T)[int(total.argmax())]
    assert best.low < 10 < best.high
    assert total.max() > 0.95 * np.square(wave).sum()


def test_the_first_component_of_a_band_is_its_rhythm(rng):
    trials = (noise(rng, 300) + rhythm(rng, np.zeros(300))).astype(np.float32)
    bands = bands_of(T)
    place = next(k for k, band in enumerate(bands) if band.low < 10 < band.high)
    filters, patterns = rhythm_components(trials, bands, C)[place]
    first = patterns[:, 0]
    assert abs(first @ PATTERN) / np.linalg.norm(first) / np.linalg.norm(PATTERN) > 0.98
    assert_allclose(patterns @ filters.T, np.eye(C), atol=1e-8)
    filters, patterns = rhythm_components(trials, bands, 2)[place]
    assert_allclose(patterns @ filters.T @ patterns, patterns, atol=1e-6)


def alpha(x):
    """Log power of the rhythm in the second half of trials, in the direction of its pattern."""
    late = (np.linalg.pinv(PATTERN[:, None]) @ x)[:, 0, T // 2 :]
    spectrum = np.square(np.abs(np.fft.rfft(late * np.hanning(T // 2))))
    return np.log(spectrum[:, 4:7].sum(axis=1))


def test_power_follows_the_image(recording, rng):
    tokens, image, trials, power, normal = recording
    assert any(band["low"] < 10 < band["high"] for band in power.bands_)
    # out-of-fold gains take most of it from the trials: tiles are wider than its rise
    before, after = (np.polyfit(tokens[image, 0], alpha(x), 1)[0] for x in (trials, normal))
    assert before > 0.7
    assert abs(after) < 0.4 * before
    # and give new images theirs
    new = rng.standard_normal((100, 6))
    of = np.repeat(np.arange(100), 20)
    draws = normal[rng.integers(len(normal), size=len(of))]
    given = (
        alpha(power.multiply(draws.copy(), power.predict(new), of)).reshape(100, 20).mean(axis=1)
    )
    real = alpha(noise(rng, len(of)) + rhythm(rng, new[of, 0])).reshape(100, 20).mean(axis=1)
    assert np.corrcoef(new[:, 0], given)[0, 1] > 0.9
    assert_allclose(np.polyfit(new[:, 0], given, 1)[0], np.polyfit(new[:, 0], real, 1)[0], rtol=0.3)
    # long before it little follows the image
    draws = power.multiply(draws, power.predict(new), of)
    early = np.log(np.square(draws[..., :20]).sum(axis=(1, 2)))
    assert abs(np.polyfit(new[of, 0], early, 1)[0]) < 0.2 * np.polyfit(new[:, 0], given, 1)[0]


def test_the_mean_power_stays(recording, rng):
    tokens, image, trials, power, normal = recording
    again = power.multiply(normal.copy(), power.predict(tokens), image)
    assert_allclose(again.var(axis=(0, 2)), trials.var(axis=(0, 2)), rtol=0.06)
    others = power.multiply(normal[rng.permutation(len(normal))], power.predict(tokens), image)
    assert_allclose(others.var(axis=(0, 2)), trials.var(axis=(0, 2)), rtol=0.1)


def test_gains_depend_on_the_image_alone(recording):
    tokens, image, _, power, normal = recording
    scores = power.predict(tokens)
    every = power.multiply(normal.copy(), scores, image)
    some = np.array([3, 200, 7])
    assert_array_equal(power.multiply(normal[some], scores, image[some]), every[some])


def test_gains_do_not_leave_the_range_of_the_fit(recording):
    tokens, image, _, power, normal = recording
    far = power.multiply(normal[:50].copy(), power.predict(1e6 * tokens), image[:50])
    assert np.abs(far).max() < 20 * np.abs(normal[:50]).max()


def test_what_subjects_differ_in_is_not_the_images(rng):
    tokens = rng.standard_normal((60, 3))
    image = np.repeat(np.arange(60), 4)
    # each image is seen by one subject: the second has ten times the power
    subject = (tokens[image, 0] > 0).astype(int)
    trials = noise(rng, len(image)) * np.where(subject, 10**0.5, 1)[:, None, None]
    power = InducedPower()
    power.fit_transform(trials, image, ridge(tokens, image))
    assert power.bands_
    power.fit_transform(trials, image, ridge(tokens, image), subject=subject)
    assert not power.bands_


def test_where_no_power_follows_the_image_nothing_is_changed():
    found = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        tokens, image = rng.standard_normal((60, 6)), np.repeat(np.arange(60), 4)
        trials = noise(rng, len(image))
        power = InducedPower()
        normal = power.fit_transform(trials, image, ridge(tokens, image))
        found += bool(power.bands_)
        if not power.bands_:
            assert_array_equal(normal, trials)
            assert power.multiply(normal, power.predict(tokens), image) is normal
    assert found <= 1


def test_few_images_tell_nothing(rng):
    trials = noise(rng, 40)

    def refuse(scores):
        raise AssertionError("nothing to regress")

    power = InducedPower()
    assert power.fit_transform(trials, np.repeat(np.arange(10), 4), refuse) is trials


def test_channels_without_signal_stay_without(rng):
    tokens, image = rng.standard_normal((N_IMAGES, 6)), np.repeat(np.arange(N_IMAGES), N_TRIALS)
    trials = noise(rng, len(image)) + rhythm(rng, 2 * tokens[image, 0])
    trials[:, 2] = 0
    trials[:, 4] = -trials[:, :4].sum(axis=1)  # an average reference
    power = InducedPower()
    normal = np.asarray(power.fit_transform(1e-12 * trials, image, ridge(tokens, image)))
    assert power.bands_
    assert_array_equal(normal[:, 2], 0)
    assert_allclose(normal.sum(axis=1), 0, atol=1e-6 * np.abs(normal).max())
