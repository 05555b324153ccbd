"""Read THINGS-MEG (Hebart et al. 2023) in both forms in which it circulates.

=============  ================================================================================
``variant``    files
=============  ================================================================================
``"fif"``      ``preprocessed_P1-epo.fif`` with its parts ``-epo-1.fif`` ...; z-scored, 200 Hz
``"atm"``      ``sub-01/preprocessed_meg_{training,zs_test}.pkl``, cut to 0 .. 1 s
=============  ================================================================================

Two splits of the trials circulate. Both test on 200 images shown 12 times:

``"zero-shot"``
    trains on 1,654 concepts x 12 images; the concepts of the test images are left out.
``"standard"``
    trains on all 1,854 concepts x 12 images; test concepts were seen, in other images.

The images are not those of THINGS-EEG2.

References
----------
Hebart, Contier, Teichmann et al. (2023). THINGS-data, a multimodal collection of large-scale
datasets for investigating object representations in human brain and behavior. eLife 12, e82580.
"""

import re
from pathlib import Path
from typing import Literal

import mne
import numpy as np

from .._files import check_fif_file
from .._log import logger
from .._parameters import check_given
from .._types import PathLike
from ._unpickler import BROKEN
from .restricted_pickle import read_pickle
from .streamed import ArrayTrials, Preparation, Trials
from .things_meg_images import ACCESS, check_columns, choose_trials, image_lists, locate_images
from .things_shared import (
    align_times,
    build_epochs,
    channel_rows,
    check_asked,
    check_folder,
    check_names,
    check_shape,
    ctf_info,
    entries,
    find_files,
    subject_number,
    trial_metadata,
    unit_by_scale,
)

__all__ = ["load"]

_PICKLES = {"train": "preprocessed_meg_training.pkl", "test": "preprocessed_meg_zs_test.pkl"}


def load(
    path: PathLike,
    subject: int | str = 1,
    split: Literal["train", "test"] = "train",
    average: bool = True,
    variant: Literal["auto", "fif", "atm"] = "auto",
    channels: list[str] | None = None,
    tmin: float | None = None,
    tmax: float | None = None,
    resample: float | None = None,
    *,
    protocol: Literal["zero-shot", "standard"] = "zero-shot",
    metadata: PathLike | None = None,
    images_dir: PathLike | None = None,
) -> tuple[list[str], mne.BaseEpochs]:
    """Read the trials of one subject and the images they answer to.

    Parameters
    ----------
    path : path-like
        The folder that holds ``preprocessed_P1-epo.fif`` or ``sub-01``, at most three folders
        down.
    subject : int | str, default 1
        ``1``, ``"P1"`` or ``"sub-01"``.
    split : "train" | "test", default "train"
        Training images, shown once each, or the 200 test images, shown 12 times.
    average : bool, default True
        True returns one epoch per image, the mean over its repetitions, in memory. False returns
        single trials, which stay on disk until they are asked for.
    variant : "auto" | "fif" | "atm", default "auto"
        Which files to read, see the top of this page. ``"auto"`` takes what is there, if that is
        one.
    channels : list of str | None, default None
        Sensors to keep, in this order; None is all, in the order of the file.
    tmin, tmax : float | None, default None
        First and last time to keep, in seconds from image onset.
    resample : float | None, default None
        Sampling rate to change to, in Hz.
    protocol : "zero-shot" | "standard", default "zero-shot"
        Which split, see the top of this page. ATM's pickles hold the zero-shot one alone.
    metadata : path-like | None, default None
        For ATM's pickles, which do not name images: ``sample_attributes_P1.csv`` of the data
        set. None looks for it beside and above the data, then for the folders of images.
    images_dir : path-like | None, default None
        The folder that holds ``images_meg`` and ``images_test_meg``, or one folder per concept
        as the THINGS database has them. None looks beside and above the data; where there are
        none, the paths returned are relative.

    Returns
    -------
    images : list of str
        The path of the image of each epoch.
    epochs : mne.BaseEpochs
        Of magnetometers. The data are z-scored and have no unit: the metadata column ``unit`` is
        empty and ``info["description"]`` says so, also in saved files; that ``info["chs"]`` says
        tesla is how MNE knows a magnetometer. Metadata: ``concept``, ``image``, ``image_id``
        (position among the images of the split), ``subject``, ``n_averaged``, ``unit``; of
        single trials also ``repetition``, and from FIF files ``session``, ``run`` and ``trial``
        (position in the file). Events are called by concept.

    Raises
    ------
    FileNotFoundError
        If the folder, the subject, a part of a split file, metadata or images are not there.
    ValueError
        If both variants are there, files are broken or lack metadata, images are those of
        THINGS-EEG2, or channels or times are not in the data.

    See Also
    --------
    mne_img2brain.datasets.things_eeg2.load : EEG, with images of the same collection.

    Examples
    --------
    >>> from mne_img2brain.datasets import things_meg
    >>> images, epochs = things_meg.load("THINGS-MEG", subject=1)  # doctest: +SKIP
    """
    check_given(
        variant=(variant, "auto", "fif", "atm"), protocol=(protocol, "zero-shot", "standard")
    )
    check_asked(split, average, tmin, tmax, resample)
    path = check_folder(path).absolute()
    number = subject_number(subject, "P|sub-?(?:BIGMEG)?", "P1")
    variant, file = _find_variant(path, number, variant, split)
    if variant == "atm" and protocol != "zero-shot" and split == "train":
        raise ValueError(
            f"{file} holds the zero-shot split, in which test concepts were left out; the "
            "standard split is read from preprocessed_P*-epo.fif."
        )
    read = _load_fif if variant == "fif" else _load_pickle
    options = {"tmin": tmin, "tmax": tmax, "resample": resample}
    return read(
        path, file, number, split, protocol, average, channels, options, metadata, images_dir
    )


