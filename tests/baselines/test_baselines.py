import warnings

import numpy as np
import pytest
from scipy.signal import lfilter
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from mne_img2brain.baselines import (
    GaussianResiduals,
    MeanResponse,
    NearestNeighbor,
    RidgeBaseline,
    RidgeGaussian,
)
from mne_img2brain.metrics import band_log_ratio, coverage, sd_ratio
from mne_img2brain.trials.pooling import pool_tokens

ALL = (MeanResponse(), NearestNeighbor(), RidgeBaseline(), RidgeGaussian())


def simulate(rng, n_images=60, n_trials=6, noise=1.0):
    """Simulate linear responses of 3 sensors x 20 times to 12 features, noise AR(1) in time."""
    X = rng.standard_normal((n_images, 12))
    mean = np.tensordot(X, rng.standard_normal((12, 3, 20)) / np.sqrt(12), 1)
    white = rng.standard_normal((n_images, n_trials, 3, 120))
    trials = lfilter([1], [1, -0.7], white)[..., 100:] * np.array([1, 2, 3])[:, None] * noise
    return X, mean, mean[:, None] + trials


def flat(X, trials):
    """Return rows of trials."""
    return np.repeat(X, trials.shape[1], axis=0), trials.reshape(-1, *trials.shape[2:])


def _expected_failures(estimator):
    """The data of one check have 9 distinct rows: fewer images than may be split by image."""
    if not isinstance(estimator, RidgeBaseline):
        return {}
    return {
        "check_sample_weight_equivalence_on_dense_data": (
            "With fewer than ten images the rows themselves are dealt into folds, and a row of "
            "weight two is in one fold where the row twice is in two."
        )
    }


@pytest.mark.filterwarnings("ignore:There are .* distinct images:RuntimeWarning")
@parametrize_with_checks(list(ALL), expected_failed_checks=_expected_failures)
def test_sklearn_checks(estimator, check):
    check(estimator)


def test_weight_two_is_the_row_twice(rng):
    X, y = rng.standard_normal((30, 4)), rng.standard_normal((30, 2, 3))
    weight = rng.integers(1, 4, 30)
    repeated = [np.repeat(values, weight, axis=0) for values in (X, y)]
    for model in (MeanResponse(), RidgeBaseline(), NearestNeighbor(2)):
        weighted = model.fit(X, y, sample_weight=weight).predict(X)
        np.testing.assert_allclose(weighted, model.fit(*repeated).predict(X))


def test_mean_response_is_the_weighted_mean(rng):
    X, y, n = rng.standard_normal((5, 2)), rng.standard_normal((5, 3, 4)), np.array([1, 2, 3, 4, 5])
    predicted = MeanResponse().fit(X, y, sample_weight=n).predict(rng.standard_normal((2, 2)))
    expected = (y * n[:, None, None]).sum(axis=0) / 15
    np.testing.assert_allclose(predicted, np.stack([expected] * 2))
    # Sensors that a trial lacks do not count.
    mask = np.ones((5, 3), bool)
    mask[0, 1] = mask[3, 1] = False
    predicted = MeanResponse().fit(X, y, sample_weight=n, y_mask=mask).predict(X[:1])[0]
    expected[1] = np.average(y[[1, 2, 4], 1], axis=0, weights=[2, 3, 5])
    # Images without the sensor are given the mean of the others, weighted as all are.
    np.testing.assert_allclose(predicted, expected)


def test_nearest_neighbor(rng):
    X = rng.standard_normal((10, 4, 6))
    y = rng.standard_normal((20, 2, 3))
    model = NearestNeighbor().fit(np.repeat(X, 2, axis=0), y)
    # A training image is its own neighbour: the mean of its two trials.
    np.testing.assert_allclose(model.predict(X), y.reshape(10, 2, 2, 3).mean(axis=1))
    # All neighbours together are the mean response.
    model = NearestNeighbor(10, metric="euclidean").fit(np.repeat(X, 2, axis=0), y)
    np.testing.assert_allclose(model.predict(X[:1])[0], y.mean(axis=0))
    with pytest.raises(ValueError, match="metric='taxi'"):
        NearestNeighbor(metric="taxi").fit(X[:, 0], y[:10])


