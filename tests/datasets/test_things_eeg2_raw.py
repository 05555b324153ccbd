"""Raw recordings of THINGS-EEG2, against MNE's own events, epochs and resampling."""

import mne
import numpy as np
import pytest
import things_files as made
from sklearn.discriminant_analysis import _cov

from mne_img2brain.datasets import things_eeg2
from mne_img2brain.datasets.restricted_pickle import read_npy
from mne_img2brain.datasets.things_eeg2_raw import inverse_root, shrunk_covariance


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("raw")
    made.write_metadata(root)
    names, events = made.write_raw(root)
    return root, names, events


def by_mne(root, names, session, split, resample=None, tmin=-0.2, tmax=1.0):
    """What MNE makes of one recording, target trials dropped."""
    word = "training" if split == "train" else "test"
    found, _ = read_npy(root / "sub-01" / f"ses-{session:02d}" / f"raw_eeg_{word}.npy")
    info = mne.create_info(found["ch_names"], found["sfreq"], found["ch_types"])
    raw = mne.io.RawArray(np.array(found["raw_eeg_data"]), info, verbose="error")
    events = mne.find_events(raw, "stim", verbose="error")
    events = events[events[:, 2] != 99999]
    epochs = mne.Epochs(
        raw, events, tmin=tmin, tmax=tmax, baseline=(None, 0), preload=True, verbose="error",
        picks="eeg",
    )  # fmt: skip
    if resample:
        epochs.resample(resample, verbose="error")
    return epochs.reorder_channels(names), events[:, 2]


@pytest.mark.parametrize(("split", "resample"), [("train", None), ("test", None), ("train", 250)])
def test_single_trials(folder, split, resample):
    root, names, _ = folder
    images, epochs = things_eeg2.load(root, split=split, average=False, resample=resample)
    assert not epochs.preload
    epochs.load_data().reorder_channels(names)
    expected, codes = [], []
    for session in range(1, 5):
        part, code = by_mne(root, names, session, split, resample)
        expected.append(part.get_data(copy=False))
        codes.append(code)
    np.testing.assert_allclose(
        epochs.get_data(copy=False), np.concatenate(expected), rtol=1e-9, atol=1e-15
    )
    # 99999 is no image, and codes count from 1
    assert epochs.metadata["image_id"].tolist() == (np.concatenate(codes) - 1).tolist()
    assert epochs.metadata["session"].tolist() == np.repeat([1, 2, 3, 4], len(codes[0])).tolist()
    lists = made.image_metadata()
    file = lists[f"{split}_img_files"][np.concatenate(codes)[0] - 1]
    assert images[0].endswith(file)
    counts = epochs.metadata.groupby("image_id")["repetition"].agg(["min", "max", "size"])
    assert (counts["min"] == 0).all()
    assert (counts["max"] == counts["size"] - 1).all()


def test_averages_and_volts(folder):
    root, names, _ = folder
    _, single = things_eeg2.load(root, average=False, resample=100)
    images, epochs = things_eeg2.load(root, resample=100, tmin=0.0, tmax=0.8)
    table = single.metadata
    data = single.load_data().copy().crop(0.0, 0.8).get_data(copy=False)
    expected = [data[table["image_id"] == i].mean(axis=0) for i in range(8)]
    np.testing.assert_allclose(epochs.get_data(copy=False), expected, rtol=1e-9, atol=1e-15)
    assert len(images) == 8
    assert epochs.metadata["n_averaged"].tolist() == [4] * 8
    assert "session" not in epochs.metadata
    assert set(epochs.metadata["unit"]) == {"V"}
    assert "no unit" not in epochs.info["description"]
    assert (epochs.info["highpass"], epochs.info["lowpass"]) == (0.01, 50)
    # the drift of millivolts is gone with the baseline
    assert np.abs(data).max() < 1e-3
    assert single.baseline == (-0.2, 0.0)
    assert epochs.baseline is None  # before the window: MNE cannot record it


def test_windows_beyond_the_usual(folder):
    root, names, _ = folder
    _, epochs = things_eeg2.load(root, average=False, tmin=-0.5, tmax=1.2)
    part, _ = by_mne(root, names, 1, "train", tmin=-0.5, tmax=1.2)
    epochs = epochs[: len(part)].load_data().reorder_channels(names)
    np.testing.assert_allclose(
        epochs.get_data(copy=False), part.get_data(copy=False), rtol=1e-9, atol=1e-15
    )
    _, plain = things_eeg2.load(root, average=False, baseline=None, channels=[names[0]])
    assert np.abs(plain[:1].get_data(copy=False)).mean() > 1e-3  # the drift is still there


def test_trials_at_the_edge_are_left_out(folder):
    """The first trial begins 1.5 s into the recording; 3 s before it there is nothing."""
    root, _, events = folder
    _, epochs = things_eeg2.load(root, average=False, tmin=-3.0, tmax=0.2)
    whole = sum(
        int(sample) - 3000 >= 0 and code != 99999
        for session in range(1, 5)
        for sample, code in zip(*events[session, "train"][:2], strict=True)
    )
    assert len(epochs) == whole < 32


