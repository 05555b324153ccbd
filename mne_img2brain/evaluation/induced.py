"""Rows on induced power: rhythms around the average response, and whether they follow the image."""

from typing import NamedTuple

import mne
import numpy as np

from .._log import logger, progress_bar
from ..epochs.wavelets import choose_wavelets, wavelet_matrices
from ..metrics import EEG_BANDS, ceiling_of_r, halves_agree, r_map
from ..metrics.noise_ceiling import random_halves
from .asked import Options
from .material import Recorded
from .rows import Rows

LEAST_TRIALS = 4  # of an image: two halves, each with an average of its own to take off
_STEP = 0.04  # seconds between the times of a map
_EDGE = 0.08  # seconds at either end of an epoch, where wavelets see half of what there is
_N_BINS = 12


class Plan(NamedTuple):
    """Which times, frequencies and bands power is taken of."""

    info: mne.Info  # with the sampling rate of maps
    times: np.ndarray  # of maps
    inside: np.ndarray  # which of them count in rows
    freqs: np.ndarray
    bands: dict  # name -> which frequencies
    wavelets: np.ndarray  # (n_times, 2 * n_freqs * n_kept): real parts, then imaginary parts
    scale: np.ndarray  # (n_channels, 1), what sensors are divided by


class Rhythms(NamedTuple):
    """Power of the trials of each image around their average, and how alike their phases are."""

    trials: list  # of each image (n_trials, n_bands, n_channels, n_inside), in dB
    halves: np.ndarray  # the means of two halves, (n_images, 2, n_bands, n_channels, n_inside)
    split: list  # which trials of an image are in either: halves share no trial and no average
    power: np.ndarray  # (n_channels, n_freqs, n_times), in units of the real trials' variance
    coherence: np.ndarray  # squared, between trials, the mean over images; of the same shape
    coherence_by_image: np.ndarray  # the same where it counts, the mean over all else

    @property
    def freedom(self) -> np.ndarray:
        """Trials of either half, less one for their average, shape (n_images, 2)."""
        return np.array([[len(half) - 1 for half in split] for split in self.split])

    @property
    def mean(self) -> np.ndarray:
        """Power of each image in dB, shape (n_images, n_bands, n_channels, n_inside)."""
        weight = self.freedom / self.freedom.sum(axis=1, keepdims=True)
        return np.einsum("ih,ihbct->ibct", weight, self.halves)

    def parts(self, band: int) -> list[np.ndarray]:
        """Return the two halves of each image as if they were trials."""
        return [*self.halves[:, :, band]]


