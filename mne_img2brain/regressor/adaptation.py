"""A new subject from little data: what all subjects share stays as it is."""

import copy
import dataclasses
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from .._log import logger, use_log_level
from .._torch import seed_from, seeded_init
from ..diffusion import BrainDiT, Denoiser
from ..trials.checks import TrialArrays, check_fit_arrays
from ..trials.missing_sensors import fill_sensors
from ..trials.splits import SplitPlan, plan_splits

_MOST_ITERATIONS = 500
_N_DRAWS = 500  # enough to regress a sensor on some hundred others
_LEARNING_RATE = 1e-2  # a single embedding takes long steps


class AdaptingMixin:
    """How a fitted regressor learns one more subject."""

    n_features_in_: int
    target_shape_: tuple
    verbose: Any

    def adapt(
        self,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        groups: Any = None,
        y_mask: Any = None,
        image_index: Any = None,
    ) -> int:
        """Learn one more subject; what was learnt of the others, and of all, stays as it is.

        The mean gets a spatial layer over the response of the average subject, the noise a
        covariance of the subject's own, and the denoiser, where one is used, one more embedding.

        Parameters
        ----------
        X, y, sample_weight, groups, y_mask, image_index
            As in :meth:`fit`, of the new subject alone; images of :meth:`fit` or others.

        Returns
        -------
        int
            The number of the subject, for ``subjects`` in :meth:`predict` and :meth:`sample`.

        Raises
        ------
        ValueError
            If responses have another shape than in fit, or what fit raises. Nothing is changed.
        """
        check_is_fitted(self)
        with use_log_level(self.verbose):
            data = check_fit_arrays(
                self, X, y, sample_weight, groups, None, None, y_mask, image_index,
                reset=False,
            )  # fmt: skip
            if data.target_shape != self.target_shape_:
                raise ValueError(
                    f"y holds responses of shape {data.target_shape}, but fit had "
                    f"{self.target_shape_}: give the same channels and times."
                )
            return adapt_regressor(self, data)


def adapt_regressor(regressor: Any, data: TrialArrays) -> int:
    """Add a subject to a fitted regressor.

    1. The mean: a spatial layer over the average subject's response, and a regression on what it
    leaves over, if that helps on images left out. 2. The noise: a whitener of the subject's own.
    3. The denoiser, where one is used: an embedding, all else frozen.

    Parameters
    ----------
    regressor : DiffusionRegressor
        Fitted; changed in the last step, when nothing can fail any more.
    data : TrialArrays
        The subject's trials.

    Returns
    -------
    int
        The number of the new subject.
    """
    rng = np.random.default_rng(seed_from(regressor.random_state))
    asked = regressor._denoiser()
    data, plan = plan_splits(
        data, regressor.min_images, regressor.n_folds, asked.validation_fraction, rng
    )
    mean, noise = regressor.mean_, regressor.noise_
    part, out_of_fold = mean.fit_new_subject(data, plan)
    weight = data.weight if regressor.mean is not None else np.ones(len(data.y))
    residuals = (data.y - out_of_fold) * np.sqrt(weight)[:, None, None]
    whitener = noise.whitener_ if isinstance(noise, Denoiser) else noise
    if data.y_mask is not None:
        # draws for the average subject show how the sensors go together that this one lacks
        drawn = whitener.colour(rng.standard_normal((_N_DRAWS, *residuals.shape[1:])))
        complete = np.ones((_N_DRAWS, residuals.shape[1]), bool)
        residuals = fill_sensors(
            np.concatenate([residuals, drawn]), np.concatenate([data.y_mask, complete]), True
        )[: len(residuals)]
    power = regressor.power_
    residuals = power.divide(residuals, power.predict(data.tokens), data.image_index)
    groups = None if plan.by_trial else data.image_index
    own = whitener.fit_one(residuals, groups, weight)
    code = len(mean.parts_)
    if not isinstance(noise, Denoiser):
        if own is not None and regressor._gaussian:
            own = own.without_trials()
        whitener.own.append(own)
        mean.parts_.append(part)
        return code
    own = None if own is None else own.without_trials(gaussian=False)
    data = dataclasses.replace(data, y=_whiten(whitener, own, residuals))
    network, architecture = _train_embedding(
        noise, data, plan, code, min(asked.steps_for(len(data.y)), _MOST_ITERATIONS),
        int(rng.integers(2**31)),
    )  # fmt: skip
    mean.parts_.append(part)
    whitener.own.append(own)
    noise.network_, noise.architecture_ = network, architecture
    return code


def _whiten(shared: Any, own: Any, residuals: np.ndarray) -> np.ndarray:
    """Whiten the residuals of a subject that is not yet one of the whitener's."""
    whitener = copy.copy(shared)
    whitener.own = [own]
    return whitener.transform(residuals, np.zeros(len(residuals), int)).astype(np.float32)


def _train_embedding(
    noise: Denoiser, data: TrialArrays, plan: SplitPlan, code: int, max_iter: int, seed: int
) -> tuple[BrainDiT, dict]:
    """Return a network with one more subject, whose embedding alone was trained."""
    architecture = dict(noise.architecture_)
    architecture["n_subjects"] = code + 1
    architecture["n_adapted"] = architecture.get("n_adapted", 0) + 1
    with seeded_init(seed):
        network = BrainDiT(**architecture)
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
    history = noise.train(
        network,
        data.y,
        data,
        plan,
        max_iter=max_iter,
        learning_rate=_LEARNING_RATE,
        weight_decay=0.0,  # would pull at the embeddings of the others
        seed=seed,
    )
    network.requires_grad_(True)
    logger.info(f"The new subject's embedding is that of gradient step {history.best_iter}.")
    return network, architecture
