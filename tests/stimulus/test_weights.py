"""Weights on the hub: known to be here, their size said, or an error at once."""

import huggingface_hub
import pytest
from huggingface_hub.hf_api import RepoSibling

from mne_img2brain import ClipEmbedder
from mne_img2brain.datasets import simulate_images
from mne_img2brain.stimulus.weights import announce, clip_repo, missing_bytes

REPO = "someone/model"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub with one model, of which nothing is in the cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    sizes = {"open_clip_model.safetensors": 30, "model.safetensors": 5, "model.bin": 7, "a.txt": 1}
    files = [RepoSibling(rfilename=name, size=size) for name, size in sizes.items()]
    asked = []

    def model_info(self, repo, **given):
        asked.append(repo)
        return type("Info", (), {"siblings": files})

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    return asked


def test_size_is_that_of_the_weights_that_are_read(hub):
    assert missing_bytes(REPO, "open_clip_*") == 30
    assert missing_bytes(REPO) == 35  # safetensors are taken before pickles
    assert missing_bytes(REPO, "mod*") == 5


def test_what_is_here_is_not_asked_for(hub, tmp_path, monkeypatch):
    assert missing_bytes(str(tmp_path)) == 0
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "model.safetensors").write_bytes(b"x")
    here = str(tmp_path / "snapshot")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *a, **k: here)
    assert missing_bytes(REPO) == 0
    assert not hub
    assert missing_bytes(REPO, "open_clip_*") == 30


def test_without_a_network_the_error_says_what_to_do(monkeypatch, tmp_path):
    def fails(self, repo, **given):
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", fails)
    with pytest.raises(OSError, match=r"no route.*hf download someone/model.*Do without\."):
        announce(REPO, without="Do without.")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda *a, **k: (_ for _ in ()).throw(OSError("none"))
    )
    embedder = ClipEmbedder(captioner=None, cache_dir=tmp_path)
    with pytest.raises(OSError, match="hf download timm/.*GaborEmbedder works without"):
        embedder.fit_transform(simulate_images(2, size=32, random_state=0)[0])


def test_where_open_clip_looks():
    assert clip_repo("ViT-L-14-quickgelu", "openai").startswith("timm/vit_large")
    assert clip_repo("hf-hub:someone/model", None) == REPO
    assert clip_repo("local-dir:/somewhere", None) == ""
    assert missing_bytes("") == 0
