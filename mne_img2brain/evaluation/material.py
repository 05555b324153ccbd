"""What an evaluation looks at: real trials by image, and what each encoder says of them."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import mne
import numpy as np

from .._log import progress_bar, warn
from .._types import Encoder, ImageIds
from ..epochs import (
    align,
    check_distinct_trials,
    check_like_fit,
    check_times,
    named_images,
    read_recording,
    take_channels,
)
from ..metrics.noise_ceiling import averager, random_halves
from ..stimulus.images import refuse_missing, refuse_unordered
from ..stimulus.near_copies import warn_of_copies
from ..stimulus.stimuli import check_captions, content_keys, indexable, take_images

# Draws are asked for in calls of about this many numbers: 2e7 float64 are 160 MB.
_NUMBERS_PER_CALL = 2e7


@dataclasses.dataclass(frozen=True)
class Recorded:
    """Real trials, gathered by image."""

    images: list | np.ndarray  # the distinct images, or their tokens
    keys: list  # their content hashes
    captions: list | None
    trials: list  # of each image (n_trials, n_channels, n_times), in SI units
    weights: list  # of how many real trials each trial is the average, (n_trials,)
    mean: np.ndarray  # (n_images, n_channels, n_times), weighted by what trials average
    n_averaged: float | None  # of how many real trials each trial is the average, if that is one
    labels: np.ndarray | None  # the class of each image
    info: mne.Info  # of the sensors judged
    times: np.ndarray  # seconds from image onset

    @property
    def sfreq(self) -> float:
        """Sampling rate in Hz."""
        return float(self.info["sfreq"])


def gather(
    encoders: dict[str, Encoder],
    images: list | np.ndarray | str,
    epochs: mne.BaseEpochs | list,
    image_ids: ImageIds = None,
    captions: list[str] | None = None,
    labels: np.ndarray | None = None,
) -> Recorded:
    """Read real trials and put those of one image together."""
    shared = [set(encoder.ch_names_) for encoder in encoders.values()]
    first = next(iter(encoders.values()))
    names = [name for name in first.ch_names_ if all(name in others for others in shared)]
    if not names:
        raise ValueError("The encoders have no sensor in common; evaluate them one at a time.")
    recording = read_recording(epochs, ch_names=names, min_trials=1)
    for name, encoder in encoders.items():
        check_times(recording, encoder.times_, encoder.info_["sfreq"])
        check_like_fit(
            recording, encoder, label="fit" if len(encoders) == 1 else f"fit of {name!r}"
        )
    if len(recording.times) < 2:
        raise ValueError("epochs has one time; judging needs at least two.")
    images = indexable(named_images(recording, images, image_ids))
    row = align(images, recording, image_ids)
    refuse_unordered(labels, "labels")
    if labels is not None:
        if len(labels) != len(images):
            raise ValueError(f"There are {len(labels)} labels for {len(images)} images.")
        if np.ndim(labels) != 1:
            raise ValueError(f"labels has shape {np.shape(labels)}; give one label per image.")
        refuse_missing(labels, "labels", "image")
    if captions is not None:
        captions = check_captions(captions, len(images))
    used, row = np.unique(row, return_inverse=True)
    images = take_images(images, used)
    # The same image given once per trial is one image.
    keys = content_keys(images)
    first_of: dict[str, int] = {}
    distinct = np.array([first_of.setdefault(key, place) for place, key in enumerate(keys)])
    chosen, of_trial = np.unique(distinct[row], return_inverse=True)
    check_distinct_trials(recording, row, lambda: keys)
    data, weight = take_channels(recording, names), recording.n_averaged
    del recording  # which holds all trials again
    good = [c for c in range(len(names)) if np.isfinite(data[:, c]).all()]
    if len(good) < len(names):
        names, data = [names[c] for c in good], data[:, good]
    for what, values in (("labels", labels), ("captions", captions)):
        _check_one_each(what, values, used, distinct)
    by_image = np.split(np.argsort(of_trial, kind="stable"), np.cumsum(np.bincount(of_trial))[:-1])
    trials = [data[members] for members in by_image]
    del data
    weights = [weight[members] for members in by_image]
    mean = [np.average(t, axis=0, weights=w) for t, w in zip(trials, weights, strict=True)]
    if len(trials) < 3:
        raise ValueError(
            f"There are {len(trials)} distinct images; judging differences between images needs "
            "at least three."
        )
    info = mne.pick_info(first.info_, [first.ch_names_.index(name) for name in names])
    return Recorded(
        images=take_images(images, chosen), keys=[keys[place] for place in chosen],
        captions=None if captions is None else [captions[used[place]] for place in chosen],
        trials=trials, weights=weights, mean=np.stack(mean),
        n_averaged=float(weight[0]) if np.all(weight == weight[0]) else None,
        labels=None if labels is None else np.asarray(labels)[used[chosen]], info=info,
        times=np.asarray(first.times_, float),
    )  # fmt: skip


def _check_one_each(
    what: str, values: list | np.ndarray | None, used: np.ndarray, distinct: np.ndarray
) -> None:
    """Raise where an image that was given more than once has different labels or captions."""
    for image, other in zip(used, used[distinct], strict=True):
        if values is not None and values[other] != values[image]:
            raise ValueError(
                f"images[{other}] and images[{image}] are the same image, but their {what} differ "
                f"({values[other]!r} and {values[image]!r}); an image has one."
            )


def refuse_training_images(encoders: dict, recorded: Recorded, allowed: bool) -> None:
    """Raise where an encoder was fitted to images it is to be judged on; warn of near copies."""
    for name, encoder in encoders.items():
        seen = set(getattr(encoder, "training_image_keys_", ()))
        looks = getattr(encoder, "training_looks_", {})
        warn_of_copies(recorded.images, recorded.keys, looks, seen, repr(name))
        positions = [index for index, key in enumerate(recorded.keys) if key in seen]
        if not positions:
            continue
        message = (
            f"{len(positions)} of the {len(recorded.keys)} images (first at position "
            f"{positions[0]} of the distinct ones) were in the fit of {name!r}"
        )
        if not allowed:
            raise ValueError(
                f"{message}: what they score says nothing about new images. Hold images out by "
                "concept, or pass allow_training_images=True."
            )
        warn(f"{message}: what they score says nothing about new images.")


def span(mask: np.ndarray) -> slice:
    """Return a window of time as a slice, which takes no copy."""
    inside = np.flatnonzero(mask)
    return slice(inside[0], inside[-1] + 1)


def half_means(recorded: Recorded, seed: int, n_splits: int = 10) -> Iterator[list[np.ndarray]]:
    """Yield the means of two random halves of every image's trials, two or more of each."""
    rng = np.random.default_rng(seed)
    for _ in range(n_splits):
        halves = random_halves([len(of_image) for of_image in recorded.trials], rng)
        means = [
            np.tensordot(averager(list(half), len(of_image)), of_image, axes=1)
            for of_image, half in zip(recorded.trials, halves, strict=True)
        ]
        yield [*np.stack(means, axis=1)]


