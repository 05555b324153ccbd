"""What a folder of results was made with: scales, models, parameters, versions."""

import dataclasses
import hashlib
import importlib.metadata
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from .._files import write_text
from ..baselines import MeanResponse, RidgeGaussian

_PACKAGES = ("mne", "numpy", "open_clip_torch", "scikit-learn", "scipy", "torch", "transformers")

# Parameters of embedders that change how tokens are computed, not the tokens.
_WITHOUT_EFFECT = ("batch_size", "cache_dir", "device")


@dataclasses.dataclass(frozen=True)
class Scale:
    """How large an experiment is."""

    n_images: int | None  # for training at most, evenly spaced over the concepts; None is all
    n_repetitions: int | None  # trials of each test image at most; None is all
    n_draws: int  # of each test image
    network: dict  # parameters of both diffusion models that are not defaults
    n_seeds: int  # fits of each row of the ablation table
    device: str = "auto"  # where diffusion models run; results do not depend on it


SCALES = {
    "small": Scale(1000, 20, 8, {"hidden_size": 64, "n_layers": 2, "max_iter": 200}, 1),
    "paper": Scale(None, None, 20, {}, 3),
}


def new_regressors(scale: Scale, random_state: int) -> dict:
    """Return the models that are compared, not fitted."""
    from ..diffusion import Denoiser
    from ..regressor import DiffusionRegressor

    where: dict[str, Any] = {"device": scale.device, "random_state": random_state}
    return {
        "mean response": MeanResponse(),
        "ridge + Gaussian": RidgeGaussian(),
        "default": DiffusionRegressor(noise=Denoiser(**scale.network), **where),
        "xu2025": DiffusionRegressor.xu2025(**scale.network, **where),
    }


def versions() -> dict:
    """Return the versions of what results depend on."""
    found = {"python": platform.python_version(), "mne_img2brain": __version__}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def fingerprint(value: Any) -> Any:
    """Describe a parameter in JSON; of arrays the shape and a hash of sixteen rows."""
    if isinstance(value, np.ndarray):
        rows = np.unique(np.linspace(0, len(value) - 1, 16).astype(int))
        digest = hashlib.sha256(np.ascontiguousarray(value[rows]).tobytes()).hexdigest()
        return f"array {value.shape} of {value.dtype}, {digest[:16]}"
    if isinstance(value, dict):
        return {str(key): fingerprint(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [fingerprint(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if hasattr(value, "get_params"):
        given = value.get_params(deep=False)
        given = {name: item for name, item in given.items() if name not in _WITHOUT_EFFECT}
        return {"class": type(value).__qualname__, **fingerprint(given)}
    if isinstance(value, Path):
        return str(value)
    # a repr may hold an address, which differs from run to run
    return getattr(value, "__qualname__", None) or type(value).__qualname__


def check_parameters(folder: Path, parameters: dict) -> None:
    """Write the parameters of a folder of results, or check that they are still the same."""
    file = folder / "parameters.json"
    wanted = json.loads(json.dumps(parameters))
    there = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
    if set(there) <= {file.name}:
        # nothing was made with earlier parameters, if there were any
        write_json(file, {"parameters": wanted, "versions": versions()})
        return
    if not file.is_file():
        raise FileExistsError(
            f"{folder} holds {there[0]!r} and no parameters.json: it is no folder of results. "
            "Give a new or an empty folder."
        )
    there = json.loads(file.read_text(encoding="utf-8"))["parameters"]
    keys = sorted(set(there) | set(wanted))
    changed = [key for key in keys if there.get(key) != wanted.get(key)]
    if changed:
        shown = "; ".join(f"{k} was {there.get(k)!r}, now {wanted.get(k)!r}" for k in changed)
        raise ValueError(
            f"{folder} holds results of other parameters: {shown}. Give the parameters of "
            "parameters.json to go on, or another folder to begin anew."
        )


def write_json(path: Path, content: dict) -> None:
    """Write JSON in one step: whole, or not at all."""
    write_text(path, json.dumps(content, indent=1) + "\n")
