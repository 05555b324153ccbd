"""Simulated recordings in the layouts of THINGS-EEG2 and THINGS-MEG, with images."""

import importlib.util
from pathlib import Path

import mne
import numpy as np
import pandas as pd
from PIL import Image

from mne_img2brain.datasets import simulate_epochs, simulate_images

_FILES = Path(__file__).parents[1] / "datasets" / "things_files.py"


def things_files():
    """Return a copy of the module that writes the layouts, to be changed at will."""
    spec = importlib.util.spec_from_file_location("things_files_of_experiments", _FILES)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_eeg2(
    root, n_subjects=2, n_concepts=12, n_test=6, n_repetitions=6, variant="gifford", snr=0.5
):
    """Write subjects of THINGS-EEG2 who look at simulated images, two of each concept."""
    made = things_files()
    made.TRAIN = {f"{i + 1:05d}_thing{i:03d}": 2 for i in range(n_concepts)}
    made.TEST = [f"{i + 1:05d}_other{i:03d}" for i in range(n_test)]
    n_train = 2 * n_concepts
    images, _ = simulate_images(n_train + n_test, size=48, random_state=1)
    made.write_metadata(root)
    made.write_images(root)
    lists = made.image_metadata()
    for split, folder, some in (
        ("train", "training_images", images[:n_train]),
        ("test", "test_images", images[n_train:]),
    ):
        names = zip(lists[f"{split}_img_concepts"], lists[f"{split}_img_files"], strict=True)
        for (concept, file), image in zip(names, some, strict=True):
            Image.fromarray(image).save(root / folder / concept / file, quality=95)
    names, sfreq, tmax = (
        (made.NAMES_17, 100.0, 0.79) if variant == "gifford" else (made.NAMES_63, 250.0, 0.996)
    )
    info = mne.create_info(names, sfreq, "eeg").set_montage("easycap-M1")
    epochs, _ = simulate_epochs(
        images, n_trials=n_repetitions, n_subjects=n_subjects, info=info, sfreq=sfreq,
        tmin=-0.2, tmax=tmax, snr=snr, random_state=2,
    )  # fmt: skip
    for subject, recording in epochs.items():
        data = _by_image(recording, n_repetitions)
        # MVNN leaves numbers of the order of one
        data = data / data.std()
        if variant != "gifford":
            data = data[..., -250:]
        splits = {"train": data[:n_train, :4], "test": data[n_train:]}
        made.make_data = lambda split, *_, parts=splits: parts[split]
        write = made.write_gifford if variant == "gifford" else made.write_nice
        write(root, subject)


def write_meg(root, n_subjects=2, n_concepts=12, n_test=4, n_repetitions=4, n_sensors=20):
    """Write subjects of THINGS-MEG who look at simulated images, two of each concept."""
    made = things_files()
    made.MEG_CONCEPTS = [f"thing{i:03d}" for i in range(n_concepts)]
    made.MEG_TEST = {name: f"{name}_14s.jpg" for name in made.MEG_CONCEPTS[:n_test]}
    table = made.meg_trials(n_exemplars=2, n_repetitions=n_repetitions)
    shown = sorted(set(table["image_path"]))
    images, _ = simulate_images(len(shown), size=48, random_state=3)
    for path, image in zip(shown, images, strict=True):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(root / path, quality=95)
    helmet = mne.channels.read_meg_canonical_info("ctf275")
    sensors = np.linspace(0, len(helmet["ch_names"]) - 1, n_sensors).astype(int)
    info = mne.pick_info(helmet, sensors, verbose="error")
    epochs, _ = simulate_epochs(
        images, n_trials=n_repetitions, n_subjects=n_subjects, info=info, sfreq=200.0,
        tmin=-0.1, tmax=1.3, snr=0.5, random_state=4,
    )  # fmt: skip
    image = table["image_path"].map(shown.index).to_numpy()
    repetition = pd.Series(image).groupby(image).cumcount().to_numpy() % n_repetitions
    for number, recording in enumerate(epochs.values(), start=1):
        data = _by_image(recording, n_repetitions)[image, repetition]
        data = data / data[..., :20].std(axis=(0, 2), keepdims=True)  # z-scored to baseline
        made.write_meg_fif(root, sensors, subject=number, table=table, responses=data)


def _by_image(epochs, n_repetitions):
    """Sort trials: images x repetitions x channels x times."""
    order = np.lexsort([epochs.metadata["repetition"], epochs.metadata["image_id"]])
    data = epochs.get_data(copy=True)[order]
    return data.reshape(-1, n_repetitions, *data.shape[1:])
