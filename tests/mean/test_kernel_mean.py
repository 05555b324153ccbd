import json
import tracemalloc

import numpy as np
import pytest
from scipy.signal import lfilter, resample
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.utils.estimator_checks import parametrize_with_checks

from mne_img2brain.mean import KernelMeanRegressor, multivariate_model, whitening
from mne_img2brain.mean.kernels import KERNELS, KernelMap, Views
from mne_img2brain.mean.multivariate_model import fit_mixed_model, project, rotate
from mne_img2brain.mean.response_space import find_spaces
from mne_img2brain.mean.stacking import stack
from mne_img2brain.mean.whitening import SignalPrior, Whitener
from mne_img2brain.trials.splits import distinct_rows


def _responses(rng, x, n_channels=6, n_times=25, nonlinear=False):
    """Three sources with a place and a time each, driven by the features."""
    drive = x @ rng.standard_normal((x.shape[1], 3)) / np.sqrt(x.shape[1])
    if nonlinear:
        drive = drive + np.sin(3 * drive)
    place = rng.standard_normal((3, n_channels))
    time = np.exp(-0.5 * ((np.arange(n_times) - np.array([[6], [12], [17]])) / 2) ** 2)
    return np.einsum("nk,kc,kt->nct", drive, place, time)


def _noise(rng, n, n_channels=6, n_times=25):
    """Noise that drifts and that neighbouring sensors share."""
    mix = np.eye(n_channels) + 0.9 * np.eye(n_channels, k=1)
    return 0.5 * np.cumsum(mix @ rng.standard_normal((n, n_channels, n_times)), axis=2)


def _simulate(rng, n_images=150, n_repeats=3, n_features=20, noise=1.0, **kwargs):
    """Return tokens, trials in random order, new tokens and the true responses to those."""
    x = rng.standard_normal((n_images + 100, n_features))
    truth = _responses(rng, x, **kwargs)
    image = rng.permutation(np.repeat(np.arange(n_images), n_repeats))
    y = truth[image] + noise * _noise(rng, len(image))
    return x[image], y, x[n_images:], truth[n_images:], image


