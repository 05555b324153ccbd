"""The whole default path: images, captions, CLIP, diffusion, epochs."""

import mne
import numpy as np
from small_regressors import make_regressor

from mne_img2brain import ClipEmbedder, DiffusionRegressor, ImageToBrainEncoder, read_encoder


def test_images_and_captions_to_epochs(tiny_clip, tiny_captioner, tmp_path, rng):
    images = rng.integers(0, 256, (14, 40, 40, 3), dtype=np.uint8)
    image = np.tile(np.arange(14), 3)
    info = mne.create_info(["Fz", "Pz", "Oz"], 100.0, "eeg").set_montage("easycap-M1")
    epochs = mne.EpochsArray(1e-6 * rng.standard_normal((42, 3, 20)), info, verbose="error")
    embedder = ClipEmbedder(
        tiny_clip, captioner=tiny_captioner, max_new_tokens=5, device="cpu", cache_dir=tmp_path
    )
    regressor = make_regressor(hidden_size=16, n_layers=1, n_heads=2, max_iter=5, random_state=0)
    encoder = ImageToBrainEncoder(embedder, regressor).fit(images, epochs, image_ids=image)
    assert encoder.regressor_.n_features_in_ == 16
    generated = encoder.predict(images[:4])
    assert generated.get_data().shape == (4, 3, 20)
    assert generated.metadata["caption"].tolist() == embedder.captions(images[:4])
    # captions of the user's own, of another length
    own = encoder.predict(images[:2], captions=["dog", "a very long caption of a small red cat"])
    assert own.metadata["caption"][0] == "dog"
    assert not np.allclose(own.get_data(), generated.get_data()[:2], atol=0)  # in volts
    draws = encoder.sample(images[:2], 2, random_state=0)
    encoder.save(tmp_path / "saved")
    back = read_encoder(tmp_path / "saved")
    assert back.embedder_.get_params()["captioner"] == tiny_captioner
    again = back.sample(images[:2], 2, random_state=0)
    np.testing.assert_allclose(again.get_data(), draws.get_data(), rtol=1e-6, atol=1e-12)


def test_captions_from_the_metadata(tiny_clip, tmp_path, rng):
    import pandas as pd

    images = rng.integers(0, 256, (12, 40, 40, 3), dtype=np.uint8)
    info = mne.create_info(["Fz", "Pz", "Oz"], 100.0, "eeg").set_montage("easycap-M1")
    words = [f"image number {i}" for i in range(12)]
    epochs = mne.EpochsArray(
        1e-6 * rng.standard_normal((24, 3, 20)), info, verbose="error",
        metadata=pd.DataFrame({"words": words * 2, "shown": list(range(12)) * 2}),
    )  # fmt: skip
    embedder = ClipEmbedder(tiny_clip, captioner=None, device="cpu", cache_dir=tmp_path)
    encoder = ImageToBrainEncoder(embedder, DiffusionRegressor(max_iter=0, random_state=0))
    by_name = encoder.fit(images, epochs, image_ids="shown", captions="words")
    a = by_name.predict(images, captions=words).get_data()
    by_list = encoder.fit(images, epochs, image_ids="shown", captions=words)
    np.testing.assert_allclose(by_list.predict(images, captions=words).get_data(), a)
    without = encoder.fit(images, epochs, image_ids="shown")
    assert np.abs(without.predict(images).get_data() - a).max() > 0.1 * np.abs(a).max()
