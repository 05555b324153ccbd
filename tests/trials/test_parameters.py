"""Constructor parameters of every estimator, and fits that fail."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV

from mne_img2brain import ClipEmbedder, GaborEmbedder
from mne_img2brain._parameters import Integer, Number, all_or_nothing, check_parameters
from mne_img2brain.baselines import MeanResponse, NearestNeighbor, RidgeBaseline, RidgeGaussian
from mne_img2brain.evaluation import TrialConvNet
from mne_img2brain.mean import FewImagesRegressor, KernelMeanRegressor
from mne_img2brain.metrics import TrialFeatures

NO_COUNT = (0, -1, 2.5, np.nan, np.inf, "4", None, True)
NO_NUMBER = (np.nan, np.inf, -1, "x", None, True, 1j)
WRONG = [
    (KernelMeanRegressor(), "kernel", ("ridge", None, 3, np.nan)),
    (KernelMeanRegressor(), "penalty", (0, "none", *NO_NUMBER)),
    (KernelMeanRegressor(), "n_components", NO_COUNT[1:]),
    (KernelMeanRegressor(), "n_folds", (1, *NO_COUNT)),
    (KernelMeanRegressor(), "n_landmarks", NO_COUNT),
    (KernelMeanRegressor(), "min_images", NO_COUNT),
    (KernelMeanRegressor(), "standardize", ("yes", None, 1)),
    (KernelMeanRegressor(), "random_state", ("x", -1, 1.5)),
    (NearestNeighbor(), "n_neighbors", NO_COUNT),
    (NearestNeighbor(), "metric", ("taxi", None, 1)),
    *(
        (estimator, name, values)
        for estimator in (RidgeBaseline(), RidgeGaussian())
        for name, values in {
            "alphas": ((), (-1.0,), (0.0, 1.0), (np.nan,), ("a",), None, ((1.0, 2.0),)),
            "tokens": ("cls", None, 1),
            "per_target": ("no", None, 0),
            "solver": ("lapack", None),
            "min_images": (1, *NO_COUNT),
            "n_folds": (1, *NO_COUNT),
        }.items()
    ),
    (TrialFeatures(), "n_bins", NO_COUNT),
    (TrialFeatures(), "n_components", NO_COUNT),
    (TrialFeatures(), "shrinkage", (2, *NO_NUMBER)),
    (TrialConvNet(), "n_filters", NO_COUNT),
    (TrialConvNet(), "filter_length", NO_COUNT),
    (TrialConvNet(), "n_passes", NO_COUNT),
    (TrialConvNet(), "batch_size", NO_COUNT),
    (TrialConvNet(), "learning_rate", (0, 1e10, *NO_NUMBER)),
    (TrialConvNet(), "device", ("gpu", 1j)),
    (TrialConvNet(), "random_state", (-1, 1.5, "x", None)),
    (GaborEmbedder(), "size", (7, 10**9, *NO_COUNT)),
    (GaborEmbedder(), "n_scales", (10**9, *NO_COUNT)),
    (GaborEmbedder(), "n_orientations", (10**9, *NO_COUNT)),
    (GaborEmbedder(), "grid", (10**9, *NO_COUNT)),
    (GaborEmbedder(), "n_jobs", (0, 2.5, np.nan, "4", True)),
    (ClipEmbedder(), "model", (None, 3, "ViT-X")),
    (ClipEmbedder(), "pretrained", (3, "mine")),
    (ClipEmbedder(), "captioner", (3, ["a"])),
    (ClipEmbedder(), "prompt", (None, 3)),
    (ClipEmbedder(), "max_new_tokens", NO_COUNT),
    (ClipEmbedder(), "batch_size", NO_COUNT),
    (ClipEmbedder(), "device", ("gpu", "abacus", 1j)),
    (ClipEmbedder(), "cache_dir", (3, True)),
    (ClipEmbedder(), "n_jobs", (0, 2.5, np.nan, "4", True)),
]
REGRESSORS = (
    KernelMeanRegressor(), FewImagesRegressor(), MeanResponse(), NearestNeighbor(),
    RidgeBaseline(), RidgeGaussian(),
)  # fmt: skip


@pytest.mark.parametrize(
    ("estimator", "name", "values"), WRONG, ids=lambda v: v if isinstance(v, str) else ""
)
def test_a_wrong_parameter_is_named_in_fit(estimator, name, values, rng):
    x, y = rng.standard_normal((20, 4)), rng.standard_normal((20, 2, 3))
    given = (None,) if isinstance(estimator, (GaborEmbedder, ClipEmbedder)) else (x, y)
    if isinstance(estimator, (TrialFeatures, TrialConvNet)):
        given = y, np.arange(20) % 2
    for value in values:
        wrong = clone(estimator).set_params(**{name: value})
        with pytest.raises((ValueError, TypeError), match=f"(?i){name}|seed"):
            wrong.fit(*given)


def test_no_constructor_parameter_is_forgotten():
    """Each parameter of each estimator stands in the table above."""
    listed = {}
    for estimator, name, _ in WRONG:
        listed.setdefault(type(estimator), set()).add(name)
    others = GaborEmbedder(), ClipEmbedder(), TrialFeatures(), TrialConvNet()
    for estimator in (*REGRESSORS, *others):
        assert set(estimator.get_params()) == listed.get(type(estimator), set()), estimator


def test_what_a_parameter_may_be():
    class Any:
        pass

    estimator = Any()
    fits = [
        (3, Integer(3)), (np.int32(3), Integer(0, 3)), (0.0, Number(0)), (1, Number(0, 1)),
        (np.float32(0.5), Number(0, 1, closed="neither")), (None, (str, None)),
        ("a", ("a", "b")), (np.True_, bool), ("x", str),
    ]  # fmt: skip
    for estimator.p, allowed in fits:
        check_parameters(estimator, p=allowed)
    for estimator.p, allowed, message in [
        (2, Integer(3), "p=2; give an integer >= 3."),
        (4, Integer(0, 3), "give an integer from 0 to 3."),
        (True, Integer(0), "p=True"),
        (0, Number(0, closed="high"), "p=0; give a number > 0."),
        (1.0, Number(0, 1, closed="low"), "give a number >= 0 and < 1."),
        (-np.inf, (Number(-5), None), "give a number >= -5 or None."),
        ("c", ("a", "b"), "p='c'; give 'a' or 'b'."),
        (1, bool, "p=1; give True or False."),
        (["long"] * 100, str, r"\.\.\.; give a string."),
    ]:
        with pytest.raises(ValueError, match=message):
            check_parameters(estimator, p=allowed)


@pytest.mark.filterwarnings("ignore:There are .* distinct images:RuntimeWarning")
@pytest.mark.parametrize("how", ["shape", "late", "interrupted"])
@pytest.mark.parametrize("regressor", REGRESSORS, ids=lambda r: type(r).__name__)
def test_a_fit_that_fails_leaves_the_earlier_one(regressor, how, rng, monkeypatch):
    x, y = rng.standard_normal((24, 3, 6)), rng.standard_normal((24, 2, 5))
    x = np.repeat(x[:12], 2, axis=0)
    model = clone(regressor).fit(x, y)
    before, expected = dict(vars(model)), model.predict(x)
    new_x, new_y = x[:, :, :5], y[:, :1]
    if how == "shape":
        with pytest.raises((ValueError, IndexError)):
            model.fit(new_x, new_y[:7])
    else:
        error = KeyboardInterrupt if how == "interrupted" else ValueError

        def fails(*args, **kwargs):
            raise error

        for place in (
            "mean.kernel_mean.mix_left_out", "mean.few_images.linalg.solve",
            "baselines.neighbors.averages", "baselines.ridge.averages",
        ):  # fmt: skip
            monkeypatch.setattr(f"mne_img2brain.{place}", fails)
        with pytest.raises(error):
            model.fit(new_x, new_y)
        monkeypatch.undo()
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is value for name, value in before.items())
    assert_array_equal(model.predict(x), expected)
    # and a fit that does not fail is that of a new estimator, also where words follow images
    new_x = np.pad(new_x, ((0, 0), (0, 1), (0, 0)), constant_values=np.nan)
    assert_array_equal(
        model.fit(new_x, new_y).predict(new_x),
        clone(regressor).fit(new_x, new_y).predict(new_x),
    )


@pytest.mark.parametrize("regressor", REGRESSORS, ids=lambda r: type(r).__name__)
def test_responses_are_scored_by_sensor_and_time(regressor, rng):
    """R2, mean over targets, as of the flat table; so that searches choose on arrays."""
    x = rng.standard_normal((40, 3))
    y = np.tensordot(x, rng.standard_normal((3, 2, 4)), 1) + 0.1 * rng.standard_normal((40, 2, 4))
    model = clone(regressor).fit(x, y)
    weight = rng.integers(1, 4, 40)
    expected = r2_score(y.reshape(40, -1), model.predict(x).reshape(40, -1), sample_weight=weight)
    assert model.score(x, y, weight) == pytest.approx(expected)
    if "n_folds" in model.get_params():
        search = GridSearchCV(model, {"n_folds": [2, 5]}, error_score="raise").fit(x, y)
        assert search.best_score_ > 0.5
        assert search.predict(x).shape == y.shape


def test_fits_are_forgotten():
    class Moody:
        def __init__(self):
            self.parameter = 1

        @all_or_nothing
        def fit(self, word):
            """Fit."""
            setattr(self, f"{word}_", word)
            return self

    moody = Moody().fit("first").fit("second")
    assert vars(moody) == {"parameter": 1, "second_": "second"}
    assert Moody.fit.__doc__ == "Fit."
