from __future__ import annotations

import time

import pytest
import torch

from interactivepet.training.meter import WaitMeter


def test_the_time_between_steps_is_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 1.0, 4.0, 6.0, 10.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(moments))
    meter = WaitMeter(torch.device("cpu"))
    for _ in range(4):
        meter.mark()
    assert meter.measure() == (10.0, pytest.approx(0.3))


def test_nothing_done_is_no_share() -> None:
    assert WaitMeter(torch.device("cpu")).measure() == (0.0, 0.0)
