"""Real recordings as MNE objects, and the images that go with them."""

import mne
import numpy as np


def n170(folder, subject):
    """Faces and houses: epochs of one subject, and the recording and category of each trial.

    Which image a trial showed was not logged, only its category: every trial gets one of the
    twelve images of its category, in turn.
    """
    with np.load(folder / "n170" / "n170_epochs.npz") as data:
        of_subject = data["rec_subject"][data["rec"]] == subject
        trials = data["X"][of_subject].astype(float) * 1e-6
        face, recording = data["y"][of_subject], data["rec"][of_subject]
        times, names = data["times"], data["ch"].tolist()
    info = mne.create_info(names, 256.0, "eeg").set_montage("easycap-M1")
    codes = face + 1
    events = np.column_stack([np.arange(len(codes)), np.zeros_like(codes), codes])
    epochs = mne.EpochsArray(
        trials, info, events, tmin=times[0], event_id={"house": 1, "face": 2}, verbose="error"
    )
    images = [
        *sorted((folder / "n170" / "houses").glob("*.jpg")),
        *sorted((folder / "n170" / "faces").glob("*.jpg")),
    ]
    image_ids = np.empty(len(codes), int)
    for category in (0, 1):
        of_category = np.flatnonzero(face == category)
        image_ids[of_category] = 12 * category + np.arange(len(of_category)) % 12
    return images, epochs, image_ids, face, recording


def checkerboards(size=128):
    """Images of a checkerboard left and right of fixation, on grey."""
    row, column = np.mgrid[:size, :size]
    board = np.where((row // 8 + column // 8) % 2, 255, 0).astype(np.uint8)
    images = []
    for left in (True, False):
        image = np.full((size, size, 3), 128, np.uint8)
        half = column < size // 2 - 8 if left else column >= size // 2 + 8
        image[half] = board[half, None]
        images.append(image)
    return images


def meg_sample(folder):
    """Visual trials of MNE's sample data: planar gradiometers, checkerboard left 0 or right 1."""
    with np.load(folder / "meg_sample" / "meg_sample.npz") as data:
        conditions = data["cond"].astype(str)
        visual = np.char.find(np.char.lower(conditions), "vis") >= 0
        right = np.char.find(np.char.lower(conditions[visual]), "right") >= 0
        trials, times = data["X"][visual].astype(float), data["times"]
        names = data["ch"].tolist()
    info = mne.channels.read_meg_canonical_info("neuromag")
    canonical = [name.replace(" ", "") for name in info["ch_names"]]
    positions = {name: i for i, name in enumerate(canonical)}
    info = mne.pick_info(info, [positions[name.replace(" ", "")] for name in names])
    with info._unlock():
        info["sfreq"] = 1 / (times[1] - times[0])
        info["projs"] = []
    events = np.column_stack([np.arange(len(right)), np.zeros(len(right), int), right + 1])
    epochs = mne.EpochsArray(
        trials, info, events, tmin=times[0], event_id={"left": 1, "right": 2}, verbose="error"
    )
    return epochs, right.astype(int)


def semireal(folder, split):
    """Tokens of photographs, epochs, and the photograph of each trial."""
    with np.load(folder / "semireal" / "semireal.npz") as data:
        tokens = data[f"{split}_tokens"].astype(np.float32)
        trials = data[f"{split}_trials"].astype(float) * 1e-6
        names, times = data["ch_names"].tolist(), data["times"]
    n_images, n_trials = trials.shape[:2]
    info = mne.create_info(names, 1 / (times[1] - times[0]), "eeg")
    info.set_montage("easycap-M1")
    epochs = mne.EpochsArray(
        trials.reshape(-1, *trials.shape[2:]), info, tmin=times[0], verbose="error"
    )
    return tokens, epochs, np.repeat(np.arange(n_images), n_trials)
