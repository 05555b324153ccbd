"""Many cycles, and many writers of one folder: memory, handles and threads stay as they are.

A few cycles here. Many::

    MNE_IMG2BRAIN_SOAK=500 pytest tests/test_soak.py -s
"""

import gc
import multiprocessing
import os
import weakref
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from mne_img2brain import (
    Denoiser,
    DiffusionRegressor,
    GaborEmbedder,
    ImageToBrainEncoder,
    read_encoder,
)
from mne_img2brain.datasets import simulate_epochs, simulate_images
from mne_img2brain.encoder.folder import ENCODER_FILES

N_CYCLES = int(os.environ.get("MNE_IMG2BRAIN_SOAK", 4))
# what allocators, caches and lazy imports take while they warm up is not counted
N_WARM = max(2, N_CYCLES // 10)
AT_MOST = 20.0  # MB that may come on top: of 500 cycles, 0.04 MB each

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/fd").is_dir(), reason="memory and handles are those that Linux tells"
)


def used():
    """Memory in MB, open handles, threads."""
    gc.collect()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return (
        int(status["VmRSS"].split()[0]) / 1024,
        len(os.listdir("/proc/self/fd")),
        int(status["Threads"]),
    )


def assert_flat(label, seen):
    """Compare the last with what there was when everything was warm."""
    (memory, handles, threads), last = seen[N_WARM - 1], seen[-1]
    print(  # noqa: T201
        f"{label}: {memory:.1f} MB, {handles} handles, {threads} threads after cycle {N_WARM}; "
        f"{last[0]:.1f}, {last[1]}, {last[2]} after {len(seen)}"
    )
    assert last[0] - memory < AT_MOST
    assert last[1:] == (handles, threads)


@pytest.fixture(scope="module")
def recorded():
    images, _ = simulate_images(12, size=32, random_state=0)
    epochs, _ = simulate_epochs(images, n_trials=2, sfreq=30.0, random_state=0)
    return images, epochs


def test_cycles_of_fit_predict_save_read(recorded, tmp_path, monkeypatch):
    images, epochs = recorded
    monkeypatch.setenv("MNE_IMG2BRAIN_CACHE", str(tmp_path / "cache"))
    picks, seen, alive = epochs.ch_names[:4], [], []
    for cycle in range(N_CYCLES):
        denoiser = Denoiser(hidden_size=16, n_layers=1, n_heads=2, max_iter=2, whitening="scale")
        regressor = DiffusionRegressor(None, denoiser, device="cpu", random_state=cycle)
        encoder = ImageToBrainEncoder(GaborEmbedder(size=32, n_scales=2), regressor, picks=picks)
        encoder.fit(images, epochs, image_ids="image_id")
        expected = encoder.predict(images[:3]).get_data()
        encoder.sample(images[:3], 2, random_state=cycle)
        encoder.save(tmp_path / "e", overwrite=True)
        back = read_encoder(tmp_path / "e")
        np.testing.assert_allclose(back.predict(images[:3]).get_data(), expected, rtol=1e-9)
        alive += [weakref.ref(encoder), weakref.ref(back)]
        del encoder, back
        seen.append(used())
    assert sorted(os.listdir(tmp_path / "e")) == sorted(ENCODER_FILES)
    assert [ref for ref in alive if ref() is not None] == []
    assert_flat("cycles", seen)


def _write(encoder, folder, results):
    """Save again and again, and tell what that took."""
    gc.freeze()
    seen = []
    for _ in range(N_CYCLES):
        encoder.save(folder, overwrite=True)
        seen.append(used())
    results.put(seen)


def test_writers_of_one_folder(recorded, tmp_path):
    images, epochs = recorded
    encoders = [
        ImageToBrainEncoder(GaborEmbedder(size=32, n_scales=2), Ridge(alpha)).fit(
            images, epochs, image_ids="image_id"
        )
        for alpha in (1.0, 1000.0)
    ]
    expected = [encoder.predict(images[:1]).get_data() for encoder in encoders]
    fork = multiprocessing.get_context("fork")
    results = fork.Queue()
    writers = [
        fork.Process(target=_write, args=(encoders[i % 2], tmp_path / "e", results))
        for i in range(8)
    ]
    for writer in writers:
        writer.start()
    try:
        every = [results.get(timeout=60 + 5 * N_CYCLES) for _ in writers]
    finally:
        for writer in writers:
            writer.join(timeout=10)
            writer.kill()
    assert [writer.exitcode for writer in writers] == [0] * 8
    for i, seen in enumerate(every):
        assert_flat(f"writer {i}", seen)
    assert sorted(os.listdir(tmp_path / "e")) == sorted(ENCODER_FILES)
    found = read_encoder(tmp_path / "e").predict(images[:1]).get_data()
    scale = np.abs(found).max()
    assert sum(np.allclose(found, one, rtol=0, atol=1e-5 * scale) for one in expected) == 1
