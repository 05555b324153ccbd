"""Code on the pages runs as it stands there, from an empty folder, with a small recording."""

import functools
import os
import re
import textwrap
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import mne
import numpy as np
import pytest
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import mne_img2brain
from mne_img2brain import DiffusionRegressor, GaborEmbedder, ImageToBrainEncoder
from mne_img2brain.baselines import RidgeGaussian
from mne_img2brain.datasets import simulate_epochs, simulate_images

ROOT = Path(__file__).parents[1]
# Nothing of what a recording this small cannot tell is meant here.
pytestmark = [
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Solving ridge is slower"),
]
# Not ours to run: MNE-BIDS, which is not needed otherwise, and what is a part of a call.
NOT_RUN = {'epochs = mne.Epochs(read_raw_bids(path))["image"]', "..."}


class Small(ImageToBrainEncoder):
    """The encoder whose default needs no weights."""

    def __init__(self, embedder=None, regressor=None, *, picks=None):
        embedder = embedder or GaborEmbedder(size=32, n_scales=2)
        regressor = regressor or DiffusionRegressor(max_iter=0, random_state=0)
        super().__init__(embedder, regressor, picks=picks)


@pytest.fixture(scope="module")
def recording():
    images, category = simulate_images(40, size=32, random_state=0)
    parts, _ = simulate_epochs(
        images, n_trials=4, n_subjects=3, snr=2.0, sfreq=50.0, tmax=0.5, random_state=0
    )
    return images, category, list(parts.values())


@pytest.fixture
def names(recording, tmp_path, monkeypatch):
    """Return what the pages take as given, in an empty folder with images in ``stimuli``."""
    monkeypatch.chdir(tmp_path)
    shown, category, people = recording
    files = [f"{number:02d}.png" for number in range(40)]
    Path("stimuli").mkdir()
    for file, image in zip(files, shown, strict=True):
        Image.fromarray(image).save(f"stimuli/{file}")
    image_id = people[0].metadata["image_id"].to_numpy()
    people = [epochs.copy() for epochs in people]
    for epochs in people:
        epochs.metadata = epochs.metadata.assign(
            stim_file=[files[k] for k in epochs.metadata["image_id"]],
            image=[os.path.abspath(f"stimuli/{files[k]}") for k in epochs.metadata["image_id"]],
        )
    epochs, *others = people
    seen, held = (np.flatnonzero(part) for part in (image_id < 30, image_id >= 30))
    monkeypatch.setattr(mne_img2brain, "ImageToBrainEncoder", Small)
    quick = functools.partial(mne_img2brain.evaluate, n_draws=0, n_splits=5, n_bootstrap=20)
    monkeypatch.setattr(mne_img2brain, "evaluate", quick)
    yield {
        "os": os, "np": np, "mne": mne, "PCA": PCA, "RidgeCV": RidgeCV, "Image": Image,
        "StandardScaler": StandardScaler, "make_pipeline": make_pipeline,
        "SlidingEstimator": mne.decoding.SlidingEstimator, "LogisticRegression": LogisticRegression,
        "ImageToBrainEncoder": Small, "evaluate": quick, "GaborEmbedder": GaborEmbedder,
        "RidgeGaussian": RidgeGaussian, "mne_img2brain": mne_img2brain,
        "write_generated": mne_img2brain.write_generated,
        "read_encoder": mne_img2brain.read_encoder,
        "images": shown[image_id[seen]], "epochs": epochs[seen], "image_id": image_id[seen],
        "test_images": shown[image_id[held]], "test_epochs": epochs[held], "new_images": shown[30:],
        "paths": [f"stimuli/{file}" for file in files[30:]], "others": others, "shown": shown,
        "category": category,
    }  # fmt: skip
    plt.close("all")


def blocks(page, section=None):
    """Return the Python of a page, or of one section of it."""
    text = (ROOT / page).read_text()
    if section:
        parts = re.split(r"\n(\S[^\n]*)\n-{3,}\n", text)
        text = dict(zip(parts[1::2], parts[2::2], strict=True))[section]
    if page.endswith(".md"):
        return "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    found = re.findall(r"code-block:: python\n\n((?: +.*\n|\n)+)", text)
    return "\n".join(textwrap.dedent(block) for block in found)


@pytest.mark.parametrize("page", ["README.md", "doc/index.rst"])
def test_first_code_that_a_reader_sees(names, page):
    exec(blocks(page), names)
    assert len(names["expected"]) == 10
    assert len(names["trials"]) == 200
    assert Path("my_encoder" if page == "README.md" else "report.html").exists()


