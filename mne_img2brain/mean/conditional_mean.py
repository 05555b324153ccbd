"""The expected response to an image, of all subjects and of each, and what it leaves over."""

import copy
import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import has_fit_parameter

from .._lazy import LazyTrials, parts_of
from .._linalg import average_rows
from ..metrics import CrossValidated, cross_validated_r
from ..trials.missing_sensors import fill_sensors
from ..trials.pooling import pool_tokens
from . import FewImagesRegressor, KernelMeanRegressor
from .image_features import ImageFeatures
from .prediction import predict_together
from .stacking import LeftOut
from .subject_layer import SpatialLayer

if TYPE_CHECKING:
    from .._types import Regressor
    from ..trials.checks import TrialArrays
    from ..trials.splits import SplitPlan

_LEAST_IMAGES = 10  # of a subject, for a regression of its own

Part = tuple[SpatialLayer, Any]  # of a subject: its layer, and a fitted regressor or None


class ConditionalMean:
    """A mean regressor over images, with out-of-fold predictions and a part for every subject.

    :class:`~mne_img2brain.mean.KernelMeanRegressor` sees tokens and single trials, and
    makes its own out-of-fold predictions. Any other regressor sees each image once, pooled to
    one vector, and the weighted average of its trials, with the number of trials as the sample
    weight; for least squares with a penalty that is the model fitted on single trials, and it
    costs a fraction.

    With subjects, the mean is ``shared(image) + part_s(image)``. The part of a subject is a
    :class:`~mne_img2brain.mean.subject_layer.SpatialLayer` over the shared response and, where it
    helps on images left out, the same kind of regressor on what that leaves over. Subjects that
    were learnt later have their part over the response of the average subject.

    regressor: ``"auto"`` is :class:`~mne_img2brain.mean.KernelMeanRegressor`, or
        :class:`~mne_img2brain.mean.FewImagesRegressor` where ``by_trial``. ``None`` is the mean
        over trials.
    by_trial: whether folds part the trials of one image: there are too few images to split these.
    """

    def __init__(
        self, regressor: "Regressor | str | None" = "auto", by_trial: bool = False,
        *, n_folds: int = 5, min_images: int = 10, random_state: int = 0,
    ) -> None:  # fmt: skip
        self.regressor = regressor
        self.by_trial = by_trial
        self.n_folds = n_folds
        self.min_images = min_images
        self.random_state = random_state

    def fit(self, data: "TrialArrays", plan: "SplitPlan") -> tuple[LeftOut, ImageFeatures | None]:
        """Fit the mean and predict every trial by a model that has not seen its group.

        Returns the predictions, and what :meth:`regress` would have to compute again.
        """
        tokens, y_mask = data.tokens, data.y_mask
        # Padding means captions, and the last token of a caption stands for all of it.
        self.pool_last_ = bool(np.isnan(tokens[..., 0]).any())
        self.response_shape_ = data.y.shape[1:]
        filled = data
        if y_mask is not None:
            filled = dataclasses.replace(data, y=fill_sensors(np.asarray(data.y), y_mask))
        images = None
        if self._by_kernels:
            images = self._look(filled, plan)
            images.rotations = {}
        self.shared_, out_of_fold = self._fit_part(filled, plan, images)
        self.cross_validated_r_ = self.cross_validated_p_ = np.nan
        if self._by_kernels:  # it deals folds of its own
            self.cross_validated_r_ = self.shared_.cross_validated_r_
            self.cross_validated_p_ = self.shared_.cross_validated_p_
        elif self.regressor is not None:
            self.cross_validated_r_, self.cross_validated_p_ = cross_validated_r(
                np.asarray(filled.y), out_of_fold.unfold(), data.image_index, plan.fold, data.weight
            )
        self.parts_: list[Part] = []
        if data.subject is not None:  # trials of one image have their own from here on
            out_of_fold = LeftOut(out_of_fold.unfold(), np.arange(len(data.y)))
        for one in [] if data.subject is None else range(data.subject.max() + 1):
            rows = np.flatnonzero(data.subject == one)
            base = out_of_fold.values[rows]
            part, predicted = self._fit_subject(data.take(rows), plan.take(rows), base)
            self.parts_.append(part)
            out_of_fold.values[rows] = predicted
        self.n_average_ = len(self.parts_)
        return out_of_fold, images

    def regress(
        self, values: np.ndarray, data: "TrialArrays", plan: "SplitPlan",
        images: ImageFeatures | None,
    ) -> tuple["ConditionalMean", np.ndarray]:  # fmt: skip
        """Regress other values (n_trials, n_values) on images, as responses were.

        Returns what predicts them from tokens, and out-of-fold predictions (n_trials, n_values).
        """
        other = copy.copy(self)
        other.parts_, other.n_average_, other.response_shape_ = [], 0, (1, values.shape[1])
        trials = dataclasses.replace(data, y=values[:, None], weight=np.ones(len(values)))
        other.shared_, out_of_fold = self._fit_part(trials, plan, images)
        return other, out_of_fold.unfold()[:, 0]

    @property
    def cross_validated_(self) -> CrossValidated:
        """What cross-validation within fit showed; NaN where an early version was saved."""
        names = ("cross_validated_r_", "cross_validated_p_")
        return CrossValidated(*(getattr(self, name, np.nan) for name in names))

    def fit_new_subject(self, data: "TrialArrays", plan: "SplitPlan") -> tuple[Part, np.ndarray]:
        """Return the part of a new subject, and out-of-fold predictions of its trials."""
        return self._fit_subject(data, plan, self.predict(data.tokens)[data.image_index])

    def _fit_subject(
        self, data: "TrialArrays", plan: "SplitPlan", base: np.ndarray
    ) -> tuple[Part, np.ndarray]:
        """Fit what a subject adds to the response of all; predict trials left out, in ``base``."""
        y, image_index = data.y, data.image_index
        if data.y_mask is not None:
            y = np.where(data.y_mask[:, :, None], y, base)
        layer = SpatialLayer()
        base += layer.fit(base, y, image_index, data.weight, plan.fold)
        several = len(np.unique(image_index)) >= _LEAST_IMAGES or self.by_trial
        if self.regressor is None or not several:
            return (layer, None), base
        target = LeftOut(base, np.arange(len(base))).subtract_from(y, np.ones(len(base), y.dtype))
        rest, left_out = self._fit_part(dataclasses.replace(data, y=target), plan)
        if not _helps(left_out, target, image_index, data.weight):
            return (layer, None), base
        for rows in parts_of(base):
            base[rows] += left_out.take(rows)
        return (layer, rest), base

    @property
    def _is_auto(self) -> bool:
        return isinstance(self.regressor, str)

    @property
    def _by_kernels(self) -> bool:
        return self._is_auto and not self.by_trial

    def _kernel_mean(self) -> KernelMeanRegressor:
        return KernelMeanRegressor(
            n_folds=self.n_folds, min_images=self.min_images, random_state=self.random_state
        )

    def _look(self, data: "TrialArrays", plan: "SplitPlan") -> ImageFeatures:
        """Return what kernel regressions on the images share."""
        return ImageFeatures.of(
            self._kernel_mean(), data.tokens, data.image_index, data.y, plan.group
        )

    def _fit_part(
        self, data: "TrialArrays", plan: "SplitPlan", images: ImageFeatures | None = None
    ) -> tuple[Any, LeftOut]:
        """Fit one regressor on all trials, and predict each by one that has not seen it."""
        weight, image_index = data.weight, data.image_index
        if self._by_kernels:
            model = self._kernel_mean()
            model.regress(images or self._look(data, plan), data.y, weight)
            return model, model.pop_out_of_fold()
        y = np.asarray(data.y)
        if self.regressor is None:
            mean = np.average(y, axis=0, weights=weight)
            return mean, LeftOut(mean[None], np.zeros(len(y), np.intp))
        inputs = data.tokens if self._is_auto else self._pool(data.tokens)

        def fit(rows: np.ndarray | slice) -> Any:
            trials = image_index[rows], y[rows], weight[rows]
            if self._is_auto:
                return FewImagesRegressor().fit(inputs[trials[0]], *trials[1:])
            return _fit_averages(clone(self.regressor), inputs, *trials)

        fitted, out_of_fold = fit(slice(None)), np.empty_like(y)
        for one in np.unique(plan.fold):
            held = plan.fold == one
            images, rows = np.unique(image_index[held], return_inverse=True)
            predicted = np.asarray(fit(~held).predict(inputs[images]))
            out_of_fold[held] = predicted.reshape(len(images), *y.shape[1:])[rows]
        return fitted, LeftOut(out_of_fold, np.arange(len(y)))

    def _pool(self, tokens: np.ndarray) -> np.ndarray:
        return tokens[:, 0] if tokens.shape[1] == 1 else pool_tokens(tokens, last=self.pool_last_)

    def predict_with(
        self, other: "ConditionalMean | None", tokens: np.ndarray, subject: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Predict the response, and the values of :meth:`regress`, from one look at the images."""
        if other is None:
            return self.predict(tokens, subject), None
        parts = [self.shared_, other.shared_]
        # another's kernel regressor is given pooled tokens
        alike = self._is_auto and other._is_auto
        if not (alike and all(isinstance(part, KernelMeanRegressor) for part in parts)):
            return self.predict(tokens, subject), other.predict(tokens)
        shared, values = predict_together(parts, tokens)
        return self._of_subjects(shared, tokens, subject), values

    def predict(self, tokens: np.ndarray, subject: np.ndarray | None = None) -> np.ndarray:
        """Predict the expected response of subjects (n_images,), ``None`` being their average."""
        inputs = tokens if self._is_auto else self._pool(tokens)
        return self._of_subjects(self._predict_part(self.shared_, inputs), inputs, subject)

    def _of_subjects(
        self, shared: np.ndarray, inputs: np.ndarray, subject: np.ndarray | None
    ) -> np.ndarray:
        """Return the responses of subjects, or the average, given what all share."""
        if subject is None:
            return self._average(shared, inputs)
        learnt_later = subject >= self.n_average_
        average = self._average(shared, inputs) if learnt_later.any() else shared
        mean = np.empty_like(shared)
        for one in np.unique(subject):
            rows = np.flatnonzero(subject == one)
            base = (shared if one < self.n_average_ else average)[rows]
            mean[rows] = base + self._add(one, base, inputs[rows])
        return mean

    def _average(self, shared: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """Return the mean response of the subjects of :meth:`fit`."""
        average = shared.copy()
        for one in range(self.n_average_):
            average += self._add(one, shared, inputs) / self.n_average_
        return average

    def _add(self, one: int, base: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """Return what the part of a subject adds."""
        layer, rest = self.parts_[one]
        added = layer.apply(base)
        return added if rest is None else added + self._predict_part(rest, inputs)

    def _predict_part(self, part: Any, inputs: np.ndarray) -> np.ndarray:
        """Predict with a fitted regressor, or repeat a plain mean."""
        predicted = np.empty((len(inputs), *self.response_shape_))
        if isinstance(part, np.ndarray):
            predicted[:] = part
        else:
            predicted[:] = np.asarray(part.predict(inputs)).reshape(predicted.shape)
        return predicted


def _helps(
    predicted: LeftOut, target: LazyTrials, image_index: np.ndarray, weight: np.ndarray
) -> bool:
    """Tell whether predictions lessen the squared error by more than its standard error."""
    error = np.empty(len(weight))
    for rows in parts_of(target):
        before = target[rows]
        after = before - predicted.take(rows)
        error[rows] = (before**2).sum(axis=(1, 2)) - (after**2).sum(axis=(1, 2))
    gain = np.bincount(np.unique(image_index, return_inverse=True)[1], weights=weight * error)
    return gain.sum() > gain.std() * np.sqrt(len(gain))


def _fit_averages(
    model: "Regressor",
    pooled: np.ndarray,
    image_index: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
) -> "Regressor":
    """Fit on the average of every image's trials; on trials where weights are not understood."""
    flat = y.reshape(len(y), -1)
    images, rows = np.unique(image_index, return_inverse=True)
    total = np.bincount(rows, weights=weight)
    weighted = has_fit_parameter(model, "sample_weight")
    if not weighted and not np.allclose(total, total[0], rtol=1e-12):
        return model.fit(pooled[image_index], flat)
    average = average_rows(flat, rows, weight)
    arguments = {"sample_weight": total} if weighted else {}
    return model.fit(pooled[images], average, **arguments)
