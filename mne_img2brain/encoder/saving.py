"""Fitted objects on disk: JSON for the structure, safetensors for the arrays, never a pickle.

The JSON holds names from one closed table. Nothing in a file can name something to import.
"""

import importlib
import json
import math
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from .. import __version__
from .._log import logger, warn

FORMAT_VERSION = 1
ENCODER_FILES = ("encoder.json", "arrays.safetensors", "recording-info.fif")

# Name in the file -> module that holds the class of that name.
_HOMES = {
    "_PaddedScaler": "mne_img2brain.baselines.ridge",
    "BandGains": "mne_img2brain.noise.gains",
    "BrainDiT": "mne_img2brain.diffusion",
    "ChannelScaler": "mne_img2brain.epochs",
    "ClipEmbedder": "mne_img2brain.stimulus",
    "ConditionalMean": "mne_img2brain.mean.conditional_mean",
    "DiffusionRegressor": "mne_img2brain.regressor",
    "FewImagesRegressor": "mne_img2brain.mean",
    "GaborEmbedder": "mne_img2brain.stimulus",
    "GaussianResiduals": "mne_img2brain.baselines.gaussian",
    "KernelMeanRegressor": "mne_img2brain.mean",
    "KernelRidge": "sklearn.kernel_ridge",
    "LinearRegression": "sklearn.linear_model",
    "MeanResponse": "mne_img2brain.baselines",
    "NearestNeighbor": "mne_img2brain.baselines",
    "NoiseScheduler": "mne_img2brain.diffusion",
    "NoiseStates": "mne_img2brain.noise.clusters",
    "PCA": "sklearn.decomposition",
    "Pipeline": "sklearn.pipeline",
    "ResidualDiffusion": "mne_img2brain.diffusion.residual",
    "Ridge": "sklearn.linear_model",
    "RidgeBaseline": "mne_img2brain.baselines",
    "RidgeCV": "sklearn.linear_model",
    "RidgeGaussian": "mne_img2brain.baselines",
    "ScaleWhitener": "mne_img2brain.noise.whitening",
    "ScaledTokens": "mne_img2brain.trials.scaled_tokens",
    "SpaceTimeWhitener": "mne_img2brain.noise.whitening",
    "SpatialLayer": "mne_img2brain.mean.spatial_layer",
    "StandardScaler": "sklearn.preprocessing",
    "SubjectWhitener": "mne_img2brain.noise.by_subject",
    "TrainingHistory": "mne_img2brain.diffusion",
}


def _home(name: str) -> Any:
    """Return a class of the closed table."""
    return getattr(importlib.import_module(_HOMES[name]), name)


def _listed(obj: Any) -> bool:
    """Tell whether an object's class, not only its name, is in the closed table."""
    name = type(obj).__name__
    home = _HOMES.get(name)
    return home is not None and type(obj).__module__.startswith(home) and type(obj) is _home(name)


def is_savable(obj: Any) -> bool:
    """Tell whether :func:`pack` takes an object.

    Parameters
    ----------
    obj : object
        Anything.

    Returns
    -------
    bool
    """
    try:
        pack(obj, {})
    except TypeError:
        return False
    return True


