"""Regressors inside of scikit-learn's meta-estimators: sensors and times stay apart."""

import pickle

import mne
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from mne_img2brain import DiffusionRegressor, ImageToBrainEncoder, read_encoder
from mne_img2brain.baselines import NearestNeighbor, RidgeGaussian
from mne_img2brain.encoder.any_regressor import clone_and_fit, predict_regressor
from mne_img2brain.mean import FewImagesRegressor, KernelMeanRegressor

SHAPE = (4, 10)
OURS = DiffusionRegressor(max_iter=0, device="cpu", random_state=0)


@pytest.fixture
def world(rng):
    """Tokens of 40 images, two trials of each, linear responses."""
    tokens = rng.standard_normal((40, 3, 5))
    truth = np.tensordot(tokens[:, 0], rng.standard_normal((5, *SHAPE)), 1)
    image = np.repeat(np.arange(40), 2)
    y = truth[image] + 0.3 * rng.standard_normal((80, *SHAPE))
    return tokens, image, y, truth


def fit(regressor, tokens, image, y, **given):
    given = {"sample_weight": np.ones(len(y)), "groups": None, "subjects": None, **given}
    return clone_and_fit(
        regressor, tokens, image, y, regions=np.array([0, 0, 1, 1]),
        y_mask=given.pop("y_mask", None), **given,
    )  # fmt: skip


def inside(regressor):
    """Return the fitted regressor of ours."""
    for name in ("best_estimator_", "regressor_"):
        if hasattr(regressor, name):
            return inside(getattr(regressor, name))
    return inside(regressor[-1]) if hasattr(regressor, "steps") else regressor


@pytest.mark.parametrize(
    "wrap",
    [
        lambda ours: make_pipeline(StandardScaler(), ours),
        lambda ours: make_pipeline("passthrough", ours),
        lambda ours: TransformedTargetRegressor(ours, transformer=StandardScaler()),
        lambda ours: GridSearchCV(ours, {"n_folds": [3, 5]}, cv=2),
        lambda ours: GridSearchCV(
            make_pipeline(PCA(4), ours), {"diffusionregressor__n_folds": [3]}, cv=2
        ),
        lambda ours: make_pipeline(StandardScaler(), GridSearchCV(ours, {"n_folds": [3]}, cv=2)),
        lambda ours: TransformedTargetRegressor(
            make_pipeline(StandardScaler(), ours), func=np.negative, inverse_func=np.negative
        ),
    ],
)
def test_sensors_and_times_stay_apart(wrap, world):
    tokens, image, y, truth = world
    model = fit(wrap(OURS), tokens, image, y)
    ours = inside(model)
    assert isinstance(ours, DiffusionRegressor)
    assert ours.target_shape_ == SHAPE
    predicted = predict_regressor(model, tokens, SHAPE)
    assert predicted.shape == truth.shape
    assert np.corrcoef(predicted.ravel(), truth.ravel())[0, 1] > 0.9
    assert_array_equal(
        predict_regressor(pickle.loads(pickle.dumps(model)), tokens, SHAPE), predicted
    )


def test_a_search_that_changes_nothing_is_the_regressor_itself(world):
    tokens, image, y, _ = world
    weight = np.tile([1.0, 3.0], 40)
    groups = np.repeat(np.arange(20), 4)
    given = {"sample_weight": weight, "groups": groups}
    alone = fit(OURS, tokens, image, y, **given)
    search = fit(GridSearchCV(OURS, {"n_folds": [5]}, cv=2), tokens, image, y, **given)
    # responses of trials are in canonical order before anything is drawn
    assert_allclose(
        predict_regressor(search, tokens, SHAPE), predict_regressor(alone, tokens, SHAPE), rtol=1e-6
    )
    assert isinstance(
        search.cv, GroupKFold
    )  # trials of an image, and images of a group, go together
    assert inside(search).mean_.shared_.cv_score_ == alone.mean_.shared_.cv_score_


