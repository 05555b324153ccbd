"""Rows on draws."""

import numpy as np
from scipy.stats import t as student

from ..metrics import (
    classifier_two_sample,
    nearest_distance,
    rank_histogram,
    spectra,
    time_mask,
    trial_halves,
)
from ..metrics.calibration import coverage, crps, energy_score_by_image
from ..metrics.spectrum import band_masks, channel_covariance, covariance_distance
from ..metrics.spectrum import lag_one_autocorrelation as lag_one
from ..metrics.variability import within_image_variance
from .asked import Options
from .material import Recorded, span
from .rows import Rows


class Real:
    """What real trials are compared with themselves, once for all encoders.

    Of an image no more trials are compared with others than there are draws of it.
    """

    def __init__(
        self, recorded: Recorded, classifiers: dict | None, seed: int, n_draws: int
    ) -> None:
        self.keep = [index for index, t in enumerate(recorded.trials) if len(t) >= 2]
        self.trials = [recorded.trials[index] for index in self.keep]
        self.scale = np.sqrt(within_image_variance(self.trials).mean(axis=(0, 2)))
        self.scale = np.where(self.scale > 0, self.scale, 1.0)
        halves = trial_halves(self.trials, seed)
        first, second = ([t[:n_draws] for t in half] for half in halves)
        self.accuracy = classifier_two_sample(
            first, second, classifiers=classifiers, random_state=seed
        )
        first, second = (channel_covariance(half).mean(axis=0) for half in halves)
        self.distance = covariance_distance(first, second)
        self.n_halves = [sum(map(len, half)) for half in halves]
        self.energy, self.crps = np.nan, np.nan
        if min(map(len, halves[0])) >= 2:
            self.energy = energy_score_by_image(*halves, scale=self.scale).mean()
            self.crps = (crps(*halves) / self.scale[:, None]).mean()
        self.autocorrelation = lag_one(self.trials)

    def distance_to(self, n_draws: int) -> float:
        """Return how far so many draws that are like real trials are from them, in covariance."""
        n_trials = sum(len(of_image) for of_image in self.trials)
        of_halves = sum(1 / n for n in self.n_halves)
        return self.distance * float(np.sqrt((1 / n_trials + 1 / n_draws) / of_halves))


def judge_draws(
    rows: Rows, recorded: Recorded, draws: np.ndarray, prediction: np.ndarray, real: Real,
    options: Options,
) -> tuple[dict[str, np.ndarray], dict]:  # fmt: skip
    """Add the rows on one encoder's draws, and return their maps and curves."""
    times, trials = recorded.times, real.trials
    inside = span(time_mask(times, *options.draw_window))
    error = _mean_against_prediction(draws, prediction)
    n_draws = draws.shape[1]
    rows.add_mean(
        "mean of draws within 2 SE of prediction",
        error,
        ceiling=2 * student.cdf(2, n_draws - 1) - 1,
        better="ceiling",
    )
    if len(real.keep) < len(draws):
        draws = draws[real.keep]
    ratio, sd = add_sd_ratio(rows, draws, trials, inside)
    curves: dict = {"sd": (times, *((s / real.scale[:, None]).mean(axis=0) for s in sd))}
    curves["spectrum"] = _spectra(rows, draws, trials, real.scale, recorded.sfreq, options.bands)
    covariances = [channel_covariance(y) for y in (draws, trials)]
    rows.add(
        "channel covariance: distance to real",
        covariance_distance(*(c.mean(axis=0) for c in covariances)),
        ceiling=real.distance_to(len(draws) * n_draws),
        better="lower",
        n=len(draws),
    )
    rows.add(
        "lag-1 autocorrelation", lag_one(draws).mean(), ceiling=real.autocorrelation.mean(),
        better="ceiling", n=len(draws),
    )  # fmt: skip
    maps = {"SD / real": ratio}
    if n_draws >= 19:
        covered = coverage(draws, trials, level=0.9, per_image=True)
        maps["coverage of the 90 % interval"] = covered.mean(axis=0)
        by_image = covered[..., inside].mean(axis=(1, 2))
        rows.add_mean("coverage of the 90 % interval", by_image, ceiling=0.9, better="ceiling")
    n_bins = max(n for n in range(1, 21) if (n_draws + 1) % n == 0)
    if n_bins < 5:
        n_bins = n_draws + 1
    curves["ranks"] = rank_histogram(
        draws[..., inside], [t[..., inside] for t in trials], n_bins=n_bins
    )
    _scores(rows, draws, trials, real)
    _tell_apart(rows, draws, trials, real, options)
    if options.training_trials is not None:
        _memory(rows, draws, trials, options.training_trials)
    return maps, curves


