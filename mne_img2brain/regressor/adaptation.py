"""A new subject from little data: what all subjects share stays as it is."""

import copy
import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import torch

from .._log import logger
from .._torch import seed_from
from ..diffusion import BrainDiT, Denoiser, train_denoiser
from ..trials.checks import TrialArrays
from ..trials.missing_sensors import fill_sensors
from ..trials.splits import SplitPlan, plan_splits
from .fitting import asked_denoiser, is_gaussian

if TYPE_CHECKING:
    from .regressor import DiffusionRegressor

_MOST_ITERATIONS = 500
_N_DRAWS = 500  # enough to regress a sensor on some hundred others
_LEARNING_RATE = 1e-2  # a single embedding takes long steps


def adapt_regressor(regressor: "DiffusionRegressor", data: TrialArrays) -> int:
    """Add a subject to a fitted regressor.

    1. The mean: a spatial layer over the average subject's response, and a regression on what it
    leaves over, if that helps on images left out. 2. The noise: the subject's own.
    3. The denoiser, where one is used: an embedding, all else frozen.
    """
    rng = np.random.default_rng(seed_from(regressor.random_state))
    asked = asked_denoiser(regressor)
    data, plan = plan_splits(
        data, regressor.min_images, regressor.n_folds, asked.validation_fraction, rng
    )
    mean, noise = regressor.mean_, regressor.noise_
    part, out_of_fold = mean.fit_new_subject(data, plan)
    weight = data.weight if regressor.mean is not None else np.ones(len(data.y))
    residuals = (np.asarray(data.y) - out_of_fold) * np.sqrt(weight)[:, None, None]
    of_subjects = noise.whitener_ if isinstance(noise, Denoiser) else noise
    if data.y_mask is not None:
        # draws for the average subject show how the sensors go together that this one lacks
        drawn = of_subjects.draw_of(rng.standard_normal((_N_DRAWS, *residuals.shape[1:])))
        complete = np.ones((_N_DRAWS, residuals.shape[1]), bool)
        residuals = fill_sensors(
            np.concatenate([residuals, drawn]), np.concatenate([data.y_mask, complete]), True
        )[: len(residuals)]
    power = regressor.power_
    residuals = power.divide(residuals, power.predict(data.tokens), data.image_index)
    groups = None if plan.by_trial else data.image_index
    own = of_subjects.fit_one(residuals, groups, weight)
    code = len(mean.parts_)
    if not isinstance(noise, Denoiser):
        if own is not None and is_gaussian(regressor):
            own = own.without_trials()
        of_subjects.own.append(own)
        mean.parts_.append(part)
        return code
    own = None if own is None else own.without_trials(gaussian=False)
    scores = None if noise.power_ is None else noise.power_.scores(residuals)
    white = (of_subjects.pooled if own is None else own).transform(residuals)
    data = dataclasses.replace(data, y=noise.half_colour(white))
    max_iter = min(asked.steps_for(len(data.y)), _MOST_ITERATIONS)
    # decay would pull at the embeddings of the others
    learner = copy.copy(noise).set_params(
        max_iter=max_iter, learning_rate=_LEARNING_RATE, weight_decay=0.0
    )
    seed = int(rng.integers(2**31))
    network, architecture = _train_embedding(learner, data, scores, plan, code, seed)
    mean.parts_.append(part)
    of_subjects.own.append(own)
    noise.network_, noise.architecture_ = network, architecture
    return code


def _train_embedding(
    noise: Denoiser, data: TrialArrays, scores: np.ndarray | None, plan: SplitPlan, code: int,
    seed: int,
) -> tuple[BrainDiT, dict]:  # fmt: skip
    """Return a network with one more subject, whose embedding alone was trained."""
    architecture = dict(noise.architecture_)
    architecture["n_subjects"] = code + 1
    architecture["n_adapted"] = architecture.get("n_adapted", 0) + 1
    network = noise.build(architecture, seed)
    state = {name: value.cpu() for name, value in noise.network_.state_dict().items()}
    known = state.get("subject.weight", torch.zeros(0, architecture["hidden_size"]))
    start = known.new_zeros(1, known.shape[1])
    if noise.network_.subject is not None:
        start = noise.network_.average_subject().detach().cpu()[None]
    state["subject.weight"] = torch.cat([known, start])
    network.load_state_dict(state)
    network.requires_grad_(False)
    network.subject.requires_grad_(True)
    data = dataclasses.replace(data, subject=np.full(len(data.y), code))
    history = train_denoiser(noise, network, data, scores, plan.validation, seed=seed)
    network.requires_grad_(True)
    logger.info(f"The new subject's embedding is that of gradient step {history.best_iter}.")
    return network, architecture
