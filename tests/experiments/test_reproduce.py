import dataclasses
import gc
import importlib.util
import json
import logging
import threading
import time
import weakref
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from mne_img2brain import ImageToBrainEncoder, read_encoder
from mne_img2brain.datasets import things_eeg2, things_meg
from mne_img2brain.experiments import reproduce
from mne_img2brain.metrics import mse, pearson, r_map, time_mask
from mne_img2brain.stimulus import ClipEmbedder, GaborEmbedder, clip_score

module = importlib.import_module("mne_img2brain.experiments.reproduce")
ablations = importlib.import_module("mne_img2brain.experiments.ablations")
recordings = importlib.import_module("mne_img2brain.experiments.recordings")
embedding = importlib.import_module("mne_img2brain.experiments.embedding")
settings = importlib.import_module("mne_img2brain.experiments.settings")
STIMULUS = Path(__file__).parents[1] / "stimulus"
N_MODELS = 4
EEG = {"reader": {"resample": 50, "tmax": 0.6}}
MEG = {"reader": {"resample": 50, "tmax": 0.6}, "scale": "no draws"}


class Killed(BaseException):
    """What a killed process is to the code that runs."""


def counted(patch, kill_at=None):
    """Count the fits of encoders; the process is killed at one of them."""
    fits, fit = [], ImageToBrainEncoder.fit

    def counting(self, images, epochs, **arguments):
        fits.append(len(images))
        if len(fits) == kill_at:
            raise Killed
        return fit(self, images, epochs, **arguments)

    patch.setattr(ImageToBrainEncoder, "fit", counting)
    return fits


@pytest.fixture
def _few_figures(monkeypatch):
    """Leave out the figures of units, which take longer than all that is counted."""
    monkeypatch.setattr("mne_img2brain.experiments.figures.draw_units", lambda *_: [])


@pytest.fixture(scope="module")
def eeg(eeg_folder, tmp_path_factory):
    """Run both protocols, killed in the second unit of four and begun again."""
    out = tmp_path_factory.mktemp("results") / "eeg2"
    with pytest.MonkeyPatch.context() as patch:
        first = counted(patch, kill_at=N_MODELS + 2)
        with pytest.raises(Killed):
            reproduce("things-eeg2", eeg_folder, out, **EEG)
    there = sorted(path.name for path in (out / "units").iterdir())
    with pytest.MonkeyPatch.context() as patch:
        second = counted(patch)
        tables = reproduce("things-eeg2", eeg_folder, out, **EEG)
    return out, tables, first, second, there


