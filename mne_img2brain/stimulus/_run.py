"""A long computation over images, shared by processes and timed after its first batches."""

import functools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from joblib import effective_n_jobs
from PIL import Image
from sklearn.utils.parallel import Parallel, delayed

from .._log import logger, progress_bar
from .._parameters import Integer

N_JOBS = Integer(1), Integer(-1000, -1), None  # what it may be
Computed = TypeVar("Computed")


def in_batches(
    compute: Callable[[list[Image.Image]], Iterable[Computed]],
    read: Callable[[int], Image.Image],
    rows: Sequence[int],
    batch_size: int,
    *,
    n_jobs: int | None,
    what: str,
    without: str = "",
) -> Iterator[tuple[int, Computed]]:
    """Yield rows and what is computed of these images, a batch at a time.

    read: gives the image of a row; called here, as others may not have the file.
    without: how to do without, said with how long it takes; empty where neither is said.
    """
    batches = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    # more processes than batches would be started too
    n_at_once = min(effective_n_jobs(n_jobs), max(1, len(batches)))
    start = time.perf_counter()
    results = Parallel(n_jobs=n_at_once, return_as="generator")(
        delayed(compute)([read(row) for row in batch]) for batch in batches
    )
    for n_done, batch in enumerate(progress_bar(batches, what), start=1):
        yield from zip(batch, next(results), strict=True)
        if without and n_done == n_at_once < len(batches):
            seconds = (time.perf_counter() - start) * (len(batches) / n_done - 1)
            logger.info(f"{what}: about {_duration(seconds)} to go. {without}")


@functools.lru_cache(maxsize=1)
def of_process(kind: type, key: str, *parameters: Any) -> Any:
    """Return the copy of a model that this process holds; the one before it is let go."""
    return kind(*parameters)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