def pack(obj: Any, arrays: dict, path: str = "encoder") -> Any:
    """Turn an object into JSON-able structure and a flat dict of arrays.

    Parameters
    ----------
    obj : object
        Numbers, strings, arrays, containers of these, and objects of the closed table.
    arrays : dict
        Gets the arrays.
    path : str
        Where in the whole the object stands.

    Returns
    -------
    object
        JSON-able.

    Raises
    ------
    TypeError
        If something in it cannot be saved; the message says where it stands.
    """
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
            arrays[path] = np.ascontiguousarray(obj)
            return {"array": path}
        if obj.dtype.kind in "UO" and all(isinstance(item, str) for item in obj.ravel()):
            return {"strings": obj.ravel().tolist(), "shape": list(obj.shape)}
    if isinstance(obj, (list, tuple)):
        items = [pack(item, arrays, f"{path}.{i}") for i, item in enumerate(obj)]
        return {"list" if isinstance(obj, list) else "tuple": items}
    if isinstance(obj, dict) and all(isinstance(key, str) for key in obj):
        return {"dict": {key: pack(value, arrays, f"{path}.{key}") for key, value in obj.items()}}
    if isinstance(obj, (np.random.Generator, np.random.RandomState)):
        return None  # a fitted model has drawn its numbers
    if isinstance(obj, type) and issubclass(obj, np.generic):
        return {"dtype": np.dtype(obj).name}
    if _listed(obj):
        state = obj.get_state() if hasattr(obj, "get_state") else vars(obj)
        packed = {name: pack(value, arrays, f"{path}.{name}") for name, value in state.items()}
        return {"object": type(obj).__name__, "state": packed}
    known = ", ".join(sorted(name for name in _HOMES if not name.startswith("_")))
    raise TypeError(
        f"{path} is a {type(obj).__name__}, which cannot be saved. What can: {known}, numbers, "
        "strings and arrays. Nothing was written."
    )


def unpack(packed: Any, arrays: dict) -> Any:
    """Undo :func:`pack`.

    Parameters
    ----------
    packed : object
        From :func:`pack`, by way of JSON.
    arrays : dict
        The arrays.

    Returns
    -------
    object

    Raises
    ------
    ValueError
        If the structure is not of the kind that :func:`pack` makes.
    """
    if not isinstance(packed, dict):
        return packed
    try:
        if "object" in packed:
            if packed["object"] not in _HOMES:
                raise ValueError(
                    f"The file holds an object named {packed['object']!r}, which this version "
                    "does not know; it is newer, or not ours."
                )
            cls = _home(packed["object"])
            state = {name: unpack(value, arrays) for name, value in packed["state"].items()}
            if hasattr(cls, "from_state"):
                return cls.from_state(state)
            obj = cls.__new__(cls)
            vars(obj).update(state)
            return obj
        ((kind, value),) = [item for item in packed.items() if item[0] != "shape"]
        return {
            "array": lambda: arrays[value],
            "strings": lambda: np.array(value, dtype=object).reshape(packed.get("shape")),
            "list": lambda: [unpack(item, arrays) for item in value],
            "tuple": lambda: tuple(unpack(item, arrays) for item in value),
            "dict": lambda: {key: unpack(item, arrays) for key, item in value.items()},
            "float": lambda: float(value),
            "dtype": lambda: np.dtype(value).type,
        }[kind]()
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"The saved structure is damaged near {str(packed)[:80]}.") from error


def write_folder(
    fname: str | os.PathLike, structure: dict, arrays: dict, extras: dict, overwrite: bool = False
) -> None:
    """Write a folder in one step: whole, or not at all.

    Parameters
    ----------
    fname : path-like
        The folder to make.
    structure : object
        JSON-able.
    arrays : dict
        Goes to safetensors.
    extras : dict of callable
        File name -> function that is given the path to write to.
    overwrite : bool
        Whether a folder of that name is replaced.

    Raises
    ------
    FileExistsError
        If it is there and ``overwrite`` is False.
    """
    fname = Path(fname)
    if fname.exists() and not overwrite:
        raise FileExistsError(f"{fname} is there already; give another name or overwrite=True.")
    if fname.exists() and not (fname / "encoder.json").is_file():
        raise FileExistsError(
            f"{fname} is there and is not a saved encoder; it is not overwritten."
        )
    fname.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=fname.parent, prefix=f".{fname.name}-") as scratch:
        new = Path(scratch) / "new"
        new.mkdir()
        save_file(arrays, new / "arrays.safetensors")
        text = json.dumps(structure, indent=1, allow_nan=False)
        (new / "encoder.json").write_text(text, encoding="utf-8")
        for name, write in extras.items():
            write(new / name)
        if fname.exists():
            os.replace(fname, Path(scratch) / "old")
        os.replace(new, fname)
        shutil.rmtree(Path(scratch) / "old", ignore_errors=True)


