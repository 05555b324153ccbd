"""Examples in docstrings of public names say what happens."""

import doctest
import importlib
import sys

import matplotlib.pyplot as plt
import mne
import pytest
from test_docs import listed_names

import mne_img2brain


def examples():
    """Modules with public names, and the docstring tests of each name that has examples."""
    finder = doctest.DocTestFinder()
    for name in sorted(listed_names()):
        value = mne_img2brain
        for part in name.split("."):
            if not hasattr(value, part):
                importlib.import_module(f"{value.__name__}.{part}")
            value = getattr(value, part)
        if not hasattr(value, "__module__"):
            continue
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
