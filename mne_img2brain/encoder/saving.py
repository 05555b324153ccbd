"""Fitted objects on disk: JSON for the structure, safetensors for the arrays, never a pickle.

The JSON holds names from one closed table. Nothing in a file can name something to import.
"""

import importlib
import math
import tempfile
from pathlib import Path
from typing import Any

import mne
import numpy as np
from sklearn.model_selection import BaseCrossValidator

from .. import __version__
from .._files import as_path, check_fif
from .._log import logger, warn
from .._types import Embedder, Encoder, PathLike, Regressor
from ..epochs import ChannelScaler
from ..stimulus import EMBEDDERS
from .any_regressor import check_part
from .folder import ENCODER_FILES, FORMAT_VERSION, read_folder, write_folder

_INFO, _JSON = ENCODER_FILES[1:]

_DEPTH = 100
_PARTS = 20_000
# What a fitted encoder is of, at least.
_NEEDED: dict = {
    "embedder_": object, "regressor_": object, "scaler_": ChannelScaler, "times_": np.ndarray,
    "tmin_": float, "baseline_": tuple | None, "ch_names_": list, "regions_": np.ndarray,
    "basis_": np.ndarray, "left_out_": list, "subjects_": list, "n_training_subjects_": int,
    "training_image_keys_": list, "n_trials_": int, "image_ids_": dict,
    "image_id_form_": str | None, "event_id_": dict, "picks": object, "sfreq": float,
    "projectors": list,
}  # fmt: skip
# Numbers by which memory or time is taken, and the most that they can sensibly be.
_AT_MOST = {
    "batch_size": 2**20, "depth": 1000, "grid": 4096, "hidden_size": 2**16, "n_average_": 2**16,
    "n_heads": 2**12, "n_layers": 1000, "n_orientations": 1000, "n_scales": 64, "n_subjects": 2**20,
    "n_times": 2**20, "n_timesteps": 2**20, "n_training_subjects_": 2**20, "patch_length": 2**20,
    "size": 2**14,
}  # fmt: skip

# Name in the file -> module that holds the class of that name.
_HOMES = dict.fromkeys(EMBEDDERS.values(), "mne_img2brain.stimulus") | {
    "_Constant": "mne_img2brain.baselines.neighbors",
    "_Neighbors": "mne_img2brain.baselines.neighbors",
    "_PaddedScaler": "mne_img2brain.baselines.ridge",
    "BandGains": "mne_img2brain.noise.gains",
    "ChannelScaler": "mne_img2brain.epochs",
    "ConditionalMean": "mne_img2brain.mean.conditional_mean",
    "Denoiser": "mne_img2brain.diffusion",
    "DiffusionRegressor": "mne_img2brain.regressor",
    "FewImagesRegressor": "mne_img2brain.mean",
    "GaussianResiduals": "mne_img2brain.baselines.gaussian",
    "InducedPower": "mne_img2brain.noise.power",
    "KernelMeanRegressor": "mne_img2brain.mean",
    "KernelRidge": "sklearn.kernel_ridge",
    "LinearRegression": "sklearn.linear_model",
    "MeanResponse": "mne_img2brain.baselines",
    "NearestNeighbor": "mne_img2brain.baselines",
    "NoiseScheduler": "mne_img2brain.diffusion",
    "TrialClusters": "mne_img2brain.noise.clusters",
    "NoiseSummary": "mne_img2brain.diffusion.selection",
    "PCA": "sklearn.decomposition",
    "Pipeline": "sklearn.pipeline",
    "Ridge": "sklearn.linear_model",
    "RidgeBaseline": "mne_img2brain.baselines",
    "RidgeCV": "sklearn.linear_model",
    "RidgeGaussian": "mne_img2brain.baselines",
    "ScaleWhitener": "mne_img2brain.noise.whitening",
    "ScaledTokens": "mne_img2brain.trials.scaled_tokens",
    "SensorsAndTimes": "mne_img2brain.encoder.any_regressor",
    "TrialNoise": "mne_img2brain.noise.trial_noise",
    "TrialPower": "mne_img2brain.noise.trial_power",
    "SpaceTimeWhitener": "mne_img2brain.noise.whitening",
    "SpatialLayer": "mne_img2brain.mean.subject_layer",
    "StandardScaler": "sklearn.preprocessing",
    "SubjectNoise": "mne_img2brain.noise.subject_noise",
    "SubjectWhitener": "mne_img2brain.noise.subject_noise",
    "TrainingHistory": "mne_img2brain.diffusion",
}


