"""Checks of the arrays that metrics take."""

import numpy as np


def check_responses(
    y_true: np.ndarray, y_pred: np.ndarray, min_images: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Return recorded and predicted responses as float64, of one shape and finite."""
    y_true, y_pred = np.asarray(y_true, float), np.asarray(y_pred, float)
    if y_true.ndim != 3 or y_true.shape != y_pred.shape:
        raise ValueError(
            f"Recorded responses have shape {y_true.shape}, predicted ones {y_pred.shape}; both "
            "must be (n_images, n_channels, n_times), the same for both."
        )
    if len(y_true) < min_images:
        raise ValueError(f"{len(y_true)} image(s) given; this needs at least {min_images}.")
    for name, y in (("recorded", y_true), ("predicted", y_pred)):
        if not np.isfinite(y).all():
            image, channel, time = np.argwhere(~np.isfinite(y))[0]
            raise ValueError(
                f"The {name} responses are not finite (first at image {image}, channel {channel}, "
                f"time {time}); leave bad channels out."
            )
    return y_true, y_pred


def check_trials(
    trials: list[np.ndarray] | np.ndarray,
    name: str = "trials",
    min_trials: int = 1,
    n_images: int | None = None,
) -> list[np.ndarray]:
    """Return a list with one float64 array (n_trials, n_channels, n_times) for each image."""
    trials = [np.asarray(of_image, float) for of_image in trials]
    if not trials:
        raise ValueError(f"{name} is empty; give the trials of at least one image.")
    if n_images is not None and len(trials) != n_images:
        raise ValueError(f"{name} holds {len(trials)} images, but {n_images} were expected.")
    for index, of_image in enumerate(trials):
        if of_image.ndim != 3 or of_image.shape[1:] != trials[0].shape[1:]:
            raise ValueError(
                f"{name}[{index}] has shape {of_image.shape}; expected (n_trials, n_channels, "
                "n_times) with the same channels and times for every image."
            )
        if len(of_image) < min_trials:
            raise ValueError(
                f"{name}[{index}] holds {len(of_image)} trial(s); this needs at least "
                f"{min_trials} of every image."
            )
        if not np.isfinite(of_image).all():
            raise ValueError(f"{name}[{index}] is not finite; leave bad channels out.")
    return trials


def check_pair(
    draws: list[np.ndarray] | np.ndarray,
    trials: list[np.ndarray] | np.ndarray,
    min_draws: int = 1,
    min_trials: int = 1,
) -> tuple[list, list]:
    """Return draws and real trials of the same images, channels and times."""
    draws = check_trials(draws, "draws", min_draws)
    trials = check_trials(trials, "trials", min_trials, n_images=len(draws))
    if draws[0].shape[1:] != trials[0].shape[1:]:
        raise ValueError(
            f"Draws have {draws[0].shape[1:]} channels and times, real trials "
            f"{trials[0].shape[1:]}; pick the same channels and times of both."
        )
    return draws, trials
