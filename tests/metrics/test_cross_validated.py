"""Whether anything was learnt: how often noise is taken for a response, and the other way round."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from mne_img2brain.metrics import CrossValidated, cross_validated, cross_validated_r
from mne_img2brain.metrics.cross_validated import dependence, images_at_fault

N_IMAGES, N_TRIALS, N_FEATURES = 60, 3, 8


def simulate(effect, seed, n_images=N_IMAGES):
    """Slow noise, and a response that eight features drive; return tokens, trials, their images."""
    rng = np.random.default_rng(seed)
    tokens = rng.standard_normal((n_images, 1, N_FEATURES))
    weights = rng.standard_normal((N_FEATURES, 4, 20)) / np.sqrt(N_FEATURES)
    image = np.repeat(np.arange(n_images), N_TRIALS)
    noise = rng.standard_normal((len(image), 4, 20)).cumsum(axis=-1) / np.sqrt(20)
    return tokens, effect * np.tensordot(tokens[image, 0], weights, 1) + noise, image


def out_of_fold(tokens, y, image):
    """Predict the trials of every image by ridge regression that has not seen its fold."""
    n_images = len(tokens)
    fold = np.arange(n_images) % 5
    mean = y.reshape(n_images, N_TRIALS, -1).mean(axis=1)
    predicted = np.empty_like(mean)
    for one in range(5):
        model = Ridge(30.0).fit(tokens[fold != one, 0], mean[fold != one])
        predicted[fold == one] = model.predict(tokens[fold == one, 0])
    return predicted.reshape(n_images, *y.shape[1:])[image], fold[image]


def said(effect, seed, shuffle=False):
    tokens, y, image = simulate(effect, seed)
    if shuffle:
        image = np.random.default_rng(seed + 1000).permutation(N_IMAGES)[image]
        order = np.argsort(image, kind="stable")
        image, y = image[order], y[order]
    predicted, fold = out_of_fold(tokens, y, image)
    found = cross_validated_r(y, predicted, image, fold)
    return found, images_at_fault(found, tokens, y, image)


def test_noise_and_shuffled_images_are_said():
    silent = [not said(0.0, seed)[1] for seed in range(60)]
    silent += [not said(1.0, seed, shuffle=True)[1] for seed in range(60)]
    # Two tests at 0.01 each: of 120, seven or more silent have a probability of 0.01 at most.
    assert sum(silent) < 7
    found, message = said(0.0, 0)
    assert message.startswith(
        f"These images do not predict these responses (cross-validated r = {found.r:.2f}"
    )
    assert "check image_ids" in message


def test_weak_effects_are_no_fault():
    results = [said(0.15, seed) for seed in range(30)]
    assert not any(message for _, message in results)
    assert np.mean([found.r for found, _ in results]) < 0.3


def test_r_is_that_of_left_out_images_without_the_means_of_folds():
    tokens, y, image = simulate(0.5, 0)
    predicted, fold = out_of_fold(tokens, y, image)
    found = cross_validated_r(y, predicted, image, fold)
    mean, guess = (x.reshape(N_IMAGES, N_TRIALS, -1).mean(axis=1) for x in (y, predicted))
    for values in (mean, guess):
        for one in range(5):
            values[one::5] -= values[one::5].mean(axis=0)
    r = [np.corrcoef(mean[:, cell], guess[:, cell])[0, 1] for cell in range(mean.shape[1])]
    assert found.r == pytest.approx(np.mean(r))
    # Trials count by their weights; a trial of weight 0 does not.
    weight = np.ones(len(y))
    spoilt = np.where(np.arange(len(y)) % N_TRIALS, 0.0, 1e3)[:, None, None] + y
    weight[::N_TRIALS] = 0
    kept = np.flatnonzero(weight)
    assert cross_validated_r(spoilt, predicted, image, fold, weight) == pytest.approx(
        cross_validated_r(y[kept], predicted[kept], image[kept], fold[kept])
    )


def test_r_of_noise_has_no_bias():
    """Means of training and test folds are opposed: unless taken off, r is below zero."""
    found = [said(0.0, seed)[0].r for seed in range(60)]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(len(found))


def test_nothing_is_known():
    tokens, y, image = simulate(0.0, 0)
    one_fold = cross_validated_r(y, y, image, np.zeros(len(y), int))
    each_its_own = cross_validated_r(y, y, image, image)
    for found in (one_fold, each_its_own):
        assert np.isnan(found).all()
        assert images_at_fault(found, tokens, y, image) == ""
    constant = cross_validated_r(y, np.zeros_like(y), image, image % 5)
    assert constant == (0, 1)


def test_dependence_is_exact(monkeypatch):
    """p-values of noise are uniform, however slow and alike the channels are."""
    with monkeypatch.context() as patched:
        patched.setattr(cross_validated, "_N_PERMUTATIONS", 99)
        p_values = [dependence(*simulate(0.0, s, 20)) for s in range(150)]
    assert 0.4 < np.mean(p_values) < 0.6
    assert 0.02 < np.mean(np.array(p_values) <= 0.1) < 0.19
    assert dependence(*simulate(0.5, 0)) == 0.001
    assert dependence(*simulate(0.5, 0, 4)) == 1
    # Missing sensors are left out.
    tokens, y, image = simulate(0.5, 0)
    y[: len(y) // 2, 0] = np.nan
    assert dependence(tokens, y, image) == 0.001


def test_faces_and_houses_are_no_fault(shared_data):
    """N170: four sensors of a headband, r over all sensors and times not above chance."""
    with np.load(shared_data / "n170" / "n170_epochs.npz") as data:
        y, face = data["X"].astype(float), data["y"]
        subject = data["rec_subject"][data["rec"]]
    images = sorted((shared_data / "n170" / "houses").glob("*.jpg"))
    images += sorted((shared_data / "n170" / "faces").glob("*.jpg"))
    from mne_img2brain import GaborEmbedder

    tokens = GaborEmbedder().fit(images).transform(images)
    nothing = CrossValidated(0.0, 0.5)
    for name in np.unique(subject):
        of_subject = np.flatnonzero(subject == name)
        image = 12 * face[of_subject] + np.arange(len(of_subject)) % 12
        if len(of_subject) < 300:  # 175 trials of one recording
            continue
        assert images_at_fault(nothing, tokens, y[of_subject], image) == "", name
        shuffled = [
            images_at_fault(nothing, tokens[np.random.default_rng(s).permutation(24)],
                            y[of_subject], image) for s in range(10)
        ]  # fmt: skip
        assert sum(map(bool, shuffled)) >= 8
