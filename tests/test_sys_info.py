import importlib
import importlib.metadata
import tomllib
from pathlib import Path

import pytest

import mne_img2brain


def test_it_names_what_is_installed_and_no_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere/of/mine")
    text = mne_img2brain.sys_info()
    lines = [line.split(maxsplit=1) for line in text.splitlines()]
    found = {name.replace("-", "_"): value for name, value in lines}
    for name in ("mne", "torch", "scikit_learn", "open_clip_torch"):
        assert found[name] == importlib.metadata.version(name)
    assert found["mne_img2brain"] == importlib.metadata.version("mne_img2brain")
    assert "mine" not in text


def test_a_package_that_is_missing_is_said(monkeypatch):
    version = importlib.metadata.version

    def without_pooch(name):
        if name == "pooch":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without_pooch)
    lines = mne_img2brain.sys_info().splitlines()
    assert [line for line in lines if line.startswith("pooch")][0].endswith("not installed")


def test_the_console_script_is_the_command_line(capsys):
    pyproject = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    module, name = pyproject["project"]["scripts"]["mne-img2brain"].split(":")
    main = getattr(importlib.import_module(module), name)
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert mne_img2brain.__version__ in capsys.readouterr().out