def _r(a, b):
    """Pearson correlation over images, mean over sensors and times; 0 of equal predictions."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    size = np.sqrt((a**2).sum(0) * (b**2).sum(0))
    return ((a * b).sum(0) / np.where(size > 0, size, 1)).mean()


def _ridge(x, y):
    """Fit RidgeCV on flattened responses."""
    return RidgeCV(np.geomspace(1e-2, 1e5, 30)).fit(x, y.reshape(len(y), -1))


def _few(check):
    """Name the checks that are expected to fail, with the reason."""
    return {
        "check_sample_weight_equivalence_on_dense_data": "rows with equal X are repeats, whose "
        "differences tell the noise; a weight says nothing about noise",
    }


@parametrize_with_checks([KernelMeanRegressor()], expected_failed_checks=_few)
def test_sklearn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("n_features", [8, 60])  # more features than images too
def test_fixed_penalty_is_ridge(rng, n_features):
    x, y, new, _, _ = _simulate(rng, n_images=30, n_features=n_features)
    y = y.reshape(len(y), -1)
    weight = rng.uniform(0.5, 3, len(x))
    ours = KernelMeanRegressor("linear", penalty=7.0, standardize=False).fit(x, y, weight)
    reference = Ridge(alpha=7.0).fit(x, y, weight)  # on trials: averaging changes nothing
    np.testing.assert_allclose(ours.predict(new), reference.predict(new), rtol=1e-6, atol=1e-8)


def test_out_of_fold_with_fixed_penalty_is_ridge_without_the_group(rng):
    x, y, _, _, image = _simulate(rng, n_images=30)
    groups = image // 2
    ours = KernelMeanRegressor("linear", penalty=7.0, standardize=False, n_folds=15)
    ours.fit(x, y, groups=groups)
    left_out = ours.out_of_fold_
    assert left_out.shape == y.shape
    for group in (0, 7):  # as many folds as groups: each fold is one
        seen = groups != group
        reference = Ridge(alpha=7.0).fit(x[seen], y[seen].reshape(seen.sum(), -1))
        expected = reference.predict(x[~seen]).reshape(-1, *y.shape[1:])
        np.testing.assert_allclose(left_out[~seen], expected, rtol=1e-6, atol=1e-8)


def test_linear_truth_full_rank_white_noise(rng):
    # Where ridge is the right model, the mixture loses no more than 0.005 to it.
    x = rng.standard_normal((300, 30))
    truth = x @ rng.standard_normal((30, 120))
    y = truth + 20 * rng.standard_normal(truth.shape)
    ours = KernelMeanRegressor().fit(x[:200], y[:200].reshape(-1, 6, 20))
    expected = _r(_ridge(x[:200], y[:200]).predict(x[200:]), truth[200:])
    assert _r(ours.predict(x[200:]).reshape(100, -1), truth[200:]) > expected - 0.005


@pytest.mark.parametrize("n_repeats", [1, 3])
@pytest.mark.parametrize("nonlinear", [False, True])
def test_shared_structure_beats_ridge(rng, nonlinear, n_repeats):
    x, y, new, truth, _ = _simulate(rng, nonlinear=nonlinear, n_repeats=n_repeats)
    ours = _r(KernelMeanRegressor().fit(x, y).predict(new), truth)
    assert ours > _r(_ridge(x, y).predict(new).reshape(truth.shape), truth) + 0.02


def test_places(rng):
    # What is at one place is hidden from class token and mean of tokens, but not from "local".
    tokens = rng.standard_normal((300, 10, 4))
    truth = _responses(rng, tokens[:, 3] - tokens[:, 7])
    y = truth + 0.5 * _noise(rng, 300)
    scores = {
        kernel: _r(KernelMeanRegressor(kernel).fit(tokens[:200], y[:200]).predict(tokens[200:]), z)
        for kernel, z in dict.fromkeys(("rbf", "local"), truth[200:]).items()
    }
    assert scores["local"] > scores["rbf"] + 0.2
    mixture = KernelMeanRegressor().fit(tokens[:200], y[:200])
    assert _r(mixture.predict(tokens[200:]), truth[200:]) > scores["local"] - 0.02


def test_out_of_fold_is_honest(rng):
    # Noise only: predictions of rows left out do not correlate with them (3 standard errors).
    x = rng.standard_normal((150, 10))
    y = _noise(rng, 150)
    left_out = KernelMeanRegressor().fit(x, y).out_of_fold_
    assert _r(left_out, y) < 3 / np.sqrt(150)


def test_equivariances(rng):
    x, y, new, _, _ = _simulate(rng, n_images=60)
    ours = KernelMeanRegressor().fit(x, y)
    expected = ours.predict(new)
    scale = np.abs(expected).max()
    for factor in (1e6, 1e-13):
        scaled = KernelMeanRegressor().fit(x, y * factor).predict(new) / factor
        np.testing.assert_allclose(scaled, expected, rtol=1e-5, atol=1e-6 * scale)
    order = rng.permutation(len(x))
    shuffled = KernelMeanRegressor().fit(x[order], y[order])
    np.testing.assert_allclose(shuffled.predict(new), expected, rtol=1e-5, atol=1e-6 * scale)
    np.testing.assert_allclose(
        shuffled.out_of_fold_, ours.out_of_fold_[order], rtol=1e-5, atol=1e-6 * scale
    )
    np.testing.assert_allclose(ours.predict(new[3:5]), expected[3:5], rtol=1e-9, atol=1e-9 * scale)


def test_landmarks_equal_all_images_where_the_kernel_has_their_rank(rng):
    # 60 features span what 60 landmarks span: Nyström is exact for a linear kernel.
    views = {"pooled": rng.standard_normal((100, 60))}
    kernel = KernelMap((("pooled", "linear", 0.0, 1.0),))
    kernel.fit_transform({"pooled": views["pooled"][:50]})
    inner = kernel.transform({"pooled": views["pooled"][:50]})
    expected = views["pooled"][:50] @ views["pooled"][:50].T
    np.testing.assert_allclose(inner @ inner.T, expected, atol=1e-8)
    x, y, new, truth, _ = _simulate(rng)
    ours = KernelMeanRegressor(n_landmarks=60).fit(x, y)
    exact = _r(KernelMeanRegressor().fit(x, y).predict(new), truth)
    assert _r(ours.predict(new), truth) > 0.9 * exact


@pytest.mark.parametrize("n_images", [1, 2, 3, 12, 24])
def test_few_images(rng, n_images):
    x = rng.standard_normal((n_images, 30))
    truth = 3 * _responses(rng, x)
    image = np.repeat(np.arange(n_images), 60)
    y = truth[image] + _noise(rng, len(image))
    ours = KernelMeanRegressor().fit(x[image], y)
    assert ours.out_of_fold_.shape == y.shape
    predicted = ours.predict(x)
    if n_images == 1:
        np.testing.assert_allclose(predicted[0], y.mean(axis=0))
    if n_images == 2:
        a, b = predicted[0] - predicted[1], truth[0] - truth[1]
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.9
        # Shrunk, but not to nothing.
        assert 0.5 < (a * b).sum() / (b * b).sum() < 1.3


@pytest.mark.parametrize("n_rows", [1, 2, 5])
def test_few_rows(rng, n_rows):
    x, y = rng.standard_normal((n_rows, 4)), rng.standard_normal((n_rows, 3, 5))
    ours = KernelMeanRegressor().fit(x, y)
    assert np.isfinite(ours.predict(x)).all()
    assert np.isfinite(ours.out_of_fold_).all()


@pytest.mark.parametrize("n_tokens", [0, 10, 40])
def test_state(rng, n_tokens):
    x = rng.standard_normal((80, 5) if not n_tokens else (80, n_tokens, 5))
    if n_tokens == 40:
        x[::2, 36:] = np.nan  # captions of two lengths
    y = _responses(rng, x if not n_tokens else x[:, 0]) + _noise(rng, 80)
    ours = KernelMeanRegressor(n_folds=3).fit(x, y)
    state = ours.get_state()
    rest = json.loads(json.dumps({key: state[key] for key in ("params", "meta")}))
    assert all(isinstance(a, np.ndarray) for a in state["arrays"].values())
    restored = KernelMeanRegressor.from_state(rest | {"arrays": state["arrays"]})
    np.testing.assert_array_equal(restored.predict(x), ours.predict(x))
    assert restored.get_params() == ours.get_params()


def test_padding_does_not_matter(rng):
    x = rng.standard_normal((80, 12, 5))
    x[::2, 9:] = np.nan
    y = _responses(rng, x[:, 0]) + _noise(rng, 80)
    longer = np.concatenate([x, np.full((80, 4, 5), np.nan)], axis=1)
    ours = KernelMeanRegressor().fit(x, y)
    expected = ours.predict(x)
    np.testing.assert_allclose(ours.predict(longer), expected)
    # Fitted with it, only the deal of the folds may differ.
    assert _r(KernelMeanRegressor().fit(longer, y).predict(longer), expected) > 0.98
    shorter = x[:2].copy()
    shorter[:, 6:] = np.nan
    assert np.isfinite(ours.predict(shorter)).all()


def test_weight_zero_is_left_out(rng):
    x, y, new, _, image = _simulate(rng, n_images=40)
    weight = (image < 30).astype(float)
    ours = KernelMeanRegressor().fit(x, y, weight)
    reference = KernelMeanRegressor().fit(x[image < 30], y[image < 30])
    np.testing.assert_array_equal(ours.predict(new), reference.predict(new))
    np.testing.assert_array_equal(ours.out_of_fold_[image >= 30], ours.predict(x[image >= 30]))


def test_whitener(rng, monkeypatch):
    monkeypatch.setattr(whitening, "_FLOOR", 1e-8)
    noise = _noise(rng, 4000)
    whitener = Whitener((6, 25)).fit(noise.reshape(4000, -1))
    white = whitener.whiten(noise.reshape(4000, -1))
    # By construction the noise is a Kronecker product; sampling error of a correlation is 0.016.
    assert np.abs(np.corrcoef(white.T) - np.eye(150)).max() < 0.1
    np.testing.assert_allclose(whitener.colour(white), noise.reshape(4000, -1), atol=1e-9)
    monkeypatch.setattr(whitening, "_MAX_DENSE", 10)
    diagonal = Whitener((1, 150)).fit(noise.reshape(4000, -1))
    spread = diagonal.whiten(noise.reshape(4000, -1)).std(axis=0)
    np.testing.assert_allclose(spread, spread[0], rtol=1e-2)


def test_signal_prior_keeps_where_signal_is(rng):
    x = rng.standard_normal((300, 10))
    signal = _responses(rng, x, 6, 60)
    white = (signal + rng.standard_normal(signal.shape)).reshape(300, -1)
    white = (white - white.mean(axis=0)).reshape(300, 6, 60)
    space, time = (np.tensordot(white, white, axes=((0, k), (0, k))) for k in (2, 1))
    prior = SignalPrior((6, 60)).fit(space, time, 300, (6, 60))
    assert prior.time_.shape[1] < 20
    kept = prior.expand(prior.reduce(signal.reshape(300, -1)))
    assert np.sum((kept - signal.reshape(300, -1)) ** 2) < 0.1 * np.sum(signal**2)


@pytest.mark.parametrize("seed", range(3))
def test_signal_prior_of_resampled_responses(seed):
    """Between samples there is no noise to tell signal from: its level is that of the others."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((300, 10))
    y = [_responses(rng, x, 6, 60), lfilter([1], [1, -0.9], rng.standard_normal((300, 6, 60)))]
    kept = []
    for up in (1, 2, 4):
        # mirrored, so that ends do not ring
        parts = [np.concatenate([part, part[..., ::-1]], axis=2) for part in y]
        signal, noise = (resample(part, 120 * up, axis=2)[..., : 60 * up] for part in parts)
        signal, noise = signal.reshape(300, -1), noise.reshape(300, -1)
        whitener = Whitener((6, 60 * up)).fit(noise)
        assert abs(whitener.rank()[1] - 60) <= 3
        white = whitener.whiten(signal + noise)
        white = (white - white.mean(axis=0)).reshape(300, 6, -1)
        space, time = (np.tensordot(white, white, axes=((0, k), (0, k))) for k in (2, 1))
        prior = SignalPrior((6, 60 * up)).fit(space, time, 300, whitener.rank())
        kept.append(prior.time_.shape[1])
        assert 0.1 < np.median(prior.gain_) < 0.9
        seen = whitener.whiten(signal)
        assert np.sum((prior.expand(prior.reduce(seen)) - seen) ** 2) < 0.1 * np.sum(seen**2)
    assert max(kept) < 40
    assert max(kept) - min(kept) <= 3  # 12 where the spread of eigenvalues was that of all samples


