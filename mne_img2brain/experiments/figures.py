"""Figures of an experiment, from the results of its units."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .. import viz
from .._files import whole_file
from ..evaluation.subjects import mean_evoked
from ..viz.canvas import REAL, REFERENCE, styles, tidy
from .tables import AVERAGE, CEILING

_GENERATORS = ("default", "xu2025")
_PROTOCOLS = {"within": "Within subject", "cross": "Unseen subject"}
_AXES = {
    "mse": "MSE (SD² of each sensor)",
    "pcc": "PCC over sensors and times\nof an image",
    "r": "Pearson r across images\n(mean over sensors, 0.05-0.6 s)",
}


def draw_units(results: dict, folder: Path) -> list:
    """Draw responses, scores over time and topographies of all units."""
    written = []
    for name, (about, _, maps) in results.items():
        who = f"{_PROTOCOLS[about['protocol']]}, {about['subject']}"
        for method in _GENERATORS:
            figure = viz.plot_prediction(
                maps[f"{method}: predicted"],
                maps["recorded"],
                labels=("Recorded", "Generated"),
                title=f"{who}: mean response to {about['n_test_images']} new images, {method}",
                show=False,
            )
            written.append(save_figure(figure, folder / f"erp-{name}-{method}.png"))
    for protocol in _PROTOCOLS:
        units = [maps for about, _, maps in results.values() if about["protocol"] == protocol]
        if units:
            written.append(_draw_r(units, protocol, folder / f"r-{protocol}.png"))
    recorded = {about["subject"]: maps["recorded"] for about, _, maps in results.values()}
    for subject, own in recorded.items():
        others = [evoked for name, evoked in recorded.items() if name != subject]
        if others:
            figure = viz.plot_prediction(
                own,
                mean_evoked(others),
                labels=("Training subjects", f"Test: {subject}"),
                title=f"Recorded responses to the test images: {subject} and the mean of "
                f"{len(others)} other{'s' * (len(others) > 1)}",
                show=False,
            )
            written.append(save_figure(figure, folder / f"topographies-{subject}.png"))
    return written


def _draw_r(units: list[dict], protocol: str, file: Path) -> Path:
    """Draw r over time, the mean over subjects."""
    names = [name.removesuffix(": r") for name in units[0] if name.endswith(": r")]
    r = {
        "ridge" if name == "ridge + Gaussian" else name: mean_evoked(
            [maps[f"{name}: r"] for maps in units]
        )
        for name in names
    }
    ceiling = None
    if all("ceiling of r" in maps for maps in units):
        ceiling = mean_evoked([maps["ceiling of r"] for maps in units])
    figure = viz.plot_r_time(r, ceiling, show=False)
    subjects = f"{len(units)} subject{'s' * (len(units) > 1)}"
    figure.axes[0].set_title(f"{_PROTOCOLS[protocol]}, {subjects}")
    return save_figure(figure, file)


def draw_accuracy(table: pd.DataFrame, protocol: str, file: Path) -> Path:
    """Draw MSE, PCC and r of every method and subject, with the noise ceilings."""
    subjects = list(dict.fromkeys(table["subject"]))
    methods = [name for name in dict.fromkeys(table["method"]) if name != CEILING]
    figure, axes = plt.subplots(
        1, len(_AXES), figsize=(min(5 + 1.5 * len(subjects), 14), 3.8), layout="constrained"
    )
    look = styles(methods)
    places = np.arange(len(subjects)) + 0.5 * (np.array(subjects) == AVERAGE)
    values = table.set_index(["method", "subject"])
    for axis, (metric, label) in zip(axes, _AXES.items(), strict=True):
        by_method = {name: values.loc[name, metric][subjects].to_numpy() for name in methods}
        axis.hlines(
            values.loc[CEILING, metric][subjects], places - 0.42, places + 0.42,
            color=REFERENCE, lw=2.5, label="noise ceiling",
        )  # fmt: skip
        # A model that has learnt little may be far off, and would squeeze all others into a line.
        top = 1.6 * by_method[methods[0]].max() if metric == "mse" else np.inf
        for number, (name, of_subjects) in enumerate(by_method.items()):
            at = places + 0.6 * ((number + 0.5) / len(methods) - 0.5)
            color, inside = look[name]["color"], of_subjects <= top
            axis.plot(
                at[inside], of_subjects[inside], "osD^v"[number % 5], ms=6, ls="none",
                color=color, label=name,
            )  # fmt: skip
            for where, value in zip(at[~inside], of_subjects[~inside], strict=True):
                axis.annotate(
                    f"{value:.3g}", (where, top), (0, -24), textcoords="offset points",
                    ha="center", size=8, color=color,
                    arrowprops={"arrowstyle": "->", "color": color},
                )  # fmt: skip
        axis.axvline(places[-1] - 0.75, color=REFERENCE, lw=0.6, ls=":")
        axis.set_xticks(places, subjects, rotation=45 if len(subjects) > 4 else 0)
        axis.set(ylabel=label, xlim=(places[0] - 0.6, places[-1] + 0.6))
        axis.axhline(0, color=REFERENCE, lw=0.8)
        if metric == "mse":
            far = max(map(np.max, by_method.values())) > top
            axis.set_ylim(0, top if far else 1.1 * axis.get_ylim()[1])
        tidy(axis)
    handles, labels = axes[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle(_PROTOCOLS[protocol])
    return save_figure(figure, file)


def draw_clip_scores(scores: pd.DataFrame, file: Path) -> Path:
    """Draw the distribution of CLIP scores between images and captions."""
    splits = list(dict.fromkeys(scores["split"]))
    figure, axes = plt.subplots(
        1, len(splits), figsize=(4.2 * len(splits), 3.2), layout="constrained", squeeze=False
    )
    top = max(scores["clip_score"].max(), scores["shuffled"].max(), 1e-3)
    edges = np.linspace(0, 1.02 * top, 41)
    for axis, split in zip(axes[0], splits, strict=True):
        part = scores[scores["split"] == split]
        axis.hist(part["clip_score"], edges, color="#0072B2", alpha=0.85, label="own caption")
        axis.hist(
            part["shuffled"], edges, histtype="step", color=REFERENCE, lw=1.5,
            label="another image's caption",
        )  # fmt: skip
        axis.axvline(part["clip_score"].median(), color=REAL, lw=1, ls="--")
        axis.set(
            xlabel="CLIP score",
            ylabel="Number of images",
            title=f"{split}: median {part['clip_score'].median():.2f} ({len(part)} images)",
        )
        tidy(axis)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return save_figure(figure, file)


def save_figure(figure: Figure, file: Path) -> Path:
    """Write a figure and close it."""
    with whole_file(file) as part:
        figure.savefig(part, dpi=120)
    plt.close(figure)
    return file
