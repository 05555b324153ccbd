"""DiffusionRegressor: arrays in, arrays out."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks
from small_regressors import keep_transformers, make_regressor

from mne_img2brain import Denoiser, DiffusionRegressor

TINY = {
    "hidden_size": 16,
    "n_layers": 1,
    "n_heads": 2,
    "max_iter": 10,
    "batch_size": 32,
    "device": "cpu",
}


@pytest.mark.filterwarnings("ignore:There are .* distinct images:RuntimeWarning")
@parametrize_with_checks([make_regressor(**TINY, random_state=0)])
def test_sklearn_conventions(estimator, check):
    check(estimator)


@pytest.fixture
def linear(rng):
    """Thirty images x 6 trials of a linear truth with noise correlated in space and time."""
    n_images, n_channels, n_times = 30, 4, 20
    tokens = rng.standard_normal((n_images, 3, 5))
    weights = rng.standard_normal((15, n_channels * n_times))
    truth = (tokens.reshape(n_images, -1) @ weights).reshape(n_images, n_channels, n_times)
    image = np.repeat(np.arange(n_images), 6)
    mixing = rng.standard_normal((n_channels, n_channels))
    noise = mixing @ np.cumsum(rng.standard_normal((len(image), n_channels, n_times)), axis=2)
    return tokens, image, truth[image] + noise


@pytest.fixture
def fitted(linear, monkeypatch):
    """A tiny model whose denoiser is kept, whatever validation says."""
    tokens, image, y = linear
    keep_transformers(monkeypatch)
    model = make_regressor(Ridge(1.0), **TINY, random_state=0)
    model.fit(tokens, y, image_index=image, regions=np.array([0, 0, 1, 1]))
    with torch.no_grad():
        rng = torch.Generator().manual_seed(0)
        for parameter in model.noise_.network_.parameters():
            noise = torch.randn(parameter.shape, generator=rng)
            parameter.add_(0.05 * noise)
    return model, tokens


def test_without_training_it_is_ridge_with_gaussian_residuals(linear):
    tokens, image, y = linear
    model = make_regressor(Ridge(3.0), **{**TINY, "max_iter": 0}, random_state=0)
    model.fit(tokens, y, image_index=image)
    pooled = np.concatenate([tokens[:, 0], tokens[:, 1:].mean(axis=1)], axis=1)
    # weighted ridge on the averages of 6 trials is the ridge on trials
    ridge = Ridge(3.0).fit(pooled[image], y.reshape(len(y), -1))
    expected = ridge.predict(pooled).reshape(-1, 4, 20)
    assert_allclose(model.predict(tokens), expected, rtol=1e-6, atol=1e-8 * np.abs(y).max())
    draws = model.sample(tokens, 300, random_state=1)
    error = (draws.mean(axis=1) - expected) / (draws.std(axis=1) / np.sqrt(300))
    assert 0.9 < np.mean(np.abs(error) < 2) < 0.99  # 95.4 % of standard normal numbers
    # within-image SD of draws against that of the trials
    within = np.stack([y[image == i].var(axis=0, ddof=1) for i in range(30)]).mean(axis=0)
    ratio = np.sqrt(draws.var(axis=1, ddof=1).mean(axis=0) / within)
    assert 0.85 < np.median(ratio) < 1.15


def test_shapes_follow_the_target(rng):
    X = rng.standard_normal((40, 5))
    for shape in [(40,), (40, 3), (40, 3, 12)]:
        model = make_regressor(**TINY, random_state=0).fit(X, rng.standard_normal(shape))
        assert model.predict(X[:7]).shape == (7, *shape[1:])
        assert model.sample(X[:7], 2, random_state=0).shape == (7, 2, *shape[1:])
    grid = rng.standard_normal((40, 2, 3, 5))
    model.fit(grid, rng.standard_normal(40))
    assert_allclose(model.predict(grid), model.predict(grid.reshape(40, 6, 5)))


def test_predictions_and_draws_do_not_depend_on_the_batch(fitted):
    model, tokens = fitted
    together = model.predict(tokens)
    assert isinstance(model.noise_, Denoiser)
    model.noise_.mean_weight_ = 0.5
    together = model.predict(tokens)
    one_by_one = np.concatenate([model.predict(tokens[i : i + 1]) for i in range(len(tokens))])
    scale = np.abs(together).max()
    assert_allclose(one_by_one, together, rtol=1e-5, atol=1e-5 * scale)
    order = np.random.default_rng(0).permutation(len(tokens))
    assert_allclose(model.predict(tokens[order]), together[order], rtol=1e-5, atol=1e-5 * scale)
    draws = model.sample(tokens, 3, random_state=7)
    # the first two draws are the same where five are drawn, the first images where fewer are
    more = model.sample(tokens[:4], 5, random_state=7)
    assert_allclose(more[:, :3], draws[:4], rtol=1e-4, atol=1e-4 * scale)
    model.noise_.batch_size = 7
    assert_allclose(model.sample(tokens, 3, random_state=7), draws, rtol=1e-4, atol=1e-4 * scale)


def test_guidance_reaches_every_channel(fitted):
    model, tokens = fitted
    plain = model.sample(tokens[:3], 2, random_state=0)
    assert_array_equal(model.sample(tokens[:3], 2, random_state=0, guidance_scale=1.0), plain)
    guided = model.sample(tokens[:3], 2, random_state=0, guidance_scale=2.0)
    assert np.all(np.abs(guided - plain).max(axis=(0, 1, 3)) > 0)


def test_shuffled_trials_fit_the_same_model(linear, rng):
    tokens, image, y = linear
    parameters = {**TINY, "max_iter": 3}
    model = make_regressor(**parameters, random_state=0).fit(tokens, y, image_index=image)
    order = rng.permutation(len(y))
    renamed = rng.permutation(len(tokens))  # images in another order, too
    again = make_regressor(**parameters, random_state=0)
    again.fit(tokens[renamed], y[order], image_index=np.argsort(renamed)[image[order]])
    assert_allclose(again.predict(tokens), model.predict(tokens), rtol=1e-6, atol=1e-7)
    a, b = (m.sample(tokens, 1, random_state=0) for m in (model, again))
    assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_repeated_rows_equal_an_image_index(linear):
    tokens, image, y = linear
    parameters = {**TINY, "max_iter": 3}
    model = make_regressor(**parameters, random_state=0).fit(tokens, y, image_index=image)
    repeated = make_regressor(**parameters, random_state=0).fit(tokens[image], y)
    assert_array_equal(repeated.predict(tokens), model.predict(tokens))


def test_units_pass_through(linear):
    tokens, image, y = linear
    parameters = {**TINY, "max_iter": 3}
    small = make_regressor(**parameters, random_state=0).fit(tokens, y, image_index=image)
    large = make_regressor(**parameters, random_state=0).fit(tokens, y * 1e6, image_index=image)
    assert_allclose(large.predict(tokens), small.predict(tokens) * 1e6, rtol=1e-5, atol=1)
    a = small.sample(tokens, 1, random_state=0)
    assert_allclose(large.sample(tokens, 1, random_state=0), a * 1e6, rtol=1e-3, atol=1e3)


def test_averages_count_as_many_trials(rng):
    """Rows that average 9 trials give draws with the SD of single trials."""
    n_images = 200
    X = rng.standard_normal((n_images, 4))
    mean = X @ rng.standard_normal((4, 3))
    averages = mean + 2.0 * rng.standard_normal((n_images, 3)) / 3  # SD of a trial: 2
    model = make_regressor(LinearRegression(), **{**TINY, "max_iter": 0}, random_state=0)
    model.fit(X, averages, sample_weight=np.full(n_images, 9))
    draws = model.sample(X, 50, random_state=0)
    # residuals of a 4-feature fit on 160 of 200 rows: 2 * sqrt(1 + 5 / 160)
    assert_allclose(draws.std(axis=1).mean(), 2.03, rtol=0.05)
    averaged = model.sample(X, 50, random_state=0, n_averaged=9)
    assert_allclose(averaged.std(axis=1).mean(), 2.03 / 3, rtol=0.05)


def test_averages_do_not_scale_the_response_of_the_pure_form(rng):
    """What the denoiser says of an image does not depend on how many trials were averaged."""
    X = np.repeat(np.array([[-1.0], [1.0]]), 30, axis=0) + 0.01 * rng.standard_normal((60, 1))
    y = 2 * np.sign(X)[:, :, None] + 0.3 * rng.standard_normal((60, 2, 10))
    parameters = {**TINY, "max_iter": 200, "prediction_type": "v", "random_state": 0}
    model = DiffusionRegressor.xu2025(**parameters)
    single, tokens = clone(model).fit(X, y), X[::10]
    ninth = clone(model).fit(X, y, sample_weight=np.full(len(y), 9))
    assert (single.residual_averaged_, ninth.residual_averaged_) == (1, 9)
    assert isinstance(single.noise_, Denoiser)
    assert_allclose(ninth.predict(tokens), single.predict(tokens), rtol=1e-9)
    averages = ninth.sample(tokens, 3, random_state=0, n_averaged=9)
    assert_allclose(averages, single.sample(tokens, 3, random_state=0), rtol=1e-6)
    # single trials lie around the same mean, three times as far
    trials = ninth.sample(tokens, 3, random_state=0)
    mean = ninth.predict(tokens)[:, None]
    assert_allclose(trials - mean, 3 * (averages - mean), rtol=1e-6, atol=1e-9)


def test_the_global_generators_are_untouched(linear):
    tokens, image, y = linear
    numpy_before = np.random.get_state()[1].copy()  # noqa: NPY002
    torch_before = torch.get_rng_state()
    model = make_regressor(**TINY).fit(tokens, y, image_index=image)
    model.sample(tokens, 2)
    assert_array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert not np.array_equal(model.sample(tokens, 1), model.sample(tokens, 1))


def test_the_paper_s_pure_form_learns(rng):
    X = np.repeat(np.array([[-1.0], [1.0]]), 60, axis=0) + 0.01 * rng.standard_normal((120, 1))
    y = 2 * np.sign(X)[:, :, None] + 0.3 * rng.standard_normal((120, 2, 10))
    parameters = {**TINY, "hidden_size": 32, "max_iter": 300, "patch_length": 5}
    pure = make_regressor(None, whitening="scale", **parameters, random_state=0)
    pure.fit(X, y)
    predicted = pure.predict(np.array([[-1.0], [1.0]]))
    assert np.all(predicted[1].mean() - predicted[0].mean() > 2)  # the truth: 4
    paper = DiffusionRegressor.xu2025(**parameters, random_state=0)
    assert paper.mean is None
    assert paper.noise.prediction_type == "noise"
    paper.fit(X, y)
    predicted = paper.predict(np.array([[-1.0], [1.0]]))
    assert predicted[1].mean() - predicted[0].mean() > 1
    assert np.abs(predicted).max() < 10  # nothing is divided by the vanishing signal
    one = paper.predict(np.array([[1.0]]))
    assert_allclose(one[0], predicted[1], rtol=1e-4, atol=1e-4)


def test_padding_changes_nothing(linear):
    tokens, image, y = linear
    padded = np.concatenate([tokens, np.full((30, 2, 5), np.nan)], axis=1)
    model = make_regressor(**{**TINY, "max_iter": 3}, random_state=0)
    model.fit(padded, y, image_index=image)
    more = np.concatenate([padded, np.full((30, 1, 5), np.nan)], axis=1)
    assert_allclose(model.predict(more), model.predict(padded), rtol=1e-12)
    assert_allclose(model.sample(more, 1, random_state=0), model.sample(padded, 1, random_state=0))


def test_few_images_split_by_trial_with_a_warning(rng):
    """Two images with 60 trials each: the expected response is each image's average."""
    tokens = rng.standard_normal((2, 1, 6))
    image = np.repeat([0, 1], 60)
    truth = rng.standard_normal((2, 3, 8))
    y = truth[image] + 0.1 * rng.standard_normal((120, 3, 8))
    with pytest.warns(RuntimeWarning, match="2 distinct images"):
        model = make_regressor(**TINY, random_state=0).fit(tokens, y, image_index=image)
    average = np.stack([y[image == i].mean(axis=0) for i in (0, 1)])
    assert_allclose(model.predict(tokens), average, atol=0.05)


