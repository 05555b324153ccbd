"""Encoders on the Hugging Face Hub, with a model card written from the fit.

``huggingface_hub.ModelHubMixin`` would replace three calls (``create_repo``, ``upload_folder``,
``snapshot_download``), and records parameters as the constructor is called, which ``set_params``
and ``clone`` of scikit-learn go past.
"""

import copy
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import mne
from mne.io.constants import FIFF

from .._files import as_path, write_text
from .._log import logger, warn
from .._types import Embedder, Encoder, PathLike
from .description import describe
from .folder import ENCODER_FILES
from .saving import write_encoder

if TYPE_CHECKING:
    from ..evaluation import Evaluation


_LIMITS = """\
- It has learnt {images} images. Of images unlike these it knows little: what it predicts for
  them is close to the average response.
- It predicts the responses of those who were recorded, under the conditions of that recording.
  Other sensors, other times and other tasks are not in it.
- Draws tell how well the model knows single trials. They are no new participants: statistics over
  draws say nothing about a population.
- It is a model for research and no medical device."""
_USE = """\
```python
from mne_img2brain import ImageToBrainEncoder

encoder = ImageToBrainEncoder.from_pretrained("{repo_id}"{embedder})
expected = encoder.predict(images)  # mne.EpochsArray, one epoch per image
```"""


def push(
    encoder: Encoder, repo_id: str, *, trials: bool | None,
    evaluation: "Evaluation | None", data: str | None, limits: str | None, licence: str | None,
    folder: PathLike | None, private: bool, revision: str | None, commit_message: str,
    token: str | None,
) -> str:  # fmt: skip
    """Upload an encoder with its model card, or write both to a folder; return where."""
    fitted = _without_persons(encoder)
    held = _n_stored_trials(encoder)
    if held and trials is None:
        raise ValueError(
            f"The encoder draws noise by the residuals of {held} recorded trials. Give "
            "trials=True to upload them, if the participants agreed to that; or trials=False "
            "for a copy without them, whose draws come from one Gaussian."
        )
    if held and not trials:
        fitted.regressor_ = fitted.regressor_.without_trials()
    travels = _reads_no_file(encoder.embedder_)
    if not travels:
        warn(
            f"The {type(encoder.embedder_).__name__} reads its weights from this machine and is "
            "not uploaded: who downloads the encoder must give embedder= to from_pretrained."
        )
    with tempfile.TemporaryDirectory() as scratch:
        new = Path(scratch) / "encoder" if folder is None else Path(folder)
        if new.exists():
            raise FileExistsError(f"{new} is there already; give the name of a new folder.")
        write_encoder(fitted, new, embedder=travels)
        card = model_card(encoder, repo_id, evaluation, data, limits, licence, trials)
        write_text(new / "README.md", card)
        if folder is not None:
            return str(new)
        from huggingface_hub import HfApi

        hub = HfApi(token=token)
        hub.create_repo(repo_id, private=private, exist_ok=True)
        commit = hub.upload_folder(
            repo_id=repo_id, folder_path=new, revision=revision, commit_message=commit_message
        )
    logger.info(f"The encoder is at {commit.commit_url}.")
    return str(commit.commit_url)


def find_folder(
    repo_id: PathLike, revision: str | None, cache_dir: PathLike | None, token: str | None
) -> Path:
    """Return the folder of an encoder: as given, or downloaded from the Hub."""
    folder = as_path(repo_id, "repo_id")
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repo_id = str(repo_id)
    try:
        return Path(
            snapshot_download(
                repo_id, revision=revision, token=token, allow_patterns=list(ENCODER_FILES),
                cache_dir=None if cache_dir is None else Path(cache_dir),
            )
        )  # fmt: skip
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise FileNotFoundError(
            f"{repo_id!r} is no folder here, and the Hugging Face Hub did not give it "
            f"({str(error).partition(chr(10))[0]}). Give a folder that ImageToBrainEncoder.save "
            "made, or 'user/name' of a repository that you may read; without a network it must "
            "have been downloaded before."
        ) from error


