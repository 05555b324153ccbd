"""What this machine can do, and what a piece of code takes of it."""

import os
import platform
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def ceilings(size: int = 2000) -> dict[str, float]:
    """Time a large matrix product and a large copy, the best of three.

    Parameters
    ----------
    size : int
        Rows of the matrices.

    Returns
    -------
    dict of float
        GFLOP/s in float64 and float32, and GB/s read and written by a copy.
    """
    found = {}
    for dtype in (np.float64, np.float32):
        a = np.random.default_rng(0).standard_normal((size, size)).astype(dtype)
        seconds = _best(np.matmul, a, a)
        found[f"{np.dtype(dtype).name} product, GFLOP/s"] = 2e-9 * size**3 / seconds
    a = np.zeros(2**25)
    found["copy, GB/s"] = 2e-9 * a.nbytes / _best(np.copyto, a, np.ones_like(a))
    return found


def _best(call: Callable, *arguments: Any) -> float:
    times = []
    for _ in range(3):
        start = time.perf_counter()
        call(*arguments)
        times.append(time.perf_counter() - start)
    return min(times)


def describe() -> str:
    """Name the machine, its threads and the versions of what is compared."""
    from importlib.metadata import PackageNotFoundError, version

    versions = []
    for name in ("numpy", "scipy", "scikit-learn", "himalaya", "torch", "mne_img2brain"):
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    model = next(
        (
            line.split(":")[1].strip()
            for line in _read("/proc/cpuinfo").splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return (
        f"{time.strftime('%Y-%m-%d')}, {model}, {os.cpu_count()} cores, {threads} threads, Python "
        f"{platform.python_version()}, " + ", ".join(versions)
    )


def _read(path: str) -> str:
    return Path(path).read_text() if Path(path).is_file() else ""


class Meter:
    """Seconds, CPU seconds and the peak of memory of a ``with`` block.

    Memory is that which the process holds itself; pages of mapped files, which the system takes
    back when it needs them, do not count.
    """

    def __enter__(self) -> "Meter":
        self.peak = self.before = _held()
        self.done = threading.Event()
        self.watch = threading.Thread(target=self._watch, daemon=True)
        self.watch.start()
        self.start, self.cpu = time.perf_counter(), time.process_time()
        return self

    def _watch(self) -> None:
        while not self.done.wait(0.02):
            self.peak = max(self.peak, _held())

    def __exit__(self, *error: Any) -> None:
        self.seconds = time.perf_counter() - self.start
        self.cpu = time.process_time() - self.cpu
        self.done.set()
        self.watch.join()
        self.gib = self.peak - self.before


def _held() -> float:
    """Return the resident memory of this process that is no file, in GiB."""
    for line in _read("/proc/self/status").splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
