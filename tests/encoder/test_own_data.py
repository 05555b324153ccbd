"""A user's own files: a folder of images, BIDS metadata, and what is said of it."""

import mne
import pytest
from numpy.testing import assert_array_equal
from PIL import Image
from sklearn.cross_decomposition import PLSRegression

from mne_img2brain import GaborEmbedder, ImageToBrainEncoder, _log
from mne_img2brain.baselines import RidgeBaseline
from mne_img2brain.datasets import simulate_epochs, simulate_images

N_IMAGES = 20


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A folder of images in two folders, and epochs whose metadata name them as BIDS does."""
    folder = tmp_path_factory.mktemp("stimuli")
    images, _ = simulate_images(N_IMAGES, size=32, random_state=0)
    names = [f"{'ab'[k % 2]}/{k:02d}.png" for k in range(N_IMAGES)]
    for name, image in zip(names, images, strict=True):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / name)
    (folder / ".hidden").mkdir()
    Image.fromarray(images[0]).save(folder / ".hidden" / "thumbnail.png")
    epochs, _ = simulate_epochs(images, n_trials=3, sfreq=30.0, random_state=0)
    shown = epochs.metadata["image_id"].to_numpy()
    epochs.metadata = epochs.metadata.assign(stim_file=[names[k] for k in shown])
    return folder, names, epochs


def new_encoder(regressor=None):
    return ImageToBrainEncoder(GaborEmbedder(size=32, n_scales=2), regressor or RidgeBaseline())


def test_a_folder_stands_for_its_images(recording, tmp_path):
    folder, names, epochs = recording
    encoder = new_encoder().fit(folder, epochs, image_ids="stim_file")
    paths = [str(folder / name) for name in sorted(names)]
    same = new_encoder().fit(paths, epochs, image_ids="stim_file")
    expected = same.predict(paths)
    generated = encoder.predict(str(folder))
    assert_array_equal(generated.get_data(), expected.get_data())
    assert generated.metadata["image"].tolist() == paths
    assert generated.metadata["image_id"].tolist() == sorted(names)
    assert generated.metadata[["subject", "draw", "caption"]].isna().all(axis=None)
    assert encoder.score(str(folder), epochs, image_ids="stim_file") == same.score(
        paths, epochs, image_ids="stim_file"
    )
    with pytest.raises(ValueError, match="no images .* in the folder"):
        encoder.predict(tmp_path)


def test_a_column_is_not_taken_for_a_folder_of_its_name(recording, tmp_path, monkeypatch):
    folder, names, epochs = recording
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stim_file").mkdir()
    epochs = epochs.copy()
    epochs.metadata["stim_file"] = [str(folder / name) for name in epochs.metadata["stim_file"]]
    encoder = new_encoder().fit("stim_file", epochs)
    assert len(encoder.training_image_keys_) == N_IMAGES


def test_names_without_their_folder_are_told_where_it_goes(recording):
    folder, names, epochs = recording
    with pytest.raises(FileNotFoundError, match="Give the folder .* image_ids='stim_file'"):
        new_encoder().fit("stim_file", epochs)
    with pytest.raises(ValueError, match="or the metadata column that holds it or the name"):
        new_encoder().fit(folder, epochs)
    encoder = new_encoder().fit(folder, epochs, image_ids="stim_file")
    with pytest.raises(TypeError, match="images is a EpochsArray, which is a recording"):
        encoder.predict(epochs)
    with pytest.raises(ValueError, match="Names of conditions are a list, one for each image"):
        encoder.predict(folder, event_id="face")


def test_na_is_no_image(recording):
    folder, _, epochs = recording
    epochs = epochs.copy()
    epochs.metadata.loc[3, "stim_file"] = "n/a"
    with pytest.raises(ValueError, match=r"empty in 1 of 60 trials, first in trial 3; .*'n/a'"):
        new_encoder().fit(folder, epochs, image_ids="stim_file")
    # what the message says to do
    epochs = epochs[~epochs.metadata["stim_file"].isin(["n/a", None])]
    assert new_encoder().fit(folder, epochs, image_ids="stim_file").n_trials_ == 59


def test_what_cannot_be_saved_or_draw_says_so(recording, tmp_path):
    folder, _, epochs = recording
    with pytest.warns(
        RuntimeWarning, match="encoder cannot be saved: regressor_ is a PLSRegression"
    ):
        encoder = new_encoder(PLSRegression(2)).fit(folder, epochs, image_ids="stim_file")
    with pytest.raises(TypeError, match="is a PLSRegression of sklearn, which cannot be saved"):
        encoder.save(tmp_path / "encoder")
    assert not hasattr(encoder, "sample")
    with pytest.raises(AttributeError, match="no attribute 'sample'") as error:
        encoder.sample(folder)
    assert "A PLSRegression predicts the expected response" in str(error.value.__cause__)


def test_verbose_is_that_of_mne(recording, capsys):
    folder, _, epochs = recording
    with mne.utils.use_log_level("WARNING"):
        encoder = new_encoder().fit(folder, epochs, image_ids="stim_file")
        assert "images in" not in capsys.readouterr().out
        encoder.fit(folder, epochs, image_ids="stim_file", verbose=True)
        assert f"{N_IMAGES} images in" in capsys.readouterr().out
        encoder.predict(folder, verbose="INFO")
        assert f"{N_IMAGES} images in" in capsys.readouterr().out


def test_bars_are_for_what_takes_long(capsys, monkeypatch):
    with mne.utils.use_log_level("INFO"):
        assert list(_log.progress_bar(range(3), "soon")) == [0, 1, 2]
        assert "soon" not in capsys.readouterr().err
        monkeypatch.setattr(_log, "_DELAY", 0.0)
        list(_log.progress_bar(range(3), "late"))
        done = _log.progress(6, "parts")
        for n in (2, 4):
            done(n)
        said = capsys.readouterr().err
        assert "late : 3/3" in said
        assert "parts" in said
    with mne.utils.use_log_level("WARNING"):
        list(_log.progress_bar(range(3), "quiet"))
        _log.progress(1, "quiet")(1)
    assert not capsys.readouterr().err
