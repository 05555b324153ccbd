"""Scores of an ablation's rows, and their differences from the reference."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import mne
import numpy as np
import pandas as pd

from ..evaluation import material
from ..metrics import bootstrap, identification_ranks, interval, r_map, time_mask, window_mean
from ..metrics.accuracy import mse_by_image, pearson_by_image
from ..metrics.uncertainty import r_from_moments, r_moments
from ..metrics.variability import within_image_variance

if TYPE_CHECKING:
    from ..encoder import ImageToBrainEncoder
    from ..evaluation.material import Recorded

__all__ = ["Judge", "summarize"]

ALL_SENSORS = "all"
# 2e7 float64 are 160 MB.
_NUMBERS_AT_ONCE = 2e7


@dataclasses.dataclass(frozen=True)
class Judge:
    """How rows are scored.

    Attributes
    ----------
    n_draws : int
        Draws of each test image; 0 scores predictions alone.
    window, draw_window : tuple of float
        From when to when, in seconds, r and identification count, and the SD of draws.
    n_bootstrap : int
        Resamples of test images.
    level : float
        The content of confidence intervals.
    seed : int
        Of resamples: the same for every row, which pairs them.
    """

    n_draws: int
    window: tuple
    draw_window: tuple
    n_bootstrap: int
    level: float
    seed: int

    def score(
        self,
        encoder: "ImageToBrainEncoder",
        recorded: "Recorded",
        prediction: np.ndarray,
        sensors: dict,
        draw_seed: int,
        sampling: dict | None = None,
    ) -> tuple[Any, np.ndarray]:
        """Score a fitted encoder.

        Parameters
        ----------
        encoder : ImageToBrainEncoder
            Fitted.
        recorded : Recorded
            Test trials of the encoder's sensors.
        prediction : array, shape (n_images, n_channels, n_times)
            What the encoder predicts of them.
        sensors : dict of str to list of str
            Sets of sensors that are scored, by name.
        draw_seed : int
            Of draws.
        sampling : dict | None
            What ``sample`` is given: guidance, steps, solver.

        Returns
        -------
        table : pandas.DataFrame
            One row per set of sensors and metric.
        resamples : array, shape (n_rows, n_bootstrap)
            What each value is in each resample of test images.
        """
        draws = None
        if self.n_draws:
            draws = material.draws(encoder, recorded, self.n_draws, draw_seed, **sampling or {})
        tables, resamples = [], []
        for name, ch_names in sensors.items():
            rows = [recorded.info["ch_names"].index(ch_name) for ch_name in ch_names]
            entries = self._entries(
                _of_sensors(recorded, rows),
                prediction[:, rows],
                None if draws is None else draws[:, :, rows],
            )
            table = pd.DataFrame([entry[0] for entry in entries])
            table.insert(0, "n_images", len(prediction))
            table.insert(0, "n_sensors", len(rows))
            table.insert(0, "sensors", name)
            tables.append(table)
            resamples += [entry[1] for entry in entries]
        return pd.concat(tables, ignore_index=True), np.stack(resamples)

    def _entries(
        self, recorded: "Recorded", prediction: np.ndarray, draws: np.ndarray | None
    ) -> list[tuple]:
        """Return the metrics of one set of sensors, each with its resamples."""
        real, times = recorded.mean, recorded.times
        # In SI units an error of EEG is 1e-12: sensors are scaled to an SD of one.
        scale = real.std(axis=(0, 2))
        scale = np.where(scale > 0, scale, 1.0)[:, None]
        entries = self._accuracy(real, prediction, scale, times, "")
        if draws is None:
            return entries
        entries += self._accuracy(real, draws.mean(axis=1), scale, times, ", mean of draws")
        for name, by_image, better, unit in (
            ("mse", mse_by_image, "lower", "SD of sensor ^ 2"),
            ("pcc", pearson_by_image, "higher", ""),
        ):
            each = [by_image(real / scale, draws[:, d] / scale) for d in range(draws.shape[1])]
            entries.append(self._mean(f"{name}, one draw", np.mean(each, axis=0), better, unit))
        keep = [image for image, trials in enumerate(recorded.trials) if len(trials) > 1]
        if len(keep) >= 3 and recorded.n_averaged is not None and draws.shape[1] > 1:
            inside = time_mask(times, *self.draw_window)
            variances = [
                within_image_variance(trials)[..., inside]
                for trials in (draws[keep], [recorded.trials[image] for image in keep])
            ]
            entries.append(
                self._entry("SD / real", *variances, statistic=_sd_ratio, better="as real")
            )
        return entries

    def _accuracy(
        self,
        real: np.ndarray,
        prediction: np.ndarray,
        scale: np.ndarray,
        times: np.ndarray,
        suffix: str,
    ) -> list[tuple]:
        """Return the metrics of a prediction."""
        window = self.window
        inside = time_mask(times, *window)
        errors = mse_by_image(real / scale, prediction / scale)
        within = pearson_by_image(real / scale, prediction / scale)
        better, equal = identification_ranks(real[..., inside], prediction[..., inside])
        r = window_mean(r_map(real, prediction), times, *window)
        resampled = self._resampled_r(real[..., inside], prediction[..., inside])
        return [
            self._mean(f"mse{suffix}", errors, "lower", "SD of sensor ^ 2"),
            self._mean(f"pcc{suffix}", within, "higher"),
            self._finished(f"r{suffix}", r, resampled, "higher"),
            self._mean(f"mean rank{suffix}", 1 + better + equal / 2, "lower"),
        ]

    def _resampled_r(self, real: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        """Bootstrap the mean of r over sensors and times, some sensors at a time."""
        n_images, n_sensors, n_times = real.shape
        step = max(1, int(_NUMBERS_AT_ONCE // (5 * n_images * n_times)))
        total = 0.0
        for start in range(0, n_sensors, step):
            some = slice(start, start + step)
            total = total + self._bootstrap(
                lambda moments: r_from_moments(moments).sum(),
                r_moments(real[:, some], prediction[:, some]),
            )
        return total / (n_sensors * n_times)

    def _bootstrap(self, statistic: Callable | type, *parts: Any) -> np.ndarray:
        return bootstrap(statistic, *parts, n_resamples=self.n_bootstrap, random_state=self.seed)

    def _mean(
        self, metric: str, by_image: np.ndarray, better: str, unit: str = ""
    ) -> tuple[dict, np.ndarray]:
        """Return a metric that is a mean over images."""
        return self._entry(metric, by_image, statistic=float, better=better, unit=unit)

    def _entry(
        self, metric: str, *parts: Any, statistic: Callable | type, better: str, unit: str = ""
    ) -> tuple[dict, np.ndarray]:
        """Return a metric that is a function of means over images."""
        value = statistic(*(part.mean(axis=0) for part in parts))
        return self._finished(metric, value, self._bootstrap(statistic, *parts), better, unit)

    def _finished(
        self, metric: str, value: float, resampled: np.ndarray, better: str, unit: str = ""
    ) -> tuple[dict, np.ndarray]:
        """Return a row of the table and the resamples of its value."""
        # Resampling biases a correlation or a median by the order of 1 / n_images, which is no
        # uncertainty: resamples are moved so that their mean is the value.
        resampled = resampled + (value - np.nanmean(resampled))
        low, high = interval(resampled, self.level)
        row = {"metric": metric, "value": float(value), "ci_low": low, "ci_high": high,
               "better": better, "unit": unit}  # fmt: skip
        return row, resampled


def _sd_ratio(generated: np.ndarray, real: np.ndarray) -> float:
    """Median over cells of SD of draws over SD of trials, of mean variances."""
    return float(np.median(np.sqrt(generated[real > 0] / real[real > 0])))


def _of_sensors(recorded: "Recorded", rows: list[int]) -> Any:
    """Return some sensors of real trials."""
    if len(rows) == len(recorded.info["ch_names"]):
        return recorded
    return dataclasses.replace(
        recorded,
        trials=[of_image[:, rows] for of_image in recorded.trials],
        mean=recorded.mean[:, rows],
        info=mne.pick_info(recorded.info, rows, verbose="error"),
    )


def summarize(rows: dict, reference: str, level: float) -> tuple[Any, Any]:
    """Compare rows with the reference, on the same test images and the same sensors.

    Parameters
    ----------
    rows : dict of str to tuple
        By name, of rows that are done: the table with a row per seed, set of sensors and metric,
        and their resamples, shape (n_rows, n_bootstrap).
    reference : str
        Which of them is the reference.
    level : float
        The content of confidence intervals.

    Returns
    -------
    table : pandas.DataFrame
        The mean over seeds: one row per row of the ablation and metric.
    by_seed : pandas.DataFrame
        The same for every seed.
    """
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


def _by_key(table: Any, resampled: np.ndarray) -> dict:
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
