"""Every variant of THINGS-EEG2, with its traps. Numbers come from the arrays that were written."""

import json
import pickle

import mne
import numpy as np
import pytest
import things_files as made

from mne_img2brain.datasets import things_eeg2
from mne_img2brain.datasets._unpickler import RefusedError
from mne_img2brain.datasets.streamed import StreamedEpochs
from mne_img2brain.datasets.things_eeg2_images import content_hash
from mne_img2brain.epochs import read_recording

VARIANTS = ["gifford", "nice", "ubp", "ubp tensors", "neurobridge", "neurobridge dict"]


def write(variant, root):
    """Write one variant with metadata; return data by split."""
    made.write_metadata(root)
    return {
        "gifford": lambda: made.write_gifford(root),
        "nice": lambda: made.write_nice(root),
        "ubp": lambda: made.write_ubp(root),
        "ubp tensors": lambda: made.write_ubp(root, tensors=True),
        "neurobridge": lambda: made.write_neurobridge(root),
        "neurobridge dict": lambda: made.write_neurobridge(root, as_dict=True),
    }[variant]()


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_averages(tmp_path, variant, split):
    data = write(variant, tmp_path)[split]
    images, epochs = things_eeg2.load(tmp_path, 1, split)
    lists = made.image_metadata()
    n = {"train": 8, "test": 3}[split]
    np.testing.assert_allclose(
        epochs.get_data(copy=False), data.astype(float).mean(axis=1), atol=1e-12
    )
    folder = "training_images" if split == "train" else "test_images"
    concepts, files = lists[f"{split}_img_concepts"], lists[f"{split}_img_files"]
    assert images == [f"{folder}/{c}/{f}" for c, f in zip(concepts, files, strict=True)]
    names = made.NAMES_17 if variant == "gifford" else made.NAMES_63
    assert epochs.ch_names == names
    assert epochs.preload
    table = epochs.metadata
    assert table["image"].tolist() == images
    assert table["concept"].tolist() == [c[6:] for c in concepts]
    assert table["image_id"].tolist() == list(range(n))
    assert set(table["n_averaged"]) == {data.shape[1]}
    assert set(table["subject"]) == {"sub-01"}
    assert "repetition" not in table
    # events are called by concept
    assert len(epochs[concepts[-1][6:]]) == concepts.count(concepts[-1])
    assert len(np.unique(epochs.events[:, 0])) == n
    recording = read_recording(epochs)
    np.testing.assert_array_equal(recording.n_averaged, data.shape[1])


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_last_times_are_those_of_the_data(tmp_path, variant):
    """A naive reader takes the first 250 of 300 times, and is 200 ms early."""
    write(variant, tmp_path)
    _, epochs = things_eeg2.load(tmp_path)
    if variant == "gifford":
        np.testing.assert_allclose(epochs.times, made.TIMES_100, atol=1e-12)
        assert epochs.baseline == (-0.2, 0.0)
    else:
        np.testing.assert_allclose(epochs.times, np.arange(250) / 250, atol=1e-12)
        # the baseline was cut off: MNE cannot record it
        assert epochs.baseline is None


@pytest.mark.parametrize("variant", VARIANTS)
def test_single_trials_stay_on_disk(tmp_path, variant):
    data = write(variant, tmp_path)["train"].astype(float)
    images, epochs = things_eeg2.load(tmp_path, average=False)
    assert isinstance(epochs, mne.BaseEpochs)
    assert not epochs.preload
    assert len(epochs) == len(images) == 32
    assert epochs.metadata["image_id"].tolist() == np.repeat(np.arange(8), 4).tolist()
    assert epochs.metadata["repetition"].tolist() == list(range(4)) * 8
    assert set(epochs.metadata["n_averaged"]) == {1}
    flat = data.reshape(32, *data.shape[2:])
    part = epochs[[5, 30, 7]]
    assert not part.preload
    np.testing.assert_allclose(part.get_data(copy=False), flat[[5, 30, 7]], atol=1e-12)
    # indexing twice, by condition, by metadata and one by one
    np.testing.assert_allclose(part[1:].get_data(copy=False), flat[[30, 7]], atol=1e-12)
    np.testing.assert_allclose(epochs["bat1"].get_data(copy=False), flat[16:24], atol=1e-12)
    chosen = epochs["repetition == 2"]
    np.testing.assert_allclose(chosen.get_data(copy=False), flat[2::4], atol=1e-12)
    np.testing.assert_allclose(next(iter(epochs[9])), flat[9], atol=1e-12)
    np.testing.assert_allclose(
        epochs.get_data(picks=["Oz"], item=[3], copy=False)[0, 0],
        flat[3, epochs.ch_names.index("Oz")],
        atol=1e-12,
    )
    assert not epochs.preload
    # and they can be loaded, cropped, saved and averaged as any epochs
    few = epochs[::8].load_data().crop(0.1, 0.3)
    few.save(tmp_path / "few-epo.fif", verbose="error")
    again = mne.read_epochs(tmp_path / "few-epo.fif", verbose="error")
    np.testing.assert_allclose(again.get_data(copy=False), few.get_data(copy=False), rtol=1e-5)
    assert again.metadata["concept"].tolist() == few.metadata["concept"].tolist()