def test_refit_erases_and_a_failed_fit_keeps(linear, rng):
    tokens, image, y = linear
    model = make_regressor(**TINY, random_state=0).fit(tokens, y, image_index=image)
    before = model.predict(tokens)
    with pytest.raises(ValueError, match="infinity|NaN"):
        model.fit(tokens, np.where(y > 0, np.nan, y), image_index=image)
    assert_array_equal(model.predict(tokens), before)
    model.fit(rng.standard_normal((30, 2)), rng.standard_normal((30, 5)))
    fresh = clone(model)
    assert model.predict(rng.standard_normal((3, 2))).shape == (3, 5)
    assert not hasattr(fresh, "mean_")


def test_subjects_have_their_own_mean(linear, rng):
    tokens, image, y = linear
    subject = np.tile([0, 1, 0, 1, 0, 1], 30)
    shift = np.where(subject == 1, 40.0, 0.0)[:, None, None]
    model = make_regressor(Ridge(1.0), **TINY, random_state=0)
    model.fit(tokens, y + shift, image_index=image, subjects=subject)
    zero, one = (model.predict(tokens, subjects=np.full(30, s)) for s in (0, 1))
    assert_allclose((one - zero).mean(), 40, rtol=0.1)
    assert_allclose(model.predict(tokens), (zero + one) / 2, rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match="2 subjects"):
        model.predict(tokens, subjects=np.full(30, 2))