def _home(name: str) -> Any:
    """Return a class of the closed table."""
    return getattr(importlib.import_module(_HOMES[name]), name)


def _listed(obj: object) -> bool:
    """Tell whether an object's class, not only its name, is in the closed table."""
    name = type(obj).__name__
    home = _HOMES.get(name)
    return home is not None and type(obj).__module__.startswith(home) and type(obj) is _home(name)


def is_savable(obj: object) -> bool:
    """Tell whether :func:`pack` takes an object."""
    try:
        pack(obj, {})
    except TypeError:
        return False
    return True


def warn_if_unsavable(regressor: Regressor) -> None:
    """Warn where a fitted regressor cannot be saved: after a long fit it is too late to hear it."""
    try:
        pack(regressor, {}, "regressor_")
    except TypeError as error:
        said = str(error).removesuffix(" Nothing was written.")
        warn(f"This encoder cannot be saved: {said}")


def pack(obj: Any, arrays: dict, path: str = "encoder") -> Any:
    """Turn an object into JSON-able structure and a flat dict of arrays."""
    if obj is None or isinstance(obj, (bool, str)):
        return obj
    if isinstance(obj, (np.bool_, np.integer, np.floating)):
        obj = obj.item()
    if isinstance(obj, (bool, int)):
        return obj
    if isinstance(obj, float):
        return obj if math.isfinite(obj) else {"float": repr(obj)}
    if isinstance(obj, np.ndarray):
        if obj.dtype.kind in "biuf":
            obj = np.ascontiguousarray(obj)
            # regressors that share an array share it in the file
            known = [name for name, array in arrays.items() if array is obj]
            arrays[known[0] if known else path] = obj
            return {"array": known[0] if known else path}
        if obj.dtype.kind in "UO" and all(isinstance(item, str) for item in obj.ravel()):
            return {"strings": obj.ravel().tolist(), "shape": list(obj.shape)}
    if isinstance(obj, (list, tuple)):
        items = [pack(item, arrays, f"{path}.{i}") for i, item in enumerate(obj)]
        return {"list" if isinstance(obj, list) else "tuple": items}
    if isinstance(obj, dict) and all(isinstance(key, str) for key in obj):
        return {"dict": {key: pack(value, arrays, f"{path}.{key}") for key, value in obj.items()}}
    if isinstance(obj, (np.random.Generator, np.random.RandomState, BaseCrossValidator)):
        return None  # a fitted model has drawn its numbers, and chosen by its folds
    if isinstance(obj, type) and issubclass(obj, np.generic):
        return {"dtype": np.dtype(obj).name}
    if _listed(obj):
        state = obj.get_state() if hasattr(obj, "get_state") else vars(obj)
        packed = {name: pack(value, arrays, f"{path}.{name}") for name, value in state.items()}
        return {"object": type(obj).__name__, "state": packed}
    known = ", ".join(sorted(name for name, home in _HOMES.items() if home.startswith("sklearn")))
    raise TypeError(
        f"{path} is a {type(obj).__name__} of {type(obj).__module__.partition('.')[0]}, which "
        "cannot be saved. What can: this library's "
        f"estimators, {known} of scikit-learn, numbers, strings and arrays. Nothing was written."
    )


