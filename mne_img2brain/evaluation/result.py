"""What an evaluation found."""

import dataclasses

import mne
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .. import viz
from .._types import AxesLike, PathLike
from ..metrics import interval, time_mask
from .ceilings import NOTHING


@dataclasses.dataclass(repr=False)
class Evaluation:
    """Encoders against recordings.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per encoder and metric. ``value`` with its interval ``ci_low`` to ``ci_high`` (NaN
        where a metric has none); ``chance``: what a prediction that knows nothing of the image
        gets; ``ceiling``: what the noise in the recording allows, or real trials get against real
        trials; ``ceiling_low`` and ``ceiling_high``, where no more is known than bounds of the
        ceiling (RSA, identification); ``better``: ``higher``, ``lower`` or ``ceiling``, where being
        like real is the goal; ``unit``; ``n``: how many images. Rows of ``"recorded"`` are of
        recorded trials alone. :doc:`/metrics` defines them all.
    maps : dict of str to mne.EvokedArray
        Maps over sensors and times: ``"recorded"``, ``"ceiling of r"``, and for every encoder
        ``"name: r"``, ``"name: predicted"``, ``"name: SD / real"`` and others.
    curves : dict of str to dict
        What the figures show, by encoder.
    resamples : dict of str to dict
        The bootstrap resamples of each encoder's metrics, paired across encoders.
    n_images : int
        How many distinct images.
    n_trials : list of int
        How many trials of each.
    window, draw_window : tuple of float
        The windows of predictions and of draws, in seconds.
    level : float
        The content of the intervals.
    differ : dict of str to bool
        Whether images differ in the induced power of each band, by recorded trials alone; empty
        where it was not judged.
    tfr : dict of str to dict of str to mne.time_frequency.AverageTFR
        Induced ``"power"`` and inter-trial ``"coherence"`` over time and frequency, the mean over
        images, of ``"recorded"`` trials and of each encoder's draws.
    cross_validated : dict of str to float
        The r that encoders reached across images left out within their fit, NaN where not known.
    subjects : dict of str to Evaluation | None
        The evaluation of each subject, where there are several; the rest is then their mean, and
        intervals are over subjects.

    See Also
    --------
    mne_img2brain.evaluate : Makes one.

    Examples
    --------
    >>> judged = evaluate(encoder, images, epochs)  # doctest: +SKIP
    >>> judged.value("r")  # doctest: +SKIP
    >>> judged.report().save("report.html")  # doctest: +SKIP
    """

    table: pd.DataFrame
    maps: dict
    curves: dict
    resamples: dict
    n_images: int
    n_trials: list
    window: tuple
    draw_window: tuple
    level: float
    differ: dict = dataclasses.field(default_factory=dict)
    tfr: dict = dataclasses.field(default_factory=dict)
    cross_validated: dict = dataclasses.field(default_factory=dict)
    subjects: dict | None = None

    def __repr__(self) -> str:
        return (
            f"<Evaluation | {', '.join(self.encoders)}: "
            f"{f'{len(self.subjects)} subjects, ' if self.subjects else ''}{self.n_images} images, "
            f"{sum(self.n_trials)} trials, {self.table['metric'].nunique()} metrics>"
        )

    @property
    def sentence(self) -> str:
        """What was learnt, relative to the noise ceiling and to the other encoders."""
        first, *others = self.encoders
        rows = self.table[self.table["metric"] == "r"].set_index("encoder")
        row = rows.loc[first]
        if row["ci_low"] > 0 or (np.isnan(row["ci_low"]) and row["value"] > 0):
            said = f"{first} predicts how responses to images differ"
        elif self.distinguished is False:
            said = f"These recordings do not tell whether {first} predicts how images differ"
        else:
            said = f"{first} does not predict how responses to images differ"
        said += f": r = {row['value']:.2f}"
        if np.isfinite(row["ci_low"]):
            said += f" ({row['ci_low']:.2f} to {row['ci_high']:.2f})"
        if np.isfinite(row["ceiling"]):
            said += (
                f", {100 * row['value'] / row['ceiling']:.0f} % of the noise ceiling of "
                f"{row['ceiling']:.2f}"
            )
        elif self.distinguished is False:
            said += f"; there is no noise ceiling, for {NOTHING}"
        for other in others:
            gain = self.difference(first, other).set_index("metric")
            said += f"; {other} reaches {rows.loc[other, 'value']:.2f}"
            if "r" in gain.index:
                low, high = gain.loc["r", ["ci_low", "ci_high"]]
                better = "less" if low > 0 else "more" if high < 0 else "not told apart from it"
                said += f" ({better})"
        return f"{said}.{self._induced()}"

    def _induced(self) -> str:
        """Return what is said of induced power, where images differ in it."""
        bands = [band for band, differs in self.differ.items() if differs]
        if not bands:
            return ""
        table, said = self.table.set_index(["encoder", "metric"]), []
        for name in self.encoders:
            r = []
            for band in bands:
                key = name, f"r of induced power, {band}"
                if key in table.index:
                    value, ceiling = table.loc[key, ["value", "ceiling"]]
                    known = f" (ceiling {ceiling:.2f})" if np.isfinite(ceiling) else ""
                    r.append(f"{value:.2f} in {band}{known}")
            if r:
                said.append(f"draws of {name} follow with r = {', '.join(r)}")
        text = f" Images differ in induced {', '.join(bands)} power"
        return f"{text}: {'; '.join(said)}." if said else f"{text}."

    @property
    def distinguished(self) -> bool | None:
        """Whether the recordings distinguish the images; None without repeats of three."""
        if "ceiling of r" not in self.maps:
            return None
        ceiling = self.maps["ceiling of r"]
        inside = time_mask(ceiling.times, *self.window)
        return bool(np.isfinite(ceiling.data[:, inside]).any())

    @property
    def encoders(self) -> list[str]:
        """Names of the encoders."""
        return list(self.curves)

    def value(self, metric: str, encoder: str | None = None) -> float:
        """Look a metric up, of one encoder; ``None`` is the only or the first one."""
        encoder = self.encoders[0] if encoder is None else encoder
        found = self.table.query("encoder == @encoder and metric == @metric")
        if found.empty:
            known = self.table.query("encoder == @encoder")["metric"].tolist()
            raise KeyError(f"{encoder!r} has no metric {metric!r}; it has {known}.")
        return float(found["value"].iloc[0])

    def difference(self, first: str, second: str) -> pd.DataFrame:
        """Compare two encoders, metric by metric.

        Parameters
        ----------
        first, second : str
            The encoders.

        Returns
        -------
        pandas.DataFrame
            One row per metric that both have with an interval: the ``difference``, first minus
            second, its interval ``ci_low`` to ``ci_high`` and its standard error ``se``, from a
            bootstrap over images (or subjects) that is paired: each resample holds the same for
            both.

        Raises
        ------
        KeyError
            If there is no such encoder.
        """
        for name in (first, second):
            if name not in self.resamples:
                raise KeyError(f"There is no encoder {name!r}; there are {self.encoders}.")
        rows = []
        for metric, of_first in self.resamples[first].items():
            if metric not in self.resamples[second]:
                continue
            resampled = of_first - self.resamples[second][metric]
            low, high = interval(resampled, self.level)
            rows.append(
                {
                    "metric": metric,
                    "difference": self.value(metric, first) - self.value(metric, second),
                    "ci_low": low,
                    "ci_high": high,
                    "se": float(np.std(resampled)),
                }
            )
        return pd.DataFrame(rows, columns=["metric", "difference", "ci_low", "ci_high", "se"])

    def compare(self) -> pd.DataFrame:
        """Put encoders side by side: one row per metric, a column each, then chance and ceiling."""
        table = self.table[self.table["encoder"].isin(self.encoders)]
        order = list(dict.fromkeys(table["metric"]))
        wide = table.pivot(index="metric", columns="encoder", values="value")
        ends = table.groupby("metric")[["chance", "ceiling"]].first()
        return wide[self.encoders].join(ends).loc[order]

    def to_data_frame(self) -> pd.DataFrame:
        """Return a copy of the table, as other objects of MNE do."""
        return self.table.copy()

    def plot_r_time(self, *, axes: AxesLike = None, show: bool = True) -> Figure:
        """Draw r over time beside the noise ceiling, by :func:`mne_img2brain.viz.plot_r_time`."""
        r = {name: self.maps[f"{name}: r"] for name in self.encoders}
        ceiling = self.maps.get("ceiling of r")
        return viz.plot_r_time(r, ceiling, window=self.window, axes=axes, show=show)

    def plot_identification(self, *, axes: AxesLike = None, show: bool = True) -> Figure:
        """Draw how well images are identified: :func:`mne_img2brain.viz.plot_identification`."""
        return viz.plot_identification(
            {name: curves["identification"][:2] for name, curves in self.curves.items()},
            {name: curves["n-way"] for name, curves in self.curves.items()},
            axes=axes,
            show=show,
        )

    def plot_calibration(self, *, axes: AxesLike = None, show: bool = True) -> Figure:
        """Draw where real trials are among draws: :func:`mne_img2brain.viz.plot_calibration`."""
        ranks = {name: one["ranks"] for name, one in self.curves.items() if "ranks" in one}
        if not ranks:
            raise ValueError(
                "No draws were judged: evaluate with n_draws of 2 or more, an encoder that can "
                "draw, and two trials or more of three images."
            )
        return viz.plot_calibration(ranks, axes=axes, show=show)

    def plot_power(
        self,
        encoder: str | None = None,
        *,
        picks: str | list | None = None,
        axes: AxesLike = None,
        show: bool = True,
    ) -> Figure:
        """Draw induced power over time and frequency, and of images against that of their draws.

        Parameters
        ----------
        encoder : str | None, default None
            The encoder; ``None`` is the first one that draws.
        picks : str | array-like | slice | None, default None
            Sensors that maps are averaged over; ``None`` is all.
        axes : array-like of matplotlib.axes.Axes | None, default None
            Four; ``None`` makes a new figure.
        show : bool, default True
            Whether to show the figure.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ValueError
            If induced power of draws of that encoder was not judged.
        """
        drawing = [name for name, curves in self.curves.items() if "power" in curves]
        encoder = drawing[0] if encoder is None and drawing else encoder
        if encoder not in drawing:
            raise ValueError(
                f"Induced power of draws of {encoder!r} was not judged: that needs n_draws of 4 or "
                "more, an encoder that can draw, four trials or more of three images, and epochs "
                "that hold two cycles of a band."
            )
        figure, axes = viz.canvas.get_axes(axes, 4, n_rows=2, figsize=(9, 6.2))
        recorded, generated = (self.tfr[name]["power"] for name in ("recorded", encoder))
        viz.plot_time_frequency(recorded, generated, picks=picks, axes=axes[:3], show=False)
        power = self.curves[encoder]["power"]
        return viz.plot_power_calibration(power, differ=self.differ, axes=axes[3], show=show)

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        from .report import summary_html

        return summary_html(self)

    def report(self, fname: PathLike | None = None, *, overwrite: bool = False) -> mne.Report:
        """Make a page with the table and the figures.

        Parameters
        ----------
        fname : path-like | None, default None
            Where the page is saved (``.html`` or ``.h5``); ``None`` does not save it.
        overwrite : bool, default False
            Whether a file of that name is replaced.

        Returns
        -------
        mne.Report
            The page.
        """
        from .report import make_report

        report = make_report(self)
        if fname is not None:
            report.save(fname, overwrite=overwrite, open_browser=False, verbose="error")
        return report
