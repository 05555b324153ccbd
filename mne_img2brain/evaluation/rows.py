"""The table that an evaluation fills, row by row."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pandas as pd

from ..metrics import bootstrap, interval
from ..metrics.uncertainty import r_from_moments, r_moments

COLUMNS = (
    "encoder metric value ci_low ci_high chance ceiling ceiling_low ceiling_high better unit n"
).split()
# 5e6 float64 are 40 MB.
_NUMBERS_AT_ONCE = 5e6


class Rows:
    """Rows of one encoder, with what each was resampled to.

    Resamples of images have the same seed for all encoders, which makes differences paired.
    """

    def __init__(self, encoder: str, n_bootstrap: int, level: float, seed: int) -> None:
        self.encoder = encoder
        self.n_bootstrap = n_bootstrap
        self.level = level
        self.seed = seed
        self.rows = []
        self.resamples = {}

    def add(
        self, metric: str, value: float, *parts: np.ndarray, statistic: Callable | None = None,
        resampled: np.ndarray | None = None, transform: Callable | None = None,
        chance: float = np.nan, ceiling: float = np.nan,
        band: tuple[float, float] = (np.nan, np.nan),
        better: Literal["higher", "lower", "ceiling", ""] = "higher", unit: str = "",
        n: int | None = None,
    ) -> None:  # fmt: skip
        """Add one row.

        The value is a statistic of means over images of the parts, each (n_images, ...), or of the
        only part the mean; its resamples are of the same, or ``resampled``, (n_bootstrap,). Without
        either there is no interval. ``transform`` comes last, on the value and on resamples.
        ``chance`` and ``ceiling`` are what knowing nothing and everything (or being real) gives,
        ``band`` between what bounds the ceiling is, where it is not known better.
        """
        low = high = np.nan
        if parts:
            resampled = self.bootstrap(float if statistic is None else statistic, *parts)
            n = len(parts[0])
        if resampled is not None:
            # Resampling biases a correlation or a median by the order of 1 / n_images, which is no
            # uncertainty: resamples are moved so that their mean is the value.
            resampled = resampled + (value - np.nanmean(resampled))
            resampled = resampled if transform is None else transform(resampled)
            self.resamples[metric] = resampled
            low, high = interval(resampled, self.level)
        value = value if transform is None else transform(value)
        values = (
            self.encoder, metric, float(value), low, high, chance, ceiling, *band, better, unit, n,
        )  # fmt: skip
        self.rows.append(dict(zip(COLUMNS, values, strict=True)))

    def add_mean(self, metric: str, by_image: np.ndarray, **given: Any) -> None:
        """Add the mean of what there is of every image."""
        self.add(metric, by_image.mean(), by_image, **given)

    def bootstrap(self, statistic: Callable, *parts: np.ndarray) -> np.ndarray:
        """Return a function of means over images, for every resample of images."""
        return bootstrap(statistic, *parts, n_resamples=self.n_bootstrap, random_state=self.seed)

    def bootstrap_r(self, real: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        """Return the mean over sensors and times of r across images, for every resample."""
        n_images, n_sensors = real.shape[:2]
        step = max(1, int(_NUMBERS_AT_ONCE // (5 * real[:, :1].size)))
        total = np.zeros(self.n_bootstrap)
        for start in range(0, n_sensors, step):
            moments = r_moments(*(y[:, start : start + step] for y in (real, prediction)))
            total += self.bootstrap(lambda m: r_from_moments(m).sum(), moments)
        return total / (real.size / n_images)


def frame(rows: list[Rows]) -> pd.DataFrame:
    """Return the table of several encoders: one row per encoder and metric."""
    return pd.DataFrame([row for of_one in rows for row in of_one.rows], columns=COLUMNS)


def cells(table: pd.DataFrame) -> list[tuple[str, str, str, str]]:
    """Write value, interval, chance and ceiling of each row of a table; nothing for NaN."""

    def text(value: float, end: float | None = None) -> str:
        between = "" if end is None else f" to {end:.3g}"
        return "" if np.isnan(value) else f"{value:.3g}{between}"

    return [
        (
            text(row.value),
            text(row.ci_low, row.ci_high),
            text(row.chance),
            text(row.ceiling_low, row.ceiling_high) or text(row.ceiling),
        )
        for row in table.itertuples()
    ]