def test_whitening_covariance_is_that_of_the_published_pipeline(rng):
    trial = rng.standard_normal((6, 6)) @ rng.standard_normal((6, 120)) * 1e-6
    # scikit-learn's _cov is what the published scripts call
    np.testing.assert_allclose(shrunk_covariance(trial), _cov(trial.T, "auto"), rtol=1e-10)
    covariance = shrunk_covariance(trial) * 1e12
    root = inverse_root(covariance)
    np.testing.assert_allclose(root @ covariance @ root, np.eye(6), atol=1e-9)
    np.testing.assert_allclose(root, root.T)
    with pytest.raises(ValueError, match="has no inverse"):
        inverse_root(np.zeros((3, 3)))


@pytest.mark.parametrize("split", ["train", "test"])
def test_whitening_is_fitted_on_training_trials_of_each_session(folder, split):
    root, names, _ = folder
    _, white = things_eeg2.load(root, split=split, average=False, mvnn=True, resample=250)
    _, plain = things_eeg2.load(root, split=split, average=False, resample=250)
    assert set(white.metadata["unit"]) == {""}
    assert "no unit" in white.info["description"]
    assert "training trials" in white.info["description"]
    order = white.ch_names
    for session in (1, 3):
        training, _ = by_mne(root, order, session, "train", 250)
        covariance = np.mean([_cov(t.T, "auto") for t in training.get_data(copy=False)], axis=0)
        values, vectors = np.linalg.eigh(covariance)
        whitener = (vectors / np.sqrt(values)) @ vectors.T
        chosen = f"session == {session}"
        expected = whitener @ plain[chosen].get_data(copy=False)
        np.testing.assert_allclose(
            white[chosen].get_data(copy=False), expected, rtol=1e-6, atol=1e-8
        )


def test_whitening_does_not_see_test_trials(folder, tmp_path):
    """Test recordings of ten times the size change the test split, not the whitener."""
    root, _, _ = folder
    made.write_metadata(tmp_path)
    made.write_raw(tmp_path)
    for session in range(1, 5):
        file = tmp_path / "sub-01" / f"ses-{session:02d}" / "raw_eeg_test.npy"
        found, _ = read_npy(file)
        data = np.array(found["raw_eeg_data"])
        data[:-1] *= 10
        np.save(file.with_name("new.npy"), found | {"raw_eeg_data": data})
        file.with_name("new.npy").replace(file)
    _, one = things_eeg2.load(root, split="test", mvnn=True, resample=250)
    _, ten = things_eeg2.load(tmp_path, split="test", mvnn=True, resample=250)
    np.testing.assert_allclose(
        ten.get_data(copy=False), 10 * one.get_data(copy=False), rtol=1e-9, atol=1e-9
    )


def test_errors(tmp_path):
    made.write_metadata(tmp_path)
    made.write_raw(tmp_path, n_sessions=1)
    file = tmp_path / "sub-01" / "ses-01" / "raw_eeg_training.npy"
    found, _ = read_npy(file)
    whole = {k: np.array(v) if k == "raw_eeg_data" else v for k, v in found.items()}
    lists = made.image_metadata()
    few = {k: v[:3] if k.startswith("train") else v for k, v in lists.items()}
    with pytest.raises(ValueError, match=r"codes 5, 7 .*are neither images \(1 to 3\) nor"):
        things_eeg2.load(tmp_path, metadata=few)
    with pytest.raises(ValueError, match="channels: XX not in"):
        things_eeg2.load(tmp_path, channels=["XX"])
    other = tmp_path / "sub-01" / "ses-01" / "raw_eeg_training.npy"
    other.rename(other.with_name("kept.npy"))
    with pytest.raises(FileNotFoundError, match="fitted on training trials only"):
        things_eeg2.load(tmp_path, split="test", mvnn=True)
    with pytest.raises(FileNotFoundError, match=r"has no raw_eeg_training\.npy"):
        things_eeg2.load(tmp_path)
    np.save(file, {k: v for k, v in whole.items() if k != "sfreq"})
    with pytest.raises(ValueError, match="lacks sfreq; it is no raw recording"):
        things_eeg2.load(tmp_path)
    np.save(file, whole | {"ch_names": ["x", *whole["ch_names"][1:-1], "trigger"]})
    with pytest.raises(ValueError, match="no channel 'stim'"):
        things_eeg2.load(tmp_path)
    np.save(file, whole | {"ch_names": whole["ch_names"][:-1]})
    with pytest.raises(ValueError, match="6 names and 7 types"):
        things_eeg2.load(tmp_path)
    quiet = whole["raw_eeg_data"].copy()
    quiet[-1] = 0
    np.save(file, whole | {"raw_eeg_data": quiet})
    with pytest.raises(ValueError, match="No trial of an image"):
        things_eeg2.load(tmp_path)
