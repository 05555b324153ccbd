"""The recordings of an experiment: subjects, images, averages to learn from, test trials."""

import re
from pathlib import Path

import mne
import numpy as np

from .._log import logger
from .._types import PathLike
from ..datasets import things_eeg2, things_meg
from ..datasets.things_shared import find_files
from .settings import Scale

DATASETS = {"things-eeg2": things_eeg2, "things-meg": things_meg}
# Files by which a subject is found, and how a subject is called.
_FILES = {
    "things-eeg2": ("preprocessed_eeg_*.npy", "train.pt", "train.npy", "raw_eeg_training.npy"),
    "things-meg": ("preprocessed_P*-epo.fif", "preprocessed_meg_*.pkl"),
}
_NAMES = {"things-eeg2": "sub-{:02d}", "things-meg": "P{}"}


class Recordings:
    """A data set on disk, read subject by subject.

    reader: more arguments of the reader, for example ``{"resample": 100}``.
    """

    def __init__(
        self, dataset: str, path: PathLike, scale: Scale, reader: dict | None = None
    ) -> None:
        if dataset not in DATASETS:
            raise ValueError(f"dataset={dataset!r}; give one of {', '.join(DATASETS)}.")
        self.dataset, self.path, self.scale = dataset, Path(path), scale
        self.reader = dict(reader or {})
        fixed = {"path", "subject", "split", "average"} & set(self.reader)
        if fixed:
            raise ValueError(f"reader gives {sorted(fixed)}, which reproduce chooses itself.")

    def subjects(self, wanted: list | None = None) -> list[str]:
        """Find the subjects."""
        if not self.path.is_dir():
            raise FileNotFoundError(f"data_dir={str(self.path)!r} is not a folder.")
        files = find_files(self.path, _FILES[self.dataset], depth=4)
        numbers = set()
        for file in files:
            match = re.search(r"preprocessed_P(\d+)", file.name)
            match = match or re.search(r"sub-(\d+)", "/".join(file.parts[::-1]))
            numbers |= {int(match[1])} if match else set()
        there = [_NAMES[self.dataset].format(number) for number in sorted(numbers)]
        if not there:
            # the reader knows what to say of a folder without recordings
            self._load(1, "train", average=False)
        if wanted is None:
            return there
        names = [self._name(one) for one in wanted]
        missing = [name for name in names if name not in there]
        if missing or not names:
            raise FileNotFoundError(
                f"subjects={list(wanted)}: {', '.join(missing) or 'nobody'} is not in {self.path}; "
                f"there is {', '.join(there)}."
            )
        return list(dict.fromkeys(names))

    def _name(self, subject: int | str) -> str:
        """Return the name of a subject given as a number or in any spelling."""
        match = re.fullmatch(r"(?:sub-?|P)?0*(\d+)", str(subject))
        if match is None:
            raise ValueError(f"subject {subject!r}; give a number or {_NAMES[self.dataset]!r}.")
        return _NAMES[self.dataset].format(int(match[1]))

    def _load(
        self, subject: int | str, split: str, *, average: bool
    ) -> tuple[list[str], mne.BaseEpochs]:
        module = DATASETS[self.dataset]
        return module.load(self.path, subject, split, average=average, **self.reader)

    def images(self, subject: str, split: str) -> list[str]:
        """List the images of a subject without reading the recording."""
        images, epochs = self._load(subject, split, average=False)
        image_id = epochs.metadata["image_id"].to_numpy()
        _, first = np.unique(image_id, return_index=True)
        return [images[row] for row in first]

    def chosen(self, n_images: int) -> np.ndarray:
        """Choose training images, evenly spaced: concepts are neighbours, so that all are in."""
        wanted = min(self.scale.n_images or n_images, n_images)
        return np.unique(np.linspace(0, n_images - 1, wanted).round().astype(int))

    def training(self, subject: str) -> mne.BaseEpochs:
        """Read the averages that a subject's models learn from."""
        _, epochs = self._load(subject, "train", average=True)
        rows = self.chosen(len(epochs))
        return epochs if len(rows) == len(epochs) else epochs[rows]

    def test(self, subject: str) -> mne.BaseEpochs:
        """Read the single trials that predictions are judged by."""
        _, epochs = self._load(subject, "test", average=False)
        if self.scale.n_repetitions is not None:
            kept = epochs.metadata["repetition"].to_numpy() < self.scale.n_repetitions
            epochs = epochs[np.flatnonzero(kept)]
        return epochs.load_data()

    def same_images(self, subjects: list[str]) -> dict:
        """List the images, once it is sure that all subjects saw the same."""
        paths = {}
        for split in ("train", "test"):
            paths[split] = self.images(subjects[0], split)
            names = [Path(image).name for image in paths[split]]
            for subject in subjects[1:]:
                others = [Path(image).name for image in self.images(subject, split)]
                if others != names:
                    raise ValueError(
                        f"{subjects[0]} and {subject} saw different {split} images "
                        f"({len(names)} and {len(others)}); give subjects= of one set of images."
                    )
        logger.info(
            "%s: %d subjects, %d training and %d test images.",
            self.dataset, len(subjects), len(paths["train"]), len(paths["test"]),
        )  # fmt: skip
        return paths