def model_card(
    encoder: Encoder, repo_id: str, evaluation: "Evaluation | None" = None,
    data: str | None = None, limits: str | None = None, licence: str | None = None,
    trials: bool | None = None,
) -> str:  # fmt: skip
    """Write the model card of a fitted encoder."""
    from huggingface_hub import ModelCardData

    kinds = set(encoder.info_.get_channel_types())
    tags = [tag for tag, there in [("eeg", "eeg" in kinds), ("meg", kinds - {"eeg"})] if there]
    header = ModelCardData(
        library_name="mne_img2brain",
        license=licence,
        tags=[*tags, "neuroscience", "encoding-model"],
    )
    described = describe(encoder)
    limit = _LIMITS.format(images=described["images"])
    embedder = type(encoder.embedder_).__name__
    given = encoder.embedder_ is None or _reads_no_file(encoder.embedder_)
    parts = [
        f"---\n{header.to_yaml()}\n---",
        f"# {repo_id.split('/')[-1]}",
        "The M/EEG response to an image: an encoder of `mne_img2brain`, which turns images into "
        "`mne.EpochsArray`.",
        _USE.format(repo_id=repo_id, embedder="" if given else ", embedder=..."),
        "## What it was fitted to",
        data or "The authors say nothing about the data set.",
        _table(["", ""], described.items()),
        "## The model",
        f"Images become tokens by `{embedder}`." if encoder.embedder_ is not None
        else "It takes tokens in place of images.",
        f"Tokens become responses by `{type(encoder.regressor_).__name__}`.",
        _noise(_n_stored_trials(encoder), trials),
        "## How good it is",
        _scores(evaluation),
        "## Limits",
        limit + (f"\n- {limits}" if limits else ""),
        "## Licence",
        f"{licence}." if licence
        else "None was given: ask the authors before you use it. That of the data counts too.",
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def _n_stored_trials(encoder: Encoder) -> int:
    """Tell how many recorded trials an encoder holds."""
    return getattr(encoder.regressor_, "n_stored_trials_", 0)


def _noise(held: int, trials: bool | None) -> str:
    """Say how noise is drawn, and whether recorded trials are part of the repository."""
    if not held:
        return ""
    if trials:
        return f"Noise is drawn by the residuals of {held} recorded trials, which are part of it."
    return (
        f"Noise is drawn from one Gaussian. Where draws were judged below it was drawn by the "
        f"residuals of {held} recorded trials, which were left out: these draws are less like "
        "trials."
    )


def _scores(evaluation: "Evaluation | None") -> str:
    """Write the table of an evaluation in Markdown."""
    if evaluation is None:
        return "It has not been evaluated on images that it has not seen."
    from ..evaluation.rows import cells

    per_image = sorted(set(evaluation.n_trials))
    trials = " to ".join(str(n) for n in dict.fromkeys([per_image[0], per_image[-1]]))
    text = (
        f"On {evaluation.n_images} images that are in no fit, {trials} trials of each. Chance: "
        "what a prediction that knows nothing of the image gets. Ceiling: what the noise in the "
        f"recording allows. Intervals: {100 * evaluation.level:g} %."
    )
    first, *others = evaluation.encoders
    if others:
        text += f" This encoder is called {first}; {', '.join(others)} for comparison."
    if evaluation.distinguished is False:
        text += " There is no ceiling of r: these recordings do not distinguish these images."
    rows = [
        (row.encoder, row.metric, *numbers, row.unit)
        for row, numbers in zip(evaluation.table.itertuples(), cells(evaluation.table), strict=True)
    ]
    head = ["encoder", "metric", "value", "interval", "chance", "ceiling", "unit"]
    return f"{text}\n\n{_table(head, rows)}"


def _table(head: list[str], rows: Iterable[tuple]) -> str:
    """Write a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _without_persons(encoder: Encoder) -> Encoder:
    """Return a copy that does not tell who was recorded, nor where on this machine files are."""
    shared = copy.copy(encoder)
    shared.info_ = _impersonal(encoder.info_)
    # paths of images tell of a machine and its user; the names of their files will do
    ids = encoder.image_ids_.items()
    shared.image_ids_ = {key: PurePath(i).name if isinstance(i, str) else i for key, i in ids}
    if encoder.image_id_form_ == "path":
        shared.image_id_form_ = "name"
    shared.embedder_ = copy.copy(encoder.embedder_)
    if hasattr(shared.embedder_, "cache_dir"):
        shared.embedder_.cache_dir = None
    return shared


def _impersonal(info: mne.Info) -> mne.Info:
    """Return what is needed of an Info: nothing of the person, the day, or this one machine."""
    info = info.copy()
    described = info["description"] or ""
    info.set_meas_date(None)  # then dates are not shifted, but left out
    info = info.anonymize(verbose="ERROR")
    info["subject_info"] = info["experimenter"] = None
    # whether data have a unit is read from the description
    info["description"] = "no unit: whitened or z-scored" if "no unit" in described else None
    with info._unlock():
        for name in ("device_info", "helium_info", "proj_id", "proj_name", "utc_offset", "file_id",
                     "meas_id"):  # fmt: skip
            info[name] = None
        info["hpi_results"], info["hpi_meas"], info["hpi_subsystem"] = [], [], None
        # points all over a head are its shape: a face can be told by them
        extra = FIFF.FIFFV_POINT_EXTRA
        info["dig"] = [point for point in info["dig"] or [] if point["kind"] != extra] or None
    return info


def _reads_no_file(embedder: Embedder) -> bool:
    """Tell whether an embedder works on another machine."""
    parameters = embedder.get_params() if hasattr(embedder, "get_params") else {}
    texts = [
        str(value)
        for name, value in parameters.items()
        if isinstance(value, (str, Path)) and name not in ("cache_dir", "prompt", "device")
    ]
    # os.path: a text that is too long for a name is no file
    return not any(text.startswith("local-dir:") or os.path.exists(text) for text in texts)
