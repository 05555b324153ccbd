"""Tiny models on disk, and a few images."""

import numpy as np
import pytest
from tiny_models import make_tiny_clip, make_tiny_qwen2_vl


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory):
    """Name of a tiny CLIP for open_clip."""
    return make_tiny_clip(tmp_path_factory.mktemp("models") / "clip")


@pytest.fixture(scope="session")
def tiny_captioner(tmp_path_factory):
    """Folder of a tiny Qwen2-VL."""
    return make_tiny_qwen2_vl(tmp_path_factory.mktemp("models") / "qwen2-vl")


@pytest.fixture
def shown_images():
    """Five images that differ."""
    return np.random.default_rng(0).integers(0, 256, (5, 40, 50, 3), dtype=np.uint8)
