"""Every image file is opened and decoded once in a call, however often it is asked for."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from mne_img2brain import (
    ClipEmbedder,
    DiffusionRegressor,
    GaborEmbedder,
    ImageToBrainEncoder,
    evaluate,
)
from mne_img2brain.datasets import simulate_epochs, simulate_images
from mne_img2brain.stimulus import images as stimulus_images

N_TRAINING, N_IMAGES = 12, 20


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Images as files, in a folder each for training and test, and trials of all of them."""
    folder = tmp_path_factory.mktemp("images")
    images, _ = simulate_images(N_IMAGES, size=32, random_state=0)
    epochs, _ = simulate_epochs(images, n_trials=3, sfreq=25.0, snr=5.0, random_state=0)
    paths = []
    for number, image in enumerate(images):
        path = folder / ("training" if number < N_TRAINING else "test") / f"{number:02}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path)
        paths.append(str(path))
    epochs.metadata["file"] = [paths[i] for i in epochs.metadata["image_id"]]
    return folder, paths, epochs


@pytest.fixture
def opened(monkeypatch):
    """Count how often each file was opened."""
    counts = Counter()
    original = Image.open

    def count(path, *args, **kwargs):
        counts[str(path)] += 1
        return original(path, *args, **kwargs)

    monkeypatch.setattr(Image, "open", count)
    return counts


def take(counts):
    """Return the counts so far, and begin again."""
    found = dict(counts)
    counts.clear()
    return found


@pytest.fixture(params=["gabor", "clip"])
def embedder(request, tmp_path):
    if request.param == "gabor":
        return GaborEmbedder(size=32, n_scales=2)
    tiny_clip = request.getfixturevalue("tiny_clip")
    return ClipEmbedder(
        tiny_clip,
        captioner=lambda images: [f"an image {np.asarray(i).mean():.0f}" for i in images],
        device="cpu",
        cache_dir=tmp_path,
    )


def test_each_image_file_is_decoded_once_a_call(shown, embedder, opened):
    folder, paths, epochs = shown
    image_id = epochs.metadata["image_id"].to_numpy()
    training, test = epochs[image_id < N_TRAINING], epochs[image_id >= N_TRAINING]
    test_ids = image_id[image_id >= N_TRAINING] - N_TRAINING
    ours = dict.fromkeys(paths[:N_TRAINING], 1)
    others = dict.fromkeys(paths[N_TRAINING:], 1)
    regressor = DiffusionRegressor(max_iter=0, random_state=0)

    encoder = ImageToBrainEncoder(embedder, regressor).fit("file", training)
    assert take(opened) == ours
    encoder.fit(folder / "training", training, image_ids="image_id")
    assert take(opened) == ours
    encoder.predict(paths[N_TRAINING:] * 2)
    assert take(opened) == others
    encoder.sample(folder / "test", 2, random_state=0)
    assert take(opened) == others
    encoder.predict_power(paths[N_TRAINING:], [8.0], n_draws=2)
    assert take(opened) == others
    encoder.score("file", test)
    assert take(opened) == others
    evaluate(
        {"one": encoder, "again": encoder},
        folder / "test",
        test,
        image_ids=test_ids,
        n_draws=2,
        n_bootstrap=10,
        n_splits=5,
        random_state=0,
    )
    assert take(opened) == others


def test_what_is_held_is_bounded(shown, opened, monkeypatch):
    monkeypatch.setattr(stimulus_images, "_HELD_BYTES", 3 * 4 * 32 * 32)
    _, paths, _ = shown
    images = stimulus_images.image_list(paths[:5])
    for _ in range(2):
        for index in range(5):
            images.rgb(index)
    assert sorted(take(opened).values()) == [1, 1, 1, 2, 2]
    images.take([0, 4]).rgb(0)  # what was taken holds the same
    assert not opened
