"""Units and rank: one scale per channel type, and the space the recording lives in."""

import math
from collections.abc import Sequence
from typing import Self

import mne
import numpy as np

from .._lazy import parts_of, scratch
from .generated import make_epochs

# Enough samples for the rank of any sensor array there is; the basis uses all of them.
_N_RANK_SAMPLES = 20_000


class ChannelScaler:
    r"""Divide every channel type by one positive number, and multiply again.

    With trials :math:`y_{ict}`, channels :math:`c` of one type and :math:`\bar y_{ic}` the mean
    of a trial over time,

    .. math:: s = \sqrt{\operatorname{mean}_{i, c, t} (y_{ict} - \bar y_{ic})^2} .

    One number per type keeps the topography, the rank and the reference. Data that have one time
    point are compared with their mean over trials instead.

    scales_: the scale of each channel type, in SI units.
    """

    def fit(self, data: np.ndarray, ch_types: Sequence | np.ndarray) -> Self:
        """Measure the scale of every channel type; NaN are left out."""
        ch_types = np.asarray(ch_types)
        scales = {}
        for ch_type in dict.fromkeys(ch_types.tolist()):
            variances = []
            for part in parts_of(data):
                block = data[part, ch_types == ch_type]
                variances.append(np.nanvar(block[np.isfinite(block).any(axis=2)], axis=1))
            scale = np.sqrt(np.mean(np.concatenate(variances)))
            if not scale > 0:
                scale = np.sqrt(np.mean(np.nanvar(data[:, ch_types == ch_type], axis=0)))
            if not (scale > 0 and np.isfinite(scale)):
                raise ValueError(f"The channels of type {ch_type!r} do not vary; leave them out.")
            scales[ch_type] = float(scale)
        self.scales_ = scales
        return self

    def transform(
        self, data: np.ndarray, ch_types: Sequence | np.ndarray, dtype: type = np.float64
    ) -> np.ndarray:
        """Divide by the scales: (..., n_channels, n_times) without units, a new array."""
        scaled = scratch(np.shape(data), dtype)
        return np.divide(data, self._column(ch_types), out=scaled, casting="same_kind")

    def inverse_transform(self, data: np.ndarray, ch_types: Sequence | np.ndarray) -> np.ndarray:
        """Multiply by the scales: (..., n_channels, n_times) in SI units, a new array."""
        return np.asarray(data, dtype=np.float64) * self._column(ch_types)

    def _column(self, ch_types: Sequence | np.ndarray) -> np.ndarray:
        """Scales as a column, one row per channel."""
        return np.array([self.scales_[ch_type] for ch_type in ch_types])[:, np.newaxis]


def signal_basis(data: np.ndarray, info: mne.Info, scaler: ChannelScaler) -> np.ndarray:
    """Return orthonormal columns, (n_channels, rank): the part of sensor space data live in.

    The average reference, signal-space separation, removed components and applied projectors leave
    fewer dimensions than channels. Their number is that of :func:`mne.compute_rank`; directions are
    the leading eigenvectors of the second moments of the standardised data, for each block of
    channel types that MNE ranks together. Channels with NaN keep all dimensions.
    """
    n_trials, n_channels, n_times = data.shape
    types = np.array(info.get_channel_types())
    whole = np.all([np.isfinite(data[part]).all(axis=(0, 2)) for part in parts_of(data)], axis=0)
    columns = [np.eye(n_channels)[:, ~whole]]
    rows = np.flatnonzero(whole)
    if len(rows):
        part = mne.pick_info(info, rows, verbose="error")
        n_used = min(n_trials, math.ceil(_N_RANK_SAMPLES / n_times))
        used = np.unique(np.linspace(0, n_trials - 1, n_used).round().astype(int))
        for ch_type, rank in _ranks(data[np.ix_(used, rows)], part).items():
            members = ("mag", "grad") if ch_type == "meg" else (ch_type,)
            block = rows[np.isin(types[rows], members)]
            directions = np.zeros((n_channels, rank))
            if rank >= len(block):
                directions[block, np.arange(len(block))] = 1.0
            else:
                directions[block] = _leading_directions(data, block, types, rank, scaler)
            columns.append(directions)
    return np.concatenate(columns, axis=1)


def project(data: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Return ``basis @ basis.T @ data``, the part of the data in a sensor space."""
    if basis.shape[0] == basis.shape[1]:
        return data
    return basis @ (basis.T @ data)


def _ranks(data: np.ndarray, info: mne.Info) -> dict:
    """Rank per channel type as MNE counts it.

    Of the data as they are: a projector that waits, or one that was applied before a channel was
    dropped, would take one dimension too many.
    """
    epochs = make_epochs(data, info, tmin=0.0)
    ranks = mne.compute_rank(epochs, proj=False, verbose="error")
    types = set(info.get_channel_types())
    # compute_rank knows M/EEG; intracranial and optical channels keep all dimensions
    seen = {"mag", "grad"} if "meg" in ranks else set()
    for ch_type in types - set(ranks) - seen:
        ranks[ch_type] = info.get_channel_types().count(ch_type)
    return ranks


def _leading_directions(
    data: np.ndarray, block: np.ndarray, types: np.ndarray, rank: int, scaler: ChannelScaler,
    n_at_once: int = 256,
) -> np.ndarray:  # fmt: skip
    """Leading eigenvectors of the second moments of some standardised channels."""
    moments = np.zeros((len(block), len(block)))
    for start in range(0, len(data), n_at_once):
        trials = scaler.transform(data[start : start + n_at_once, block], types[block])
        moments += np.tensordot(trials, trials, axes=([0, 2], [0, 2]))
    _, vectors = np.linalg.eigh(moments)
    return vectors[:, ::-1][:, :rank]
