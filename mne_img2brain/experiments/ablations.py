"""ablate: what each part of the method is worth, on any data set."""

import dataclasses
import json
import time
from pathlib import Path

import filelock
import mne
import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.utils.parallel import Parallel, delayed

from .._files import whole_file, write_text
from .._log import logger, use_log_level, warn
from .._parameters import Integer, Number, check_given
from .._types import Embedder, PathLike
from ..diffusion import Denoiser
from ..evaluation import material
from ..regressor import DiffusionRegressor
from .ablation_figure import draw_ablations
from .ablation_rows import (
    REFERENCE,
    changed,
    check_rows,
    file_name,
    reference_regressor,
    split_changes,
)
from .ablation_scores import ALL_SENSORS, Judge, summarize
from .ablation_study import Study, prepare
from .settings import check_parameters, fingerprint, versions, write_json

# A lobe with fewer sensors is no row.
_MIN_SENSORS = 2


def ablate(
    images: list | np.ndarray | str,
    epochs: mne.BaseEpochs,
    folder: PathLike,
    *,
    image_ids: np.ndarray | str | None = None,
    captions: list[str] | str | None = None,
    groups: np.ndarray | str | None = None,
    rows: list[str] | dict[str, dict] | None = None,
    reference: str | DiffusionRegressor = "xu2025",
    max_iter: int | None = None,
    embedder: Embedder | None = None,
    n_image_tokens: int | None = None,
    n_seeds: int = 3,
    test_fraction: float = 0.2,
    n_draws: int = 10,
    window: tuple[float, float] = (0.05, 0.6),
    draw_window: tuple[float, float] = (0.0, 0.6),
    n_bootstrap: int = 1000,
    level: float = 0.95,
    random_state: int = 0,
    n_jobs: int | None = None,
    verbose: bool | str | int | None = None,
) -> pd.DataFrame:
    """Measure what each part of the method is worth: the ablation table of Xu et al. [1]_.

    Every row changes one thing of a reference, is fitted to the same training images with
    several seeds, and is judged on the same test images. Images are parted once, by group, and
    embedded once. Rows that change only how draws are made share the fit of the reference.

    A row is written when it is done; a second call with the same arguments goes on with those that
    are not there. In ``folder`` are

    ===================  =====================================================================
    ``ablations.csv``    the table that is returned, of all rows that are done
    ``by_seed.csv``      the same for every seed
    ``ablations.png``    differences from the reference
    ``split.csv``        which images are for training and which for test
    ``parameters.json``  parameters, fingerprints of the data, versions
    ``rows``             of each row its scores (CSV), what it was made with (JSON: changes, seeds,
                         versions, gradient steps, seconds) and its resamples (``.npy``)
    ``skipped.json``     rows that cannot be made of these data, and why
    ===================  =====================================================================

    Parameters
    ----------
    images : list | array | str
        Images or tokens, as in :meth:`mne_img2brain.ImageToBrainEncoder.fit`.
    epochs : mne.BaseEpochs
        The responses of one subject.
    folder : path-like
        Where results are kept: new, empty, or that of a call to go on with.
    image_ids, captions, groups : array | list | str | None, default None
        As in fit. Test images are held out by whole groups (concepts).
    rows : None | list of str | dict of str to dict, default None
        Which rows. ``None`` is all of :func:`ablation_rows`; a list takes some of these, by name
        (``"position: region"``) or kind (``"position"``); a dict holds rows of your own. Rows can
        be added in a later call.
    reference : "xu2025" | "default" | DiffusionRegressor
        What rows differ from. In the paper's model all that is known of the image comes through
        the denoiser, so that rows on conditioning and position show in predictions. The default of
        this library predicts by its mean regressor; there such rows show in draws, if at all.
    max_iter : int | None, default None
        Gradient steps at most, for all rows; ``None`` is the reference's.
    embedder : transformer | None, default None
        Turns images into tokens; ``None`` is :class:`~mne_img2brain.ClipEmbedder`.
    n_image_tokens : int | None, default None
        How many tokens of an image come before those of its caption. ``None`` asks the embedder;
        for tokens given as ``images`` there are then no captions to leave out.
    n_seeds : int, default 3
        How often each row is fitted, with seeds ``random_state``, ``random_state + 1`` and so on.
    test_fraction : float, default 0.2
        The part of the trials that is for test.
    n_draws : int, default 10
        Draws of each test image; 0 judges predictions alone.
    window : tuple of float, default (0.05, 0.6)
        From when to when, in seconds, r and identification count.
    draw_window : tuple of float, default (0.0, 0.6)
        From when to when the standard deviation of draws counts.
    n_bootstrap : int, default 1000
        Resamples of test images.
    level : float, default 0.95
        The content of confidence intervals.
    random_state : int, default 0
        The seed of the split and of the resamples, and the first of fits and draws.
    n_jobs : int | None, default None
        How many rows are fitted at a time: in processes, or where ``joblib.parallel_config`` says,
        which also takes a cluster. Each holds the recording. ``None`` is one.
    verbose : bool | str | int | None, default None
        As everywhere in MNE.

    Returns
    -------
    pandas.DataFrame
        One row per row of the ablation (``ablation``, ``setting``) and ``metric``: ``value``, the
        mean over seeds, with its interval over test images ``ci_low`` to ``ci_high``;
        ``reference``, the same of the reference, on the same sensors; ``difference``, first minus
        second, with its paired interval ``difference_low`` to ``difference_high``; ``seed_sd``,
        the standard deviation over seeds; ``denoiser_kept``, in what part of the fits training
        improved the denoiser on held-out images: where it is 0, draws are not the denoiser's and
        conditioning cannot matter.

    Raises
    ------
    ValueError
        If the folder holds results of other data or parameters, a row is not known, there are
        several subjects, or images and epochs do not match.
    FileExistsError
        If the folder holds something else.
    RuntimeError
        If another process writes to the folder.

    See Also
    --------
    ablation_rows : What is ablated.
    reproduce : The other experiments of the paper.

    Notes
    -----
    ``mse`` and ``pcc`` are the paper's metrics, :func:`mne_img2brain.metrics.mse` (of sensors
    scaled to an SD of one over test images and times) and
    :func:`mne_img2brain.metrics.pearson`; ``r`` is the mean over sensors and ``window`` of
    :func:`mne_img2brain.metrics.r_map`; ``mean rank`` is that of the true image among all test
    images. They are of ``predict``, of the mean of all draws, and (``mse`` and ``pcc``) of one
    draw, each against the mean of all trials of the image. ``SD / real`` is the median of
    :func:`mne_img2brain.metrics.sd_ratio`; it needs test images with several trials.

    Rows on sensors are judged on their sensors, and their ``reference`` likewise: the model that
    learnt all sensors, scored on these.

    References
    ----------
    .. [1] Xu et al. (2025). Image-to-brain signal generation for visual prosthesis with CLIP
       guided multimodal diffusion models. arXiv:2509.00787.

    Examples
    --------
    >>> from mne_img2brain.experiments import ablate
    >>> table = ablate(images, epochs, "ablations", image_ids="image_id")  # doctest: +SKIP
    """
    check_given(
        n_seeds=(n_seeds, Integer(1)), n_draws=(n_draws, Integer(0)),
        n_bootstrap=(n_bootstrap, Integer(2)), random_state=(random_state, Integer(0)),
        test_fraction=(test_fraction, Number(0, 1, closed="neither")),
    )  # fmt: skip
    if not isinstance(epochs, mne.BaseEpochs):
        raise TypeError(
            f"epochs is a {type(epochs).__name__}; give the mne.Epochs of one subject "
            "(mne.concatenate_epochs joins several)."
        )
    regressor = reference_regressor(reference, max_iter)
    rows = check_rows(rows, regressor)
    judge = Judge(n_draws, tuple(window), tuple(draw_window), n_bootstrap, level, random_state)
    with use_log_level(verbose):
        study = prepare(
            images, epochs, image_ids, captions, groups, embedder, n_image_tokens, test_fraction,
            random_state,
        )  # fmt: skip
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / ".lock", timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise RuntimeError(f"Another process writes to {folder}; wait, or stop it.") from None
        try:
            given = regressor.get_params(deep=False)
            for name in ("device", "random_state", "verbose"):
                del given[name]
            parameters = {
                "reference": fingerprint(given), "embedder": fingerprint(embedder),
                **study.fingerprint, "n_image_tokens": study.n_image_tokens, "n_seeds": n_seeds,
                "test_fraction": float(test_fraction), **dataclasses.asdict(judge),
            }  # fmt: skip
            check_parameters(folder, parameters)
            write_text(folder / "split.csv", study.split.to_csv(index=False))
            rows, skipped = _possible(rows, study)
            write_json(folder / "skipped.json", skipped)
            seeds = range(random_state, random_state + n_seeds)
            return _run(rows, folder, study, regressor, judge, seeds, n_jobs)
        finally:
            lock.release()


