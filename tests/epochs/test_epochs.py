from dataclasses import FrozenInstanceError

import mne
import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import KFold, cross_validate, train_test_split
from sklearn.utils import gen_batches

from mne_img2brain.epochs import (
    ChannelScaler,
    align,
    check_times,
    events_for,
    generated_metadata,
    make_epochs,
    named_images,
    project,
    read_recording,
    signal_basis,
    take_channels,
    to_evoked_map,
)
from mne_img2brain.epochs import recording as recording_module
from mne_img2brain.epochs.regions import site_montage

NAMES = "Fz Cz Pz P7 P8 O1 Oz O2".split()


def _info(names=NAMES, sfreq=100.0):
    return mne.create_info(list(names), sfreq, "eeg").set_montage(site_montage())


def _epochs(n=10, names=NAMES, seed=0, **kwargs):
    data = 1e-5 * np.random.default_rng(seed).standard_normal((n, len(names), 31))
    kwargs = {"tmin": -0.1, "baseline": (None, 0), **kwargs}
    return mne.EpochsArray(data, _info(names), verbose="error", **kwargs)


def _raw_epochs(preload=False, n=12):
    """Epochs of a raw recording with a stimulus channel, two of them too large, metadata."""
    rng = np.random.default_rng(0)
    info = mne.create_info([*NAMES, "STI"], 100.0, ["eeg"] * 8 + ["stim"])
    data = 1e-5 * rng.standard_normal((9, 100 * (n + 2)))
    for bad in (3, 7):
        data[0, 100 * bad + 110] = 1e-2
    raw = mne.io.RawArray(data, info, verbose="error").set_montage(site_montage(), verbose="error")
    events = np.c_[100 * np.arange(1, n + 1), np.zeros(n, int), 1 + np.arange(n) % 2]
    return mne.Epochs(
        raw, events, {"face": 1, "house": 2}, tmin=-0.1, tmax=0.3, preload=preload,
        reject={"eeg": 5e-3}, metadata=pd.DataFrame({"image": [f"{i}.png" for i in range(n)]}),
        verbose="error",
    )  # fmt: skip


# --- reading ---------------------------------------------------------------------------------


def test_what_is_read():
    epochs = _epochs()
    epochs.info["bads"] = ["Cz"]
    recording = read_recording(epochs)
    np.testing.assert_array_equal(recording.data, epochs.get_data(picks="eeg"))
    assert recording.data.shape == (10, 7, 31)
    assert recording.ch_names == [name for name in NAMES if name != "Cz"]
    assert recording.bads == recording.left_out == ("Cz",)
    assert recording.tmin == pytest.approx(-0.1)
    assert recording.baseline == (-0.1, 0.0)
    assert recording.sfreq == 100.0
    assert recording.n_trials == recording.n_events == 10
    assert set(recording.ch_types) == {"eeg"}
    np.testing.assert_array_equal(recording.n_averaged, 1)
    assert recording.metadata is None
    assert list(recording.subject) == [None] * 10
    with pytest.raises(FrozenInstanceError):
        recording.data = None


def test_epochs_on_disk_are_left_there_and_lose_nothing():
    epochs = _raw_epochs()
    recording = read_recording(epochs)
    assert not epochs.preload
    assert len(epochs.events) == 12
    with pytest.raises(RuntimeError, match="bad epochs have not been dropped"):
        len(epochs)
    loaded = _raw_epochs(preload=True)
    np.testing.assert_array_equal(recording.data, loaded.get_data(picks="eeg"))
    np.testing.assert_array_equal(recording.selection, loaded.selection)
    assert recording.n_events == 12
    assert recording.n_trials == 10
    assert recording.metadata["image"].tolist() == loaded.metadata["image"].tolist()
    assert recording.metadata.index.tolist() == list(range(10))
    assert recording.event_id == {"face": 1, "house": 2}
    np.testing.assert_array_equal(recording.event_codes, loaded.events[:, 2])
    assert "STI" in recording.left_out


def test_the_users_object_is_not_shared():
    epochs = _epochs(metadata=pd.DataFrame({"a": range(10)}))
    before, info = epochs.get_data(), epochs.info.copy()
    recording = read_recording(epochs)
    with pytest.raises(ValueError, match="read-only"):  # a view, not a copy as large
        recording.data[:] = 0
    recording.metadata["a"] = 0
    recording.event_codes[:] = 9
    recording.info["bads"] = ["Oz"]
    np.testing.assert_array_equal(epochs.get_data(), before)
    assert epochs.metadata["a"].tolist() == list(range(10))
    assert set(epochs.events[:, 2]) == {1}
    assert mne.utils.object_diff(epochs.info, info) == ""


