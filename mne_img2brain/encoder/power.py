"""Expected power over time and frequency of responses to images."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import mne
import numpy as np

from ..trials.checks import check_integers
from .any_regressor import sample_regressor

if TYPE_CHECKING:
    from ..stimulus.tokens import Stimuli
    from . import ImageToBrainEncoder

__all__ = ["draw_alike", "expected_power"]

_N_FREQS = 20
_LENGTH = 5 / np.pi  # of a Morlet wavelet in MNE, in periods for each of its cycles


def draw_alike(
    encoder: "ImageToBrainEncoder", stimuli: "Stimuli", codes: np.ndarray | None, n_draws: int
) -> Iterator[np.ndarray]:
    """Draw trials image by image, all from the same noise.

    Parameters
    ----------
    encoder : ImageToBrainEncoder
        Fitted.
    stimuli : Stimuli
        The images.
    codes : array of int, shape (n_images,) | None
        The subject of each.
    n_draws : int
        Draws of each image.

    Yields
    ------
    array, shape (n_draws, n_channels, n_times)
        In the unit of the training data.
    """
    for row in stimuli.index:
        drawn = sample_regressor(
            encoder.regressor_,
            stimuli.tokens[[row]],
            encoder._shape,
            n_draws=n_draws,
            random_state=0,
            subjects=None if codes is None else codes[[row]],
        )
        yield encoder._in_units(drawn[0])


def expected_power(
    expected: mne.EpochsArray,
    draws: Iterator[np.ndarray],
    freqs: np.ndarray | None = None,
    n_cycles: float | np.ndarray | None = None,
    *,
    decim: int = 1,
    total: bool = False,
) -> mne.time_frequency.EpochsTFRArray:
    r"""Average the Morlet power of draws, image by image.

    The transform is linear, :math:`S = x \Phi`: MNE gives :math:`\Phi` as the transform of unit
    impulses, and the power of a hundred draws is a product of matrices.

    Parameters
    ----------
    expected : mne.EpochsArray
        The expected response to each image.
    draws : iterator of array, shape (n_draws, n_channels, n_times)
        Of each image, in the same unit.
    freqs : array, shape (n_freqs,) | None
        Frequencies in Hz.
    n_cycles : float | array, shape (n_freqs,) | None
        Cycles of the wavelets.
    decim : int
        Every how many time points are returned.
    total : bool
        Whether the power of the expected response is added to that of what varies around it.

    Returns
    -------
    mne.time_frequency.EpochsTFRArray
        One epoch per image, in the unit of the responses squared.
    """
    check_integers(decim=(decim, 1))
    n_channels, n_times = len(expected.ch_names), len(expected.times)
    sfreq = expected.info["sfreq"]
    freqs, n_cycles = _check_wavelets(freqs, n_cycles, expected)
    impulses = np.eye(n_times)[:, None]
    transforms = [
        mne.time_frequency.tfr_array_morlet(
            impulses, sfreq, [freq], n_cycles=[cycles], decim=decim, verbose="error"
        )[:, 0, 0]
        for freq, cycles in zip(freqs, n_cycles, strict=True)
    ]
    # single precision is enough for a mean over draws, and MEG's 1e-13 squared is near its end
    parts = [(one.real.astype(np.float32), one.imag.astype(np.float32)) for one in transforms]
    kept = expected.copy().decimate(decim, verbose="error")
    power = np.empty((len(expected), n_channels, len(freqs), len(kept.times)))
    for place, (mean, drawn) in enumerate(zip(expected.get_data(copy=False), draws, strict=True)):
        x = drawn - mean
        scale = np.sqrt(np.mean(np.square(x), axis=(0, 2)))[:, None]
        scale = np.where(scale > 0, scale, 1.0)
        x = (x / scale).astype(np.float32)
        for k, (real, imaginary) in enumerate(parts):
            square = np.square(x @ real) + np.square(x @ imaginary)
            power[place, :, k] = square.mean(axis=0) * scale**2
            if total:
                power[place, :, k] += np.square(np.abs(mean @ transforms[k]))
    return mne.time_frequency.EpochsTFRArray(
        kept.info,
        power,
        kept.times,
        freqs,
        comment=f"expected {'total' if total else 'induced'} power",
        method="morlet",
        events=kept.events,
        event_id=kept.event_id,
        metadata=kept.metadata,
    )


def _check_wavelets(freqs: Any, n_cycles: Any, epochs: mne.BaseEpochs) -> tuple[np.ndarray, ...]:
    """Return frequencies and cycles: those given, or such that wavelets fit into an epoch."""
    sfreq = epochs.info["sfreq"]
    duration = len(epochs.times) / sfreq
    if freqs is None:
        # two cycles at least, up to what the filter let pass
        low = max(4.0, 2 * _LENGTH / duration)
        high = min(epochs.info["lowpass"], 0.45 * sfreq, 100.0)
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
