"""What scikit-learn's users rely on: parameters that are checked and that reach what they name."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV

from mne_img2brain import Denoiser, DiffusionRegressor
from mne_img2brain.mean import KernelMeanRegressor

SMALL = {"max_iter": 0, "device": "cpu", "random_state": 0}
TINY = {"hidden_size": 16, "n_layers": 1, "n_heads": 2, "patch_length": 4}
NO_COUNT = (0, -1, 2.5, np.nan, np.inf, "4", None, True)
NO_NUMBER = (np.nan, np.inf, -np.inf, -1, "x", None, True, 1j)
WRONG = {
    "hidden_size": (10**7, *NO_COUNT),
    "n_layers": (10**7, *NO_COUNT),
    "n_heads": (3, *NO_COUNT),  # 16 is not a multiple of 3
    "patch_length": NO_COUNT,
    "tokens": ("patch", None, 1, True),
    "position": ("region_time", None, 1),
    "conditioning": ("film", None, 1),
    "dropout": (1, 2, *NO_NUMBER),
    "schedule": ("sqrt", None, 1),
    "prediction_type": ("noise", "score", None, 1),  # noise says nothing at zero terminal SNR
    "zero_terminal_snr": ("yes", None, 1),
    "whitening": ("pca", None, True),
    "validation_fraction": (0, 1, 0.999, *NO_NUMBER),
    "max_iter": (-1, 2.5, np.nan, "4", True),
    "batch_size": NO_COUNT,
    "learning_rate": (0, 1e10, *NO_NUMBER),
    "weight_decay": NO_NUMBER,
    "ema_decay": (1, 2, *NO_NUMBER),
    "condition_dropout": (2, *NO_NUMBER),
    "n_iter_no_change": NO_COUNT,
    "interrupt": ["stop", None, True],
}
WRONG_OF_REGRESSOR = {
    "mean": ("ridge", "nonsense", 3, True, np.nan, Ridge, ["auto"]),
    "noise": ("gauss", None, 3, True, Denoiser, Ridge()),
    "max_iter": (-1, 2.5, np.nan, "4", True),
    "n_folds": (1, *NO_COUNT),
    "min_images": (1, *NO_COUNT),
    "device": ("gpu", "abacus", 1j),
    "random_state": ("x", -1, 1.5, True),
}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    image = np.repeat(np.arange(24), 3)
    tokens = rng.standard_normal((24, 2, 5))
    y = np.tensordot(tokens[:, 0], rng.standard_normal((5, 3, 8)), 1)[image]
    return tokens, y + rng.standard_normal(y.shape), image


@pytest.fixture
def never_fitted(monkeypatch):
    """Let the mean not be fitted: a wrong parameter is said before anything is done."""

    def never(*args, **kwargs):
        raise AssertionError("the mean was fitted before parameters were checked")

    monkeypatch.setattr("mne_img2brain.mean.conditional_mean.ConditionalMean.fit", never)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_parameter_of_the_denoiser_is_named(name, data, never_fitted):
    tokens, y, image = data
    for value in WRONG[name]:
        noise = Denoiser(**{**TINY, name: value})
        with pytest.raises(ValueError, match=name):
            DiffusionRegressor(noise=noise, device="cpu").fit(tokens, y, image_index=image)


@pytest.mark.parametrize("name", WRONG_OF_REGRESSOR)
def test_a_wrong_parameter_of_the_regressor_is_named(name, data, never_fitted):
    tokens, y, image = data
    for value in WRONG_OF_REGRESSOR[name]:
        with pytest.raises(ValueError, match=name):
            DiffusionRegressor(**{**SMALL, name: value}).fit(tokens, y, image_index=image)


def test_no_parameter_is_forgotten():
    assert set(WRONG) == set(Denoiser().get_params())
    assert set(WRONG_OF_REGRESSOR) | {"verbose"} == set(DiffusionRegressor().get_params(deep=False))


def test_wrong_options_of_sample_are_named_without_a_denoiser_too(data):
    tokens, y, image = data
    model = DiffusionRegressor(**SMALL).fit(tokens, y, image_index=image)
    for value in (-1, 5, np.nan, "x", None, True):
        with pytest.raises(ValueError, match="eta"):
            model.sample(tokens, eta=value, solver="ddim")
    with pytest.raises(ValueError, match="deterministic"):
        model.sample(tokens, eta=0.5, solver="dpm")
    for value in (0, 10**6, 2.5, True):
        with pytest.raises(ValueError, match="n_steps"):
            model.sample(tokens, n_steps=value)


@pytest.mark.parametrize("how", ["shape", "late", "interrupted"])
def test_a_fit_that_fails_leaves_the_earlier_one(data, how, monkeypatch):
    tokens, y, image = data
    model = DiffusionRegressor(**SMALL).fit(tokens, y, image_index=image)
    before = dict(vars(model))
    expected = model.predict(tokens), model.sample(tokens, 2, random_state=0, guidance_scale=2)
    if how == "shape":
        error = ValueError
    else:
        error = KeyboardInterrupt if how == "interrupted" else RuntimeError

        def fails(*args, **kwargs):
            raise error

        place = "mne_img2brain.noise.subject_noise.SubjectNoise.fit"
        monkeypatch.setattr(place, fails)
    with pytest.raises(error):
        model.fit(tokens[:, :, :4], 2 * y[:50], image_index=image if how == "shape" else image[:50])
    monkeypatch.undo()
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is value for name, value in before.items())
    assert_array_equal(model.predict(tokens), expected[0])
    assert_array_equal(model.sample(tokens, 2, random_state=0, guidance_scale=2), expected[1])


def test_adapting_that_fails_changes_nothing(data):
    tokens, y, image = data
    model = DiffusionRegressor(**SMALL)
    model.fit(tokens, y, image_index=image, subjects=np.zeros(len(y), int))
    before = dict(vars(model))
    for wrong in (tokens[:, :, :4], tokens[:, 0, :4], np.full_like(tokens, np.inf)):
        with pytest.raises(ValueError, match="features|infinity"):
            model.adapt(wrong, y, image_index=image)
    assert all(vars(model)[name] is value for name, value in before.items())
    assert model.n_features_in_ == 5
    assert len(model.mean_.parts_) == 1


def test_folds_images_and_seed_reach_the_mean(data, monkeypatch):
    tokens, y, image = data
    seen = []
    regress = KernelMeanRegressor.regress

    def spy(self, *args, **kwargs):
        seen.append(self.get_params())
        return regress(self, *args, **kwargs)

    monkeypatch.setattr(KernelMeanRegressor, "regress", spy)
    model = DiffusionRegressor(**SMALL, n_folds=3, min_images=7).fit(tokens, y, image_index=image)
    model.set_params(random_state=1).fit(tokens, y, image_index=image)
    model.set_params(random_state=0).fit(tokens, y, image_index=image)
    assert {params["n_folds"] for params in seen} == {3}
    assert {params["min_images"] for params in seen} == {7}
    n = len(seen) // 3
    seeds = [[params["random_state"] for params in seen[i * n : (i + 1) * n]] for i in range(3)]
    assert seeds[0] == seeds[2] != seeds[1]


def test_six_images_are_held_out_as_images_where_that_is_asked_for():
    """With min_images=6 no fold parts an image, in the mean either."""
    rng = np.random.default_rng(0)
    image = np.repeat(np.arange(6), 20)
    tokens, y = rng.standard_normal((6, 1, 4)), rng.standard_normal((120, 2, 6))
    model = DiffusionRegressor(**SMALL, min_images=6, n_folds=3).fit(tokens, y, image_index=image)
    folds = model.mean_.shared_.n_folds, model.mean_.shared_.min_images
    assert folds == (3, 6)


@pytest.mark.parametrize("seed", range(3))
def test_guidance_starts_from_the_average_of_those_who_have_a_sensor(seed):
    """A sensor that half of the trials lack: twice the guidance is not twice the response."""
    rng = np.random.default_rng(seed)
    tokens, image = rng.standard_normal((30, 1, 3)), np.repeat(np.arange(30), 4)
    y = 5 + 0.5 * rng.standard_normal((120, 2, 6))
    mask = np.ones((120, 2), bool)
    mask[::2, 1] = False
    weight = rng.integers(1, 4, 120)
    model = DiffusionRegressor(Ridge(1e3), **SMALL).fit(
        tokens, np.where(mask[:, :, None], y, np.nan), image_index=image, y_mask=mask,
        sample_weight=weight,
    )  # fmt: skip
    keep = mask[:, 1]
    expected = np.average(y[keep, 1], axis=0, weights=weight[keep])
    assert_allclose(model.average_response_[1], expected, rtol=1e-12)
    drawn = model.sample(tokens, 20, random_state=0, guidance_scale=2)
    assert_allclose(drawn.mean(axis=(0, 1)), 5, atol=0.2)


def test_a_search_over_arrays_scores_sensors_and_times(data):
    tokens, y, image = data
    search = GridSearchCV(
        DiffusionRegressor(**SMALL), {"n_folds": [3, 5]}, cv=2, error_score="raise"
    ).fit(tokens[image], y)
    assert search.best_estimator_.target_shape_ == (3, 8)
    assert np.isfinite(search.best_score_)