def read_folder(fname: str | os.PathLike) -> tuple[dict, dict]:
    """Read what :func:`write_folder` wrote.

    Parameters
    ----------
    fname : path-like
        The folder.

    Returns
    -------
    structure : dict
        From the JSON.
    arrays : dict
        From the safetensors.

    Raises
    ------
    FileNotFoundError
        If there is no saved encoder.
    ValueError
        If it is damaged, or of a newer format.
    """
    fname = Path(fname)
    if not (fname / "encoder.json").is_file():
        raise FileNotFoundError(
            f"{fname} holds no saved encoder: there is no encoder.json. Give the folder that "
            "ImageToBrainEncoder.save was given."
        )
    try:
        structure = json.loads((fname / "encoder.json").read_text(encoding="utf-8"))
        arrays = load_file(fname / "arrays.safetensors")
    except (json.JSONDecodeError, SafetensorError, OSError) as error:
        raise ValueError(f"{fname} is damaged: {error}.") from error
    if not isinstance(structure, dict) or "format_version" not in structure:
        raise ValueError(f"{fname}/encoder.json is not the description of a saved encoder.")
    if structure["format_version"] > FORMAT_VERSION:
        raise ValueError(
            f"{fname} is of format {structure['format_version']}, this version reads up to "
            f"{FORMAT_VERSION}; update mne_img2brain."
        )
    return structure, arrays


def write_encoder(
    encoder: Any, fname: str | os.PathLike, *, overwrite: bool = False, embedder: bool = True
) -> None:
    """Write a fitted encoder to a folder.

    Parameters
    ----------
    encoder : ImageToBrainEncoder
        Fitted.
    fname : path-like
        The folder to make.
    overwrite : bool
        Whether an encoder saved there before is replaced.
    embedder : bool
        Whether the embedder is written, where it can be.

    Raises
    ------
    TypeError
        If the regressor cannot be saved; nothing is written then.
    FileExistsError
        If the folder is there and ``overwrite`` is False.
    """
    from mne.io import write_info

    arrays = {}
    state = {name: value for name, value in vars(encoder).items() if name.endswith("_")}
    info, fitted = state.pop("info_"), state["embedder_"]
    if not embedder or not is_savable(fitted):
        logger.info(
            f"A {type(fitted).__name__} is not saved; give it when you read, as embedder=..."
        )
        state["embedder_"] = None
    structure = {
        "format_version": FORMAT_VERSION,
        "mne_img2brain": __version__,
        "embedder": None if fitted is None else type(fitted).__name__,
        "encoder": pack(state, arrays),
    }
    extras = {"recording-info.fif": lambda path: write_info(path, info, verbose="ERROR")}
    write_folder(fname, structure, arrays, extras, overwrite)


def restore_encoder(kind: type, fname: str | os.PathLike, embedder: Any = None) -> Any:
    """Make a fitted encoder of what :func:`write_encoder` wrote.

    Parameters
    ----------
    kind : type
        The class of the encoder.
    fname : path-like
        The folder.
    embedder : transformer | None
        Used in place of the saved one.

    Returns
    -------
    ImageToBrainEncoder

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is damaged or of a newer format.
    """
    from mne.io import read_info

    structure, arrays = read_folder(fname)
    state = unpack(structure["encoder"], arrays)
    if embedder is not None:
        state["embedder_"] = embedder
    elif state["embedder_"] is None and structure["embedder"] is not None:
        warn(
            f"The {structure['embedder']} of this encoder was not saved: it takes tokens only. "
            "Give embedder= to use images."
        )
    encoder = kind(state["embedder_"], state["regressor_"])
    vars(encoder).update(state)
    encoder.info_ = read_info(Path(fname) / "recording-info.fif", verbose="ERROR")
    return encoder