def add_sd_ratio(
    rows: Rows, draws: np.ndarray, trials: list[np.ndarray], inside: slice | np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Add the SD of draws over that of trials; return its map and both SDs."""
    generated, real = within_image_variance(draws), within_image_variance(trials)
    sd = [np.sqrt(v.mean(axis=0)) for v in (generated, real)]
    ratio = np.divide(sd[0], sd[1], out=np.full_like(sd[0], np.nan), where=sd[1] > 0)
    rows.add(
        "SD / real", np.nanmedian(ratio[:, inside]), generated[..., inside], real[..., inside],
        statistic=lambda g, t: np.median(np.sqrt(g[t > 0] / t[t > 0])), ceiling=1.0,
        better="ceiling",
    )  # fmt: skip
    return ratio, sd


def _mean_against_prediction(draws: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Return the share of cells of each image where the mean of draws is near the prediction."""
    shares = []
    for generated, expected in zip(draws, prediction, strict=True):
        standard_error = generated.std(axis=0, ddof=1) / np.sqrt(len(generated))
        shares.append((np.abs(generated.mean(axis=0) - expected) <= 2 * standard_error).mean())
    return np.array(shares)


def _spectra(
    rows: Rows, draws: np.ndarray, trials: list[np.ndarray], scale: np.ndarray, sfreq: float,
    bands: dict[str, tuple] | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Add the log ratio of power in bands, and return both spectra in decibel."""
    freqs, generated = spectra(draws, sfreq)
    generated, there = (p / scale[:, None] ** 2 for p in (generated, spectra(trials, sfreq)[1]))
    for name, mask in band_masks(freqs, bands).items():
        powers = [p[..., mask].sum(axis=-1) for p in (generated, there)]

        def level(g: np.ndarray, t: np.ndarray) -> float:
            return float(np.mean(10 * np.log10(g / t)))

        rows.add(
            f"power / real, {name}", level(*(p.mean(axis=0) for p in powers)), *powers,
            statistic=level, ceiling=0.0, better="ceiling", unit="dB",
        )  # fmt: skip
    # Without the mean, which was taken off, and Nyquist's half band.
    shown = slice(1, -1)
    levels = (10 * np.log10(p.mean(axis=(0, 1))[shown]) for p in (generated, there))
    return freqs[shown], *levels


def _scores(rows: Rows, draws: np.ndarray, trials: list[np.ndarray], real: Real) -> None:
    """Add energy score and CRPS, in standard deviations of real trials; these score one another."""
    scale = real.scale
    energy = energy_score_by_image(draws, trials, scale=scale)
    rows.add_mean("energy score", energy, ceiling=real.energy, better="lower", unit="trial SD")
    marginal = (crps(draws, trials, per_image=True) / scale[:, None]).mean(axis=(1, 2))
    rows.add_mean("CRPS", marginal, ceiling=real.crps, better="lower", unit="trial SD")


def _tell_apart(
    rows: Rows, draws: np.ndarray, trials: list[np.ndarray], real: Real, options: Options
) -> None:
    """Add the two-sample test, real against real as its ceiling."""
    accuracy = classifier_two_sample(
        draws, trials, classifiers=options.classifiers, random_state=options.seed
    )
    for name, of_image in accuracy.items():
        rows.add_mean(
            f"two-sample accuracy, {name}", of_image, chance=0.5,
            ceiling=real.accuracy[name].mean(), better="lower",
        )  # fmt: skip


def _memory(rows: Rows, draws: np.ndarray, trials: list[np.ndarray], training: np.ndarray) -> None:
    """Add how near draws come to training trials, against held-out real trials."""
    generated = [of_image[: len(t)] for of_image, t in zip(draws, trials, strict=True)]
    distances = [nearest_distance(np.concatenate(y), training) for y in (generated, trials)]
    rows.add(
        "distance to nearest training trial / real",
        np.median(distances[0]) / np.median(distances[1]),
        ceiling=1.0,
        better="ceiling",
        n=len(draws),
    )
