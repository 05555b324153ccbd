"""Write the inventories that the docs fall back on where no network is.

They hold the few names of other packages that our docs refer to. Run it from anywhere:
``python doc/make_inventories.py``.
"""

import zlib
from pathlib import Path

FOLDER = Path(__file__).parent / "_inv"
# Project -> page of a name -> (role, names).
NAMES = {
    "mne": [
        (
            "generated/{}.html",
            "class",
            [
                "mne.BaseEpochs",
                "mne.Epochs",
                "mne.EpochsArray",
                "mne.Evoked",
                "mne.EvokedArray",
                "mne.Info",
                "mne.Report",
                "mne.decoding.SlidingEstimator",
                "mne.time_frequency.EpochsTFRArray",
            ],
        ),
        ("generated/{}.html", "function", ["mne.compute_rank", "mne.concatenate_epochs"]),
        ("generated/mne.Evoked.html", "method", ["mne.Evoked.get_peak", "mne.Evoked.plot_joint"]),
        ("generated/{}.html", "class", ["mne.decoding.ReceptiveField"]),
    ],
    "numpy": [
        ("reference/generated/{}.html", "class", ["numpy.ndarray"]),
        ("reference/generated/{}.html", "function", ["numpy.quantile"]),
        ("reference/random/generator.html", "class", ["numpy.random.Generator"]),
    ],
    "sklearn": [
        (
            "modules/generated/{}.html",
            "class",
            ["sklearn.linear_model.Ridge", "sklearn.linear_model.RidgeCV"],
        ),
    ],
    "torch": [
        ("generated/{}.html", "class", ["torch.nn.Module"]),
    ],
}


def inventory(project):
    """Return the inventory of a project in Sphinx's second format, as bytes."""
    lines = [
        f"{name} py:{role} 1 {page.format(name)}#{name} -"
        for page, role, names in NAMES[project]
        for name in names
    ]
    head = f"# Sphinx inventory version 2\n# Project: {project}\n# Version: \n"
    head += "# The remainder of this file is compressed using zlib.\n"
    return head.encode() + zlib.compress("\n".join(sorted(lines)).encode() + b"\n")


if __name__ == "__main__":
    for project in NAMES:
        (FOLDER / f"{project}.inv").write_bytes(inventory(project))
