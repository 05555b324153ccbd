import time

import mne
import numpy as np
import pytest

from mne_img2brain.datasets import simulate_epochs, simulate_images
from mne_img2brain.datasets._images import CATEGORIES, image_features


@pytest.fixture(scope="module")
def shown_images():
    return simulate_images(40, random_state=0)


def test_images_are_images_with_labels(shown_images):
    images, categories = shown_images
    assert images.shape == (40, 96, 96, 3)
    assert images.dtype == np.uint8
    assert set(categories) == set(CATEGORIES)
    assert len(np.unique(images.reshape(40, -1), axis=0)) == 40
    again, _ = simulate_images(40, random_state=0)
    np.testing.assert_array_equal(images, again)


def test_features_see_the_right_quarter_and_orientation():
    # a grating whose stripes run from top to bottom, in the lower right quarter only
    image = np.full((1, 96, 96, 3), 128, np.uint8)
    wave = 128 + 100 * np.sin(2 * np.pi * np.arange(48) / 12)
    image[0, 48:, 48:] = wave[np.newaxis, :, np.newaxis]
    features = image_features(image)[0]
    fine, across, down = features[:, 0], features[:, 2], features[:, 4]
    assert fine.argmax() == 3
    # gradients point left and right: the first orientation, not the third
    assert across[3] > 5 * down[3]
    assert image_features(list(image)[:0] or image).shape == (1, 4, 8)


def test_shapes_units_events_and_truth(shown_images):
    images, categories = shown_images
    epochs, truth = simulate_epochs(images, category=categories, n_trials=3, random_state=1)
    assert len(epochs) == 120
    assert len(truth) == 40
    assert epochs.info.get_channel_types(unique=True) == ["eeg"]
    assert epochs.metadata["image_id"].value_counts().unique().tolist() == [3]
    assert len(epochs["grating"]) == 24
    assert epochs.baseline == (-0.1, 0.0)
    before = epochs.times <= 0
    assert np.abs(epochs.get_data()[..., before].mean(-1)).max() < 1e-18
    # occipital P1 of several microvolts near 100 ms, N170 negative over P8 (Luck, 2014)
    evoked = truth.average()
    assert 4e-6 < evoked.copy().pick("O1").crop(0.07, 0.13).data.max() < 30e-6
    assert evoked.copy().pick("P8").crop(0.15, 0.19).data.min() < -1e-6
    assert 2e-6 < epochs.get_data().std() < 20e-6


def test_snr_is_what_was_asked_for(shown_images):
    images, _ = shown_images
    epochs, truth = simulate_epochs(images, n_trials=6, snr=0.5, random_state=2)
    true = truth.get_data()
    noise = epochs.get_data() - true[epochs.metadata["image_id"]]
    after = epochs.times > 0
    ratio = np.sqrt(true[..., after].var(axis=0).mean() / noise[..., after].var(axis=0).mean())
    # the gain of 15 % adds to the noise
    assert ratio == pytest.approx(0.5, rel=0.1)
    clean, truth = simulate_epochs(images, n_trials=1, snr=np.inf, random_state=2)
    order = np.argsort(clean.metadata["image_id"])
    np.testing.assert_array_equal(clean.get_data()[order], truth.get_data())


def test_the_left_field_drives_the_right_hemisphere():
    # texture of random contrast in the left half, the same grey in the right half
    rng = np.random.default_rng(0)
    images = np.full((60, 64, 64, 3), 128, np.uint8)
    contrast = rng.uniform(0, 60, size=60)
    texture = rng.standard_normal((60, 64, 32, 1)) * contrast[:, None, None, None]
    images[:, :, :32] = np.clip(128 + texture, 0, 255)
    _, truth = simulate_epochs(images, n_trials=1, random_state=0)
    spread = truth.copy().crop(0.1, 0.13).get_data().std(axis=0).mean(axis=1)
    spread = dict(zip(truth.ch_names, spread, strict=True))
    assert spread["PO8"] > 1.5 * spread["PO7"]


def test_noise_falls_with_frequency_and_is_shared_by_neighbours(shown_images):
    images, _ = shown_images
    epochs, _ = simulate_epochs(images, n_trials=4, snr=0.05, random_state=3)
    psd = epochs.compute_psd(fmin=2, fmax=40, method="welch", n_fft=71, verbose="error")
    freqs, power = psd.freqs, psd.get_data().mean(axis=(0, 1))
    low, high = power[freqs < 6].mean(), power[freqs > 30].mean()
    assert low > 4 * high
    r = np.corrcoef(epochs.get_data(picks=["O1", "Oz", "Fp1"]).transpose(1, 0, 2).reshape(3, -1))
    assert r[0, 1] > 0.5 > abs(r[0, 2])


def test_subjects_differ_but_share_their_sources(shown_images):
    images, categories = shown_images
    epochs, truth = simulate_epochs(
        images, n_subjects=3, category=categories, n_trials=1, random_state=4
    )
    assert list(epochs) == list(truth) == ["sub-01", "sub-02", "sub-03"]
    a, b = (truth[name].get_data().ravel() for name in ("sub-01", "sub-02"))
    assert 0.3 < np.corrcoef(a, b)[0, 1] < 0.999
    orders = [epochs[name].metadata["image_id"].tolist() for name in epochs]
    assert orders[0] != orders[1]


def test_tokens_in_place_of_images(rng):
    tokens = rng.standard_normal((30, 5, 12))
    _, truth = simulate_epochs(tokens, n_trials=1, random_state=0)
    other, _ = simulate_epochs(tokens[:, 0], n_trials=1, random_state=0)
    assert len(truth) == len(other) == 30
    # tokens that are the same give the same response
    tokens[7] = tokens[3]
    data = simulate_epochs(tokens, n_trials=1, random_state=0)[1].get_data()
    np.testing.assert_allclose(data[7], data[3], rtol=1e-12)
    assert np.abs(data[7] - data[4]).max() > 1e-7