def test_ridge_is_sklearns(rng):
    X, _, trials = simulate(rng)
    alphas = (0.1, 10.0, 1000.0)
    model = RidgeBaseline(alphas).fit(*flat(X, trials))
    scaler = StandardScaler().fit(X)
    ridge = RidgeCV(alphas).fit(scaler.transform(X), trials.mean(axis=1).reshape(60, -1))
    new = rng.standard_normal((5, 12))
    expected = ridge.predict(scaler.transform(new)).reshape(5, 3, 20)
    np.testing.assert_allclose(model.predict(new), expected)
    assert model.models_[0][-1].alpha_ == ridge.alpha_


def test_ridge_on_averages_is_ridge_on_trials(rng):
    # Two images have twice the trials: their average weighs twice, as their trials do.
    X, _, trials = simulate(rng, n_images=20)
    rows, y = flat(X, trials)
    keep = np.r_[:120][(np.arange(120) % 6 < 3) | (np.arange(120) < 12)]
    model = RidgeBaseline((5.0,)).fit(rows[keep], y[keep])
    scaler = StandardScaler().fit(X)
    # Trials are centred by their own weighted mean in Ridge, on features scaled by images.
    ridge = Ridge(5.0).fit(scaler.transform(rows[keep]), y[keep].reshape(len(keep), -1))
    expected = ridge.predict(scaler.transform(X)).reshape(20, 3, 20)
    np.testing.assert_allclose(model.predict(X), expected)