def test_encoders_read_single_trials(tmp_path):
    data = write("nice", tmp_path)["train"]
    _, epochs = things_eeg2.load(tmp_path, average=False)
    recording = read_recording(epochs, picks=["Oz", "O1"])
    rows = [made.NAMES_63.index(name) for name in recording.ch_names]
    np.testing.assert_allclose(recording.data, data.reshape(32, 63, 250)[:, rows], atol=1e-12)
    assert not epochs.preload
    assert set(recording.subject) == {"sub-01"}


def test_channels_go_by_name(tmp_path):
    """The 63 are in another order in another file: rows must follow names."""
    turned = made.NAMES_63[::-1]
    made.write_metadata(tmp_path)
    data = made.write_nice(tmp_path, names=turned)["train"]
    _, epochs = things_eeg2.load(tmp_path, channels=["Oz", "Fp1"])
    assert epochs.ch_names == ["Oz", "Fp1"]
    rows = [turned.index("Oz"), turned.index("Fp1")]
    np.testing.assert_allclose(epochs.get_data(copy=False), data.mean(1)[:, rows], atol=1e-12)
    place = {name: epochs.info["chs"][i]["loc"][:3] for i, name in enumerate(epochs.ch_names)}
    assert place["Oz"][1] < -0.05 < 0.05 < place["Fp1"][1]  # at the back, at the front
    with pytest.raises(ValueError, match="channels: XX not in .*which has O2"):
        things_eeg2.load(tmp_path, channels=["Oz", "XX"])
    with pytest.raises(ValueError, match="twice"):
        things_eeg2.load(tmp_path, channels=["Oz", "Oz"])


def test_fortran_order_is_not_copied_or_confused(tmp_path):
    made.write_metadata(tmp_path)
    data = made.write_neurobridge(tmp_path, order="F")["train"]
    _, epochs = things_eeg2.load(tmp_path)
    np.testing.assert_allclose(epochs.get_data(copy=False), data.mean(1, dtype=float), atol=1e-6)


def test_item_order_is_that_of_conditions(tmp_path):
    """Files sorted by their own names are in another order: bat1_01b.jpg before bat_01b.jpg."""
    lists = made.image_metadata()
    assert lists["train_img_files"] != sorted(lists["train_img_files"])
    write("nice", tmp_path)
    made.write_images(tmp_path)
    images, epochs = things_eeg2.load(tmp_path)
    assert [p.split("/")[-1] for p in images] == lists["train_img_files"]
    assert all(str(tmp_path) in p for p in images)
    assert epochs.metadata["concept"].tolist()[2:6] == ["bat", "bat", "bat1", "bat1"]


