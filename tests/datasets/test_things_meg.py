"""Both variants of THINGS-MEG, with their traps."""

import mne
import numpy as np
import pandas as pd
import pytest
import things_files as made

from mne_img2brain.datasets import things_meg


@pytest.fixture(scope="module")
def fif(tmp_path_factory):
    root = tmp_path_factory.mktemp("meg")
    table, data = made.write_meg_fif(root)
    return root, table, data


def names_of(n_sensors=4, suffix="-1609"):
    """Names as the data have them: other numbers after the dash than MNE's helmet."""
    helmet = mne.channels.read_meg_canonical_info("ctf275")
    return [name.split("-")[0] + suffix for name in helmet["ch_names"][:n_sensors]]


@pytest.mark.parametrize(
    ("protocol", "concepts"),
    [
        ("zero-shot", ["aardvark", "bat", "coat_rack"]),
        ("standard", ["aardvark", "bat", "bat1", "coat_rack", "wine"]),
    ],
)
def test_training_splits_by_name(fif, protocol, concepts):
    root, table, data = fif
    images, epochs = things_meg.load(root, protocol=protocol)
    assert len(images) == len(epochs) == 3 * len(concepts)
    assert epochs.metadata["concept"].tolist() == np.repeat(concepts, 3).tolist()
    # images are in the order of concept and file, whatever the order of presentation
    assert images == [f"images_meg/{c}/{c}_{e:02d}s.jpg" for c in concepts for e in (1, 2, 3)]
    rows = [int(np.flatnonzero(table["image_path"] == image)[0]) for image in images]
    np.testing.assert_allclose(epochs.get_data(copy=False), data[rows], rtol=1e-6)
    assert protocol in epochs.info["description"]
    assert set(epochs.metadata["n_averaged"]) == {1}


@pytest.mark.parametrize("protocol", ["zero-shot", "standard"])
def test_test_split_is_the_same(fif, protocol):
    root, table, data = fif
    images, epochs = things_meg.load(root, split="test", protocol=protocol)
    assert images == ["images_test_meg/bat1_14s.jpg", "images_test_meg/wine_13n.jpg"]
    assert epochs.metadata["concept"].tolist() == ["bat1", "wine"]
    assert epochs.metadata["n_averaged"].tolist() == [4, 4]
    for image, one in zip(images, epochs.get_data(copy=False), strict=True):
        rows = np.flatnonzero(table["image_path"] == image)
        np.testing.assert_allclose(one, data[rows].mean(axis=0), rtol=1e-6)


def test_single_trials_without_catch(fif):
    """A naive reader keeps code 999999, and trials whose concept is tested."""
    root, table, data = fif
    images, epochs = things_meg.load(root, average=False, split="test")
    assert not epochs.preload
    rows = np.flatnonzero(table["trial_type"] == "test")
    assert epochs.metadata["trial"].tolist() == rows.tolist()
    assert epochs.metadata["session"].tolist() == table["session_nr"][rows].tolist()
    assert epochs.metadata["run"].tolist() == table["run_nr"][rows].tolist()
    assert images == table["image_path"][rows].tolist()
    np.testing.assert_allclose(epochs[[5, 2]].get_data(copy=False), data[rows[[5, 2]]], rtol=1e-6)
    repeated = epochs.metadata.groupby("image_id")["repetition"].apply(list)
    assert repeated.tolist() == [[0, 1, 2, 3]] * 2
    _, train = things_meg.load(root, average=False)
    assert not set(train.metadata["concept"]) & {"bat1", "wine"}
    assert len(train) == 9


def test_times_sensors_and_no_unit(fif, tmp_path):
    root, _, _ = fif
    _, epochs = things_meg.load(root)
    assert len(epochs.times) == 281
    np.testing.assert_allclose(epochs.times, np.arange(-20, 261) / 200, atol=1e-9)
    assert epochs.baseline == (-0.1, 0.0)
    assert set(epochs.get_channel_types()) == {"mag"}
    epochs.save(tmp_path / "x-epo.fif", verbose="error")
    again = mne.read_epochs(tmp_path / "x-epo.fif", verbose="error")
    for one in (epochs, again):
        assert "no unit" in one.info["description"]
        assert "no unit" in one.info["description"]
    _, part = things_meg.load(
        root, tmin=0, tmax=0.5, resample=100, channels=epochs.ch_names[2:0:-1]
    )
    whole = epochs.copy().pick(epochs.ch_names[2:0:-1]).resample(100, verbose="error").crop(0, 0.5)
    np.testing.assert_allclose(part.get_data(copy=False), whole.get_data(copy=False), atol=1e-10)
    assert part.ch_names == epochs.ch_names[2:0:-1]
    assert part.info["sfreq"] == 100


