"""The table that an evaluation fills, row by row."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import pandas as pd

from ..metrics import bootstrap, interval

COLUMNS = (
    "encoder",
    "metric",
    "value",
    "ci_low",
    "ci_high",
    "chance",
    "ceiling",
    "ceiling_low",
    "ceiling_high",
    "better",
    "unit",
    "n",
)


class Rows:
    """Rows of one encoder, with what each was resampled to.

    Parameters
    ----------
    encoder : str
        The name of the encoder.
    n_bootstrap : int
        How many resamples of images.
    level : float
        The content of the intervals.
    seed : int
        The seed of the resamples, the same for all encoders: that makes differences paired.
    """

    def __init__(self, encoder: str, n_bootstrap: int, level: float, seed: int) -> None:
        self.encoder = encoder
        self.n_bootstrap = n_bootstrap
        self.level = level
        self.seed = seed
        self.rows = []
        self.resamples = {}

    def add(
        self,
        metric: str,
        value: float,
        *parts: np.ndarray,
        statistic: Callable | None = None,
        chance: float = np.nan,
        ceiling: float = np.nan,
        band: tuple[float, float] = (np.nan, np.nan),
        better: Literal["higher", "lower", "ceiling"] = "higher",
        unit: str = "",
        n: int | None = None,
    ) -> None:
        """Add one row.

        Parameters
        ----------
        metric : str
            What is measured.
        value : float
            The value.
        *parts : array, shape (n_images, ...)
            What means over images the value is a function of; without any there is no interval.
        statistic : callable | None
            That function; ``None`` is the mean of the only part.
        chance, ceiling : float
            What knowing nothing and what knowing everything (or being real) would give.
        band : tuple of float
            Between what bounds the ceiling is, where it is not known better.
        better : "higher" | "lower" | "ceiling"
            Which values are better; "ceiling" wants what real trials have, no more and no less.
        unit : str
            The unit of the value.
        n : int | None
            How many images there are; ``None`` takes it from the parts.
        """
        low = high = np.nan
        if parts:
            statistic = float if statistic is None else statistic
            resampled = bootstrap(
                statistic, *parts, n_resamples=self.n_bootstrap, random_state=self.seed
            )
            # Resampling biases a correlation or a median by the order of 1 / n_images, which is no
            # uncertainty: resamples are moved so that their mean is the value.
            resampled = resampled + (value - np.nanmean(resampled))
            self.resamples[metric] = resampled
            low, high = interval(resampled, self.level)
            n = len(parts[0])
        values = (
            self.encoder,
            metric,
            float(value),
            low,
            high,
            chance,
            ceiling,
            *band,
            better,
            unit,
            n,
        )
        self.rows.append(dict(zip(COLUMNS, values, strict=True)))


def frame(rows: list[Rows]) -> pd.DataFrame:
    """Make a table of the rows of several encoders.

    Parameters
    ----------
    rows : list of Rows
        One for each encoder.

    Returns
    -------
    pandas.DataFrame
        One row per encoder and metric.
    """
    return pd.DataFrame([row for of_one in rows for row in of_one.rows], columns=list(COLUMNS))
