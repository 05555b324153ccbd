"""Expected power over time and frequency of responses to images."""

from collections.abc import Iterator

import mne
import numpy as np

from .._parameters import Integer, check_given
from .._types import Encoder
from ..epochs.wavelets import choose_wavelets, wavelet_matrices
from ..stimulus.stimuli import Stimuli
from .any_regressor import sample_regressor
from .generating import in_units


def draw_alike(
    encoder: Encoder, stimuli: Stimuli, codes: np.ndarray | None, n_draws: int
) -> Iterator[np.ndarray]:
    """Draw trials image by image, (n_draws, n_channels, n_times), all from the same noise."""
    for row in stimuli.index:
        drawn = sample_regressor(
            encoder.regressor_, stimuli.tokens[[row]], encoder._shape, n_draws=n_draws,
            random_state=0, subjects=None if codes is None else codes[[row]],
        )  # fmt: skip
        yield in_units(encoder, drawn[0])


def expected_power(
    expected: mne.EpochsArray, draws: Iterator[np.ndarray], freqs: np.ndarray | None = None,
    n_cycles: float | np.ndarray | None = None, *, decim: int = 1, total: bool = False,
) -> mne.time_frequency.EpochsTFRArray:  # fmt: skip
    """Average the Morlet power of draws, image by image; a total has that of the mean too."""
    check_given(decim=(decim, Integer(1)))
    n_channels, n_times = len(expected.ch_names), len(expected.times)
    freqs, n_cycles = choose_wavelets(freqs, n_cycles, expected.info, n_times)
    transforms = wavelet_matrices(freqs, n_cycles, n_times, expected.info["sfreq"], decim)
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
        kept.info, power, kept.times, freqs,
        comment=f"expected {'total' if total else 'induced'} power", method="morlet",
        events=kept.events, event_id=kept.event_id, metadata=kept.metadata,
    )  # fmt: skip
