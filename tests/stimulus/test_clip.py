"""CLIP tokens and captions, on tiny models through the real loading code."""

import logging
import pickle
import tracemalloc

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.base import clone

from mne_img2brain import ClipEmbedder, _lazy
from mne_img2brain.encoder.saving import is_savable, pack, unpack
from mne_img2brain.stimulus import clip_score
from mne_img2brain.stimulus.captions import Captioner
from mne_img2brain.stimulus.clip_tokens import ClipModel
from mne_img2brain.stimulus.stimuli import present

WORDS = ["a dog", "a red cat on a mat", "a dog", "the sea", "a house"]


@pytest.fixture
def embedder(tiny_clip, tmp_path):
    return ClipEmbedder(tiny_clip, captioner=None, device="cpu", cache_dir=tmp_path)


@pytest.fixture
def counted(monkeypatch):
    """Count the images that the towers see."""
    seen = []
    image_tokens = ClipModel.image_tokens

    def count(self, images):
        seen.extend(images)
        return image_tokens(self, images)

    monkeypatch.setattr(ClipModel, "image_tokens", count)
    return seen


def test_tokens_are_those_of_open_clip(embedder, shown_images):
    tokens = embedder.transform(shown_images, captions=WORDS)
    clip = embedder._clip()
    batch = torch.stack([clip.preprocess(Image.fromarray(p)) for p in shown_images])
    with torch.no_grad():
        images = clip.model.encode_image(batch).numpy()
        texts = clip.model.encode_text(clip.tokenizer(WORDS)).numpy()
        # every patch through the last norm and the projection of the class token
        visual = clip.model.visual
        hidden = visual._embeds(batch)
        hidden = visual.ln_post(visual.transformer(hidden)) @ visual.proj
    n_image = 1 + 16  # 32 / 8 squared patches
    assert tokens.dtype == np.float32
    assert_allclose(tokens[:, 0], images, rtol=2e-3, atol=2e-3)  # kept in half precision
    assert_allclose(tokens[:, :n_image], hidden.numpy(), rtol=2e-3, atol=2e-3)
    for row, caption in enumerate(WORDS):
        real = tokens[row, n_image:][~np.isnan(tokens[row, n_image:, 0])]
        # as many tokens as the caption has, and its end; the last is the whole caption's
        assert len(real) == int(clip.tokenizer([caption]).argmax()) or len(real) > 1
        assert_allclose(real[-1], texts[row], rtol=2e-3, atol=2e-3)
    assert_array_equal(tokens[0, n_image:], embedder.transform(shown_images, WORDS)[0, n_image:])


def test_without_captions_there_are_image_tokens_only(embedder, shown_images):
    tokens = embedder.fit_transform(shown_images)
    assert tokens.shape == (5, 17, 16)
    assert np.isfinite(tokens).all()
    assert embedder.captions(shown_images) is None


def test_tokens_of_many_images_are_not_held_in_memory(embedder, rng, monkeypatch):
    def many(self, images):
        return rng.standard_normal((len(images), 1000, 64), np.float32)

    monkeypatch.setattr(ClipModel, "image_tokens", many)
    monkeypatch.setattr(_lazy, "_LARGE", 2**20)
    images = rng.integers(0, 255, (200, 8, 8, 3), np.uint8)
    embedder.fit(images)._clip()
    found = []
    for _ in range(2):  # computed, and from the cache
        tracemalloc.start()
        found.append(embedder.transform(images))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 0.3 * found[-1].nbytes
    assert_array_equal(*found)


def test_each_image_is_seen_once_and_kept(embedder, shown_images, counted):
    first = embedder.transform([*shown_images, *shown_images])
    assert len(counted) == 5
    assert_array_equal(first[:5], first[5:])
    again = clone(embedder).transform(shown_images[:3])
    assert len(counted) == 5
    assert_array_equal(again, first[:3])


def test_other_weights_are_another_cache(embedder, tiny_clip, shown_images, counted, tmp_path):
    import shutil

    embedder.transform(shown_images)
    folder = tmp_path / "other"
    shutil.copytree(tiny_clip.removeprefix("local-dir:"), folder)
    config = folder / "open_clip_config.json"
    config.write_text(config.read_text() + " ")
    other = clone(embedder).set_params(model=f"local-dir:{folder}")
    other.transform(shown_images)
    assert len(counted) == 10


