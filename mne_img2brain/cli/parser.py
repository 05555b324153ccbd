"""What the command line takes: commands, options, examples. What each does is in ``main``."""

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path

from .. import __version__
from ..stimulus import EMBEDDERS

_IMAGES = """IMAGES is one of
  a folder         its images, sorted by path
  a .txt file      a path in each line, seen from the folder of the file
  a .csv file      with a column "image" of paths, and perhaps one "caption"
  a .npy file      tokens in place of images, (n_images, n_tokens, n_features)
  metadata:COLUMN  the column of the epochs' metadata that holds paths
EPOCHS is a -epo.fif file; --image-ids says which image each epoch answers to."""
_IMAGES_HELP = "folder, list, tokens or metadata:COLUMN; see below"
_EPOCHS_HELP = "recorded responses, a -epo.fif file"


def _key_and_value(text: str) -> tuple[str, int | str]:
    """Read KEY=VALUE, the value as JSON where it is JSON."""
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


def _at_least(least: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from some number up to what an array can count."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value < 2**31:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a whole number from {least} up to {2**31 - 1}"
            )
        return value

    return read


def _number(text: str) -> float:
    """Read a finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="mne-img2brain",
        description="The M/EEG response to an image: images in, epochs out.",
        epilog="COMMAND --help tells more, with an example.",
    )
    parser.add_argument("--version", action="version", version=f"mne_img2brain {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(
        name: str, summary: str, example: str, notes: str = _IMAGES
    ) -> argparse.ArgumentParser:
        one = commands.add_parser(
            name,
            help=summary,
            description=summary + ".",
            epilog=f"{notes}\n\nexample:\n  {example}".strip(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        one.add_argument("--quiet", action="store_true", help="show warnings only")
        one.add_argument("--traceback", action="store_true", help="show where an error comes from")
        one.add_argument(
            "--seed", type=_at_least(0), default=0, metavar="N",
            help="the number that all random numbers follow from (default 0)",
        )  # fmt: skip
        one.add_argument(
            "--cache-dir", type=Path, metavar="FOLDER",
            help="where embedded images are kept (default: what MNE_IMG2BRAIN_CACHE names, or the "
            "user's cache folder)",
        )  # fmt: skip
        return one

    fit = command(
        "fit",
        "learn the responses to images and save an encoder",
        "mne-img2brain fit images/ sub-01-epo.fif --out encoder --image-ids image_id",
    )
    fit.add_argument("images", metavar="IMAGES", help=_IMAGES_HELP)
    fit.add_argument("epochs", metavar="EPOCHS", help=_EPOCHS_HELP)
    fit.add_argument("--out", type=Path, required=True, metavar="ENCODER", help="folder to write")
    fit.add_argument(
        "--picks", nargs="+", metavar="SENSOR", help="types or names (default: all good sensors)"
    )
    fit.add_argument(
        "--checkpoint", type=Path, metavar="FOLDER",
        help="keep the training here while it runs; the same command goes on after a stop "
        "(default: nowhere)",
    )  # fmt: skip
    _add_pairing(fit, subjects=True)
    _add_model(fit, "default", ["ridge"])
    _add_overwrite(fit)

    predict = command(
        "predict",
        "predict the response to images, or draw single trials",
        "mne-img2brain predict encoder new/ --out generated-epo.fif --draws 20",
        "\n".join(_IMAGES.splitlines()[:5]),
    )
    predict.add_argument("encoder", metavar="ENCODER", help="folder that fit made")
    predict.add_argument("images", metavar="IMAGES", help="folder, list or tokens; see below")
    predict.add_argument(
        "--out", type=Path, required=True, metavar="FILE-epo.fif", help="file to write"
    )
    predict.add_argument(
        "--draws", type=_at_least(0), default=0, metavar="N",
        help="single trials of each image (default 0: the expected response)",
    )  # fmt: skip
    predict.add_argument(
        "--subject", metavar="NAME", help="whose response (default: the average subject)"
    )
    predict.add_argument(
        "--guidance-scale", type=_number, default=1.0, metavar="X",
        help="how far draws follow the image; 1 as it was learnt, 0 not at all (default 1)",
    )  # fmt: skip
    _add_captions(predict)
    _add_device(predict)
    predict.add_argument("--n-jobs", type=int, metavar="N", help="processes; -1 is all (default 1)")
    _add_overwrite(predict)

    judge = command(
        "evaluate",
        "judge encoders against recordings: a page, tables, maps",
        "mne-img2brain evaluate encoder ridge test-images/ test-epo.fif \\\n"
        "      --out judged --image-ids image_id",
    )
    judge.usage = "%(prog)s [options] ENCODER [ENCODER ...] IMAGES EPOCHS --out FOLDER"
    judge.add_argument(
        "inputs",
        nargs="+",
        metavar="ENCODER ... IMAGES EPOCHS",
        help="folders that fit made, images, recorded responses",
    )
    judge.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="for the page and the tables"
    )
    judge.add_argument(
        "--draws", type=_at_least(0), default=50, metavar="N",
        help="single trials of each image; 0 judges predictions alone (default 50)",
    )  # fmt: skip
    judge.add_argument(
        "--subject",
        metavar="NAME",
        help="which of the encoders' subjects the epochs are of (default: the average subject)",
    )
    judge.add_argument(
        "--window", type=_number, nargs=2, default=(0.05, 0.6), metavar="S",
        help="from when to when r counts, in seconds (default 0.05 0.6)",
    )  # fmt: skip
    judge.add_argument(
        "--allow-training-images", action="store_true", help="also judge images that were in fit"
    )
    _add_pairing(judge, subjects=True, groups=False)
    _add_device(judge)
    _add_overwrite(judge)

    ablation = command(
        "ablate",
        "measure what each part of the method is worth; goes on where it was",
        "mne-img2brain ablate images/ sub-01-epo.fif --out ablations \\\n"
        "      --image-ids image_id --groups concept --rows captions position conditioning",
    )
    ablation.add_argument("images", metavar="IMAGES", help=_IMAGES_HELP)
    ablation.add_argument("epochs", metavar="EPOCHS", help=_EPOCHS_HELP)
    ablation.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="for the table and the figure"
    )
    ablation.add_argument(
        "--rows", nargs="+", metavar="ROW",
        help="captions, position, conditioning, sensors, 'guidance scale', steps, "
        "prediction, 'mean regressor', or one row such as 'position: region' "
        "(default: all)",
    )  # fmt: skip
    count: dict = {"type": _at_least(1), "metavar": "N"}
    ablation.add_argument("--seeds", **count, default=3, help="fits of each row (default 3)")
    ablation.add_argument(
        "--draws", **count, default=10, help="single trials of each test image (default 10)"
    )
    ablation.add_argument(
        "--test-fraction", type=_number, default=0.2, metavar="X",
        help="share of the images that is tested on (default 0.2)",
    )  # fmt: skip
    ablation.add_argument(
        "--image-tokens",
        type=_at_least(0),
        metavar="N",
        help="for a .npy file: tokens of an image before those of its caption (default: all)",
    )
    _add_pairing(ablation)
    _add_model(ablation, "xu2025")

    paper = command(
        "reproduce",
        "repeat the paper's experiments; goes on where it was",
        "mne-img2brain reproduce things-eeg2 --data-dir THINGS-EEG2 --out results \\\n"
        "      --subjects 1 2 --within",
        "",
    )
    paper.add_argument("dataset", choices=["things-eeg2", "things-meg"], help="which recordings")
    paper.add_argument(
        "--data-dir", type=Path, required=True, metavar="FOLDER", help="where the data set is"
    )
    paper.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="for tables and figures"
    )
    paper.add_argument(
        "--subjects", nargs="+", metavar="N", help="numbers of subjects (default: all)"
    )
    protocol = paper.add_mutually_exclusive_group()
    protocol.add_argument("--within", action="store_true", help="within-subject only")
    protocol.add_argument("--cross", action="store_true", help="cross-subject only")
    paper.add_argument("--ablations", action="store_true", help="the ablation table too")
    paper.add_argument(
        "--scale",
        choices=["small", "paper"],
        default="small",
        help="a run of hours on few data, or the paper's sizes (default small)",
    )
    paper.add_argument(
        "--embedder",
        choices=list(EMBEDDERS),
        help="what makes tokens of images (default: gabor where small, clip at the paper's size)",
    )
    paper.add_argument("--yes", action="store_true", help="download weights without asking")
    paper.add_argument(
        "--captions",
        type=Path,
        metavar="FILE.json",
        help="captions by file name of the image (default: the embedder's)",
    )
    paper.add_argument(
        "--tokens", type=Path, nargs=2, metavar=("TRAIN.npy", "TEST.npy"),
        help="arrays of tokens, in the order of image_id (default: the embedder makes them)",
    )  # fmt: skip
    paper.add_argument(
        "--reader", type=_key_and_value, nargs="+", metavar="KEY=VALUE",
        help="more arguments of the reader, such as resample=100 (Hz) or tmax=0.6 (seconds; "
        "default: as it has them)",
    )  # fmt: skip
    _add_device(paper)
    return parser


def _add_pairing(
    parser: argparse.ArgumentParser, subjects: bool = False, groups: bool = True
) -> None:
    """Add what says which image, group and subject an epoch has."""
    add = parser.add_argument
    add(
        "--image-ids", metavar="COLUMN",
        help="column of the metadata with the image of each epoch, its position or name "
        "(default: images are in the order of the epochs)",
    )  # fmt: skip
    _add_captions(parser)
    if groups:
        add(
            "--groups", metavar="COLUMN",
            help="column of the metadata with what splits keep together (default: concept, where "
            "there is such a column, else the image)",
        )  # fmt: skip
    if subjects:
        add(
            "--subject-column", metavar="COLUMN",
            help="column of the metadata with the person of each epoch (default: subject, where "
            "there is such a column)",
        )  # fmt: skip


def _add_model(parser: argparse.ArgumentParser, preset: str, more: list[str] | tuple = ()) -> None:
    """Add what says which model is fitted."""
    add = parser.add_argument
    add(
        "--embedder", choices=list(EMBEDDERS),
        help="what makes tokens of images: CLIP, which downloads weights, or Gabor filters, which "
        "do not (default clip)",
    )  # fmt: skip
    add("--no-captions", action="store_true", help="CLIP without captions, 4.4 GB less to download")
    add("--yes", action="store_true", help="download weights without asking")
    ridge = ", or ridge regression with Gaussian noise" if more else ""
    add(
        "--preset",
        choices=["default", "xu2025", *more],
        default=preset,
        help=f"the model: this library's, the paper's{ridge} (default {preset})",
    )
    add(
        "--max-iter",
        type=_at_least(0),
        metavar="N",
        help="gradient steps of the transformer; 0 trains none (default: as the model has it)",
    )
    _add_device(parser)


def _add_captions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--captions",
        type=Path,
        metavar="FILE",
        help="text file, a line for each image (default: the captioner's)",
    )


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device",
        metavar="NAME",
        help="auto, cpu, cuda or mps (default auto: an accelerator where there is one)",
    )


def _add_overwrite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