def test_grid_search_over_three_dimensional_tokens(rng):
    X = rng.standard_normal((24, 3, 4))
    y = rng.standard_normal((24, 2, 6))
    search = GridSearchCV(
        make_regressor(Ridge(), **{**TINY, "max_iter": 0}, random_state=0),
        {"mean__alpha": [0.1, 1e4]},
        scoring=lambda model, X, y: -np.mean((model.predict(X) - y) ** 2),
        cv=2,
    )
    search.fit(X, y)
    assert search.best_params_ == {"mean__alpha": 1e4}  # there is nothing to learn


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"groups": ["a"] * 5}, "groups has shape"),
        ({"groups": ["a"] * 180}, "one group"),
        ({"regions": [0, 1]}, "4 channels"),
        ({"sample_weight": -np.ones(180)}, "not negative"),
        ({"subjects": np.full(180, 3)}, "number them from 0"),
        ({"image_index": np.full(180, 30)}, "rows of X"),
        ({"y_mask": np.ones((180, 2), bool)}, "4 channels"),
    ],
)
def test_wrong_arguments_are_named(linear, change, match):
    tokens, image, y = linear
    with pytest.raises(ValueError, match=match):
        make_regressor(**TINY).fit(tokens, y, **{"image_index": image, **change})


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"whitening": "pca"}, "whitening='pca'"),
        ({"noise": "gaussian?"}, "noise='gaussian\\?'"),
        ({"validation_fraction": 1.0}, "validation_fraction"),
        ({"max_iter": 2.5}, "max_iter=2.5"),
        ({"prediction_type": "noise"}, "zero"),
    ],
)
def test_wrong_parameters_are_named(linear, parameters, match):
    tokens, image, y = linear
    with pytest.raises(ValueError, match=match):
        make_regressor(**{**TINY, **parameters}).fit(tokens, y, image_index=image)


