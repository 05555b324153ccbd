"""Rows on predictions."""

from typing import Any

import numpy as np

from ..metrics import (
    component_peak,
    difference_wave_r,
    equivalent_trials,
    identification_curve,
    identification_ranks,
    normalized_r,
    r_map,
    time_mask,
    top_k,
    window_mean,
)
from ..metrics.accuracy import mse_by_image, pearson_by_image
from ..metrics.identification import n_way_accuracy, pairwise_by_image
from . import ceilings, rsa
from .ceilings import Ceilings
from .material import Recorded, span
from .rows import Rows


def sensor_scale(real: np.ndarray) -> np.ndarray:
    """Return the SD of every sensor, (n_channels, 1): in SI units an error of EEG is 1e-12."""
    scale = real.std(axis=(0, 2))
    return np.where(scale > 0, scale, 1.0)[:, None]


def judge_prediction(
    rows: Rows, recorded: Recorded, prediction: np.ndarray, ceiling: Ceilings | None,
    window: tuple[float, ...], components: dict, seed: int,
) -> tuple[dict[str, np.ndarray], dict]:  # fmt: skip
    """Add the rows on one encoder's prediction, and return its maps and curves."""
    times, real = recorded.times, recorded.mean
    inside = span(time_mask(times, *window))
    n_images = len(real)
    scale = sensor_scale(real)
    errors = mse_by_image(real / scale, prediction / scale)
    spread = mse_by_image(real / scale, np.broadcast_to((real / scale).mean(axis=0), real.shape))
    floor, best = ceilings.within_images(recorded, scale)
    rows.add_mean(
        "mse", errors, chance=spread.mean(), ceiling=floor, better="lower", unit="SD of sensor ^ 2"
    )
    rows.add_mean("pcc", pearson_by_image(real / scale, prediction / scale), chance=0.0,
                  ceiling=best)  # fmt: skip
    r = r_map(real, prediction)
    known = ceiling is not None and ceiling.known
    full = window_mean(ceiling.r, times, *window) if ceiling and known else np.nan
    mean_r = window_mean(r, times, *window)
    resampled = rows.bootstrap_r(real[..., inside], prediction[..., inside])
    rows.add("r", mean_r, resampled=resampled, chance=0.0, ceiling=full, n=n_images)
    maps = {"r": r}
    if ceiling is not None:
        maps["r / ceiling"] = normalized_r(r, ceiling.r)
        if full > 0:
            # One quotient of means: quotients of single cells have tails where ceilings are low.
            rows.add("r / ceiling", mean_r / full, resampled=resampled / full, chance=0.0,
                     ceiling=1.0, n=n_images)  # fmt: skip
    if recorded.labels is not None and len(np.unique(recorded.labels)) == 2:
        labels = recorded.labels
        value = difference_wave_r(real[..., inside], labels, prediction[..., inside], labels)
        best = ceilings.difference_wave(recorded, inside) if known else np.nan
        rows.add("r of the difference wave", value, chance=0.0, ceiling=best, n=n_images)
    halves = {} if ceiling is None else ceiling.identification
    curves = _identify(rows, recorded, prediction, inside, halves)
    enough = [index for index, of_image in enumerate(recorded.trials) if len(of_image) >= 4]
    if len(enough) >= 3:
        worth = equivalent_trials(
            prediction[enough],
            [recorded.trials[index] for index in enough],
            mask=time_mask(times, *window),
            random_state=seed,
        )
        rows.add("equivalent trials", worth.n_trials, chance=0.0, unit="trials", n=len(enough))
    if rsa.installed() and n_images > 3:
        unknown = np.full((2, len(rsa.windows(times)[0])), np.nan)
        ends = unknown if ceiling is None else ceiling.rsa_course
        curves["rsa"] = (*rsa.time_course(recorded, prediction), ends)
        value = rsa.similarity(real[..., inside], prediction[..., inside])
        low, expected, high = np.full(3, np.nan) if ceiling is None else ceiling.rsa
        rows.add("rsa", value, chance=0.0, ceiling=expected, band=(low, high), n=n_images)
    _components(rows, recorded, prediction, components)
    return maps, curves


def _identify(
    rows: Rows, recorded: Recorded, prediction: np.ndarray, inside: slice, halves: dict
) -> dict:
    """Add the rows on identification, and return its curves."""
    real, n_images = recorded.mean, len(recorded.mean)
    better, equal = identification_ranks(real[..., inside], prediction[..., inside])
    rank = 1 + better + equal / 2

    def add(name: str, values: np.ndarray, chance: float, **given: Any) -> None:
        # All right is the most there can be, what half of the trials can do the least.
        band = (min(halves[name], 1.0), max(halves[name], 1.0)) if halves else (np.nan, np.nan)
        rows.add_mean(name, values, chance=chance, band=band, **given)

    for k in (1, 5):
        if k < n_images:
            add(f"top-{k}", top_k(better, equal, k), k / n_images)
    add("mean rank", rank, (n_images + 1) / 2, better="lower")
    add("pairwise accuracy", pairwise_by_image(real[..., inside], prediction[..., inside]), 0.5)
    candidates = np.unique(np.geomspace(2, n_images, 20).round().astype(int))
    accuracy = [n_way_accuracy(better, equal, n).mean() for n in candidates]
    curves: dict[str, tuple] = {"n-way": (candidates, np.array(accuracy))}
    times = recorded.times
    width = min(0.05, np.ptp(times) / 4)
    centres, top, mean_rank = identification_curve(real, prediction, times, width=width, k=(1,))
    curves["identification"] = (centres, top[1], mean_rank)
    return curves


def _components(rows: Rows, recorded: Recorded, prediction: np.ndarray, components: dict) -> None:
    """Add latency and amplitude of components, at the sensor where the real one is largest."""
    real, expected = recorded.mean.mean(axis=0), prediction.mean(axis=0)
    for name, (tmin, tmax, mode) in components.items():
        there = component_peak(real, recorded.times, tmin, tmax, mode=mode)
        sign = {"pos": there.amplitude, "neg": -there.amplitude, "abs": np.abs(there.amplitude)}
        sensor = int(np.argmax(sign[mode]))
        peak = component_peak(expected[sensor], recorded.times, tmin, tmax, mode=mode)
        label = f"{name} at {recorded.info['ch_names'][sensor]}"
        rows.add(
            f"{label}: latency", float(peak.latency), ceiling=float(there.latency[sensor]),
            better="ceiling", unit="s", n=len(recorded.mean),
        )  # fmt: skip
        rows.add(
            f"{label}: amplitude / real", peak.amplitude / there.amplitude[sensor], ceiling=1.0,
            better="ceiling", n=len(recorded.mean),
        )  # fmt: skip