def predicted(encoder: Encoder, recorded: Recorded, subject: str | None = None) -> np.ndarray:
    """Return an encoder's expected responses, shape (n_images, n_channels, n_times)."""
    epochs = encoder.predict(recorded.images, **_given(recorded, subject))
    return _data(epochs, recorded)


def draws(
    encoder: Encoder, recorded: Recorded, n_draws: int, random_state: int,
    subject: str | None = None, guidance_scale: float = 1.0, **sampling: Any,
) -> np.ndarray:  # fmt: skip
    """Return an encoder's draws, shape (n_images, n_draws, n_channels, n_times)."""
    n_images, shape = len(recorded.keys), recorded.mean.shape[1:]
    per_call = max(1, int(_NUMBERS_PER_CALL // (n_draws * np.prod(shape))))
    result = np.empty((n_images, n_draws, *shape))
    given = _given(recorded, subject)
    if recorded.n_averaged not in (None, 1.0):
        given["n_averaged"] = int(recorded.n_averaged)
    given |= sampling
    captions = given.pop("captions", None)
    for call, start in enumerate(progress_bar(range(0, n_images, per_call), "Drawing")):
        rows = np.arange(start, min(start + per_call, n_images))
        if captions is not None:
            given["captions"] = [captions[row] for row in rows]
        # The noise of a draw depends on the position in the call: each call has its own seed.
        seed = np.random.SeedSequence(random_state, spawn_key=(call,)).generate_state(1)[0]
        epochs = encoder.sample(
            take_images(recorded.images, rows), n_draws, random_state=int(seed), **given
        )
        result[rows] = _data(epochs, recorded).reshape(len(rows), n_draws, *shape)
    return result


def _given(recorded: Recorded, subject: str | None) -> dict:
    """Return the arguments that only some encoders know."""
    given: dict = {}
    if recorded.captions is not None:
        given["captions"] = recorded.captions
    if subject is not None:
        given["subject"] = subject
    return given


def _data(epochs: mne.BaseEpochs, recorded: Recorded) -> np.ndarray:
    """Return epochs as an array with the sensors that are judged, in their order."""
    rows = [epochs.ch_names.index(name) for name in recorded.info["ch_names"]]
    return epochs.get_data(picks=rows, copy=False)
