"""Generated epochs are epochs: what others make of them."""

import mne
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from scipy.spatial.distance import pdist
from sklearn.base import clone
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from mne_img2brain import DiffusionRegressor, GaborEmbedder, ImageToBrainEncoder
from mne_img2brain.datasets import simulate_epochs, simulate_images

N_SEEN, N_NEW = 220, 40


@pytest.fixture(scope="module")
def world():
    """Images, their kinds, recorded trials, and an encoder fitted to all but the last forty.

    The kind of an image is whether its true response over the right hemisphere is strong.
    """
    images, _ = simulate_images(N_SEEN + N_NEW, size=64, random_state=0)
    epochs, truth = simulate_epochs(images, n_trials=2, snr=3.0, random_state=0)
    strength = truth.get_data(picks="PO8", tmin=0.1, tmax=0.2).mean(axis=(1, 2))
    category = np.where(strength > np.median(strength), "strong", "weak")
    seen = epochs[np.flatnonzero(epochs.metadata["image_id"] < N_SEEN)]
    regressor = DiffusionRegressor(RidgeCV(np.logspace(-1, 6, 8)), max_iter=0, random_state=0)
    encoder = ImageToBrainEncoder(GaborEmbedder(size=64), regressor)
    encoder.fit(images, seen, image_ids="image_id")
    return images, category, epochs, truth, encoder


@pytest.fixture(scope="module")
def expected(world):
    """The expected response to the new images."""
    images, category, *_, encoder = world
    return encoder.predict(images[N_SEEN:], event_id=category[N_SEEN:].tolist())


@pytest.fixture(scope="module")
def draws(world):
    """Three draws of every image that was seen."""
    images, category, *_, encoder = world
    return encoder.sample(images[:N_SEEN], 3, event_id=category[:N_SEEN].tolist(), random_state=0)


def test_fif(draws, tmp_path):
    draws.save(tmp_path / "draws-epo.fif", verbose="error")
    back = mne.read_epochs(tmp_path / "draws-epo.fif", verbose="error")
    assert_allclose(back.get_data(), draws.get_data(), rtol=1e-6, atol=1e-12)
    assert back.event_id == draws.event_id
    assert_array_equal(back.events, draws.events)
    assert_array_equal(back.metadata["draw"], draws.metadata["draw"])
    assert_allclose(back.baseline, draws.baseline, rtol=1e-6)


def test_report(expected, tmp_path):
    report = mne.Report(title="Generated", verbose="error")
    report.add_epochs(expected, "Expected responses", psd=False)
    report.add_evokeds(expected.average(), titles="Average", n_time_points=2)
    report.save(tmp_path / "report.html", open_browser=False, verbose="error")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Expected responses" in page
    assert f"{len(expected)}" in page


def test_data_frame(expected):
    frame = expected.to_data_frame(index=["epoch", "time"])
    assert frame.shape == (len(expected) * len(expected.times), len(expected.ch_names) + 1)
    name = expected.ch_names[5]
    # MNE gives EEG in microvolts
    assert_allclose(frame[name].to_numpy(), expected.get_data()[:, 5].ravel() * 1e6, rtol=1e-9)


def test_scikit_learn_reads_them(draws):
    """Kinds are told apart, folds by image; shuffled ones are not."""
    flat = FunctionTransformer(lambda X: X.reshape(len(X), -1))
    model = make_pipeline(
        flat, StandardScaler(), LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    )
    kinds = draws.events[:, 2]
    data, shown_images = draws.get_data(tmin=0.05, tmax=0.4), draws.metadata["image_id"]
    scores = cross_val_score(model, data, kinds, groups=shown_images, cv=_by_image())
    assert scores.mean() > 0.63
    shuffled = np.random.default_rng(0).permutation(N_SEEN)
    kind_of = dict(zip(shown_images, kinds, strict=True))
    wrong = np.array([kind_of[shuffled[image]] for image in shown_images])
    scores = cross_val_score(model, data, wrong, groups=shown_images, cv=_by_image())
    assert scores.mean() < 0.57


def _by_image():
    from sklearn.model_selection import GroupKFold

    return GroupKFold(3)


def test_an_embedder_may_be_a_pipeline(world):
    """Pixels, then scikit-learn; a regressor may be a pipeline too."""
    images, _, epochs, truth, _ = world
    pixels = FunctionTransformer(
        lambda shown_images: np.stack([np.asarray(p, float).ravel()[::7] for p in shown_images])
    )
    encoder = ImageToBrainEncoder(
        make_pipeline(pixels, StandardScaler()), make_pipeline(StandardScaler(), Ridge(1e4))
    )
    seen = epochs[np.flatnonzero(epochs.metadata["image_id"] < N_SEEN)]
    encoder.fit(images, seen, image_ids="image_id")
    r = encoder.score(images[N_SEEN:], truth[np.arange(N_SEEN, N_SEEN + N_NEW)])
    assert r > 0.2


