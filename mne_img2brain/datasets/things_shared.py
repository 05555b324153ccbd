"""What the readers of THINGS-EEG2 and THINGS-MEG share: images, metadata, sensors, units."""

import re
from collections.abc import Sequence
from pathlib import Path

import mne
import numpy as np
import pandas as pd
from mne.io.constants import FIFF

from .._files import as_path
from .._log import logger
from .._parameters import Number, check_given
from .._types import Baseline, PathLike
from ..epochs.regions import site_montage
from .streamed import Preparation, Stream, StreamedEpochs, Trials

# A scalp potential above 1 mV, or whitened data below 0.001, would both be broken files.
_MAX_VOLTS = 1e-3
_NO_UNIT = "no unit: whitened or z-scored"


def find_files(path: Path, patterns: Sequence[str], depth: int = 3) -> list[Path]:
    """Find files below a folder, not deeper than some folders."""
    found = set()
    for pattern in patterns:
        for level in range(depth + 1):
            found.update(p for p in path.glob("*/" * level + pattern) if p.is_file())
    return sorted(found)


def check_folder(path: PathLike) -> Path:
    """Return the path, or say that it is not there."""
    path = as_path(path, "path").expanduser()
    if not path.exists():
        raise FileNotFoundError(f"There is no folder {path}; give the one that holds the data.")
    return path


def subject_number(subject: int | str, prefix: str, example: str) -> int:
    """Return the number in what a subject is called."""
    match = re.fullmatch(rf"(?:{prefix})?0*([1-9]\d*)", str(subject))
    if match is None:
        raise ValueError(
            f"subject={subject!r}; give a number from 1 or a name such as {example!r}."
        )
    return int(match[1])


def check_asked(
    split: str, average: bool, tmin: float | None, tmax: float | None, resample: float | None
) -> None:
    """Raise unless what readers are asked for is of the kinds they take."""
    seconds = Number(-3600, 3600), None
    check_given(
        split=(split, "train", "test"), average=(average, bool), tmin=(tmin, *seconds),
        tmax=(tmax, *seconds), resample=(resample, Number(0, 1e5, closed="high"), None),
    )  # fmt: skip


def check_baseline(baseline: Baseline) -> None:
    """Raise unless a baseline is "auto", None or two times."""
    if baseline is None or (isinstance(baseline, str) and baseline == "auto"):
        return
    if not isinstance(baseline, (tuple, list)) or len(baseline) != 2:
        raise ValueError(f"baseline={baseline!r}; give 'auto', None, or its first and last second.")
    for end in baseline:
        check_given(baseline=(end, Number(-3600, 3600), None))


def entries(found: dict, keys: Sequence[str], label: str | Path, what: str = "") -> list:
    """Take entries out of a dict, or say which are missing and what the file is not."""
    missing = [key for key in keys if not isinstance(found, dict) or key not in found]
    if missing:
        there = list(found) if isinstance(found, dict) else type(found).__name__
        raise ValueError(f"{label} lacks {', '.join(missing)}; it {what or f'holds {there}'}.")
    return [found[key] for key in keys]


def check_images(files: list[Path], where: str, access: str) -> None:
    """Raise where files of images are not there."""
    absent = [file for file in files if not file.is_file()]
    if absent:
        raise FileNotFoundError(
            f"{len(absent)} of {len(files)} images are {where}, first {absent[0]}. {access}"
        )


def check_plain(names: Sequence[str], label: str) -> None:
    """Raise where a name that somebody wrote into a file leads out of a folder."""
    for name in names:
        if name in ("", ".", "..") or re.search(r"[/\\\0:]", name):
            raise ValueError(f"{label} holds {name!r}, which is not the plain name of a file.")


def align_times(times: Sequence | np.ndarray, n_times: int, label: str) -> np.ndarray:
    """Return the times of the samples there are, the last ``n_times`` of the list.

    Files of the 250 Hz variants list the 300 times of an epoch whose baseline was cut off.
    """
    try:
        times = np.array(times, dtype=float).ravel()
    except (TypeError, ValueError) as error:
        raise ValueError(f"{label} lists times that are no numbers ({error}).") from error
    if not np.isfinite(times).all():
        raise ValueError(f"{label} lists times that are not finite.")
    if len(times) < n_times:
        raise ValueError(
            f"{label} lists {len(times)} times for {n_times} samples per trial; it should list at "
            "least as many. The file is broken, or two were mixed: fetch or make it again."
        )
    if len(times) > n_times:
        logger.info(
            "%s lists %d times for %d samples: the last %d are theirs (%g to %g s), since the "
            "baseline was cut off after it was used.",
            label, len(times), n_times, n_times, times[-n_times], times[-1],
        )  # fmt: skip
    return times[len(times) - n_times :]


