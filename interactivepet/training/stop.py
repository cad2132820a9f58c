"""When a run ends before its last epoch: good enough, no longer better, out of time, or asked to by a signal."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import parent_process
from types import FrameType
from typing import Any

from interactivepet.core.checkpoint import EpochRecord
from interactivepet.training.inputs import TrainingOptions

__all__ = [
    "Clock",
    "Interruption",
    "find_best",
    "find_reason",
    "leave_on_sigterm",
    "listen",
    "smooth_dice",
    "wants_more",
]

logger = logging.getLogger(__name__)

SMOOTHING = 0.8
"""Weight of the past in the smoothed pseudo Dice: about the last five epochs count."""


def smooth_dice(epochs: Sequence[EpochRecord]) -> list[float]:
    """Smooth the mean pseudo Dice of the labels, which jumps from epoch to epoch with so few patches.

    Returns:
        One value an epoch: the exponential moving average so far; 0 before the first patch with a label.
    """
    smoothed: list[float] = []
    mean, weight = 0.0, 0.0
    for epoch in epochs:
        known = [dice for dice in epoch.pseudo_dice if dice is not None]
        if known:
            mean = SMOOTHING * mean + (1 - SMOOTHING) * sum(known) / len(known)
            # what the average has seen so far, so that it does not begin near 0
            weight = SMOOTHING * weight + (1 - SMOOTHING)
        smoothed.append(mean / weight if weight else 0.0)
    return smoothed


def find_best(epochs: Sequence[EpochRecord]) -> int:
    """Give the position of the epoch with the best smoothed pseudo Dice, the first of equals; the last if all are 0."""
    smoothed = smooth_dice(epochs)
    best = max(smoothed)
    return smoothed.index(best) if best > 0 else len(smoothed) - 1


def find_reason(epochs: Sequence[EpochRecord], options: TrainingOptions) -> str | None:
    """Say why a run ends after these epochs although more are planned; None when it goes on."""
    if not epochs:
        return None
    dice = smooth_dice(epochs)[-1]
    if options.until_dice is not None and dice >= options.until_dice:
        return f"the smoothed pseudo Dice {dice:.3f} has reached {options.until_dice:g}"
    n_without = len(epochs) - 1 - find_best(epochs)
    if options.patience is not None and n_without >= options.patience:
        return f"the smoothed pseudo Dice {dice:.3f} has not risen for {n_without} epochs"
    seconds = sum(epoch.seconds for epoch in epochs)
    if options.time_limit_s is not None and seconds >= options.time_limit_s:
        return f"the time limit of {options.time_limit_s:.0f} s is reached"
    return None


def wants_more(epochs: Sequence[EpochRecord], options: TrainingOptions) -> bool:
    """Say whether a complete fold with these epochs is to be trained further: more were asked for by name."""
    return options.epochs is not None and len(epochs) < options.epochs and find_reason(epochs, options) is None


@dataclass(slots=True)
class Clock:
    """How far a run has come, by iterations and by time; what was spent before an interruption counts.

    Attributes:
        n_iterations: of the whole run.
        limit_s: of the whole run; None for no limit.
        spent_s: before this start.
    """

    n_iterations: int
    limit_s: float | None
    spent_s: float
    _start: float = field(default_factory=time.monotonic)
    _lap: float = field(default_factory=time.monotonic)

    def progress(self, n_done: int) -> float:
        """Give the share of the run that is over after `n_done` iterations, in [0, 1]."""
        share = n_done / self.n_iterations
        return min(1.0, share if self.limit_s is None else max(share, self._elapsed_s() / self.limit_s))

    def lap_s(self) -> float:
        """Give the seconds since the last call, or since the start."""
        now = time.monotonic()
        seconds, self._lap = now - self._lap, now
        return seconds

    def _elapsed_s(self) -> float:
        return self.spent_s + time.monotonic() - self._start


@dataclass(slots=True)
class Interruption:
    """A signal that asked the run to end, if one has come."""

    number: int | None = None

    def check(self) -> None:
        """Stop what is being done once a signal has come.

        Raises:
            KeyboardInterrupt: for any signal; `leave` then tells them apart.
        """
        if self.number is not None:
            logger.warning("%s: ending after this iteration", signal.Signals(self.number).name)
            raise KeyboardInterrupt

    def leave(self) -> None:
        """End the process, or this work of it, the way the signal would have.

        Raises:
            KeyboardInterrupt: for Ctrl-C.
            SystemExit: for any other signal, with the status that a shell gives for it.
        """
        if self.number is None:
            return
        if self.number == signal.SIGINT:
            raise KeyboardInterrupt
        if parent_process() is not None:
            # a worker that only raised would be given the next fold
            signal.signal(self.number, signal.SIG_DFL)
            signal.raise_signal(self.number)
        raise SystemExit(128 + self.number)


@contextmanager
def listen() -> Iterator[Interruption]:
    """Note SIGTERM and Ctrl-C instead of stopping at once; a second signal does stop at once.

    Signals that the process ignores stay ignored, and only the main thread can listen at all.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    numbers = [signal.SIGTERM, signal.SIGINT]
    previous: dict[int, Any] = {n: signal.getsignal(n) for n in numbers}

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        interruption.number = number
        # and no more: a handler may run in the middle of any call, of the logger's or the progress bar's too
        for other, handler in previous.items():
            signal.signal(other, handler)

    for number, handler in previous.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, note)
    try:
        yield interruption
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def leave_on_sigterm() -> Iterator[None]:
    """Let SIGTERM raise SystemExit, as Ctrl-C raises KeyboardInterrupt, so that what was begun is closed."""
    ignored = signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    if ignored or threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: FrameType | None) -> None:
        del frame
        raise SystemExit(128 + number)

    previous = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
