"""A fit that is stopped goes on, and an earlier fit is kept."""

import importlib

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.linear_model import Ridge

from mne_img2brain import Denoiser, DiffusionRegressor, GaborEmbedder, ImageToBrainEncoder
from mne_img2brain.cli.main import main
from mne_img2brain.datasets import simulate_epochs, simulate_images


@pytest.fixture(scope="module")
def recorded():
    images, _ = simulate_images(14, size=32, random_state=0)
    epochs, _ = simulate_epochs(images, n_trials=3, sfreq=30.0, random_state=0)
    return images, epochs


def encoder(random_state):
    noise = Denoiser(hidden_size=16, n_layers=1, n_heads=2, max_iter=12, batch_size=8)
    regressor = DiffusionRegressor(None, noise, device="cpu", random_state=random_state)
    return ImageToBrainEncoder(GaborEmbedder(size=32, n_scales=2), regressor)


class Stop:
    """Interrupt training before a step; count steps."""

    def __init__(self, monkeypatch):
        self.at, self.n_steps, self.clip = None, 0, torch.nn.utils.clip_grad_norm_
        monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", self)

    def __call__(self, *arguments):
        if self.n_steps == self.at:
            raise KeyboardInterrupt
        self.n_steps += 1
        return self.clip(*arguments)


@pytest.mark.parametrize("random_state", [3, None])
def test_stopped_it_goes_on(recorded, tmp_path, monkeypatch, random_state):
    images, epochs = recorded
    monkeypatch.setattr("mne_img2brain.diffusion.checkpoint._EVERY", 0.0)
    stop = Stop(monkeypatch)
    first = epochs[epochs.metadata["image_id"] < 10]
    fitted = encoder(random_state).fit(images[:10], first, image_ids="image_id")
    before = fitted.predict(images[:2]).get_data()
    stop.n_steps, stop.at = 0, 7
    with pytest.raises(KeyboardInterrupt):
        fitted.fit(images, epochs, image_ids="image_id", checkpoint=tmp_path / "c")
    assert_array_equal(fitted.predict(images[:2]).get_data(), before)
    stop.at = None
    fitted.fit(images, epochs, image_ids="image_id", checkpoint=tmp_path / "c")
    assert stop.n_steps == 12
    again = encoder(random_state).fit(
        images, epochs, image_ids="image_id", checkpoint=tmp_path / "c"
    )
    assert stop.n_steps == 12
    assert_array_equal(again.predict(images).get_data(), fitted.predict(images).get_data())
    if random_state is not None:
        alone = encoder(random_state).fit(images, epochs, image_ids="image_id")
        draws = [one.sample(images[:2], 2, random_state=0).get_data() for one in (alone, fitted)]
        assert_array_equal(*draws)
        assert stop.n_steps == 24


def test_who_has_no_training_to_keep_says_so(recorded, tmp_path):
    images, epochs = recorded
    with pytest.raises(ValueError, match="checkpoint=.*a Ridge has no training"):
        ImageToBrainEncoder(GaborEmbedder(size=32, n_scales=2), Ridge()).fit(
            images, epochs, image_ids="image_id", checkpoint=tmp_path
        )
    (tmp_path / "file").write_text("")
    for wrong, error in [(3, TypeError), (tmp_path / "file", OSError)]:
        with pytest.raises(error, match="checkpoint|is a file"):
            encoder(0).fit(images, epochs, image_ids="image_id", checkpoint=wrong)


def test_on_the_command_line(recorded, tmp_path, monkeypatch):
    images, epochs = recorded
    np.save(tmp_path / "tokens.npy", GaborEmbedder(size=32, n_scales=2).transform(images))
    epochs.save(tmp_path / "x-epo.fif", verbose="error")
    words = ["fit", str(tmp_path / "tokens.npy"), str(tmp_path / "x-epo.fif"), "--out",
             str(tmp_path / "e"), "--image-ids", "image_id", "--max-iter", "5", "--device", "cpu",
             "--preset", "default", "--embedder", "gabor",
             "--checkpoint", str(tmp_path / "c")]  # fmt: skip
    monkeypatch.setattr("mne_img2brain.diffusion.checkpoint._EVERY", 0.0)
    small = DiffusionRegressor(noise=Denoiser(hidden_size=16, n_layers=1, n_heads=2))
    presets = importlib.import_module("mne_img2brain.experiments.ablation_rows")._PRESETS
    monkeypatch.setitem(presets, "default", lambda: small)
    stop = Stop(monkeypatch)
    stop.at = 3
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 130
    assert not (tmp_path / "e").exists()
    stop.at = None
    assert main(words) == 0
    assert stop.n_steps == 5
    assert (tmp_path / "e" / "encoder.json").is_file()