def channel_rows(ch_names: Sequence[str], channels: list[str] | None, label: str) -> np.ndarray:
    """Find the rows of the channels asked for, in that order; None is all."""
    ch_names = [str(name) for name in ch_names]
    if channels is None:
        return np.arange(len(ch_names))
    if isinstance(channels, str):
        raise TypeError(f"channels={channels!r}; give a list of names, here [{channels!r}].")
    if not np.iterable(channels) or not all(isinstance(name, str) for name in channels):
        raise TypeError(f"channels={channels!r}; give a list of names, or None for all.")
    if not len(channels):
        raise ValueError("channels is empty; give at least one name, or None for all.")
    unknown = [name for name in channels if name not in ch_names]
    if unknown:
        raise ValueError(
            f"channels: {', '.join(map(str, unknown))} not in {label}, which has "
            f"{', '.join(ch_names)}."
        )
    if len(set(channels)) != len(channels):
        raise ValueError("channels names a channel twice.")
    return np.array([ch_names.index(name) for name in channels], dtype=int)


def check_shape(array: np.ndarray, n_leading: int, ch_names: Sequence[str], label: str) -> None:
    """Raise where an array is not conditions x repetitions x channels x times."""
    shape: tuple[int, ...] = getattr(array, "shape", ())
    if len(shape) != n_leading + 3:
        raise ValueError(
            f"{label} holds data of shape {shape}; expected {n_leading + 3} axes: "
            f"{'condition' if n_leading == 1 else 'concept, image'}, repetition, channel, time."
        )
    if shape[-2] != len(ch_names):
        raise ValueError(f"{label} names {len(ch_names)} channels, but its data have {shape[-2]}.")
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{label} holds data of type {array.dtype}; expected real numbers.")
    if 0 in shape:
        raise ValueError(f"{label} holds data of shape {shape}: there are no trials in it.")


def check_names(names: Sequence, label: str) -> list[str]:
    """Return the names of channels as a list."""
    listed = list(names) if np.iterable(names) and not isinstance(names, (str, bytes)) else []
    if not listed or not all(isinstance(name, str) for name in listed):
        raise ValueError(f"{label}: 'ch_names' is {str(names)[:60]!r}; expected names of channels.")
    twice = [name for name in set(listed) if listed.count(name) > 1]
    if twice:
        raise ValueError(f"{label}: 'ch_names' has {sorted(twice)[0]} more than once.")
    return [str(name) for name in listed]


def unit_by_scale(array: np.ndarray, label: str) -> str:
    """Tell volts, "V", from whitened or z-scored data, "", by the size of a few trials."""
    flat = np.unique(np.linspace(0, len(array) - 1, 8).round().astype(int))
    looked_at = [np.asarray(array[i], dtype=float) for i in flat]
    finite = all(np.isfinite(trials).all() for trials in looked_at)
    if not finite or not any(trials.any() for trials in looked_at):
        raise ValueError(
            f"{label} holds trials that are {'all zeros' if finite else 'not finite'}; the file is "
            "broken: fetch or copy it again."
        )
    spread = np.median([trials.std() for trials in looked_at])
    return "V" if 0 < spread < _MAX_VOLTS else ""


def eeg_info(ch_names: list[str], sfreq: float) -> mne.Info:
    """Make the Info of EEG channels at 10-05 sites."""
    info = mne.create_info(list(ch_names), sfreq, "eeg", verbose="error")
    info.set_montage(site_montage(), on_missing="ignore", verbose="error")
    lost = [ch["ch_name"] for ch in info["chs"] if not np.isfinite(ch["loc"][:3]).all()]
    if lost:
        raise ValueError(f"Channels {', '.join(lost)} are no sites of the 10-05 system.")
    return info


