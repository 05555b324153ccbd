"""The command line: fit, predict, evaluate, ablate, reproduce."""

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import mne

from .._files import try_folder, whole_file, write_text
from .._log import logger, use_log_level
from .._types import Embedder, Encoder, Images
from ..experiments.settings import versions, write_json
from .inputs import encoder_names, read_captions, read_epochs, read_images, split_subjects
from .parser import make_parser

if TYPE_CHECKING:
    from ..regressor import DiffusionRegressor


_FLAGS = {
    "epochs": "EPOCHS", "images": "IMAGES", "n_draws": "--draws", "random_state": "--seed",
} | {
    name: f"--{name.replace('_', '-')}"
    for name in (
        "allow_training_images", "cache_dir", "captions", "checkpoint", "device", "groups",
        "guidance_scale", "image_ids", "max_iter", "n_jobs", "overwrite", "picks", "subject",
        "test_fraction", "window",
    )
}  # fmt: skip
# What wrong input raises; anything else is a fault of the library, and its traceback is wanted.
_WRONG_INPUT = (
    ImportError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError,
)  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run a command."""
    runs = {
        "fit": _fit, "predict": _predict, "evaluate": _evaluate, "ablate": _ablate,
        "reproduce": _reproduce,
    }  # fmt: skip
    parser = make_parser()
    arguments = parser.parse_args(argv)
    if arguments.cache_dir is not None:
        os.environ["MNE_IMG2BRAIN_CACHE"] = str(arguments.cache_dir.resolve())
    with use_log_level("WARNING" if arguments.quiet else "INFO"):
        try:
            runs[arguments.command](arguments)
        except _WRONG_INPUT as error:
            if arguments.traceback:
                raise
            parser.exit(2, f"{parser.prog} {arguments.command}: error: {_in_flags(error)}\n")
        except KeyboardInterrupt:
            parser.exit(130, f"{parser.prog} {arguments.command}: stopped\n")
    return 0


def _in_flags(error: Exception) -> str:
    """Say in one line, and in the words of the command line, what the library says in its own."""
    # a KeyError shows its message in quotation marks
    said = error.args[0] if isinstance(error, KeyError) and error.args else error
    text = " ".join(str(said).split()) or type(error).__name__
    for name, flag in _FLAGS.items():
        alone = rf"(?<![\w/.'-]){name}"
        text = re.sub(rf"{alone}=(True\b|(?=\s))", flag, text)
        text = re.sub(rf"{alone}=(?=\S)", f"{flag} ", text)
        if "_" in name:  # other names are words of English too
            text = re.sub(rf"{alone}\b", flag, text)
    return text


def _fit(arguments: argparse.Namespace) -> None:
    """Fit an encoder and save it."""
    from ..encoder import ImageToBrainEncoder
    from ..encoder.folder import check_destination

    check_destination(arguments.out, arguments.overwrite)
    try_folder(arguments.out)
    images, captions = _images(arguments)
    epochs = read_epochs(arguments.epochs, arguments.subject_column)
    _ask_for_weights(arguments, images, captions)
    regressor = _regressor(arguments)
    if "random_state" in regressor.get_params(deep=False):
        regressor.set_params(random_state=arguments.seed)
    encoder = ImageToBrainEncoder(_embedder(arguments), regressor, picks=arguments.picks)
    encoder.fit(
        images, epochs, image_ids=arguments.image_ids, captions=captions, groups=arguments.groups,
        checkpoint=arguments.checkpoint,
    )  # fmt: skip
    _save(encoder, arguments)
    _write_arguments(arguments, "command.json")
    logger.info("Fitted to %d epochs; saved in %s.", len(epochs), arguments.out)


def _save(encoder: Encoder, arguments: argparse.Namespace) -> None:
    """Save an encoder, somewhere else where it does not go: a fit may have taken hours."""
    try:
        encoder.save(arguments.out, overwrite=arguments.overwrite)
    except (OSError, ValueError) as error:
        for place in (tempfile.gettempdir(), Path.home(), Path.cwd()):
            try:
                folder = Path(tempfile.mkdtemp(prefix="mne_img2brain-", dir=place))
                encoder.save(folder)
            except OSError:
                continue
            raise OSError(f"--out: {error} The encoder is in {folder}.") from error
        raise


def _predict(arguments: argparse.Namespace) -> None:
    """Predict or draw responses and save them as epochs."""
    from ..encoder import write_generated

    if not arguments.out.name.endswith(("-epo.fif", "_epo.fif")):
        raise ValueError(f"--out {arguments.out}: the name of epochs ends in -epo.fif.")
    if arguments.guidance_scale != 1 and not arguments.draws:
        raise ValueError("--guidance-scale is of draws; say how many with --draws.")
    images, captions = _images(arguments, metadata=False)
    options = {"guidance_scale": arguments.guidance_scale} if arguments.draws else {}
    write_generated(
        arguments.out, _read_encoder(arguments.encoder, arguments.device), images,
        arguments.draws or None,
        captions=captions, subject=arguments.subject, random_state=arguments.seed,
        n_jobs=arguments.n_jobs, overwrite=arguments.overwrite, **options,
    )  # fmt: skip


def _evaluate(arguments: argparse.Namespace) -> None:
    """Judge encoders; write the page and the tables."""
    from ..evaluation import evaluate

    *folders, arguments.images, arguments.epochs = arguments.inputs
    if not folders:
        raise ValueError("evaluate takes at least three names: ENCODER ... IMAGES EPOCHS.")
    out = arguments.out
    try_folder(out)
    page = out / "report.html"
    if page.exists() and not arguments.overwrite:
        raise FileExistsError(f"--out: {page} is there already; give another name or --overwrite.")
    images, captions = _images(arguments)
    epochs = split_subjects(read_epochs(arguments.epochs, arguments.subject_column))
    if isinstance(epochs, dict):
        logger.info("%d subjects are judged one by one.", len(epochs))
    names = encoder_names(folders)
    encoders = {
        name: _read_encoder(folder, arguments.device)
        for name, folder in zip(names, folders, strict=True)
    }
    known = sorted({name for encoder in encoders.values() for name in encoder.subjects_})
    if arguments.subject is not None and arguments.subject not in known:
        raise ValueError(
            f"--subject {arguments.subject}: no encoder knows this subject; known are {known}."
        )
    result = evaluate(
        encoders, images, epochs, image_ids=arguments.image_ids, captions=captions,
        subject=arguments.subject, n_draws=arguments.draws, window=tuple(arguments.window),
        allow_training_images=arguments.allow_training_images, random_state=arguments.seed,
    )  # fmt: skip
    write_text(out / "table.csv", result.table.to_csv(index=False))
    if len(names) > 1:
        write_text(out / "compare.csv", result.compare().to_csv())
        for name in names[1:]:
            file = f"{names[0]}-against-{name}.csv".replace("/", "_")
            write_text(out / file, result.difference(names[0], name).to_csv(index=False))
    for name, evoked in result.maps.items():
        evoked.comment = name
    with whole_file(out / "maps-ave.fif") as part:
        mne.write_evokeds(part, list(result.maps.values()), overwrite=True, verbose="error")
    with whole_file(page) as part:
        result.report(part, overwrite=True)
    _write_arguments(arguments, "parameters.json")
    logger.info("The page is %s, the table %s.", page, out / "table.csv")


def _ablate(arguments: argparse.Namespace) -> None:
    """Run the ablations of a data set."""
    from ..experiments.ablations import ablate

    try_folder(arguments.out)
    images, captions = _images(arguments)
    _ask_for_weights(arguments, images, captions)
    ablate(
        images, read_epochs(arguments.epochs), arguments.out, image_ids=arguments.image_ids,
        captions=captions, groups=arguments.groups, rows=arguments.rows,
        reference=_regressor(arguments), embedder=_embedder(arguments),
        n_image_tokens=arguments.image_tokens, n_seeds=arguments.seeds,
        test_fraction=arguments.test_fraction, n_draws=arguments.draws, random_state=arguments.seed,
    )  # fmt: skip
    logger.info("The table is %s.", arguments.out / "ablations.csv")


def _reproduce(arguments: argparse.Namespace) -> None:
    """Run the paper's experiments."""
    from ..experiments.reproduce import reproduce

    try_folder(arguments.out)
    both = arguments.within == arguments.cross
    tokens = arguments.tokens
    named = arguments.embedder or {"paper": "clip", "small": "gabor"}[arguments.scale]
    if named == "clip" and tokens is None:
        _ask_for_weights(arguments, "", arguments.captions)
    reproduce(
        arguments.dataset, arguments.data_dir, arguments.out, subjects=arguments.subjects,
        within=arguments.within or both, cross=arguments.cross or both,
        ablations=arguments.ablations, scale=arguments.scale,
        embedder=None if arguments.embedder is None else _embedder(arguments),
        captions=arguments.captions,
        tokens=None if tokens is None else dict(zip(("train", "test"), tokens, strict=True)),
        reader=dict(arguments.reader or []), device=arguments.device or "auto",
        random_state=arguments.seed,
    )  # fmt: skip
    logger.info("Tables and figures are in %s.", arguments.out)


