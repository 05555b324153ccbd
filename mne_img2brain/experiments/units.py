"""One unit of work: the models of one subject and one protocol, fitted, judged and saved."""

import dataclasses
import json
import shutil
import sys
import time
from pathlib import Path

import mne
import numpy as np
import pandas as pd

from .._log import logger
from .._types import Embedder
from ..diffusion import Denoiser
from ..encoder import ImageToBrainEncoder
from ..epochs import read_maps
from ..evaluation import evaluate
from ..metrics import default_classifiers
from .recordings import Recordings
from .settings import new_regressors, versions, write_json

# Encoders that are kept; baselines are fitted again in seconds.
_KEPT = ("default", "xu2025")
# What a fit needs, in GiB, measured with 1,000-16,540 images (doc/reproduce.rst): in any case,
# for each image, and in sizes of the averages.
_ALWAYS, _EACH_PICTURE, _SIZES = 1.0, 0.0004, 7


@dataclasses.dataclass(frozen=True)
class Unit:
    """Who is tested, and who was learnt from."""

    protocol: str  # "within": models learn from the subject; "cross": from all others
    subject: str
    trained_on: tuple

    @property
    def name(self) -> str:
        """Name of the unit's folder."""
        return f"{self.protocol}-{self.subject}"


def plan_units(subjects: list[str], within: bool, cross: bool) -> list:
    """List the units of an experiment."""
    units = [Unit("within", one, (one,)) for one in subjects] if within else []
    if cross:
        if len(subjects) < 2:
            raise ValueError(
                f"cross=True learns from other subjects, but there is only {subjects[0]}; give "
                "cross=False or more subjects."
            )
        units += [
            Unit("cross", one, tuple(other for other in subjects if other != one))
            for one in subjects
        ]
    return units


def run_unit(
    unit: Unit, folder: Path, recordings: Recordings, tokens: dict, embedder: Embedder | None,
    random_state: int,
) -> None:  # fmt: skip
    """Fit and judge the models of a unit; its folder appears when everything is in it."""
    started = time.perf_counter()
    partial = folder / f".{unit.name}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    encoders, seconds, n_trained = _fit(unit, recordings, tokens["train"], embedder, random_state)
    for name in _KEPT:
        encoders[name].save(partial / "encoders" / name)
    trials = recordings.test(unit.subject)
    began = time.perf_counter()
    evaluation = evaluate(
        encoders,
        tokens["test"],
        trials,
        image_ids="image_id",
        n_draws=recordings.scale.n_draws,
        # Boosting would take most of the time of a unit, longer than ten minutes at full size.
        classifiers={"linear": default_classifiers(random_state)["linear"]},
        random_state=random_state,
    )
    seconds["evaluate"] = time.perf_counter() - began
    evaluation.table.to_csv(partial / "table.csv", index=False)
    maps = list(evaluation.maps.items())
    for name, evoked in maps:
        evoked.comment = name
    mne.write_evokeds(partial / "maps-ave.fif", [evoked for _, evoked in maps], verbose="error")
    seconds["all"] = time.perf_counter() - started
    write_json(
        partial / "unit.json",
        {
            **dataclasses.asdict(unit),
            "n_training_averages": n_trained,
            "n_training_images": len(tokens["train"]),
            "n_test_images": evaluation.n_images,
            "n_test_trials": len(trials),
            "random_state": random_state,
            # where it was not, the regression predicts and noise of the trials is drawn
            "transformer_kept": {
                name: isinstance(getattr(encoders[name].regressor_, "noise_", None), Denoiser)
                for name in _KEPT
            },
            "seconds": {name: round(value, 2) for name, value in seconds.items()},
            "peak_memory_gib": peak_memory(),
            "versions": versions(),
        },
    )
    partial.rename(folder / unit.name)


def _fit(
    unit: Unit,
    recordings: Recordings,
    tokens: np.ndarray,
    embedder: Embedder | None,
    random_state: int,
) -> tuple[dict, dict, int]:
    """Fit all models of a unit on averages that are given back to memory afterwards."""
    epochs, several = {}, len(unit.trained_on) > 1
    for subject in unit.trained_on:
        epochs[subject] = recordings.training(subject)
        if len(epochs) == 1:
            first = epochs[subject]
            n_values = len(first) * len(first.ch_names) * len(first.times)
            size = len(unit.trained_on) * n_values * 8 / 2**30
            need = _ALWAYS + _EACH_PICTURE * len(tokens) + _SIZES * size
            logger.info(
                "%s: averages of %d subject%s are %.2f GiB; fitting will need about %.1f GiB.",
                unit.name, len(unit.trained_on), "s" * several, size, need,
            )  # fmt: skip
    image_ids = np.tile(np.arange(len(tokens)), len(epochs))
    n_averages = len(image_ids)
    if not several:
        (epochs,) = epochs.values()
    encoders, seconds = {}, {}
    for name, regressor in new_regressors(recordings.scale, random_state).items():
        logger.info("%s: fitting %s to %d averages.", unit.name, name, n_averages)
        began = time.perf_counter()
        encoder = ImageToBrainEncoder(embedder, regressor)
        encoders[name] = encoder.fit(tokens, epochs, image_ids=image_ids)
        seconds[f"fit {name}"] = time.perf_counter() - began
    return encoders, seconds, n_averages


def peak_memory() -> float | None:
    """Return the most memory that the process ever had, in GiB."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**30 if sys.platform == "darwin" else 2**20), 3)


def read_unit(folder: Path) -> tuple[dict, pd.DataFrame, dict]:
    """Read the results of a unit."""
    about = json.loads((folder / "unit.json").read_text(encoding="utf-8"))
    table = pd.read_csv(folder / "table.csv")
    maps = read_maps(folder / "maps-ave.fif")
    return about, table, {evoked.comment: evoked for evoked in maps}
