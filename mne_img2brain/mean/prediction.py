"""What fitted kernel regressors predict, and what of them is saved for that."""

from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .kernels import KernelMap, Views

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .kernel_mean import KernelMeanRegressor

_BATCH = 512  # images looked at at a time


def predict_together(regressors: list["KernelMeanRegressor"], X: "ArrayLike") -> list[np.ndarray]:
    """Predict with several regressors; what they share of kernels is computed once."""
    for regressor in regressors:
        check_is_fitted(regressor, "coef_")
        tokens = regressor._check_tokens(X, fitted=True)
    predicted = [np.empty((len(tokens), len(regressor.mean_))) for regressor in regressors]
    for start in range(0, len(tokens), _BATCH):
        some, seen = slice(start, start + _BATCH), {}
        for regressor, part in zip(regressors, predicted, strict=True):
            _predict_some(regressor, tokens[some], part[some], seen)
    return [
        part.reshape(-1, *regressor.response_shape_)
        for regressor, part in zip(regressors, predicted, strict=True)
    ]


def _predict_some(
    regressor: "KernelMeanRegressor", X: np.ndarray, predicted: np.ndarray, seen: dict
) -> None:
    """Predict some images, into an array; ``seen`` holds what others have computed of them."""
    # by its arrays, which regressors share that were read from a file
    look = tuple(map(id, regressor.views_.get_arrays().values()))
    if look not in seen:
        seen[look] = regressor.views_.transform(X)
    predicted[:] = regressor.mean_
    shared = np.zeros((len(X), len(regressor.colours_)))
    for name, kernel in regressor.maps_.items():
        key = (*look, *map(id, kernel.landmarks_.values()), name)
        if key not in seen:
            seen[key] = kernel.compare(seen[look])
        for kind, total in (("ridge", predicted), ("mixed", shared)):
            if f"{kind} {name}" in regressor.coef_:
                total += seen[key] @ regressor.coef_[f"{kind} {name}"]
                total += regressor.offset_[f"{kind} {name}"]
    predicted += shared @ regressor.colours_


def get_state(regressor: "KernelMeanRegressor") -> dict:
    """Return ``params``, ``meta`` and ``arrays``; of one that is not fitted, ``params`` only."""
    params = {key: value for key, value in regressor.get_params().items() if key != "random_state"}
    if not hasattr(regressor, "coef_"):
        return {"params": params}
    arrays = {"mean": regressor.mean_, "colours": regressor.colours_}
    arrays |= regressor.views_.get_arrays()
    arrays |= {f"coef/{key}": coef for key, coef in regressor.coef_.items()}
    arrays |= {f"offset/{key}": offset for key, offset in regressor.offset_.items()}
    for name, kernel in regressor.maps_.items():
        arrays |= kernel.get_arrays(name)
    meta = {
        "response_shape": list(regressor.response_shape_),
        "x_ndim": regressor.x_ndim_,
        "n_features": regressor.n_features_in_,
        "last": bool(regressor.views_.last_),
        "plain": {name: bool(kernel.plain_) for name, kernel in regressor.maps_.items()},
        "penalty": float(regressor.penalty_),
        "weights": regressor.weights_,
        "cv_score": regressor.cv_score_,
        "cross_validated": [regressor.cross_validated_r_, regressor.cross_validated_p_],
    }
    return {"params": params, "meta": meta, "arrays": arrays}


def set_state(regressor: "KernelMeanRegressor", state: dict) -> None:
    """Give a new regressor what :func:`get_state` returned."""
    if "meta" not in state:
        return
    arrays, meta = state["arrays"], state["meta"]
    regressor.mean_, regressor.colours_ = arrays["mean"], arrays["colours"]
    regressor.response_shape_ = tuple(meta["response_shape"])
    regressor.x_ndim_, regressor.n_features_in_ = meta["x_ndim"], meta["n_features"]
    regressor.penalty_, regressor.weights_ = meta["penalty"], meta["weights"]
    regressor.cv_score_ = meta["cv_score"]
    regressor.cross_validated_r_, regressor.cross_validated_p_ = meta["cross_validated"]
    regressor.views_ = Views.from_arrays(arrays, meta["last"])
    regressor.maps_ = {
        name: KernelMap.from_arrays(name, arrays, plain) for name, plain in meta["plain"].items()
    }
    regressor.coef_ = {k.split("/", 1)[1]: v for k, v in arrays.items() if k.startswith("coef/")}
    regressor.offset_ = {k: arrays[f"offset/{k}"] for k in regressor.coef_}
