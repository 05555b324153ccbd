"""Write the inventory that the docs fall back on where no network is.

It holds the few names of other packages that our docs refer to: ``python doc/make_inventories.py``.
"""

import zlib
from pathlib import Path

CLASSES = {
    "generated/{}.html": [
        "mne.BaseEpochs",
        "mne.Epochs",
        "mne.EpochsArray",
        "mne.Evoked",
        "mne.EvokedArray",
        "mne.Info",
        "mne.Report",
    ],
    "modules/generated/{}.html": ["sklearn.linear_model.Ridge", "sklearn.linear_model.RidgeCV"],
}
FUNCTIONS = {"generated/{}.html": ["mne.compute_rank"]}


def write(path):
    """Write an inventory in Sphinx's second format."""
    lines = [
        f"{name} py:{role} 1 {page.format(name)}#{name} -"
        for role, table in [("class", CLASSES), ("function", FUNCTIONS)]
        for page, names in table.items()
        for name in names
    ]
    head = "# Sphinx inventory version 2\n# Project: fallback\n# Version: \n"
    head += "# The remainder of this file is compressed using zlib.\n"
    path.write_bytes(head.encode() + zlib.compress("\n".join(sorted(lines)).encode() + b"\n"))


if __name__ == "__main__":
    write(Path(__file__).parent / "_inv" / "fallback.inv")
