"""Near copies of images are found, and different images are not taken for copies."""

import io

import numpy as np
import pytest
from PIL import Image

from mne_img2brain import GaborEmbedder
from mne_img2brain.datasets import simulate_images
from mne_img2brain.stimulus.near_copies import (
    add_looks,
    looks_in_fit,
    looks_of,
    near_copies,
    warn_of_placeholders,
)
from mne_img2brain.stimulus.stimuli import present


def jpeg(image, quality):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def one_bit(image):
    pixels = np.asarray(image).copy()
    pixels[3, 3, 0] ^= 1
    return Image.fromarray(pixels)


COPIES = {
    "half": lambda image: image.resize((image.width // 2, image.height // 2)),
    "double": lambda image: image.resize((image.width * 2, image.height * 2)),
    "224": lambda image: image.resize((224, 224)),
    "JPEG 75": lambda image: jpeg(image, 75),
    "JPEG 30": lambda image: jpeg(image, 30),
    "one bit": one_bit,
    "grey": lambda image: image.convert("L"),
}


def sets(shared_data):
    yield "simulated", [Image.fromarray(np.asarray(i)) for i in simulate_images(150, size=64)[0]]
    for name in ("images92", "n170"):
        paths = [*(shared_data / name).glob("*.png"), *(shared_data / name).glob("*/*.jpg")]
        yield name, [Image.open(path).convert("RGB") for path in sorted(paths)]


def test_copies_are_found_and_others_are_not(shared_data):
    for name, images in sets(shared_data):
        half = len(images) // 2
        looks, others = looks_of(images[:half]), looks_of(images[half:])
        assert not near_copies(others, looks).any(), name
        for kind, change in COPIES.items():
            copies = [change(image) for image in images[: min(half, 20)]]
            assert near_copies(looks_of(copies), looks).all(), (name, kind)


def test_flat_images_are_no_copies_of_one_another():
    flat = [np.full((20, 20, 3), value, np.uint8) for value in (0, 100, 255)]
    looks = looks_of(flat)
    assert not looks["shown"].any()
    assert not near_copies(looks, looks).any()


def test_tokens_nearly_equal(shared_data):
    rng = np.random.default_rng(0)
    images = next(sets(shared_data))[1]
    gabor = GaborEmbedder().fit(images).transform(images)
    wide = rng.standard_normal((150, 5, 300)) + 3 * rng.standard_normal(300)
    wide[::2, 3:] = np.nan
    for tokens in (gabor, wide, rng.standard_normal((150, 6)).astype(np.float32)):
        looks = looks_of(tokens[:75])
        assert not near_copies(looks_of(tokens[75:]), looks).any()
        spread = np.nanstd(tokens, axis=0)
        near = tokens[:75] + 0.003 * spread * rng.standard_normal(tokens[:75].shape)
        assert near_copies(looks_of(near), looks).all()
        assert near_copies(looks_of(tokens[:75].astype(np.float16).astype(float)), looks).all()
    # Images in fit, their tokens in the test set.
    looks = looks_of(images[:75], gabor[:75])
    assert near_copies(looks_of(gabor[:75]), looks).all()
    # Nothing in common to compare.
    assert not near_copies(looks_of(images[:75]), looks_of(gabor)).any()
    assert not near_copies(looks_of(rng.standard_normal((4, 6))), looks_of(gabor)).any()


def test_low_dimensions_raise_no_false_alarm():
    alarms = 0
    for seed in range(40):
        tokens = np.random.default_rng(seed).standard_normal((230, 2))
        alarms += near_copies(looks_of(tokens[200:]), looks_of(tokens[:200])).any()
    assert alarms <= 3


def test_looks_are_small_and_add_up():
    tokens = np.random.default_rng(0).standard_normal((10, 50, 700))
    images = [np.random.default_rng(k).integers(0, 255, (30, 30, 3)).astype(np.uint8)
              for k in range(10)]  # fmt: skip
    looks = looks_of(images, tokens)
    assert sum(values[0].nbytes for values in looks.values()) < 200
    both = add_looks(looks_of(images[:4], tokens[:4]), looks_of(images[4:], tokens[4:]))
    assert looks.keys() == both.keys()
    for name, values in looks.items():
        np.testing.assert_allclose(both[name], values, rtol=1e-6)
    assert near_copies(looks_of(tokens[4:6]), both).all()


@pytest.mark.parametrize("with_images", [True, False])
def test_score_and_evaluate_warn(tmp_path, with_images):
    import mne
    from sklearn.linear_model import Ridge

    from mne_img2brain import ImageToBrainEncoder, evaluate, read_encoder

    images = [Image.fromarray(np.asarray(i)) for i in simulate_images(40, size=48)[0]]
    tokens = GaborEmbedder().fit(images).transform(images)
    rng = np.random.default_rng(0)
    y = 1e-6 * rng.standard_normal((40, 3, 20))
    epochs = mne.EpochsArray(y, mne.create_info(["O1", "Oz", "O2"], 100.0, "eeg"), verbose=False)
    stimuli = images if with_images else tokens
    encoder = ImageToBrainEncoder(GaborEmbedder(), Ridge()).fit(stimuli[:30], epochs[:30])
    encoder.save(tmp_path / "encoder")
    saved = read_encoder(tmp_path / "encoder")
    if with_images:
        test = [*images[30:], jpeg(images[27], 50)]
    else:
        test = np.concatenate([tokens[30:], tokens[27:28] * (1 + 1e-6)])
    given = epochs[np.r_[30:40, 27]]
    for one in (encoder, saved):
        with pytest.warns(RuntimeWarning, match=r"1 images .first at position 10. are near copies"):
            one.score(test, given)
        with pytest.warns(RuntimeWarning, match=r"near copies of images in the fit of 'encoder'"):
            evaluate(one, test, given, n_draws=0, n_splits=2, n_bootstrap=5)
    encoder.score(stimuli[30:], epochs[30:])
    # Exact copies are said to be so.
    for score in (encoder.score, encoder.score_evoked, saved.score):
        with pytest.warns(RuntimeWarning, match="2 of 12 images were in the fit: their r says"):
            score(stimuli[28:], epochs[28:])


def test_images_that_stand_for_missing_ones(tmp_path):
    paths, photographs = [], simulate_images(14, size=32)[0]
    for number, image in enumerate([*photographs, *np.zeros((3, 32, 32, 3), np.uint8)]):
        paths.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(np.asarray(image)).save(paths[-1])

    def tell(images):
        embedder = GaborEmbedder(size=32, n_scales=1).fit(images)
        stimuli = present(images, embedder)
        warn_of_placeholders(stimuli, looks_in_fit(images, stimuli))

    with pytest.warns(RuntimeWarning, match="3 of 17 images .first at position 14. show one and"):
        tell(paths)
    black = np.zeros((4, 8, 8), np.uint8)
    with pytest.warns(RuntimeWarning, match="4 of 6 images .first at position 2. show one and"):
        tell([*photographs[:2], *black])
    same = "All 4 images are the same, to the last bit"
    tokens = np.ones((4, 2, 3))
    with pytest.warns(RuntimeWarning, match=same):
        tell(list(black))
    with pytest.warns(RuntimeWarning, match=same):
        warn_of_placeholders(present(tokens, None), looks_of(tokens))
    # A blank control in many trials, and colours that differ, are what was shown.
    tell([*paths[:15], *paths[14:15] * 20])
    tell([np.full((8, 8, 3), grey, np.uint8) for grey in range(0, 200, 20)])


def test_tokens_unlike_those_of_the_fit(rng):
    import mne
    from sklearn.linear_model import Ridge

    from mne_img2brain import ImageToBrainEncoder

    tokens = rng.standard_normal((40, 3, 50)) + 1
    y = 1e-6 * rng.standard_normal((30, 3, 20))
    epochs = mne.EpochsArray(y, mne.create_info(["O1", "Oz", "O2"], 100.0, "eeg"), verbose=False)
    encoder = ImageToBrainEncoder(regressor=Ridge()).fit(tokens[:30], epochs)
    # New tokens, also some far out, are what models are for.
    encoder.predict(tokens[30:])
    encoder.predict(tokens[30:] + 3)
    other = np.concatenate([tokens[30:38], 1000 * tokens[38:]])
    for method in (encoder.predict, lambda x: encoder.score(x, epochs[:10])):
        with pytest.warns(RuntimeWarning, match="tokens of 2 of 10 images are up to .* times as"):
            method(other)
