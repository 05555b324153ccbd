"""The expected response to a picture, and what it leaves over of trials it has not seen."""

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import PredefinedSplit
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter

from .mean_regressor import KernelMeanRegressor
from .pooling import pool_tokens


class _Pictures:
    """The tokens of pictures, as each regressor wants them."""

    def __init__(self, tokens, last):
        self.tokens = tokens
        single = tokens.shape[1] == 1
        self.pooled = tokens[:, 0] if single else pool_tokens(tokens, last=last)

    def of(self, images, model):
        """Return tokens for regressors that take them, one vector a picture for all others."""
        inner = model.steps[0][1] if isinstance(model, Pipeline) else model
        takes_tokens = get_tags(inner).input_tags.three_d_array
        return (self.tokens if takes_tokens else self.pooled)[images]


class ConditionalMean:
    """A mean regressor over pictures, with out-of-fold predictions and a part for every subject.

    The regressor sees each picture once, as the weighted average of its trials, with the number
    of trials as the sample weight. For least squares with a penalty this is the same model as one
    fitted on single trials, and it costs a fraction.

    With subjects, the mean is ``shared(picture) + part_s(picture)``: the part of a subject is the
    same kind of regressor, fitted on what the shared part leaves over of that subject's trials.

    Parameters
    ----------
    regressor : "auto" | sklearn regressor | None
        ``"auto"`` is :class:`~mne_img2brain.mean_regressor.KernelMeanRegressor`, or a ridge whose
        penalty is chosen by splitting trials where ``by_trial``. ``None`` is the mean over trials.
    by_trial : bool
        Whether the folds split trials of one picture; there are too few pictures to split these.
    """

    def __init__(self, regressor="auto", by_trial=False):
        self.regressor = regressor
        self.by_trial = by_trial

    def fit(self, tokens, image_index, y, weight, fold, group, subject=None):
        """Fit the mean and predict every trial by a model that has not seen its group.

        Parameters
        ----------
        tokens : array, shape (n_images, n_tokens, n_features)
            The pictures; NaN pads.
        image_index : array of int, shape (n_trials,)
            The picture of each trial.
        y : array, shape (n_trials, n_targets)
            The responses.
        weight : array, shape (n_trials,)
            Of how many trials each row is the average.
        fold : array of int, shape (n_trials,)
            The fold that holds each trial out.
        group : array of int, shape (n_trials,)
            What the folds keep together.
        subject : array of int, shape (n_trials,) | None
            The subject of each trial.

        Returns
        -------
        self : ConditionalMean
            With ``out_of_fold_``, shape (n_trials, n_targets).
        """
        # Padding means captions, and the last token of a caption stands for all of it.
        self.pool_last_ = bool(np.isnan(tokens[..., 0]).any())
        pictures = _Pictures(tokens, self.pool_last_)
        self.shared_, self.out_of_fold_ = self._fit_part(
            pictures, image_index, y, weight, fold, group
        )
        self.parts_ = []
        for one in [] if subject is None else range(subject.max() + 1):
            of_one = np.flatnonzero(subject == one)
            rest = y[of_one] - self.out_of_fold_[of_one]
            part, out_of_fold = self._fit_part(
                pictures, image_index[of_one], rest, weight[of_one], fold[of_one], group[of_one]
            )
            self.parts_.append(part)
            self.out_of_fold_[of_one] += out_of_fold
        return self

    def _fit_part(self, pictures, image_index, y, weight, fold, group):
        """Fit one regressor on all trials, and one without each fold for its predictions."""
        model = self._new_regressor(fold)
        if model is None:
            mean = np.average(y, axis=0, weights=weight)
            return mean, np.broadcast_to(mean, y.shape).copy()
        fitted = self._fit_one(clone(model), pictures, image_index, y, weight, group)
        built_in = getattr(fitted, "out_of_fold_", None)
        if built_in is not None and not self.by_trial:
            images = np.unique(image_index)
            out_of_fold = np.asarray(built_in)[np.searchsorted(images, image_index)]
            fitted.out_of_fold_ = None
            return fitted, out_of_fold
        out_of_fold = np.empty_like(y)
        for one in np.unique(fold):
            held, kept = fold == one, fold != one
            part = self._fit_one(
                clone(self._new_regressor(fold[kept])),
                pictures,
                image_index[kept],
                y[kept],
                weight[kept],
                group[kept],
            )
            images, rows = np.unique(image_index[held], return_inverse=True)
            out_of_fold[held] = _predict_part(part, pictures, images)[rows]
        return fitted, out_of_fold

    def _new_regressor(self, fold):
        """Return the regressor to clone, or None for the plain mean."""
        if not isinstance(self.regressor, str):
            return self.regressor
        if not self.by_trial:
            return KernelMeanRegressor()
        # Rows of one picture are alike: the penalty must come from splitting its trials.
        split = PredefinedSplit(np.unique(fold, return_inverse=True)[1])
        return make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 6, 19), cv=split))

    def _fit_one(self, model, pictures, image_index, y, weight, group):
        """Fit on the average of every picture's trials, or on trials where that cannot be."""
        by_trial = self.by_trial and isinstance(self.regressor, str)
        images, rows = np.unique(image_index, return_inverse=True)
        total = np.bincount(rows, weights=weight)
        even = np.allclose(total, total[0], rtol=1e-12)
        weighted = has_fit_parameter(model, "sample_weight")
        if by_trial or not (even or weighted):
            return model.fit(pictures.of(image_index, model), y)
        average = np.zeros((len(images), y.shape[1]), dtype=y.dtype)
        np.add.at(average, rows, y * weight[:, None])
        average /= total[:, None]
        arguments = {"sample_weight": total} if weighted else {}
        if has_fit_parameter(model, "groups"):
            first = np.zeros(len(images), dtype=np.intp)
            first[rows] = group
            arguments["groups"] = first
        return model.fit(pictures.of(images, model), average, **arguments)

    def predict(self, tokens, subject=None):
        """Predict the expected response.

        Parameters
        ----------
        tokens : array, shape (n_images, n_tokens, n_features)
            The pictures; NaN pads.
        subject : array of int, shape (n_images,) | None
            Whose response; ``None`` is the average over subjects.

        Returns
        -------
        array, shape (n_images, n_targets)
        """
        pictures = _Pictures(tokens, self.pool_last_)
        everyone = np.arange(len(tokens))
        mean = _predict_part(self.shared_, pictures, everyone)
        for one, part in enumerate(self.parts_):
            if subject is None:
                mean += _predict_part(part, pictures, everyone) / len(self.parts_)
            elif np.any(subject == one):
                rows = np.flatnonzero(subject == one)
                mean[rows] += _predict_part(part, pictures, rows)
        return mean


def _predict_part(part, pictures, images):
    """Predict with a fitted regressor, or repeat a plain mean."""
    if isinstance(part, np.ndarray):
        return np.tile(part, (len(images), 1))
    predicted = part.predict(pictures.of(images, part))
    return np.array(predicted, dtype=float).reshape(len(images), -1)