def test_lists_are_what_cross_validation_makes_of_epochs():
    epochs = _raw_epochs(preload=True)
    part, _ = train_test_split(epochs, random_state=0)
    assert isinstance(part, list)
    recording = read_recording(part)
    rows, _ = train_test_split(np.arange(10), random_state=0)
    np.testing.assert_array_equal(recording.data, read_recording(epochs).data[rows])
    np.testing.assert_array_equal(recording.event_codes, epochs.events[rows, 2])
    assert recording.metadata["image"].tolist() == epochs.metadata["image"].iloc[rows].tolist()
    # indexing does the same
    np.testing.assert_array_equal(read_recording(epochs[rows]).data, recording.data)


def test_cross_validate_passes_epochs_through():
    from sklearn.base import BaseEstimator

    class Mean(BaseEstimator):
        def fit(self, X, y):
            self.mean_ = read_recording(y).data.mean(axis=0)
            return self

        def score(self, X, y):
            recording = read_recording(y)
            align(X, recording)
            return -np.abs(recording.data.mean(axis=0) - self.mean_).mean()

    shown_images = [f"{i}.png" for i in range(10)]
    scores = cross_validate(Mean(), shown_images, _epochs(), cv=KFold(5), error_score="raise")
    data = _epochs().get_data(copy=True)
    first = -np.abs(data[:2].mean(0) - data[2:].mean(0)).mean()
    assert scores["test_score"][0] == pytest.approx(first)


def test_a_list_of_runs_may_have_other_channel_orders_and_bads():
    first, second = _epochs(4), _epochs(5, NAMES[::-1], seed=1)
    second.info["bads"] = ["Oz"]
    recording = read_recording([first, second])
    assert recording.data.shape == (9, 7, 31)
    np.testing.assert_array_equal(recording.data[4:], second.get_data(picks=recording.ch_names))
    assert recording.left_out == ("Oz",)
    np.testing.assert_array_equal(recording.selection, np.arange(9))
    assert recording.n_events == 9


def test_evokeds_count_as_averages():
    evokeds = []
    for i, name in enumerate(["face", "house", "face"]):
        evoked = _epochs(3 + i, seed=i).average()
        evoked.comment = name
        evokeds.append(evoked)
    recording = read_recording(evokeds)
    np.testing.assert_array_equal(recording.n_averaged, [3, 4, 5])
    np.testing.assert_array_equal(recording.data[1], evokeds[1].data)
    assert recording.baseline == (-0.1, 0.0)
    names = {code: name for name, code in recording.event_id.items()}
    assert [names[code] for code in recording.event_codes] == ["face", "house", "face"]


def test_metadata_says_subject_and_number_of_averages():
    frame = pd.DataFrame({"subject": [1] * 5 + [2] * 5, "n_averaged": range(1, 11)})
    recording = read_recording(_epochs(metadata=frame))
    assert recording.subject.tolist() == ["1"] * 5 + ["2"] * 5
    np.testing.assert_array_equal(recording.n_averaged, np.arange(1, 11))
    # missing counts are those of single trials: concatenation leaves such gaps
    gaps = read_recording(_epochs(metadata=frame.assign(n_averaged=[np.nan] * 4 + [6.0] * 6)))
    np.testing.assert_array_equal(gaps.n_averaged, [1] * 4 + [6] * 6)
    with pytest.raises(ValueError, match="Row 0 of the metadata column 'n_averaged'.*above 0"):
        read_recording(_epochs(metadata=frame.assign(n_averaged=range(10))))
    with pytest.raises(ValueError, match="Row 5 of the metadata column 'subject'"):
        read_recording(_epochs(metadata=frame.assign(subject=["a"] * 5 + [None] * 5)))


