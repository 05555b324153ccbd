"""Gabor energies on gratings, whose orientation, frequency and place are known."""

import tracemalloc

import numpy as np
import pytest
from sklearn.base import clone

from mne_img2brain import GaborEmbedder, _lazy
from mne_img2brain.encoder.saving import pack, unpack


def grating(frequency, angle, size=96):
    """A grating of so many cycles per image, as uint8 RGB."""
    y, x = np.mgrid[:size, :size] / size
    wave = np.sin(2 * np.pi * frequency * (x * np.cos(angle) + y * np.sin(angle)))
    return np.repeat(np.round(127.5 + 100 * wave)[..., None], 3, axis=2).astype(np.uint8)


def energies(embedder, image):
    tokens = embedder.fit([image]).transform([image])[0]
    n = embedder.n_scales * embedder.n_orientations
    return tokens[:, :n].reshape(-1, embedder.n_scales, embedder.n_orientations)


def test_the_filter_of_the_grating_answers_most():
    embedder = GaborEmbedder()
    for scale, frequency in enumerate(embedder.frequencies()):
        for orientation, angle in enumerate(embedder.orientations()):
            whole = energies(embedder, grating(frequency, angle))[0]
            assert np.unravel_index(whole.argmax(), whole.shape) == (scale, orientation)


def test_energy_does_not_depend_on_phase():
    embedder = GaborEmbedder()
    image = grating(12, 0)
    moved = np.roll(image, 2, axis=1)  # a quarter of the period of 8 pixels
    a, b = (energies(embedder, p)[0, 1, 0] for p in (image, moved))
    assert abs(a - b) < 1e-3


def test_the_cell_of_the_grating_answers():
    image = np.full((96, 96, 3), 127, np.uint8)
    image[48:72, 24:48] = grating(12, 0)[48:72, 24:48]
    cells = energies(GaborEmbedder(), image)[1:, 1, 0].reshape(4, 4)
    assert np.unravel_index(cells.argmax(), (4, 4)) == (2, 1)


def test_luminance_and_colour():
    embedder = GaborEmbedder()
    red = np.zeros((50, 40, 3), np.uint8)
    red[..., 0] = 255
    token = embedder.fit([red]).transform([red])[0, 0]
    # luminance of sRGB's red primary; red - green; (red + green) / 2 - blue; no contrast
    np.testing.assert_allclose(token[-6:], [0.2126, 1, 0.5, 0, 0, 0], atol=1e-3)
    assert embedder.transform([red, red]).shape == (2, 17, 38)
    assert clone(embedder).get_params() == embedder.get_params()


def test_processes_make_the_same_tokens(rng, tmp_path, monkeypatch):
    images = rng.integers(0, 256, (100, 40, 50, 3), np.uint8)
    alone = GaborEmbedder(size=32, n_scales=2).fit_transform(images)
    monkeypatch.setattr(GaborEmbedder, "_filters", None)  # here, where nothing is computed
    together = GaborEmbedder(size=32, n_scales=2, n_jobs=2).fit_transform(images)
    np.testing.assert_array_equal(together, alone)
    assert len(np.unique(alone[:, 0, 0])) == 100
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(ValueError, match=r"images\[50\], .*a.png.* not an image"):
        GaborEmbedder(n_jobs=2).transform([*images[:50], tmp_path / "a.png", *images[50:]])


def test_tokens_of_many_images_are_not_held_in_memory(rng, monkeypatch):
    monkeypatch.setattr(_lazy, "_LARGE", 2**20)
    images = rng.integers(0, 256, (300, 8, 8, 3), np.uint8)
    embedder = GaborEmbedder(size=32, n_scales=1, n_orientations=2, grid=32).fit(images)
    tracemalloc.start()
    tokens = embedder.transform(images)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.4 * tokens.nbytes


def test_processes_are_not_saved():
    embedder = GaborEmbedder(size=32, n_scales=2, n_jobs=2).fit([])
    packed = pack(embedder, {})
    assert unpack(packed, {}).get_params() == {**embedder.get_params(), "n_jobs": None}
    packed["state"] |= {"n_features_out_": 22}  # of before processes
    assert unpack(packed, {}).size == 32


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"size": 0}, "size=0"),
        ({"n_jobs": 0}, "n_jobs=0; give an integer >= 1 or an integer from -1000 to -1 or None"),
        ({"grid": 5}, "multiple of grid=5"),
        ({"n_scales": 9}, "n_scales=9 is too many"),
    ],
)
def test_wrong_parameters(parameters, match):
    with pytest.raises(ValueError, match=match):
        GaborEmbedder(**parameters).fit(None)