class _FifTrials(Trials):
    """Trials of epochs in FIF files: addresses are positions."""

    def __init__(self, epochs: mne.BaseEpochs, rows: np.ndarray) -> None:
        self.epochs, self.rows = epochs, rows

    def trial(self, address: int) -> np.ndarray:
        """Return one trial."""
        return self.epochs.get_data(item=[address], copy=False, verbose="error")[0][self.rows]


def _load_fif(
    path: Path, file: Path, number: int, split: str, protocol: str, average: bool,
    channels: list[str] | None, options: dict, metadata: PathLike | None,
    images_dir: PathLike | None,
) -> tuple[list, mne.BaseEpochs]:  # fmt: skip
    """Read MNE's split files."""
    epochs = _read_fif(file)
    if epochs.metadata is None:
        raise ValueError(
            f"{file} has no metadata, so nothing tells the image of a trial; fetch "
            f"preprocessed_P{number}-epo.fif again. {ACCESS}"
        )
    check_columns(epochs.metadata, str(file))
    trials = choose_trials(epochs.metadata, epochs.events[:, 2], split, protocol)
    trials["image"] = locate_images(trials["image"], path, images_dir)
    trials["subject"], trials["unit"] = f"P{number}", ""
    picks = mne.pick_types(epochs.info, meg=True, ref_meg=False, exclude=())
    names = [epochs.ch_names[pick] for pick in picks]
    rows = channel_rows(names, channels, str(file))
    preparation = Preparation(epochs.times, **options)
    info = mne.pick_info(epochs.info, picks[rows], verbose="error")
    with info._unlock():
        info["sfreq"] = preparation.sfreq
    return build_epochs(
        _FifTrials(epochs, picks[rows]),
        trials,
        info,
        preparation,
        average=average,
        description=f"THINGS-MEG P{number}, {split}, {protocol} split, preprocessed FIF",
        # the z-scores are those of the baseline
        baseline=(float(epochs.times[0]), 0.0),
    )


def _read_fif(file: Path) -> mne.BaseEpochs:
    """Open epochs without reading them; say which part of a split file is missing."""
    check_fif_file(file, str(file))
    try:
        return mne.read_epochs(file, proj=False, preload=False, verbose="error")
    except BROKEN as error:
        raise ValueError(
            f"{file} holds no epochs that MNE can read ({error}); fetch or copy it again."
        ) from error
    except OSError as error:
        name = Path(str(getattr(error, "filename", "") or error)).name.strip("'\" ")
        raise FileNotFoundError(
            f"{file} goes on in other files, of which one is missing ({name}); all of "
            f"{file.name.replace('.fif', '')}-1.fif, -2.fif ... must lie beside it. {ACCESS}"
        ) from error