def test_subjects_with_other_sensors_are_united():
    a, b = _epochs(4), _epochs(3, ["Oz", "Cz", "POz"], seed=1)
    a.info["bads"] = ["Fz"]
    a.event_id = {"face": 1}
    b.event_id = {"house": 1}
    recording = read_recording({"a": a, "b": b})
    assert recording.ch_names == [*NAMES[1:], "POz"]
    assert recording.data.shape == (7, 8, 31)
    np.testing.assert_array_equal(recording.data[:4, :7], a.get_data(picks=NAMES[1:]))
    column = recording.ch_names.index("Oz")
    np.testing.assert_array_equal(recording.data[4:, column], b.get_data(picks="Oz")[:, 0])
    np.testing.assert_array_equal(np.isnan(recording.data).all(axis=2), ~recording.channel_mask)
    assert recording.channel_mask.sum() == 4 * 7 + 3 * 3
    assert recording.subject.tolist() == ["a"] * 4 + ["b"] * 3
    # one code meant two things
    assert len(recording.event_id) == 2
    assert len(set(recording.event_codes[[0, 6]])) == 2
    position = recording.info["chs"][recording.ch_names.index("POz")]["loc"]
    np.testing.assert_array_equal(position, b.info["chs"][2]["loc"])
    # which of all events a trial is, of subject after subject
    c = _epochs(5, seed=2)
    three = read_recording({"a": a, "b": b.drop([1], verbose="error"), "c": c})
    assert three.selection.tolist() == [*range(4), 4, 6, *range(7, 12)]
    # one subject in a dict is that subject
    assert read_recording({"a": a}).subject.tolist() == ["a"] * 4


def test_projectors_of_one_subject_are_not_claimed_for_all():
    a, b = _epochs(4), _epochs(3, seed=1)
    a.set_eeg_reference(projection=True, verbose="error")
    a.apply_proj(verbose="error")
    with pytest.warns(
        RuntimeWarning, match="'Average EEG reference' is missing in epochs\\['b'\\]"
    ):
        assert read_recording({"a": a, "b": b}).info["projs"] == []
    b.set_eeg_reference(projection=True, verbose="error")
    b.apply_proj(verbose="error")
    assert [proj["active"] for proj in read_recording({"a": a, "b": b}).info["projs"]] == [True]


def test_picks_and_names():
    epochs = _epochs()
    epochs.info["bads"] = ["Oz"]
    assert read_recording(epochs, picks=["Oz", "O1"]).ch_names == ["O1"]
    assert read_recording(epochs, ch_names=["O2", "O1", "nowhere"]).ch_names == ["O1", "O2"]
    assert read_recording(epochs, picks="eeg").ch_names == [n for n in NAMES if n != "Oz"]
    with pytest.raises(ValueError, match="picks=\\['nowhere'\\] does not fit epochs"):
        read_recording(epochs, picks=["nowhere"])
    with pytest.raises(ValueError, match="No channel of epochs is left.*8 channels"):
        read_recording(epochs, picks=["Oz"])
    with pytest.raises(ValueError, match="None of the 1 channels .*nowhere.*Fz, Cz, Pz"):
        read_recording(epochs, ch_names=["nowhere"])


def test_one_time_point_is_enough():
    data = 1e-6 * np.random.default_rng(0).standard_normal((5, 8, 1))
    recording = read_recording(mne.EpochsArray(data, _info(), verbose="error"))
    assert recording.data.shape == (5, 8, 1)
    scaler = ChannelScaler().fit(recording.data, recording.ch_types)
    assert scaler.transform(recording.data, recording.ch_types).std() == pytest.approx(1, rel=0.3)


def test_bad_data_are_named():
    epochs = _epochs()
    epochs._data[3, 2, 5] = np.nan
    with pytest.raises(ValueError, match="NaN: first in trial 3, channel 'Pz'"):
        read_recording(epochs)
    epochs._data[3, 2, 5] = np.inf
    with pytest.raises(ValueError, match="infinite values: first in trial 3, channel 'Pz'"):
        read_recording(epochs)
    epochs._data[:, 2] = 0
    epochs._data[:, 4] = 1e-6
    with pytest.raises(ValueError, match="2 flat channels.*: Pz, P8. Mark them as bad"):
        read_recording(epochs)
    with pytest.raises(ValueError, match="1 trial left"):
        read_recording(_epochs(1))
    assert read_recording(_epochs(1), min_trials=1).n_trials == 1


