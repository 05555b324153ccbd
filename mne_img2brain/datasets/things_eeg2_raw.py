"""Epochs of the raw recordings of THINGS-EEG2: events, baseline, whitening."""

import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from .._log import logger, progress_bar
from .restricted_pickle import read_npy
from .streamed import Preparation, Trials
from .things_shared import build_epochs, channel_rows, eeg_info, entries

TARGET_CODE = 99999
_KEYS = ("raw_eeg_data", "ch_names", "ch_types", "sfreq")
_WINDOW = (-0.2, 1.0)


class _Session:
    """One recording on disk, with its events."""

    def __init__(self, file: Path, n_images: int) -> None:
        found, self.mapped = read_npy(file)
        self.data, names, types, sfreq = entries(found, _KEYS, file, "is no raw recording")
        self.file, self.sfreq = file, float(sfreq)
        self.number = int(re.findall(r"\d+$", file.parent.name)[0])
        self.highpass = float(found.get("highpass", 0.0))
        self.lowpass = float(found.get("lowpass", self.sfreq / 2))
        names, types = list(map(str, names)), list(map(str, types))
        if self.data.ndim != 2 or len(self.data) != len(names) or len(names) != len(types):
            raise ValueError(
                f"{file} holds data of shape {self.data.shape}, {len(names)} names and "
                f"{len(types)} types of channels; expected one of each per channel."
            )
        if "stim" not in names:
            raise ValueError(f"{file} has no channel 'stim', which tells the images.")
        self.ch_names = [n for n, kind in zip(names, types, strict=True) if kind == "eeg"]
        self.rows = [names.index(name) for name in self.ch_names]
        self.samples, self.codes = self._events(names.index("stim"), n_images)

    def _events(self, row: int, n_images: int) -> tuple[np.ndarray, np.ndarray]:
        """Return onsets and images, counted from 0; targets are left out."""
        stim = np.asarray(self.data[row])
        self.mapped.saw(stim.nbytes)
        onsets = np.flatnonzero((stim != 0) & (stim != np.concatenate([[0], stim[:-1]])))
        codes = stim[onsets].astype(int)
        targets = codes == TARGET_CODE
        logger.info(
            "%s: %d trials, %d targets left out.", self.file, np.sum(~targets), np.sum(targets)
        )
        onsets, codes = onsets[~targets], codes[~targets]
        wrong = np.unique(codes[(codes < 1) | (codes > n_images)])
        if len(wrong):
            raise ValueError(
                f"{self.file}: codes {', '.join(map(str, wrong[:5]))} on 'stim' are neither "
                f"images (1 to {n_images}) nor targets ({TARGET_CODE}). The recording and the "
                "image metadata do not belong together, or the file holds the other split."
            )
        return onsets, codes - 1

    def order_as(self, ch_names: list[str]) -> None:
        """Put channels, whose order is the session's own, in that of another."""
        self.rows = [self.rows[self.ch_names.index(name)] for name in ch_names]
        self.ch_names = ch_names

    def whole(self, start: int, stop: int) -> np.ndarray:
        """Tell which trials lie within the recording."""
        return (self.samples + start >= 0) & (self.samples + stop <= self.data.shape[1])


class _RawTrials(Trials):
    """Trials cut out of recordings: addresses are (session, sample)."""

    def __init__(self, sessions: list[_Session], rows: np.ndarray, start: int, stop: int) -> None:
        self.sessions, self.start, self.stop = sessions, start, stop
        self.rows = [np.array(session.rows)[rows] for session in sessions]
        self.whiteners: list[np.ndarray | None] = [None] * len(sessions)

    def trial(self, address: tuple[int, int]) -> np.ndarray:
        """Return one trial, whitened if there is a whitener."""
        number, sample = address
        session = self.sessions[number]
        window = session.data[:, sample + self.start : sample + self.stop]
        trial = np.asarray(window[self.rows[number]], dtype=np.float64)
        session.mapped.saw(trial.nbytes)
        whitener = self.whiteners[number]
        return trial if whitener is None else whitener @ trial


def load_raw(
    files: list[Path], images: pd.DataFrame, name: str, split: str, *, average: bool,
    baseline: Literal["auto"] | tuple | None, mvnn: bool, channels: list[str] | None,
    tmin: float | None, tmax: float | None, resample: float | None,
) -> tuple[list, Any]:  # fmt: skip
    """Cut raw recordings into epochs, from -0.2 to 1 s unless another window is given."""
    tmin, tmax = (_WINDOW[0] if tmin is None else tmin), (_WINDOW[1] if tmax is None else tmax)
    baseline = (None, 0.0) if isinstance(baseline, str) and baseline == "auto" else baseline
    sessions = [_Session(file, len(images)) for file in files]
    trials, rows = _cut(sessions, channels, tmin, tmax, baseline)
    first = sessions[0]
    preparation = Preparation(
        np.arange(trials.start, trials.stop) / first.sfreq,
        baseline=baseline,
        resample=resample, tmin=tmin, tmax=tmax,
    )  # fmt: skip
    metadata = _metadata(sessions, trials, images, name, "" if mvnn else "V")
    if mvnn:
        _fit_whiteners(trials, sessions, preparation, split, channels)
    info = eeg_info([first.ch_names[row] for row in rows], preparation.sfreq)
    with info._unlock():
        info["highpass"], info["lowpass"] = first.highpass, min(first.lowpass, info["lowpass"])
    whitened = ", whitened per session with the covariance of its training trials" if mvnn else ""
    return build_epochs(
        trials, metadata, info, preparation, average=average, baseline=preparation.baseline,
        description=f"THINGS-EEG2 {name}, {split}, raw recordings{whitened}",
    )  # fmt: skip


