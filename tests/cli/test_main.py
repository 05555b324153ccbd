"""The command line, run as a user does: files in, files out."""

import argparse
import importlib
import json
import logging
import re
import subprocess
import sys

import mne
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from PIL import Image

from mne_img2brain import DiffusionRegressor, GaborEmbedder, ImageToBrainEncoder, read_encoder
from mne_img2brain.cli.main import main
from mne_img2brain.cli.parser import make_parser
from mne_img2brain.datasets import simulate_epochs, simulate_images
from mne_img2brain.stimulus.cache import cache_folder

N_IMAGES, N_TRAIN = 24, 18
FIT = ["--embedder", "gabor", "--max-iter", "0", "--device", "cpu"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder of training images, one of test images, and epochs of both."""
    folder = tmp_path_factory.mktemp("files")
    images, _ = simulate_images(N_IMAGES, size=32, random_state=0)
    epochs, _ = simulate_epochs(images, n_trials=3, sfreq=30.0, random_state=0)
    image = epochs.metadata["image_id"].to_numpy()
    epochs.metadata = epochs.metadata.assign(
        image=[f"{i:02d}.png" for i in image], who=np.where(image % 2, "a", "b")
    )
    for name in ("train", "test"):
        (folder / name).mkdir()
    for i, shown in enumerate(images):
        part = "train" if i < N_TRAIN else "test"
        Image.fromarray(shown).save(folder / part / f"{i:02d}.png")
    epochs[image < N_TRAIN].save(folder / "train-epo.fif", verbose="error")
    epochs[image >= N_TRAIN].save(folder / "test-epo.fif", verbose="error")
    return folder


@pytest.fixture(scope="module")
def encoder(files):
    out = files / "encoder"
    assert main(["fit", str(files / "train"), str(files / "train-epo.fif"), "--out", str(out),
                 "--image-ids", "image", "--seed", "3", *FIT]) == 0  # fmt: skip
    return out


def paths(folder):
    return [str(path) for path in sorted(folder.glob("*.png"))]


def test_fit_is_the_fit_of_the_library(files, encoder):
    epochs = mne.read_epochs(files / "train-epo.fif", verbose="error")
    regressor = DiffusionRegressor(max_iter=0, device="cpu", random_state=3)
    same = ImageToBrainEncoder(GaborEmbedder(), regressor)
    same.fit(paths(files / "train"), epochs, image_ids="image")
    new = paths(files / "test")
    got = read_encoder(encoder).predict(new).get_data()
    assert_allclose(got, same.predict(new).get_data(), rtol=1e-6, atol=1e-12)
    made_with = json.loads((encoder / "command.json").read_text())
    assert made_with["arguments"]["seed"] == 3
    assert "mne_img2brain" in made_with["versions"]


def test_predict_and_draw(files, encoder, tmp_path):
    fname = tmp_path / "generated-epo.fif"
    main(["predict", str(encoder), str(files / "test"), "--out", str(fname)])
    generated = mne.read_epochs(fname, verbose="error")
    expected = read_encoder(encoder).predict(paths(files / "test"))
    assert_allclose(generated.get_data(), expected.get_data(), rtol=1e-5, atol=1e-12)
    assert generated.metadata["image"].tolist() == paths(files / "test")
    before = fname.stat().st_mtime_ns
    main(["predict", str(encoder), str(files / "test"), "--out", str(fname)])
    assert fname.stat().st_mtime_ns == before  # the same call: it is done
    with pytest.raises(SystemExit, match="2"):
        main(["predict", str(encoder), str(files / "train"), "--out", str(fname)])
    listed = tmp_path / "list.csv"
    listed.write_text("image,note\n" + "\n".join(f"{p},x" for p in paths(files / "test")[:2]))
    main(["predict", str(encoder), str(listed), "--out", str(fname), "--draws", "4", "--seed", "1",
          "--overwrite"])  # fmt: skip
    drawn = mne.read_epochs(fname, verbose="error")
    expected = read_encoder(encoder).sample(paths(files / "test")[:2], 4, random_state=1)
    assert_allclose(drawn.get_data(), expected.get_data(), rtol=1e-5, atol=1e-12)


def test_evaluate_writes_page_tables_and_maps(files, encoder, tmp_path):
    ridge = tmp_path / "ridge"
    main(["fit", str(files / "train"), str(files / "train-epo.fif"), "--out", str(ridge),
          "--image-ids", "image", "--preset", "ridge", "--embedder", "gabor"])  # fmt: skip
    out = tmp_path / "judged"
    main(["evaluate", str(encoder), str(ridge), str(files / "test"), str(files / "test-epo.fif"),
          "--out", str(out), "--image-ids", "image", "--draws", "0"])  # fmt: skip
    table = pd.read_csv(out / "table.csv")
    assert set(table["encoder"]) == {"encoder", "ridge"}
    epochs = mne.read_epochs(files / "test-epo.fif", verbose="error")
    r = read_encoder(encoder).score_evoked(paths(files / "test"), epochs, image_ids="image")
    row = table[(table["encoder"] == "encoder") & (table["metric"] == "r")]
    assert_allclose(row["value"], r.copy().crop(0.05, 0.6).data.mean(), rtol=1e-3)
    assert (out / "report.html").stat().st_size > 10_000
    assert len(mne.read_evokeds(out / "maps-ave.fif", verbose="error")) >= 2
    assert (out / "encoder-against-ridge.csv").is_file()
    drawn = read_encoder(ridge).sample(paths(files / "test")[:2], 3, random_state=0)
    assert len(drawn) == 6
    assert drawn.get_data().std(axis=0).min() > 0


def test_subjects_by_column(files, tmp_path):
    out = tmp_path / "encoder"
    main(["fit", str(files / "train"), str(files / "train-epo.fif"), "--out", str(out),
          "--image-ids", "image", "--subject-column", "who", *FIT])  # fmt: skip
    assert read_encoder(out).subjects_ == ["a", "b"]
    fname = tmp_path / "a-epo.fif"
    main(["predict", str(out), str(files / "test"), "--out", str(fname), "--subject", "a"])
    metadata = mne.read_epochs(fname, verbose="error").metadata
    assert metadata["subject"].unique().tolist() == ["a"]


def test_ablate(files, tmp_path, monkeypatch):
    small = DiffusionRegressor.xu2025(hidden_size=16, n_layers=1, n_heads=2)
    presets = importlib.import_module("mne_img2brain.experiments.ablation_rows")._PRESETS
    monkeypatch.setitem(presets, "xu2025", lambda: small)
    main(["ablate", str(files / "train"), str(files / "train-epo.fif"), "--out",
          str(tmp_path / "t"), "--image-ids", "image", "--rows", "position: time",
          "--seeds", "1", "--draws", "2",
          "--embedder", "gabor", "--max-iter", "2", "--device", "cpu"])  # fmt: skip
    table = pd.read_csv(tmp_path / "t" / "ablations.csv")
    assert set(table["ablation"]) == {"reference", "position"}
    assert table.loc[table["ablation"] == "position", "setting"].unique().tolist() == ["time"]


def test_reproduce_passes_on_what_it_is_given(monkeypatch, tmp_path):
    seen = {}
    module = importlib.import_module("mne_img2brain.experiments.reproduce")
    monkeypatch.setattr(module, "reproduce", lambda *given, **kw: seen.update(kw, given=given))
    main(["reproduce", "things-eeg2", "--data-dir", str(tmp_path), "--out",
          str(tmp_path / "o"), "--subjects", "1", "3", "--cross",
          "--reader", "resample=100", "variant=ubp", "--device", "cpu"])  # fmt: skip
    assert seen["given"] == ("things-eeg2", tmp_path, tmp_path / "o")
    assert [str(subject) for subject in seen["subjects"]] == ["1", "3"]
    assert (seen["within"], seen["cross"]) == (False, True)
    assert seen["reader"] == {"resample": 100, "variant": "ubp"}
    assert (seen["device"], seen["embedder"]) == ("cpu", None)


def test_every_flag_has_a_help_text_and_says_its_default():
    commands = make_parser()._subparsers._group_actions[0].choices
    assert set(commands) == {"fit", "predict", "evaluate", "ablate", "reproduce"}
    for name, command in commands.items():
        for action in command._actions:
            assert action.help, (name, action.dest)
            switch = action.nargs == 0 or action.required
            assert switch or "default" in action.help, (name, action.dest)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fit", "nowhere", "{epochs}", "--out", "{out}"], "no file or folder 'nowhere'"),
        (["fit", "{train}", "nothing-epo.fif", "--out", "{out}"], "no file 'nothing-epo.fif'"),
        (["fit", "{epochs}", "{epochs}", "--out", "{out}"], "is a .fif file; give a folder"),
        (["fit", "{train}", "{epochs}", "--out", "{out}", "--embedder", "gabor"], "--image-ids"),
        (["predict", "{train}", "{train}", "--out", "x-epo.fif"], "holds no saved encoder"),
        (["predict", "{train}", "{train}", "--out", "x.fif"], "ends in -epo.fif"),
        (["fit", "{train}", "{image}", "--out", "{out}"], "00.png' is no FIF file"),
        (
            [
                "fit",
                "{train}",
                "{epochs}",
                "--out",
                "{out}",
                "--image-ids",
                "image",
                "--device",
                "tpu",
                "--embedder",
                "gabor",
            ],
            "--device 'tpu' is not a device",
        ),
        (
            ["predict", "{train}", "{train}", "--out", "x-epo.fif", "--device", "tpu"],
            "--device 'tpu' is not a device",
        ),
        (["evaluate", "{train}", "{epochs}", "--out", "{out}"], "at least three names"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(files, tmp_path, capsys, arguments, said):
    known = {"train": files / "train", "image": files / "train" / "00.png",
             "epochs": files / "train-epo.fif", "out": tmp_path / "out"}  # fmt: skip
    with pytest.raises(SystemExit) as stopped:
        main([argument.format(**known) for argument in arguments])
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert "error:" in line
    assert said in line
    assert not (tmp_path / "out").exists()


# ``python -m mne_img2brain`` with the words before -- and, its modules read, with those after
TWICE = """
import runpy, sys
words = sys.argv[1:]
cut = words.index("--")
for sys.argv[1:] in (words[:cut], words[cut + 1:]):
    try:
        runpy.run_module("mne_img2brain", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        print("status", ended.code)
"""


def test_as_a_process(files, encoder, tmp_path):
    fname = tmp_path / "generated-epo.fif"
    words = ["predict", str(encoder), str(files / "test"), "--out", str(fname)]
    wrong = ["predict", str(encoder), "nowhere", "--out", str(fname)]
    done = subprocess.run(
        [sys.executable, "-c", TWICE, *words, "--", *wrong],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "6 epochs are in" in done.stdout + done.stderr
    assert re.findall("status .*", done.stdout) == ["status 0", "status 2"]
    assert "Traceback" not in done.stderr
    assert logging.getLogger("mne").level  # MNE's logger speaks, nothing is printed


def test_every_option_has_help_and_every_command_an_example():
    parser = make_parser()
    assert parser.prog == "mne-img2brain"
    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    for name, command in commands.choices.items():
        assert not [action.dest for action in command._actions if not action.help]
        assert f"mne-img2brain {name} " in command.epilog


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (None, "downloads 1.7 GB of timm/vit_large.*, 4.4 GB of Qwen.*: add --yes"),
        ("n", "Nothing was downloaded"),
    ],
)
def test_downloads_are_asked_about(files, tmp_path, capsys, monkeypatch, asked, said):
    large = {"open_clip_*": 1.7e9, "*": 4.4e9}
    monkeypatch.setattr(
        "mne_img2brain.stimulus.weights.missing_bytes", lambda _, names: large[names]
    )
    monkeypatch.setattr("sys.stdin.isatty", lambda: asked is not None, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: asked)
    with pytest.raises(SystemExit):
        main(["fit", str(files / "train"), str(files / "train-epo.fif"), "--out",
              str(tmp_path / "out"), "--image-ids", "image"])  # fmt: skip
    assert re.search(said, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_cache_dir_and_device(files, encoder, tmp_path, monkeypatch):
    monkeypatch.setenv("MNE_IMG2BRAIN_CACHE", "elsewhere")
    fname = tmp_path / "generated-epo.fif"
    main(["predict", str(encoder), str(files / "test"), "--out", str(fname), "--device", "cpu",
          "--cache-dir", str(tmp_path / "cache")])  # fmt: skip
    assert cache_folder() == tmp_path / "cache"
    assert len(mne.read_epochs(fname, verbose="error")) == N_IMAGES - N_TRAIN