@pytest.fixture(scope="module")
def meg(meg_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("results") / "meg"
    return out, reproduce("things-meg", meg_folder, out, **MEG)


def test_a_killed_run_goes_on_where_it_was(eeg):
    out, _, first, second, there = eeg
    assert len(first) == N_MODELS + 2
    # the unit that was cut off left nothing but what is swept away
    assert there == [".within-sub-02", "within-sub-01"]
    assert len(second) == 3 * N_MODELS
    units = sorted(path.name for path in (out / "units").iterdir())
    assert units == ["cross-sub-01", "cross-sub-02", "within-sub-01", "within-sub-02"]


@pytest.mark.usefixtures("_few_figures")
def test_a_finished_run_fits_nothing(eeg, eeg_folder, monkeypatch):
    out, tables, *_ = eeg
    fits = counted(monkeypatch)
    embedded = []
    monkeypatch.setattr(GaborEmbedder, "transform", lambda *_: embedded.append(1))
    again = reproduce("things-eeg2", eeg_folder, out, **EEG)
    assert not fits
    assert not embedded
    pd.testing.assert_frame_equal(again["within"], tables["within"])


def recorded_means(module, folder, subject, reader):
    """Average the trials of each test image that the experiment used."""
    _, epochs = module.load(folder, subject, "test", average=False, **reader)
    epochs = epochs[np.flatnonzero(epochs.metadata["repetition"].to_numpy() < 5)].load_data()
    image_id, data = epochs.metadata["image_id"].to_numpy(), epochs.get_data(copy=True)
    by_image = [data[image_id == image] for image in np.unique(image_id)]
    return epochs, by_image, np.stack([trials.mean(axis=0) for trials in by_image])


@pytest.mark.parametrize("protocol", ["within", "cross"])
@pytest.mark.parametrize("which", ["eeg", "meg"])
def test_tables_are_what_the_metrics_say(which, protocol, request):
    out, tables = request.getfixturevalue(which)[:2]
    folder = request.getfixturevalue(f"{which}_folder")
    reader, subject = {"eeg": (things_eeg2, "sub-02"), "meg": (things_meg, "P2")}[which]
    epochs, by_image, real = recorded_means(reader, folder, subject, EEG["reader"])
    encoder = read_encoder(out / "units" / f"{protocol}-{subject}" / "encoders" / "default")
    predicted = encoder.predict(np.load(out / "tokens" / "tokens-test.npy")).get_data(copy=True)
    scale = real.std(axis=(0, 2))[:, None]
    table = tables[protocol].set_index(["method", "subject"])
    row = table.loc[("default", subject)]
    # predictions were made in memory, and the saved encoder holds single precision
    assert row["mse"] == pytest.approx(mse(real / scale, predicted / scale), rel=1e-4)
    assert row["pcc"] == pytest.approx(pearson(real / scale, predicted / scale), rel=1e-4)
    r = r_map(real, predicted)[:, time_mask(epochs.times, 0.05, 0.6)].mean()
    assert row["r"] == pytest.approx(r, rel=1e-3, abs=1e-5)
    floor = np.mean([(t / scale).var(axis=0, ddof=1).mean() / len(t) for t in by_image])
    assert table.loc[("noise ceiling", subject), "mse"] == pytest.approx(floor)
    # the average is that of subjects
    others = table.drop(index="average", level=1).groupby("method")
    for metric in ("mse", "pcc", "r"):
        average = table.xs("average", level=1)
        pd.testing.assert_series_equal(
            average[metric].sort_index(), others[metric].mean(), check_names=False
        )
        np.testing.assert_allclose(average[f"{metric} SD"].sort_index(), others[metric].std())


def test_who_learnt_from_whom(eeg, eeg_folder):
    out, tables, *_ = eeg
    about = json.loads((out / "units" / "cross-sub-01" / "unit.json").read_text())
    assert about["transformer_kept"]["xu2025"]  # nothing else predicts there
    assert about["trained_on"] == ["sub-02"]
    assert about["n_training_images"] == about["n_training_averages"] == 20
    assert about["n_test_trials"] == 6 * 5
    assert about["versions"]["mne_img2brain"]
    # the mean response of the other subject, not of the one that is tested
    _, epochs = things_eeg2.load(eeg_folder, 2, **EEG["reader"])
    used = np.unique(np.linspace(0, 23, 20).round().astype(int))
    mean = epochs.get_data(copy=True)[used].mean(axis=0)
    _, _, real = recorded_means(things_eeg2, eeg_folder, 1, EEG["reader"])
    scale = real.std(axis=(0, 2))[:, None]
    expected = mse(real / scale, np.broadcast_to(mean / scale, real.shape))
    row = tables["cross"].set_index(["method", "subject"]).loc[("mean response", "sub-01")]
    assert row["mse"] == pytest.approx(expected, rel=1e-6)


def test_several_training_subjects(meg_folder, eeg_folder, tmp_path, monkeypatch, caplog):
    """Each of them is given to the fit by name, with the image of every average."""
    seen = []

    def fit(self, images, epochs, *, image_ids=None, **_):
        seen.append((list(epochs), len(images), image_ids))
        raise Killed

    monkeypatch.setattr(ImageToBrainEncoder, "fit", fit)
    load = things_eeg2.load

    def three(path, subject, *arguments, **options):
        # sub-03 is a second name of sub-02
        number = "sub-02" if str(subject) == "sub-03" else subject
        return load(path, number, *arguments, **options)

    monkeypatch.setattr(things_eeg2, "load", three)
    monkeypatch.setattr(
        recordings.Recordings, "subjects", lambda *_: ["sub-01", "sub-02", "sub-03"]
    )
    logger = logging.getLogger("mne")
    monkeypatch.setattr(logger, "propagate", True)
    with pytest.raises(Killed):
        reproduce("things-eeg2", eeg_folder, tmp_path, within=False, verbose="INFO", **EEG)
    ((names, n_images, image_ids),) = seen
    assert names == ["sub-02", "sub-03"]
    assert n_images == 20
    np.testing.assert_array_equal(image_ids, np.tile(np.arange(20), 2))
    assert "averages of 2 subjects are 0.00 GiB; fitting will need about" in caplog.text


@pytest.mark.usefixtures("_few_figures")
def test_no_more_than_one_subject_is_in_memory(eeg_folder, tmp_path, monkeypatch):
    alive, training = [], recordings.Recordings.training

    def watched(self, subject):
        gc.collect()
        assert not [one for one in alive if one() is not None]
        epochs = training(self, subject)
        alive.append(weakref.ref(epochs))
        return epochs

    monkeypatch.setattr(recordings.Recordings, "training", watched)
    monkeypatch.setattr(
        importlib.import_module("mne_img2brain.experiments.units"),
        "new_regressors",
        lambda scale, seed: {name: Ridge() for name in ("mean response", "default", "xu2025")},
    )
    reproduce(
        "things-eeg2", eeg_folder, tmp_path, cross=False, scale="no draws", reader=EEG["reader"]
    )
    assert len(alive) == 2


def test_models_run_on_the_device_that_was_asked_for(eeg_folder, tmp_path):
    from mne_img2brain.experiments.settings import SCALES, new_regressors

    asked = new_regressors(dataclasses.replace(SCALES["small"], device="cpu"), 3)
    assert [asked[name].device for name in ("default", "xu2025")] == ["cpu", "cpu"]
    with pytest.raises((RuntimeError, ValueError), match="nowhere"):
        reproduce("things-eeg2", eeg_folder, tmp_path / "out", device="nowhere")
    assert not (tmp_path / "out").exists()


def test_figures(eeg, meg):
    expected = {
        f"{name}.png"
        for protocol in ("within", "cross")
        for subject in ("sub-01", "sub-02")
        for name in (
            f"accuracy-{protocol}",
            f"r-{protocol}",
            f"topographies-{subject}",
            f"erp-{protocol}-{subject}-default",
            f"erp-{protocol}-{subject}-xu2025",
        )
    }
    assert {path.name for path in (eeg[0] / "figures").iterdir()} == expected
    assert len(list((meg[0] / "figures").iterdir())) == len(expected)
    for out in (eeg[0], meg[0]):
        for path in (out / "figures").iterdir():
            pixels = matplotlib.image.imread(path)[..., :3]
            assert min(pixels.shape[:2]) > 300, path
            assert 0.005 < (pixels < 0.9).any(axis=2).mean() < 0.7, path


def test_files(eeg, meg):
    out, tables, *_ = eeg
    assert {path.stem for path in (out / "tables").iterdir()} == set(tables)
    assert set(tables) == {"all", "cross", "draws", "units", "within"}
    written = pd.read_csv(out / "tables" / "within.csv")
    pd.testing.assert_frame_equal(written, tables["within"])
    methods = list(dict.fromkeys(written["method"]))
    assert methods == ["mean response", "ridge", "default", "xu2025", "noise ceiling"]
    assert set(tables["draws"]["method"]) == {"ridge + Gaussian", "default", "xu2025"}
    assert "SD / real" in set(tables["draws"]["metric"])
    assert len(meg[1]["draws"]) == 0
    assert tables["units"]["fit default (s)"].gt(0).all()
    assert "captions" in json.loads((out / "skipped.json").read_text())["clip_scores"]
    # saved with what made the tokens: it takes images
    encoder = read_encoder(out / "units" / "cross-sub-01" / "encoders" / "xu2025")
    shown = np.zeros((1, 48, 48, 3), np.uint8)
    assert len(encoder.predict(shown)) == 1


def test_other_parameters_are_refused(eeg, eeg_folder, tmp_path):
    out = eeg[0]
    with pytest.raises(ValueError, match=r"random_state was 0, now 1.*another folder"):
        reproduce("things-eeg2", eeg_folder, out, random_state=1, **EEG)
    with pytest.raises(ValueError, match=r"reader was \{'resample': 50.*now \{\}"):
        reproduce("things-eeg2", eeg_folder, out)
    with pytest.raises(ValueError, match="embedder was .*'grid': 4.*now .*'grid': 2"):
        reproduce("things-eeg2", eeg_folder, out, embedder=GaborEmbedder(grid=2), **EEG)
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(FileExistsError, match="'thesis.tex' and no parameters.json"):
        reproduce("things-eeg2", eeg_folder, tmp_path)


@pytest.mark.usefixtures("_few_figures")
def test_two_runs_share_a_folder(eeg_folder, tmp_path, monkeypatch):
    """While the first is at one unit the second does the other, then waits for the first."""
    monkeypatch.setattr(
        importlib.import_module("mne_img2brain.experiments.units"),
        "new_regressors",
        lambda scale, seed: {name: Ridge() for name in ("mean response", "default", "xu2025")},
    )
    call = {"cross": False, "scale": "no draws", "reader": EEG["reader"]}
    run_unit, ran, tables = module.run_unit, [], []

    def run():
        tables.append(reproduce("things-eeg2", eeg_folder, tmp_path, **call))

    second = threading.Thread(target=run, name="second")

    def watched(unit, *arguments):
        ran.append((threading.current_thread().name, unit.name))
        if len(ran) == 1:
            second.start()
            while not (tmp_path / "units" / "within-sub-02").is_dir() and second.is_alive():
                time.sleep(0.01)
        assert second.is_alive()
        run_unit(unit, *arguments)

    monkeypatch.setattr(module, "run_unit", watched)
    run()
    second.join()
    assert ran == [("MainThread", "within-sub-01"), ("second", "within-sub-02")]
    assert len(tables) == 2
    pd.testing.assert_frame_equal(tables[0]["within"], tables[1]["within"])


def test_errors(eeg_folder, meg_folder, tmp_path):
    with pytest.raises(ValueError, match="dataset='things'; give one of things-eeg2, things-meg"):
        reproduce("things", eeg_folder, tmp_path)
    with pytest.raises(ValueError, match="scale='huge'; give one of small, paper"):
        reproduce("things-eeg2", eeg_folder, tmp_path, scale="huge")
    with pytest.raises(FileNotFoundError, match="'nowhere' is not a folder"):
        reproduce("things-eeg2", "nowhere", tmp_path)
    with pytest.raises(ValueError, match="holds THINGS-MEG"):
        reproduce("things-eeg2", meg_folder, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"sub-07 is not in .*there is sub-01, sub-02"):
        reproduce("things-eeg2", eeg_folder, tmp_path, subjects=[1, 7])
    with pytest.raises(ValueError, match="subject 'Anna'"):
        reproduce("things-eeg2", eeg_folder, tmp_path, subjects=["Anna"])
    with pytest.raises(ValueError, match="only P1; give cross=False"):
        reproduce("things-meg", meg_folder, tmp_path, subjects=["sub-01"])
    with pytest.raises(ValueError, match="Both embedder and tokens"):
        reproduce("things-eeg2", eeg_folder, tmp_path, embedder=GaborEmbedder(), tokens={})
    with pytest.raises(ValueError, match=r"reader gives \['split'\]"):
        reproduce("things-eeg2", eeg_folder, tmp_path, reader={"split": "test"})
    assert not list(tmp_path.iterdir())


def test_subjects_who_saw_other_images(eeg_folder, tmp_path, monkeypatch):
    shown_images = recordings.Recordings.images

    def one_less(self, subject, split):
        return shown_images(self, subject, split)[subject == "sub-02" :]

    monkeypatch.setattr(recordings.Recordings, "images", one_less)
    with pytest.raises(ValueError, match="sub-01 and sub-02 saw different train images"):
        reproduce("things-eeg2", eeg_folder, tmp_path / "out")


def test_tokens_in_place_of_images(eeg_folder, tmp_path, rng):
    tokens = {"train": rng.standard_normal((24, 3, 5)), "test": rng.standard_normal((6, 3, 5))}
    np.save(tmp_path / "train.npy", tokens["train"].astype(np.float16))
    given = {"train": tmp_path / "train.npy", "test": tokens["test"]}
    chosen = np.arange(0, 24, 2)
    loaded = embedding.given_tokens(given, {"train": 24, "test": 6}, chosen)
    np.testing.assert_array_equal(
        loaded["train"], tokens["train"][chosen].astype(np.float16), strict=True
    )
    for wrong, message in (
        ({"train": tokens["train"]}, "tokens holds 'train' and 'test'"),
        ({**tokens, "test": tokens["test"][:4]}, r"tokens\['test'\] has 4 rows, but there are 6"),
        ({**tokens, "test": tokens["test"][..., :2]}, "embed both with one embedder"),
        ({**tokens, "test": [1, 2]}, r"tokens\['test'\] is a list"),
    ):
        with pytest.raises(ValueError, match=message):
            reproduce("things-eeg2", eeg_folder, tmp_path / "out", tokens=wrong)


class Words(GaborEmbedder):
    """An embedder whose tokens are as many as a caption's words, after one of the image."""

    calls = []

    def transform(self, images, captions=None):
        self.calls.append(len(images))
        lengths = [len(caption.split()) for caption in captions]
        tokens = np.full((len(images), 1 + max(lengths), 4), np.nan, np.float32)
        for row, length in enumerate(lengths):
            tokens[row, : 1 + length] = 1 / 3
        return tokens


def test_embedding_goes_on_where_it_was(eeg_folder, tmp_path, monkeypatch):
    """Parts that were written are not computed again; parts are padded to one width."""
    monkeypatch.setattr(embedding, "_CHUNK", 2)
    monkeypatch.setattr(Words, "calls", [])
    shown_images = sorted(map(str, (eeg_folder / "training_images").rglob("*.jpg")))[:5]
    images = {"train": shown_images[:3], "test": shown_images[3:]}
    words = ["one", "one two", "one", "one two three", "one"]
    captions = embedding.read_captions(dict(zip(shown_images, words, strict=True)))
    transform = Words.transform

    def killed(self, images, captions=None):
        if len(self.calls) == 1:
            raise Killed
        return transform(self, images, captions)

    monkeypatch.setattr(Words, "transform", killed)
    with pytest.raises(Killed):
        embedding.shared_tokens(tmp_path, images, Words(), captions)
    monkeypatch.setattr(Words, "transform", transform)
    tokens, _ = embedding.shared_tokens(tmp_path, images, Words(), captions)
    assert Words.calls == [2, 1, 2]
    assert tokens["train"].shape == (3, 4, 4)
    n_words = [np.isfinite(tokens[s][..., 0]).sum(axis=1) - 1 for s in ("train", "test")]
    assert np.concatenate(n_words).tolist() == [len(w.split()) for w in words]
    np.testing.assert_array_equal(tokens["test"][0], np.float32(1 / 3))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "tokens-test.npy",
        "tokens-train.npy",
    ]
    with pytest.raises(ValueError, match="1 of 3 images have no caption"):
        embedding.captions_of(
            {k: v for k, v in captions.items() if v != "one two"}, shown_images[:3]
        )
    with pytest.raises(FileNotFoundError, match=r"1 of 1 images are not there, first gone.jpg"):
        embedding.shared_tokens(tmp_path / "new", {"train": ["gone.jpg"], "test": []}, Words())


