"""Whatever an image comes as, the RGB image a person sees."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_array_equal
from PIL import Image

from mne_img2brain.stimulus.images import (
    check_images,
    image_list,
    image_name,
    load_rgb,
    unique_images,
)


@pytest.fixture
def shown(rng):
    """An image with a bright upper left corner."""
    pixels = rng.integers(0, 100, (20, 30, 3), dtype=np.uint8)
    pixels[:8, :8] = 250
    return pixels


def test_plain_images_come_back_as_they_are(shown, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(shown).save(path)
    for image in (path, str(path), Image.open(path), shown):
        assert_array_equal(np.asarray(load_rgb(image)), shown)


def test_modes(shown, tmp_path):
    grey = shown[:, :, 0]
    assert_array_equal(np.asarray(load_rgb(grey)), np.repeat(grey[:, :, None], 3, axis=2))
    assert_array_equal(np.asarray(load_rgb(grey[:, :, None]))[:, :, 0], grey)
    # 16 bits: 257 * v is v in 8 bits
    deep = tmp_path / "deep.png"
    Image.fromarray(grey.astype(np.uint16) * 257).save(deep)
    assert_array_equal(np.asarray(load_rgb(deep))[:, :, 1], grey)
    assert_array_equal(np.asarray(load_rgb(grey.astype(np.uint16) * 257))[:, :, 1], grey)
    # a palette holds colours, not indices
    palette = Image.fromarray(shown).quantize(16)
    assert_array_equal(np.asarray(load_rgb(palette)), np.asarray(palette.convert("RGB")))
    # CMYK: no ink is white
    cmyk = Image.new("CMYK", (4, 4), (0, 0, 0, 0))
    cmyk.save(tmp_path / "c.jpg")
    assert np.all(np.asarray(load_rgb(tmp_path / "c.jpg")) > 250)
    # transparent is grey, half transparent is half way
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 0] = 255
    rgba[0, :, 3] = [255, 0, 128]
    got = np.asarray(load_rgb(rgba))[0]
    assert_array_equal(got[0], [255, 0, 0])
    assert_array_equal(got[1], [128, 128, 128])
    assert np.abs(got[2].astype(int) - [191, 64, 64]).max() <= 1


def test_exif_turns_the_image(shown, tmp_path):
    image = Image.fromarray(shown)
    exif = image.getexif()
    exif[0x0112] = 6  # to be seen turned by 90 degrees clockwise
    image.save(tmp_path / "turned.png", exif=exif)
    got = np.asarray(load_rgb(tmp_path / "turned.png"))
    assert_array_equal(got, np.rot90(shown, -1))


def test_equal_images_have_equal_keys(shown, tmp_path):
    Image.fromarray(shown).save(tmp_path / "a.png")
    Image.fromarray(shown).save(tmp_path / "b.bmp")
    other = shown.copy()
    other[0, 0, 0] += 1
    images = [tmp_path / "a.png", shown, str(tmp_path / "b.bmp"), other]
    keys = image_list(images).content_keys()
    assert keys[0] == keys[1] == keys[2] != keys[3]
    distinct, index, _ = unique_images(images)
    assert len(distinct) == 2
    assert index.tolist() == [0, 0, 0, 1]
    # the same pixels in another shape are another image
    assert (
        image_list([shown]).content_keys()[0]
        != image_list([shown.reshape(30, 20, 3)]).content_keys()[0]
    )


def test_a_path_is_read_once(shown, tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.fromarray(shown).save(path)
    opened = []
    original = Image.open
    monkeypatch.setattr(Image, "open", lambda p, *a, **k: opened.append(p) or original(p, *a, **k))
    image_list([path] * 10).content_keys()
    assert len(opened) == 1


def test_names():
    assert image_name(Path("x/y.png")) == str(Path("x/y.png"))
    assert image_name(np.zeros((2, 2, 3), np.uint8)) == ""


def test_what_is_no_image_is_named(shown, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(shown).save(path)
    cut = tmp_path / "cut.png"
    cut.write_bytes(path.read_bytes()[:300])
    text = tmp_path / "text.png"
    text.write_text("no image")
    with pytest.raises(FileNotFoundError, match=r"images\[1\].*missing\.png"):
        image_list([path, tmp_path / "missing.png"]).content_keys()
    with pytest.raises(ValueError, match=r"images\[1\].*cut\.png.*damaged or cut off"):
        image_list([path, cut]).content_keys()
    with pytest.raises(ValueError, match=r"images\[0\].*text\.png.*not an image"):
        image_list([text]).content_keys()
    with pytest.raises(ValueError, match="is a folder"):
        image_list([tmp_path]).content_keys()


@pytest.mark.parametrize(
    ("images", "error", "match"),
    [
        ("a.png", TypeError, "one path"),
        (Image.new("RGB", (2, 2)), TypeError, "one image"),
        ([], ValueError, "empty"),
        (3, TypeError, "int"),
        ([3], TypeError, r"images\[0\] is a int"),
        ([np.zeros((4, 4, 3))], ValueError, "float64; expected uint8"),
        ([np.zeros((4, 4, 2), np.uint8)], ValueError, r"shape \(4, 4, 2\)"),
        (np.zeros((4, 4), np.uint8), ValueError, r"shape \(4, 4\)"),
        ({"a.png", "b.png"}, TypeError, "images is a set, which has no order; give a list"),
        (frozenset(["a.png"]), TypeError, "images is a frozenset"),
        ({"a.png": 0}, TypeError, r"images is a dict; give a list, here list\(images\)"),
        (pd.DataFrame({"path": ["a.png"]}), TypeError, r"table\['column'\].tolist\(\)"),
        (torch.zeros(2, 4, 4, 3), TypeError, r"images is a Tensor. .*\.numpy\(\).*tokens"),
        ([torch.zeros(4, 4, 3)], TypeError, r"images\[0\] is a Tensor.*\.numpy\(\)"),
        (np.zeros((6, 8, 3), np.uint8), ValueError, r"one RGB image; give a list, here \[images\]"),
        (np.zeros((6, 8, 4), np.uint8), ValueError, "one RGB image"),
        (np.zeros((6, 8), int), ValueError, r"int64.*Tokens.*floats.*astype\('float32'\)"),
        (np.zeros((6, 8, 9), int), ValueError, r"int64.*Tokens.*floats.*astype\('float32'\)"),
        ([np.zeros((8, 9), "f")], ValueError, r"np.stack\(images\)"),
    ],
)
def test_wrong_arguments(images, error, match):
    with pytest.raises(error, match=match):
        check_images(images)
