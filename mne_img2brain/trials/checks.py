"""The arrays a regressor takes: checked, and brought to one shape."""

import dataclasses
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_array, check_consistent_length, validate_data

from .._lazy import LazyTrials, take

_LARGEST = 1e15  # of token values: squares of larger ones, summed, leave float32


@dataclasses.dataclass
class TrialArrays:
    """Trials and their images.

    tokens (n_images, n_tokens, n_features): image tokens, NaN where padded.
    image_index (n_trials,): the row of ``tokens`` of each trial.
    y (n_trials, n_channels, n_times): responses, float64 or float32; 0 where ``y_mask`` is False.
        Lazy trials are read from those that were given.
    weight (n_trials,): of how many trials each row is the average.
    regions (n_channels,): the brain region of each sensor.
    groups, subject, y_mask (n_trials, ...) | None: as given.
    target_shape: shape of one response as the user gave it.
    """

    tokens: np.ndarray
    image_index: np.ndarray
    y: np.ndarray | LazyTrials
    weight: np.ndarray
    regions: np.ndarray
    groups: np.ndarray | None
    subject: np.ndarray | None
    y_mask: np.ndarray | None
    target_shape: tuple

    def take(self, rows: np.ndarray) -> Self:
        """Return the given trials, in that order; responses are large, and stay where they are."""
        by_trial = ("image_index", "weight", "groups", "subject", "y_mask")
        taken = {name: getattr(self, name) for name in by_trial}
        taken = {name: None if value is None else value[rows] for name, value in taken.items()}
        return dataclasses.replace(self, y=take(self.y, rows), **taken)


def check_tokens(estimator: Any, X: Any, *, reset: bool) -> np.ndarray:
    """Bring image tokens to (n_images, n_tokens, n_features), NaN where padded.

    X: the tokens, also (n, n_features) or (n, n_rows, n_columns, n_features).
    reset: whether this is a fit, which sets ``n_features_in_`` of the estimator.
    """
    ndim = getattr(X, "ndim", None)
    if ndim is None or ndim <= 2:
        tokens = validate_data(estimator, X, reset=reset, dtype=[np.float64, np.float32])[:, None]
    else:
        # which are finite is told below, some images at a time
        dtype = X.dtype if X.dtype.kind == "f" else np.float64
        tokens = check_array(X, allow_nd=True, ensure_all_finite=False, dtype=dtype)
        if tokens.ndim not in (3, 4):
            raise ValueError(
                f"X has shape {tokens.shape}; expected (n_images, n_features), (n_images, "
                "n_tokens, n_features) or (n_images, n_rows, n_columns, n_features)."
            )
        tokens = tokens.reshape(len(tokens), -1, tokens.shape[-1])
    _check_padding(tokens)
    if not reset and tokens.shape[2] != estimator.n_features_in_:
        raise ValueError(
            f"X has {tokens.shape[2]} features per token, but fit had {estimator.n_features_in_}: "
            f"{type(estimator).__name__} is expecting {estimator.n_features_in_} features as "
            "input. Embed new images with the embedder of fit."
        )
    return tokens


def _check_padding(tokens: np.ndarray) -> None:
    """Raise unless a token is NaN throughout or finite throughout, and every image has one."""
    for start in range(0, len(tokens), 256):
        some = tokens[start : start + 256]
        finite = np.isfinite(some)
        real = finite.all(axis=2)
        broken = ~(real | np.isnan(some).all(axis=2))
        if broken.any():
            image, token = np.argwhere(broken)[0]
            raise ValueError(
                f"Token {token} of image {start + image} holds NaN or infinity beside numbers; "
                "padding tokens are NaN throughout, all others finite."
            )
        with np.errstate(invalid="ignore"):
            large = np.argwhere(np.abs(some) > np.float32(_LARGEST))
        if len(large):
            image, token, feature = large[0]
            raise ValueError(
                f"Token {token} of image {start + image} holds {some[image, token, feature]:.3g}; "
                f"give tokens within {_LARGEST:.0e}, standardised for example."
            )
        if not real.any(axis=1).all():
            image = start + int(np.flatnonzero(~real.any(axis=1))[0])
            raise ValueError(f"Image {image} has no token: all are NaN. Give it at least one.")


