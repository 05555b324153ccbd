"""Encoders that earlier versions saved are read, and do what they did."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mne_img2brain import read_encoder
from mne_img2brain.datasets import simulate_images

SAVED = sorted(Path(__file__).with_name("saved").glob("*/*.npz"))


def test_there_is_one_of_each_kind_of_noise():
    known = {"beside_mean", "clusters", "gaussian", "transformer"}
    assert {path.stem for path in SAVED} == known


@pytest.mark.parametrize("path", SAVED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_earlier_versions(path):
    images, _ = simulate_images(24, size=16, random_state=0)
    encoder = read_encoder(path.with_suffix(""))
    with np.load(path) as expected:
        tolerance = {"rtol": 1e-3, "atol": 1e-4 * np.abs(expected["drawn"]).max()}
        assert_allclose(encoder.predict(images[:5]).get_data(), expected["predicted"], **tolerance)
        drawn = encoder.sample(images[:5], 2, random_state=0).get_data()
        assert_allclose(drawn, expected["drawn"], **tolerance)
    assert (encoder.regressor_.n_stored_trials_ > 0) == (path.stem == "clusters")
    assert "cross-validated r" in repr(encoder) or path.stem == "transformer"