def check_names(packed: Any) -> None:
    """Look through a structure before anything is made of it."""
    waiting, n_parts = [(packed, 0)], 0
    while waiting:
        item, depth = waiting.pop()
        n_parts += isinstance(item, dict)
        if n_parts > _PARTS:
            raise ValueError(f"it has more than {_PARTS} parts")
        if depth > _DEPTH:
            raise ValueError(f"it is nested more than {_DEPTH} deep")
        children: list = []
        if not isinstance(item, dict):
            if item is not None and not isinstance(item, (bool, int, float, str)):
                raise ValueError(f"there is a bare {type(item).__name__} in it")
            continue
        kind = next(iter(item), None)
        value = item.get(kind)
        if kind == "object":
            if value not in _HOMES:
                raise ValueError(
                    f"it holds an object named {value!r}, which this version does not know; it is "
                    "newer, or not ours"
                )
            state = item.get("state")
            if item.keys() != {"object", "state"} or not isinstance(state, dict):
                raise ValueError(f"a {value} has no state")
            for name, number in state.items():
                _check_size(f"{value}.{name}", name, number)
            children = list(state.values())
        elif item.keys() == {"dict"} and isinstance(value, dict):
            for name, number in value.items():
                _check_size(name, name, number)
            children = list(value.values())
        elif item.keys() in ({"list"}, {"tuple"}) and isinstance(value, list):
            children = value
        elif not (
            (item.keys() in ({"array"}, {"float"}, {"dtype"}) and isinstance(value, str))
            or (
                item.keys() == {"strings", "shape"}
                and isinstance(value, list)
                and all(isinstance(text, str) for text in value)
            )
        ):
            raise ValueError(f"something of the kind {kind!r} in it is not what is saved")
        waiting.extend((child, depth + 1) for child in children)


def _check_size(label: str, name: str, number: Any) -> None:
    """Refuse a size that no model has."""
    if isinstance(number, int) and name in _AT_MOST and number > _AT_MOST[name]:
        raise ValueError(f"{label} is {number}, and at most {_AT_MOST[name]} is read")


def unpack(packed: Any, arrays: dict) -> Any:
    """Undo :func:`pack`."""
    check_names(packed)
    return _unpacked(packed, arrays)


def _unpacked(packed: Any, arrays: dict) -> Any:
    """Make objects of what has been looked through."""
    if not isinstance(packed, dict):
        return packed
    kind, value = next(iter(packed.items()))
    if kind == "object":
        cls = _home(value)
        state = {name: _unpacked(item, arrays) for name, item in packed["state"].items()}
        if hasattr(cls, "from_state"):
            return cls.from_state(state)
        obj = cls.__new__(cls)
        vars(obj).update(state)
        return obj
    if kind == "array":
        return arrays[value]
    if kind == "dict":
        return {key: _unpacked(item, arrays) for key, item in value.items()}
    if kind in ("list", "tuple"):
        items = [_unpacked(item, arrays) for item in value]
        return items if kind == "list" else tuple(items)
    if kind == "strings":
        return np.array(value, dtype=object).reshape(packed["shape"])
    if kind == "float":
        return float(value)
    dtype = np.dtype(value[:16])
    if dtype.kind not in "biuf":
        raise ValueError(f"{value!r} is no type of numbers")
    return dtype.type


def write_encoder(
    encoder: Encoder,
    fname: PathLike,
    *,
    overwrite: bool = False,
    embedder: bool = True,
) -> None:
    """Write a fitted encoder to a folder."""
    arrays = {}
    state = {name: value for name, value in vars(encoder).items() if name.endswith("_")}
    info, fitted = state.pop("info_"), state["embedder_"]
    if not embedder or not is_savable(fitted):
        logger.info(
            f"A {type(fitted).__name__} is not saved; give it when you read, as embedder=..."
        )
        state["embedder_"] = None
    # the file of the Info holds single precision: MNE would not join the recording with what is
    # generated at 83.33 Hz, or with an applied projector
    state["sfreq"] = float(info["sfreq"])
    state["projectors"] = [np.asarray(proj["data"]["data"], float) for proj in info["projs"]]
    # a slice of channels is theirs by name
    picks = encoder.picks
    state["picks"] = list(encoder.ch_names_) if isinstance(picks, slice) else picks
    structure = {
        "format_version": FORMAT_VERSION,
        "mne_img2brain": __version__,
        "embedder": None if fitted is None else type(fitted).__name__,
        "encoder": pack(state, arrays),
    }
    write_folder(fname, structure, arrays, info, overwrite)