def test_mixed_model_finds_simulated_covariances(rng, monkeypatch):
    monkeypatch.setattr(multivariate_model, "_MAX_ITER", 50)
    # Signal along one direction with ratio 4, noise everywhere: the penalty of that direction is
    # 1 / 4, those of the others are large.
    phi = rng.standard_normal((2000, 40))
    direction = np.array([3.0, 4.0, 0.0]) / 5
    y = 2 * (phi @ rng.standard_normal((40, 1))) * direction + rng.standard_normal((2000, 3))
    rotated = rotate(phi, np.ones(2000), np.arange(2000))
    scores, _ = project(rotated, y)
    penalty, (mixing, _) = fit_mixed_model(rotated, scores, y)
    best = penalty.argmin()
    np.testing.assert_allclose(penalty[best], 0.25, rtol=0.5)  # 40 weights: 22 % standard error
    assert np.sort(penalty)[1] > 20
    aligned = mixing[:, best] / np.linalg.norm(mixing[:, best])
    np.testing.assert_allclose(np.abs(aligned @ direction), 1, atol=0.01)


def test_many_targets_use_randomised_components(rng):
    y = rng.standard_normal((2100, 3)) @ rng.standard_normal((3, 2100))
    one_fold = np.zeros(2100, dtype=int)
    (space,) = find_spaces(y, np.ones(2100), one_fold, (1, 2100), None, 4, rng)
    scores, colours, mean = space
    np.testing.assert_allclose(scores @ colours + mean, y, atol=1e-6)


