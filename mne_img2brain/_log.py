"""MNE's logger, warnings and progress bar, for every layer."""

import logging
from collections.abc import Callable, Iterable

from mne.utils import ProgressBar, logger, use_log_level, verbose, warn

__all__ = ["logger", "progress", "progress_bar", "use_log_level", "verbose", "warn"]

_DELAY = 2.0  # seconds: what is done sooner needs no bar


def progress_bar(iterable: list | range, mesg: str) -> "Iterable":
    """Iterate with MNE's progress bar, once it takes long, at MNE's log level INFO or lower."""
    if logger.getEffectiveLevel() > logging.INFO:
        return iter(iterable)
    return iter(ProgressBar(iterable, mesg=mesg, delay=_DELAY))


def progress(n: int, mesg: str) -> Callable[[int], None]:
    """Return what moves such a bar on, for what comes in parts of any size."""
    if logger.getEffectiveLevel() > logging.INFO:
        return lambda done: None
    return ProgressBar(n, mesg=mesg, delay=_DELAY).update_with_increment_value
