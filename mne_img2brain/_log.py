"""MNE's logger, warnings and progress bar, for every layer."""

import logging
from typing import Any

from mne.utils import ProgressBar, logger, use_log_level, verbose, warn

__all__ = ["logger", "progress_bar", "use_log_level", "verbose", "warn"]


def progress_bar(iterable: list | range, mesg: str) -> Any:
    """Iterate with MNE's progress bar where MNE's log level is INFO or lower.

    Parameters
    ----------
    iterable : iterable with a length
        What is iterated over.
    mesg : str
        What the bar says.

    Returns
    -------
    iterator
        The items of ``iterable``.
    """
    if logger.getEffectiveLevel() > logging.INFO:
        return iter(iterable)
    return iter(ProgressBar(iterable, mesg=mesg))
