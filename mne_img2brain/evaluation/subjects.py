"""Several subjects: judged one by one, then together."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from ..metrics import bootstrap, interval
from .result import Evaluation

_CEILINGS = ("ceiling", "ceiling_low", "ceiling_high")


def combine(parts: dict[str, Evaluation], n_bootstrap: int, level: float, seed: int) -> Evaluation:
    """Return means over subjects, with intervals over them."""
    first = next(iter(parts.values()))
    long = pd.concat([part.table.assign(subject=name) for name, part in parts.items()])
    rows, resamples = [], {name: {} for name in first.encoders}
    for (encoder, metric), group in long.groupby(["encoder", "metric"], sort=False):
        values = group["value"].to_numpy()
        row = group.iloc[0].drop("subject").to_dict()
        row |= {name: group[name].mean() for name in ("value", "chance")}
        # A ceiling that one subject lacks is none of the mean over all.
        row |= {name: group[name].mean(skipna=False) for name in _CEILINGS}
        row |= {"ci_low": np.nan, "ci_high": np.nan, "n": len(group)}
        # Subjects that lack a metric cannot be in some resamples and not in others.
        if len(group) == len(parts) > 1 and np.isfinite(values).all():
            resampled = bootstrap(float, values, n_resamples=n_bootstrap, random_state=seed)
            resamples.setdefault(encoder, {})[metric] = resampled
            row["ci_low"], row["ci_high"] = interval(resampled, level)
        rows.append(row)
    return dataclasses.replace(
        first,
        table=pd.DataFrame(rows, columns=list(first.table.columns)),
        maps=_mean_maps([part.maps for part in parts.values()]),
        curves=_mean([part.curves for part in parts.values()]),
        resamples={name: resamples[name] for name in first.encoders},
        n_trials=sum((part.n_trials for part in parts.values()), []),
        differ={
            band: 2 * sum(part.differ.get(band, False) for part in parts.values()) > len(parts)
            for band in first.differ
        },
        tfr={
            name: _mean_maps([part.tfr[name] for part in parts.values()])
            for name in first.tfr
            if all(name in part.tfr for part in parts.values())
        },
        subjects=parts,
    )


def mean_evoked(evokeds: list) -> Any:
    """Average responses, or power, over subjects, on the sensors that all have."""
    names = [name for name in evokeds[0].ch_names if all(name in e.ch_names for e in evokeds)]
    result = evokeds[0].copy().pick(names)
    parts = [evoked.copy().pick(names).reorder_channels(names).data for evoked in evokeds]
    result.data = np.mean(parts, axis=0)
    return result


def _mean_maps(maps: list[dict]) -> dict:
    """Average the maps that all subjects have."""
    names = [name for name in maps[0] if all(name in others for others in maps)]
    return {name: mean_evoked([others[name] for others in maps]) for name in names}


def _mean(values: list) -> Any:
    """Average nested dicts and tuples of arrays, leaving out what is not of one shape."""
    if isinstance(values[0], dict):
        shared = [key for key in values[0] if all(key in others for others in values)]
        averaged = {key: _mean([others[key] for others in values]) for key in shared}
        return {key: value for key, value in averaged.items() if value is not None}
    if isinstance(values[0], tuple):
        averaged = tuple(_mean(list(items)) for items in zip(*values, strict=True))
        return None if any(item is None for item in averaged) else averaged
    if len({np.shape(value) for value in values}) > 1:
        return None
    return np.mean(values, axis=0)