def _read_encoder(folder: str, device: str | None) -> Encoder:
    """Read an encoder, onto a device where one is named."""
    from .._torch import resolve_device
    from ..encoder import read_encoder

    if device is not None:
        resolve_device(device)
    encoder = read_encoder(folder)
    if device is not None:
        if hasattr(encoder.embedder_, "device"):
            encoder.embedder_.set_params(device=device)
        noise = getattr(encoder.regressor_, "noise_", None)
        if noise is not None and hasattr(noise, "to"):
            noise.to(device)
    return encoder


def _images(
    arguments: argparse.Namespace, metadata: bool = True
) -> tuple[list[str] | str, list[str] | None]:
    """Read the images and their captions."""
    images, captions = read_images(arguments.images)
    if not metadata and arguments.images.startswith("metadata:"):
        raise ValueError(f"{arguments.command} has no epochs with metadata; give images.")
    given = read_captions(arguments.captions, images)
    return images, captions if given is None else given


def _embedder(arguments: argparse.Namespace) -> Embedder | None:
    """Make the embedder that was asked for; None leaves it to the library."""
    from .. import stimulus

    given = {"captioner": None} if getattr(arguments, "no_captions", False) else {}
    if getattr(arguments, "device", None) is not None:
        given["device"] = arguments.device
    if arguments.embedder is None and not given:
        return None
    embedder = getattr(stimulus, stimulus.EMBEDDERS[arguments.embedder or "clip"])()
    known = embedder.get_params()
    return embedder.set_params(**{name: given[name] for name in given if name in known})


