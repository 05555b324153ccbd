"""What evaluate is asked for, looked at before the work."""

from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import NotFittedError

from .._parameters import Number, check_given


class Options(NamedTuple):
    """What the judging of draws was asked for."""

    draw_window: tuple
    bands: dict | None
    classifiers: dict | None
    training_trials: np.ndarray | None
    seed: int


def check_encoders(encoders: dict) -> None:
    """Raise unless there are fitted encoders, by their names."""
    if not encoders:
        raise ValueError("encoder is an empty dict; give {name: fitted encoder}.")
    if "recorded" in encoders:
        raise ValueError("An encoder is named 'recorded', as real trials are; give another name.")
    for name, encoder in encoders.items():
        if not isinstance(name, str):
            raise TypeError(f"An encoder is named {name!r}; give a name, a str.")
        if isinstance(encoder, type) or not hasattr(encoder, "predict"):
            raise TypeError(
                f"encoder {name!r} is {encoder if isinstance(encoder, type) else 'a'} "
                f"{type(encoder).__name__}; give a fitted encoder, or a dict of name to encoder."
            )
        if not hasattr(encoder, "ch_names_"):
            raise NotFittedError(f"encoder {name!r} is not fitted; call fit first.")


def check_windows(**windows: Any) -> None:
    """Raise unless each ``name=window`` is two finite numbers in rising order."""
    for name, window in windows.items():
        if not _is_range(window):
            raise ValueError(f"{name}={window!r}; give its first and its last second.")


def check_options(
    level: object,
    allow: object,
    components: dict | None,
    bands: dict | None,
    classifiers: dict | None,
) -> None:
    """Raise unless the further parameters of evaluate are what they may be."""
    check_given(level=(level, Number(0, 1, closed="neither")), allow_training_images=(allow, bool))
    named = {"components": components, "bands": bands, "classifiers": classifiers}
    for name, values in named.items():
        if values is not None and not isinstance(values, dict):
            raise ValueError(f"{name} is a {type(values).__name__}; give a dict of names, or None.")
    for name, component in (components or {}).items():
        fits = isinstance(component, (tuple, list)) and len(component) == 3
        if not fits or not _is_range(component[:2]) or component[2] not in ("pos", "neg", "abs"):
            raise ValueError(
                f"components[{name!r}]={component!r}; give first second, last second and 'pos', "
                "'neg' or 'abs'."
            )
    for name, band in (bands or {}).items():
        if not _is_range(band) or band[0] < 0:
            raise ValueError(f"bands[{name!r}]={band!r}; give lowest and highest frequency in Hz.")
    for name, classifier in (classifiers or {}).items():
        if not hasattr(classifier, "fit"):
            raise ValueError(f"classifiers[{name!r}]={classifier!r}; give an estimator.")


def check_by_subject(epochs: dict, **others: object) -> None:
    """Raise unless there are subjects, and what else is a dict is of the same ones."""
    if not epochs:
        raise ValueError("epochs is an empty dict; give {subject: epochs}.")
    for name, values in others.items():
        missing = [one for one in epochs if isinstance(values, dict) and one not in values]
        if missing:
            raise ValueError(
                f"{name} has no entry for {missing[0]!r}; epochs is of {list(epochs)}."
            )


def _is_range(window: Any) -> bool:
    """Tell whether something is two finite numbers in rising order."""
    try:
        first, last = (float(end) for end in window)
    except (TypeError, ValueError):
        return False
    return not isinstance(window, str) and bool(np.isfinite([first, last]).all()) and first < last
