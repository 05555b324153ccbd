"""What every test shares: quiet logs, one thread, and the recordings where they are there."""

import logging
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "agg")
# Nothing in the tests may reach for a hub, whatever the machine allows.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import mne
import numpy as np
import pytest

mne.set_log_level("WARNING")


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def rng():
    """Return a fresh generator with a fixed seed."""
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _messages_reach_caplog(monkeypatch):
    """Let the messages of MNE's logger reach pytest; until MNE 1.13 they stop before."""
    monkeypatch.setattr(logging.getLogger("mne"), "propagate", True)


@pytest.fixture(scope="session")
def shared_data():
    """Return the folder of real recordings, or skip."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder of real recordings, ../shared/data, is not there")
    return folder


def pytest_collection_modifyitems(items):
    """Skip what needs an accelerator or the network, where these are not there."""
    import torch

    for item in items:
        if item.get_closest_marker("gpu") and not torch.accelerator.is_available():
            item.add_marker(pytest.mark.skip(reason="needs an accelerator"))
        if item.get_closest_marker("network") and not os.environ.get("MNE_IMG2BRAIN_NETWORK"):
            reason = "needs the network: set MNE_IMG2BRAIN_NETWORK=1 and HF_HUB_OFFLINE=0"
            item.add_marker(pytest.mark.skip(reason=reason))
