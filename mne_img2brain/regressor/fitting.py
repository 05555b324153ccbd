"""How a DiffusionRegressor is fitted: the mean, power, and what draws single trials."""

import dataclasses
import functools
import math
from numbers import Integral
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone

from .._lazy import LazyTrials, parts_of
from .._log import logger, warn
from .._parameters import Integer, check_parameters
from .._torch import resolve_device, seed_from
from ..diffusion import Denoiser, kept_seed
from ..diffusion.processes import Processes
from ..diffusion.selection import LEAST_TRIALS, MOST_VALUES, NoiseSummary, compare_draws
from ..mean.conditional_mean import ConditionalMean
from ..metrics.cross_validated import images_at_fault
from ..noise.power import InducedPower
from ..noise.subject_noise import SubjectNoise
from ..noise.trial_noise import TrialNoise
from ..trials.checks import TrialArrays
from ..trials.missing_sensors import fill_sensors
from ..trials.splits import SplitPlan, plan_splits

if TYPE_CHECKING:
    from .._types import PathLike
    from .regressor import DiffusionRegressor


def fit_regressor(
    regressor: "DiffusionRegressor", data: TrialArrays, checkpoint: "PathLike | None"
) -> None:
    """Fit the mean, the power that follows images, and what draws the rest."""
    denoiser = asked_denoiser(regressor)
    resolve_device(regressor.device)
    seed, processes = seed_from(regressor.random_state), Processes()
    if checkpoint is not None and not isinstance(regressor.random_state, Integral):
        seed = seed if processes.rank else kept_seed(checkpoint, seed)
    seed = processes.share(seed)
    rng = np.random.default_rng(seed)
    # 1. canonical order, groups, folds
    data, plan = plan_splits(
        data, regressor.min_images, regressor.n_folds, denoiser.validation_fraction, rng
    )
    # 2. mean and out-of-fold residuals
    mean = ConditionalMean(
        regressor.mean, plan.by_trial, n_folds=regressor.n_folds, min_images=regressor.min_images,
        random_state=int(rng.integers(2**31)),
    )  # fmt: skip
    out_of_fold, images = mean.fit(data, plan)
    average = _average(data)
    said = images_at_fault(
        mean.cross_validated_, data.tokens, data.y, data.image_index, data.weight
    )
    if said:
        warn(said)
    # 3. an average over n trials varies by 1 / sqrt(n) of a trial; without a mean regressor
    # the response to the image is in the residuals too, and does not
    weight, averaged = data.weight, 1.0
    if regressor.mean is None:
        averaged = float(1 / np.mean(1 / weight))
        weight = np.ones(len(weight))
    # as large as the responses, and computed where they are looked at
    residuals: np.ndarray | LazyTrials = out_of_fold.subtract_from(data.y, np.sqrt(weight))
    if data.y_mask is not None:
        residuals = fill_sensors(np.asarray(residuals), data.y_mask, same_variance=True)
    power = InducedPower()
    if regressor.mean is not None:
        residuals = power.fit_transform(
            residuals, data.image_index,
            functools.partial(mean.regress, data=data, plan=plan, images=images),
            by_trial=plan.by_trial, subject=data.subject,
        )  # fmt: skip
    del images  # as large as kernels
    data = dataclasses.replace(data, y=residuals)
    own = TrialNoise(denoiser.whitening, draws_only=not _trains(denoiser, regressor, data))
    groups = None if plan.by_trial else data.image_index
    noise: Any = SubjectNoise(own).fit(residuals, groups, weight, data.subject)
    noise = noise.without_trials() if is_gaussian(regressor) else noise
    # 4. the transformer, where it helps on images held out
    seed = int(rng.integers(2**31))
    noise, summary = _choose_noise(regressor, denoiser, data, plan, noise, seed, checkpoint)
    summary.n_bands = len(power.bands_)
    logger.info(f"Single trials are drawn by {summary}.")
    if noise.n_stored_trials:
        logger.info(
            f"Residuals of {noise.n_stored_trials} recorded trials are kept to draw by; "
            "noise='gaussian' leaves them out."
        )
    regressor.mean_, regressor.noise_, regressor.residual_averaged_ = mean, noise, averaged
    regressor.power_, regressor.average_response_ = power, average
    regressor.noise_summary_, regressor.n_iter_ = summary, summary.n_iter
    regressor.history_ = getattr(denoiser, "history_", None)
    regressor.target_shape_ = data.target_shape
    regressor.n_tokens_, regressor.n_features_in_ = data.tokens.shape[1:]