@pytest.mark.parametrize(
    ("epochs", "error", "match"),
    [
        ("epochs.fif", TypeError, "epochs is a str"),
        (np.zeros((3, 8, 10)), TypeError, "an ndarray|EpochsArray"),
        ([np.zeros((8, 10))], TypeError, r"epochs\[0\] is a ndarray.*no sensors"),
        ([], ValueError, "empty list"),
        ({}, ValueError, "empty dict"),
        ([_epochs(3), _epochs(3, NAMES[:5])], ValueError, "different channels.*O1"),
        ([_epochs(3), _epochs(3, baseline=None)], ValueError, "has the baseline None"),
        (
            [_epochs(3), _epochs(3).crop(0, 0.1)],
            ValueError,
            r"epochs\[1\] has 11 times from 0 to 0.1 s and epochs\[0\] has 31 from -0.1 to 0.2 s; "
            "crop them to the same times",
        ),
        ({1: _epochs(3), 2: _epochs(3).resample(50)}, ValueError, "50 Hz and .* of 100 Hz"),
    ],
)
def test_what_cannot_be_read(epochs, error, match):
    with pytest.raises(error, match=match):
        read_recording(epochs)


def test_one_name_two_channel_types():
    other = _epochs(3).set_channel_types({"Oz": "ecog"}, verbose="error")
    with pytest.raises(ValueError, match="'Oz' is of type 'eeg' in one subject and 'ecog'"):
        read_recording({"a": _epochs(3), "b": other})
    with pytest.raises(ValueError, match="'Oz' is of type 'ecog' in one subject and 'eeg'"):
        read_recording({"a": other, "b": _epochs(3)})


# --- alignment -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recording():
    return read_recording(_raw_epochs())


def test_by_order_and_by_event(recording):
    np.testing.assert_array_equal(align(range(10), recording), np.arange(10))
    # 12 events, of which 3 and 7 were rejected
    expected = [0, 1, 2, 4, 5, 6, 8, 9, 10, 11]
    np.testing.assert_array_equal(align(range(12), recording), expected)
    with pytest.raises(ValueError, match="11 images, but 10 trials .of 12 events"):
        align(range(11), recording)


def test_by_ids(recording):
    ids = np.arange(10) % 3
    np.testing.assert_array_equal(align(range(3), recording, ids), ids)
    np.testing.assert_array_equal(align(range(3), recording, ids.astype(float)), ids)
    per_event = np.arange(12) % 3
    np.testing.assert_array_equal(
        align(range(3), recording, per_event), per_event[recording.selection]
    )
    with pytest.raises(ValueError, match="2 is out of range for 2 images .0 to 1.*trial 2"):
        align(range(2), recording, ids)
    with pytest.raises(ValueError, match="-1 is out of range"):
        align(range(3), recording, ids - 1)
    with pytest.raises(ValueError, match="count from 1: subtract 1"):
        align(range(3), recording, ids + 1)
    with pytest.raises(ValueError, match="shape .9,., but there are 10 trials"):
        align(range(3), recording, ids[:9])
    with pytest.raises(ValueError, match="whole numbers, but trial 0 has .*0.5"):
        align(range(3), recording, ids + 0.5)
    with pytest.raises(ValueError, match="has the type bool"):
        align(range(3), recording, ids > 1)
    for chance in (set(range(10)), dict(enumerate(ids))):
        with pytest.raises(TypeError, match="no order of trials"):
            align(range(10), recording, chance)


def test_by_name_and_metadata_column(recording):
    images = [f"stimuli/{i}.png" for i in range(12)]
    np.testing.assert_array_equal(align(images, recording, "image"), recording.selection)
    stems = [str(i) for i in recording.selection]
    np.testing.assert_array_equal(align(images, recording, stems), recording.selection)
    paths = [f"stimuli/./{i}.png" for i in recording.selection]
    np.testing.assert_array_equal(align(images, recording, paths), recording.selection)
    with pytest.raises(FileNotFoundError, match="png', which is not there, seen from"):
        named_images(recording, "image", None)
    with pytest.raises(ValueError, match="no image is called '11.png'"):
        align(images[:11], recording, "image")
    with pytest.raises(ValueError, match="several images are called '0.png'"):
        align([*images, "other/0.png"], recording, "image")
    with pytest.raises(ValueError, match="images are not paths .ndarray."):
        align([np.zeros((2, 2))] * 12, recording, "image")
    with pytest.raises(ValueError, match="no column 'nothing'; it has .'image'."):
        align(images, recording, "nothing")
    with pytest.raises(ValueError, match="metadata is None"):
        align(images, read_recording(_epochs()), "image")


