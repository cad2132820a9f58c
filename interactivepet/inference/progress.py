"""Progress inside a case: how often the networks have run, and how long the rest will take."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

__all__ = ["show_progress"]

TERMINAL_S = (2.0, 0.5)
"""Seconds after which a case that is not finished gets a bar, and between its updates."""

LOG_S = (30.0, 30.0)
"""The same where standard error is no terminal: every update is a line of a log there."""


@contextmanager
def show_progress(case_id: str, n_passes: int) -> Iterator[Callable[[int], object]]:
    """Show a bar over the runs of all networks on a case, with the time that is left; quick cases get none.

    Args:
        case_id: for the user to see.
        n_passes: how often the networks will run: folds x tiles x mirrorings.

    Yields:
        What to call with the number of runs since the last call.
    """
    delay, interval = TERMINAL_S if sys.stderr.isatty() else LOG_S
    with tqdm(
        total=n_passes,
        desc=case_id,
        unit="pass",
        leave=False,
        dynamic_ncols=True,
        delay=delay,
        mininterval=interval,
        # tqdm's own limit of 10 s would cut the interval of a log
        maxinterval=max(10.0, interval),
    ) as bar:
        yield bar.update