def test_wrong_options_of_sample_are_named(fitted):
    model, tokens = fitted
    with pytest.raises(ValueError, match="solver='euler'"):
        model.sample(tokens, solver="euler")
    with pytest.raises(ValueError, match="n_steps=0"):
        model.sample(tokens, n_steps=0)
    for scale in (1e12, np.nan, "2"):
        with pytest.raises(ValueError, match="guidance_scale=.* give a number within 100"):
            model.sample(tokens, guidance_scale=scale)


def test_parameters_of_the_denoiser_are_searched(rng):
    X, y = rng.standard_normal((24, 3, 4)), rng.standard_normal((24, 2, 6))
    search = GridSearchCV(
        make_regressor(Ridge(), **TINY, random_state=0),
        {"noise__max_iter": [1, 2]},
        scoring=lambda model, X, y: model.n_iter_,
        cv=2,
    )
    search.set_params(estimator__max_iter=None).fit(X, y)
    assert search.best_params_ == {"noise__max_iter": 2}
    assert len(DiffusionRegressor().get_params(deep=False)) <= 8


def test_partial_nan_is_not_padding(linear):
    tokens, image, y = linear
    broken = tokens.copy()
    broken[4, 1, 2] = np.nan
    with pytest.raises(ValueError, match="Token 1 of image 4"):
        make_regressor(**TINY).fit(broken, y, image_index=image)
    broken[4] = np.nan
    with pytest.raises(ValueError, match="Image 4 has no token"):
        make_regressor(**TINY).fit(broken, y, image_index=image)