def restore_encoder(kind: type, fname: PathLike, embedder: Embedder | None = None) -> Any:
    """Make a fitted encoder of what :func:`write_encoder` wrote."""
    fname = as_path(fname)
    if embedder is not None:
        check_part(
            "embedder", embedder, "transform", "a fitted transformer, such as ClipEmbedder()"
        )
    structure, arrays, content = read_folder(fname, check_names)
    state = _state(structure, arrays, fname / _JSON)
    if embedder is not None:
        state["embedder_"] = embedder
    elif state["embedder_"] is None and structure.get("embedder") is not None:
        warn(
            f"The {structure['embedder']} of this encoder was not saved: it takes tokens only. "
            "Give embedder= to use images."
        )
    sfreq, projectors = state.pop("sfreq"), state.pop("projectors")
    encoder = kind(state["embedder_"], state["regressor_"], picks=state.pop("picks"))
    vars(encoder).update(state)
    encoder.info_ = _read_info(content, fname / _INFO)
    if encoder.info_["ch_names"] != encoder.ch_names_:
        raise ValueError(f"{fname / _INFO} is damaged: its channels are not those of {_JSON}.")
    if not np.isclose(sfreq, encoder.info_["sfreq"], rtol=1e-6):
        raise ValueError(f"{fname / _INFO} is damaged: its sampling rate is not that of {_JSON}.")
    _exactly(encoder.info_, projectors, fname / _INFO)
    with encoder.info_._unlock():
        encoder.info_["sfreq"] = sfreq
    return encoder


def _exactly(info: Any, projectors: Any, label: Path) -> None:
    """Give an Info's projectors the precision that they had before it was written."""
    try:
        for proj, exact in zip(info["projs"], projectors, strict=True):
            np.testing.assert_allclose(proj["data"]["data"], exact, atol=1e-6)
            proj["data"]["data"] = np.array(exact, float).reshape(proj["data"]["data"].shape)
    except (AssertionError, TypeError, ValueError) as error:
        raise ValueError(f"{label} is damaged: its projectors are not those of {_JSON}.") from error


def _state(structure: dict, arrays: dict, label: Path) -> dict:
    """Make what a fitted encoder is of."""
    try:
        state = dict(unpack(structure["encoder"], arrays) or {})
        missing = [name for name, kind in _NEEDED.items()
                   if name not in state or not isinstance(state[name], kind)]  # fmt: skip
    except Exception as error:
        # whatever a class finds wrong in a state that somebody made up
        raise ValueError(f"{label} is damaged: {type(error).__name__}, {error}.") from error
    if missing:
        raise ValueError(f"{label} is damaged: an encoder without {', '.join(missing)}.")
    if not hasattr(state["regressor_"], "predict"):
        raise ValueError(f"{label} is damaged: regressor_ does not predict.")
    return state


def _read_info(content: bytes, label: Path) -> mne.Info:
    """Read the Info from bytes that were checked, not from a file that may be another by now."""
    from mne.io import read_info

    check_fif(content, str(label))
    if content[52:56] != b"\xff\xff\xff\xff":
        raise ValueError(f"{label} is damaged: it has a list of its tags, which is not written.")
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / _INFO
        path.write_bytes(content)
        try:
            return read_info(path, verbose="ERROR")
        except Exception as error:
            raise ValueError(f"{label} is damaged: {error}.") from error
