r"""The expected response: a mixture of kernel regressions that know what responses share."""

import numpy as np
from scipy import linalg, optimize, sparse
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.extmath import randomized_svd
from sklearn.utils.validation import check_is_fitted

from ._log import logger
from .kernels import KERNELS, KernelMap, Views
from .mixed_model import SignalPrior, Whitener, fit_mixed_model, project, rotate, solve
from .splits import canonical_order, distinct_rows, fold_of, merge_groups

__all__ = ["KernelMeanRegressor"]

_PENALTIES = np.geomspace(1e-3, 1e4, 22)
_MAX_JUDGED = 2000  # targets on which penalty and mixture are chosen
_MAX_DEVIATIONS = 5000  # trials from which the noise covariance is estimated


class KernelMeanRegressor(RegressorMixin, BaseEstimator):
    r"""Expected response to an image, from its tokens.

    Trials of one image are averaged, the noise that trials of one image show is whitened in space
    and time, the first principal components of the whitened averages are regressed together, and
    regressions with several kernels are mixed:

    .. math:: f(x) = \mu + \sum_m b_m\, k_m(x, X) A_m, \qquad b_m \ge 0

    where :math:`A_m` gives the posterior mean of the multivariate mixed model
    :math:`\mathrm{vec}\,Y \sim N(0,\ \Sigma_g \otimes K_m + \Sigma_e \otimes \Omega^{-1})`
    [1]_ [2]_ with :math:`\Omega` the number of trials of each image. Response components that the
    tokens explain are thereby shrunk little and others to nothing, where ridge regression shrinks
    all alike. One of the mixed is plain ridge regression on the pooled tokens, its one penalty
    chosen by cross-validation; the weights :math:`b` minimise the cross-validated squared error
    (stacking [3]_), so that little is lost where the truth is linear and the noise white.

    Kernels are sums of terms. ``"linear"`` is linear in class token and mean token; ``"rbf"`` is
    :math:`\exp(-0.3 \lVert x - x' \rVert^2 / D)` of them, :math:`D` the mean squared distance;
    ``"local"`` adds the mean over token places of one such kernel per place, which is not linear
    but additive over places.

    Parameters
    ----------
    kernel : {"auto", "linear", "rbf", "local"}
        One kernel, or ``"auto"`` for a mixture of those that suit the input.
    penalty : {"auto"} | float
        A number gives plain (kernel) ridge regression with this penalty: with
        ``kernel="linear"`` and ``standardize=False`` that is :class:`sklearn.linear_model.Ridge`.
    n_components : int
        Largest number of response components that are regressed together; never more than a tenth
        of the images. 0 leaves out the mixed models.
    n_folds : int
        Number of folds by which penalty and mixture are chosen.
    n_landmarks : int
        With more distinct images than this, kernels are approximated from this many of them
        (Nyström [4]_).
    min_images : int
        With fewer distinct images, folds are made of trials and no longer of images.
    standardize : bool
        Whether features are scaled to unit standard deviation over the distinct images.
    random_state : int | numpy.random.RandomState | None
        Deals the folds and chooses landmarks.

    Attributes
    ----------
    weights_ : dict
        The weight of each model in the mixture.
    penalty_ : float
        The penalty of plain ridge regression.
    cv_score_ : dict
        Cross-validated Pearson correlation over images, mean over targets, of each model and of
        the mixture.
    n_features_in_ : int
        Width of the tokens.

    Notes
    -----
    Memory: beside the responses themselves, a few float64 arrays of distinct images x targets and,
    one kernel at a time, ``n_folds`` of distinct images x landmarks.

    Noise covariance, components, penalty and mixture behind :attr:`out_of_fold_` come from all
    training rows; coefficients and covariances of the mixed models are those of the fold. The
    optimism is below what 700 images can show (see the page "What we tried").

    References
    ----------
    .. [1] Zhou, X. and Stephens, M. (2014). Efficient multivariate linear mixed model algorithms
       for genome-wide association studies. Nature Methods 11, 407-409.
    .. [2] Alvarez, M. A., Rosasco, L. and Lawrence, N. D. (2012). Kernels for vector-valued
       functions: a review. Foundations and Trends in Machine Learning 4, 195-266.
    .. [3] Breiman, L. (1996). Stacked regressions. Machine Learning 24, 49-64.
    .. [4] Williams, C. and Seeger, M. (2001). Using the Nyström method to speed up kernel
       machines. NIPS 13, 682-688.
    """

    def __init__(
        self,
        kernel="auto",
        *,
        penalty="auto",
        n_components=60,
        n_folds=5,
        n_landmarks=3000,
        min_images=10,
        standardize=True,
        random_state=0,
    ):
        self.kernel = kernel
        self.penalty = penalty
        self.n_components = n_components
        self.n_folds = n_folds
        self.n_landmarks = n_landmarks
        self.min_images = min_images
        self.standardize = standardize
        self.random_state = random_state

    # -------------------------------------------------------------------------------- fit
    def fit(self, X, y, sample_weight=None, groups=None):
        """Fit the mixture.

        1. Average the rows of each image. 2. Deal the images into folds by ``groups``. 3. Whiten
        the noise, take components. 4. Fit every model in every fold, choose penalty and weights.
        5. Fit the models of the mixture on all images.

        Parameters
        ----------
        X : array, shape (n_rows, n_features) | (n_rows, n_tokens, n_features) | \
                (n_rows, n_grid_rows, n_grid_columns, n_features)
            Features or tokens, padding NaN. Equal rows are one image.
        y : array, shape (n_rows,) | (n_rows, n_targets) | (n_rows, n_channels, n_times)
            The responses. Give them three dimensions where they have sensors and times.
        sample_weight : array, shape (n_rows,) | None
            Of how many trials each row is the average.
        groups : array, shape (n_rows,) | None
            Labels of images that no fold may separate.

        Returns
        -------
        self : KernelMeanRegressor
            The fitted regressor.

        Raises
        ------
        ValueError
            If shapes do not agree, numbers are not finite, a parameter is out of range, or all
            images are of one group.
        """
        self._check_parameters()
        X = self._check_tokens(X)
        y, weight = self._check_responses(X, y, sample_weight)
        rows = np.flatnonzero(weight > 0)
        flat = y.reshape(len(y), -1)[rows]
        rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31 - 1))
        groups = None if groups is None else np.asarray(groups)[rows]
        first, image = distinct_rows(X[rows])
        unit, unit_image, fold = self._deal(flat, image, groups, rng)
        responses, total, deviations = _average(flat, weight[rows], image, unit)
        if self.penalty == "auto":
            total = total / total.mean()

        views = Views(self.standardize).fit(X[rows[first]])
        shown = views.transform(X[rows[first]])
        chosen = np.arange(len(first))
        if len(first) > self.n_landmarks:
            chosen = np.sort(rng.choice(len(first), self.n_landmarks, replace=False))
        maps = {
            name: KernelMap(KERNELS[name]).fit({v: x[chosen] for v, x in shown.items()})
            for name in self._kernel_names(shown)
        }
        n_components = min(self.n_components, len(responses) // 10, responses.shape[1])
        if self.penalty != "auto" or fold.max() == 0:
            n_components = 0
        shape = y.shape[1:] if y.ndim == 3 else (1, flat.shape[1])
        white = Whitener(shape).fit(deviations) if len(deviations) >= 40 else None
        # Components of all images know the noise of those left out (0.03 of r on semi-real EEG):
        # each fold has its own.
        spaces = [
            _components(responses[keep], total[keep], shape, white, n_components, rng)
            for keep in [fold >= 0] + [fold != k for k in range(fold.max() + 1)]
        ]

        # Everything below is per unit: an image, or with few images a part of its trials.
        models = []
        for name, kernel in maps.items():
            features = kernel.transform(shown)[unit_image]
            models += self._cross_validate(name, features, responses, total, fold, spaces[1:])
        mean = np.average(responses, axis=0, weights=total)
        judged = np.unique(np.linspace(0, len(mean) - 1, _MAX_JUDGED).astype(np.intp))
        target = responses[:, judged] - mean[judged]
        guesses = [_expand(m, spaces[1:], fold, judged) - mean[judged] for m in models]
        weights = _stack(guesses, target, total) if self.penalty == "auto" else np.ones(1)

        # Nothing of an earlier fit is left behind from here on.
        self.views_, self.maps_, self.coef_, self.offset_ = views, {}, {}, {}
        self.mean_, self.colours_ = mean, spaces[0][1]
        self.response_shape_ = tuple(y.shape[1:])
        self.x_shape_ = tuple(X.shape[1:])
        self.n_features_in_ = X.shape[-1]
        self.penalty_ = next(m["penalty"] for m in models if m["kind"] == "ridge")
        self.weights_, self.cv_score_ = {}, {}
        mixture = sum(b * guess for b, guess in zip(weights, guesses, strict=True))
        for model, b, guess in zip(models, weights, guesses, strict=True):
            label = f"{model['kind']} {model['kernel']}"
            self.weights_[label] = float(b)
            self.cv_score_[label] = _correlation(guess, target)
        self.cv_score_["mixture"] = _correlation(mixture, target)
        left_out = np.tile(mean, (len(responses), 1))
        for model, b in zip(models, weights, strict=True):
            if b > 0:
                left_out += b * (_expand(model, spaces[1:], fold, slice(None)) - mean)
        self._left_out = left_out
        self._row_unit = np.full(len(y), -1)
        self._row_unit[rows] = unit
        for name, kernel in maps.items():
            parts = [(m, b) for m, b in zip(models, weights, strict=True) if m["kernel"] == name]
            features = kernel.transform(shown)[unit_image]
            self._solve_all(name, kernel, features, responses, spaces[0][0], total, parts)
        self._unweighted = None if len(rows) == len(y) else self.predict(X[weight <= 0])
        logger.info(
            f"Mean regressor: {len(first)} images, cross-validated r "
            + ", ".join(f"{label} {r:.3f}" for label, r in self.cv_score_.items())
        )
        return self

    def _kernel_names(self, shown):
        """Return the kernels of the mixture."""
        if self.kernel != "auto":
            return [self.kernel]
        if self.penalty != "auto":
            return ["linear"]
        return ["linear", "rbf"] + (["local"] if "places" in shown else [])

    def _deal(self, flat, image, groups, rng):
        """Return the unit of each row, the image and the fold of each unit."""
        n_images = image.max() + 1
        if n_images >= self.min_images:
            merged = merge_groups(image, groups)
            label = np.empty(n_images, dtype=np.intp)
            label[image] = merged
            # Numbered as the images come, so that names of groups and order of rows do not matter.
            _, where, label = np.unique(label, return_index=True, return_inverse=True)
            label = np.argsort(np.argsort(where))[label]
            if label.max() == 0 and self.penalty == "auto":
                raise ValueError(
                    "All images are of one group, so that none can be left out to choose a "
                    "penalty; give groups that differ, or a number as penalty."
                )
            return image, np.arange(n_images), fold_of(label, self.n_folds, rng)
        # Too few images: parts of the trials of an image take the place of images.
        order = canonical_order(flat, image)
        start = np.searchsorted(image[order], np.arange(n_images))
        part = np.empty(len(image), dtype=np.intp)
        part[order] = (np.arange(len(image)) - start[image[order]] + image[order]) % self.n_folds
        pairs, unit = np.unique(np.stack([image, part], axis=1), axis=0, return_inverse=True)
        _, fold = np.unique(pairs[:, 1], return_inverse=True)
        return unit.ravel(), pairs[:, 0], fold

    def _cross_validate(self, name, features, responses, weight, fold, spaces):
        """Fit the models with one kernel in each fold; return their out-of-fold predictions."""
        folds = range(fold.max() + 1 if fold.max() else 0)
        axes = [rotate(features[fold != k], weight[fold != k]) for k in folds]
        models = []
        if name == "linear" or self.kernel == name:
            penalty, guess = self._ridge(features, axes, responses, weight, fold)
            models.append({"kind": "ridge", "kernel": name, "penalty": penalty, "guess": guess})
        if len(spaces[0][1]):
            guess = np.zeros((len(responses), len(spaces[0][1])))
            for k, (rotated, (components, _, _)) in enumerate(zip(axes, spaces, strict=True)):
                scores, mean = project(rotated, components)
                coef = solve(rotated, scores, *fit_mixed_model(rotated, scores, components))
                guess[fold == k] = mean + (features[fold == k] - rotated["mean"]) @ coef
            models.append({"kind": "mixed", "kernel": name, "guess": guess})
        return models

    def _ridge(self, features, axes, responses, weight, fold):
        """Choose the penalty of ridge regression; return it and out-of-fold predictions."""
        guess = np.tile(np.average(responses, axis=0, weights=weight), (len(responses), 1))
        centred = features - np.average(features, axis=0, weights=weight)
        grid = _PENALTIES * (weight @ (centred**2).sum(axis=1) / len(features) or 1.0)
        if self.penalty != "auto":
            grid = np.array([float(self.penalty)])
        if not axes:
            return grid[-1], guess
        spread = np.average((responses - guess[0]) ** 2, axis=0, weights=weight)
        per_target = np.where(spread > 0, 1 / np.where(spread > 0, spread, 1), 0)
        loss = np.zeros(len(grid))
        projected = [project(r, responses[fold != k]) for k, r in enumerate(axes)]
        judged = np.unique(np.linspace(0, len(spread) - 1, _MAX_JUDGED).astype(np.intp))
        for i, penalty in enumerate(grid if len(grid) > 1 else []):
            for k, (rotated, (scores, mean)) in enumerate(zip(axes, projected, strict=True)):
                out = fold == k
                left = (features[out] - rotated["mean"]) @ solve(
                    rotated, scores[:, judged], penalty
                )
                left += (mean - responses[out])[:, judged]
                loss[i] += weight[out] @ (left**2 @ per_target[judged])
        penalty = grid[loss.argmin()]
        for k, (rotated, (scores, mean)) in enumerate(zip(axes, projected, strict=True)):
            out = fold == k
            guess[out] = mean + (features[out] - rotated["mean"]) @ solve(rotated, scores, penalty)
        return penalty, guess

    def _solve_all(self, name, kernel, features, responses, components, weight, parts):
        """Fit the models with one kernel on all images and add them up."""
        parts = [(model, b) for model, b in parts if b > 0]
        if not parts:
            return
        rotated = rotate(features, weight)
        self.maps_[name] = kernel
        for model, b in parts:
            if model["kind"] == "ridge":
                scores, _ = project(rotated, responses)
                coef = solve(rotated, scores, model["penalty"])
            else:
                scores, _ = project(rotated, components)
                coef = solve(rotated, scores, *fit_mixed_model(rotated, scores, components))
            key = f"{model['kind']} {name}"
            self.offset_[key] = -b * (rotated["mean"] @ coef)
            self.coef_[key] = b * (coef if kernel.plain_ else kernel.root_ @ coef)

    # ---------------------------------------------------------------------------- predict
    @property
    def out_of_fold_(self):
        """Prediction for each training row by models that did not see its group."""
        check_is_fitted(self, "coef_")
        predicted = self._left_out[self._row_unit]
        if self._unweighted is not None:
            predicted[self._row_unit < 0] = self._unweighted.reshape(-1, predicted.shape[1])
        return predicted.reshape(-1, *self.response_shape_)

    def predict(self, X):
        """Predict the expected response.

        Parameters
        ----------
        X : array, shape (n_images, n_features) | (n_images, n_tokens, n_features) | \
                (n_images, n_grid_rows, n_grid_columns, n_features)
            Features or tokens as in ``fit``.

        Returns
        -------
        array, shape (n_images,) | (n_images, n_targets) | (n_images, n_channels, n_times)
            The expected responses, in the unit of ``y``.
        """
        check_is_fitted(self, "coef_")
        X = self._check_tokens(X)
        shown = self.views_.transform(X)
        predicted = np.tile(self.mean_, (len(X), 1))
        shared = np.zeros((len(X), len(self.colours_)))
        for name, kernel in self.maps_.items():
            alike = kernel.compare(shown)
            for kind, total in (("ridge", predicted), ("mixed", shared)):
                if f"{kind} {name}" in self.coef_:
                    total += alike @ self.coef_[f"{kind} {name}"] + self.offset_[f"{kind} {name}"]
        predicted += shared @ self.colours_
        return predicted.reshape(-1, *self.response_shape_)

    # ------------------------------------------------------------------------------ state
    def get_state(self):
        """Return what prediction needs, as arrays and JSON-able values.

        Returns
        -------
        dict
            ``params`` and ``meta`` hold numbers, strings and lists; ``arrays`` holds arrays.
        """
        check_is_fitted(self, "coef_")
        arrays = {"mean": self.mean_, "colours": self.colours_, "edges": self.views_.edges_}
        for view in self.views_.mean_:
            arrays[f"views/{view}/mean"] = self.views_.mean_[view]
            arrays[f"views/{view}/scale"] = self.views_.scale_[view]
        for key in self.coef_:
            arrays[f"coef/{key}"], arrays[f"offset/{key}"] = self.coef_[key], self.offset_[key]
        for name, kernel in self.maps_.items():
            arrays[f"maps/{name}/widths"] = kernel.widths_
            arrays[f"maps/{name}/gains"] = kernel.gains_
            for view, x in kernel.landmarks_.items():
                arrays[f"landmarks/{view}"] = x
        meta = {
            "response_shape": list(self.response_shape_),
            "x_shape": list(self.x_shape_),
            "last": bool(self.views_.last_),
            "plain": {name: bool(kernel.plain_) for name, kernel in self.maps_.items()},
            "penalty": float(self.penalty_),
            "weights": self.weights_,
            "cv_score": self.cv_score_,
        }
        params = {key: value for key, value in self.get_params().items() if key != "random_state"}
        return {"params": params, "meta": meta, "arrays": arrays}

    @classmethod
    def from_state(cls, state):
        """Make a fitted regressor from what :meth:`get_state` returned.

        Parameters
        ----------
        state : dict
            The state.

        Returns
        -------
        KernelMeanRegressor
            It predicts as the saved one did; out-of-fold predictions are not saved.
        """
        self = cls(**state["params"])
        arrays, meta = state["arrays"], state["meta"]
        self.mean_, self.colours_ = arrays["mean"], arrays["colours"]
        self.response_shape_, self.x_shape_ = tuple(meta["response_shape"]), tuple(meta["x_shape"])
        self.n_features_in_ = self.x_shape_[-1]
        self.penalty_, self.weights_ = meta["penalty"], meta["weights"]
        self.cv_score_ = meta["cv_score"]
        self.views_ = Views(self.standardize)
        self.views_.edges_, self.views_.last_ = arrays["edges"], meta["last"]
        names = [key.split("/")[1] for key in arrays if key.startswith("views/")]
        self.views_.mean_ = {view: arrays[f"views/{view}/mean"] for view in names}
        self.views_.scale_ = {view: arrays[f"views/{view}/scale"] for view in names}
        self.maps_ = {}
        for name, plain in meta["plain"].items():
            kernel = KernelMap(KERNELS[name])
            kernel.plain_ = plain
            kernel.widths_ = arrays[f"maps/{name}/widths"]
            kernel.gains_ = arrays[f"maps/{name}/gains"]
            used = {} if plain else {term[0] for term in kernel.terms}
            kernel.landmarks_ = {view: arrays[f"landmarks/{view}"] for view in used}
            self.maps_[name] = kernel
        self.coef_ = {k.split("/", 1)[1]: v for k, v in arrays.items() if k.startswith("coef/")}
        self.offset_ = {k: arrays[f"offset/{k}"] for k in self.coef_}
        return self

    # ------------------------------------------------------------------------------ checks
    def _check_parameters(self):
        """Complain of parameters out of range."""
        if self.kernel not in ("auto", *KERNELS):
            raise ValueError(f"kernel={self.kernel!r}; expected 'auto' or one of {list(KERNELS)}.")
        if self.penalty != "auto" and not self.penalty > 0:
            raise ValueError(f"penalty={self.penalty!r}; expected 'auto' or a number above 0.")
        if self.n_folds < 2:
            raise ValueError(f"n_folds={self.n_folds}; expected 2 or more.")

    def _check_tokens(self, X):
        """Return tokens as a 2-D or 3-D array."""
        X = np.asarray(X)
        if X.ndim not in (2, 3, 4):
            raise ValueError(
                f"X has shape {X.shape}; expected 2 to 4 dimensions. Reshape your data."
            )
        if X.ndim == 2 and not np.isfinite(X).all():
            raise ValueError("X contains NaN or infinity; only tokens of 3-D X may be padded.")
        if hasattr(self, "x_shape_") and X.shape[1:] != self.x_shape_:
            raise ValueError(f"X {X.shape}, fitted {self.x_shape_}")
        return X.reshape(len(X), -1, X.shape[-1]) if X.ndim == 4 else X

    def _check_responses(self, X, y, sample_weight):
        """Return responses and the weight of each row."""
        y = np.asarray(y)
        if y.ndim not in (1, 2, 3) or len(y) != len(X):
            raise ValueError(
                f"y has shape {y.shape}; expected one response for each of the {len(X)} rows of X, "
                "in 1 to 3 dimensions."
            )
        if not np.isfinite(y).all():
            raise ValueError("y contains NaN or infinity.")
        if sample_weight is None:
            return y, np.ones(len(y))
        weight = np.asarray(sample_weight, dtype=np.float64)
        if weight.shape != (len(y),) or not (weight >= 0).all() or not weight.any():
            raise ValueError("sample_weight")
        return y, weight


def _average(flat, weight, image, unit):
    """Return the mean and total weight of units, and what trials deviate from their image."""
    n_units = unit.max() + 1
    rows = np.arange(len(unit))
    total = np.bincount(unit, weight)
    average = sparse.csr_array((weight / total[unit], (unit, rows)), shape=(n_units, len(rows)))
    responses = average @ flat.astype(np.float64, copy=False)
    # Images from the first on, until there are trials enough.
    repeated = np.bincount(image)[image] > 1
    last = np.searchsorted(np.cumsum(np.bincount(image[repeated], minlength=1)), _MAX_DEVIATIONS)
    some = np.flatnonzero(repeated & (image <= last))
    if not len(some):
        return responses, total, np.zeros((0, flat.shape[1]))
    _, index = np.unique(image[some], return_inverse=True)
    share = np.bincount(index, weight[some])
    columns = np.arange(len(some))
    average = sparse.csr_array((weight[some] / share[index], (index, columns)))
    trials = flat[some].astype(np.float64, copy=False)
    deviations = (trials - (average @ trials)[index]) * np.sqrt(weight[some])[:, None]
    return responses, total, deviations * np.sqrt(len(some) / max(len(some) - len(share), 1))


def _components(responses, weight, shape, white, n_components, rng):
    """Return scores on components, the components in colour, and the mean response."""
    mean = np.average(responses, axis=0, weights=weight)
    if not n_components:
        return np.zeros((len(responses), 0)), np.zeros((0, responses.shape[1])), mean
    centred = responses - mean
    root = np.sqrt(weight)[:, None]
    if white is None:
        # No repeats: noise is what the first components leave over. On semi-real EEG this gives
        # two thirds of what repeats do.
        white = Whitener(shape).fit(root * centred)
        n_signal = min(20, n_components // 2, (responses.shape[1] - 1) // 2)
        for _ in range(3 if n_signal else 0):
            whitened = root * white.whiten(centred)
            axes = _directions(whitened, n_signal, rng)
            white = Whitener(shape).fit(white.colour(whitened - whitened @ axes.T @ axes))
    prior = SignalPrior(shape).fit(root * white.whiten(centred))
    reduced = prior.reduce(white.whiten(centred))
    axes = _directions(root * reduced, min(n_components, reduced.shape[1]), rng)
    return reduced @ axes.T, white.colour(prior.expand(axes)), mean


def _directions(x, n_components, rng):
    """Return the first right singular vectors."""
    if min(x.shape) > 2000:
        seed = int(rng.integers(2**31 - 1))
        return randomized_svd(x, n_components, random_state=seed)[2]
    if x.shape[0] < x.shape[1]:
        _, left = linalg.eigh(x @ x.T, subset_by_index=(len(x) - n_components, len(x) - 1))
        axes = (x.T @ left).T
        return axes / np.maximum(np.linalg.norm(axes, axis=1, keepdims=True), 1e-300)
    n = x.shape[1]
    return linalg.eigh(x.T @ x, subset_by_index=(n - n_components, n - 1))[1].T


def _expand(model, spaces, fold, judged):
    """Return the out-of-fold predictions of a model for some targets."""
    if model["kind"] == "ridge":
        return model["guess"][:, judged]
    parts = np.empty((len(fold), len(spaces[0][2][judged])))
    for k, (_, colours, mean) in enumerate(spaces):
        parts[fold == k] = mean[judged] + model["guess"][fold == k] @ colours[:, judged]
    return parts


def _stack(guesses, target, weight):
    """Non-negative weights of models that minimise the squared error, targets scaled alike."""
    spread = np.average(target**2, axis=0, weights=weight)
    scale = np.where(spread > 0, 1 / np.where(spread > 0, spread, 1), 0)
    gram = np.array([[weight @ ((a * b) @ scale) for b in guesses] for a in guesses])
    aim = np.array([weight @ ((a * target) @ scale) for a in guesses])
    if not (aim > 0).any():
        return np.eye(len(guesses))[0]
    values, vectors = linalg.eigh(gram)
    values = np.maximum(values, 1e-9 * values[-1])
    half = np.sqrt(values)[:, None] * vectors.T
    return optimize.nnls(half, (vectors.T @ aim) / np.sqrt(values))[0]


def _correlation(a, b):
    """Mean over targets of the Pearson correlation over rows."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    size = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return float(np.mean((a * b).sum(axis=0) / np.where(size > 0, size, 1)))
