"""Trials differ in how strong their rhythms are: gains of sources, band by band."""

from typing import Any, Self

import numpy as np
from scipy import linalg

from .._log import logger, progress_bar
from .permutation import largest_excess

_MIN_TRIALS = 100  # with fewer, excess variance cannot be told from chance
_CHANCE = 0.005  # that gains are found in any octave where draws vary as trials do
_N_PERMUTATIONS = 499
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

    Parameters
    ----------
    n_sources : int
        Sources in each octave, at most.

    Attributes
    ----------
    octaves_ : list of dict
        For each octave that was kept: ``low`` and ``high`` (bins of the discrete Fourier transform
        of a trial, the last one excluded), ``filters`` and ``patterns``, shape (n_channels,
        n_sources), ``root`` of the covariance of log power and its ``diagonal``.
    """

    def __init__(self, n_sources: int = 6) -> None:
        self.n_sources = n_sources

    def fit(self, residuals: np.ndarray, drawn: np.ndarray) -> Self:
        """Learn where power varies more than that of draws.

        Sources are found on one half of the trials and their variability measured on the other, so
        that chance is not taken for it; what is kept there is beyond what almost all of 4990
        permutations of trials and draws show.

        Parameters
        ----------
        residuals : array, shape (n_trials, n_channels, n_times)
            Residuals of single trials.
        drawn : array, shape (n_trials, n_channels, n_times)
            Draws of the same covariance.

        Returns
        -------
        self : BandGains
        """
        self.octaves_ = []
        self.n_times_ = residuals.shape[2]
        if len(residuals) < _MIN_TRIALS:
            return self
        real, drawn = np.fft.rfft(residuals), np.fft.rfft(drawn)
        n_bins = real.shape[2]
        starts = 2 ** np.arange(int(np.log2(n_bins)) + 1)
        rng = np.random.default_rng(0)
        for low in progress_bar(list(starts), "Does the power of rhythms vary?"):
            high = min(2 * low, n_bins)
            pair = self._band(real, low, high), self._band(drawn, low, high)
            octave = self._fit_octave(*pair, _CHANCE / len(starts), rng) if high > low else None
            if octave is not None:
                self.octaves_.append({"low": int(low), "high": int(high), **octave})
        kept = [f"{o['low']}-{o['high']}: {o['diagonal'].max():.2f}" for o in self.octaves_]
        logger.info(f"Power varies between trials (octaves in cycles per trial): {kept or 'no'}.")
        return self

    def _band(self, spectrum: np.ndarray, low: Any, high: Any) -> np.ndarray:
        """Keep some bins: trials in time."""
        kept = np.zeros_like(spectrum)
        kept[..., low:high] = spectrum[..., low:high]
        return np.fft.irfft(kept, self.n_times_)

    def _fit_octave(
        self, real: np.ndarray, drawn: np.ndarray, chance: float, rng: np.random.Generator
    ) -> dict | None:
        """Find sources in one octave, and how their log power varies in excess."""
        halves = [(real[k::2], drawn[k::2]) for k in (0, 1)]
        white, colour = _whitening(halves[0][0])
        if not white.size:
            return None
        # fourth moments of whitened trials, real less drawn: E[(xx')^2]
        moments = []
        for x in halves[0]:
            each = white.T @ x
            each = each @ each.mT
            moments.append((each @ each).mean(axis=0))
        _, turn = linalg.eigh(moments[0] - moments[1])
        turn = turn[:, ::-1][:, : self.n_sources]
        filters, patterns = white @ turn, colour @ turn
        logs = [np.log(np.square(filters.T @ x).sum(axis=2) + 1e-300) for x in halves[1]]
        of_real, of_drawn = (part - part.mean(axis=0) for part in logs)
        excess = of_real.T @ of_real / len(of_real) - of_drawn.T @ of_drawn / len(of_drawn)
        values, vectors = linalg.eigh(excess)
        permuted = largest_excess(of_real, of_drawn, rng, _N_PERMUTATIONS)
        if values[-1] > np.quantile(permuted, 0.99):  # few permutations have no tail
            more = largest_excess(of_real, of_drawn, rng, 9 * _N_PERMUTATIONS)
            permuted = np.concatenate([permuted, more])
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
        """Give draws their gains.

        Parameters
        ----------
        draws : array, shape (n_draws, n_channels, n_times)
            Draws without gains.
        numbers : array, shape (n_draws, n_numbers)
            Standard normal.

        Returns
        -------
        array, shape (n_draws, n_channels, n_times)
        """
        spectrum, start, result = np.fft.rfft(draws), 0, draws
        for octave in self.octaves_:
            n_sources = octave["root"].shape[1]
            own = numbers[:, start : start + n_sources] @ octave["root"].T
            start += n_sources
            gains = np.exp(own / 2 - octave["diagonal"] / 4)
            sources = octave["filters"].T @ self._band(spectrum, octave["low"], octave["high"])
            result = result + octave["patterns"] @ ((gains - 1)[:, :, None] * sources)
        return result


def _whitening(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what whitens trials over sensors, and what undoes it, within their rank."""
    covariance = np.tensordot(x, x, axes=((0, 2), (0, 2))) / (len(x) * x.shape[2])
    values, vectors = linalg.eigh(covariance)
    keep = values > 1e-6 * max(values[-1], np.finfo(float).tiny)
    vectors, sd = vectors[:, keep], np.sqrt(values[keep])
    return vectors / sd, vectors * sd
