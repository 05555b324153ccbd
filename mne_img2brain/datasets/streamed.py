"""Epochs whose trials stay on disk until they are asked for."""

from typing import Any, Self

import mne
import numpy as np
import pandas as pd


class Trials:
    """Trials on disk; readers say how one is fetched."""

    def trial(self, address: Any) -> np.ndarray:
        """Return one trial, array of shape (n_channels, n_times)."""
        raise TypeError(f"{type(self).__name__} does not say how a trial is read.")

    def mean(self, addresses: list) -> np.ndarray:
        """Return the mean of some trials, array of shape (n_channels, n_times)."""
        total = np.array(self.trial(addresses[0]), dtype=np.float64)
        for address in addresses[1:]:
            total += self.trial(address)
        return total / len(addresses) if len(addresses) > 1 else total


class ArrayTrials(Trials):
    """Trials of an array, shape (..., n_repetitions, n_channels, n_times), on disk.

    array: A view of a file; any number of leading axes count conditions. The address of a trial is
        its condition and its repetition.
    """

    def __init__(self, array: np.ndarray, rows: np.ndarray, mapped: Any = None) -> None:
        self.array, self.rows, self.mapped = array, np.asarray(rows), mapped

    def mean(self, addresses: list[tuple]) -> np.ndarray:
        """Return the mean of repetitions of one condition."""
        # the leading axes are indexed, not merged: merging would copy an array in Fortran order
        leading = np.unravel_index(addresses[0][0], self.array.shape[:-3])
        repetitions = [repetition for _, repetition in addresses]
        block = self.array[leading][repetitions]
        if self.mapped is not None:
            self.mapped.saw(block.nbytes)
        # float16 and float32 files are summed in double precision
        mean = block.mean(axis=0, dtype=np.float64)[self.rows]
        if not np.isfinite(mean).all():
            where = getattr(self.mapped, "path", "The file")
            raise ValueError(
                f"{where} holds values that are not finite, in condition {addresses[0][0]}; fetch "
                "or copy it again."
            )
        return mean


class Preparation:
    """What is done to a trial, or to an average, between the file and the user.

    Baseline, then resampling, then the choice of a time window: resampling the whole trial keeps
    edge effects out of the window. All three are linear, so that they commute with averaging.

    times, sfreq: seconds from image onset and sampling rate in Hz, afterwards.
    """

    def __init__(
        self, times: np.ndarray, *, baseline: tuple | None = None, resample: float | None = None,
        tmin: float | None = None, tmax: float | None = None,
    ) -> None:  # fmt: skip
        times = np.asarray(times, dtype=float)
        steps, whole = np.diff(times), times
        if len(times) < 2 or steps.min() <= 0 or np.ptp(steps) > 0.01 * steps.mean():
            raise ValueError(
                "The times of the file are not evenly spaced and rising; at least two such times "
                "are needed."
            )
        if times[-1] - times[0] > 0.5 * len(times):
            raise ValueError(
                f"The times of the file go from {times[0]:g} to {times[-1]:g} in steps of "
                f"{steps.mean():g}; they should be seconds, not milliseconds."
            )
        self._sfreq_in = round((len(times) - 1) / (times[-1] - times[0]), 4)
        self.sfreq = self._sfreq_in if resample is None else float(resample)
        if not self.sfreq > 0:
            raise ValueError(f"resample={resample} Hz is not above 0.")
        self._baseline = self.baseline = None
        if baseline is not None:
            self._baseline = _window(times, baseline[0], baseline[1], "baseline")
            part = times[self._baseline]
            self.baseline = (float(part[0]), float(part[-1]))
        self._resample = self.sfreq != self._sfreq_in
        if self._resample:
            first = times[0] * self.sfreq
            if abs(first - round(first)) > 0.01:
                raise ValueError(
                    f"resample={resample} Hz has no sample at {times[0]:g} s, where the trials of "
                    f"the file begin; choose a rate of which {times[0]:g} s is a whole number of "
                    "samples."
                )
            n_times = round(len(times) * self.sfreq / self._sfreq_in)
            times = (round(first) + np.arange(n_times)) / self.sfreq
        # the last sample at the new rate may come a little before the last one of the file
        self._kept = _window(times, tmin, tmax, "tmin, tmax", whole)
        self.times = times[self._kept]

    def __call__(self, trial: np.ndarray) -> np.ndarray:
        """Return the trial prepared, a new array of shape (n_channels, n_times)."""
        if self._baseline is not None:
            trial = trial - trial[:, self._baseline].mean(axis=1, keepdims=True)
        if self._resample:
            trial = mne.filter.resample(
                np.ascontiguousarray(trial, dtype=np.float64), up=self.sfreq, down=self._sfreq_in,
                npad="auto", pad="edge", verbose="error",
            )  # fmt: skip
        return np.array(trial[:, self._kept], dtype=np.float64)


class Stream:
    """Which trials make up each epoch, and what is done to them.

    addresses: for every epoch the trials it is the mean of.
    """

    def __init__(self, trials: Trials, addresses: list[list], preparation: Preparation) -> None:
        self.trials, self.addresses, self.preparation = trials, addresses, preparation

    def __len__(self) -> int:
        return len(self.addresses)

    def __deepcopy__(self, memo: dict) -> Self:
        # epochs are copied whenever they are indexed; what is on disk is not
        return self

    def read(self, row: int) -> np.ndarray:
        """Return one epoch, array of shape (n_channels, n_times)."""
        return self.preparation(self.trials.mean(self.addresses[row]))


class StreamedEpochs(mne.BaseEpochs):
    """Epochs that read a trial from disk when it is asked for.

    They are indexed like any epochs without reading anything; ``get_data`` and ``load_data`` read
    what is left. MNE can pick channels or crop once they are loaded.

    baseline: the baseline that the trials have; recorded, not subtracted again.
    """

    def __init__(
        self, stream: Stream, info: mne.Info, events: np.ndarray, event_id: dict[str, int],
        metadata: pd.DataFrame, baseline: tuple | None = None,
    ) -> None:  # fmt: skip
        times = stream.preparation.times
        self._stream: Any = stream
        super().__init__(
            info, None, events, event_id, times[0], times[-1], baseline=None, proj=False,
            metadata=metadata, verbose="error",
        )  # fmt: skip
        # the trials are what the file has: none is rejected or corrected on reading
        self._do_baseline, self._bad_dropped = False, True
        self.baseline = baseline

    def _get_epoch_from_raw(self, idx: int, verbose: bool | str | int | None = None) -> np.ndarray:
        """Read one epoch; ``selection`` is its place among all that there were at first."""
        return self._stream.read(self.selection[idx])[self.picks]

    def load_data(self) -> Self:
        """Read all trials that are left."""
        super().load_data()
        self._stream = None
        return self


def _window(
    times: np.ndarray,
    first: float | None,
    last: float | None,
    label: str,
    whole: np.ndarray | None = None,
) -> slice:
    """Return the slice of times between two, to within half a sample of the file."""
    whole = times if whole is None else whole
    slack = 0.5 * (whole[1] - whole[0]) - 1e-9
    first = times[0] if first is None else first
    last = times[-1] if last is None else last
    kept = np.flatnonzero((times >= first - slack) & (times <= last + slack))
    if len(kept) == 0 or first < whole[0] - slack or last > whole[-1] + slack:
        raise ValueError(
            f"{label}: {first:g} to {last:g} s was asked for, but the trials last from "
            f"{whole[0]:g} to {whole[-1]:g} s."
        )
    return slice(kept[0], kept[-1] + 1)
