import mne
import numpy as np
import pytest
from pyriemann.tangentspace import TangentSpace
from scipy.stats import norm
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import make_pipeline

from mne_img2brain.metrics import (
    TrialFeatures,
    classifier_two_sample,
    default_classifiers,
    nearest_distance,
    train_on_generated,
    trial_halves,
)
from mne_img2brain.metrics.two_sample import MostDifferent


def test_tangent_features_are_pyriemanns(rng):
    trials = rng.standard_normal((12, 4, 60)) * np.array([1, 2, 3, 4])[:, None]
    features = TrialFeatures(n_bins=3, shrinkage=0).fit(trials)
    tangent = features.transform(trials)[:, :10]
    scaled = trials / trials.std(axis=(0, 2))[:, None]
    scaled = scaled - scaled.mean(axis=-1, keepdims=True)
    covariances = scaled @ scaled.mT / 60
    reference = covariances.mean(axis=0)
    expected = TangentSpace(metric="riemann").fit(covariances)
    expected.reference_ = reference
    # Our whitening differs from pyriemann's by a rotation: lengths and angles stay.
    expected = expected.transform(covariances)
    np.testing.assert_allclose(tangent @ tangent.T, expected @ expected.T, atol=1e-8)


@pytest.mark.parametrize("name", ["n_bins", "n_components"])
def test_features_are_one_or_more(rng, name):
    TrialFeatures(**{name: 1}).fit(rng.standard_normal((5, 2, 9)))
    with pytest.raises(ValueError, match=f"{name}=0"):
        TrialFeatures(**{name: 0}).fit(rng.standard_normal((5, 2, 9)))


def test_features_of_known_trials(rng):
    times = np.arange(100) / 100
    trials = 0.01 * rng.standard_normal((30, 2, 100)) + np.sin(2 * np.pi * 10 * times)
    trials[:, 1] += 0.5 * rng.standard_normal((30, 100))
    features = TrialFeatures(n_bins=10).fit(trials).transform(trials)
    assert features.shape == (30, 3 + 2 * 10 + 2 * 10)
    # 50 frequencies of 1 Hz in ten bands: 10 Hz is in the second, 6 to 10 Hz.
    assert (features[:, 3:13].argmax(axis=1) == 1).all()
    # Ten windows hold a whole cycle each: their means are zero.
    assert np.abs(features[:, 23:33]).max() < 0.02


def test_features_of_many_sensors_and_lost_rank(rng):
    trials = rng.standard_normal((20, 40, 50))
    trials -= trials.mean(axis=1, keepdims=True)
    features = TrialFeatures().fit(trials)
    assert features.whitener_.shape == (40, 32)
    assert np.isfinite(features.transform(trials)).all()
    assert TrialFeatures(n_components=40).fit(trials).whitener_.shape == (40, 39)


def test_features_of_float32(rng):
    trials = 1e-13 * rng.standard_normal((150, 40, 50)).cumsum(axis=2)  # tesla
    trials -= trials.mean(axis=1, keepdims=True)
    expected, found = (TrialFeatures(n_components=40).fit(t) for t in (trials, np.float32(trials)))
    assert found.whitener_.shape == (40, 39)
    values = found.transform(np.float32(trials))
    assert values.dtype == np.float32
    lengths = (np.linalg.norm(v[:, :780], axis=1) for v in (values, expected.transform(trials)))
    np.testing.assert_allclose(*lengths, rtol=1e-4)
    np.testing.assert_allclose(values[:, 780:], expected.transform(trials)[:, 780:], atol=1e-3)


def test_features_are_computed_once_and_of_few_trials(rng, monkeypatch):
    shapes, transform = [], TrialFeatures.transform
    monkeypatch.setattr(
        TrialFeatures, "transform", lambda self, X: shapes.append(X.shape) or transform(self, X)
    )
    trials = rng.standard_normal((6, 9, 2, 40))
    draws = 1.5 * rng.standard_normal((6, 9, 2, 40))
    accuracy = classifier_two_sample(draws, trials, max_trials=30)
    assert shapes == [(2 * 6 * 5, 2, 40)]
    assert [len(of_image) for of_image in accuracy.values()] == [6, 6]
    assert accuracy["linear"].mean() > 0.8


def test_most_different_features(rng):
    X, y = rng.standard_normal((200, 30)), np.repeat([0, 1], 100)
    X[y == 1, 3] += 2  # mean
    X[y == 1, 7] *= 3  # variance
    X[:, 11] = 5  # constant
    assert np.flatnonzero(MostDifferent(2).fit(X, y).get_support()).tolist() == [3, 7]
    assert MostDifferent(50).fit_transform(X, y).shape == (200, 30)


def test_two_sample_closed_form(rng):
    # Two Gaussians 1.5 SD apart along one direction: the best classifier is right in Phi(0.75).
    trials = rng.standard_normal((50, 60, 1, 2))
    draws = rng.standard_normal((50, 60, 1, 2)) + np.array([1.5, 0])
    lda = {"lda": LinearDiscriminantAnalysis()}
    accuracy = classifier_two_sample(draws, trials, classifiers=lda)["lda"]
    assert accuracy.shape == (50,)
    assert accuracy.mean() == pytest.approx(norm.cdf(0.75), abs=0.02)
    # Between two halves of the same trials it finds nothing: 0.5, SE 0.009.
    accuracy = classifier_two_sample(*trial_halves(trials), classifiers=lda)["lda"]
    assert accuracy.mean() == pytest.approx(0.5, abs=0.03)