def test_captions_from_a_file(tmp_path):
    (tmp_path / "captions.json").write_text(json.dumps({"a/cat_01b.jpg": "a cat"}))
    assert embedding.read_captions(tmp_path / "captions.json") == {"cat_01b.jpg": "a cat"}
    with pytest.raises(FileNotFoundError, match="captions='none.json' is not a file"):
        embedding.read_captions("none.json")
    with pytest.raises(ValueError, match="a dict of file names"):
        embedding.read_captions({"cat.jpg": 3})


def test_clip_tokens_and_captions(eeg_folder, tmp_path):
    """As with scale="paper", on tiny models through the real code."""
    spec = importlib.util.spec_from_file_location("tiny", STIMULUS / "tiny_models.py")
    tiny = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tiny)
    clip = tiny.make_tiny_clip(tmp_path / "clip")
    captioner = tiny.make_tiny_qwen2_vl(tmp_path / "qwen2-vl")
    options = {"within": False, "cross": False, "reader": EEG["reader"]}
    for batch_size in (8, 4):
        # how many images at once makes no difference, and is no reason to begin anew
        embedder = ClipEmbedder(
            clip, captioner=captioner, max_new_tokens=3, batch_size=batch_size,
            device="cpu", cache_dir=tmp_path / "cache",
        )  # fmt: skip
        tables = reproduce(
            "things-eeg2", eeg_folder, tmp_path / "out", embedder=embedder, **options
        )
    captions = json.loads((tmp_path / "out" / "tokens" / "captions.json").read_text())
    assert len(captions) == 26
    tokens = np.load(tmp_path / "out" / "tokens" / "tokens-test.npy")
    assert tokens.dtype == np.float16
    lists = np.load(eeg_folder / "image_metadata.npy", allow_pickle=True).item()
    names = lists["test_img_files"]
    paths = [str(next(eeg_folder.rglob(name))) for name in names]
    expected = embedder.transform(paths, captions=[captions[name] for name in names])
    np.testing.assert_array_equal(tokens[:, : expected.shape[1]], expected)
    assert np.isnan(tokens[:, expected.shape[1] :]).all()
    scores = tables["clip_scores"]["clip_score"].to_numpy()[-6:]
    texts = [captions[name] for name in names]
    np.testing.assert_allclose(
        scores, clip_score(paths, texts, model=clip, device="cpu"), rtol=1e-5
    )