def test_all_16540_real_images(tmp_path, shared_data):
    """The real metadata: every condition gets its image, and events a concept."""
    source = shared_data / "things_clip" / "things_eeg2_image_metadata.json"
    lists = json.loads(source.read_text())
    folder = tmp_path / "sub-07"
    folder.mkdir()
    data = np.arange(16540.0)[:, None, None, None] + np.zeros((1, 1, 2, 3))
    content = {
        "preprocessed_eeg_data": data, "ch_names": ["Oz", "Pz"], "times": np.arange(3) / 250,
    }  # fmt: skip
    with open(folder / "preprocessed_eeg_training.npy", "wb") as stream:
        pickle.dump(content, stream, protocol=4)
    images, epochs = things_eeg2.load(tmp_path, 7, metadata=source)
    assert len(images) == len(epochs) == 16540
    assert images == sorted(images)
    assert images[0] == "training_images/00001_aardvark/aardvark_01b.jpg"
    assert images[-1] == "training_images/01654_zucchini/zucchini_10s.jpg"
    assert len(epochs.event_id) == 1654
    assert epochs.get_data(copy=False)[12345, 0, 0] == 12345
    assert set(epochs.metadata.groupby("concept").size()) == {10}
    # the hash that fetch_image_metadata compares with was taken of this list
    from mne_img2brain.datasets import things_eeg2_images

    assert content_hash(lists) == things_eeg2_images._CONTENT_SHA256


@pytest.mark.parametrize(
    ("variant", "scale", "unit"),
    [("nice", 1.0, ""), ("nice", 1e-5, "V"), ("ubp", 1.0, ""), ("ubp", 1e-5, "V")],
)
def test_units_are_honest(tmp_path, variant, scale, unit):
    """Whitened data of size 1 are not volts, and a file says so after it is saved."""
    made.write_metadata(tmp_path)
    {"nice": made.write_nice, "ubp": made.write_ubp}[variant](tmp_path, scale=scale)
    _, epochs = things_eeg2.load(tmp_path)
    epochs.save(tmp_path / "x-epo.fif", verbose="error")
    again = mne.read_epochs(tmp_path / "x-epo.fif", verbose="error")
    for one in (epochs, again):
        assert ("no unit" in one.info["description"]) == (unit != "V")
        assert set(one.metadata["unit"].fillna("")) == {unit}
        assert ("no unit" in one.info["description"]) == (unit == "")


def test_ubp_knows_sessions_and_repetition_is_not_session(tmp_path):
    write("ubp", tmp_path)
    _, epochs = things_eeg2.load(tmp_path, average=False)
    # the file counts from 0 in floats: repetitions 0, 1 are of session 0, and 2, 3 of session 1
    assert epochs.metadata["session"].tolist()[:4] == [1, 1, 2, 2]
    (tmp_path / "nice").mkdir()
    write("nice", tmp_path / "nice")
    _, epochs = things_eeg2.load(tmp_path / "nice", average=False)
    assert "session" not in epochs.metadata


def test_ubp_needs_no_metadata_and_finds_train_images(tmp_path):
    made.write_ubp(tmp_path / "data")
    made.write_images(tmp_path / "images", "train_images")
    images, _ = things_eeg2.load(tmp_path / "data", images_dir=tmp_path / "images")
    assert images[2].endswith("train_images/00002_bat/bat_01b.jpg")


def test_window_and_rate(tmp_path):
    data = write("gifford", tmp_path)["train"].mean(1)
    _, whole = things_eeg2.load(tmp_path)
    _, part = things_eeg2.load(tmp_path, tmin=-0.05, tmax=0.3, resample=50)
    # reference: MNE's own resampling of the whole epochs, then crop
    expected = whole.copy().resample(50, verbose="error").crop(-0.04, 0.3)
    np.testing.assert_allclose(part.get_data(copy=False), expected.get_data(copy=False), atol=1e-12)
    np.testing.assert_allclose(part.times, expected.times, atol=1e-12)
    assert part.info["sfreq"] == 50
    assert part.info["lowpass"] == 25
    _, based = things_eeg2.load(tmp_path, baseline=(-0.2, -0.1), average=False)
    zero = based[:1].get_data(copy=False, tmin=-0.2, tmax=-0.09)[0].mean(axis=-1)
    np.testing.assert_allclose(zero, 0, atol=1e-12)
    assert based.baseline == (-0.2, -0.1)
    assert data.shape == whole.get_data(copy=False).shape
    with pytest.raises(ValueError, match=r"tmin, tmax: -0.5 to 0.79 s was asked for, but"):
        things_eeg2.load(tmp_path, tmin=-0.5)
    with pytest.raises(ValueError, match="has no sample at -0.2 s"):
        things_eeg2.load(tmp_path, resample=33)
    with pytest.raises(ValueError, match="resample=-1; give a number > 0"):
        things_eeg2.load(tmp_path, resample=-1)