def test_split_files(tmp_path):
    """Four files are one recording; without one of them nothing is read by halves."""
    table, data = made.write_meg_fif(tmp_path, n_sensors=100, split_size="2MB")
    parts = sorted(tmp_path.glob("*.fif"))
    assert len(parts) > 2
    assert parts[0].name == "preprocessed_P1-epo-1.fif"
    _, epochs = things_meg.load(tmp_path, split="test", average=False)
    rows = np.flatnonzero(table["trial_type"] == "test")
    np.testing.assert_allclose(epochs.get_data(copy=False), data[rows], rtol=1e-6)
    with pytest.raises(ValueError, match="is the continuation of a split file"):
        things_meg.load(tmp_path / "preprocessed_P1-epo-1.fif")
    (tmp_path / "preprocessed_P1-epo-2.fif").unlink()
    with pytest.raises(FileNotFoundError, match=r"one is missing \(preprocessed_P1-epo-2"):
        things_meg.load(tmp_path)


@pytest.fixture
def atm(tmp_path):
    names = names_of()
    data = made.write_meg_pickles(tmp_path, names)
    made.meg_trials().to_csv(tmp_path / "sample_attributes_P1.csv", index=False)
    return tmp_path, names, data


def test_pickles(atm):
    root, names, data = atm
    images, epochs = things_meg.load(root)
    concepts = ["aardvark", "bat", "coat_rack"]
    assert images == [f"images_meg/{c}/{c}_{e:02d}s.jpg" for c in concepts for e in (1, 2, 3)]
    np.testing.assert_allclose(
        epochs.get_data(copy=False), data["train"].reshape(9, 4, 201), atol=1e-12
    )
    assert epochs.ch_names == names
    np.testing.assert_allclose(epochs.times, np.arange(201) / 200, atol=1e-12)
    assert set(epochs.metadata["subject"]) == {"P1"}
    assert "no unit" in epochs.info["description"]
    images, epochs = things_meg.load(root, split="test")
    assert images == ["images_test_meg/bat1_14s.jpg", "images_test_meg/wine_13n.jpg"]
    np.testing.assert_allclose(epochs.get_data(copy=False), data["test"][:, 0].mean(1), atol=1e-12)
    assert epochs.metadata["n_averaged"].tolist() == [4, 4]
    _, single = things_meg.load(root, "P1", "test", average=False)
    assert not single.preload
    np.testing.assert_allclose(
        single[[6]].get_data(copy=False)[0], data["test"][1, 0, 2], atol=1e-12
    )


def test_pickles_and_fif_order_images_alike(atm, fif):
    root, _, _ = atm
    for split in ("train", "test"):
        by_pickle, _ = things_meg.load(root, split=split)
        by_fif, _ = things_meg.load(fif[0], split=split)
        assert by_pickle == by_fif


def test_sensors_go_by_name(tmp_path):
    """The order of the helmet is not that of the file, and 271 of 275 sensors are there."""
    names = names_of(274)[::-1][:271]
    made.write_meg_pickles(tmp_path, names)
    made.meg_trials().to_csv(tmp_path / "sample_attributes_P1.csv", index=False)
    _, epochs = things_meg.load(tmp_path)
    helmet = mne.channels.read_meg_canonical_info("ctf275")
    place = {ch["ch_name"].split("-")[0]: ch["loc"] for ch in helmet["chs"]}
    assert epochs.ch_names == names
    for ch in epochs.info["chs"]:
        np.testing.assert_array_equal(ch["loc"], place[ch["ch_name"].split("-")[0]])
    assert np.isfinite([ch["loc"][:3] for ch in epochs.info["chs"]]).all()


def test_pickles_name_images_by_folders(atm, tmp_path_factory):
    root, _, _ = atm
    (root / "sample_attributes_P1.csv").unlink()
    with pytest.raises(FileNotFoundError, match="do not name their images.*openneuro"):
        things_meg.load(root)
    shown_images = tmp_path_factory.mktemp("images")
    made.write_meg_images(shown_images)
    images, _ = things_meg.load(root, images_dir=shown_images)
    assert images[3] == str(shown_images / "images_meg" / "bat" / "bat_01s.jpg")
    assert len(images) == 9
    images, _ = things_meg.load(root, split="test", images_dir=shown_images)
    assert images[0] == str(shown_images / "images_test_meg" / "bat1_14s.jpg")


def test_images_of_the_things_database(fif, tmp_path):
    """One folder per concept, where the test images lie too."""
    root, table, _ = fif
    for concept in made.MEG_CONCEPTS:
        (tmp_path / concept).mkdir()
        for e in (1, 2, 3):
            (tmp_path / concept / f"{concept}_{e:02d}s.jpg").touch()
    for concept, file in made.MEG_TEST.items():
        (tmp_path / concept / file).touch()
    images, _ = things_meg.load(root, split="test", images_dir=tmp_path)
    assert images == [str(tmp_path / c / f) for c, f in made.MEG_TEST.items()]
    (tmp_path / "wine" / "wine_13n.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 2 images are missing.*wine_13n\.jpg"):
        things_meg.load(root, split="test", images_dir=tmp_path)