@pytest.mark.parametrize("size", [1e30, 1e200])
def test_tokens_that_are_too_large_are_named(linear, size):
    tokens, image, y = linear
    with pytest.raises(ValueError, match="give tokens within 1e"):
        make_regressor(**TINY).fit(size * tokens, y, image_index=image)


def test_tokens_of_half_precision_are_no_warning(linear):
    """The same numbers in twice the bits: which images a fold holds depends on what they are."""
    tokens, image, y = linear
    tokens = tokens.astype(np.float16)
    half, whole = (
        make_regressor(**TINY, random_state=0).fit(given, y, image_index=image)
        for given in (tokens, tokens.astype(np.float32))
    )
    difference = half.predict(tokens) - whole.predict(tokens)
    assert np.abs(difference).max() < 1e-6 * whole.predict(tokens).std()


def test_defaults_of_sampling_and_what_eta_adds(fitted):
    """25 steps of the second-order solver, 50 of DDIM; with eta, noise at every step."""
    model, tokens = fitted

    def sample(**options):
        return model.sample(tokens[:3], 4, random_state=0, **options)

    assert_allclose(sample(), sample(solver="dpm", n_steps=25), rtol=0)
    ddim = sample(solver="ddim")
    assert_allclose(ddim, sample(solver="ddim", n_steps=50), rtol=0)
    scale = ddim.std()
    assert np.abs(ddim - sample(solver="ddim", n_steps=25)).max() > 1e-4 * scale
    stirred = sample(solver="ddim", eta=1.0)
    assert_allclose(stirred, sample(solver="ddim", eta=1.0), rtol=0)
    assert np.abs(stirred - ddim).max() > 0.1 * scale
    assert stirred.std() == pytest.approx(scale, rel=0.3)


def test_other_width_is_an_error(fitted):
    model, tokens = fitted
    with pytest.raises(ValueError, match="expecting 5 features"):
        model.predict(tokens[:, :, :4])


@pytest.mark.gpu
def test_an_accelerator_predicts_and_draws_the_same(fitted):
    model, tokens = fitted
    model.noise_.mean_weight_ = 0.5
    expected = model.predict(tokens), model.sample(tokens, 2, random_state=0)
    model.noise_.to("auto")
    scale = np.abs(expected[0]).max()
    assert_allclose(model.predict(tokens), expected[0], rtol=1e-4, atol=1e-4 * scale)
    got = model.sample(tokens, 2, random_state=0)
    assert_allclose(got, expected[1], rtol=1e-3, atol=1e-3 * scale)


def test_images_are_projected_once_for_all_steps_and_draws_of_a_batch(fitted, monkeypatch):
    model, tokens = fitted
    projected = []
    encode = model.noise_.network_.encode_condition
    monkeypatch.setattr(
        model.noise_.network_,
        "encode_condition",
        lambda *a: projected.append(len(a[0])) or encode(*a),
    )
    model.noise_.batch_size = 7

    def silence(draws):
        yield from np.zeros((2, len(draws), 4, 20), np.float32)

    list(model.noise_.draw(tokens, np.repeat(np.arange(30), 4), silence, n_steps=5))
    assert len(projected) == 18  # 120 draws, 7 at once
    assert max(projected) == 3