def test_subjects_and_nested_folders(tmp_path):
    made.write_metadata(tmp_path)
    made.write_nice(tmp_path / "Preprocessed_data_250Hz", "sub-01")
    made.write_nice(tmp_path / "Preprocessed_data_250Hz", "sub-10")
    for subject in (10, "10", "sub-10", "sub-010"):
        _, epochs = things_eeg2.load(tmp_path, subject)
        assert set(epochs.metadata["subject"]) == {"sub-10"}
    _, epochs = things_eeg2.load(tmp_path / "Preprocessed_data_250Hz" / "sub-10", 10)
    assert len(epochs) == 8
    with pytest.raises(FileNotFoundError, match="no data of sub-02; there is sub-01, sub-10"):
        things_eeg2.load(tmp_path, 2)
    with pytest.raises(ValueError, match="subject='P1'"):
        things_eeg2.load(tmp_path, "P1")


def test_wrong_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        things_eeg2.load(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="not a folder of THINGS-EEG2"):
        things_eeg2.load(tmp_path)
    (tmp_path / "preprocessed_P1-epo.fif").touch()
    with pytest.raises(ValueError, match="holds THINGS-MEG .* not THINGS-EEG2"):
        things_eeg2.load(tmp_path)


def test_mixed_variants(tmp_path):
    write("ubp", tmp_path)
    made.write_neurobridge(tmp_path)
    with pytest.raises(ValueError, match="Several variants of sub-01 are mixed.*neurobridge.*ubp"):
        things_eeg2.load(tmp_path)
    _, epochs = things_eeg2.load(tmp_path, variant="ubp")
    assert "ubp" in epochs.info["description"]
    with pytest.raises(FileNotFoundError, match="no files of variant 'raw'"):
        things_eeg2.load(tmp_path, variant="raw")
    with pytest.raises(ValueError, match="variant='nicer'; give one of"):
        things_eeg2.load(tmp_path, variant="nicer")


def test_training_and_test_of_different_sources(tmp_path):
    write("gifford", tmp_path)
    other = tmp_path / "other"
    made.write_nice(other)
    (other / "sub-01" / "preprocessed_eeg_test.npy").replace(
        tmp_path / "sub-01" / "preprocessed_eeg_test.npy"
    )
    (other / "sub-01" / "preprocessed_eeg_training.npy").unlink()
    with pytest.raises(ValueError, match="Variants are mixed: .* 17 channels and 100 samples"):
        things_eeg2.load(tmp_path)


def test_variant_asked_for_is_not_what_is_there(tmp_path):
    write("nice", tmp_path)
    with pytest.raises(ValueError, match="holds 63 channels: it is 'nice'"):
        things_eeg2.load(tmp_path, variant="gifford")
    _, epochs = things_eeg2.load(tmp_path, variant="atm")
    assert len(epochs.ch_names) == 63
    with pytest.raises(ValueError, match="mvnn=True whitens raw recordings"):
        things_eeg2.load(tmp_path, mvnn=True)


def test_metadata_errors(tmp_path):
    made.write_nice(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"image_metadata\.npy is neither in .*osf\.io"):
        things_eeg2.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="is not a file"):
        things_eeg2.load(tmp_path, metadata=tmp_path / "x.npy")
    np.save(tmp_path / "image_metadata.npy", {"train_img_files": []})
    with pytest.raises(ValueError, match="lacks train_img_concepts, "):
        things_eeg2.load(tmp_path)
    lists = made.image_metadata()
    with pytest.raises(ValueError, match="8 conditions, but the image metadata list 7"):
        things_eeg2.load(tmp_path, metadata=short(lists, "train"))
    swapped = {k.replace("train", "x").replace("test", "train").replace("x", "test"): v
               for k, v in lists.items()}  # fmt: skip
    with pytest.raises(ValueError, match="that many test images: the file holds the other split"):
        things_eeg2.load(tmp_path, metadata=swapped)
    ragged = dict(lists, train_img_files=lists["train_img_files"][1:])
    np.save(tmp_path / "image_metadata.npy", ragged)
    with pytest.raises(ValueError, match="train lists of .* have different lengths"):
        things_eeg2.load(tmp_path)


def short(lists, split):
    return {k: v[1:] if k.startswith(split) else v for k, v in lists.items()}