def test_components_of_a_fold_are_those_of_its_rows_alone(rng):
    """Moments are summed fold by fold and shifted to another mean: nothing of the fold is left."""
    _, y, _, _, image = _simulate(rng, n_images=60)
    y, weight, fold = y.reshape(len(y), -1) + 5, rng.uniform(0.5, 2, len(y)), image % 3
    white = Whitener((6, 25)).fit(_noise(rng, 200).reshape(200, -1))
    spaces = find_spaces(y, weight, fold, (6, 25), white, 5, rng)
    assert len(spaces) == 4
    for k, space in enumerate(spaces[1:]):
        kept = fold != k
        one_fold = np.zeros(kept.sum(), dtype=int)
        (alone,) = find_spaces(y[kept], weight[kept], one_fold, (6, 25), white, 5, rng)
        np.testing.assert_allclose(space.mean, alone.mean)
        np.testing.assert_allclose(
            space.scores @ space.colours, alone.scores @ alone.colours, rtol=1e-6, atol=1e-8
        )


@pytest.mark.parametrize("noise", [0.1, 1.0, 5.0])
def test_the_penalty_is_that_of_the_least_error_on_images_left_out(rng, noise):
    x, y, _, _, _ = _simulate(rng, n_images=40, n_repeats=1, n_features=60, noise=noise)
    y = y.reshape(len(y), -1)
    ours = KernelMeanRegressor("linear", standardize=False, n_components=0, n_folds=4).fit(x, y)

    def error(penalty):
        fixed = KernelMeanRegressor("linear", penalty=penalty, standardize=False, n_folds=4)
        return np.sum((fixed.fit(x, y).out_of_fold_ - y) ** 2 / y.var(axis=0))

    # neighbours in the grid, one and two steps away
    best, *others = (error(ours.penalty_ * 10 ** (k / 3)) for k in (0, -2, -1, 1, 2))
    assert best < min(others)


