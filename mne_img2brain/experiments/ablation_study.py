"""The data of an ablation: embedded once, split once."""

import dataclasses
import hashlib
import inspect
from typing import Any

import mne
import numpy as np
import pandas as pd
from sklearn.base import clone

from .._types import Embedder, ImageIds, Images, Regressor, Responses
from ..encoder import ImageToBrainEncoder
from ..encoder.fitting import new_embedder
from ..encoder.trial_labels import pair_trials, trial_groups
from ..epochs import read_recording
from ..epochs.regions import LOBES, assign_regions, lobe_of
from ..evaluation import material
from ..stimulus.stimuli import present
from ..trials.splits import held_out_groups, merge_groups
from .settings import fingerprint


@dataclasses.dataclass(frozen=True)
class Study:
    """Images and trials, and which are for training and which for test."""

    tokens: np.ndarray  # (n_images, n_tokens, n_features): of images and their captions
    n_image_tokens: int
    epochs: mne.BaseEpochs
    image: np.ndarray  # (n_trials,): the row of tokens of each trial
    group: np.ndarray  # (n_trials,): what splits keep together
    test: np.ndarray  # (n_trials,): which trials are for test
    lobes: dict
    fingerprint: dict  # what tells these data from others
    split: pd.DataFrame  # which images are for training and which for test

    def fit(
        self, regressor: Regressor, captions: bool = True, sensors: str | None = None
    ) -> ImageToBrainEncoder:
        """Fit an encoder to the training trials of all sensors, or of those over a lobe."""
        tokens, epochs, image, group = self._part(~self.test, captions)
        encoder = ImageToBrainEncoder(None, regressor, picks=self.lobes.get(sensors))
        return encoder.fit(tokens, epochs, image_ids=image, groups=group)

    def _part(
        self, mask: np.ndarray, captions: bool
    ) -> tuple[np.ndarray, Any, np.ndarray, np.ndarray]:
        """Return tokens, epochs, the image and the group of some trials."""
        rows = np.flatnonzero(mask)
        used, image = np.unique(self.image[rows], return_inverse=True)
        tokens = self.tokens if captions else self.tokens[:, : self.n_image_tokens]
        return tokens[used], self.epochs[rows], image, self.group[rows]

    def recorded(self, encoder: ImageToBrainEncoder, captions: bool) -> material.Recorded:
        """Gather the test trials of an encoder's sensors by image."""
        tokens, epochs, image, _ = self._part(self.test, captions)
        encoders = {"row": encoder}
        recorded = material.gather(encoders, tokens, epochs, image)
        material.refuse_training_images(encoders, recorded, False)
        return recorded


def prepare(
    images: Images, epochs: Responses, image_ids: ImageIds, captions: list[str] | str | None,
    groups: np.ndarray | str | None, embedder: Embedder | None, n_image_tokens: int | None,
    test_fraction: float, seed: int,
) -> Study:  # fmt: skip
    """Pair images with trials, embed them once, and hold some out."""
    recording = read_recording(epochs)
    subjects = sorted(set(map(str, recording.subject)))
    if len(subjects) > 1:
        raise ValueError(
            f"epochs holds {len(subjects)} subjects ({', '.join(subjects[:3])} ...); ablate one "
            "at a time: epochs[epochs.metadata['subject'] == ...]."
        )
    images, row, captions = pair_trials(recording, images, image_ids, captions)
    embedder = new_embedder(ImageToBrainEncoder(embedder), images)
    stimuli = present(images, embedder, captions)
    image = stimuli.index[row]
    tokens = stimuli.tokens
    # the same image may have been given many times, or with several captions
    _, image_idx = np.unique(np.array(stimuli.keys)[row], return_inverse=True)
    if tokens.ndim != 3:
        tokens = tokens.reshape(len(tokens), -1, tokens.shape[-1])
    group = merge_groups(image_idx, trial_groups(recording, groups))
    test = held_out_groups(group, test_fraction, np.random.default_rng(seed))
    n_images, n_test = len(np.unique(image)), len(np.unique(image[test]))
    if n_test < 3:
        raise ValueError(
            f"{n_test} of {n_images} images are for test, and judging needs three; give more "
            "images, or a larger test_fraction."
        )
    if n_image_tokens is None:
        n_image_tokens = count_image_tokens(embedder, images, tokens, stimuli.captions)
    if not 0 < n_image_tokens <= tokens.shape[1]:
        raise ValueError(
            f"n_image_tokens={n_image_tokens}, but an image has {tokens.shape[1]} tokens."
        )
    lobe = lobe_of(assign_regions(recording.info))
    names = np.array(recording.ch_names)
    _, first = np.unique(image, return_index=True)
    return Study(
        tokens=tokens,
        n_image_tokens=int(n_image_tokens),
        epochs=epochs,
        image=image,
        group=group,
        test=test,
        lobes={name: names[lobe == name].tolist() for name in LOBES},
        fingerprint={
            "images": _digest("".join(stimuli.keys[k] for k in row).encode()),
            "tokens": fingerprint(tokens),
            "responses": f"{recording.data.shape}, {_digest(recording.data)}",
            "channels": recording.ch_names,
            "first time (s)": round(recording.tmin, 6),
            "sfreq (Hz)": recording.sfreq,
            "groups": _digest(group),
        },
        split=pd.DataFrame(
            {
                "image": image[first],
                "name": [stimuli.names[k] for k in row[first]],
                "group": group[first],
                "set": np.where(test[first], "test", "train"),
            }
        ),
    )


def _digest(content: bytes | np.ndarray) -> str:
    """Hash an array or bytes."""
    given: Any = content if isinstance(content, bytes) else np.ascontiguousarray(content)
    return hashlib.sha256(given).hexdigest()[:16]


def count_image_tokens(
    embedder: Embedder | None, images: list | np.ndarray, tokens: np.ndarray, captions: object
) -> int:
    """Ask the embedder how many tokens an image has without its caption."""
    if embedder is None or captions is None:
        return tokens.shape[1]
    takes = "captions" in inspect.signature(embedder.transform).parameters
    if not takes or "captioner" not in embedder.get_params(deep=False):
        return tokens.shape[1]
    without = clone(embedder).set_params(captioner=None).fit(images[:1])
    return without.transform(images[:1]).shape[1]
