"""A fit that has learnt nothing says so."""

import warnings

import mne
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mne_img2brain import DiffusionRegressor, ImageToBrainEncoder, read_encoder
from mne_img2brain.baselines import MeanResponse, NearestNeighbor, RidgeBaseline, RidgeGaussian
from mne_img2brain.mean import KernelMeanRegressor

N_IMAGES, N_TRIALS = 60, 3
IDS = np.repeat(np.arange(N_IMAGES), N_TRIALS)
SAID = "These images do not predict these responses .cross-validated r = .*: check image_ids"
REGRESSORS = {
    "diffusion": DiffusionRegressor(max_iter=0),
    "kernels": KernelMeanRegressor(),
    "ridge": Ridge(10.0),
    "ridge baseline": RidgeBaseline(),
    "ridge + Gaussian": RidgeGaussian(),
    "search": GridSearchCV(Ridge(), {"alpha": [1.0, 10.0]}),
}


def recording(seed, effect=0.7):
    rng = np.random.default_rng(seed)
    tokens = rng.standard_normal((N_IMAGES, 1, 6))
    y = effect * np.tensordot(tokens[IDS, 0], rng.standard_normal((6, 4, 20)), 1)
    y += rng.standard_normal((len(IDS), 4, 20)).cumsum(axis=-1) / 2
    info = mne.create_info(["Pz", "Oz", "O1", "O2"], 100.0, "eeg")
    return tokens, mne.EpochsArray(1e-6 * y, info, verbose=False)


def fit(regressor, tokens, epochs, ids):
    """Fit, and tell whether it was said that nothing was learnt."""
    encoder = ImageToBrainEncoder(regressor=clone(regressor))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        encoder.fit(tokens, epochs, image_ids=ids)
    messages = [str(one.message) for one in caught if "do not predict" in str(one.message)]
    assert len(messages) < 2
    return encoder, bool(messages)


@pytest.mark.parametrize("name", REGRESSORS)
def test_learnt_or_not(name):
    """Of mistaken fits one or two in a hundred pass for learnt (2 of 150): of six, two at most."""
    wrong = {
        "shuffled": lambda tokens, epochs: np.random.default_rng(7).permutation(N_IMAGES)[IDS],
        "off by one": lambda tokens, epochs: (IDS + 1) % N_IMAGES,
    }
    unsaid = []
    for seed in range(2):
        tokens, epochs = recording(seed)
        encoder, said = fit(REGRESSORS[name], tokens, epochs, IDS)
        assert not said
        assert encoder.cross_validated_r_ > 0.3
        for what, mistake in wrong.items():
            mistaken, said = fit(REGRESSORS[name], tokens, epochs, mistake(tokens, epochs))
            assert abs(mistaken.cross_validated_r_) < 0.15
            unsaid += [] if said else [(seed, what)]
        _, said = fit(REGRESSORS[name], *recording(seed, effect=0.0), IDS)
        unsaid += [] if said else [(seed, "no effect")]
    assert len(unsaid) <= 2, unsaid


def test_it_is_said_once():
    """Within meta-estimators too, where the regressor inside has said it."""
    tokens, epochs = recording(0)
    ids = np.random.default_rng(7).permutation(N_IMAGES)[IDS]
    regressor = make_pipeline(StandardScaler(), REGRESSORS["diffusion"])
    _, said = fit(regressor, tokens, epochs, ids)
    assert said


def test_the_number_is_kept_and_shown(tmp_path):
    tokens, epochs = recording(0)
    encoder, _ = fit(REGRESSORS["diffusion"], tokens, epochs, IDS)
    r = encoder.cross_validated_r_
    assert encoder.regressor_.cross_validated_r_ == r
    assert f"cross-validated r {r:.3f}" in repr(encoder)
    assert f"{r:.3f}, across images left out" in encoder._repr_mimebundle_()["text/html"]
    assert "cross-validated" not in repr(ImageToBrainEncoder())
    encoder.save(tmp_path / "encoder")
    saved = read_encoder(tmp_path / "encoder")
    assert saved.cross_validated_r_ == saved.regressor_.cross_validated_r_ == r
    with pytest.warns(RuntimeWarning, match=SAID):
        ImageToBrainEncoder(regressor=Ridge(10.0)).fit(tokens, epochs, image_ids=IDS[::-1])


def test_what_looks_at_no_image_is_not_blamed():
    tokens, epochs = recording(0)
    encoder, said = fit(MeanResponse(), tokens, epochs, IDS)
    assert np.isnan(encoder.cross_validated_r_)
    assert not said
    encoder, said = fit(NearestNeighbor(), tokens, epochs, IDS)
    assert encoder.cross_validated_r_ > 0.1
    assert not said
    # Of eight images nothing is said by regressors that cannot part trials.
    few = IDS < 8
    encoder, said = fit(Ridge(), tokens[:8], epochs[few], IDS[few])
    assert np.isnan(encoder.cross_validated_r_)
    assert not said