def test_names_match_by_as_much_of_the_path_as_tells_images_apart(recording):
    def found(ids, images):
        ids = [ids[i % len(ids)] for i in range(10)]
        return align(images, recording, ids)[: len(set(ids))].tolist()

    assert found(["/old/face/1.png", "/old/house/1.png"], ["house/1.png", "face/1.png"]) == [1, 0]
    assert found(["D:\\x\\2.png", "D:\\x\\1.png"], ["a/1.png", "a/2.png"]) == [1, 0]
    # the whole path comes first
    assert found(["a/1.png", "b/a/1.png"], ["b/a/1.png", "a/1.png"]) == [1, 0]
    # the same image in another spelling, twice
    assert found(["1.png"], ["a/./1.png", "a/1.png"]) == [0]
    with pytest.raises(ValueError, match="several images are called '1.png'"):
        found(["1.png"], ["a/1.png", "b/1.png"])
    with pytest.raises(ValueError, match="'face/1.png' and 'house/1.png' are of different folders"):
        found(["face/1.png", "house/1.png"], ["house/1.png"])


def test_ids_of_dropped_events_tell_that_they_count_from_one(recording):
    """The last image was shown in a dropped event only: the rest would be one off."""
    assert recording.selection.tolist() == [0, 1, 2, 4, 5, 6, 8, 9, 10, 11]
    ids = np.array([1, 2, 3, 10, 4, 5, 6, 10, 7, 8, 9, 9])
    with pytest.raises(ValueError, match="dropped events included.*count from 1: subtract 1"):
        align(range(10), recording, ids)
    # what dropped events have instead of an image is nobody's business
    for nothing in (-1, np.nan, 99):
        values = ids.astype(float)
        values[[3, 7]] = nothing
        rows = align(range(10), recording, values)
        np.testing.assert_array_equal(rows, ids[recording.selection])
    with pytest.raises(ValueError, match=r"image_ids holds 1e\+30; give positions"):
        align(range(10), recording, np.r_[np.zeros(9), 1e30])


def test_columns_with_holes():
    frame = pd.DataFrame({"image": ["a.png"] * 9 + [None], "number": range(10)})
    recording = read_recording(_epochs(metadata=frame))
    with pytest.raises(ValueError, match="'image' is empty in 1 of 10 trials, first in trial 9"):
        named_images(recording, "image", None)
    with pytest.raises(ValueError, match="hold paths of images, but trial 0 has 0"):
        named_images(recording, "number", None)
    np.testing.assert_array_equal(align(range(10), recording, "number"), np.arange(10))


# --- scaling and rank ------------------------------------------------------------------------


def test_one_scale_per_type(rng):
    types = np.array(["mag", "grad", "grad", "eeg"])
    size = np.array([1e-13, 1e-11, 1e-11, 1e-5])[:, None]
    data = size * (rng.standard_normal((50, 4, 200)) + 30 * rng.standard_normal((50, 4, 1)))
    scaler = ChannelScaler().fit(data, types)
    # offsets of trials do not count
    expected = {"mag": 1e-13, "grad": 1e-11, "eeg": 1e-5}
    assert scaler.scales_ == pytest.approx(expected, rel=0.02, abs=0)
    standard = scaler.transform(data, types)
    np.testing.assert_allclose(scaler.inverse_transform(standard, types), data, rtol=1e-14)
    # other units: the same standardised data, the other units back
    large = ChannelScaler().fit(1e6 * data, types)
    np.testing.assert_allclose(large.transform(1e6 * data, types), standard, rtol=1e-12)
    holes = data.copy()
    holes[:25, 0] = np.nan
    assert ChannelScaler().fit(holes, types).scales_["mag"] == pytest.approx(1e-13, rel=0.05, abs=0)


def test_scaler_errors():
    with pytest.raises(ValueError, match="type 'eeg' do not vary"):
        ChannelScaler().fit(np.ones((5, 2, 10)), ["eeg"] * 2)


def _average_reference(epochs):
    return epochs.set_eeg_reference("average", projection=False, verbose="error")


def _reference_projector(epochs):
    epochs.set_eeg_reference(projection=True, verbose="error")
    return epochs.apply_proj(verbose="error")


def _waiting_projector(epochs):
    return epochs.set_eeg_reference(projection=True, verbose="error")


def _component_removed(epochs):
    # what ICA does: leave out two of the components of the average-referenced data
    epochs = _average_reference(epochs)
    patterns = np.random.default_rng(3).standard_normal((8, 2))
    directions = np.linalg.qr(patterns - patterns.mean(axis=0))[0]
    epochs._data -= directions @ (directions.T @ epochs._data)
    return epochs


def _bad_after_projector(epochs):
    epochs = _reference_projector(epochs)
    epochs.info["bads"] = ["Pz"]
    return epochs


