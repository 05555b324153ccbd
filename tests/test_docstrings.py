"""Pages of public names have examples that run, related names and defaults."""

import doctest
import importlib
import inspect
import sys

import matplotlib.pyplot as plt
import mne
import pytest
from numpydoc.docscrape import NumpyDocString
from test_docs import listed_names

import mne_img2brain


def public():
    """Yield the functions and classes of the API page, by name."""
    for name in sorted(listed_names()):
        value = mne_img2brain
        for part in name.split("."):
            if not hasattr(value, part):
                importlib.import_module(f"{value.__name__}.{part}")
            value = getattr(value, part)
        if callable(value):
            yield name, value


def examples():
    """Yield the examples of each docstring that has some, those of methods too."""
    finder = doctest.DocTestFinder()
    for name, value in public():
        for test in finder.find(value, name, module=sys.modules[value.__module__]):
            if test.examples:
                yield test


@pytest.mark.parametrize("test", list(examples()), ids=lambda test: test.name)
def test_examples_run(test):
    test.globs = {}  # an example imports what it uses
    runner = doctest.DocTestRunner(
        verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    )
    said = []
    with mne.use_log_level("error"):  # few trials are warned of, and MNE logs to standard output
        assert runner.run(test, out=said.append).failed == 0, "".join(said)
    plt.close("all")


@pytest.mark.parametrize(("name", "value"), list(public()))
def test_pages_are_complete(name, value):
    page = NumpyDocString(inspect.getdoc(value))
    assert page["See Also"]
    room = f"mne_img2brain.{name}".rpartition(".")[0]
    related = {link for entries, _ in page["See Also"] for link, _ in entries}
    ours = {link.removeprefix("mne_img2brain.") for link in related if link.startswith("mne_img")}
    near = {link for link in related if not link.startswith(("mne.", "mne_img2brain."))}
    ours |= {f"{room}.{link}".removeprefix("mne_img2brain.") for link in near}
    pages = listed_names()
    assert not {link for link in ours if not {link, link.rpartition(".")[0]} & pages}
    assert page["Examples"]
    described = {
        part.strip().lstrip("*"): f"{entry.type} {' '.join(entry.desc)}"
        for entry in page["Parameters"]
        if entry.type  # others are "as in" MNE
        for part in entry.name.split(",")
    }
    optional = {
        name
        for name, parameter in inspect.signature(value).parameters.items()
        if parameter.default is not parameter.empty
    }
    assert not {name for name in optional & set(described) if "default" not in described[name]}
