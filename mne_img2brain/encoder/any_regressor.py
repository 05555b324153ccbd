"""Any regressor, called with tokens and responses in three dimensions."""

import inspect
import os
from collections.abc import Iterator
from numbers import Integral
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn import config_context
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.model_selection import GroupKFold
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from .._files import as_path, try_folder
from .._types import PathLike, Regressor
from ..mean import FewImagesRegressor, KernelMeanRegressor
from ..regressor import DiffusionRegressor
from ..trials.pooling import pool_tokens
from ..trials.splits import merge_groups


class SensorsAndTimes(RegressorMixin, MetaEstimatorMixin, BaseEstimator):
    """A regressor of ours inside scikit-learn's meta-estimators, which know tables only.

    Responses come flattened and are brought to (n_channels, n_times) again. Parameters of the
    regressor are reached as if it stood here itself.
    """

    def __init__(self, regressor: Regressor, shape: tuple[int, int], regions: np.ndarray) -> None:
        self.regressor = regressor
        self.shape = shape
        self.regions = regions

    def get_params(self, deep: bool = True) -> dict:
        """Return the parameters, with ``deep`` those of the regressor too."""
        inner = self.regressor.get_params() if deep else {}
        return inner | super().get_params(deep)

    def set_params(self, **params: Any) -> Self:
        """Set parameters, of the regressor where it is not one of this class."""
        names = set(super().get_params())
        super().set_params(**{name: params[name] for name in params if name in names})
        self.regressor.set_params(**{name: params[name] for name in params if name not in names})
        return self

    def fit(
        self,
        X: np.ndarray,
        y: np.ndarray,
        trial_weight: np.ndarray | None = None,
        trial_groups: np.ndarray | None = None,
    ) -> Self:
        """Fit the regressor; sensors and times are lost where a transformer has changed y."""
        whole = y.shape[1:] == (np.prod(self.shape),)
        self.regressor_ = _fit_shaped(
            clone(self.regressor), X, y.reshape(-1, *self.shape) if whole else y,
            sample_weight=trial_weight, groups=trial_groups,
            regions=self.regions if whole else None,
        )  # fmt: skip
        self.n_features_in_ = X.shape[-1]
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predict flattened responses: array, shape (n_images, n_channels * n_times)."""
        return np.reshape(self.regressor_.predict(X), (len(X), -1))


def _takes_arrays(regressor: Regressor) -> bool:
    """Tell whether a regressor takes tokens and (n_channels, n_times), as ours do."""
    ours = (KernelMeanRegressor, FewImagesRegressor, SensorsAndTimes)
    return isinstance(regressor, ours) or has_fit_parameter(regressor, "regions")


class _Inner(NamedTuple):
    """What is inside of meta-estimators: its name there, and where parameters of fit are sent."""

    regressor: Regressor
    name: str
    prefix: str
    reads_table: bool  # transformers come before it
    search: Any
    search_prefix: str


def layers(regressor: Regressor | None, fitted: bool = False) -> Iterator[Any]:
    """Yield a regressor and those inside of meta-estimators, as given or as fit has made them."""
    while True:
        yield regressor
        if isinstance(regressor, Pipeline):
            regressor = regressor.steps[-1][1]
        elif isinstance(regressor, BaseSearchCV):
            regressor = regressor.best_estimator_ if fitted else regressor.estimator
        elif isinstance(regressor, (TransformedTargetRegressor, SensorsAndTimes)):
            regressor = regressor.regressor_ if fitted else regressor.regressor
        else:
            return


def _look_inside(regressor: Regressor) -> _Inner:
    """Find the regressor inside of meta-estimators, and how parameters get there."""
    name = prefix = search_prefix = ""
    reads_table, search = False, None
    for layer in layers(regressor):
        if isinstance(layer, Pipeline):
            step = f"{layer.steps[-1][0]}__"
            reads_table |= any(t not in (None, "passthrough") for _, t in layer.steps[:-1])
            name, prefix = name + step, prefix + step
        elif isinstance(layer, TransformedTargetRegressor):
            name += "regressor__"
        elif isinstance(layer, BaseSearchCV):
            name, search, search_prefix = f"{name}estimator__", layer, prefix
    return _Inner(layer, name, prefix, reads_table, search, search_prefix)


def can_sample(regressor: Regressor | None) -> bool:
    """Tell whether a regressor draws single trials, also inside of a pipeline or a search."""
    *outer, inner = layers(regressor)
    # draws are not transformed back
    transformed = any(isinstance(layer, TransformedTargetRegressor) for layer in outer)
    return regressor is None or (hasattr(inner, "sample") and not transformed)


def tells_subjects(regressor: Regressor | None) -> bool:
    """Tell whether a regressor takes subjects; None is DiffusionRegressor."""
    return regressor is None or has_fit_parameter(regressor, "subjects")


def _fit_shaped(regressor: Regressor, tokens: np.ndarray, y: np.ndarray, **given: Any) -> Any:
    """Fit a regressor of ours with as much as it wants to know."""
    known = inspect.signature(regressor.fit).parameters
    if "image_index" not in known and "image_index" in given:
        tokens = tokens[given["image_index"]]
    return regressor.fit(tokens, y, **{name: given[name] for name in given if name in known})


def _fit_inside(
    regressor: Regressor, inner: _Inner, tokens: np.ndarray, image_index: np.ndarray,
    y: np.ndarray, sample_weight: np.ndarray, groups: np.ndarray | None, regions: np.ndarray,
) -> Any:  # fmt: skip
    """Fit one of ours inside of meta-estimators; a search parts images, not trials of them."""
    shaped = SensorsAndTimes(inner.regressor, y.shape[1:], regions)
    regressor.set_params(**{inner.name.removesuffix("__"): shaped})
    given = {"trial_weight": sample_weight, "trial_groups": groups}
    given = {f"{inner.prefix}{name}": value for name, value in given.items()}
    if inner.search is not None:
        together = merge_groups(image_index, groups)
        if inner.search.cv is None or isinstance(inner.search.cv, Integral):
            n_folds = min(int(inner.search.cv or 5), len(np.unique(together)))
            inner.search.set_params(cv=GroupKFold(n_folds))
        given[f"{inner.search_prefix}groups"] = together
    table = _table(tokens) if inner.reads_table else tokens
    with config_context(enable_metadata_routing=False):
        return regressor.fit(table[image_index], y.reshape(len(y), -1), **given)


def _table(tokens: np.ndarray, n_features: int | None = None) -> np.ndarray:
    """Pool tokens for regressors that read a table.

    Padding in fit means captions, whose last token is then taken too; what was fitted shows in
    its number of features.
    """
    if tokens.ndim == 2:
        return pool_tokens(tokens)
    if n_features is None:
        last = bool(np.isnan(np.asarray(tokens[..., 0])).any())
    else:
        last = n_features == 3 * tokens.shape[-1]
    return pool_tokens(tokens, last=last)


def check_memory(n_values: int) -> None:
    """Raise where draws and a copy of them are more than the machine's memory."""
    names = getattr(os, "sysconf_names", ())  # not on Windows
    if "SC_PHYS_PAGES" in names and "SC_PAGE_SIZE" in names:
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if 16 * n_values > there > 0:
            raise MemoryError(
                f"The draws take {16 * n_values / 2**30:.0f} GiB and this machine has "
                f"{there / 2**30:.0f}; draw less at a time, or to disk with write_generated."
            )