def make_plan(
    recorded: Recorded, scale: np.ndarray, window: tuple, bands: dict[str, tuple] | None
) -> Plan | None:
    """Choose wavelets that fit into the epochs; None where none does, or no band holds one."""
    times, sfreq = recorded.times, recorded.sfreq
    try:
        freqs, _ = choose_wavelets(None, None, recorded.info, len(times))
    except ValueError:
        return None
    bands = EEG_BANDS if bands is None else bands
    middles = [np.sqrt(max(low, 1) * high) for low, high in bands.values()]
    between = [
        middle
        for middle, (low, high) in zip(middles, bands.values(), strict=True)
        if freqs[0] < middle < freqs[-1] and not ((freqs >= low) & (freqs < high)).any()
    ]
    freqs, n_cycles = choose_wavelets(
        np.unique([*freqs, *between]), None, recorded.info, len(times)
    )
    masks = {name: (freqs >= low) & (freqs < high) for name, (low, high) in bands.items()}
    masks = {name: mask for name, mask in masks.items() if mask.any()}
    decim = max(1, round(_STEP * sfreq))
    edge = min(round(_EDGE * sfreq), len(times) // 10)
    start, stop = -(-edge // decim), 1 + (len(times) - 1 - edge) // decim
    kept = times[::decim][start:stop]
    inside = (kept >= window[0]) & (kept <= window[1])
    if not masks or not inside.any():
        return None
    matrices = wavelet_matrices(freqs, n_cycles, len(times), sfreq, decim)
    matrices = [one[:, start:stop] for one in matrices]
    # White noise gets the same power at all times and frequencies.
    phi = np.stack([one / np.sqrt((np.abs(one) ** 2).sum(axis=0)) for one in matrices], axis=1)
    phi = np.stack([phi.real, phi.imag], axis=1).reshape(len(times), -1).astype(np.float32)
    info = recorded.info.copy()
    with info._unlock():
        info["sfreq"] = sfreq / decim
    return Plan(info, kept, inside, freqs, masks, phi, scale[:, None])


def measure(trials: list[np.ndarray] | np.ndarray, plan: Plan, seed: int, what: str) -> Rhythms:
    """Return the rhythms of the trials of each image, four or more."""
    halves = random_halves([len(of_image) for of_image in trials], np.random.default_rng(seed))
    n_times, n_freqs = len(plan.times), len(plan.freqs)
    logs, means, by_image = [], [], []
    power, coherence = np.zeros((2, len(plan.scale), n_freqs, n_times))
    for of_image, split in progress_bar(list(zip(trials, halves, strict=True)), what):
        x = (of_image / plan.scale).astype(np.float32)
        n = len(x)
        s = (x @ plan.wavelets).reshape(*x.shape[:2], 2, n_freqs, n_times)
        size = np.sqrt(np.square(s).sum(axis=2, keepdims=True))
        alike = np.square((s / np.maximum(size, 1e-12)).sum(axis=0)).sum(axis=1)
        # Vinck et al. (2010): pairwise phase consistency, whose mean does not depend on n.
        alike = (alike - n) / (n * (n - 1))
        coherence += alike / len(trials)
        by_image.append(alike[..., plan.inside].mean())
        # Each half loses its own average, and gets its variance back: were it the average of
        # all trials, each half would know of the other.
        for half in split:
            m = len(half)
            s[half] = (s[half] - s[half].mean(axis=0)) * np.float32(np.sqrt(m / (m - 1)))
        squared = np.square(s).sum(axis=2)
        power += squared.mean(axis=0) / len(trials)
        kept = squared[..., plan.inside]
        by_band = [kept[:, :, mask].mean(axis=2) for mask in plan.bands.values()]
        log = 10 * np.log10(np.maximum(np.stack(by_band, axis=1), 1e-12))
        logs.append(log)
        means.append([log[half].mean(axis=0) for half in split])
    halved = np.array(means, float)
    return Rhythms(logs, halved, halves, power, coherence, np.array(by_image))


class RealRhythms:
    """Induced power of the real trials, once for all encoders."""

    def __init__(self, recorded: Recorded, scale: np.ndarray, options: Options) -> None:
        self.keep = [i for i, t in enumerate(recorded.trials) if len(t) >= LEAST_TRIALS]
        self.plan, self.differ = None, {}
        if len(self.keep) >= 3:
            self.plan = make_plan(recorded, scale, options.draw_window, options.bands)
        if self.plan is None:
            logger.info(
                "Induced power is not judged: that needs three images with %d trials each, and "
                "epochs that hold two cycles of a band.", LEAST_TRIALS,
            )  # fmt: skip
            return
        self.trials = [recorded.trials[index] for index in self.keep]
        self.seed = options.seed
        self.rhythms = measure(self.trials, self.plan, self.seed, "Recorded rhythms")
        weights = [*self.rhythms.freedom]
        self.ceilings = [
            ceiling_of_r(self.rhythms.parts(band), weights, random_state=self.seed)
            for band in range(len(self.plan.bands))
        ]
        known = [bool(np.isfinite(ceiling).any()) for ceiling in self.ceilings]
        self.differ = dict(zip(self.plan.bands, known, strict=True))

    def judge_recording(self, rows: Rows) -> None:
        """Add by how much images differ, from real trials alone."""
        for band, name in enumerate(self.plan.bands if self.plan else ()):
            first, second = np.moveaxis(self.rhythms.halves[:, :, band], 1, 0)
            parts = _covariance_parts(first, second)
            rows.add(
                f"images differ in induced power, {name}",
                _covariance(*(part.mean(axis=0) for part in parts)), *parts, statistic=_covariance,
                transform=_root, chance=0.0, better="", unit="dB",
            )  # fmt: skip

    def judge_draws(self, rows: Rows, draws: np.ndarray) -> tuple[dict, dict]:
        """Add the rows on draws of each image, and return curves and maps."""
        if self.plan is None:
            return {}, {}
        if draws.shape[1] < LEAST_TRIALS:
            logger.info("Induced power needs n_draws of %d or more.", LEAST_TRIALS)
            return {}, {}
        real = self.rhythms
        drawn = measure(draws[self.keep], self.plan, self.seed, "Rhythms of draws")
        freedom = 1 / (1 / real.freedom.sum(axis=1)).mean() / (draws.shape[1] - 2)
        expected, target = drawn.mean, real.mean
        curves = {}
        for band, name in enumerate(self.plan.bands):
            # what as many draws of a model that knows the power would get
            c = np.maximum(self.ceilings[band], 1e-9)
            best = c / np.sqrt(1 + freedom * (1 / c**2 - 1))
            rows.add(
                f"r of induced power, {name}", r_map(target[:, band], expected[:, band]).mean(),
                resampled=rows.bootstrap_r(target[:, band], expected[:, band]), chance=0.0,
                ceiling=best.mean(), n=len(target),
            )  # fmt: skip
            first, second = np.moveaxis(drawn.halves[:, :, band], 1, 0)
            if halves_agree(drawn.parts(band), random_state=self.seed):
                parts = [
                    *_covariance_parts(target[:, band], expected[:, band]),
                    *_covariance_parts(first, second),
                ]
                rows.add(
                    f"slope of induced power, {name}",
                    _slope(*(part.mean(axis=0) for part in parts)), *parts, statistic=_slope,
                    ceiling=1.0, better="ceiling",
                )  # fmt: skip
            curves[name] = _calibration(target[:, band], first, second)
        score, best = _crps(drawn, real)
        rows.add_mean("CRPS of induced power", score, ceiling=best, better="lower", unit="dB")
        rows.add_mean(
            "inter-trial coherence", drawn.coherence_by_image, transform=_root, chance=0.0,
            ceiling=_root(real.coherence_by_image.mean()), better="ceiling",
        )  # fmt: skip
        return {"power": curves}, self.maps(drawn)

    def maps(self, rhythms: Rhythms | None = None) -> dict:
        """Return power and coherence over time and frequency, of real trials or of draws."""
        if self.plan is None:
            return {}
        rhythms = self.rhythms if rhythms is None else rhythms
        plan, nave = self.plan, sum(map(len, rhythms.trials))
        arrays = {
            "power": rhythms.power * plan.scale[..., None] ** 2,
            "coherence": np.sqrt(np.clip(rhythms.coherence, 0, None)),
        }
        return {
            name: mne.time_frequency.AverageTFRArray(
                plan.info, array, plan.times, plan.freqs, nave=nave, comment=name, method="morlet"
            )
            for name, array in arrays.items()
        }


def _crps(drawn: Rhythms, real: Rhythms) -> tuple[np.ndarray, float]:
    """Return the CRPS of each image, and what draws that are as real trials would get.

    Pairs of draws are of different halves: those of one half share the average that was taken off.
    """
    scores, best = [], []
    for draws, trials, halves, real_halves in zip(
        drawn.trials, real.trials, drawn.split, real.split, strict=True
    ):
        spread = _distance(*(draws[half] for half in halves))
        scores.append((_distance(draws, trials) - spread / 2).mean())
        best.append(_distance(*(trials[half] for half in real_halves)).mean() / 2)
    return np.array(scores), float(np.mean(best))


def _distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the mean of |x - y| over pairs, one of each: all pairs but those within x and y."""
    pairs = _pairs(np.concatenate([x, y])) - _pairs(x) - _pairs(y)
    return pairs / (len(x) * len(y))


def _pairs(x: np.ndarray) -> np.ndarray:
    """Return the sum of the distances of all pairs: sum over i < j of |x_i - x_j|."""
    weights = 2.0 * np.arange(1, len(x) + 1) - len(x) - 1
    return np.tensordot(weights, np.sort(x, axis=0), axes=1)


def _root(square: np.ndarray) -> np.ndarray:
    """Return the root of unbiased estimates of squares, of which some are below zero."""
    return np.sqrt(np.clip(square, 0, None))


def _covariance_parts(x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """Return what the covariance across images is made of, the mean over sensors and times."""
    x, y = (one.reshape(len(one), -1) - one.reshape(len(one), -1).mean(axis=0) for one in (x, y))
    unbiased = len(x) / (len(x) - 1)
    return [unbiased * (x * y).mean(axis=1), x, y]


def _covariance(product: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """Return the covariance from the means of its parts."""
    return float(product - (x * y).mean())


def _slope(*parts: np.ndarray) -> float:
    """Return the covariance with real trials over the variance of what draws are drawn with."""
    return _covariance(*parts[:3]) / _covariance(*parts[3:])


def _calibration(
    target: np.ndarray, first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return drawn and recorded power, each the mean of bins by the drawn power, in dB.

    Bins are by one half of the draws and means of the other: noise of draws that is high in a bin
    because it chose the bin would flatten the curve.
    """
    centred = [(one - one.mean(axis=0)).ravel() for one in (target, first, second)]
    points = []
    for chosen, other in ((1, 2), (2, 1)):
        bins = np.array_split(np.argsort(centred[chosen], kind="stable"), _N_BINS)
        points.append([[centred[other][b].mean() for b in bins],
                       [centred[0][b].mean() for b in bins]])  # fmt: skip
    drawn, recorded = np.mean(points, axis=0)
    return drawn, recorded