def test_default_classifiers_see_second_moments(rng):
    # Same mean and variance, but the sensors of the draws are correlated by 0.7.
    trials = rng.standard_normal((20, 12, 2, 64))
    draws = rng.standard_normal((20, 12, 2, 64))
    draws[:, :, 1] = 0.7 * draws[:, :, 0] + np.sqrt(0.51) * draws[:, :, 1]
    accuracy = classifier_two_sample(draws, trials)
    assert list(accuracy) == ["linear", "boosted"]
    assert accuracy["linear"].mean() > 0.9
    assert accuracy["boosted"].mean() > 0.9


def test_two_sample_folds_are_by_image_and_counts_equal(rng):
    class Spy(LinearDiscriminantAnalysis):
        def fit(self, X, y):
            seen.append((set(X[:, 0, 0]), np.bincount(y)))
            return super().fit(X.reshape(len(X), -1), y)

        def predict(self, X):
            seen[-1] += (set(X[:, 0, 0]),)
            return super().predict(X.reshape(len(X), -1))

    seen = []
    # The first value names the image.
    trials = [rng.standard_normal((4, 1, 3)) for _ in range(6)]
    draws = [rng.standard_normal((9 if index else 2, 1, 3)) for index in range(6)]
    for index, both in enumerate(zip(draws, trials, strict=True)):
        for of_image in both:
            of_image[:, 0, 0] = index
    classifier_two_sample(draws, trials, classifiers={"spy": Spy()}, n_folds=3)
    assert len(seen) == 3
    for train, counts, test in seen:
        assert counts[0] == counts[1]
        assert not train & test
        assert len(test) == 2
    with pytest.raises(ValueError, match="at least two images"):
        classifier_two_sample(draws[:1], trials[:1])


def test_default_classifiers_are_unfitted_pipelines():
    assert set(default_classifiers()) == {"linear", "boosted"}


def _classes(rng, n, shift):
    """Two classes of Gaussian trials whose means are ``shift`` apart in one cell."""
    X, y = rng.standard_normal((n, 2, 3)), np.repeat([0, 1], n // 2)
    X[y == 1, 0, 1] += shift
    return X, y


@pytest.mark.parametrize(
    "estimator",
    [
        LinearDiscriminantAnalysis(),
        make_pipeline(mne.decoding.Vectorizer(), LinearDiscriminantAnalysis()),
        None,
    ],
)
def test_train_on_generated_closed_form(rng, estimator):
    test = _classes(rng, 4000, 1.2)
    result = train_on_generated(
        *_classes(rng, 1000, 1.2), *_classes(rng, 800, 1.2), *test, estimator=estimator, n_repeats=3
    )
    # Two Gaussians d apart have an AUC of Phi(d / sqrt 2).
    np.testing.assert_allclose(result.generated, norm.cdf(1.2 / np.sqrt(2)), atol=0.02)
    np.testing.assert_allclose(result.real, norm.cdf(1.2 / np.sqrt(2)), atol=0.02)
    assert result.n_per_class == 360


def test_train_on_useless_draws(rng):
    sets = (*_classes(rng, 400, 0.0), *_classes(rng, 400, 2.0), *_classes(rng, 2000, 2.0))
    result = train_on_generated(*sets, n_repeats=4, n_per_class=100)
    assert len(np.unique(result.real)) == 4
    assert result.real.mean() > 0.85
    assert abs(result.generated.mean() - 0.5) < 0.2


def test_train_on_generated_errors(rng):
    good = _classes(rng, 20, 1.0)
    with pytest.raises(ValueError, match="generated trials are 20, their classes 19"):
        train_on_generated(good[0], good[1][:-1], *good, *good)
    with pytest.raises(ValueError, match=r"test trials are of classes \[0\]"):
        train_on_generated(*good, *good, good[0], np.zeros(20, int))
    with pytest.raises(ValueError, match="smallest class has 10 trials"):
        train_on_generated(*good, *good, *good, n_per_class=11)


def test_nearest_distance(rng):
    training = rng.standard_normal((50, 2, 8)) * np.array([1e-6, 1e-12])[:, None]
    trials = rng.standard_normal((20, 2, 8)) * np.array([1e-6, 1e-12])[:, None]
    scale = training.std(axis=(0, 2))[:, None]
    gaps = ((trials[:, None] - training) / scale) ** 2
    np.testing.assert_allclose(
        nearest_distance(trials, training), np.sqrt(gaps.mean((2, 3)).min(1))
    )
    # A memorised trial is at distance zero.
    np.testing.assert_allclose(nearest_distance(training[3:5], training), 0, atol=1e-6)
    with pytest.raises(ValueError, match=r"\(20, 2, 7\), training trials \(50, 2, 8\)"):
        nearest_distance(trials[..., 1:], training)
