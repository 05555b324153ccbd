"""What each row of an ablation table changes."""

import re

from sklearn.base import clone

from ..diffusion import Denoiser
from ..epochs.regions import LOBES
from ..regressor import DiffusionRegressor

REFERENCE = "reference"
# What ``sample`` reads: a row that changes nothing else needs no fit of its own.
_SAMPLING: dict = {"guidance_scale": 1.0, "n_steps": None, "solver": None, "eta": 0.0}
# What a row may change beside parameters of the regressor and its denoiser.
_OTHERS: dict = {"captions": True, "sensors": None, **_SAMPLING}
_PRESETS: dict = {"xu2025": DiffusionRegressor.xu2025, "default": DiffusionRegressor}


def ablation_rows(reference: str | DiffusionRegressor = "xu2025") -> dict[str, dict]:
    """Return the rows of the paper's ablation table, and some more.

    Every row changes one thing of the reference: captions left out, another position encoding,
    another way for the image to reach the denoiser, the sensors of one lobe alone, guided draws,
    fewer denoiser evaluations of a draw, another quantity that the denoiser predicts, and a mean
    regressor under the diffusion model or none.

    Parameters
    ----------
    reference : "xu2025" | "default" | DiffusionRegressor
        What rows differ from; a row that would change nothing is not there.

    Returns
    -------
    dict of str to dict
        By name, such as ``"position: region"``, what is changed: parameters of
        :class:`~mne_img2brain.DiffusionRegressor` or :class:`~mne_img2brain.Denoiser`;
        ``"captions": False``; ``"sensors"`` and a lobe; what ``sample`` is given. To be cut, added
        to, and given to
        :func:`~mne_img2brain.experiments.ablate`.

    See Also
    --------
    ablate : Fits and judges them.

    Examples
    --------
    >>> from mne_img2brain.experiments import ablation_rows
    >>> ablation_rows("xu2025")["prediction: v"]
    {'prediction_type': 'v'}
    """
    regressor = reference_regressor(reference)
    rows: dict[str, dict] = {"captions: off": {"captions": False}}
    for name in ("position", "conditioning"):
        for value in _CHOICES[name]:
            rows[f"{name}: {value}"] = {name: value}
    for lobe in LOBES[::-1]:
        rows[f"sensors: {lobe}"] = {"sensors": lobe}
    for scale in (0.0, 2.0, 4.0):
        rows[f"guidance scale: {scale:g}"] = {"guidance_scale": scale}
    for n_steps in (5, 10, 25, 50):
        rows[f"steps: {n_steps}"] = {"n_steps": n_steps}
    rows["prediction: v"] = {"prediction_type": "v"}
    # noise cannot be predicted from pure noise
    rows["prediction: noise"] = {"prediction_type": "noise", "zero_terminal_snr": False}
    rows["mean regressor: on"] = {"mean": "auto"}
    rows["mean regressor: off"] = {"mean": None}
    there = _parameters(regressor)
    if there["mean"] is not None:
        del rows["mean regressor: on"]
    return {
        name: changes
        for name, changes in rows.items()
        if any(key not in there or there[key] != value for key, value in changes.items())
    }


_CHOICES = {
    "position": ("both", "region", "time", "none"),
    "conditioning": ("cross_attention", "addition", "concatenation"),
}


def _parameters(regressor: DiffusionRegressor) -> dict:
    """Return the parameters of a regressor and of its denoiser, in one dict."""
    own = regressor.get_params(deep=False)
    network = regressor.get_params()["noise"].get_params(deep=False)
    n_steps = 50 if network["prediction_type"] == "noise" else 25  # what sample does
    return {**network, **own, "max_iter": network["max_iter"], "n_steps": n_steps}


def changed(regressor: DiffusionRegressor, parameters: dict) -> DiffusionRegressor:
    """Return a clone with other parameters, of its own or of its denoiser."""
    own = set(regressor.get_params(deep=False)) - {"max_iter"}
    given = {name if name in own else f"noise__{name}": v for name, v in parameters.items()}
    return clone(regressor).set_params(**given)


def reference_regressor(
    reference: DiffusionRegressor | str, max_iter: int | None = None
) -> DiffusionRegressor:
    """Return the regressor that rows differ from, not fitted: of a preset, or a clone."""
    if isinstance(reference, str) and reference in _PRESETS:
        regressor = _PRESETS[reference]()
    elif isinstance(reference, DiffusionRegressor):
        regressor = clone(reference)
    else:
        raise ValueError(
            f"reference={reference!r}; give 'xu2025', 'default' or a DiffusionRegressor."
        )
    if not isinstance(regressor.noise, Denoiser):
        regressor.set_params(noise=Denoiser())
    steps = regressor.max_iter if max_iter is None else max_iter
    if steps is not None:
        regressor.set_params(max_iter=None, noise__max_iter=steps)
    return regressor


def check_rows(rows: dict | list[str] | None, reference: DiffusionRegressor) -> dict:
    """Choose the rows of a study."""
    standard = ablation_rows(reference)
    if rows is None:
        chosen = standard
    elif isinstance(rows, dict):
        chosen = rows
    else:
        chosen = {}
        for wanted in [rows] if isinstance(rows, str) else rows:
            found = {
                name: changes
                for name, changes in standard.items()
                if wanted in (name, name.split(": ")[0])
            }
            if not found and wanted != REFERENCE:
                kinds = list(dict.fromkeys(name.split(": ")[0] for name in standard))
                raise ValueError(
                    f"rows: {wanted!r} is not known; give one of {', '.join(kinds)}, a whole name "
                    f"such as {next(iter(standard))!r}, or a dict of names to changes."
                )
            chosen |= found
    known = set(_parameters(reference)) - {"random_state", "verbose", "noise"} | set(_OTHERS)
    for name, changes in chosen.items():
        if not isinstance(changes, dict) or not set(changes) <= known:
            wrong = sorted(set(changes) - known) if isinstance(changes, dict) else changes
            raise ValueError(
                f"The row {name!r} changes {wrong}; give a dict with parameters of "
                f"DiffusionRegressor or Denoiser, {', '.join(map(repr, _OTHERS))}."
            )
        if changes.get("sensors") not in (None, *LOBES):
            raise ValueError(
                f"The row {name!r} wants sensors {changes['sensors']!r}; give one of "
                f"{', '.join(LOBES)}."
            )
    chosen = {REFERENCE: {}, **{name: dict(c) for name, c in chosen.items() if name != REFERENCE}}
    files = [file_name(name) for name in chosen]
    twice = sorted({file for file in files if files.count(file) > 1 or not file})
    if twice:
        raise ValueError(f"Names of rows become names of files, and {twice[0]!r} would be two.")
    return chosen


def split_changes(changes: dict) -> tuple[dict, dict, bool]:
    """Split what a row changes.

    Returns parameters: of the regressor and its denoiser.
    Returns others: ``captions``, ``sensors`` and ``sampling``, what ``sample`` is given; changed
        or not.
    Returns needs_fit: whether the fit of the reference is not the row's.
    """
    parameters = {name: value for name, value in changes.items() if name not in _OTHERS}
    sampling = {name: changes.get(name, value) for name, value in _SAMPLING.items()}
    captions, sensors = changes.get("captions", True), changes.get("sensors")
    needs_fit = bool(parameters) or not captions or sensors is not None
    return parameters, {"captions": captions, "sensors": sensors, "sampling": sampling}, needs_fit


def file_name(name: str) -> str:
    """Return the name of a row's files, without extension."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")