def _ask_for_weights(
    arguments: argparse.Namespace, images: Images, captions: list[str] | None
) -> None:
    """Ask before some GB are downloaded; where nobody can be asked, --yes has to say so."""
    from ..stimulus.clip import ClipEmbedder
    from ..stimulus.weights import clip_repo, missing_bytes

    embedder = _embedder(arguments) or ClipEmbedder()
    if not isinstance(embedder, ClipEmbedder) or str(images).endswith(".npy") or arguments.yes:
        return
    wanted = [(clip_repo(embedder.model, embedder.pretrained), "open_clip_*")]
    if isinstance(embedder.captioner, str) and captions is None:
        wanted.append((embedder.captioner, "*"))
    sizes = {repo: missing_bytes(repo, names) / 1e9 for repo, names in wanted}
    said = ", ".join(f"{size:.1f} GB of {repo}" for repo, size in sizes.items() if size)
    if not said:
        return
    if not sys.stdin.isatty():
        raise ValueError(f"--embedder clip downloads {said}: add --yes, or --embedder gabor.")
    if input(f"Download {said}? [y/N] ").strip().lower() not in ("y", "yes"):
        raise ValueError("Nothing was downloaded; --embedder gabor needs no weights.")


def _regressor(arguments: argparse.Namespace) -> "DiffusionRegressor":
    """Make the regressor of a preset."""
    from ..baselines import RidgeGaussian
    from ..experiments.ablation_rows import reference_regressor

    if arguments.preset == "ridge":
        if arguments.max_iter is not None:
            raise ValueError("--max-iter: --preset ridge has no denoiser to train.")
        return RidgeGaussian()
    device = {} if arguments.device is None else {"device": arguments.device}
    return reference_regressor(arguments.preset, arguments.max_iter).set_params(**device)


def _write_arguments(arguments: argparse.Namespace, name: str) -> None:
    """Write what a folder was made with."""
    given = {
        key: str(value) if isinstance(value, Path) else value
        for key, value in vars(arguments).items()
    }
    write_json(arguments.out / name, {"arguments": given, "versions": versions()})
