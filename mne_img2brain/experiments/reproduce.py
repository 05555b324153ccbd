"""reproduce: the paper's experiments on THINGS-EEG2 and THINGS-MEG."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock
import numpy as np
import pandas as pd

from .._files import write_text
from .._log import logger, use_log_level
from .._parameters import Integer, check_given
from .._torch import resolve_device
from .._types import Embedder, PathLike
from .ablation_study import count_image_tokens
from .ablations import ablate
from .embedding import captions_of, given_tokens, read_captions, shared_tokens
from .recordings import Recordings
from .settings import SCALES, Scale, check_parameters, fingerprint, new_regressors, write_json
from .tables import accuracy_table, draws_table, long_table, score_captions
from .units import plan_units, read_unit, run_unit


def reproduce(
    dataset: str,
    data_dir: PathLike,
    out: PathLike,
    *,
    subjects: list[int] | list[str] | None = None,
    within: bool = True,
    cross: bool = True,
    ablations: bool = False,
    scale: str = "small",
    embedder: Embedder | None = None,
    captions: dict | PathLike | None = None,
    tokens: dict | None = None,
    reader: dict | None = None,
    device: str = "auto",
    random_state: int = 0,
    verbose: bool | str | int | None = None,
) -> dict:
    """Repeat the experiments of Xu et al. [1]_, beside baselines and noise ceilings.

    The paper's model, this library's default, ridge regression with Gaussian noise and the mean
    response learn from the averages of the training images and are judged, by
    :func:`mne_img2brain.evaluate`, on all trials of the test images, which are of other concepts.
    *Within subject* a model learns from the subject it is tested on. *Across subjects* it learns
    from all others, and is asked for their average subject: subject and images are both new.

    A subject in one protocol is a unit of work, whose folder appears when all is in it. A run that
    was killed goes on with the units that are not there. Several processes, also of several
    machines with the same disk, can be called alike: each takes units that no other has, and
    returns when all are there. In ``out`` are

    ====================  ====================================================================
    ``parameters.json``   parameters and versions
    ``tables``            CSV: ``within``, ``cross``, ``draws``, ``all`` (every metric with its
                          interval), ``ablations``, ``clip_scores``, ``units`` (time, memory)
    ``figures``           PNG: MSE, PCC and r by subject, r over time, generated beside recorded
                          responses, topographies of training and test subjects, CLIP scores
    ``units``             of each unit its table, its maps (FIF), seeds, versions, and encoders
                          for :func:`mne_img2brain.read_encoder`
    ``tokens``            tokens of all images and their captions
    ``skipped.json``      what was left out, and why
    ====================  ====================================================================

    Parameters
    ----------
    dataset : "things-eeg2" | "things-meg"
        Which data set.
    data_dir : path-like
        Its folder, as for :func:`mne_img2brain.datasets.things_eeg2.load` or
        :func:`mne_img2brain.datasets.things_meg.load`.
    out : path-like
        The folder of results, new, empty or that of a run to go on with.
    subjects : list of int | list of str | None, default None
        Which subjects; ``None`` is all in the folder.
    within, cross, ablations : bool, default True, True and False
        Which experiments to run. Tables and figures show all that the folder holds.
    scale : "small" | "paper", default "small"
        ``"small"``: at most 1,000 training images and 20 trials of each test image, small
        denoisers, Gabor tokens, nothing downloaded. ``"paper"``: everything, CLIP ViT-L/14 tokens
        of images and of captions by Qwen2-VL.
    embedder : transformer | None, default None
        Turns images into tokens; ``None`` goes by the scale.
    captions : dict of str to str | path-like | None, default None
        Captions by file name of the image, or a JSON file with these. ``None`` leaves them to the
        embedder.
    tokens : dict of str to array | dict of str to path-like | None, default None
        Tokens in place of images: ``"train"`` and ``"test"``, arrays of floats or ``.npy`` files
        of shape (n_images, n_tokens, n_features), in the order of ``image_id``.
    reader : dict | None, default None
        More arguments of the reader, for example ``{"resample": 100}`` or ``{"variant": "ubp"}``.
    device : str, default "auto"
        Where the diffusion models, and CLIP where the scale chooses it, run: ``"auto"``, ``"cpu"``,
        ``"cuda"`` or ``"mps"``. A run can go on with another.
    random_state : int, default 0
        The seed of every fit, draw, split and resample.
    verbose : bool | str | int | None, default None
        As everywhere in MNE.

    Returns
    -------
    dict of str to pandas.DataFrame
        The tables.

    Raises
    ------
    ValueError
        If ``out`` holds results of other parameters, or subjects saw different images.
    FileExistsError
        If ``out`` holds something else.
    FileNotFoundError
        If recordings, subjects or images are not there.

    See Also
    --------
    ablate : The ablations of the paper.

    Notes
    -----
    MSE is of responses scaled to an SD of one for each sensor, over test images and times; PCC is
    over sensors and times of one image, as :func:`mne_img2brain.metrics.pearson` describes. The
    paper does not say how it scales responses, or how many trials its test responses average; here
    it is all that there are.

    References
    ----------
    .. [1] Xu et al. (2025). Image-to-brain signal generation for visual prosthesis with CLIP
       guided multimodal diffusion models. arXiv:2509.00787.

    Examples
    --------
    >>> from mne_img2brain.experiments import reproduce
    >>> tables = reproduce("things-eeg2", "THINGS-EEG2", "results")  # doctest: +SKIP
    """
    check_given(random_state=(random_state, Integer(0)))
    if scale not in SCALES:
        raise ValueError(f"scale={scale!r}; give one of {', '.join(SCALES)}.")
    if tokens is not None and embedder is not None:
        raise ValueError("Both embedder and tokens were given; tokens are what an embedder makes.")
    with use_log_level(verbose):
        resolve_device(device)
        sizes = {name: size for name, size in vars(SCALES[scale]).items() if name != "device"}
        recordings = Recordings(dataset, data_dir, Scale(**sizes, device=device), reader)
        subjects = recordings.subjects(subjects)
        units = plan_units(subjects, within, cross)
        captions = read_captions(captions)
        if embedder is None and tokens is None:
            from ..stimulus import ClipEmbedder, GaborEmbedder

            embedder = ClipEmbedder(device=device) if scale == "paper" else GaborEmbedder()
        out = Path(out)
        out.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(out / ".lock"):
            parameters = {
                "dataset": dataset, "data_dir": str(Path(data_dir).resolve()),
                "subjects": subjects, "scale": scale, "sizes": sizes,
                "embedder": fingerprint(embedder), "captions": fingerprint(captions),
                "tokens": fingerprint(tokens), "reader": fingerprint(recordings.reader),
                "random_state": int(random_state),
            }  # fmt: skip
            images = recordings.same_images(subjects)
            chosen = recordings.chosen(len(images["train"]))
            if tokens is not None:
                counts = {split: len(paths) for split, paths in images.items()}
                tokens = given_tokens(tokens, counts, chosen)
            images["train"] = [images["train"][row] for row in chosen]
            for paths in images.values():
                captions_of(captions, paths)  # raises where one is missing
            check_parameters(out, parameters)
            if tokens is None:
                tokens, captions = shared_tokens(out / "tokens", images, embedder, captions)
        _run(units, out / "units", recordings, tokens, embedder, random_state)
        tables = {}
        if ablations:
            n_image = count_image_tokens(embedder, images["train"], tokens["train"], captions)
            tables["ablations"] = _ablate(
                out / "ablations", recordings, subjects, tokens["train"], n_image, random_state
            )
        with filelock.FileLock(out / ".lock"):
            return _present(out, tables, images, captions, embedder)


def _run(
    units: list, folder: Path, recordings: Recordings, tokens: dict, embedder: Embedder | None,
    random_state: int,
) -> None:  # fmt: skip
    """Run the units that are not there."""
    n_there = sum((folder / unit.name).is_dir() for unit in units)
    logger.info("%d of %d units of work are there already.", n_there, len(units))
    by_name = {unit.name: unit for unit in units}
    for name in _claim(folder, list(by_name), lambda name: (folder / name).is_dir()):
        run_unit(by_name[name], folder, recordings, tokens, embedder, random_state)


def _claim(folder: Path, names: list[str], is_done: Callable[[str], bool]) -> Iterator[str]:
    """Give what no process has done or is at; then wait for what others were at."""
    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    for timeout in (0, -1):
        for number, name in enumerate(names, start=1):
            if is_done(name):
                continue
            # the lock of a process that is killed is free again
            lock = filelock.FileLock(folder.parent / f".lock-{folder.name}-{name}", timeout=timeout)
            with contextlib.suppress(filelock.Timeout), lock:
                if is_done(name):
                    continue
                logger.info("%d of %d: %s.", number, len(names), name)
                yield name
                logger.info("Done in %.0f s so far.", time.perf_counter() - started)


def _ablate(
    folder: Path, recordings: Recordings, subjects: list[str], tokens: np.ndarray,
    n_image_tokens: int, random_state: int,
) -> pd.DataFrame:  # fmt: skip
    """Run the ablations of every subject, one table each."""
    parts = []
    for subject in _claim(folder, subjects, lambda name: (folder / name / ".done").is_file()):
        ablate(
            tokens, recordings.training(subject), folder / subject, groups="concept",
            reference=new_regressors(recordings.scale, random_state)["xu2025"],
            n_image_tokens=n_image_tokens, n_seeds=recordings.scale.n_seeds,
            n_draws=recordings.scale.n_draws, random_state=random_state,
        )  # fmt: skip
        (folder / subject / ".done").touch()
    for subject in subjects:
        part = pd.read_csv(folder / subject / "ablations.csv")
        part.insert(0, "subject", subject)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _present(
    out: Path, tables: dict, images: dict, captions: dict | None, embedder: Embedder | None
) -> dict:
    """Write the tables and figures of all that a folder holds."""
    from .figures import draw_accuracy, draw_clip_scores, draw_units

    folders = sorted(path for path in (out / "units").iterdir() if (path / "unit.json").is_file())
    results = {folder.name: read_unit(folder) for folder in folders}
    figures = out / "figures"
    skipped: dict[str, str | None] = {}
    if results:
        long = tables["all"] = long_table(results)
        for protocol in dict.fromkeys(long["protocol"]):
            tables[protocol] = accuracy_table(long, protocol)
            draw_accuracy(tables[protocol], protocol, figures / f"accuracy-{protocol}.png")
        tables["draws"] = draws_table(long)
        costs = []
        for name, (about, _, _) in results.items():
            seconds = {f"{what} (s)": value for what, value in about["seconds"].items()}
            costs.append({"unit": name, **seconds, "peak memory (GiB)": about["peak_memory_gib"]})
        tables["units"] = pd.DataFrame(costs)
        draw_units(results, figures)
        if len({about["subject"] for about, _, _ in results.values()}) < 2:
            skipped["topographies"] = "there is one subject only, and none to compare it with"
    file = out / "tables" / "clip_scores.csv"
    scores, reason = score_captions(file, images, captions, embedder)
    if scores is None:
        skipped["clip_scores"] = reason
    else:
        tables["clip_scores"] = scores
        draw_clip_scores(scores, figures / "clip-scores.png")
    for name, reason in skipped.items():
        logger.info("No %s: %s.", name.replace("_", " "), reason)
    write_json(out / "skipped.json", skipped)
    for name, table in tables.items():
        write_text(out / "tables" / f"{name}.csv", table.to_csv(index=False))
    return tables
