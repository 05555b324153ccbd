"""More generated epochs than memory holds: on disk, part by part."""

import hashlib
import json
import os
import secrets
import struct
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from mne.io.constants import FIFF
from PIL import Image
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from .. import __version__
from .._files import as_path, try_folder, whole_file
from .._log import logger, progress_bar, use_log_level
from .._parameters import Integer, check_given
from .._types import Encoder, PathLike
from ..epochs import events_for
from ..stimulus.images import image_name
from ..stimulus.stimuli import check_captions, indexable
from .any_regressor import check_part
from .saving import pack

_PART_BYTES = 2**27  # of the file of a part that nobody chose the size of
_MOST_BYTES = 2**31 - 2**24  # of a tag in a FIF file, and something for all that is no data
_MOST_PARTS = 100  # as in MNE: each says which epochs are in the others
_ROUND = 512  # images: blocks of predict and sample begin where parts do
_LABEL = 64  # letters: half say of which call a part is, half of which images


class _Part(NamedTuple):
    """What one file is made of."""

    path: Path
    following: str | None
    number: int
    first: int
    images: list | np.ndarray
    captions: list | None
    metadata: pd.DataFrame | None
    codes: np.ndarray
    label: str


def write_generated(
    fname: PathLike,
    encoder: Encoder,
    images: Iterable,
    n_draws: int | None = None,
    *,
    n_images: int | None = None,
    captions: list[str] | None = None,
    metadata: pd.DataFrame | None = None,
    event_id: dict | list[str] | str | None = None,
    random_state: int = 0,
    part_size: int | None = None,
    fmt: str = "single",
    n_jobs: int | None = None,
    overwrite: bool = False,
    verbose: bool | str | int | None = None,
    **options: Any,
) -> list[Path]:
    """Predict or draw responses to more images than memory holds, and write them as epochs.

    The files are the parts of one recording, as ``mne.Epochs.save`` splits it:
    ``mne.read_epochs(fname, preload=False)`` joins them, and reads from them what it is asked for.
    Each appears when it is whole. A call that was stopped, and is made again with the same
    encoder, images and parameters, makes the parts that are not there. Memory does not grow with
    the number of images, up to 100 parts of 128 MiB.

    Parameters
    ----------
    fname : path-like
        The first file, ``NAME-epo.fif``; the others are ``NAME-epo-1.fif``, ``NAME-epo-2.fif``.
    encoder : ImageToBrainEncoder
        Fitted.
    images : list | array, shape (n_images, height, width, 3) | iterator
        As in :meth:`ImageToBrainEncoder.predict`; or an iterator over images, such as a generator,
        of which a part at a time is in memory.
    n_draws : int | None, default None
        Draws of each image; ``None`` writes the expected responses.
    n_images : int | None, default None
        How many images an iterator gives.
    captions : list of str | None, default None
        One per image.
    metadata, event_id
        As in :meth:`ImageToBrainEncoder.predict`. Of several parts ``image_id`` is what
        ``metadata`` says; else, where ids were file names in ``fit``, the file name; else the
        position in ``images``.
    random_state : int, default 0
        The seed of draws, which are those of one call of :meth:`ImageToBrainEncoder.sample`.
    part_size : int | None, default None
        Images in one file. ``None`` is as many as make a file of 128 MiB, or a 100th of all.
    fmt : "single" | "double", default "single"
        The precision of the files.
    n_jobs : int | None, default None
        Processes that make parts, as in scikit-learn: ``None`` is 1, or what
        ``joblib.parallel_config`` says, which also takes a cluster.
    overwrite : bool, default False
        Whether files of another call are replaced. Parts of this call are never made again.
    verbose : bool | str | int | None, default None
        As everywhere in MNE.
    **options
        ``subject``, and with ``n_draws`` all else that :meth:`ImageToBrainEncoder.sample` takes.

    Returns
    -------
    list of Path
        The files, in their order.

    Raises
    ------
    ValueError
        If a parameter is out of range, or there are fewer or more images than was said.
    FileExistsError
        If a file is there that is not of this call, and ``overwrite`` is False.

    See Also
    --------
    ImageToBrainEncoder.predict : Expected responses in memory.
    ImageToBrainEncoder.sample : Single trials in memory.

    Notes
    -----
    Numbers are those of one call for all images: to the last bit where ``part_size`` is a multiple
    of 512 and no image comes twice, and else but for rounding, which depends on how many images
    are computed at once (1e-5 of the SD of draws). A FIF file counts samples up to ``2**31``,
    which is the most epochs times samples that there can be.

    Examples
    --------
    >>> import tempfile
    >>> import mne
    >>> from mne_img2brain import (
    ...     DiffusionRegressor, GaborEmbedder, ImageToBrainEncoder, write_generated
    ... )
    >>> from mne_img2brain.datasets import simulate_epochs, simulate_images
    >>> images, _ = simulate_images(20, size=32, random_state=0)
    >>> epochs, _ = simulate_epochs(images, random_state=0)
    >>> encoder = ImageToBrainEncoder(
    ...     GaborEmbedder(size=32, n_scales=2), DiffusionRegressor(max_iter=0, random_state=0)
    ... ).fit(images, epochs, image_ids="image_id")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     files = write_generated(f"{folder}/trials-epo.fif", encoder, images, 3, part_size=16)
    ...     trials = mne.read_epochs(files[0], verbose="error")
    >>> [file.name for file in files], len(trials)
    (['trials-epo.fif', 'trials-epo-1.fif'], 60)
    """
    fname = as_path(fname)
    if not fname.name.endswith(("-epo.fif", "_epo.fif")):
        raise ValueError(f"fname={str(fname)!r}; the name of epochs ends in -epo.fif.")
    check_part("encoder", encoder, "push_to_hub", "a fitted ImageToBrainEncoder")
    check_is_fitted(encoder)
    if n_jobs is not None and (n_jobs not in Integer(-1000) or n_jobs == 0):
        raise ValueError(f"n_jobs={n_jobs!r}; give an integer that is not 0, or None.")
    if n_draws is not None and not hasattr(encoder, "sample"):
        raise ValueError(
            f"n_draws={n_draws!r}, but the {type(encoder.regressor_).__name__} of this encoder "
            "draws no trials; leave it out."
        )
    images, n_images = _counted(images, n_images)
    for i, image in enumerate(images if isinstance(images, list) else ()):
        if isinstance(image, (str, Path)) and not os.path.isfile(image):
            raise FileNotFoundError(f"images[{i}], {str(image)!r}: there is no such file.")
    captions = None if captions is None else check_captions(captions, n_images)
    codes, event_id = events_for(
        n_images, event_id=event_id, metadata=metadata, known=encoder.event_id_
    )
    size = _checked_size(encoder, n_images, n_draws, random_state, part_size, fmt)
    settings = {
        "encoder": _identify(encoder), "n_images": n_images, "n_draws": n_draws, "fmt": fmt,
        "seed": None if n_draws is None else random_state, "event_id": event_id,
        "part_size": size, "options": options, "version": __version__,
    }  # fmt: skip
    run = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()
    files = [fname] + [
        fname.with_name(f"{fname.stem}-{number}.fif")
        for number in range(1, -(-n_images // size))
    ]  # fmt: skip
    with use_log_level(verbose):
        try_folder(fname.parent)
        if not overwrite:
            for file in files:
                if file.exists() and not _read_label(file).startswith(run[: _LABEL // 2]):
                    raise FileExistsError(_other(file))

        def parts() -> Iterator[_Part]:
            """Take the images of one part after the other; leave out those that are done."""
            for number in progress_bar(range(len(files)), "Writing generated epochs"):
                rows = slice(number * size, min((number + 1) * size, n_images))
                part = _Part(
                    files[number], files[number + 1].name if number + 1 < len(files) else None,
                    number, rows.start, _take(images, rows, n_images),
                    None if captions is None else captions[rows],
                    None if metadata is None else metadata.iloc[rows], codes[rows], "",
                )  # fmt: skip
                part = part._replace(label=run[: _LABEL // 2] + _content(part)[: _LABEL // 2])
                found = _read_label(part.path) if part.path.exists() else None
                if found == part.label:
                    continue
                if found is not None and not overwrite:
                    raise FileExistsError(_other(part.path))
                yield part

        total = n_images * (n_draws or 1)
        options |= {} if n_draws is None else {"n_draws": n_draws, "random_state": random_state}
        # more processes than parts would be started too
        n_jobs = n_jobs if n_jobs is None or n_jobs < 0 else min(n_jobs, len(files))
        Parallel(n_jobs=n_jobs)(
            delayed(_write_part)(encoder, part, len(files), total, event_id, fmt, options)
            for part in parts()
        )
        if isinstance(images, Iterator) and next(images, None) is not None:
            raise ValueError(f"images goes on after n_images={n_images}; only those were written.")
        for file in files:
            if not (file.exists() and _read_label(file).startswith(run[: _LABEL // 2])):
                raise FileExistsError(f"Meanwhile another call wrote to {file}; give another name.")
        more = f" and {len(files) - 1} files after it" if len(files) > 1 else ""
        logger.info(f"{total} epochs are in {fname}{more}.")
    return files


def _counted(images: Any, n_images: int | None) -> tuple[Any, int]:
    """Return images that can be taken part by part, and their number."""
    if isinstance(images, Iterator):
        if n_images not in Integer(1):
            raise ValueError(
                f"n_images={n_images!r}; images is an iterator, whose length is not known before "
                "its end: say how many images it gives."
            )
        return images, int(n_images)  # type: ignore[arg-type]
    images = indexable(images)
    if n_images not in (None, len(images)):
        raise ValueError(f"n_images={n_images!r}, but there are {len(images)} images.")
    return images, len(images)


def _checked_size(
    encoder: Encoder, n_images: int, n_draws: int | None, seed: int, size: int | None,
    fmt: str,
) -> int:  # fmt: skip
    """Return the number of images in a part."""
    check_given(
        n_draws=(n_draws, Integer(1), None), part_size=(size, Integer(1), None),
        fmt=(fmt, "single", "double"),
    )  # fmt: skip
    if n_draws is not None and seed not in Integer(0):
        raise ValueError(
            f"random_state={seed!r}; give {Integer(0)}, so that a call that was stopped can go on."
        )
    n_channels, n_times = encoder._shape
    n_epochs = n_images * (n_draws or 1)
    if n_epochs * n_times >= 2**31:
        raise ValueError(
            f"{n_epochs} epochs of {n_times} samples: a FIF file counts samples up to 2**31; write "
            f"at most {2**31 // n_times} epochs under one name."
        )
    each = n_channels * n_times * (n_draws or 1) * (4 if fmt == "single" else 8)
    if size is None:
        size = max(_PART_BYTES // each, -(-n_images // _MOST_PARTS))
        size = size // _ROUND * _ROUND or size
    size = min(size, n_images)
    if size * each + 16 * n_epochs > _MOST_BYTES:
        most = (_MOST_BYTES - 16 * n_epochs) // each
        raise ValueError(
            f"{size} images in a file take {size * each / 2**30:.1f} GiB, and a FIF file less than "
            f"2; give {f'part_size={most}' if most > 0 else 'fewer draws'}."
        )
    return size


def _take(images: Any, rows: slice, n_images: int) -> Any:
    """Take the next images."""
    if not isinstance(images, Iterator):
        return images[rows]
    taken = list(islice(images, rows.stop - rows.start))
    if len(taken) < rows.stop - rows.start:
        raise ValueError(f"images ended after {rows.start + len(taken)} of n_images={n_images}.")
    return taken


def _identify(encoder: Encoder) -> str:
    """Hash what an encoder has learnt; one that cannot be saved is like no other."""
    arrays: dict[str, np.ndarray] = {}
    state = {k: v for k, v in vars(encoder).items() if k.endswith("_") and k != "info_"}
    try:
        structure = pack(state, arrays)
    except TypeError:
        return secrets.token_hex()
    found = hashlib.sha256(json.dumps(structure, sort_keys=True).encode())
    for name in sorted(arrays):
        found.update(arrays[name].data.cast("B") if arrays[name].size else b"")
    return found.hexdigest()


def _content(part: _Part) -> str:
    """Hash which images a part is of: paths by their name, size and date."""
    own = None if part.metadata is None else part.metadata.to_csv()
    found = hashlib.sha256(json.dumps([part.captions, own, part.codes.tolist()]).encode())
    for image in part.images:
        if isinstance(image, (str, os.PathLike)):
            about = os.stat(image)
            found.update(f"{image}\0{about.st_size}\0{about.st_mtime_ns}\0".encode())
        elif isinstance(image, Image.Image):
            found.update(repr((image.mode, image.size)).encode() + image.tobytes())
        else:
            image = np.ascontiguousarray(image)
            found.update(repr((image.dtype.str, image.shape)).encode() + image.tobytes())
    return found.hexdigest()


def _write_part(
    encoder: Encoder, part: _Part, n_parts: int, total: int, event_id: dict, fmt: str,
    options: dict,
) -> None:  # fmt: skip
    """Generate the epochs of a part and write them."""
    given = {"captions": part.captions, "metadata": part.metadata, **options}
    if n_parts > 1:
        given["metadata"] = _with_ids(encoder, part)
    if "n_draws" in options:
        epochs = encoder.sample(part.images, first_image=part.first, **given)
    else:
        epochs = encoder.predict(part.images, **given)
    n_draws = options.get("n_draws", 1)
    start, stop = part.first * n_draws, part.first * n_draws + len(epochs)
    epochs.events[:, 0] += start * len(epochs.times)
    epochs.events[:, 2] = np.repeat(part.codes, n_draws)
    epochs.event_id = {n: code for n, code in event_id.items() if code in epochs.events[:, 2]}
    # how MNE tells the parts of one recording
    epochs.selection = np.arange(start, stop)
    other = ("IGNORED",)
    epochs.drop_log = (other,) * start + ((),) * len(epochs) + (other,) * (total - stop)
    with whole_file(part.path) as path:
        epochs.save(path, fmt=fmt, overwrite=True, verbose="error")
        _append(path, part)


def _with_ids(encoder: Encoder, part: _Part) -> pd.DataFrame:
    """Return metadata by which images are told across parts."""
    n_images = len(part.images)
    frame = pd.DataFrame(index=range(n_images)) if part.metadata is None else part.metadata
    named = encoder.image_id_form_ is not None and all(map(image_name, part.images))
    if "image_id" in frame or named:
        return frame
    return frame.assign(image_id=np.arange(part.first, part.first + n_images))


def _append(path: Path, part: _Part) -> None:
    """Say at the end of a FIF file which part follows, and of what call this one is."""
    tags = []
    if part.following is not None:
        tags = [
            (FIFF.FIFF_BLOCK_START, FIFF.FIFFB_REF),
            (FIFF.FIFF_REF_ROLE, FIFF.FIFFV_ROLE_NEXT_FILE),
            (FIFF.FIFF_REF_FILE_NAME, part.following),
            (FIFF.FIFF_REF_FILE_NUM, part.number + 1),
            (FIFF.FIFF_BLOCK_END, FIFF.FIFFB_REF),
        ]
    content = b""
    for kind, value in [*tags, (FIFF.FIFF_COMMENT, part.label)]:
        text = isinstance(value, str)
        encoded = value.encode("latin-1") if text else struct.pack(">i", value)
        type_ = FIFF.FIFFT_STRING if text else FIFF.FIFFT_INT
        content += struct.pack(">4i", kind, type_, len(encoded), 0) + encoded
    end = struct.pack(">4i", FIFF.FIFF_NOP, FIFF.FIFFT_VOID, 0, -1)
    with path.open("r+b") as file:
        file.seek(-len(end), os.SEEK_END)
        if file.read() != end:
            raise ValueError(f"{path} does not end as MNE ends a FIF file.")
        file.seek(-len(end), os.SEEK_END)
        file.write(content + end)


def _read_label(path: Path) -> str:
    """Read of what call a part is; nothing where it is none."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 16 - _LABEL))
        return file.read(_LABEL).decode("latin-1")


def _other(path: Path) -> str:
    return (
        f"{path} is there already, and is not of this call (same encoder, images and parameters); "
        "give another name or overwrite=True."
    )
