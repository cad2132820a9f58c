from __future__ import annotations

import sys
import time
from types import SimpleNamespace

import pytest
import torch

from interactivepet.training.timing import WaitMeter, read_utilisation


def test_the_time_between_steps_is_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 1.0, 4.0, 6.0, 10.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(moments))
    meter = WaitMeter(torch.device("cpu"))
    for _ in range(4):
        meter.mark()
    assert meter.measure() == (10.0, pytest.approx(0.3))


def test_nothing_done_is_no_share() -> None:
    assert WaitMeter(torch.device("cpu")).measure() == (0.0, 0.0)


class DriverError(Exception):
    """What the driver's package raises, whose name it gives to torch."""


@pytest.mark.parametrize(
    ("answer", "share"), [(87, 0.87), (RuntimeError("no driver"), None), (DriverError("part of a card"), None)]
)
def test_a_card_is_as_busy_as_its_driver_says_if_it_does(
    answer: int | Exception, share: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(_: torch.device) -> int:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(NVMLError=DriverError))
    monkeypatch.setattr(torch.cuda, "utilization", ask)
    assert read_utilisation(torch.device("cuda")) == share
    assert read_utilisation(torch.device("cpu")) is None


def test_without_the_drivers_package_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert read_utilisation(torch.device("cuda")) is None
