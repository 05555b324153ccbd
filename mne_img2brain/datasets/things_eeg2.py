"""Read THINGS-EEG2 (Gifford et al. 2022) in every form in which it circulates.

========================  =====================================================================
``variant``               files
========================  =====================================================================
``"gifford"``             ``sub-01/preprocessed_eeg_{training,test}.npy``, 17 channels, 100 Hz
``"nice"``                same names, 63 channels, 250 Hz: NICE, ATM; pickles under ``.npy``
``"ubp"``                 ``sub-01/{train,test}.pt``
``"neurobridge"``         ``sub-01/{train,test}.npy``, with ``info.json`` or a dict inside
``"raw"``                 ``sub-01/ses-01/raw_eeg_{training,test}.npy``, 1000 Hz, in volts
========================  =====================================================================

References
----------
Gifford, Dwivedi, Roig & Cichy (2022). A large and rich EEG dataset for modeling human visual
object recognition. NeuroImage 264, 119754.
"""

from pathlib import Path
from typing import Literal, get_args

import mne
import numpy as np

from .._files import as_path
from .._log import logger
from .._parameters import check_given
from .._types import Baseline, PathLike
from .streamed import ArrayTrials, Preparation
from .things_eeg2_images import (
    ACCESS,
    check_lists,
    fetch_image_metadata,
    find_image_metadata,
    image_table,
    locate_images,
    read_image_metadata,
    ubp_table,
)
from .things_eeg2_layouts import FILES, READERS, Variant, find_variant, sessions_of
from .things_eeg2_raw import load_raw
from .things_shared import (
    align_times,
    build_epochs,
    channel_rows,
    check_asked,
    check_baseline,
    check_folder,
    check_names,
    check_shape,
    eeg_info,
    subject_number,
    trial_metadata,
    unit_by_scale,
)

__all__ = ["fetch_image_metadata", "load", "read_image_metadata"]

_N_CHANNELS_GIFFORD = 17


def load(
    path: PathLike,
    subject: int | str = 1,
    split: Literal["train", "test"] = "train",
    average: bool = True,
    variant: Variant = "auto",
    channels: list[str] | None = None,
    tmin: float | None = None,
    tmax: float | None = None,
    resample: float | None = None,
    *,
    baseline: Literal["auto"] | tuple | None = "auto",
    mvnn: bool = False,
    metadata: PathLike | dict | None = None,
    images_dir: PathLike | None = None,
) -> tuple[list[str], mne.BaseEpochs]:
    """Read the trials of one subject and the images they answer to.

    Parameters
    ----------
    path : path-like
        The folder that holds ``sub-01`` and so on, at most two folders down, or ``sub-01`` itself.
    subject : int | str, default 1
        ``1`` or ``"sub-01"``.
    split : "train" | "test", default "train"
        16,540 images shown 4 times, or 200 images of other concepts shown 80 times.
    average : bool, default True
        True returns one epoch per image, the mean over its repetitions, in memory. False returns
        single trials, which stay on disk until they are asked for.
    variant : "auto" | "gifford" | "nice" | "atm" | "ubp" | "neurobridge" | "raw", default "auto"
        Which files to read, see the top of this page. ``"auto"`` takes what is there, if that is
        one.
    channels : list of str | None, default None
        Sensors to keep, in this order; None is all, in the order of the file.
    tmin, tmax : float | None, default None
        First and last time to keep, in seconds from image onset. None keeps what the file has; of
        raw recordings, -0.2 to 1 s.
    resample : float | None, default None
        Sampling rate to change to in Hz. Raw recordings have 1000 Hz, and averages of all images
        at this rate take 10 GB: 250 or 100 is what others use.
    baseline : "auto" | tuple of float | None, default "auto"
        The baseline to subtract from every trial. ``"auto"`` is what comes before onset for raw
        recordings; the other files were corrected by who made them.
    mvnn : bool, default False
        Whiten raw recordings: per session, with the covariance of its *training* trials, whichever
        split is read.
    metadata : path-like | dict | None, default None
        ``image_metadata.npy``, or what :func:`read_image_metadata` returns. None looks beside and
        above the data. UBP files name their images themselves.
    images_dir : path-like | None, default None
        The folder that holds ``training_images`` and ``test_images``. None looks beside and above
        the data; where there are none, the paths returned are relative.

    Returns
    -------
    images : list of str
        The path of the image of each epoch.
    epochs : mne.BaseEpochs
        In V where the data have a unit. Data that were whitened or z-scored have none: the
        metadata column ``unit`` is empty, ``info["description"]`` says so, and the unit of every
        channel in ``info["chs"]`` is "none", also in saved files. Metadata: ``concept``, ``image``,
        ``image_id`` (position in the split), ``subject``, ``n_averaged``, ``unit``; of single
        trials also ``repetition`` (its position in the file, where repetitions are shuffled: it
        says nothing of the session), and ``session`` where the file tells it. Events are called by
        concept.

    Raises
    ------
    FileNotFoundError
        If the folder, the subject, the split, the metadata or images are not there.
    ValueError
        If files of several variants are there, do not belong together, or are broken; if images
        are those of THINGS-MEG; if channels or times are not in the data.

    See Also
    --------
    mne_img2brain.datasets.things_meg.load : MEG, with images of the same collection.

    Notes
    -----
    Only arrays and builtin containers are read from pickles; they stay on disk while averages
    are taken. Measured on full-size files of 16,540 x 4 x 63 x 250: averages of the 8.3 GB pickle
    peak at 0.1 GiB more than the 1.9 GiB returned, in 10 s from the page cache; so do UBP files of
    arrays. UBP files of tensors need torch, 0.3 GiB more, and torch keeps the 2 GiB it mapped
    resident while there is room.

    Examples
    --------
    >>> from mne_img2brain.datasets import things_eeg2
    >>> images, epochs = things_eeg2.load("THINGS-EEG2", subject=1)  # doctest: +SKIP
    """
    if variant not in get_args(Variant):
        raise ValueError(f"variant={variant!r}; give one of {', '.join(get_args(Variant))}.")
    check_given(mvnn=(mvnn, bool))
    check_asked(split, average, tmin, tmax, resample)
    check_baseline(baseline)
    path = check_folder(path).absolute()
    name = f"sub-{subject_number(subject, 'sub-?', 'sub-01'):02d}"
    family, files = find_variant(path, name, variant, split)
    options: dict = {"channels": channels, "tmin": tmin, "tmax": tmax, "resample": resample}
    if mvnn and family != "raw":
        raise ValueError(
            "mvnn=True whitens raw recordings; what is read here was preprocessed already. Give "
            "variant='raw' and a folder with ses-01/raw_eeg_training.npy."
        )
    if family == "raw":
        lists = _metadata(metadata, path, images_dir)
        table = image_table(lists, split, len(lists[f"{split}_img_files"]), "raw")
        table = locate_images(table, split, path, images_dir)
        return load_raw(
            files, table, name, split, average=average, baseline=baseline, mvnn=mvnn, **options
        )
    (file,) = files
    return _load_arrays(
        path, file, family, variant, name, split, average, baseline, metadata, images_dir, options
    )


