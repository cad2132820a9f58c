"""Measure how long the device waits for batches, and how busy it is."""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any

import torch

__all__ = ["WaitMeter", "read_utilisation"]


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


def read_utilisation(device: torch.device) -> float | None:
    """Give the share of the last second or less in which a graphics card computed, as its driver says.

    None on other devices, without the package `nvidia-ml-py`, and where the driver does not tell: for parts of a card.
    """
    if device.type != "cuda":
        return None
    try:
        driver = import_module("pynvml")
    except ImportError:
        return None
    try:
        return torch.cuda.utilization(device) / 100
    except (RuntimeError, driver.NVMLError):
        return None
