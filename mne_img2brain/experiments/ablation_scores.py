"""Scores of an ablation's rows, and their differences from the reference."""

import dataclasses

import mne
import numpy as np
import pandas as pd

from ..encoder import ImageToBrainEncoder
from ..evaluation import material
from ..evaluation.draws import add_sd_ratio
from ..evaluation.material import Recorded
from ..evaluation.predictions import sensor_scale
from ..evaluation.rows import Rows
from ..metrics import identification_ranks, interval, r_map, time_mask, window_mean
from ..metrics.accuracy import mse_by_image, pearson_by_image

ALL_SENSORS = "all"


@dataclasses.dataclass(frozen=True)
class Judge:
    """How rows are scored."""

    n_draws: int
    window: tuple  # seconds in which r and identification count
    draw_window: tuple  # and the SD of draws
    n_bootstrap: int
    level: float
    seed: int

    def score(
        self, encoder: ImageToBrainEncoder, recorded: Recorded, prediction: np.ndarray,
        sensors: dict, draw_seed: int, sampling: dict | None = None,
    ) -> tuple[pd.DataFrame, np.ndarray]:  # fmt: skip
        """Score a fitted encoder, on each set of sensors by its name.

        Returns one row per set of sensors and metric, and resamples, (n_rows, n_bootstrap).
        """
        draws = None
        if self.n_draws:
            draws = material.draws(encoder, recorded, self.n_draws, draw_seed, **sampling or {})
        tables, resamples = [], []
        for name, ch_names in sensors.items():
            rows = [recorded.info["ch_names"].index(ch_name) for ch_name in ch_names]
            scored = Rows("", self.n_bootstrap, self.level, self.seed)
            self._add(
                scored,
                _of_sensors(recorded, rows),
                prediction[:, rows],
                None if draws is None else draws[:, :, rows],
            )
            table = pd.DataFrame(scored.rows)[
                ["metric", "value", "ci_low", "ci_high", "better", "unit"]
            ]
            table.insert(0, "n_images", len(prediction))
            table.insert(0, "n_sensors", len(rows))
            table.insert(0, "sensors", name)
            tables.append(table)
            resamples += scored.resamples.values()
        return pd.concat(tables, ignore_index=True), np.stack(resamples)

    def _add(
        self, rows: Rows, recorded: Recorded, prediction: np.ndarray, draws: np.ndarray | None
    ) -> None:
        """Add the metrics of one set of sensors."""
        real, inside = recorded.mean, time_mask(recorded.times, *self.window)
        scale = sensor_scale(real)
        squares = "SD of sensor ^ 2"
        predictions = {"": prediction}
        if draws is not None:
            predictions[", mean of draws"] = draws.mean(axis=1)
        for suffix, y in predictions.items():
            rows.add_mean(f"mse{suffix}", mse_by_image(real / scale, y / scale), better="lower",
                          unit=squares)  # fmt: skip
            rows.add_mean(f"pcc{suffix}", pearson_by_image(real / scale, y / scale))
            r = window_mean(r_map(real, y), recorded.times, *self.window)
            resampled = rows.bootstrap_r(real[..., inside], y[..., inside])
            rows.add(f"r{suffix}", r, resampled=resampled)
            better, equal = identification_ranks(real[..., inside], y[..., inside])
            rows.add_mean(f"mean rank{suffix}", 1 + better + equal / 2, better="lower")
        if draws is None:
            return
        for name, by_image, better, unit in (
            ("mse", mse_by_image, "lower", squares),
            ("pcc", pearson_by_image, "higher", ""),
        ):
            each = [by_image(real / scale, draws[:, d] / scale) for d in range(draws.shape[1])]
            rows.add_mean(f"{name}, one draw", np.mean(each, axis=0), better=better, unit=unit)
        keep = [image for image, trials in enumerate(recorded.trials) if len(trials) > 1]
        if len(keep) >= 3 and recorded.n_averaged is not None and draws.shape[1] > 1:
            add_sd_ratio(
                rows,
                draws[keep],
                [recorded.trials[image] for image in keep],
                time_mask(recorded.times, *self.draw_window),
            )


def _of_sensors(recorded: Recorded, rows: list[int]) -> Recorded:
    """Return some sensors of real trials."""
    if len(rows) == len(recorded.info["ch_names"]):
        return recorded
    return dataclasses.replace(
        recorded,
        trials=[of_image[:, rows] for of_image in recorded.trials],
        mean=recorded.mean[:, rows],
        info=mne.pick_info(recorded.info, rows, verbose="error"),
    )


def summarize(rows: dict, reference: str, level: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compare rows, tables and resamples by name, with the reference on the same sensors."""
    of_reference = _by_key(*rows[reference])
    table, by_seed = [], []
    for name, (own, resampled) in rows.items():
        sensors = own["sensors"].iloc[0]
        ablation, _, setting = name.partition(": ")
        own_rows = own[own["sensors"] == sensors]
        seeds = sorted(set(own_rows["seed"]))
        found = _by_key(own, resampled)
        for metric in dict.fromkeys(own_rows["metric"]):
            mine = [found[sensors, metric, seed] for seed in seeds]
            # a reference without random numbers is fitted once
            against = [of_reference.get((sensors, metric, seed)) for seed in seeds]
            head = {"ablation": ablation, "setting": setting, "metric": metric}
            tail = {
                column: mine[0][0][column] for column in ("better", "unit", "n_images", "n_sensors")
            }
            for seed, one, other in zip(seeds, mine, against, strict=True):
                numbers = _compare([one], [other], level)
                by_seed.append({**head, "seed": seed, **numbers, **tail})
            numbers = _compare(mine, against, level)
            values = [one[0]["value"] for one in mine]
            spread = np.std(values, ddof=1) if len(values) > 1 else np.nan
            kept = own_rows.groupby("seed")["denoiser_kept"].first().mean()
            table.append(
                {**head, **numbers, "seed_sd": spread, **tail, "n_seeds": len(seeds),
                 "denoiser_kept": kept}
            )  # fmt: skip
    return pd.DataFrame(table), pd.DataFrame(by_seed)


def _by_key(table: pd.DataFrame, resampled: np.ndarray) -> dict:
    """Look results up by sensors, metric and seed."""
    keys = zip(table["sensors"], table["metric"], table["seed"], strict=True)
    records = zip(table.to_dict("records"), resampled, strict=True)
    return dict(zip(keys, records, strict=True))


def _compare(mine: list, against: list, level: float) -> dict:
    """Return a value and its difference from the reference, the mean over seeds."""
    value = np.mean([row["value"] for row, _ in mine])
    low, high = interval(np.mean([resampled for _, resampled in mine], axis=0), level)
    numbers = {"value": value, "ci_low": low, "ci_high": high}
    other = np.mean([row["value"] for row, _ in against])
    pairs = zip(mine, against, strict=True)
    low, high = interval(np.mean([one[1] - two[1] for one, two in pairs], axis=0), level)
    return {
        **numbers, "reference": other, "difference": value - other,
        "difference_low": low, "difference_high": high,
    }  # fmt: skip
