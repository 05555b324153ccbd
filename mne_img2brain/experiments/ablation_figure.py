"""The figure of an ablation."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ..viz.canvas import COLORS, REFERENCE, tidy
from .figures import save_figure

_PANELS = {
    "mse": "MSE of predict\n(SD² of each sensor)",
    "pcc": "PCC of predict",
    "r": "r across images\nof predict",
    "mean rank": "Mean rank\nby predict",
    "r, mean of draws": "r across images\nof the mean of draws",
    "SD / real": "SD of draws / real",
}


def draw_ablations(table: pd.DataFrame, by_seed: pd.DataFrame, file: Path) -> None:
    """Draw how far each row is from the reference, with intervals over test images, and seeds."""
    everything = table["n_sensors"].max()
    table, by_seed = (one.assign(row=_labels(one, everything)) for one in (table, by_seed))
    rows = list(dict.fromkeys(table["row"]))
    metrics = [metric for metric in _PANELS if metric in set(table["metric"])]
    figure, axes = plt.subplots(
        1, len(metrics), sharey=True, squeeze=False, layout="constrained",
        figsize=(2.2 + 2.1 * len(metrics), 1.6 + 0.27 * len(rows)),
    )  # fmt: skip
    for axis, metric in zip(axes[0], metrics, strict=True):
        of_metric = table[table["metric"] == metric].set_index("row").reindex(rows)
        _panel(axis, of_metric, by_seed[by_seed["metric"] == metric], metric)
    axes[0, 0].set_yticks(range(len(rows)), rows)
    axes[0, 0].set_ylim(len(rows) - 0.5, -0.5)
    n_seeds, n_images = int(table["n_seeds"].max()), int(table["n_images"].max())
    figure.suptitle(
        f"Mean over {n_seeds} seed{'s' * (n_seeds > 1)} (grey: each), interval over {n_images} "
        "test images. Filled: the interval and all seeds are on one side of the line.",
        fontsize=10,
    )
    save_figure(figure, file)


def _labels(table: pd.DataFrame, everything: int) -> list[str]:
    """Name rows; those on some sensors only tell of how many."""
    return [
        ": ".join(part for part in (row.ablation, row.setting) if part)
        + (f" ({row.n_sensors})" if row.n_sensors < everything else "")
        for row in table.fillna({"setting": ""}).itertuples()
    ]


def _panel(axis: Axes, table: pd.DataFrame, by_seed: pd.DataFrame, metric: str) -> None:
    """Draw one metric."""
    ratio = table["better"].eq("ceiling").any()
    names = ("value", "ci_low", "ci_high") if ratio else (
        "difference", "difference_low", "difference_high",
    )  # fmt: skip
    middle, low, high = (table[name].to_numpy(float) for name in names)
    line = 1.0 if ratio else 0.0
    place = np.arange(len(table))
    seeds = [by_seed.loc[by_seed["row"] == row, names[0]].to_numpy() for row in table.index]
    above = [one.min(initial=np.inf) > line for one in seeds]
    below = [one.max(initial=-np.inf) < line for one in seeds]
    sure = ((low > line) & above) | ((high < line) & below)
    axis.axvline(line, color=REFERENCE, lw=1)
    for where, values in zip(place, seeds, strict=True):
        axis.plot(values, np.full(len(values), where), "|", color=REFERENCE, ms=9)
    axis.hlines(place, low, high, color=COLORS[0], lw=1.5)
    for where, face in ((sure, COLORS[0]), (~sure, "white")):
        axis.plot(middle[where], place[where], "o", ms=5, mfc=face, mec=COLORS[0])
    if ratio:
        text = "real trials: 1"
    else:
        better = table["better"].dropna().iloc[0]
        text = f"difference from {table['value'].iloc[0]:.3g}\n({better} is better)"
    axis.set(title=_PANELS[metric], xlabel=text)
    axis.title.set_fontsize(9)
    axis.xaxis.label.set_fontsize(9)
    axis.tick_params(axis="x", labelsize=8)
    axis.xaxis.set_major_locator(plt.MaxNLocator(4))
    axis.grid(axis="y", color="0.93")
    axis.set_axisbelow(True)
    tidy(axis)