def check_fit_arrays(
    estimator: Any, X: Any, y: Any, sample_weight: Any, groups: list[str] | np.ndarray | None,
    regions: list[int] | np.ndarray | None, subjects: np.ndarray | None, y_mask: np.ndarray | None,
    image_index: np.ndarray | None, *, reset: bool = True,
) -> TrialArrays:  # fmt: skip
    """Check what a regressor's ``fit`` was given.

    reset: whether this is a fit; else the estimator is fitted, asked for its number of features,
        and not changed.
    """
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None; give responses.")
    tokens = check_tokens(estimator, X, reset=reset)
    y = check_array(
        y, ensure_2d=False, allow_nd=True, dtype=[np.float64, np.float32], input_name="y",
        ensure_all_finite="allow-nan" if y_mask is not None else True,
    )  # fmt: skip
    if y.ndim > 3 or y.ndim == 0:
        raise ValueError(f"y has shape {y.shape}; expected (n_trials, n_channels, n_times).")
    target_shape = y.shape[1:]
    y = y.reshape(len(y), *(*target_shape, 1, 1)[:2])
    if image_index is None:
        check_consistent_length(tokens, y)
        image_index = np.arange(len(y))
    else:
        image_index = check_image_index(image_index, len(tokens), len(y))
    n_trials, n_channels = y.shape[:2]
    weight = np.ones(n_trials)
    if sample_weight is not None:
        weight = _per_trial("sample_weight", sample_weight, n_trials, kinds="fiu").astype(float)
        if not np.all(np.isfinite(weight)) or weight.min() < 0:
            raise ValueError("sample_weight must be finite and not negative: numbers of trials.")
        if weight.max() == 0:
            raise ValueError("sample_weight is zero everywhere: no row counts any trial.")
    if regions is None:
        regions = np.zeros(n_channels, dtype=np.intp)
    regions = np.asarray(regions)
    if regions.shape != (n_channels,) or regions.dtype.kind not in "iu":
        raise ValueError(
            f"regions has shape {regions.shape} and type {regions.dtype}; give one integer for "
            f"each of the {n_channels} channels."
        )
    if subjects is not None:
        subjects = _per_trial("subjects", subjects, n_trials, kinds="iu")
        if not np.array_equal(np.unique(subjects), np.arange(subjects.max() + 1)):
            raise ValueError(
                f"subjects holds {np.unique(subjects).tolist()}; number them from 0 without gaps."
            )
    if y_mask is not None:
        y_mask = np.asarray(y_mask, dtype=bool)
        if y_mask.shape != (n_trials, n_channels):
            raise ValueError(
                f"y_mask has shape {y_mask.shape}; give one bool for each of the {n_trials} trials "
                f"and {n_channels} channels."
            )
        if not np.isfinite(y[y_mask]).all():
            raise ValueError("y holds NaN or infinity where y_mask says there are data.")
        y = np.where(y_mask[:, :, None], y, 0.0)
    if groups is not None:
        groups = _per_trial("groups", groups, n_trials)
    data = TrialArrays(
        tokens, image_index, y, weight, regions, groups, subjects, y_mask, target_shape
    )
    if (weight == 0).any():
        data = data.take(np.flatnonzero(weight > 0))
    if len(data.y) < 2:
        raise ValueError(
            f"Found {len(data.y)} trial (n_samples={len(data.y)}); a minimum of 2 is required: a "
            "distribution is not learnt from one."
        )
    if reset:
        estimator.n_features_in_ = tokens.shape[2]
    return data


def check_image_index(image_index: Any, n_images: int, n_trials: int) -> np.ndarray:
    """Check which image each trial answers to."""
    image_index = _per_trial("image_index", image_index, n_trials, kinds="iu")
    if image_index.min() < 0 or image_index.max() >= n_images:
        raise ValueError(
            f"image_index runs from {image_index.min()} to {image_index.max()}, but X holds "
            f"{n_images} images; give rows of X."
        )
    return image_index


def check_subjects(
    subjects: np.ndarray | None, n_images: int, n_subjects: int
) -> np.ndarray | None:
    """Check the subjects that a prediction is for."""
    if subjects is None:
        return None
    subjects = np.asarray(subjects)
    if subjects.shape != (n_images,) or subjects.dtype.kind not in "iu":
        raise ValueError(
            f"subjects has shape {subjects.shape} and type {subjects.dtype}; give one integer for "
            f"each of the {n_images} images."
        )
    if np.any((subjects < 0) | (subjects >= n_subjects)):
        raise ValueError(
            f"subjects holds {sorted(set(subjects.tolist()))}, but fit saw {n_subjects} subjects, "
            "numbered from 0; give these, or None."
        )
    return subjects


def _per_trial(name: str, values: Any, n_trials: int, kinds: str | None = None) -> np.ndarray:
    """Return one value per trial, or complain."""
    values = np.asarray(values)
    if values.shape != (n_trials,) or (kinds and values.dtype.kind not in kinds):
        raise ValueError(
            f"{name} has shape {values.shape} and type {values.dtype}; give one value for each of "
            f"the {n_trials} trials."
        )
    return values
