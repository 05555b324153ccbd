"""The page of an evaluation."""

import html
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import mne
import numpy as np
from matplotlib.figure import Figure

from .. import viz
from .._log import progress_bar
from .ceilings import NOTHING
from .rows import cells

if TYPE_CHECKING:
    from . import Evaluation


def make_report(evaluation: "Evaluation") -> mne.Report:
    """Put an evaluation's table and figures on one page."""
    report = mne.Report(title="Images to brain responses: evaluation", verbose="error")
    report.add_html(summary_html(evaluation), title="Table", tags=("table",))
    for title, draw, caption in progress_bar(list(_figures(evaluation)), "Drawing the report"):
        figure = draw()
        report.add_figure(figure, title=title, caption=caption, image_format="png")
        plt.close(figure)
    return report


def _figures(evaluation: "Evaluation") -> Iterator[tuple[str, Callable[[], Figure], str]]:
    """Yield title, what draws the figure, and caption of everything there is to show."""
    maps, curves = evaluation.maps, evaluation.curves
    names = evaluation.encoders
    for name in names:
        yield (
            f"{name}: evoked responses",
            partial(viz.plot_prediction, maps[f"{name}: predicted"], maps["recorded"], show=False),
            "Mean over images of the recorded and the predicted response, and their difference.",
        )
    r = {name: maps[f"{name}: r"] for name in names}
    yield (
        "r over time",
        partial(evaluation.plot_r_time, show=False),
        "Correlation across images with the mean of all trials. The ceiling is what the noise-free "
        "response would reach; in grey are times at which the recordings do not distinguish the "
        "images. Shaded: the window of the table.",
    )
    for name in names:
        if np.isfinite(r[name].data).any() and np.abs(np.nan_to_num(r[name].data)).max() > 0:
            yield (
                f"{name}: r of every sensor",
                partial(
                    viz.plot_score_joint, r[name], title=f"{name}: r across images", show=False
                ),
                "Correlation across images of every sensor.",
            )
    yield (
        "Identification",
        partial(evaluation.plot_identification, show=False),
        "How often the predicted response of the right image is the one most like the recorded "
        "response.",
    )
    with_rsa = {name: curves[name]["rsa"] for name in names if "rsa" in curves[name]}
    if with_rsa:
        courses = {name: course[:2] for name, course in with_rsa.items()}
        ceiling = next(iter(with_rsa.values()))[2]
        yield (
            "Representational similarity",
            partial(viz.plot_rsa, courses, ceiling, show=False),
            "Similarity of the dissimilarities between images, in windows of 50 ms.",
        )
    yield from _figures_of_draws(evaluation)


def _figures_of_draws(evaluation: "Evaluation") -> Iterator[tuple[str, Callable, str]]:
    """Yield the figures on draws, if there are draws."""
    curves = evaluation.curves
    drawing = [name for name in evaluation.encoders if "ranks" in curves[name]]
    if not drawing:
        return
    times, _, real = curves[drawing[0]]["sd"]
    drawn = {name: curves[name]["sd"][1] for name in drawing}
    yield (
        "Trial-to-trial variability",
        partial(viz.plot_trial_sd, times, drawn, real, window=evaluation.draw_window, show=False),
        "Root of the mean within-image variance of draws and of real trials, the mean over sensors "
        "in units of each sensor's real SD.",
    )
    freqs, _, real = curves[drawing[0]]["spectrum"]
    drawn = {name: curves[name]["spectrum"][1] for name in drawing}
    yield (
        "Spectra",
        partial(viz.plot_spectra, freqs, drawn, real, show=False),
        "Power of single trials, the mean over sensors and trials, and the difference.",
    )
    yield (
        "Calibration",
        partial(evaluation.plot_calibration, show=False),
        "Ranks of real single-trial values among the draws, and how many are inside the draws' "
        "central intervals.",
    )
    for name in drawing:
        if "power" not in curves[name]:
            continue
        yield (
            f"{name}: induced power",
            partial(evaluation.plot_power, name, show=False),
            "Power of single trials after the average of the image's trials is taken off, the mean "
            "over images and sensors: recorded trials and draws against their baseline, draws "
            "against recorded trials; and power of images, over sensors and times, against that "
            "of their draws.",
        )
        recorded, generated = (evaluation.tfr[one]["coherence"] for one in ("recorded", name))
        yield (
            f"{name}: inter-trial coherence",
            partial(viz.plot_time_frequency, recorded, generated, kind="coherence", show=False),
            "How alike the phases of an image's trials are, free of the bias of few trials.",
        )


def summary_html(evaluation: "Evaluation") -> str:
    """Put what was learnt in one sentence, and the table below it."""
    n_trials = sorted(set(evaluation.n_trials))
    trials = f"{n_trials[0]}" if len(n_trials) == 1 else f"{n_trials[0]} to {n_trials[-1]}"
    rows = []
    for row, (value, *others) in zip(
        evaluation.table.itertuples(), cells(evaluation.table), strict=True
    ):
        said = ""
        if row.encoder == "recorded":
            differs = evaluation.differ.get(row.metric.rpartition(", ")[2])
            said = "yes, " if differs else "no, "
        wanted = "as ceiling" if row.better == "ceiling" else row.better
        line = (row.encoder, row.metric, said + value, *others, wanted, row.unit)
        rows.append("<tr>" + "".join(f"<td>{html.escape(str(c))}</td>" for c in line) + "</tr>")
    head = (
        "encoder", "metric", "value", f"{100 * evaluation.level:.0f} % interval over images",
        "chance", "ceiling", "better", "unit",
    )  # fmt: skip
    unknown = (
        "" if evaluation.distinguished is not False else f" There is no ceiling of r: {NOTHING}."
    )
    left_out = {n: r for n, r in evaluation.cross_validated.items() if np.isfinite(r)}
    fitted = ", ".join(f"{html.escape(name)} {r:.3f}" for name, r in left_out.items())
    return (
        f"<p><strong>{html.escape(evaluation.sentence)}</strong></p>"
        f"<p>{evaluation.n_images} images that are in no fit, {trials} trials of each. r, "
        f"identification and RSA from {evaluation.window[0]} to {evaluation.window[1]} s; standard "
        f"deviation, coverage and induced power of draws from {evaluation.draw_window[0]} to "
        f"{evaluation.draw_window[1]} s. The ceiling is what the noise-free response would get, or "
        f"real trials against real trials.{unknown}</p>"
        f"{f'<p>Cross-validated r within the fit: {fitted}.</p>' if fitted else ''}"
        "<table class='table table-sm table-hover'><thead><tr>"
        + "".join(f"<th>{html.escape(name)}</th>" for name in head)
        + "</tr></thead><tbody>"
        + "".join(rows)
        + "</tbody></table>"
    )
