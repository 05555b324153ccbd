"""Trials differ in how strong their rhythms are: gains of sources, band by band."""

from typing import Self

import numpy as np
from scipy import linalg

from .._log import logger, progress_bar
from .permutation import largest_excess

_MIN_TRIALS = 100  # with fewer, excess variance cannot be told from chance
_CHANCE = 0.005  # that gains are found in any octave where draws vary as trials do
_N_PERMUTATIONS = 1999  # a twentieth of a chance of 0.005 in each of ten octaves
_N_SOURCES = 6  # in each octave, at most
_MOST_SD = 1.5  # of log power: with more, power is that of rare, giant draws


class BandGains:
    r"""Log-normal gains, per trial, of the sources whose power varies more than that of draws.

    Alpha waxes and wanes between trials, and each of its sources for itself. In each octave of
    frequency, sources :math:`s_k = w_k^\top x` are the directions over sensors in which the fourth
    moments of trials exceed most those of draws with the same covariance. A draw
    :math:`x` then becomes

    .. math:: x + \sum_k a_k\,(g_k - 1)\,s_k, \qquad
        g = \exp\left(\tfrac12 l - \tfrac14 \operatorname{diag} C\right),\quad l \sim N(0, C)

    with :math:`a_k` the pattern of the source and :math:`C` the covariance of log power over trials
    less that of draws without gains. :math:`E g_k^2 = 1`: the power of a source stays what it was.

    octaves_: for each octave that was kept: ``low`` and ``high`` (bins of the discrete Fourier
        transform of a trial, the last one excluded), ``filters`` and ``patterns``, shape
        (n_channels, n_sources), ``root`` of the covariance of log power and its ``diagonal``.
    """

    def fit(self, real: np.ndarray, drawn: np.ndarray, n_times: int) -> Self:
        """Learn where power varies more than that of draws.

        Sources are found on one half of the trials and their variability measured on the other, so
        that chance is not taken for it; what is kept there is beyond what almost all of 1999
        permutations of trials and draws show.

        real, drawn (n_trials, n_channels, n_bins): spectra (``numpy.fft.rfft``) of trials, and of
            draws of the same covariance.
        """
        self.octaves_ = []
        self.n_times_ = n_times
        if len(real) < _MIN_TRIALS:
            return self
        n_bins = real.shape[2]
        starts = [2**k for k in range(int(np.log2(n_bins)) + 1)]
        rng = np.random.default_rng(0)
        for low in progress_bar(list(starts), "Does the power of rhythms vary?"):
            high = min(2 * low, n_bins)
            if high <= low:
                continue
            pair = self._coordinates(real, low, high), self._coordinates(drawn, low, high)
            octave = self._fit_octave(*pair, _CHANCE / len(starts), rng)
            if octave is not None:
                self.octaves_.append({"low": low, "high": high, **octave})
        kept = [f"{o['low']}-{o['high']}: {o['diagonal'].max():.2f}" for o in self.octaves_]
        logger.info(f"Power varies between trials (octaves in cycles per trial): {kept or 'no'}.")
        return self

    def _coordinates(self, spectrum: np.ndarray, low: int, high: int) -> np.ndarray:
        """Return trials in some bins: real numbers with the products that the band has in time."""
        part = spectrum[..., low:high] * np.float32((2 / self.n_times_) ** 0.5)
        if 2 * (high - 1) == self.n_times_:
            part[..., -1] *= np.float32(0.5**0.5)  # the Nyquist frequency is its own mirror image
        return np.concatenate([part.real, part.imag], axis=2)

    def _fit_octave(
        self, real: np.ndarray, drawn: np.ndarray, chance: float, rng: np.random.Generator
    ) -> dict | None:
        """Find sources in one octave, and how their log power varies in excess."""
        # trials come sorted by image and value
        order = rng.permutation(len(real))
        halves = [(real[order[k::2]], drawn[k::2]) for k in (0, 1)]
        white, colour = _whitening(halves[0][0], self.n_times_)
        if not white.size:
            return None
        # fourth moments of whitened trials, real less drawn: E[(xx')^2]
        moments = []
        for x in halves[0]:
            each = white.T @ x
            each = each @ each.mT
            moments.append((each @ each).mean(axis=0))
        _, turn = linalg.eigh(moments[0] - moments[1])
        turn = turn[:, ::-1][:, :_N_SOURCES]
        filters, patterns = white @ turn, colour @ turn
        logs = [np.log(np.square(filters.T @ x).sum(axis=2) + 1e-300) for x in halves[1]]
        of_real, of_drawn = (part - part.mean(axis=0) for part in logs)
        excess = of_real.T @ of_real / len(of_real) - of_drawn.T @ of_drawn / len(of_drawn)
        values, vectors = linalg.eigh(excess)
        permuted = largest_excess(of_real, of_drawn, rng, _N_PERMUTATIONS)
        values = np.where(values > np.quantile(permuted, 1 - chance), values, 0.0)
        if not values.any():
            return None
        root = vectors * np.sqrt(values)
        most = np.sqrt(np.square(root).sum(axis=1).max())
        root *= min(1.0, _MOST_SD / most)
        diagonal = np.square(root).sum(axis=1)
        return {"filters": filters, "patterns": patterns, "root": root, "diagonal": diagonal}

    @property
    def n_numbers(self) -> int:
        """How many standard normal numbers the gains of one draw take."""
        return sum(octave["root"].shape[1] for octave in self.octaves_)

    def apply(self, draws: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Give draws their gains, by standard normal numbers (n_draws, n_numbers)."""
        spectrum, start = np.fft.rfft(draws), 0
        added = np.zeros_like(spectrum)
        for octave in self.octaves_:
            n_sources = octave["root"].shape[1]
            own = numbers[:, start : start + n_sources] @ octave["root"].T
            start += n_sources
            gains = np.exp(own / 2 - octave["diagonal"] / 4)
            bins = slice(octave["low"], octave["high"])
            sources = octave["filters"].T @ spectrum[..., bins]
            added[..., bins] = octave["patterns"] @ ((gains - 1)[:, :, None] * sources)
        return draws + np.fft.irfft(added, self.n_times_) if self.octaves_ else draws


def _whitening(x: np.ndarray, n_times: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what whitens trials over sensors, and what undoes it, within their rank."""
    covariance = np.tensordot(x, x, axes=((0, 2), (0, 2))) / (len(x) * n_times)
    values, vectors = linalg.eigh(covariance)
    keep = values > 1e-6 * max(values[-1], np.finfo(float).tiny)
    vectors, sd = vectors[:, keep], np.sqrt(values[keep])
    return vectors / sd, vectors * sd