def _possible(rows: dict, study: Study) -> tuple[dict, dict]:
    """Leave out rows that cannot be made of these data, and say why."""
    possible, skipped = {}, {}
    for name, changes in rows.items():
        lobe = changes.get("sensors")
        if not changes.get("captions", True) and study.n_image_tokens == study.tokens.shape[1]:
            skipped[name] = "there are no tokens of captions"
        elif lobe is not None and len(study.lobes[lobe]) < _MIN_SENSORS:
            skipped[name] = f"{len(study.lobes[lobe])} sensors are {lobe}"
        else:
            possible[name] = changes
    for name, reason in skipped.items():
        logger.info("No row %r: %s.", name, reason)
    return possible, skipped


def _run(
    rows: dict, folder: Path, study: Study, regressor: DiffusionRegressor, judge: Judge,
    seeds: range, n_jobs: int | None,
) -> pd.DataFrame:  # fmt: skip
    """Run the rows that are not there, and put all together."""
    done = {name: _read_row(folder / "rows", name, changes) for name, changes in rows.items()}
    done = {name: row for name, row in done.items() if row is not None}
    to_do = {name: changes for name, changes in rows.items() if name not in done}
    logger.info("%d of %d rows are there already.", len(done), len(rows))
    started, n_before = time.perf_counter(), len(done)
    table = None
    run = delayed(_run_rows)
    for found in Parallel(n_jobs=n_jobs, return_as="generator")(
        run(some, folder / "rows", study, regressor, judge, seeds) for some in _units(to_do)
    ):
        done |= found
        table = _present({row: done[row] for row in rows if row in done}, folder, judge.level)
        spent, n_done = time.perf_counter() - started, len(done) - n_before
        logger.info(
            "%d of %d rows in %.0f s; about %.0f s are left.",
            n_done, len(to_do), spent, spent / n_done * (len(to_do) - n_done),
        )  # fmt: skip
    return table if to_do else _present(done, folder, judge.level)