def check_part(name: str, part: object, method: str, expected: str) -> None:
    """Raise a TypeError, that says what is expected, unless an object has a method."""
    if isinstance(part, type) or not hasattr(part, method):
        kind = (
            f"the class {part.__name__}" if isinstance(part, type) else f"a {type(part).__name__}"
        )
        raise TypeError(f"{name} is {kind}; give {expected}.")


def clone_and_fit(
    regressor: Regressor | None, tokens: np.ndarray, image_index: np.ndarray, y: np.ndarray,
    *, sample_weight: np.ndarray, groups: np.ndarray | None, regions: np.ndarray,
    subjects: np.ndarray | None, y_mask: np.ndarray | None,
    checkpoint: PathLike | None = None,
) -> Any:  # fmt: skip
    """Clone a regressor and fit it."""
    regressor = DiffusionRegressor() if regressor is None else clone(regressor)
    given: dict = {"sample_weight": sample_weight, "groups": groups, "regions": regions}
    if checkpoint is not None:
        if not has_fit_parameter(regressor, "checkpoint"):
            raise ValueError(
                f"checkpoint={str(checkpoint)!r}, but a {type(regressor).__name__} has no training "
                "that could be kept; leave it out."
            )
        given["checkpoint"] = as_path(checkpoint, "checkpoint")
        try_folder(given["checkpoint"])
    if tells_subjects(regressor):
        given |= {"subjects": subjects, "y_mask": y_mask, "image_index": image_index}
        return _fit_shaped(regressor, tokens, y, **given)
    if y_mask is not None and not np.all(y_mask):
        raise ValueError(
            f"Sensors differ between subjects, which {type(regressor).__name__} cannot learn from; "
            "pick the sensors they share, or use DiffusionRegressor."
        )
    if subjects is not None:
        raise ValueError(
            f"There are {subjects.max() + 1} subjects, which {type(regressor).__name__} cannot "
            "tell apart; fit one encoder a subject, or use DiffusionRegressor."
        )
    if _takes_arrays(regressor):
        return _fit_shaped(regressor, tokens, y, image_index=image_index, **given)
    inner = _look_inside(regressor)
    if _takes_arrays(inner.regressor):
        return _fit_inside(regressor, inner, tokens, image_index, y, sample_weight, groups, regions)
    even = np.all(sample_weight == sample_weight[0])
    arguments: dict = {}
    if not even and has_fit_parameter(regressor, "sample_weight"):
        arguments["sample_weight"] = sample_weight
    return regressor.fit(_table(tokens)[image_index], y.reshape(len(y), -1), **arguments)