@pytest.mark.parametrize("fitted", [False, True])
def test_what_is_inside_gets_weights_and_groups(fitted, world):
    """Also where it is fitted again: a read encoder holds what was fitted."""
    tokens, image, y, _ = world
    given = {"sample_weight": np.tile([1.0, 3.0], 40), "groups": np.repeat(np.arange(20), 4)}
    alone = fit(RidgeGaussian(min_images=2), tokens, image, y, **given)
    model = make_pipeline("passthrough", RidgeGaussian(min_images=2))
    if fitted:
        model = fit(model, tokens, image, y)
    model = fit(model, tokens, image, y, **given)
    expected = predict_regressor(alone, tokens, SHAPE)
    assert_allclose(predict_regressor(model, tokens, SHAPE), expected)


def test_parameters_are_reached_by_their_own_names(world):
    tokens, image, y, _ = world
    search = GridSearchCV(NearestNeighbor(), {"n_neighbors": [1, 15]}, cv=4)
    model = fit(search, tokens, image, y)
    assert model.best_params_ == {"n_neighbors": inside(model).n_neighbors}
    assert search.estimator.get_params() == NearestNeighbor().get_params()  # not changed


def test_responses_of_another_size_are_a_table(world):
    """Components of responses have no sensors and times."""
    tokens, image, y, truth = world
    components = TransformedTargetRegressor(
        KernelMeanRegressor(), transformer=PCA(6), check_inverse=False
    )
    model = fit(components, tokens, image, y)
    assert inside(model).response_shape_ == (6,)
    predicted = predict_regressor(model, tokens, SHAPE)
    assert np.corrcoef(predicted.ravel(), truth.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("regressor", [KernelMeanRegressor(), FewImagesRegressor()])
def test_mean_regressors_see_sensors_and_times(regressor, world):
    tokens, image, y, _ = world
    model = fit(regressor, tokens, image, y)
    expected = clone(regressor).fit(tokens[image], y).predict(tokens)
    assert_allclose(predict_regressor(model, tokens, SHAPE), expected, rtol=1e-6)
    with pytest.raises(ValueError, match="cannot tell apart"):
        fit(regressor, tokens, image, y, subjects=np.tile([0, 1], 40))


def test_epochs_and_draws_of_a_search(world, tmp_path):
    tokens, image, y, truth = world
    info = mne.create_info(["Fz", "Cz", "Pz", "Oz"], 100.0, "eeg").set_montage("easycap-M1")
    epochs = mne.EpochsArray(1e-6 * y, info, verbose="error")
    ridge = RidgeGaussian(min_images=2)
    wrapped = make_pipeline(FunctionTransformer(), StandardScaler(), ridge)
    for regressor in (wrapped, GridSearchCV(ridge, {"tokens": ["pooled", "first"]}, cv=2)):
        encoder = ImageToBrainEncoder(regressor=regressor)
        encoder.fit(tokens, epochs, image_ids=image)
        draws = encoder.sample(tokens[:3], 50, random_state=0).get_data()
        mean = draws.reshape(3, 50, *SHAPE).mean(axis=1)
        assert_allclose(mean, encoder.predict(tokens[:3]).get_data(), atol=0.3e-6)
        sd = draws.reshape(3, 50, *SHAPE).std(axis=1).mean()
        assert 0.2e-6 < sd < 0.5e-6
    search = TransformedTargetRegressor(ridge, transformer=StandardScaler())
    assert not hasattr(ImageToBrainEncoder(regressor=search), "sample")
    saved = ImageToBrainEncoder(regressor=make_pipeline(StandardScaler(), ridge))
    saved.fit(tokens, epochs, image_ids=image).save(tmp_path / "saved")
    back = read_encoder(tmp_path / "saved")
    assert_array_equal(back.predict(tokens).get_data(), saved.predict(tokens).get_data())