@pytest.mark.parametrize(
    ("clean", "rank"),
    [(lambda epochs: epochs, 8), (_average_reference, 7), (_reference_projector, 7),
     (_waiting_projector, 8), (_component_removed, 5), (_bad_after_projector, 7)],
)  # fmt: skip
def test_generated_data_have_the_rank_of_the_training_data(clean, rank, rng):
    epochs = clean(_epochs(40))
    recording = read_recording(epochs)
    scaler = ChannelScaler().fit(recording.data, recording.ch_types)
    basis = signal_basis(recording.data, recording.info, scaler)
    n_channels = len(recording.ch_names)
    assert basis.shape == (n_channels, rank)
    np.testing.assert_allclose(basis.T @ basis, np.eye(rank), atol=1e-12)
    # the data are in it
    standard = scaler.transform(recording.data, recording.ch_types)
    np.testing.assert_allclose(project(standard, basis), standard, atol=1e-9)
    values = project(
        rng.standard_normal((20, n_channels, 31)).astype(np.float32).astype(float), basis
    )
    generated = make_epochs(
        scaler.inverse_transform(values, recording.ch_types), recording.info, tmin=-0.1
    )
    expected = mne.compute_rank(epochs, verbose="error")
    assert mne.compute_rank(generated, verbose="error") == expected
    states = [[proj["active"] for proj in one.info["projs"]] for one in (epochs, generated)]
    assert states[0] == states[1]


def test_rank_of_several_channel_types(rng):
    info = mne.create_info(list("abcdefgh"), 100.0, ["mag"] * 3 + ["grad"] * 3 + ["ecog"] * 2)
    data = rng.standard_normal((30, 8, 20)) * np.r_[[1e-13] * 3, [1e-11] * 3, [1e-4] * 2][:, None]
    data[:, 2] = data[:, 0] + data[:, 1]
    scaler = ChannelScaler().fit(data, info.get_channel_types())
    basis = signal_basis(data, info, scaler)
    assert basis.shape == (8, 7)
    # only the magnetometers lost a dimension
    np.testing.assert_allclose((basis**2).sum(axis=1)[3:], 1, atol=1e-12)
    # channels that not every trial has keep theirs
    data[:5, 0] = np.nan
    assert signal_basis(data, info, scaler).shape == (8, 8)


# --- generated epochs ------------------------------------------------------------------------


def test_epochs_keep_data_baseline_and_projectors(rng, tmp_path):
    info = _reference_projector(_epochs()).info
    data = 1e-5 * (rng.standard_normal((6, 8, 31)) + 3)  # neither referenced nor baselined
    before = data.copy()
    epochs = make_epochs(data, info, tmin=-0.1, baseline=(-0.1, 0.0))
    np.testing.assert_array_equal(epochs.get_data(), before)
    np.testing.assert_array_equal(data, before)
    epochs._data[:] = 0
    np.testing.assert_array_equal(data, before)
    epochs = make_epochs(data, info, tmin=-0.1, baseline=(-0.1, 0.0))
    assert epochs.baseline == (-0.1, 0.0)
    assert epochs.proj
    assert len(np.unique(epochs.events[:, 0])) == 6
    epochs.save(tmp_path / "generated-epo.fif", fmt="double", verbose="error")
    again = mne.read_epochs(tmp_path / "generated-epo.fif", proj=False, verbose="error")
    assert again.baseline == pytest.approx((-0.1, 0.0))
    assert [proj["active"] for proj in again.info["projs"]] == [True]
    np.testing.assert_allclose(again.get_data(), before, rtol=1e-12)
    assert epochs.average().baseline == (-0.1, 0.0)
    # a projector that was waiting still waits
    waiting = make_epochs(data, _waiting_projector(_epochs()).info, tmin=-0.1)
    assert not waiting.proj
    np.testing.assert_array_equal(waiting.get_data(), before)


def test_map_keeps_its_values(rng):
    r = rng.uniform(-1, 1, size=(8, 5))
    r[2] = np.nan
    evoked = to_evoked_map(r, _reference_projector(_epochs()).info, tmin=-0.1, comment="r")
    np.testing.assert_array_equal(evoked.data, r)
    assert evoked.comment == "r"
    assert evoked.times[0] == pytest.approx(-0.1)