def test_tokens_may_be_given_once(rng):
    x, y, new, _, image = _simulate(rng, n_images=40)
    weight = rng.integers(0, 3, len(y))
    first = np.unique(image, return_index=True)[1]
    unfolded = KernelMeanRegressor().fit(x, y, weight, groups=image // 2)
    once = KernelMeanRegressor().fit(
        x[first], y, weight, groups=image // 2, image_index=image.astype(np.int32)
    )
    np.testing.assert_array_equal(once.predict(new), unfolded.predict(new))
    np.testing.assert_array_equal(once.out_of_fold_, unfolded.out_of_fold_)
    with pytest.raises(ValueError, match="image_index runs from 1 to 40, but X holds 40 images"):
        KernelMeanRegressor().fit(x[first], y, image_index=image + 1)


def test_float32_responses(rng):
    x, y, new, truth, _ = _simulate(rng, n_images=60)
    expected = KernelMeanRegressor().fit(x, y)
    ours = KernelMeanRegressor().fit(x, y.astype(np.float32))
    assert ours.out_of_fold_.dtype == np.float32
    scale = np.abs(truth).max()
    np.testing.assert_allclose(ours.predict(new), expected.predict(new), atol=1e-4 * scale)
    np.testing.assert_allclose(ours.out_of_fold_, expected.out_of_fold_, atol=1e-4 * scale)


def test_memory(rng):
    """Beside responses there are their out-of-fold predictions, and blocks."""
    x, y = rng.standard_normal((250, 10)), rng.standard_normal((250, 40, 400))
    x = x[distinct_rows(x)[0]]  # in the order of the images: nothing needs to be averaged
    tracemalloc.start()
    try:
        ours = KernelMeanRegressor().fit(x, y)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert ours.out_of_fold_.nbytes == y.nbytes
    assert peak < 3.2 * y.nbytes


def test_views_of_a_flat_feature():
    x = np.ones((4, 2))
    x[:, 1] = np.arange(4)
    shown = Views().fit(x, np.arange(len(x))).transform(x + [[5, 0]])
    np.testing.assert_array_equal(shown["pooled"][:, 0], 0)
    assert set(KERNELS) == {"linear", "rbf", "local"}


def test_errors(rng):
    x, y = rng.standard_normal((20, 4)), rng.standard_normal((20, 2, 3))
    for params, match in [
        ({"kernel": "cubic"}, "kernel='cubic'; give 'auto' or 'linear'"),
        ({"penalty": -1}, "penalty=-1; give 'auto' or a number > 0"),
        ({"n_folds": 1}, "n_folds=1; give an integer >= 2"),
        ({"kernel": "local"}, "'local' compares tokens place by place"),
    ]:
        with pytest.raises(ValueError, match=match):
            KernelMeanRegressor(**params).fit(x, y)
    with pytest.raises(ValueError, match=r"y has shape \(19, 2, 3\); expected one response for"):
        KernelMeanRegressor().fit(x, y[1:])
    with pytest.raises(ValueError, match="All images are of one group"):
        KernelMeanRegressor().fit(x, y, groups=np.zeros(20))
    with pytest.raises(ValueError, match="sample_weight has shape"):
        KernelMeanRegressor().fit(x, y, -np.ones(20))
    tokens = rng.standard_normal((20, 6, 4))
    ours = KernelMeanRegressor().fit(tokens, y)
    with pytest.raises(ValueError, match="X has 3 dimensions and 5 features"):
        ours.predict(np.ones((2, 6, 5)))


@pytest.mark.slow
def test_semi_real_eeg(shared_data):
    # Ridge on the class token has r = 0.207 here; the page "What we tried" has the log.
    data = np.load(shared_data / "semireal" / "semireal.npz")
    trials = data["train_trials"].astype(np.float32)
    tokens = np.repeat(data["train_tokens"], trials.shape[1], axis=0)
    ours = KernelMeanRegressor().fit(tokens, trials.reshape(-1, *trials.shape[2:]))
    window = (data["times"] >= 0.05) & (data["times"] <= 0.6)
    measured = data["val_trials"].astype(np.float64).mean(axis=1)
    predicted = ours.predict(data["val_tokens"])
    assert _r(predicted[..., window], measured[..., window]) > 0.227


@pytest.mark.parametrize("seed", range(5))
def test_models_that_do_not_help_have_no_weight(seed):
    """Non-negative least squares: anti-correlated models get 0, and the mean is the answer."""
    rng = np.random.default_rng(seed)
    target = rng.standard_normal((60, 8))
    noise = [0.3 * rng.standard_normal(target.shape) for _ in range(3)]
    wrong = [-target + n for n in noise]
    weight = rng.integers(1, 4, 60).astype(float)
    for scale in (False, True):
        np.testing.assert_array_equal(stack([*wrong, target], weight, scale), 0)
        mixed = stack([wrong[0], target + noise[1], wrong[2], target], weight, scale)
        assert mixed[1] > 0.7
        np.testing.assert_array_equal(mixed[[0, 2]], 0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", [(3, 24), (3, 25), (2, 24)])
@pytest.mark.parametrize("signal", [0.0, 0.3])
def test_folds_with_components_of_different_number(seed, shape, signal):
    """Small responses and repeats of mixed number: folds keep as many components as they find."""
    rng = np.random.default_rng(seed)
    image = np.repeat(np.arange(400), [4] * 100 + [1] * 300)
    x, y = rng.standard_normal((400, 5)), rng.standard_normal((700, *shape))
    truth = signal * np.tensordot(x, rng.standard_normal((5, *shape)), 1)
    model = KernelMeanRegressor().fit(x[image], y + truth[image])
    assert model.out_of_fold_.shape == y.shape
    if signal:
        first = np.unique(image, return_index=True)[1]
        assert _r(model.predict(x), truth) > 0.95
        assert _r(model.out_of_fold_[first], truth) > 0.9


def test_nothing_to_learn_is_said_without_a_bias():
    """Noise: cross-validated r is 0 on average, and predictions err no more than the mean does."""
    scores, excess = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        x, y = rng.standard_normal((130, 10)), _noise(rng, 130)
        model = KernelMeanRegressor().fit(x[:90], y[:90])
        scores += [model.cv_score_[name] for name in ("ridge linear", "mixed linear", "mixed rbf")]
        error = np.mean((model.predict(x[90:]) - y[90:]) ** 2)
        excess.append(error / np.mean((y[:90].mean(axis=0) - y[90:]) ** 2))
        if not any(model.weights_.values()):
            np.testing.assert_allclose(model.predict(x[:2]), y[[0, 0]] * 0 + y[:90].mean(axis=0))
            folds = np.unique(model.out_of_fold_[:, 0, 0])
            assert len(folds) == 5  # the means of what the folds leave
    # r of 90 images has an SD of about 0.1 / sqrt(independent targets), 0.05 here
    assert abs(np.mean(scores)) < 0.03
    assert np.mean(excess) < 1.02


def test_captions_of_any_length(rng):
    """A caption shorter than all of training: its missing words say nothing."""
    x = rng.standard_normal((40, 8, 3))
    x[:20, 6:] = np.nan
    y = rng.standard_normal((40, 2, 5)) + x[:, :1, :1]
    model = KernelMeanRegressor().fit(x, y)
    short = x[:3].copy()
    short[:, 3:] = np.nan
    cut, padded = model.predict(short[:, :3]), model.predict(short)
    assert np.isfinite(padded).all()
    np.testing.assert_allclose(cut, padded)
    longer = np.pad(x, ((0, 0), (0, 2), (0, 0)), constant_values=np.nan)
    np.testing.assert_allclose(model.predict(longer), model.predict(x))


def test_few_images_are_not_left_without_a_model():
    # weak effects of 50 images: over seeds the mixture predicts, better than the same for all
    r = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        tokens = rng.standard_normal((150, 1, 8))
        signal = tokens[:, 0, :3] @ rng.standard_normal((3, 40))
        y = signal + 5 * rng.standard_normal((150, 40))
        model = KernelMeanRegressor(random_state=0).fit(tokens[:50], y[:50].reshape(50, 4, 10))
        predicted = model.predict(tokens[50:]).reshape(100, 40)
        assert predicted.std(axis=0).min() > 0
        r.append(np.corrcoef(predicted.ravel(), signal[50:].ravel())[0, 1])
    assert min(r) > 0.2