def ctf_info(ch_names: list[str], sfreq: float) -> mne.Info:
    """Make the Info of CTF sensors, MLC11 or MLC11-1609, from the helmet that MNE knows."""
    helmet = mne.channels.read_meg_canonical_info("ctf275")
    row = {name.split("-")[0]: i for i, name in enumerate(helmet["ch_names"])}
    unknown = [name for name in ch_names if name.split("-")[0] not in row]
    if unknown:
        raise ValueError(
            f"{len(unknown)} of {len(ch_names)} channels are no sensors of a 275-sensor CTF "
            f"helmet: {', '.join(unknown[:5])}."
        )
    info = mne.pick_info(helmet, [row[name.split("-")[0]] for name in ch_names], verbose="error")
    mne.rename_channels(info, dict(zip(info["ch_names"], ch_names, strict=True)), verbose="error")
    with info._unlock():
        info["sfreq"], info["lowpass"] = float(sfreq), float(sfreq) / 2
    return info


def mark_unit(info: mne.Info, description: str, unit: str) -> None:
    """Write into an Info where data come from and what their unit is; saved files keep it."""
    if unit == "":
        for channel in info["chs"]:
            # MNE tells magnetometers from gradiometers by their unit: theirs has to stay
            if channel["kind"] == FIFF.FIFFV_EEG_CH:
                channel["unit"], channel["unit_mul"] = FIFF.FIFF_UNIT_NONE, FIFF.FIFF_UNITM_NONE
    info["description"] = f"{description}; {_NO_UNIT if unit == '' else f'unit {unit}'}"


def build_epochs(
    trials: Trials, metadata: pd.DataFrame, info: mne.Info, preparation: Preparation,
    *, average: bool, description: str, baseline: tuple | None = None,
) -> tuple[list[str], StreamedEpochs]:  # fmt: skip
    """Make the epochs of a reader: averages in memory, single trials on disk.

    metadata: one row per trial; its ``address`` says where the trial is.
    """
    addresses = metadata.pop("address").tolist()
    unit = metadata["unit"].iloc[0]
    if average:
        # one row per image, in the order of image_id
        members = metadata.groupby("image_id", sort=True).indices.values()
        shared = ["concept", "image", "image_id", "subject", "unit"]
        metadata = metadata[shared].iloc[[rows[0] for rows in members]].reset_index(drop=True)
        metadata.insert(4, "n_averaged", [len(rows) for rows in members])
        addresses = [[addresses[row] for row in rows] for rows in members]
    else:
        metadata["n_averaged"], addresses = 1, [[address] for address in addresses]
    mark_unit(info, description, unit)
    with info._unlock():
        info["lowpass"] = min(info["lowpass"], preparation.sfreq / 2)
    info["subject_info"] = {"his_id": str(metadata["subject"].iloc[0])}
    times = preparation.times
    if baseline is not None and not (
        baseline[0] >= times[0] - 1e-6 and baseline[1] <= times[-1] + 1e-6
    ):
        baseline = None  # MNE has no word for a baseline that was cut off
    names = sorted(set(metadata["concept"]))
    event_id = {name: code for code, name in enumerate(names, start=1)}
    events = np.zeros((len(metadata), 3), dtype=int)
    events[:, 0] = np.arange(len(metadata)) * len(times)
    events[:, 2] = metadata["concept"].map(event_id)
    stream = Stream(trials, addresses, preparation)
    epochs = StreamedEpochs(stream, info, events, event_id, metadata, baseline)
    if average:
        logger.info(
            "Averages of %d images, %.2f GB.",
            len(epochs), len(epochs) * len(info["ch_names"]) * len(times) * 8e-9,
        )  # fmt: skip
        epochs.load_data()
    return metadata["image"].tolist(), epochs


def trial_metadata(images: pd.DataFrame, subject: str, unit: str, counts: int) -> pd.DataFrame:
    """Make one row per trial of what a file stores by image and repetition."""
    image_id = np.repeat(np.arange(len(images)), counts)
    repetition = np.tile(np.arange(counts), len(images))
    frame = images.iloc[image_id].reset_index(drop=True)
    frame["image_id"], frame["repetition"] = image_id, repetition
    frame["subject"], frame["unit"] = subject, unit
    frame["address"] = pd.Series(list(zip(image_id.tolist(), repetition.tolist(), strict=True)))
    return frame