def test_page_on_sharing(names, monkeypatch):
    import huggingface_hub

    uploads = []

    class Api:
        def __init__(self, token=None):
            pass

        def create_repo(self, repo_id, *, private, exist_ok):
            assert (repo_id, private) == ("user/encoder", True)

        def upload_folder(self, *, folder_path, **given):
            uploads.append(sorted(file.name for file in Path(folder_path).iterdir()))
            return SimpleNamespace(commit_url="https://hub/user/encoder")

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    read = ImageToBrainEncoder.from_pretrained
    monkeypatch.setattr(Small, "from_pretrained", lambda name: read("look_first"))
    names["encoder"] = Small().fit(names["images"], names["epochs"])
    exec(blocks("doc/sharing.rst"), names)
    assert uploads == [sorted(os.listdir("look_first"))]
    assert "Sixteen people" in Path("look_first/README.md").read_text()


def test_page_on_scaling(names, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    names["encoder"] = Small()
    exec(blocks("doc/scaling.rst"), names)
    assert len(names["trials"]) == 200
    assert {"checkpoint", "encoder"} & set(os.listdir()) >= {"encoder"}


@pytest.mark.parametrize("section", ["Own scripts", "himalaya", "mne.decoding", "braindecode"])
def test_page_for_those_who_come_from_elsewhere(names, section):
    if section in ("himalaya", "braindecode"):
        pytest.importorskip(section)
    code = blocks("doc/coming_from.rst", section)
    names |= {
        "image_ids": names["image_id"], "n_channels": 33, "n_times": len(names["epochs"].times),
        "category": [k % 2 + 1 for k in range(len(names["images"]))],
    }  # fmt: skip
    features = names["network_features"] = np.random.default_rng(0).normal(size=(40, 60))
    names |= {"new_features": features, "X": features[names["image_id"]]}
    names["y"] = names["epochs"].get_data().reshape(len(names["epochs"]), -1)
    if section == "Own scripts":
        # its own features have been through the components already, those of the encoder have not
        first, ours = code.split("model = make_pipeline", 1)
        names["PCA"] = lambda n: PCA(min(n, 20))
        names["new_features"] = features[:, :20]
        exec(first, names)
        names["new_features"] = features
        exec("model = make_pipeline" + ours, names)
    else:
        names["encoder"] = Small().fit(names["images"], names["epochs"])
        names["draws"] = names["encoder"].sample(names["new_images"], n_draws=2)
        if section == "mne.decoding":
            names |= {"images": names["new_images"], "category": [1, 2] * 5}
            names["epochs"] = names["encoder"].sample(
                names["new_images"], event_id=[1, 2] * 5, random_state=1
            )
        exec(code, names)
    made = {"Own scripts": "generated", "himalaya": "encoder", "mne.decoding": "sliding",
            "braindecode": "windows"}[section]  # fmt: skip
    assert type(names[made]).__name__ == {
        "generated": "EpochsArray", "encoder": "Small", "sliding": "SlidingEstimator",
        "windows": "BaseConcatDataset",
    }[made]  # fmt: skip


def test_calls_of_the_cheat_sheet(names):
    page = (ROOT / "doc" / "cheat_sheet.rst").read_text()
    rows = re.findall(r"^   \* - (.*)\n     - (.*)$", page, re.M)[1:]
    assert len(rows) > 20
    epochs_1 = names["epochs"]
    one = Small().fit(names["images"], names["epochs"])
    names |= {
        "encoder": one, "ridge": Small(regressor=RidgeGaussian()).fit(names["images"], epochs_1),
        "info": epochs_1.info, "tmin": -0.1,
        "predict": lambda images: images.mean(axis=(1, 2, 3))[:, None, None] * np.ones((33, 31)),
    }  # fmt: skip
    called = []
    for wanted, cell in rows:
        given = dict(names)
        if wanted in ("several people", "a new person from few trials"):
            given |= {"epochs_1": epochs_1, "epochs_2": names["others"][0]}
            if "adapt" in cell:
                people = {"sub-01": given["epochs_1"], "sub-02": given["epochs_2"]}
                given |= {"encoder": Small().fit("image", people), "epochs": names["others"][1]}
        elif wanted.startswith(("how good", "where and", "a whole")):
            given |= {"images": names["test_images"], "epochs": names["test_epochs"]}
        elif "predict" in cell or "sample" in cell or "write" in cell:
            given |= {"images": names["new_images"], "names": ["face"] * 10}
        for code in re.findall(r"``(.*?)``", cell):
            code = code.replace(", image_ids=...", "")
            if code.startswith("."):
                code = f"_result{code}"
            if "(" not in code or code in NOT_RUN:
                continue
            exec(code if " = " in code else f"_result = {code}", given)
            called.append(code)
    assert len(called) > 18