def test_trial_order_does_not_matter(rng):
    X, _, trials = simulate(rng)
    rows, y = flat(X, trials)
    order = rng.permutation(len(rows))
    new = rng.standard_normal((3, 12))
    first, second = (
        RidgeGaussian().fit(rows[o], y[o]).sample(new, 2, random_state=1)
        for o in (slice(None), order)
    )
    np.testing.assert_allclose(first, second, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("tokens", ["pooled", "first", "all"])
def test_tokens(rng, tokens):
    X = rng.standard_normal((30, 4, 5))
    X[::3, 3] = np.nan
    y = rng.standard_normal((30, 2, 3))
    table = {
        "pooled": pool_tokens(X, last=True),
        "first": X[:, 0],
        "all": X.reshape(30, -1),
    }[tokens]
    scaled = np.nan_to_num((table - np.nanmean(table, axis=0)) / np.nanstd(table, axis=0))
    ridge = Ridge(3.0).fit(scaled, y.reshape(30, -1))
    model = RidgeBaseline((3.0,), tokens=tokens).fit(X, y)
    np.testing.assert_allclose(model.predict(X).reshape(30, -1), ridge.predict(scaled))
    # rows and columns are tokens
    if tokens == "all":
        grid = RidgeBaseline((3.0,), tokens=tokens).fit(X.reshape(30, 2, 2, 5), y)
        np.testing.assert_allclose(grid.predict(X), model.predict(X))


def test_image_index(rng):
    X, _, trials = simulate(rng)
    rows, y = flat(X, trials)
    indexed = RidgeBaseline().fit(X, y, image_index=np.repeat(np.arange(60), 6))
    np.testing.assert_allclose(indexed.predict(X), RidgeBaseline().fit(rows, y).predict(X))


def test_penalty_respects_groups(rng):
    # Images in pairs that share everything: leaving one out sees its twin, groups do not.
    X = rng.standard_normal((30, 40))
    y = rng.standard_normal((30, 1, 2))
    X, y = np.repeat(X, 2, axis=0) + 1e-6 * rng.standard_normal((60, 40)), np.repeat(y, 2, axis=0)
    leaky = RidgeBaseline().fit(X, y).models_[0][-1].alpha_
    grouped = RidgeBaseline().fit(X, y, groups=np.repeat(np.arange(30), 2)).models_[0][-1].alpha_
    assert leaky < 10
    assert grouped > 100


def test_few_images_are_split_by_trial(rng):
    # Two images with 60 trials each: legitimate, and said.
    X, mean, trials = simulate(rng, n_images=2, n_trials=60, noise=0.1)
    with pytest.warns(RuntimeWarning, match="2 distinct images, fewer than min_images=10"):
        model = RidgeGaussian().fit(*flat(X, trials))
    assert np.abs(model.predict(X) - mean).max() < 0.3
    ratio = sd_ratio(model.sample(X, 400, random_state=0), trials)
    assert np.median(ratio) == pytest.approx(1, abs=0.1)


def test_himalaya_is_sklearn_per_target(rng):
    X, _, trials = simulate(rng)
    new = rng.standard_normal((5, 12))
    rows = flat(X, trials)
    alphas = (10.0,)
    himalaya = RidgeBaseline(alphas, solver="himalaya", per_target=True).fit(*rows)
    ours = RidgeBaseline(alphas, per_target=True).fit(*rows)
    np.testing.assert_allclose(himalaya.predict(new), ours.predict(new), rtol=1e-4, atol=1e-5)
    several = RidgeBaseline(solver="himalaya", per_target=True).fit(*rows)
    assert len(np.unique(several.models_[0][-1].best_alphas_)) > 1


def test_subjects_have_models_of_their_own(rng):
    X, _, trials = simulate(rng)
    rows, y = flat(X, trials)
    subjects = np.tile([0, 1, 1], 120)
    model = RidgeBaseline((10.0,)).fit(rows, y, subjects=subjects)
    alone = RidgeBaseline((10.0,)).fit(rows[subjects == 1], y[subjects == 1])
    np.testing.assert_allclose(model.predict(X, subjects=np.ones(60, int)), alone.predict(X))
    both = [model.predict(X, subjects=np.full(60, s)) for s in (0, 1)]
    np.testing.assert_allclose(model.predict(X), np.mean(both, axis=0))
    with pytest.raises(ValueError, match="fit saw 2 subjects"):
        model.predict(X, subjects=np.full(60, 2))


def test_gaussian_draws_look_like_trials(rng):
    X, mean, trials = simulate(rng, n_images=100, n_trials=20)
    model = RidgeGaussian().fit(*flat(X, trials))
    assert model.residuals_.root_ is not None
    draws = model.sample(X, 60, random_state=0)
    assert draws.shape == (100, 60, 3, 20)
    # The noise is Gaussian and the same for all images: everything must fit.
    assert np.median(sd_ratio(draws, trials)) == pytest.approx(1, abs=0.03)
    assert max(abs(v).max() for v in band_log_ratio(draws, trials, 100.0).values()) < 0.4
    assert coverage(draws, trials).mean() == pytest.approx(0.9, abs=0.01)
    # The mean of draws is the prediction, within 2 SD / sqrt(60) in 95 % of cells.
    error = (draws.mean(axis=1) - model.predict(X)) / (draws.std(axis=1, ddof=1) / np.sqrt(60))
    assert (np.abs(error) < 2).mean() == pytest.approx(0.95, abs=0.02)


def test_noise_of_a_draw_depends_on_seed_position_and_number_alone(rng):
    X, _, trials = simulate(rng)
    model = RidgeGaussian().fit(*flat(X, trials))
    draws = model.sample(X[:5], 4, random_state=7)
    np.testing.assert_allclose(model.sample(X[:2], 2, random_state=7), draws[:2, :2])
    assert (model.sample(X[:2], random_state=8) != draws[:2, :1]).all()
    assert (model.sample(X[:2]) != model.sample(X[:2])).all()
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - the point is that it stays
    model.sample(X[:2])
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    # A fixed seed over SeedSequence(seed, spawn_key=(image, draw)), by hand.
    noise = np.random.default_rng(np.random.SeedSequence(7, spawn_key=(3, 2)))
    by_hand = noise.standard_normal(60) @ model.residuals_.root_
    np.testing.assert_allclose(draws[3, 2] - model.predict(X)[3], by_hand.reshape(3, 20))


def test_averages_in_single_trials_out(rng):
    X, _, trials = simulate(rng, n_images=300, n_trials=12, noise=1.0)
    averaged = RidgeGaussian().fit(X, trials.mean(axis=1), sample_weight=np.full(300, 12))
    ratio = sd_ratio(averaged.sample(X, 50, random_state=0), trials)
    # What ridge misses of the mean is multiplied by sqrt(12) too: a few percent too much.
    assert np.median(ratio) == pytest.approx(1.03, abs=0.05)
    one, four = (averaged.sample(X[:3], 5, random_state=0, n_averaged=n) for n in (1, 4))
    expected = averaged.predict(X[:3])[:, None]
    np.testing.assert_allclose((one - expected) / 2, four - expected)


def test_product_covariance_where_trials_are_few(rng):
    mixing = rng.standard_normal((3, 3))
    white = rng.standard_normal((3000, 3, 140))
    residuals = mixing @ lfilter([1], [1, -0.9], white)[..., 100:]
    # 120 cells and 100 trials: the covariance is a product, and the truth is one too.
    model = GaussianResiduals().fit(residuals[:100])
    assert model.root_ is None
    product = np.kron(
        model.root_channels_ @ model.root_channels_, model.root_times_ @ model.root_times_
    )
    truth = np.cov(residuals.reshape(3000, -1).T)
    assert np.linalg.norm(product - truth) < 0.3 * np.linalg.norm(truth)
    # The AR(1) spectrum is 25.6 dB higher at 0 than at Nyquist: no floor may flatten it.
    generators = [np.random.default_rng(n) for n in range(2000)]
    draws = model.draw(generators)[:, None]
    ratio = band_log_ratio(draws, residuals[:, None][:2000], 100.0)
    assert max(np.abs(r).max() for r in ratio.values()) < 1


@pytest.mark.parametrize("n_trials", [20, 200])
def test_rank_of_draws_is_that_of_the_data(rng, n_trials):
    X, _, trials = simulate(rng, n_images=20, n_trials=n_trials // 10)
    trials = trials - trials.mean(axis=2, keepdims=True)
    model = RidgeGaussian().fit(*flat(X, trials))
    assert (model.residuals_.root_ is None) == (n_trials == 20)
    draws = model.sample(X, 5, random_state=0)
    np.testing.assert_allclose(draws.mean(axis=2), 0, atol=1e-7)


def test_missing_sensors(rng):
    X, _, trials = simulate(rng, n_images=80)
    rows, y = flat(X, trials)
    mask = rng.random((480, 3)) < 0.7
    y = np.where(mask[..., None], y, np.nan)
    model = RidgeGaussian().fit(rows, y, y_mask=mask)
    full = RidgeGaussian().fit(*flat(X, trials))
    # Means and covariances over what is there: about those of complete data.
    ratio = model.sample(X, 50, random_state=0).std() / full.sample(X, 50, random_state=0).std()
    assert ratio == pytest.approx(1, abs=0.05)


def test_units_in_units_out(rng):
    X, _, trials = simulate(rng)
    volts, micro = (RidgeGaussian().fit(*flat(X, s * trials)) for s in (1e-6, 1.0))
    np.testing.assert_allclose(
        volts.sample(X[:2], 3, random_state=0) * 1e6, micro.sample(X[:2], 3, random_state=0)
    )


def test_errors(rng):
    X, _, trials = simulate(rng)
    with pytest.raises(ValueError, match="tokens='cls'"):
        RidgeBaseline(tokens="cls").fit(*flat(X, trials))
    with pytest.raises(ValueError, match="solver='lapack'"):
        RidgeBaseline(solver="lapack").fit(*flat(X, trials))
    with pytest.raises(ValueError, match="per_target=True"):
        RidgeBaseline(solver="himalaya").fit(*flat(X, trials))
    groups = np.repeat(np.arange(20), 3 * 6)
    with pytest.raises(ValueError, match="needs solver='himalaya'"):
        RidgeBaseline(per_target=True).fit(*flat(X, trials), groups=groups)
    rows, y = flat(X, trials)
    with pytest.raises(ValueError, match="knows no sample_weight"):
        RidgeBaseline(solver="himalaya", per_target=True).fit(rows[1:], y[1:])
    model = RidgeGaussian().fit(*flat(X, trials))
    with pytest.raises(ValueError, match="n_draws=0"):
        model.sample(X, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MeanResponse().fit(X[:2], trials[:2, 0])
