"""Measure how long the device waits for batches."""

from __future__ import annotations

import time
from typing import Any

import torch

__all__ = ["WaitMeter"]


class WaitMeter:
    """Marks the beginning and the end of each step on the device's own clock.

    On a graphics card the marks are events in the stream of work: the host may be ahead of the device, and its own
    waiting costs nothing as long as the device has work.
    """

    def __init__(self, device: torch.device) -> None:
        """Begin to wait for the first step."""
        self._on_card = device.type == "cuda"
        self._marks: list[Any] = []
        self.mark()

    def mark(self) -> None:
        """Mark, in turn, the beginning and the end of a step."""
        if self._on_card:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._marks.append(event)
        else:
            self._marks.append(time.perf_counter())

    def measure(self) -> tuple[float, float]:
        """Give the seconds from first to last mark and the share of them between steps."""
        if self._on_card:
            self._marks[-1].synchronize()
        total = self._elapsed(0, len(self._marks) - 1)
        waited = sum(self._elapsed(i, i + 1) for i in range(0, len(self._marks) - 1, 2))
        return total, waited / total if total > 0 else 0.0

    def _elapsed(self, first: int, last: int) -> float:
        if self._on_card:
            return float(self._marks[first].elapsed_time(self._marks[last])) / 1e3
        return float(self._marks[last] - self._marks[first])
