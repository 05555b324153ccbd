"""Parts and tokens made by processes of a real cluster, one of which is killed at work."""

import os
import signal
import threading
import time

import mne
import numpy as np
import pytest
from joblib import parallel_config

from mne_img2brain import DiffusionRegressor, GaborEmbedder, ImageToBrainEncoder, write_generated
from mne_img2brain.datasets import simulate_epochs, simulate_images


# the cluster's own: files and sockets of the process that was killed
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_killed_worker_s_part_is_made_again(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="needs the extra 'distributed'")
    images, _ = simulate_images(120, size=32, random_state=0)
    epochs, _ = simulate_epochs(images[:30], n_trials=2, random_state=0)
    regressor = DiffusionRegressor(max_iter=0, random_state=0)
    encoder = ImageToBrainEncoder(GaborEmbedder(size=32, n_scales=2), regressor)
    encoder.fit(images[:30], epochs, image_ids="image_id")
    fname = tmp_path / "a-epo.fif"
    call = {"encoder": encoder, "images": images, "n_draws": 20, "part_size": 10, "fmt": "double"}
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address=None,
            local_directory=tmp_path / "d",
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        first, *_ = pids = list(client.run(os.getpid).values())
        assert len(set(pids) - {os.getpid()}) == 2
        killed = []

        def kill():
            while not fname.exists():
                time.sleep(0.005)
            os.kill(first, signal.SIGKILL)
            killed.append(len(list(tmp_path.glob("a-epo*"))))

        killer = threading.Thread(target=kill)
        killer.start()
        with parallel_config(backend="dask"):
            files = write_generated(fname, **call)
            client.wait_for_workers(2)  # of one joblib makes no use
            monkeypatch.setattr(GaborEmbedder, "_filters", None)  # here
            tokens = encoder.embedder_.transform(images)
            monkeypatch.undo()
        killer.join()
        assert killed[0] < len(files) == 12  # it was killed on the way
        assert first not in client.run(os.getpid).values()
    np.testing.assert_array_equal(tokens, encoder.embedder_.transform(images))
    write_generated(tmp_path / "here-epo.fif", **call)
    found, here = (
        mne.read_epochs(tmp_path / name, verbose="error") for name in ("a-epo.fif", "here-epo.fif")
    )
    np.testing.assert_array_equal(found.get_data(), here.get_data())
    np.testing.assert_array_equal(found.events, here.events)