def _load_pickle(
    path: Path, file: Path, number: int, split: str, protocol: str, average: bool,
    channels: list[str] | None, options: dict, metadata: PathLike | None,
    images_dir: PathLike | None,
) -> tuple[list, mne.BaseEpochs]:  # fmt: skip
    """Read ATM's pickles."""
    found, mapped = read_pickle(file)
    keys = ("meg_data", "ch_names", "times")
    data, names, times = entries(found, keys, file, "is none of ATM's MEG pickles")
    names = check_names(names, str(file))
    check_shape(data, 2, names, str(file))
    images = image_lists(path, number, metadata, images_dir)[split]
    n_images = int(np.prod(data.shape[:2]))
    if len(images) != n_images:
        raise ValueError(
            f"{file} holds {data.shape[0]} concepts x {data.shape[1]} images, but the lists name "
            f"{len(images)} {split} images of the zero-shot split."
        )
    n_concepts = images["concept"].to_numpy().reshape(data.shape[:2])
    if not (n_concepts == n_concepts[:, :1]).all():
        raise ValueError(
            f"{file} has {data.shape[1]} images of each concept, but the lists do not; they "
            "belong to other data."
        )
    images["image"] = locate_images(images["image"], path, images_dir)
    rows = channel_rows(names, channels, str(file))
    times = align_times(times, data.shape[-1], str(file))
    preparation = Preparation(times, **options)
    if unit_by_scale(data, str(file)) == "V":
        logger.info("%s: the values are small for z-scores; they are taken as such.", file)
    return build_epochs(
        ArrayTrials(data, rows, mapped), trial_metadata(images, f"P{number}", "", data.shape[2]),
        ctf_info([names[row] for row in rows], preparation.sfreq), preparation, average=average,
        description=f"THINGS-MEG P{number}, {split}, {protocol} split, ATM pickle",
    )  # fmt: skip


def _find_variant(path: Path, number: int, variant: str, split: str) -> tuple[str, Path]:
    """Return the variant and the file of a subject."""
    if path.is_file() and path.suffix == ".fif" and re.search(r"-epo-\d+\.fif$", path.name):
        raise ValueError(
            f"{path} is the continuation of a split file; give the folder, or the file without "
            "the last number."
        )
    folder = path if path.is_dir() else path.parent
    fif = find_files(folder, ["preprocessed_P*-epo.fif"])
    pickles = find_files(folder, list(_PICKLES.values()))
    if not fif and not pickles:
        eeg = find_files(folder, ["preprocessed_eeg_*.npy", "raw_eeg_*.npy", "train.pt"])
        if eeg:
            raise ValueError(
                f"{path} holds THINGS-EEG2 ({eeg[0].name}), not THINGS-MEG; read it with "
                "mne_img2brain.datasets.things_eeg2.load."
            )
        raise FileNotFoundError(
            f"{path} is not a folder of THINGS-MEG: neither preprocessed_P1-epo.fif nor "
            f"{_PICKLES['train']} is in it or up to three folders down. {ACCESS}"
        )
    mine = {
        "fif": [file for file in fif if file.name == f"preprocessed_P{number}-epo.fif"],
        "atm": [file for file in pickles if f"sub-{number:02d}" in file.parts],
    }
    mine = {key: files for key, files in mine.items() if files and variant in ("auto", key)}
    if not mine:
        there = ", ".join(str(file.relative_to(folder)) for file in [*fif, *pickles])
        raise FileNotFoundError(
            f"{path} has no data of subject {number} (variant {variant!r}); there is {there}."
        )
    if len(mine) > 1:
        raise ValueError(
            f"Several variants of P{number} are mixed in {path}: {mine['fif'][0].name} and "
            f"{mine['atm'][0].name}. Say which to read with variant=."
        )
    (found, files) = mine.popitem()
    if found == "atm":
        files = [file for file in files if file.name == _PICKLES[split]]
        if not files:
            raise FileNotFoundError(f"{path} has no {_PICKLES[split]}, the {split} split.")
    if len(files) > 1:
        raise ValueError(f"{path} has P{number} more than once: {files[0]} and {files[1]}.")
    return found, files[0]