def test_meg_sensors(shown_images):
    images, _ = shown_images
    info = mne.channels.read_meg_canonical_info("ctf275", verbose="error")
    epochs, _ = simulate_epochs(images[:5], info=info, n_trials=1, random_state=0)
    assert epochs.info.get_channel_types(unique=True) == ["mag"]
    # fields of the brain at the helmet are tens to hundreds of femtotesla
    assert 5e-15 < epochs.get_data().std() < 2e-12


def test_repeatable_fast_and_global_generator_untouched():
    images, _ = simulate_images(300, random_state=0)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    start = time.perf_counter()
    first, _ = simulate_epochs(images, random_state=5)
    assert time.perf_counter() - start < 20  # about 1 s on an idle core
    second, _ = simulate_epochs(images, random_state=5)
    np.testing.assert_array_equal(first.get_data(), second.get_data())
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"n_trials": 0}, "n_trials=0"),
        ({"n_subjects": 0}, "n_subjects=0"),
        ({"snr": 0}, "snr=0"),
        ({"tmin": 0.1}, "image onset"),
        ({"category": ["a"]}, "category has 1"),
        ({"info": mne.create_info(["Oz"], 100.0, "eeg")}, "without a position: Oz"),
        ({"info": mne.create_info(["STI"], 100.0, "stim")}, "no good EEG or MEG"),
    ],
)
def test_bad_input(shown_images, arguments, match):
    with pytest.raises(ValueError, match=match):
        simulate_epochs(shown_images[0][:4], **arguments)


def test_one_image_is_too_few(shown_images):
    with pytest.raises(ValueError, match="at least two"):
        simulate_epochs(shown_images[0][:1])


def _power(epochs, band):
    psd = epochs.compute_psd(
        picks=["O1", "Oz", "O2", "POz"], fmin=band[0], fmax=band[1], bandwidth=2
    )
    return psd.get_data().mean(axis=(0, 1))


def test_the_spectrum_of_eeg_falls_and_has_a_peak_at_ten_hertz(shown_images):
    images, _ = shown_images
    epochs, _ = simulate_epochs(
        images, spectrum="eeg", tmin=-0.5, tmax=1.0, n_trials=2, random_state=0
    )
    before, alpha, after, fast = (
        _power(epochs, band).mean() for band in [(5, 6), (9.5, 10.5), (15, 16), (40, 45)]
    )
    assert alpha > 4 * before
    assert alpha > 10 * after
    broad, _ = simulate_epochs(images, tmin=-0.5, tmax=1.0, n_trials=2, random_state=0)
    # f^-1.5 falls by 4.5 between the two, f^-1 by 2.7
    assert after / fast > 3.5 > _power(broad, (15, 16)).mean() / _power(broad, (40, 45)).mean()


def test_induced_power_follows_the_image_as_the_truth_says():
    images, _ = simulate_images(80, random_state=0)
    given = {"alpha": 3.0, "beta": 4.0, "gamma": 3.0}
    settings = {"tmin": -0.6, "tmax": 0.8, "n_trials": 6, "spectrum": "eeg", "random_state": 0}
    epochs, truth = simulate_epochs(images, rhythms=given, **settings)
    # single trials around the true response: only what is not locked to the image
    image = epochs.metadata["image_id"].to_numpy()
    trials = epochs.get_data() - truth.get_data()[image]
    places = {
        "alpha": ["O1", "Oz", "O2"],
        "beta": ["CP1", "Pz", "CP2"],
        "gamma": ["O1", "Oz", "O2"],
    }
    windows = {"alpha": (10, 0.25, 0.5), "beta": (20, 0.2, 0.35), "gamma": (40, 0.15, 0.4)}
    for name, (freq, start, stop) in windows.items():
        sensors = [epochs.ch_names.index(sensor) for sensor in places[name]]
        power = mne.time_frequency.tfr_array_morlet(
            trials[:, sensors], epochs.info["sfreq"], [freq], n_cycles=5, output="power"
        )[:, :, 0]
        during = (epochs.times > start) & (epochs.times < stop)
        before = (epochs.times > -0.4) & (epochs.times < -0.2)
        found = [power[image == k][..., during].mean() for k in range(80)]
        found = 10 * np.log10(np.array(found) / power[..., before].mean())
        true = truth.metadata[name].to_numpy()
        np.testing.assert_allclose(true.std(), given[name])
        assert np.corrcoef(found, true)[0, 1] > 0.6, (name, np.corrcoef(found, true)[0, 1])
        assert np.sign(found.mean()) == np.sign(true.mean()), name
    # the average response is not theirs
    plain, plain_truth = simulate_epochs(images, **settings)
    np.testing.assert_array_equal(truth.get_data(), plain_truth.get_data())
    assert list(plain_truth.metadata) == ["image_id"]
    assert len(plain) == len(epochs)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rhythms": {"theta": 1.0}}, "'theta'; there are alpha, beta, gamma"),
        ({"rhythms": {"alpha": -1.0}}, "alpha=-1"),
        ({"rhythms": {"gamma": 1.0}, "sfreq": 80}, "needs an sfreq of 98 Hz; it is 80"),
        ({"spectrum": "pink"}, "spectrum='pink'"),
    ],
)
def test_rhythms_that_cannot_be_are_refused(shown_images, given, message):
    with pytest.raises(ValueError, match=message):
        simulate_epochs(shown_images[0], **given)
