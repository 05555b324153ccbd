"""Any regressor, called with tokens and responses in three dimensions."""

import inspect
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import has_fit_parameter

from ..trials.pooling import pool_tokens


def _takes_arrays(regressor: Any) -> bool:
    """Tell whether a regressor takes tokens and (n_channels, n_times), as ours do."""
    return has_fit_parameter(regressor, "regions")


def _table(tokens: np.ndarray, n_features: int | None = None) -> np.ndarray:
    """Pool tokens for regressors that read a table.

    Padding in fit means captions, whose last token is then taken too; what was fitted is told from
    its number of features.
    """
    if tokens.ndim == 2:
        return pool_tokens(tokens)
    if n_features is None:
        last = bool(np.isnan(np.asarray(tokens[..., 0])).any())
    else:
        last = n_features == 3 * tokens.shape[-1]
    return pool_tokens(tokens, last=last)


def fit_regressor(
    regressor: Any,
    tokens: np.ndarray,
    image_index: np.ndarray,
    y: np.ndarray,
    *,
    sample_weight: np.ndarray,
    groups: np.ndarray | None,
    regions: np.ndarray,
    subjects: np.ndarray | None,
    y_mask: Any,
) -> Any:
    """Clone a regressor and fit it.

    Parameters
    ----------
    regressor : regressor | None
        ``None`` is :class:`~mne_img2brain.DiffusionRegressor`.
    tokens : array, shape (n_images, ...)
        The images.
    image_index : array of int, shape (n_trials,)
        The image of each trial.
    y : array, shape (n_trials, n_channels, n_times)
        Responses.
    sample_weight, groups, regions, subjects, y_mask : array | None
        As in :meth:`mne_img2brain.DiffusionRegressor.fit`.

    Returns
    -------
    regressor
        Fitted.
    """
    if regressor is None:
        from ..regressor import DiffusionRegressor

        regressor = DiffusionRegressor()
    regressor = clone(regressor)
    given = {"sample_weight": sample_weight, "groups": groups}
    if _takes_arrays(regressor):
        given |= {"regions": regions, "subjects": subjects, "y_mask": y_mask}
        if "image_index" in inspect.signature(regressor.fit).parameters:
            return regressor.fit(tokens, y, image_index=image_index, **given)
        return regressor.fit(tokens[image_index], y, **given)
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
    even = np.all(sample_weight == sample_weight[0])
    arguments = {}
    if not even and has_fit_parameter(regressor, "sample_weight"):
        arguments["sample_weight"] = sample_weight
    return regressor.fit(_table(tokens)[image_index], y.reshape(len(y), -1), **arguments)


def predict_regressor(
    regressor: Any, tokens: np.ndarray, shape: tuple[int, int], subjects: np.ndarray | None = None
) -> np.ndarray:
    """Predict the expected response.

    Parameters
    ----------
    regressor : regressor
        Fitted by :func:`fit_regressor`.
    tokens : array, shape (n_images, ...)
        The images.
    shape : tuple
        (n_channels, n_times)
    subjects : array of int, shape (n_images,) | None
        Whose response.

    Returns
    -------
    array, shape (n_images, n_channels, n_times)
    """
    if _takes_arrays(regressor):
        expected = regressor.predict(tokens, subjects=subjects)
    else:
        expected = regressor.predict(_table(tokens, regressor.n_features_in_))
    return np.asarray(expected, dtype=float).reshape(len(tokens), *shape)


def sample_regressor(
    regressor: Any,
    tokens: np.ndarray,
    shape: tuple[int, int],
    *,
    n_draws: int,
    subjects: np.ndarray | None = None,
    **parameters: Any,
) -> np.ndarray:
    """Draw single trials.

    Parameters
    ----------
    regressor : regressor
        Fitted by :func:`fit_regressor`, with a method ``sample``.
    tokens : array, shape (n_images, ...)
        The images.
    shape : tuple
        (n_channels, n_times)
    n_draws : int
        Draws of each image.
    subjects : array of int, shape (n_images,) | None
        Whose response.
    **parameters
        Passed on where the regressor knows them.

    Returns
    -------
    array, shape (n_images, n_draws, n_channels, n_times)

    Raises
    ------
    ValueError
        If a parameter other than the default is given that the regressor does not know.
    """
    known = inspect.signature(regressor.sample).parameters
    defaults = {"guidance_scale": 1.0, "n_averaged": 1, "random_state": None}
    if "subjects" in known:
        parameters["subjects"] = subjects
    for name in set(parameters) - set(known):
        if parameters[name] != defaults[name]:
            raise ValueError(
                f"{name}={parameters[name]!r}: the draws of {type(regressor).__name__} do not know "
                f"{name}; leave it at {defaults[name]}."
            )
        del parameters[name]
    drawn = regressor.sample(tokens, n_draws, **parameters)
    return np.asarray(drawn, dtype=float).reshape(len(tokens), n_draws, *shape)