def predict_regressor(
    regressor: Any, tokens: np.ndarray, shape: tuple[int, int], subjects: np.ndarray | None = None
) -> np.ndarray:
    """Predict the expected response, shape (n_images, n_channels, n_times)."""
    inner = _look_inside(regressor)
    if "subjects" in inspect.signature(regressor.predict).parameters:
        expected = regressor.predict(tokens, subjects=subjects)
    elif _takes_arrays(inner.regressor) and not inner.reads_table:
        expected = regressor.predict(tokens)
    else:
        expected = regressor.predict(_table(tokens, regressor.n_features_in_))
    return np.asarray(expected, dtype=float).reshape(len(tokens), *shape)


def sample_regressor(
    regressor: Any, tokens: np.ndarray, shape: tuple[int, int], *, n_draws: int,
    subjects: np.ndarray | None = None, **parameters: Any,
) -> np.ndarray:  # fmt: skip
    """Draw trials, (n_images, n_draws, n_channels, n_times), with parameters that it knows."""
    if _look_inside(regressor).reads_table:
        tokens = _table(tokens, regressor.n_features_in_)
    for layer in layers(regressor, fitted=True):
        for _, step in layer.steps[:-1] if isinstance(layer, Pipeline) else ():
            tokens = tokens if step in (None, "passthrough") else step.transform(tokens)
    innermost: Any = layer
    known = inspect.signature(innermost.sample).parameters
    asked = inspect.signature(DiffusionRegressor.sample).parameters
    if "subjects" in known:
        parameters["subjects"] = subjects
    for name in set(parameters) - set(known):
        if parameters[name] != asked[name].default:
            raise ValueError(
                f"{name}={parameters[name]!r}: the draws of {type(innermost).__name__} do not know "
                f"{name}; leave it at {asked[name].default}."
            )
        del parameters[name]
    drawn = innermost.sample(tokens, n_draws, **parameters)
    return np.asarray(drawn, dtype=float).reshape(len(tokens), n_draws, *shape)
