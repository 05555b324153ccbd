"""The command line: fit, predict, evaluate, ablate, reproduce."""

from pathlib import Path
from typing import Any

import mne

from .._files import write_text
from .._log import logger, use_log_level
from ..experiments.settings import versions, write_json
from .inputs import (
    encoder_names,
    read_captions,
    read_epochs,
    read_images,
    split_subjects,
)
from .parser import make_parser

__all__ = ["main"]

# What wrong input raises; anything else is a fault of the library, and its traceback is wanted.
_WRONG_INPUT = (ImportError, LookupError, OSError, RuntimeError, TypeError, ValueError)


def main(argv: list[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : list of str | None
        The arguments; ``None`` is those of the process.

    Returns
    -------
    int
        0: all went well.

    Raises
    ------
    SystemExit
        With status 2, after one line on standard error, if the input is wrong.
    """
    runs = {
        "fit": _fit, "predict": _predict, "evaluate": _evaluate, "ablate": _ablate,
        "reproduce": _reproduce,
    }  # fmt: skip
    parser = make_parser()
    arguments = parser.parse_args(argv)
    with use_log_level("WARNING" if arguments.quiet else "INFO"):
        try:
            runs[arguments.command](arguments)
        except _WRONG_INPUT as error:
            if arguments.traceback:
                raise
            # a KeyError shows its message in quotation marks
            said = error.args[0] if isinstance(error, KeyError) and error.args else error
            text = " ".join(str(said).split()) or type(error).__name__
            parser.exit(2, f"{parser.prog} {arguments.command}: error: {text}\n")
        except KeyboardInterrupt:
            parser.exit(130, f"{parser.prog} {arguments.command}: stopped\n")
    return 0


def _fit(arguments: Any) -> None:
    """Fit an encoder and save it."""
    from ..encoder import ImageToBrainEncoder

    _refuse_existing(arguments.out, arguments.overwrite)
    images, captions = _images(arguments)
    epochs = read_epochs(arguments.epochs, arguments.subject_column)
    regressor = _regressor(arguments)
    if "random_state" in regressor.get_params(deep=False):
        regressor.set_params(random_state=arguments.seed)
    encoder = ImageToBrainEncoder(_embedder(arguments), regressor, picks=arguments.picks)
    encoder.fit(
        images, epochs, image_ids=arguments.image_ids, captions=captions, groups=arguments.groups
    )
    encoder.save(arguments.out, overwrite=arguments.overwrite)
    _write_arguments(arguments, "command.json")
    logger.info("Fitted to %d epochs; saved in %s.", len(epochs), arguments.out)


def _predict(arguments: Any) -> None:
    """Predict or draw responses and save them as epochs."""
    from ..encoder import read_encoder

    if not arguments.out.name.endswith(("-epo.fif", "_epo.fif", "-epo.fif.gz", "_epo.fif.gz")):
        raise ValueError(f"--out {arguments.out}: the name of epochs ends in -epo.fif.")
    _refuse_existing(arguments.out, arguments.overwrite)
    images, captions = _images(arguments, metadata=False)
    encoder = read_encoder(arguments.encoder)
    given = {"captions": captions, "subject": arguments.subject}
    if arguments.draws:
        if not hasattr(encoder, "sample"):
            raise ValueError(
                f"--draws: the {type(encoder.regressor_).__name__} of this encoder draws no trials."
            )
        generated = encoder.sample(
            images, arguments.draws, random_state=arguments.seed,
            guidance_scale=arguments.guidance_scale, **given,
        )  # fmt: skip
    else:
        generated = encoder.predict(images, **given)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    generated.save(arguments.out, overwrite=arguments.overwrite, verbose="error")
    logger.info("%d epochs are in %s.", len(generated), arguments.out)


def _evaluate(arguments: Any) -> None:
    """Judge encoders; write the page and the tables."""
    from ..encoder import read_encoder
    from ..evaluation import evaluate

    *folders, arguments.images, arguments.epochs = arguments.inputs
    if not folders:
        raise ValueError("evaluate takes at least three names: ENCODER ... IMAGES EPOCHS.")
    out = arguments.out
    _refuse_existing(out / "report.html", arguments.overwrite)
    images, captions = _images(arguments)
    epochs = split_subjects(read_epochs(arguments.epochs, arguments.subject_column))
    if isinstance(epochs, dict):
        logger.info("%d subjects are judged one by one.", len(epochs))
    names = encoder_names(folders)
    result = evaluate(
        {name: read_encoder(folder) for name, folder in zip(names, folders, strict=True)},
        images,
        epochs,
        image_ids=arguments.image_ids,
        captions=captions,
        subject=arguments.subject,
        n_draws=arguments.draws,
        window=tuple(arguments.window),
        allow_training_images=arguments.allow_training_images,
        random_state=arguments.seed,
    )
    write_text(out / "table.csv", result.table.to_csv(index=False))
    if len(names) > 1:
        write_text(out / "compare.csv", result.compare().to_csv())
        for name in names[1:]:
            file = f"{names[0]}-against-{name}.csv".replace("/", "_")
            write_text(out / file, result.difference(names[0], name).to_csv(index=False))
    for name, evoked in result.maps.items():
        evoked.comment = name
    mne.write_evokeds(
        out / "maps-ave.fif", list(result.maps.values()), overwrite=True, verbose="error"
    )
    result.report(out / "report.html", overwrite=True)
    _write_arguments(arguments, "parameters.json")
    logger.info("The page is %s, the table %s.", out / "report.html", out / "table.csv")


def _ablate(arguments: Any) -> None:
    """Run the ablations of a data set."""
    from ..experiments.ablations import ablate

    images, captions = _images(arguments)
    ablate(
        images,
        read_epochs(arguments.epochs),
        arguments.out,
        image_ids=arguments.image_ids,
        captions=captions,
        groups=arguments.groups,
        rows=arguments.rows,
        reference=_regressor(arguments),
        embedder=_embedder(arguments),
        n_image_tokens=arguments.image_tokens,
        n_seeds=arguments.seeds,
        test_fraction=arguments.test_fraction,
        n_draws=arguments.draws,
        random_state=arguments.seed,
    )
    logger.info("The table is %s.", arguments.out / "ablations.csv")


def _reproduce(arguments: Any) -> None:
    """Run the paper's experiments."""
    from ..experiments.reproduce import reproduce

    both = arguments.within == arguments.cross
    tokens = arguments.tokens
    reproduce(
        arguments.dataset,
        arguments.data_dir,
        arguments.out,
        subjects=arguments.subjects,
        within=arguments.within or both,
        cross=arguments.cross or both,
        ablations=arguments.ablations,
        scale=arguments.scale,
        embedder=_embedder(arguments),
        captions=arguments.captions,
        tokens=None if tokens is None else dict(zip(("train", "test"), tokens, strict=True)),
        reader=dict(arguments.reader or []),
        random_state=arguments.seed,
    )
    logger.info("Tables and figures are in %s.", arguments.out)


def _images(arguments: Any, metadata: bool = True) -> tuple[list[str] | str, list[str] | None]:
    """Read the images and their captions."""
    images, captions = read_images(arguments.images)
    if not metadata and arguments.images.startswith("metadata:"):
        raise ValueError(f"{arguments.command} has no epochs with metadata; give images.")
    given = read_captions(arguments.captions, images)
    return images, captions if given is None else given


def _embedder(arguments: Any) -> Any:
    """Make the embedder that was asked for; None leaves it to the library."""
    from ..stimulus import ClipEmbedder, GaborEmbedder

    words = {"captioner": None} if getattr(arguments, "no_captions", False) else {}
    if arguments.embedder == "gabor":
        return GaborEmbedder()
    return ClipEmbedder(**words) if arguments.embedder == "clip" or words else None


def _regressor(arguments: Any) -> Any:
    """Make the regressor of a preset."""
    from ..baselines import RidgeGaussian
    from ..experiments.ablation_rows import reference_regressor

    if arguments.preset == "ridge":
        if arguments.max_iter is not None:
            raise ValueError("--max-iter: --preset ridge has no denoiser to train.")
        return RidgeGaussian()
    device = {} if arguments.device is None else {"device": arguments.device}
    return reference_regressor(arguments.preset, arguments.max_iter).set_params(**device)


def _refuse_existing(path: Path, overwrite: bool) -> None:
    """Complain before the work, not after it."""
    if path.exists() and not overwrite:
        raise FileExistsError(f"--out: {path} is there already; give another name or --overwrite.")


def _write_arguments(arguments: Any, name: str) -> None:
    """Write what a folder was made with."""
    given = {
        key: str(value) if isinstance(value, Path) else value
        for key, value in vars(arguments).items()
    }
    write_json(arguments.out / name, {"arguments": given, "versions": versions()})