def test_events_select_conditions(rng, tmp_path):
    data = rng.standard_normal((4, 8, 5))

    def made(**kwargs):
        codes, event_id = events_for(4, **kwargs)
        return make_epochs(data, _info(), tmin=0, event_codes=codes, event_id=event_id)

    table = pd.DataFrame({"kind": ["face", "house", "face", "face"], "n": [7, 9, 7, 7]})
    for kwargs in (
        {"event_id": ["face", "house", "face", "face"]},
        {"event_id": "kind", "metadata": table},
        {"event_id": {"face": 5, "house": 6, "car": 8}, "metadata": table},
        {"event_id": {"face": 7, "house": 9}, "metadata": table[["n"]]},
    ):
        assert len(made(**kwargs)["face"]) == 3
        assert len(made(**kwargs)["house"]) == 1
    assert set(made(event_id={"face": 5, "house": 6}, metadata=table).events[:, 2]) == {5, 6}
    assert made(event_id={"face": 3}).event_id == {"face": 3}
    assert made().event_id == {"generated": 1}
    # what a FIF file separates names and codes by is replaced; different names stay apart
    epochs = made(event_id=["a:b", "a;b", "a_b", "a:b"])
    assert len(epochs.event_id) == 3
    assert len(epochs["a_b"]) == 1
    codes, event_id = events_for(
        2, event_id={"a:b": 1, "a;b": 2}, metadata=pd.DataFrame({"c": ["a;b", "a:b"]})
    )
    assert codes.tolist() == [2, 1]
    assert sorted(event_id.values()) == [1, 2]
    epochs.save(tmp_path / "names-epo.fif", verbose="error")
    again = mne.read_epochs(tmp_path / "names-epo.fif", verbose="error")
    assert again.event_id == epochs.event_id


def test_events_that_are_not_clear():
    table = pd.DataFrame({"a": ["x", "y"], "b": ["y", "x"]})
    with pytest.raises(ValueError, match="More than one column .a, b."):
        events_for(2, event_id={"x": 1, "y": 2}, metadata=table)
    with pytest.raises(ValueError, match="No column of metadata"):
        events_for(2, event_id={"x": 1, "z": 2}, metadata=table)
    with pytest.raises(ValueError, match="not a column of metadata: it has"):
        events_for(2, event_id="c", metadata=table)
    with pytest.raises(ValueError, match="there is no metadata"):
        events_for(2, event_id="c")
    with pytest.raises(ValueError, match="3 conditions, but there are 2 images"):
        events_for(2, event_id=["a", "b", "c"])
    with pytest.raises(ValueError, match="metadata has 2 rows, but there are 3 images"):
        events_for(3, metadata=table)
    with pytest.raises(TypeError, match="metadata is a dict"):
        events_for(3, metadata={})
    with pytest.raises(ValueError, match="column 'a' .* holds the conditions, is empty in row 1"):
        events_for(2, event_id="a", metadata=pd.DataFrame({"a": ["x", None]}))
    with pytest.raises(TypeError, match="event_id is a set"):
        events_for(2, event_id={"a", "b"})


def test_a_dict_of_one_condition_is_that_of_the_table():
    table = pd.DataFrame(
        {"kind": ["face", "house"], "code": [1, 2], "n": [3, 4], "old": [True] * 2}
    )
    for columns in (["kind"], ["code"], ["kind", "code", "n", "old"]):
        with pytest.raises(ValueError, match=r"No column of metadata .* among \['face'\]"):
            events_for(2, event_id={"face": 1}, metadata=table[columns])
    # nothing in the table says otherwise
    for columns in (["n"], ["old"], ["n", "old"]):
        codes, event_id = events_for(2, event_id={"face": 1}, metadata=table[columns])
        assert codes.tolist() == [1, 1]
        assert event_id == {"face": 1}
    codes, _ = events_for(1, event_id={"face": 7}, metadata=table[["kind"]][:1])
    assert codes.tolist() == [7]


def test_codes_do_not_clash_with_those_of_training():
    known = {"face": 1, "house": 17}
    codes, event_id = events_for(2, known=known)
    assert event_id == {"generated": 100}
    assert codes.tolist() == [100, 100]
    codes, event_id = events_for(3, event_id=["house", "car", "house"], known=known)
    assert event_id == {"house": 17, "car": 101}
    assert codes.tolist() == [17, 101, 17]
    # generated epochs that were fitted to keep their code
    assert events_for(1, known={"generated": 5})[1] == {"generated": 5}