def _cut(
    sessions: list[_Session], channels: list[str] | None, tmin: float, tmax: float,
    baseline: tuple[None, float] | None,
) -> tuple[_RawTrials, np.ndarray]:  # fmt: skip
    """Choose channels by name, and a window that holds what is kept and the baseline."""
    first = sessions[0]
    for session in sessions[1:]:
        if set(session.ch_names) != set(first.ch_names) or session.sfreq != first.sfreq:
            raise ValueError(f"{session.file} and {first.file} differ in channels or rate.")
        session.order_as(first.ch_names)
    rows = channel_rows(first.ch_names, channels, str(first.file))
    edges = [edge for edge in (baseline or ()) if edge is not None]
    low, high = min(tmin, _WINDOW[0], *edges), max(tmax, _WINDOW[1], *edges)
    start, stop = round(low * first.sfreq), round(high * first.sfreq) + 1
    return _RawTrials(sessions, rows, start, stop), rows


def _metadata(
    sessions: list[_Session], trials: _RawTrials, images: pd.DataFrame, name: str, unit: str
) -> Any:
    """Make one row per trial that lies within its recording, in the order of presentation."""
    parts = []
    for number, session in enumerate(sessions):
        inside = session.whole(trials.start, trials.stop)
        if not inside.all():
            logger.info("%s: %d trials at its edges are not whole.", session.file, np.sum(~inside))
        samples = session.samples[inside].tolist()
        part = images.iloc[session.codes[inside]].reset_index(drop=True)
        part["image_id"] = session.codes[inside]
        part["session"], part["trial"] = session.number, np.flatnonzero(inside)
        part["address"] = pd.Series([(number, sample) for sample in samples], dtype=object)
        parts.append(part)
    frame = pd.concat(parts, ignore_index=True)
    if len(frame) == 0:
        raise ValueError(f"No trial of an image is in {sessions[0].file.parent.parent}.")
    frame["repetition"] = frame.groupby("image_id").cumcount()
    frame["subject"], frame["unit"] = name, unit
    n_absent = len(images) - frame["image_id"].nunique()
    if n_absent:
        logger.info("%d of %d images have no trial.", n_absent, len(images))
    return frame


def _fit_whiteners(
    trials: _RawTrials, sessions: list[_Session], preparation: Preparation, split: str,
    channels: list[str] | None,
) -> None:  # fmt: skip
    """Fit one whitener per session on its training trials."""
    for number, session in enumerate(sessions):
        fitted, source = session, number
        reader = trials
        if split == "test":
            file = session.file.with_name("raw_eeg_training.npy")
            if not file.is_file():
                raise FileNotFoundError(
                    f"mvnn=True needs {file}: whitening is fitted on training trials only, also "
                    "for the test split."
                )
            # which images these are does not matter here
            fitted, source = _Session(file, TARGET_CODE - 1), 0
            if set(fitted.ch_names) != set(session.ch_names):
                raise ValueError(f"{file} and {session.file} have different channels.")
            fitted.order_as(session.ch_names)
            rows = channel_rows(session.ch_names, channels, str(file))
            reader = _RawTrials([fitted], rows, trials.start, trials.stop)
        samples = fitted.samples[fitted.whole(trials.start, trials.stop)].tolist()
        if not samples:
            raise ValueError(f"{fitted.file} has no whole trial to fit whitening on.")
        total: Any = 0.0
        for sample in progress_bar(samples, f"Whitening of {fitted.file.parent.name}"):
            total = total + shrunk_covariance(preparation(reader.trial((source, sample))))
        trials.whiteners[number] = inverse_root(total / len(samples))
        logger.info("%s: whitener of %d trials.", fitted.file, len(samples))


def shrunk_covariance(trial: np.ndarray) -> np.ndarray:
    """Return the covariance of channels over the times of a trial, shrunk to its diagonal.

    Ledoit-Wolf, of the trial (n_channels, n_times) scaled to unit variance per channel, and scaled
    back, as Guggenmos, Sterzer & Cichy (2018), NeuroImage 173, do.
    """
    from sklearn.covariance import ledoit_wolf

    centred = (trial - trial.mean(axis=1, keepdims=True)).T
    scale = centred.std(axis=0)
    scale[scale == 0] = 1.0
    covariance, _ = ledoit_wolf(centred / scale, assume_centered=True)
    return covariance * np.outer(scale, scale)


def inverse_root(covariance: np.ndarray) -> np.ndarray:
    """Return the symmetric matrix W with W C W = 1, for C positive definite."""
    values, vectors = np.linalg.eigh(covariance)
    if values[0] <= 1e-12 * values[-1]:
        raise ValueError(
            "The covariance of the training trials has no inverse: a channel is flat, or depends "
            "on others. Leave channels out with channels=."
        )
    return (vectors / np.sqrt(values)) @ vectors.T
