"""ablate: one split, one embedding, one row at a time."""

import importlib
import json

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from mne_img2brain import DiffusionRegressor, GaborEmbedder, ImageToBrainEncoder
from mne_img2brain.datasets import simulate_epochs, simulate_images
from mne_img2brain.experiments import ablate, ablation_rows
from mne_img2brain.experiments.ablation_rows import changed
from mne_img2brain.metrics import mse, pearson, r_map, sd_ratio, time_mask, window_mean
from mne_img2brain.regressor.fitting import asked_denoiser

# the function has the name of its module
ablations = importlib.import_module("mne_img2brain.experiments.ablations")

TINY = {
    "hidden_size": 16, "n_layers": 1, "n_heads": 2, "max_iter": 30, "patch_length": 6,
    "device": "cpu", "prediction_type": "v",
    "zero_terminal_snr": True,
}  # fmt: skip
REFERENCE = DiffusionRegressor.xu2025(**TINY)
FAST = {"n_seeds": 1, "n_draws": 3, "n_bootstrap": 20, "image_ids": "image_id"}
N_IMAGES, N_TRIALS = 30, 3


@pytest.fixture(scope="module")
def images():
    return simulate_images(N_IMAGES, size=32, random_state=0)[0]


@pytest.fixture(scope="module")
def epochs(images):
    epochs, _ = simulate_epochs(images, n_trials=N_TRIALS, sfreq=30.0, random_state=0)
    # five images of each concept
    epochs.metadata = epochs.metadata.assign(concept=epochs.metadata["image_id"] // 5)
    return epochs


@pytest.fixture(scope="module")
def tokens(images):
    return GaborEmbedder(size=32, n_scales=2).fit_transform(images)


@pytest.fixture(scope="module")
def done(tokens, epochs, tmp_path_factory):
    """Run three rows with two seeds; the second shares the fits of the first."""
    folder = tmp_path_factory.mktemp("ablations")
    rows = ["captions", "guidance scale: 2", "sensors: occipital"]
    arguments = {**FAST, "n_seeds": 2, "n_image_tokens": 5, "reference": REFERENCE, "rows": rows}
    return folder, ablate(tokens, epochs, folder, **arguments), arguments


@pytest.fixture
def counted(monkeypatch):
    """Count fits, which take no time."""
    fits = []
    original = ImageToBrainEncoder.fit

    def fit(self, *args, **kwargs):
        fits.append(self.regressor.get_params())
        return original(self, *args, **kwargs)

    monkeypatch.setattr(ImageToBrainEncoder, "fit", fit)
    return fits


def direct(folder, tokens, epochs, picks=None, seed=0):
    """Fit and predict without ablate, on the split that it wrote."""
    split = pd.read_csv(folder / "split.csv")
    test = split.loc[split["set"] == "test", "image"].to_numpy()
    image = epochs.metadata["image_id"].to_numpy()
    train = np.flatnonzero(~np.isin(image, test))
    regressor = REFERENCE.set_params(random_state=seed)
    encoder = ImageToBrainEncoder(None, regressor, picks=picks)
    encoder.fit(tokens, epochs[train], image_ids=image[train])
    # images are scored in the order of their number
    data = epochs.get_data(picks=encoder.ch_names_, copy=True)
    trials = np.stack([data[image == one] for one in test])
    return encoder, trials, tokens[test]


def test_the_numbers_are_those_of_a_direct_fit(done, tokens, epochs):
    folder, table, _ = done
    values = pd.read_csv(folder / "by_seed.csv").fillna({"setting": ""})
    values = values.set_index(["ablation", "setting", "seed", "metric"])["value"]
    values = values.sort_index()
    for seed in (0, 1):
        encoder, trials, new = direct(folder, tokens, epochs, seed=seed)
        real, predicted = trials.mean(axis=1), encoder.predict(new).get_data(copy=True)
        scale = real.std(axis=(0, 2))[:, None]
        own = values["reference", "", seed]
        assert_allclose(own["mse"], mse(real / scale, predicted / scale), rtol=1e-6)
        assert_allclose(own["pcc"], pearson(real / scale, predicted / scale), rtol=1e-6)
        r = window_mean(r_map(real, predicted), encoder.times_, 0.05, 0.6)
        assert_allclose(own["r"], r, rtol=1e-6)
        draw_seed = int(np.random.SeedSequence(seed, spawn_key=(0,)).generate_state(1)[0])
        for name, guidance in ((("reference", ""), 1.0), (("guidance scale", "2"), 2.0)):
            draws = encoder.sample(new, 3, random_state=draw_seed, guidance_scale=guidance)
            draws = draws.get_data(copy=True).reshape(len(new), 3, *real.shape[1:])
            own = values[(*name, seed)]
            one = np.mean([mse(real / scale, draws[:, d] / scale) for d in range(3)])
            # 50 steps of noise prediction in float32 add up, in batches of other sizes
            assert_allclose(own["mse, one draw"], one, rtol=1e-4)
            inside = time_mask(encoder.times_, 0, 0.6)
            sd = np.median(sd_ratio(draws, trials)[:, inside])
            assert_allclose(own["SD / real"], sd, rtol=1e-4)
    # the table has the mean over seeds
    mean = table.set_index(["ablation", "metric"])["value"]["reference", "mse"]
    assert_allclose(mean, values["reference", ""].unstack()["mse"].mean())


def test_rows_on_sensors_are_compared_on_their_sensors(done, tokens, epochs):
    folder, table, _ = done
    row = table.set_index(["setting", "metric"]).loc["occipital", "mse"]
    occipital = ["PO7", "PO3", "POz", "PO4", "PO8", "O1", "Oz", "O2"]
    assert row["n_sensors"] == len(occipital)
    references, values = [], []
    for seed in (0, 1):
        for picks, found in ((None, references), (occipital, values)):
            encoder, trials, new = direct(folder, tokens, epochs, picks, seed)
            rows = [encoder.ch_names_.index(name) for name in occipital]
            real = trials.mean(axis=1)[:, rows]
            predicted = encoder.predict(new).get_data(copy=True)[:, rows]
            scale = real.std(axis=(0, 2))[:, None]
            found.append(mse(real / scale, predicted / scale))
    assert_allclose(row["reference"], np.mean(references), rtol=1e-6)
    assert_allclose(row["value"], np.mean(values), rtol=1e-6)
    assert_allclose(row["difference"], row["value"] - row["reference"])
    assert row["difference_low"] < row["difference"] < row["difference_high"]


def test_captions_are_the_tokens_after_those_of_the_image(done, tokens, epochs):
    folder, table, _ = done
    row = table.set_index(["ablation", "metric"]).loc["captions", "r"]
    expected = []
    for seed in (0, 1):
        encoder, trials, new = direct(folder, tokens[:, :5], epochs, seed=seed)
        r = r_map(trials.mean(axis=1), encoder.predict(new).get_data(copy=True))
        expected.append(window_mean(r, encoder.times_, 0.05, 0.6))
    assert_allclose(row["value"], np.mean(expected), rtol=1e-6)
    assert row["difference"] != 0


def test_concepts_are_not_parted(done):
    split = pd.read_csv(done[0] / "split.csv")
    assert len(split) == N_IMAGES
    assert (split.groupby(split["image"] // 5)["set"].nunique() == 1).all()
    assert set(split["set"]) == {"train", "test"}


def test_what_is_written(done):
    folder, table, _ = done
    again = pd.read_csv(folder / "ablations.csv").fillna({"setting": "", "unit": ""})
    pd.testing.assert_frame_equal(again, table, check_dtype=False)
    about = json.loads((folder / "rows" / "guidance-scale-2.json").read_text())
    assert about["changes"] == {"guidance_scale": 2.0}
    assert [fit["seed"] for fit in about["fits"]] == [0, 1]
    assert about["versions"]["mne_img2brain"]
    assert about["regressor"]["noise"]["position"] == "both"
    assert (folder / "ablations.png").stat().st_size > 10_000
    resamples = np.load(folder / "rows" / "sensors-occipital.npy", allow_pickle=False)
    assert resamples.shape == (len(pd.read_csv(folder / "rows" / "sensors-occipital.csv")), 20)
    assert not list(folder.rglob("*.part"))


def test_a_second_call_fits_nothing(done, tokens, epochs, counted):
    folder, table, arguments = done
    again = ablate(tokens, epochs, folder, **arguments)
    assert counted == []
    keys = ["ablation", "setting", "metric"]
    assert_allclose(again["difference_low"], table["difference_low"], rtol=1e-9, atol=1e-12)
    assert again.fillna({"setting": ""})[keys].equals(table[keys])


def test_rows_in_two_processes_are_those_of_one(done, tokens, epochs, tmp_path):
    folder, table, arguments = done
    together = ablate(tokens, epochs, tmp_path, n_jobs=2, **arguments)
    pd.testing.assert_frame_equal(together, table, rtol=1e-6)
    names = {file.name for file in (folder / "rows").iterdir()}
    assert {file.name for file in (tmp_path / "rows").iterdir()} == names


def test_it_goes_on_where_it_was(tokens, epochs, tmp_path, counted, monkeypatch):
    monkeypatch.setattr(ablations, "draw_ablations", lambda *_: None)  # after each row
    arguments = {**FAST, "reference": REFERENCE, "rows": ["position"], "n_draws": 0}
    interrupted = ImageToBrainEncoder.fit

    def fail(self, *args, **kwargs):
        if self.regressor.noise.position == "time":
            raise KeyboardInterrupt
        return interrupted(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(ImageToBrainEncoder, "fit", fail)
        with pytest.raises(KeyboardInterrupt):
            ablate(tokens, epochs, tmp_path, **arguments)
    assert [fit["noise__position"] for fit in counted] == ["both", "region"]
    partial = pd.read_csv(tmp_path / "ablations.csv")
    assert list(dict.fromkeys(partial["setting"].fillna(""))) == ["", "region"]
    first = (tmp_path / "rows" / "position-region.csv").read_bytes()
    table = ablate(tokens, epochs, tmp_path, **arguments)
    assert [fit["noise__position"] for fit in counted] == ["both", "region", "time", "none"]
    assert list(dict.fromkeys(table["setting"].fillna(""))) == ["", "region", "time", "none"]
    assert (tmp_path / "rows" / "position-region.csv").read_bytes() == first
    # rows of one's own come later, and rows that only draw otherwise share the reference's fit
    rows = {"wide: 32": {"hidden_size": 32}, "steps: 1": {"n_steps": 1}}
    ablate(tokens, epochs, tmp_path, **{**arguments, "rows": rows})
    assert [fit["noise__hidden_size"] for fit in counted[4:]] == [32, 16]
    rows = {"wide: 32": {"hidden_size": 24}}
    with pytest.raises(ValueError, match="row 'wide: 32' that changes {'hidden_size': 32}, now"):
        ablate(tokens, epochs, tmp_path, **{**arguments, "rows": rows})


def test_other_data_and_parameters_are_refused(done, tokens, epochs):
    folder, _, arguments = done
    with pytest.raises(ValueError, match="results of other parameters: n_draws was 3, now 4"):
        ablate(tokens, epochs, folder, **{**arguments, "n_draws": 4})
    other = DiffusionRegressor.xu2025(**{**TINY, "position": "none"})
    with pytest.raises(ValueError, match="reference was .*'position': 'both'.* now"):
        ablate(tokens, epochs, folder, **{**arguments, "reference": other})
    changed = epochs.copy()
    changed._data[-1, 0, 0] += 1e-9
    with pytest.raises(ValueError, match="responses was"):
        ablate(tokens, changed, folder, **arguments)
    with pytest.raises(ValueError, match="images was"):
        ablate(tokens + np.float32(1e-3), epochs, folder, **arguments)
    with pytest.raises(FileExistsError, match="no folder of results"):
        ablate(tokens, epochs, folder / "rows", **arguments)


def test_rows_that_cannot_be_made_are_left_out(tokens, epochs, tmp_path):
    frontal = epochs.copy().pick(["Fp1", "Fp2", "F3", "F4", "O1"])
    rows = ["captions", "sensors"]
    table = ablate(
        tokens, frontal, tmp_path, reference=REFERENCE, rows=rows, **{**FAST, "n_draws": 0}
    )
    assert list(dict.fromkeys(table["setting"])) == ["", "frontal"]
    skipped = json.loads((tmp_path / "skipped.json").read_text())
    assert skipped["captions: off"] == "there are no tokens of captions"
    assert skipped["sensors: occipital"] == "1 sensors are occipital"


@pytest.mark.filterwarnings("ignore:Training did not improve:RuntimeWarning")
def test_an_embedder_is_asked_once_and_for_its_image_tokens(images, epochs, tmp_path):
    class WithWords(GaborEmbedder):
        """Four tokens of words after those of the image."""

        calls = []

        def __init__(self, size=16, n_scales=1, n_orientations=2, grid=2, captioner="somebody"):
            super().__init__(size, n_scales, n_orientations, grid)
            self.captioner = captioner

        def captions(self, images):
            return None if self.captioner is None else ["words"] * len(images)

        def transform(self, images, captions=None):
            self.calls.append(len(images))
            tokens = super().transform(images)
            return tokens if self.captioner is None else np.pad(tokens, ((0, 0), (0, 4), (0, 0)))

    embedder = WithWords()
    ablate(
        images, epochs, tmp_path, embedder=embedder, reference=REFERENCE, max_iter=0,
        rows=["captions"], **{**FAST, "n_draws": 0},
    )  # fmt: skip
    assert embedder.calls == [N_IMAGES, 1]
    assert json.loads((tmp_path / "skipped.json").read_text()) == {}
    parameters = json.loads((tmp_path / "parameters.json").read_text())["parameters"]
    assert parameters["n_image_tokens"] == 5
    assert parameters["reference"]["noise"]["max_iter"] == 0


def test_a_denoiser_that_was_not_kept_is_told(tokens, epochs, tmp_path):
    with pytest.warns(RuntimeWarning, match="Training did not improve the reference's denoiser"):
        table = ablate(
            tokens, epochs, tmp_path, reference="default", max_iter=0, rows=["reference"],
            **{**FAST, "n_draws": 2},
        )  # fmt: skip
    assert (table["denoiser_kept"] == 0).all()
    assert "SD / real" in set(table["metric"])


def test_standard_rows_change_one_thing_each():
    paper, own = ablation_rows(), ablation_rows("default")
    assert {name.split(": ")[0] for name in paper} == {
        "captions", "position", "conditioning", "sensors", "guidance scale", "steps", "prediction",
        "mean regressor",
    }  # fmt: skip
    for name in ("position: region", "position: time", "position: none", "sensors: occipital",
                 "conditioning: addition", "conditioning: concatenation"):  # fmt: skip
        assert name in paper
        assert name in own
    assert "mean regressor: on" in paper
    assert "mean regressor: off" in own
    assert "prediction: v" in paper
    assert "prediction: noise" in own
    assert "steps: 50" not in paper
    assert "steps: 25" not in own
    # every row can be fitted as it is
    for reference, rows in (("xu2025", paper), ("default", own)):
        regressor = ablations.reference_regressor(reference)
        for changes in rows.values():
            assert changes != {}
            if "prediction_type" in changes:
                asked_denoiser(changed(regressor, changes))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"rows": ["colour"]}, ValueError, "'colour' is not known; give one of captions, position"),
        ({"rows": {"a": {"depth": 3}}}, ValueError, r"'a' changes \['depth'\]"),
        ({"rows": {"a": {"sensors": "left"}}}, ValueError, "'a' wants sensors 'left'"),
        ({"rows": {"a b": {}, "a-b": {}}}, ValueError, "'a-b' would be two"),
        ({"reference": "best"}, ValueError, "reference='best'; give 'xu2025'"),
        ({"test_fraction": 1}, ValueError, "test_fraction=1"),
        ({"n_seeds": 0}, ValueError, "n_seeds=0"),
        ({"n_image_tokens": 99}, ValueError, "n_image_tokens=99, but an image has 17 tokens"),
        ({"epochs": [1]}, TypeError, "epochs is a list"),
    ],
)
def test_wrong_arguments(arguments, error, message, tokens, epochs, tmp_path):
    given = {"epochs": epochs, **FAST, **arguments}
    with pytest.raises(error, match=message):
        ablate(tokens, given.pop("epochs"), tmp_path / "out", **given)


def test_too_few_images_to_judge_are_told_before_a_fit(tokens, epochs, tmp_path, counted):
    few = epochs[epochs.metadata["image_id"] < 4]
    few.metadata = few.metadata.drop(columns="concept")
    with pytest.raises(ValueError, match="1 of 4 images are for test, and judging needs three"):
        ablate(tokens[:4], few, tmp_path, **FAST)
    assert counted == []
    assert not list(tmp_path.iterdir())


def test_one_subject_at_a_time(tokens, epochs, tmp_path):
    two = epochs.copy()
    two.metadata = two.metadata.assign(subject=np.arange(len(two)) % 2)
    with pytest.raises(ValueError, match="epochs holds 2 subjects"):
        ablate(tokens, two, tmp_path, **FAST)