def test_eeg_images_with_meg_data(fif, tmp_path):
    root, _, _ = fif
    made.write_images(tmp_path)
    for folder in (tmp_path, tmp_path / "training_images"):
        with pytest.raises(ValueError, match="holds the images of THINGS-EEG2, but these are"):
            things_meg.load(root, images_dir=folder)
    with pytest.raises(FileNotFoundError, match="is not there"):
        things_meg.load(root, images_dir=tmp_path / "nothing")


def test_metadata_errors(tmp_path_factory, atm):
    bare = tmp_path_factory.mktemp("bare")
    made.write_meg_fif(bare, metadata=False)
    with pytest.raises(ValueError, match="has no metadata, so nothing tells the image"):
        things_meg.load(bare)
    root, _, _ = atm
    made.write_metadata(root)
    with pytest.raises(ValueError, match="It is that of THINGS-EEG2"):
        things_meg.load(root, metadata=root / "image_metadata.npy")
    with pytest.raises(FileNotFoundError, match="is not a file"):
        things_meg.load(root, metadata=root / "x.csv")
    table = made.meg_trials()
    table.drop(columns="image_path").to_csv(root / "sample_attributes_P1.csv", index=False)
    with pytest.raises(ValueError, match="lack image_path"):
        things_meg.load(root)
    few = table[~table["image_path"].str.contains("aardvark_01")]
    few.to_csv(root / "sample_attributes_P1.csv", index=False)
    with pytest.raises(ValueError, match="3 concepts x 3 images, but the lists name 8"):
        things_meg.load(root)
    moved = table.replace(
        {"image_path": {"images_meg/bat/bat_01s.jpg": "images_meg/aardvark/aardvark_09s.jpg"}}
    )
    moved.to_csv(root / "sample_attributes_P1.csv", index=False)
    with pytest.raises(ValueError, match="3 images of each concept, but the lists do not"):
        things_meg.load(root)
    only = table[table["trial_type"] == "test"]
    only.to_csv(root / "sample_attributes_P1.csv", index=False)
    with pytest.raises(ValueError, match=r"No trial of the train split \(zero-shot\) is left"):
        things_meg.load(root)


def test_wrong_and_mixed_folders(tmp_path_factory, atm):
    tmp_path = tmp_path_factory.mktemp("wrong")
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        things_meg.load(tmp_path / "nothing")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(FileNotFoundError, match="not a folder of THINGS-MEG"):
        things_meg.load(empty)
    made.write_nice(empty)
    with pytest.raises(ValueError, match="holds THINGS-EEG2 .* not THINGS-MEG"):
        things_meg.load(empty)
    root, _, _ = atm
    with pytest.raises(FileNotFoundError, match="no data of subject 2"):
        things_meg.load(root, 2)
    with pytest.raises(ValueError, match="holds the zero-shot split"):
        things_meg.load(root, protocol="standard")
    with pytest.raises(ValueError, match="protocol='seen'"):
        things_meg.load(root, protocol="seen")
    with pytest.raises(ValueError, match="subject='x'"):
        things_meg.load(root, "x")
    with pytest.raises(ValueError, match="split='val'"):
        things_meg.load(root, split="val")
    with pytest.raises(ValueError, match="variant='pt'"):
        things_meg.load(root, variant="pt")
    made.write_meg_fif(root)
    with pytest.raises(ValueError, match="Several variants of P1 are mixed"):
        things_meg.load(root)
    _, epochs = things_meg.load(root, variant="atm")
    assert "ATM" in epochs.info["description"]
    (root / "sub-01" / "preprocessed_meg_zs_test.pkl").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no preprocessed_meg_zs_test\.pkl"):
        things_meg.load(root, split="test", variant="atm")


def test_broken_pickles(atm):
    root, names, _ = atm
    file = root / "sub-01" / "preprocessed_meg_training.pkl"
    pd.to_pickle({"meg_data": np.zeros(3)}, file, protocol=4)
    with pytest.raises(ValueError, match="lacks ch_names, times"):
        things_meg.load(root)
    content = {
        "meg_data": np.zeros((9, 1, 4, 201)),
        "ch_names": names,
        "times": np.arange(201) / 200,
    }
    pd.to_pickle(content, file, protocol=4)
    with pytest.raises(ValueError, match="expected 5 axes: concept, image, repetition"):
        things_meg.load(root)
    content |= {"meg_data": np.ones((3, 3, 1, 4, 201)), "ch_names": ["Oz", *names[1:]]}
    pd.to_pickle(content, file, protocol=4)
    with pytest.raises(ValueError, match="1 of 4 channels are no sensors .*: Oz"):
        things_meg.load(root)