def test_himalaya_is_a_regressor(world):
    """As good as ridge regression with one penalty for all."""
    ridge = pytest.importorskip("himalaya.ridge")
    images, _, epochs, truth, encoder = world
    seen = epochs[np.flatnonzero(epochs.metadata["image_id"] < N_SEEN)]
    new = truth[np.arange(N_SEEN, N_SEEN + N_NEW)]
    alphas = np.logspace(-1, 6, 8)
    scores = [
        ImageToBrainEncoder(encoder.embedder, regressor)
        .fit(images, seen, image_ids="image_id")
        .score(images[N_SEEN:], new)
        for regressor in (ridge.RidgeCV(alphas, fit_intercept=True), RidgeCV(alphas))
    ]
    assert scores[0] > scores[1] - 0.05
    assert scores[1] > 0.3


def test_a_decoder_trained_on_draws_reads_recordings(world, draws):
    """Above chance once there is a response, at chance before."""
    _, category, epochs, _, _ = world
    recorded = epochs[np.flatnonzero(epochs.metadata["image_id"] >= N_SEEN)]
    sliding = mne.decoding.SlidingEstimator(
        make_pipeline(StandardScaler(), LogisticRegression(C=0.1)), scoring="roc_auc", verbose=False
    )
    sliding.fit(draws.get_data(), draws.events[:, 2] == draws.event_id["strong"])
    strong = category[recorded.metadata["image_id"]] == "strong"
    auc = sliding.score(recorded.get_data(), strong)
    during = (draws.times > 0.1) & (draws.times < 0.2)
    assert auc[during].mean() > 0.75
    assert abs(auc[draws.times < 0].mean() - 0.5) < 0.15


def test_mne_rsa(world, expected):
    """Dissimilarities are those of scipy, and those of the true responses are like them."""
    mne_rsa = pytest.importorskip("mne_rsa", reason="an extra: pip install mne_img2brain[rsa]")
    truth = world[3][np.arange(N_SEEN, N_SEEN + N_NEW)]
    window = expected.copy().crop(0.08, 0.3)
    kinds = dict(temporal_radius=None, y=np.arange(N_NEW))
    (rdm,) = mne_rsa.rdm_epochs(window, **kinds)
    assert_allclose(rdm, pdist(window.get_data().reshape(N_NEW, -1), "correlation"), rtol=1e-6)
    (model,) = mne_rsa.rdm_epochs(truth.copy().crop(0.08, 0.3), **kinds)
    rsa = mne_rsa.rsa_epochs(expected, model, temporal_radius=0.02, y=np.arange(N_NEW))
    assert isinstance(rsa, mne.Evoked)
    assert rsa.data[0, rsa.times > 0.08].max() > 0.4