def test_metadata_of_generated_epochs():
    frame = generated_metadata(
        2, names=["a.png", ""], captions=["a cat", "a dog"], subject="s1", n_draws=3,
        metadata=pd.DataFrame({"kind": ["x", "y"], "image": ["mine", "yours"]}, index=[5, 9]),
    )  # fmt: skip
    assert frame["image_id"].tolist() == [0, 0, 0, 1, 1, 1]
    assert frame["draw"].tolist() == [0, 1, 2, 0, 1, 2]
    assert set(frame) == {"image_id", "image", "caption", "subject", "draw", "kind"}
    assert frame["image"].tolist() == ["mine"] * 3 + ["yours"] * 3
    assert frame["kind"].tolist() == list("xxxyyy")
    assert frame["caption"].tolist() == ["a cat"] * 3 + ["a dog"] * 3
    assert set(frame["subject"]) == {"s1"}
    expected = generated_metadata(2, names=["a.png", ""])
    assert list(expected) == ["image_id", "image", "caption", "subject", "draw"]
    # NaN where there is none, as everywhere in pandas
    assert expected[["caption", "subject", "draw"]].isna().all(axis=None)
    assert expected["image"].isna().tolist() == [False, True]
    assert "n_averaged" not in frame
    of_averages = generated_metadata(2, image_ids=[7, "b"], n_draws=1, n_averaged=4)
    assert of_averages["n_averaged"].tolist() == [4, 4]
    assert of_averages["image_id"].tolist() == [7, "b"]
    # of how many trials recorded data were averages is not true of single draws
    recorded = pd.DataFrame({"n_averaged": [80, 79], "image_id": [5, 3]})
    single = generated_metadata(2, n_draws=1, metadata=recorded)
    assert "n_averaged" not in single
    assert single["image_id"].tolist() == [5, 3]
    with pytest.raises(ValueError, match="column 'draw'"):
        generated_metadata(1, metadata=pd.DataFrame({"draw": [1]}))
    with pytest.raises(ValueError, match="metadata has 1 rows"):
        generated_metadata(2, metadata=pd.DataFrame({"a": [1]}))


# --- does a recording fit --------------------------------------------------------------------


def test_channels_by_name_in_any_order():
    recording = read_recording(_epochs(3, [*NAMES[::-1], "POz"]))
    np.testing.assert_array_equal(
        take_channels(recording, NAMES), recording.data[:, list(range(7, -1, -1))]
    )
    with pytest.raises(ValueError, match="2 of the 10 channels .* missing in epochs: C3, C4"):
        take_channels(recording, [*NAMES, "C3", "C4"])


def test_bad_channels_are_nan_with_a_warning():
    epochs = _epochs(3)
    epochs.info["bads"] = ["Pz"]
    recording = read_recording(epochs)
    with pytest.warns(RuntimeWarning, match="marked as bad in epochs are left out: Pz"):
        data = take_channels(recording, NAMES)
    assert np.isnan(data[:, 2]).all()
    assert np.isfinite(np.delete(data, 2, axis=1)).all()
    with pytest.raises(ValueError, match="All channels .* marked as bad"):
        take_channels(recording, ["Pz"])


def test_times():
    recording = read_recording(_epochs())
    times = recording.times
    check_times(recording, times, 100.0)
    check_times(recording, times + 0.004, 100.0)
    with pytest.raises(ValueError, match=r"31 times from -0.1 to 0.2 s.*crop\(-0.094"):
        check_times(recording, times + 0.006, 100.0)
    with pytest.raises(ValueError, match="fitted on 30"):
        check_times(recording, times[:-1], 100.0)
    with pytest.raises(ValueError, match=r"100 Hz, but .* fitted at 250 Hz; use epochs.resample"):
        check_times(recording, times, 250.0)


def test_epochs_on_disk_are_read_a_part_at_a_time(tmp_path, monkeypatch):
    loaded = _raw_epochs(preload=True, n=30)
    loaded.save(tmp_path / "a-epo.fif", verbose="error")
    whole = read_recording(mne.read_epochs(tmp_path / "a-epo.fif", verbose="error"))
    monkeypatch.setattr(recording_module, "parts_of", lambda values: gen_batches(len(values), 4))
    n_read = []
    epochs = mne.read_epochs(tmp_path / "a-epo.fif", preload=False, verbose="error")
    get = type(epochs).get_data

    def counted(self, **given):
        n_read.append(len(self))
        return get(self, **given)

    monkeypatch.setattr(type(epochs), "get_data", counted)
    np.testing.assert_array_equal(read_recording(epochs).data, whole.data)
    assert max(n_read) <= 4
    assert not epochs.preload