def test_clip_scores(eeg_folder, tmp_path, monkeypatch):
    """Own captions beside those of other images; without weights the reason is written."""
    lists = np.load(eeg_folder / "image_metadata.npy", allow_pickle=True).item()
    names = lists["train_img_files"] + lists["test_img_files"]
    options = {
        "within": False, "cross": False, "reader": EEG["reader"],
        "captions": {name: f"this is {name}" for name in names},
    }  # fmt: skip
    tables = reproduce("things-eeg2", eeg_folder, tmp_path, **options)
    assert tables == {}
    skipped = json.loads((tmp_path / "skipped.json").read_text())
    assert "CLIP weights are not there" in skipped["clip_scores"]

    def ends_match(images, captions):
        pairs = zip(images, captions, strict=True)
        return np.array([float(c.endswith(i.split("/")[-1])) for i, c in pairs])

    monkeypatch.setattr("mne_img2brain.stimulus.clip_score", ends_match)
    scores = reproduce("things-eeg2", eeg_folder, tmp_path, **options)["clip_scores"]
    assert scores["split"].value_counts().to_dict() == {"train": 20, "test": 6}
    assert (scores["clip_score"] == 1).all()
    assert (scores["shuffled"] == 0).all()
    assert (tmp_path / "figures" / "clip-scores.png").stat().st_size > 5000
    assert json.loads((tmp_path / "skipped.json").read_text()) == {}
    # they are not computed again
    monkeypatch.setattr("mne_img2brain.stimulus.clip_score", None)
    again = reproduce("things-eeg2", eeg_folder, tmp_path, **options)["clip_scores"]
    pd.testing.assert_frame_equal(again, scores)


