"""Recordings in the true layouts, and models so small that nothing takes long."""

import functools
import importlib

import made_recordings
import pytest

from mne_img2brain.baselines import RidgeGaussian

settings = importlib.import_module("mne_img2brain.experiments.settings")
NETWORK = {
    "hidden_size": 16, "n_layers": 1, "n_heads": 2, "max_iter": 2, "whitening": "scale",
}  # fmt: skip


@pytest.fixture(scope="session")
def eeg_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("eeg2")
    made_recordings.write_eeg2(folder)
    return folder


@pytest.fixture(scope="session")
def meg_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("meg")
    made_recordings.write_meg(folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def _tiny():
    """Make the small scale tiny; 20 of 24 training images and 5 of 6 test trials are used."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(settings.SCALES, "small", settings.Scale(20, 5, 2, NETWORK, 1))
        patch.setitem(settings.SCALES, "no draws", settings.Scale(20, 5, 0, NETWORK, 1))
        # its own search of a penalty, of 17 in five folds, would be most of the time
        few = functools.partial(RidgeGaussian, alphas=(1e2, 1e4), n_folds=2)
        patch.setattr(settings, "RidgeGaussian", few)
        yield
