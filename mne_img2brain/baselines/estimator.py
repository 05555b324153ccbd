"""What the baselines share: the arrays of ``DiffusionRegressor``, one model for each subject."""

import dataclasses
from typing import TYPE_CHECKING, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from .._parameters import all_or_nothing
from ..trials.checks import check_fit_arrays, check_subjects, check_tokens
from ..trials.pooling import pool_tokens
from ..trials.scores import ResponseScoreMixin
from ..trials.splits import SplitPlan, distinct_rows, plan_splits
from .gaussian import GaussianResiduals

if TYPE_CHECKING:
    from sklearn.utils import Tags

    from ..trials.checks import TrialArrays


class Baseline(ResponseScoreMixin, RegressorMixin, BaseEstimator):
    """What the baselines share: checks, one model for each subject, shapes."""

    _needs_splits = False
    _needs_residuals = False

    @all_or_nothing
    def fit(
        self,
        X: np.ndarray,
        y: np.ndarray,
        *,
        sample_weight: np.ndarray | None = None,
        groups: np.ndarray | None = None,
        regions: np.ndarray | None = None,
        subjects: np.ndarray | None = None,
        y_mask: np.ndarray | None = None,
        image_index: np.ndarray | None = None,
    ) -> Self:
        """Fit on trials or on averages of trials.

        Parameters
        ----------
        X : array, shape (n_trials, ..., n_features)
            Image tokens, (n_trials, n_features), (n_trials, n_tokens, n_features) with padding
            NaN, or (n_trials, n_rows, n_columns, n_features).
        y : array, shape (n_trials, n_channels, n_times)
            Responses in any unit; also (n_trials, n_targets) or (n_trials,).
        sample_weight : array, shape (n_trials,) | None, default None
            Of how many trials each row is the average.
        groups : array, shape (n_trials,) | None, default None
            What splits keep together (concepts). Equal images always are.
        regions : array of int, shape (n_channels,) | None, default None
            Checked and not used: no baseline knows of brain regions.
        subjects : array of int, shape (n_trials,) | None, default None
            The subject of each trial, ``0 .. n_subjects - 1``. Each gets a model of its own.
        y_mask : array of bool, shape (n_trials, n_channels) | None, default None
            Which sensors each trial has; the others may be NaN in ``y``.
        image_index : array of int, shape (n_trials,) | None, default None
            The row of ``X`` of each trial, where ``X`` holds each image once.

        Returns
        -------
        self : estimator
            The fitted baseline.

        Raises
        ------
        ValueError
            If shapes do not agree, values are not finite, or there are fewer than two trials.
        """
        if sample_weight is not None and not np.any(np.asarray(sample_weight)):
            raise ValueError("sample_weight is zero everywhere; give the numbers of trials.")
        self._check_parameters()
        data = check_fit_arrays(
            self, X, y, sample_weight, groups, regions, subjects, y_mask, image_index
        )
        data, plan = self._split(data)
        # Padding means captions, whose last token stands for all of the text.
        self.pool_last_ = bool(np.isnan(data.tokens[..., 0]).any())
        table = self._pool(data.tokens)
        n_subjects = 1 if data.subject is None else int(data.subject.max()) + 1
        models, residuals = [], np.empty(data.y.shape, data.y.dtype)
        for subject in range(n_subjects):
            rows = np.arange(len(data.y))
            if data.subject is not None:
                rows = np.flatnonzero(data.subject == subject)
            trials, splits = data.take(rows), plan.take(rows)
            models.append(self._fit_part(table, trials, splits))
            if self._needs_residuals:
                residuals[rows] = self._out_of_fold(table, trials, splits)
        self.models_ = models
        self.target_shape_ = data.target_shape
        self._response_shape = data.y.shape[1:]
        if self._needs_residuals:
            # An average over n trials varies by 1 / sqrt(n) of a trial.
            residuals *= np.sqrt(data.weight)[:, None, None]
            self.residuals_ = GaussianResiduals().fit(residuals, data.y_mask)
        return self

    def _check_parameters(self) -> None:
        """Complain of parameters that make no sense."""

    def _split(self, data: "TrialArrays") -> tuple["TrialArrays", SplitPlan]:
        """Keep each image once; say which trials are held out together."""
        if self._needs_splits:
            # A fixed seed: folds are the same whenever the trials are.
            rng = np.random.default_rng(0)
            return plan_splits(data, self.min_images, self.n_folds, 0.1, rng)
        first, distinct = distinct_rows(data.tokens)
        image = distinct[data.image_index]
        data = dataclasses.replace(data, tokens=data.tokens[first], image_index=image)
        nothing = np.zeros_like(image)
        return data, SplitPlan(image, nothing, nothing.astype(bool), by_trial=False)

    def _pool(self, tokens: np.ndarray) -> np.ndarray:
        """Turn tokens into a table."""
        if tokens.shape[1] == 1:
            return np.asarray(tokens[:, 0], float)
        return np.asarray(pool_tokens(tokens, last=self.pool_last_), float)

    def _out_of_fold(self, table: np.ndarray, data: "TrialArrays", plan: SplitPlan) -> np.ndarray:
        """Return what models that have not seen a trial's group leave over of it."""
        residuals = np.array(data.y)
        for fold in np.unique(plan.fold):
            held = plan.fold == fold
            if held.all():
                raise ValueError(
                    "All trials of a subject are in one group, which leaves nothing to hold out; "
                    "give at least two images or groups of each subject."
                )
            kept = np.flatnonzero(~held)
            model = self._fit_part(table, data.take(kept), plan.take(kept))
            predicted = model.predict(table[data.image_index[held]])
            residuals[held] -= np.reshape(predicted, residuals[held].shape)
        return residuals

    def predict(self, X: np.ndarray, subjects: np.ndarray | None = None) -> np.ndarray:
        """Predict the expected response.

        Parameters
        ----------
        X : array, shape (n_images, ..., n_features)
            Image tokens, as in :meth:`fit`.
        subjects : array of int, shape (n_images,) | None, default None
            Whose response; ``None`` is the mean over subjects.

        Returns
        -------
        array, shape (n_images, n_channels, n_times)
            In the unit of ``y``, and with its dimensions.
        """
        check_is_fitted(self, "models_")
        tokens = check_tokens(self, X, reset=False)
        subjects = check_subjects(subjects, len(tokens), len(self.models_))
        table = self._pool(tokens)
        if subjects is None:
            predicted = np.mean([model.predict(table) for model in self.models_], axis=0)
        else:
            predicted = np.empty((len(table), int(np.prod(self._response_shape))))
            for subject in np.unique(subjects):
                rows = subjects == subject
                predicted[rows] = self.models_[subject].predict(table[rows])
        return np.reshape(predicted, (len(table), *self.target_shape_))

    def __sklearn_tags__(self) -> "Tags":
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.target_tags.multi_output = True
        return tags


def averages(
    data: "TrialArrays", plan: SplitPlan
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Average the trials of every image: what there is to know about its mean.

    Returns images, average (n_images, n_values), weight, fold and group of each.
    """
    n_trials, n_times = len(data.y), data.y.shape[2]
    y = np.asarray(data.y).reshape(n_trials, -1)
    weight = np.repeat(data.weight[:, None], y.shape[1], axis=1)
    if data.y_mask is not None:
        weight = weight * np.repeat(data.y_mask, n_times, axis=1)
    if plan.by_trial:
        images, first, rows = data.image_index, np.arange(n_trials), np.arange(n_trials)
    else:
        images, first, rows = np.unique(data.image_index, return_index=True, return_inverse=True)
    total, average = np.zeros((2, len(images), y.shape[1]))
    np.add.at(total, rows, weight)
    np.add.at(average, rows, weight * y)
    everywhere = average.sum(axis=0) / np.maximum(total.sum(axis=0), np.finfo(float).tiny)
    # A sensor that none of an image's trials has says nothing: it gets the mean of all images.
    average = np.where(total > 0, average / np.where(total > 0, total, 1), everywhere)
    return images, average, np.bincount(rows, data.weight), plan.fold[first], plan.group[first]