def test_ablations(eeg_folder, tmp_path, monkeypatch):
    options = {"within": False, "cross": False, "ablations": True, "reader": EEG["reader"]}
    # figures are drawn anew after each row, in half of the time: here only the last
    draw, drawn = ablations.draw_ablations, {}
    monkeypatch.setattr(
        ablations, "draw_ablations", lambda *given: drawn.update({given[-1]: given})
    )
    with pytest.MonkeyPatch.context() as patch:
        counted(patch, kill_at=4)
        with pytest.raises(Killed):
            reproduce("things-eeg2", eeg_folder, tmp_path, **options)
    first = tmp_path / "ablations" / "sub-01"
    rows = {file.name for file in (first / "rows").glob("*.csv")}
    # three fits; rows that only draw otherwise are done with the reference
    assert {"reference.csv", "guidance-scale-2.csv", "position-region.csv"} <= rows
    assert "position-none.csv" not in rows
    fits = counted(monkeypatch)
    table = reproduce("things-eeg2", eeg_folder, tmp_path, **options)["ablations"]
    assert set(table["subject"]) == {"sub-01", "sub-02"}
    # the reference is the paper's model at this scale, and lobes have rows where they have sensors
    names = set(table["ablation"])
    assert {"reference", "position", "conditioning", "guidance scale", "steps"} <= names
    assert json.loads((first / "skipped.json").read_text())["captions: off"]
    about = json.loads((first / "rows" / "reference.json").read_text())
    assert (
        about["regressor"]["noise"]["hidden_size"]
        == settings.SCALES["small"].network["hidden_size"]
    )
    assert about["regressor"]["mean"] is None
    # test images are of other concepts than those of training
    split = pd.read_csv(first / "split.csv")
    assert len(split) == 20
    assert split["group"].nunique() < 20
    assert split.groupby("group")["set"].nunique().eq(1).all()
    written = pd.read_csv(tmp_path / "tables" / "ablations.csv")
    pd.testing.assert_frame_equal(written, table)
    # what is done is read
    n_fits = len(fits)
    again = reproduce("things-eeg2", eeg_folder, tmp_path, **options)["ablations"]
    assert len(fits) == n_fits
    pd.testing.assert_frame_equal(again, table)
    assert [file.parent.name for file in drawn] == ["sub-01", "sub-02"]
    for given in drawn.values():
        draw(*given)
        pixels = matplotlib.image.imread(given[-1])[..., :3]
        assert 0.005 < (pixels < 0.9).any(axis=2).mean() < 0.7