def test_image_errors(tmp_path):
    write("nice", tmp_path)
    made.write_meg_images(tmp_path / "meg")
    with pytest.raises(ValueError, match="holds the images of THINGS-MEG"):
        things_eeg2.load(tmp_path, images_dir=tmp_path / "meg")
    with pytest.raises(FileNotFoundError, match="is not there"):
        things_eeg2.load(tmp_path, images_dir=tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="has no folder training_images"):
        things_eeg2.load(tmp_path, images_dir=tmp_path / "empty")
    made.write_images(tmp_path / "some")
    (tmp_path / "some" / "training_images" / "00002_bat" / "bat_01b.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 8 images are not in .*bat_01b\.jpg"):
        things_eeg2.load(tmp_path, images_dir=tmp_path / "some")


def test_broken_files(tmp_path):
    write("nice", tmp_path)
    file = tmp_path / "sub-01" / "preprocessed_eeg_training.npy"
    content = {"preprocessed_eeg_data": np.ones((8, 4, 63, 250)), "ch_names": made.NAMES_63}

    def put(**changes):
        file.write_bytes(pickle.dumps(content | changes, protocol=4))

    put()
    with pytest.raises(ValueError, match="lacks times; it holds"):
        things_eeg2.load(tmp_path)
    put(times=np.arange(249) / 250)
    with pytest.raises(ValueError, match="lists 249 times for 250 samples"):
        things_eeg2.load(tmp_path)
    put(times=np.zeros(300))
    with pytest.raises(ValueError, match="not evenly spaced"):
        things_eeg2.load(tmp_path)
    put(times=made.TIMES_300, ch_names=made.NAMES_63[:60])
    (tmp_path / "sub-01" / "preprocessed_eeg_test.npy").unlink()
    with pytest.raises(ValueError, match="names 60 channels, but its data have 63"):
        things_eeg2.load(tmp_path)
    put(times=made.TIMES_300, preprocessed_eeg_data=np.zeros((8, 63, 250)))
    with pytest.raises(ValueError, match="expected 4 axes: condition, repetition, channel, time"):
        things_eeg2.load(tmp_path)
    put(times=made.TIMES_300, ch_names=[*made.NAMES_63[:-1], "Q9"])
    with pytest.raises(ValueError, match="Channels Q9 are no sites"):
        things_eeg2.load(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"has no preprocessed_eeg_test\.npy"):
        things_eeg2.load(tmp_path, split="test")
    with pytest.raises(ValueError, match="split='val'"):
        things_eeg2.load(tmp_path, split="val")


def test_pickles_that_run_code_are_refused(tmp_path):
    made.write_metadata(tmp_path)
    (tmp_path / "sub-01").mkdir()
    file = tmp_path / "sub-01" / "preprocessed_eeg_training.npy"
    file.write_bytes(b"cos\nsystem\n(S'touch evil'\ntR.")
    with pytest.raises(RefusedError, match=r"os\.system"):
        things_eeg2.load(tmp_path)


def test_neurobridge_without_info(tmp_path):
    write("neurobridge", tmp_path)
    (tmp_path / "info.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no info\.json"):
        things_eeg2.load(tmp_path)


def test_a_broken_other_split_does_not_matter(tmp_path):
    write("nice", tmp_path)
    other = tmp_path / "sub-01" / "preprocessed_eeg_test.npy"
    other.write_bytes(other.read_bytes()[:5000])
    _, epochs = things_eeg2.load(tmp_path)
    assert isinstance(epochs, StreamedEpochs)


def test_fetch_compares_the_content(tmp_path, monkeypatch, shared_data):
    import pooch

    source = shared_data / "things_clip" / "things_eeg2_image_metadata.json"
    lists = json.loads(source.read_text())

    def retrieve(url, known_hash, fname, path):
        assert url.startswith("https://osf.io/")
        np.save(tmp_path / fname, lists)
        return str(tmp_path / fname)

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    file = things_eeg2.fetch_image_metadata(tmp_path)
    assert things_eeg2.read_image_metadata(file)["test_img_files"][-1] == "wok_12s.jpg"
    lists["test_img_files"][0] = "other.jpg"
    with pytest.raises(RuntimeError, match="is not the image metadata of THINGS-EEG2"):
        things_eeg2.fetch_image_metadata(tmp_path)
    assert not (tmp_path / "image_metadata.npy").exists()