@pytest.mark.parametrize("damage", ["cut off", "flipped", "zeroed"])
def test_what_is_damaged_is_computed_again(embedder, shown_images, counted, tmp_path, damage):
    expected = embedder.transform(shown_images)
    (path,) = tmp_path.rglob("arrays.bin")
    content = bytearray(path.read_bytes())
    size = len(content) // 5  # of one image
    if damage == "cut off":
        del content[-size // 2 :]
    elif damage == "flipped":
        content[2 * size + 40] ^= 16
    else:
        content[:size] = bytes(size)
    path.write_bytes(content)
    assert_array_equal(embedder.transform(shown_images), expected)
    assert len(counted) == 6
    assert_array_equal(clone(embedder).transform(shown_images), expected)
    assert len(counted) == 6


def test_captions_are_written_once(tiny_clip, tiny_captioner, shown_images, tmp_path, monkeypatch):
    embedder = ClipEmbedder(
        tiny_clip, captioner=tiny_captioner, max_new_tokens=4, batch_size=2, device="cpu",
        cache_dir=tmp_path,
    )  # fmt: skip
    captions = embedder.captions([*shown_images, shown_images[0]])
    assert len(captions) == 6
    assert all(isinstance(caption, str) for caption in captions)
    assert captions[5] == captions[0]
    tokens = embedder.transform(shown_images)
    assert tokens.shape[1] > 17

    def never(self, images):
        raise AssertionError("captions should come from the cache")

    monkeypatch.setattr(Captioner, "__call__", never)
    assert clone(embedder).captions(shown_images) == captions[:5]
    with pytest.raises(AssertionError):
        clone(embedder).set_params(prompt="What is it?").captions(shown_images)


def test_processes_make_the_same_tokens_and_captions(
    tiny_clip, tiny_captioner, shown_images, tmp_path, monkeypatch
):
    given = {"captioner": tiny_captioner, "max_new_tokens": 4, "batch_size": 1, "device": "cpu"}
    alone = ClipEmbedder(tiny_clip, **given, cache_dir=tmp_path / "alone")
    captions, tokens = alone.captions(shown_images), alone.transform(shown_images)
    together = ClipEmbedder(tiny_clip, **given, cache_dir=tmp_path / "together", n_jobs=2)
    monkeypatch.setattr(Captioner, "load", None)  # here, where no image is looked at
    monkeypatch.setattr(together._clip(), "preprocess", None)
    assert together.captions(shown_images) == captions
    assert_array_equal(together.transform(shown_images), tokens)


def test_a_process_loads_the_weights_once(tiny_clip, tiny_captioner):
    for model in (ClipModel(tiny_clip, None, "cpu"), Captioner(tiny_captioner, device="cpu")):
        sent = pickle.dumps(model)
        assert len(sent) < 1000
        assert pickle.loads(sent) is pickle.loads(sent) is not model


def test_batches_do_not_change_captions(tiny_captioner, shown_images):
    images = [Image.fromarray(p) for p in shown_images]
    one, many = (
        Captioner(tiny_captioner, max_new_tokens=6, batch_size=n, device="cpu")(images)
        for n in (1, 5)
    )
    assert one == many


def test_a_callable_captioner(tiny_clip, shown_images, tmp_path):
    def describe(images):
        return [f"{image.size[0]} pixels wide" for image in images]

    embedder = ClipEmbedder(tiny_clip, captioner=describe, device="cpu", cache_dir=tmp_path)
    assert embedder.captions(shown_images) == ["50 pixels wide"] * 5
    assert embedder.transform(shown_images).shape[1] > 17
    with pytest.raises(ValueError, match="one str for each"):
        clone(embedder).set_params(captioner=lambda images: ["x"]).captions(shown_images)


def test_a_captioner_is_asked_once_about_an_image(tiny_clip, shown_images, tmp_path):
    """What is kept is what was embedded, also where the captioner never says the same twice."""
    asked = []

    def describe(images):
        asked.extend(images)
        return [f"{len(asked)} and {i}" for i in range(len(images))]

    embedder = ClipEmbedder(tiny_clip, captioner=describe, device="cpu", cache_dir=tmp_path)
    stimuli = present([*shown_images, shown_images[1]], embedder)
    assert len(asked) == 5
    assert stimuli.captions[5] == stimuli.captions[1]
    given = embedder.transform(shown_images, captions=stimuli.captions[:5])
    assert_array_equal(stimuli.tokens, given)
    again = present(shown_images[3:], embedder)
    assert again.captions == stimuli.captions[3:5]
    assert len(asked) == 5


def test_captions_written_are_given_to_any_embedder(shown_images):
    class Moody:
        n_written = 0

        def captions(self, images):
            self.n_written += 1
            return [str(self.n_written)] * len(images)

        def transform(self, images, captions=None):
            captions = self.captions(images) if captions is None else captions
            return np.array([[float(caption)] for caption in captions])

    stimuli = present(shown_images, Moody())
    assert stimuli.captions == ["1"] * 5
    assert_array_equal(stimuli.tokens, 1.0)


def test_a_cache_that_cannot_be_written_is_a_warning(embedder, shown_images, tmp_path):
    expected = embedder.transform(shown_images)
    (tmp_path / "file").write_text("no folder")
    with pytest.warns(RuntimeWarning, match="Give cache_dir= a folder of your own"):
        tokens = embedder.set_params(cache_dir=tmp_path / "file").transform(shown_images)
    assert_array_equal(tokens, expected)


def test_the_log_says_what_will_happen(embedder, shown_images, caplog):
    import mne

    with mne.utils.use_log_level("INFO"), caplog.at_level(logging.INFO, logger="mne"):
        embedder.set_params(batch_size=2).transform(shown_images)
    assert "5 of 5 distinct images are new" in caplog.text
    assert "to go" in caplog.text
    assert "GaborEmbedder works without" in caplog.text


def test_the_wrong_activation_is_an_error():
    with pytest.raises(ValueError, match="ViT-L-14-quickgelu"):
        ClipEmbedder("ViT-L-14", "openai").fit(None)


def test_wrong_parameters_are_named(embedder, shown_images):
    with pytest.raises(ValueError, match="'ViT-X' is not known"):
        ClipEmbedder("ViT-X").fit(None)
    with pytest.raises(ValueError, match="pretrained='mine' is not known"):
        ClipEmbedder(pretrained="mine").fit(None)
    with pytest.raises(ValueError, match="captioner=3"):
        clone(embedder).set_params(captioner=3).fit(None)
    with pytest.raises(ValueError, match="list of 5 str"):
        embedder.transform(shown_images, captions=["one"])


def test_weights_that_are_not_there(shown_images, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    embedder = ClipEmbedder(
        f"local-dir:{tmp_path}", captioner=None, device="cpu", cache_dir=tmp_path
    )
    with pytest.raises(OSError, match="GaborEmbedder works without"):
        embedder.transform(shown_images)
    with pytest.raises(OSError, match="captioner=None"):
        Captioner(str(tmp_path / "nobody"), device="cpu")([Image.new("RGB", (30, 30))])


def test_saved_are_the_parameters(embedder):
    arrays = {}
    embedder._settings()
    back = unpack(pack(embedder, arrays), arrays)
    assert {k: str(v) for k, v in back.get_params().items()} == {
        k: str(v) for k, v in embedder.get_params().items()
    }
    assert not is_savable(clone(embedder).set_params(captioner=len))
    packed = pack(clone(embedder).set_params(n_jobs=2), {})
    assert unpack(packed, {}).n_jobs is None
    packed["state"]["n_jobs"] = 1000
    with pytest.raises(TypeError, match="n_jobs"):
        unpack(packed, {})


def test_clip_score_is_the_cosine(tiny_clip, shown_images):
    scores = clip_score(shown_images, WORDS, model=tiny_clip, device="cpu", batch_size=2)
    clip = ClipModel(tiny_clip, None, "cpu")
    batch = torch.stack([clip.preprocess(Image.fromarray(p)) for p in shown_images])
    with torch.no_grad():
        seen = clip.model.encode_image(batch, normalize=True)
        read = clip.model.encode_text(clip.tokenizer(WORDS), normalize=True)
    expected = 2.5 * np.maximum((seen * read).sum(dim=1).numpy(), 0)  # Hessel et al., eq. 1
    assert_allclose(scores, expected, atol=1e-5)
    with pytest.raises(ValueError, match="1 captions for 5 images"):
        clip_score(shown_images, ["x"], model=tiny_clip)


@pytest.mark.slow
def test_a_full_size_model_gives_tokens_of_the_right_shape(tmp_path):
    """ViT-L/14 with random weights, two of its layers: 1 + 16 x 16 image tokens of width 768."""
    import json

    import open_clip
    from safetensors.torch import save_file

    config = open_clip.get_model_config("ViT-L-14-quickgelu")
    config["vision_cfg"]["layers"] = config["text_cfg"]["layers"] = 2
    with torch.random.fork_rng(devices=[]):
        model = open_clip.CLIP(**config)
    (tmp_path / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": {}})
    )
    save_file(
        {k: v.contiguous() for k, v in model.state_dict().items()},
        tmp_path / "open_clip_model.safetensors",
    )
    del model
    embedder = ClipEmbedder(
        f"local-dir:{tmp_path}", captioner=None, device="cpu", cache_dir=tmp_path
    )
    shown = np.zeros((1, 300, 200, 3), np.uint8)
    tokens = embedder.transform(shown, captions=["a photograph of nothing"])
    assert tokens.shape == (1, 257 + 5, 768)  # four words and the end token
    assert np.isfinite(tokens).all()


@pytest.mark.network
def test_the_default_weights_tell_red_from_blue(tmp_path):
    """The real ViT-L/14: a red image is better described as red than as blue."""
    red = np.zeros((1, 224, 224, 3), np.uint8)
    red[..., 0] = 255
    right, wrong = (clip_score(red, [f"a {c} square"])[0] for c in ("red", "blue"))
    assert right > wrong