def _units(rows: dict) -> list[dict]:
    """Part rows into what can be run on its own: those that share the reference's fit are one."""
    units: dict = {}
    for name, changes in rows.items():
        needs_fit = split_changes(changes)[2]
        units.setdefault(name if needs_fit else None, {})[name] = changes
    return list(units.values())


def _run_rows(
    rows: dict, folder: Path, study: Study, regressor: DiffusionRegressor, judge: Judge,
    seeds: range,
) -> dict:  # fmt: skip
    """Fit and score rows, one after another, and write each."""
    fits: dict = {}
    return {
        name: _run_row(name, changes, folder, study, regressor, judge, seeds, fits)
        for name, changes in rows.items()
    }


def _run_row(
    name: str, changes: dict, folder: Path, study: Study, regressor: DiffusionRegressor,
    judge: Judge, seeds: range, fits: dict,
) -> tuple[pd.DataFrame, np.ndarray]:  # fmt: skip
    """Fit and score one row with every seed, and write it."""
    parameters, others, needs_fit = split_changes(changes)
    captions, lobe = others["captions"], others["sensors"]
    tables, resamples, about = [], [], []
    logger.info("Row %r.", name)
    for seed in seeds:
        began = time.perf_counter()
        own = changed(regressor, {**parameters, "random_state": seed})
        if needs_fit:
            encoder = study.fit(own, captions, lobe)
            recorded = study.recorded(encoder, captions)
            prediction = material.predicted(encoder, recorded)
        else:
            if seed not in fits:
                encoder = study.fit(clone(regressor).set_params(random_state=seed))
                recorded = study.recorded(encoder, captions)
                fits[seed] = encoder, recorded, material.predicted(encoder, recorded)
            encoder, recorded, prediction = fits[seed]
        regressor_ = encoder.regressor_
        kept = isinstance(regressor_.noise_, Denoiser)
        sensors = {lobe or ALL_SENSORS: encoder.ch_names_}
        if name == REFERENCE:
            sensors |= {k: names for k, names in study.lobes.items() if len(names) >= _MIN_SENSORS}
        table, resampled = judge.score(
            encoder, recorded, prediction, sensors, seed, others["sampling"]
        )
        table.insert(0, "seed", seed)
        tables.append(table.assign(denoiser_kept=kept))
        resamples.append(resampled)
        spent = round(time.perf_counter() - began, 2)
        n_iter = int(regressor_.n_iter_)
        about.append({"seed": seed, "n_iter": n_iter, "denoiser_kept": kept, "seconds": spent})
    table, resamples = pd.concat(tables, ignore_index=True), np.concatenate(resamples)
    if name == REFERENCE and not table["denoiser_kept"].any():
        warn(
            "Training did not improve the reference's denoiser on held-out images, whatever the "
            "seed: draws are of the noise alone, and what reaches the denoiser cannot matter. Give "
            "more data, or a (larger) max_iter."
        )
    folder.mkdir(exist_ok=True)
    write_json(
        folder / f"{file_name(name)}.json",
        {
            "row": name, "changes": fingerprint(changes), "regressor": fingerprint(own),
            "sensors": encoder.ch_names_, "fits": about, "versions": versions(),
            "n_training_trials": int(np.sum(~study.test)), "n_test_trials": int(study.test.sum()),
        },
    )  # fmt: skip
    with whole_file(folder / f"{file_name(name)}.npy") as part:
        np.save(part, resamples, allow_pickle=False)
    # the CSV is the last to be there: with it the row is done
    write_text(folder / f"{file_name(name)}.csv", table.to_csv(index=False))
    return table, resamples


def _read_row(folder: Path, name: str, changes: dict) -> tuple[pd.DataFrame, np.ndarray] | None:
    """Read a row that is done; None where it is not."""
    file = folder / f"{file_name(name)}.csv"
    if not file.is_file():
        return None
    about = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
    wanted = json.loads(json.dumps(fingerprint(changes)))
    if about["changes"] != wanted:
        raise ValueError(
            f"{folder} holds a row {name!r} that changes {about['changes']}, now {wanted}; give "
            "the row another name, or another folder."
        )
    return pd.read_csv(file), np.load(file.with_suffix(".npy"), allow_pickle=False)


def _present(done: dict, folder: Path, level: float) -> pd.DataFrame:
    """Write the tables and the figure of the rows that are done."""
    table, by_seed = summarize(done, REFERENCE, level)
    write_text(folder / "by_seed.csv", by_seed.to_csv(index=False))
    write_text(folder / "ablations.csv", table.to_csv(index=False))
    draw_ablations(table, by_seed, folder / "ablations.png")
    return table
