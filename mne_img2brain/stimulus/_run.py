"""A long computation over images, said before it starts and timed after its first batch."""

import time
from collections.abc import Iterator

from .._log import logger, progress_bar


def batches_of(items: list, batch_size: int, *, what: str, without: str) -> Iterator[list]:
    """Yield batches to compute; say how long it will take and how to do without."""
    batches = [items[i : i + batch_size] for i in range(0, len(items), batch_size)]
    start = time.perf_counter()
    for number, batch in enumerate(progress_bar(batches, what)):
        yield batch
        if number == 0 and len(batches) > 1:
            seconds = (time.perf_counter() - start) * (len(batches) - 1)
            logger.info(f"{what}: about {_duration(seconds)} to go. {without}")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
