"""Morlet wavelets that fit into an epoch, as matrices over its times."""

import mne
import numpy as np

_N_FREQS = 20
_LENGTH = 5 / np.pi  # of a Morlet wavelet in MNE, in periods for each of its cycles


def wavelet_matrices(
    freqs: np.ndarray, n_cycles: np.ndarray, n_times: int, sfreq: float, decim: int = 1
) -> list[np.ndarray]:
    """Return the matrix of each wavelet, complex array of shape (n_times, n_kept)."""
    # The transform is linear: what it makes of unit impulses makes it a product of matrices.
    impulses = np.eye(n_times)[:, None]
    return [
        mne.time_frequency.tfr_array_morlet(
            impulses, sfreq, [freq], n_cycles=[cycles], decim=decim, verbose="error"
        )[:, 0, 0]
        for freq, cycles in zip(freqs, n_cycles, strict=True)
    ]


def choose_wavelets(
    freqs: np.ndarray | None, n_cycles: float | np.ndarray | None, info: mne.Info, n_times: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return frequencies and cycles: those given, or such that wavelets fit into an epoch."""
    sfreq = info["sfreq"]
    duration = n_times / sfreq
    if freqs is None:
        # two cycles at least, up to what the filter let pass
        low = max(4.0, 2 * _LENGTH / duration)
        high = min(info["lowpass"], 0.45 * sfreq, 100.0)
        if low >= high:
            raise ValueError(
                f"Epochs of {duration:.3g} s, low-pass filtered at {high:.4g} Hz, hold no "
                "frequency of two cycles; give freqs and n_cycles."
            )
        freqs = np.geomspace(low, high, _N_FREQS)
    freqs = np.atleast_1d(np.asarray(freqs, dtype=float))
    if freqs.ndim != 1 or not freqs.size or not np.all((freqs > 0) & (freqs <= sfreq / 2)):
        raise ValueError(
            f"freqs={freqs!r}; give frequencies in Hz, above 0 and up to half of the sampling "
            f"frequency, {sfreq / 2:.4g} Hz."
        )
    if np.any(np.diff(freqs) <= 0):
        raise ValueError(f"freqs={freqs!r}; give frequencies in ascending order, each once.")
    longest = 0.99 * duration * freqs / _LENGTH
    if n_cycles is None:
        n_cycles = np.minimum(freqs / 2, longest)
    n_cycles = np.asarray(n_cycles, dtype=float)
    if n_cycles.shape not in ((), freqs.shape) or not np.all(n_cycles > 0):
        raise ValueError(
            f"n_cycles={n_cycles!r}; give one positive number, or one for each of {len(freqs)} "
            "frequencies."
        )
    n_cycles = np.broadcast_to(n_cycles, freqs.shape)
    if np.any(n_cycles > longest):
        worst = int(np.argmax(n_cycles / longest))
        raise ValueError(
            f"A wavelet of {n_cycles[worst]:.3g} cycles at {freqs[worst]:.4g} Hz is longer than an "
            f"epoch of {duration:.3g} s; give at most {longest[worst]:.3g} cycles."
        )
    return freqs, n_cycles