def _choose_noise(
    regressor: "DiffusionRegressor", denoiser: Denoiser, data: TrialArrays, plan: SplitPlan,
    noise: SubjectNoise, seed: int, checkpoint: "PathLike | None",
) -> tuple[SubjectNoise | Denoiser, NoiseSummary]:  # fmt: skip
    """Train the transformer where it can win, and return what draws: it, or ``noise``."""
    without = "trial clusters" if noise.n_stored_trials else "one Gaussian"
    summary = NoiseSummary(without, n_trials=len(data.y))
    needed = regressor.mean is None  # there is nothing else that knows the image
    if denoiser.max_iter is None and not _trains(denoiser, regressor, data):
        summary.reason = (
            f"not trained on fewer than {LEAST_TRIALS:,} trials unless max_iter asks"
            if len(data.y) < LEAST_TRIALS
            else "not trained on so many trials without a GPU unless max_iter asks"
        )
    elif denoiser.max_iter is None and not needed and not noise.n_stored_trials:
        summary.reason = "not trained, since trials differ no more than draws of one Gaussian"
    elif _trains(denoiser, regressor, data):
        start = perf_counter()
        denoiser.fit(
            data, plan, noise, around_mean=not needed, seed=seed, device=regressor.device,
            checkpoint=checkpoint,
        )  # fmt: skip
        summary.n_iter = denoiser.history_.iterations[-1]
        if denoiser.history_.best_iter == 0:
            summary.reason = "it did not lower the loss on images held out"
        elif needed:
            summary.reason = "the only one that knows the image"
        else:
            summary.compare(compare_draws(denoiser, data, plan, seed))
        if denoiser.history_.best_iter > 0 and (needed or summary.helps):
            summary.kept, noise = "the transformer", denoiser.without_trials()
        summary.seconds = perf_counter() - start
    return noise, summary


def _trains(denoiser: Denoiser, regressor: "DiffusionRegressor", data: TrialArrays) -> bool:
    """Tell whether the transformer is trained: where asked for, needed, or likely to help."""
    if denoiser.max_iter is not None:
        return denoiser.max_iter > 0
    if regressor.mean is None:
        return True
    on_cpu = resolve_device(regressor.device).type == "cpu"
    most = MOST_VALUES if on_cpu else np.inf
    return len(data.y) >= LEAST_TRIALS and math.prod(data.y.shape) <= most


def is_gaussian(regressor: "DiffusionRegressor") -> bool:
    """Whether noise is drawn without transformer and without recorded trials."""
    return isinstance(regressor.noise, str) and regressor.noise == "gaussian"


def asked_denoiser(regressor: "DiffusionRegressor") -> Denoiser:
    """Return the transformer to be fitted, with all parameters checked."""
    check_parameters(
        regressor, n_folds=Integer(2), min_images=Integer(2), max_iter=(Integer(0), None),
        noise=("auto", "gaussian", Denoiser),
    )  # fmt: skip
    mean = regressor.mean
    predicts = hasattr(mean, "fit") and hasattr(mean, "predict") and not isinstance(mean, type)
    if not (predicts or mean is None or (isinstance(mean, str) and mean == "auto")):
        raise ValueError(f"mean={mean!r}; give 'auto', a regressor such as Ridge(), or None.")
    denoiser = Denoiser() if isinstance(regressor.noise, str) else clone(regressor.noise)
    if is_gaussian(regressor):
        return denoiser.set_params(max_iter=0)
    if regressor.max_iter is not None:
        denoiser.set_params(max_iter=regressor.max_iter)
    denoiser.check_parameters()
    return denoiser


def _average(data: TrialArrays) -> np.ndarray:
    """Return the average response, of each sensor over the trials that have it."""
    if data.y_mask is None:
        share = (data.weight / data.weight.sum()).astype(data.y.dtype)
        parts = [np.tensordot(share[rows], data.y[rows], 1) for rows in parts_of(data.y, 2**24)]
        return np.sum(parts, axis=0, dtype=float)
    weight = data.weight[:, None] * data.y_mask
    total = np.maximum(weight.sum(axis=0), np.finfo(float).tiny)
    return np.einsum("ic,ict->ct", weight, data.y) / total[:, None]