def _load_arrays(
    path: Path, file: Path, family: str, variant: str, name: str, split: str, average: bool,
    baseline: Baseline, metadata: PathLike | dict | None, images_dir: PathLike | None,
    options: dict,
) -> tuple[list, mne.BaseEpochs]:  # fmt: skip
    """Read a file that holds conditions x repetitions x channels x times."""
    found = READERS[family](file)
    data, n_leading = found.data, 2 if family == "neurobridge" else 1
    ch_names = check_names(found.ch_names, str(file))
    check_shape(data, n_leading, ch_names, str(file))
    kind = _preprocessed_kind(variant, ch_names, file) if family == "preprocessed" else family
    n_conditions = int(np.prod(data.shape[:-3]))
    if family == "preprocessed":
        _check_partner(file, split, ch_names, data.shape[-1])
    if found.images is not None:
        table = ubp_table(found.images, split, n_conditions, str(file))
    else:
        lists = _metadata(metadata, path, images_dir)
        table = image_table(lists, split, n_conditions, str(file))
    table = locate_images(table, split, path, images_dir)
    rows = channel_rows(ch_names, options.pop("channels"), str(file))
    preparation = Preparation(
        align_times(found.times, data.shape[-1], str(file)),
        baseline=None if isinstance(baseline, str) else baseline,
        **options,
    )
    unit = unit_by_scale(data, str(file))
    trials = trial_metadata(table, name, unit, data.shape[-3])
    if found.sessions is not None:
        trials["session"] = sessions_of(found.sessions, data.shape, str(file))
    # the others cut their baseline off
    made_with = (-0.2, 0.0) if kind == "gifford" else None
    return build_epochs(
        ArrayTrials(data, rows, found.mapped), trials,
        eeg_info([str(ch_names[row]) for row in rows], preparation.sfreq), preparation,
        average=average, description=f"THINGS-EEG2 {name}, {split}, {kind} preprocessing",
        baseline=preparation.baseline or made_with,
    )  # fmt: skip


def _preprocessed_kind(variant: str, ch_names: list[str], file: Path) -> str:
    """Tell whose preprocessing it is, and check that it is the one asked for."""
    kind = "gifford" if len(ch_names) == _N_CHANNELS_GIFFORD else "nice"
    if variant in ("gifford", "nice", "atm") and kind != variant.replace("atm", "nice"):
        raise ValueError(
            f"variant={variant!r} was asked for, but {file} holds {len(ch_names)} channels: it is "
            f"{kind!r}."
        )
    return kind


def _check_partner(file: Path, split: str, ch_names: list[str], n_times: int) -> None:
    """Raise where the other split beside a file is of another variant."""
    other = file.with_name(FILES["preprocessed"]["test" if split == "train" else "train"])
    if not other.is_file():
        return
    try:
        partner = READERS["preprocessed"](other)
        partner_names = check_names(partner.ch_names, str(other))
    except ValueError as error:
        logger.info("The other split cannot be read: %s", error)
        return
    if set(map(str, partner_names)) != set(map(str, ch_names)) or partner.data.shape[-1] != n_times:
        raise ValueError(
            f"Variants are mixed: {file} has {len(ch_names)} channels and {n_times} samples, "
            f"{other.name} beside it {len(partner_names)} and {partner.data.shape[-1]}. Fetch both "
            "from one source."
        )


def _metadata(metadata: PathLike | dict | None, path: Path, images_dir: PathLike | None) -> dict:
    """Return the lists of images."""
    if isinstance(metadata, dict):
        return check_lists(metadata, "metadata")
    if metadata is not None and not as_path(metadata, "metadata").is_file():
        raise FileNotFoundError(f"metadata={str(metadata)!r} is not a file. {ACCESS}")
    return read_image_metadata(metadata or find_image_metadata(path, images_dir))
