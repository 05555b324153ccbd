"""Sources of a simulated brain: visual areas that answer to images, and noise."""

import mne
import numpy as np

from ..epochs.regions import sensor_positions, sphere_middle
from ._rhythms import noise_spectrum, peak_of, power_course, sources_of

# Visual areas: position from the middle of the head (m; right hemisphere; +x right, +y front, +z
# up), orientation, quarter fields seen (0 upper, 1 lower; contralateral), and waves as
# (latency s, width s, moment nAm). P1 over lateral occipital cortex, N170 over fusiform cortex,
# P2 and a late positivity: Luck (2014), An introduction to the ERP technique.
_AREAS = {
    "V1": ((0.012, -0.066, 0.008), (0.3, -0.8, 0.5), (0, 1),
           [(0.085, 0.016, 12), (0.15, 0.03, -6)]),
    "V2": ((0.020, -0.062, 0.020), (0.2, -0.7, 0.7), (1,),
           [(0.105, 0.018, 16), (0.21, 0.04, 6)]),
    "LO": ((0.040, -0.052, 0.004), (0.7, -0.7, 0.1), (0, 1),
           [(0.115, 0.02, 26), (0.24, 0.04, 12)]),
    "FG": ((0.038, -0.042, -0.022), (-0.6, 0.4, 0.7), (0, 1),
           [(0.17, 0.025, 70), (0.3, 0.06, 12)]),
    "IPS": ((0.028, -0.045, 0.052), (0.2, -0.5, 0.8), (0, 1),
            [(0.23, 0.045, 9), (0.4, 0.1, 9)]),
}  # fmt: skip
_HEAD_RADIUS = 0.095
_N_NOISE_SOURCES = 48


def source_responses(
    features: np.ndarray, times: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Moment of every visual source, shape (n_images, n_sources, n_times), in Am."""
    n_features = features.shape[-1]
    responses = []
    for _, _, fields, waves in _AREAS.values():
        tuning = [rng.standard_normal((2, n_features)) / np.sqrt(n_features) for _ in waves]
        for hemifield in (0, 1):  # left hemisphere first: it sees the right half
            seen = features[:, list(fields), 1 - hemifield].mean(axis=1)
            faster = 0.008 * np.tanh(seen[:, :1] + (seen[:, 1:2] if n_features > 1 else 0))
            response = 0.0
            for (latency, width, moment), (linear, squared) in zip(waves, tuning, strict=True):
                tuned, squared = np.tanh(2 * seen @ linear), np.tanh(2 * seen @ squared) ** 2
                amount = 1 + 0.8 * tuned + 0.6 * squared
                late = times - latency + faster - 0.003 * rng.standard_normal()
                wave = np.exp(-0.5 * (late / width) ** 2) * (times > 0)
                response = response + 1e-9 * moment * amount[:, None] * wave
            responses.append(response)
    return np.stack(responses, axis=1)


def lead_fields(info: mne.Info, noise_positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fields of unit dipoles along x, y and z: visual sources, then noise sources."""
    middle, radius = np.array([0.0, 0.0, 0.04]), _HEAD_RADIUS
    if "eeg" not in info.get_channel_types(unique=True):
        # helmets of MNE's canonical infos are not in head coordinates: the head goes inside them
        middle, radius = sphere_middle(sensor_positions(info)), None
    visual = [
        np.array(position) * (side, 1, 1) for position, *_ in _AREAS.values() for side in (-1, 1)
    ]
    positions = middle + np.repeat(np.concatenate([visual, noise_positions]), 3, axis=0)
    n_dipoles = len(positions)
    axes = np.tile(np.eye(3), (n_dipoles // 3, 1))
    dipoles = mne.Dipole(
        np.arange(n_dipoles) * 1e-3, positions, np.ones(n_dipoles), axes, np.full(n_dipoles, 100.0)
    )
    sphere = mne.make_sphere_model(r0=middle, head_radius=radius, verbose="error")
    forward, _ = mne.make_forward_dipole(dipoles, sphere, info, verbose="error")
    fields = forward["sol"]["data"].T.reshape(-1, 3, len(info["ch_names"]))
    return fields[: len(visual)], fields[len(visual) :]


def orient(visual: np.ndarray, turn: float, rng: np.random.Generator) -> np.ndarray:
    """Field of each visual source along its orientation, tilted at random by ``turn``."""
    axes = [
        np.array(direction) * (side, 1, 1)
        for _, direction, *_ in _AREAS.values()
        for side in (-1, 1)
    ]
    axes = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    axes = axes + turn * rng.standard_normal(axes.shape)
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    return np.einsum("sk,skc->sc", axes, visual)


def sensor_noise(
    fields: np.ndarray, positions: np.ndarray, n_trials: int, times: np.ndarray, sfreq: float,
    rng: np.random.Generator, *, spectrum: str, induced: dict[str, np.ndarray],
) -> np.ndarray:  # fmt: skip
    """Noise of single trials at the sensors, in units of its sources.

    ``induced`` is the change of each rhythm's power in each trial, in dB.
    """
    n_times = len(times)
    length = 2 * n_times  # the second half is thrown away, so that no trial is periodic
    frequency = np.fft.rfftfreq(length, 1 / sfreq)
    falling, alpha, white = noise_spectrum(spectrum, frequency)
    if "alpha" in induced:  # it is all of alpha
        alpha = 0 * alpha
    posterior = positions[:, 1] < np.quantile(positions[:, 1], 0.25)
    amplitude = np.where(posterior[:, None], falling + alpha, falling)
    axes = rng.standard_normal((len(fields), 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    mixing = np.einsum("sk,skc->cs", axes, fields)
    # sources deep and shallow matter alike
    mixing /= np.linalg.norm(mixing, axis=0)
    data = np.empty((n_trials, len(mixing), n_times))
    bands = []
    for name, change in induced.items():
        gain = 10 ** (change[:, None, None] * power_course(name, times) / 20)
        bands.append((sources_of(name, positions), peak_of(name, frequency, falling), gain))
    for start in range(0, n_trials, 256):
        stop = min(start + 256, n_trials)
        shape = (stop - start, len(fields), len(frequency))
        spectrum = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
        courses = np.fft.irfft(spectrum * amplitude, n=length, axis=2)[..., :n_times]
        for chosen, peak, gain in bands:
            shape = (stop - start, len(chosen), len(frequency))
            waves = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
            waves = np.fft.irfft(waves * peak, n=length, axis=2)[..., :n_times]
            courses[:, chosen] += gain[start:stop] * waves
        data[start:stop] = mixing @ courses
    per_sensor = data.std(axis=(0, 2), keepdims=True)
    return data + white * per_sensor * rng.standard_normal(data.shape)


def place_noise(rng: np.random.Generator) -> np.ndarray:
    """Draw the places of noise sources in the head, the lower part left out: (n_sources, 3)."""
    points = rng.standard_normal((_N_NOISE_SOURCES, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    points[:, 2] = np.where(points[:, 2] < -0.3, -points[:, 2], points[:, 2])
    return 0.075 * (points * rng.uniform(0.3, 1, size=(len(points), 1)) ** (1 / 3))