def test_rsatoolbox(world):
    rsatoolbox = pytest.importorskip("rsatoolbox")
    images, *_, encoder = world
    draws = encoder.sample(images[N_SEEN:], 2, random_state=0)
    data = rsatoolbox.data.TemporalDataset(
        draws.get_data(),
        obs_descriptors={"image": draws.metadata["image_id"].to_numpy()},
        channel_descriptors={"name": draws.ch_names},
        time_descriptors={"time": draws.times},
    )
    movie = rsatoolbox.rdm.calc_rdm_movie(data, method="euclidean", descriptor="image")
    mean = draws.get_data().reshape(N_NEW, 2, len(draws.ch_names), -1).mean(axis=1)
    assert movie.dissimilarities.shape == (len(draws.times), N_NEW * (N_NEW - 1) // 2)
    # squared and divided by the number of sensors, as rsatoolbox defines it
    wanted = pdist(mean[:, :, 20], "sqeuclidean") / len(draws.ch_names)
    assert_allclose(movie.dissimilarities[20], wanted, rtol=1e-6)


def test_bids(expected, tmp_path):
    """Epochs end to end are a recording with events, which BIDS keeps."""
    mne_bids = pytest.importorskip("mne_bids")
    pytest.importorskip("pybv")
    data = np.concatenate(list(expected.get_data()), axis=1)
    raw = mne.io.RawArray(data, expected.info, verbose="error")
    raw.info["line_freq"] = 50.0
    length = len(expected.times) / expected.info["sfreq"]
    onsets = np.arange(len(expected)) * length - expected.tmin
    names = {code: name for name, code in expected.event_id.items()}
    raw.set_annotations(
        mne.Annotations(onsets, 0.0, [names[code] for code in expected.events[:, 2]])
    )
    path = mne_bids.BIDSPath("01", task="generated", datatype="eeg", root=tmp_path / "bids")
    mne_bids.write_raw_bids(raw, path, format="BrainVision", allow_preload=True, verbose="error")
    back = mne_bids.read_raw_bids(path, verbose="error")
    events, codes = mne.events_from_annotations(back, verbose="error")
    again = mne.Epochs(
        back, events, codes, tmin=expected.tmin, tmax=expected.times[-1], baseline=None,
        preload=True, verbose="error",
    )  # fmt: skip
    assert len(again) == len(expected)
    for name in expected.event_id:
        assert_allclose(again[name].get_data(), expected[name].get_data(), rtol=1e-4, atol=1e-10)


def test_stim_file_of_bids_names_images(tmp_path):
    """MNE makes metadata of the columns of events.tsv; paths in them are seen from a folder."""
    mne_bids = pytest.importorskip("mne_bids")
    pytest.importorskip("pybv")
    images, _ = simulate_images(20, size=32, random_state=0)
    (tmp_path / "stimuli" / "a").mkdir(parents=True)
    for k, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / "stimuli" / "a" / f"{k:02d}.png")
    trials, _ = simulate_epochs(images, n_trials=2, sfreq=50.0, random_state=0)
    shown = trials.metadata["image_id"].to_numpy()
    raw = mne.io.RawArray(np.concatenate(list(trials.get_data()), axis=1), trials.info)
    raw.info["line_freq"] = 50.0
    onsets = np.arange(len(trials)) * len(trials.times) / 50 - trials.tmin
    files = [{"stim_file": f"a/{k:02d}.png"} for k in shown]
    annotations = mne.Annotations(onsets, 0.0, "image", extras=files)
    pressed = mne.Annotations(onsets[:3] + 0.1, 0.0, "response", extras=[{"stim_file": "n/a"}] * 3)
    raw.set_annotations(annotations + pressed)
    path = mne_bids.BIDSPath("01", task="see", datatype="eeg", root=tmp_path / "bids")
    mne_bids.write_raw_bids(raw, path, format="BrainVision", allow_preload=True, verbose="error")
    back = mne_bids.read_raw_bids(path, verbose="error")
    epochs = mne.Epochs(
        back, tmin=trials.tmin, tmax=0.5, baseline=None, preload=True, verbose="error"
    )
    encoder = ImageToBrainEncoder(GaborEmbedder(size=32, n_scales=2), RidgeCV())
    with pytest.raises(ValueError, match="'stim_file' is empty in 3 of 43 trials"):
        encoder.fit(tmp_path / "stimuli", epochs, image_ids="stim_file")
    encoder.fit(tmp_path / "stimuli", epochs["image"], image_ids="stim_file")
    same = clone(encoder).fit(images, epochs["image"], image_ids=shown)
    assert_allclose(encoder.predict(images).get_data(), same.predict(images).get_data())


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore:.*:FutureWarning")
def test_braindecode(draws):
    """A network of braindecode reads windows of draws, and learns to tell strong from weak."""
    pytest.importorskip(
        "braindecode",
        reason="braindecode needs a torchaudio of its own; try it in an environment of its own",
        exc_type=ImportError,
    )
    import torch
    from braindecode import EEGClassifier
    from braindecode.datasets import create_from_mne_epochs
    from braindecode.models import EEGNet

    kinds = sorted(set(draws.events[:, 2].tolist()))
    windows = create_from_mne_epochs(
        [draws],
        window_size_samples=len(draws.times),
        window_stride_samples=len(draws.times),
        drop_last_window=False,
        mapping={kind: number for number, kind in enumerate(kinds)},
        preload=True,
    )
    assert len(windows) == len(draws)
    x, y, _ = windows[7]
    assert_allclose(x, draws.get_data()[7], rtol=1e-5, atol=1e-12)
    assert kinds[y] == draws.events[7, 2]
    data = (draws.get_data() / draws.get_data().std()).astype(np.float32)
    classes = np.searchsorted(kinds, draws.events[:, 2])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = EEGNet(x.shape[0], len(kinds), n_times=x.shape[1], kernel_length=16)
        model = EEGClassifier(
            net, criterion=torch.nn.CrossEntropyLoss, optimizer=torch.optim.AdamW, lr=0.005,
            max_epochs=10, batch_size=32, verbose=0,
        )  # fmt: skip
        model.fit(data, classes)
    assert model.score(data, classes) > 0.65
