"""Rhythms of simulated recordings: not locked to the image, their power follows it."""

from typing import NamedTuple

import numpy as np


class Rhythm(NamedTuple):
    """A narrow band of sources that lie together."""

    frequency: float  # Hz, the middle
    width: float  # Hz, an SD
    peak: float  # amplitude where nothing is shown, relative to what else its sources do there
    change: float  # dB, the mean over images after onset
    begin: float  # s
    end: float  # s
    place: float  # of its sources from back (0) to front (1)


# Alpha and beta fall after an image, alpha the most and the longest; gamma rises: Pfurtscheller &
# Lopes da Silva (1999), Clin Neurophysiol 110:1842; Hoogenboom et al. (2006), NeuroImage 29:764.
RHYTHMS = {
    "alpha": Rhythm(10, 1, 6, -3, 0.15, 0.6, 0),
    "beta": Rhythm(20, 2, 2.5, -2, 0.1, 0.45, 0.4),
    "gamma": Rhythm(40, 3, 1.5, 2, 0.08, 0.5, 0),
}


def power_changes(
    rhythms: dict[str, float], features: np.ndarray, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draw what images do to the power of each rhythm: change in dB at its largest, (n_images,).

    rhythms: SD over images in dB.
    """
    pooled = features.mean(axis=(1, 2))
    changes = {}
    for name, sd in rhythms.items():
        tuned = pooled @ rng.standard_normal(pooled.shape[1])
        spread = tuned.std()
        changes[name] = RHYTHMS[name].change + sd * (tuned - tuned.mean()) / (spread or 1)
    return changes


def power_course(name: str, times: np.ndarray) -> np.ndarray:
    """Return when the change of power is there, from 0 to 1, with flanks of some 50 ms."""
    rhythm = RHYTHMS[name]
    rise = 1 / (1 + np.exp(-(times - rhythm.begin) / 0.02))
    return rise / (1 + np.exp((times - rhythm.end) / 0.02))


def sources_of(name: str, positions: np.ndarray) -> np.ndarray:
    """Return the quarter of the sources that lie nearest to the rhythm's place."""
    y = positions[:, 1]
    distance = np.abs(y - np.quantile(y, RHYTHMS[name].place))
    return np.flatnonzero(distance <= np.quantile(distance, 0.25))


def noise_spectrum(spectrum: str, frequency: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the spectrum of noise that follows no image, by frequency in Hz.

    Returns falling: amplitude of all sources; alpha: what posterior sources have beside it; and
    the white noise of sensors, relative to the SD of the sources there.
    """
    if spectrum == "broad":
        # knee at 1 Hz: power falls as 1/f above it
        falling = 1 / np.sqrt(1 + frequency)
        return falling, 1.2 * np.exp(-0.5 * ((frequency - 10) / 1.2) ** 2), 0.15
    # power falls as f^-1.5 above 2 Hz; the exponents of resting EEG lie between 1 and 2
    falling = (1 + frequency / 2) ** -0.75
    return falling, peak_of("alpha", frequency, falling), 0.05


def peak_of(name: str, frequency: np.ndarray, falling: np.ndarray) -> np.ndarray:
    """Return the amplitude of a rhythm at each frequency, beside the falling one."""
    rhythm = RHYTHMS[name]
    height = rhythm.peak * np.interp(rhythm.frequency, frequency, falling)
    return height * np.exp(-0.5 * ((frequency - rhythm.frequency) / rhythm.width) ** 2)
