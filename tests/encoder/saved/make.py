"""Write encoders that later versions must read.

Once for each release, by ``PYTHONPATH=tests python tests/encoder/saved/make.py``; what is there is
left as it is.
"""

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from small_regressors import keep_transformers, make_regressor

from mne_img2brain import DiffusionRegressor, GaborEmbedder, ImageToBrainEncoder, __version__
from mne_img2brain.datasets import simulate_epochs, simulate_images

HERE = Path(__file__).parent
IMAGES, _ = simulate_images(24, size=16, random_state=0)


def regressors():
    """Return a regressor of each kind of noise, by name."""
    network = {"max_iter": 20, "whitening": "scale", "hidden_size": 16, "n_layers": 1, "n_heads": 2}
    network |= {"learning_rate": 1e-2, "ema_decay": 0.5, "device": "cpu", "random_state": 0}
    return {
        "clusters": DiffusionRegressor(max_iter=0, random_state=0),
        "gaussian": DiffusionRegressor(noise="gaussian", max_iter=0, random_state=0),
        "transformer": make_regressor(None, **network),
        "beside_mean": make_regressor(Ridge(), **{**network, "whitening": "covariance"}),
    }


if __name__ == "__main__":
    epochs, _ = simulate_epochs(IMAGES, n_trials=16, sfreq=20.0, random_state=0)
    epochs.pick(["O1", "Oz", "O2", "Pz"])
    # bursts: trials that are no Gaussian, by which clusters are kept
    strength = np.random.default_rng(0).choice([0.3, 3.0], size=len(epochs))
    epochs._data *= strength[:, None, None]
    keep_transformers(pytest.MonkeyPatch())
    for name, regressor in regressors().items():
        folder = HERE / __version__ / name
        if folder.exists():
            continue
        encoder = ImageToBrainEncoder(GaborEmbedder(size=16, n_scales=2), regressor)
        encoder.fit(IMAGES, epochs, image_ids="image_id")
        encoder.save(folder)
        np.savez_compressed(
            HERE / __version__ / f"{name}.npz",
            predicted=encoder.predict(IMAGES[:5]).get_data().astype(np.float32),
            drawn=encoder.sample(IMAGES[:5], 2, random_state=0).get_data().astype(np.float32),
        )
