"""How much work a function does, whatever the machine and its load."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

Result = TypeVar("Result")


def count_calls(work: Callable[[], Result]) -> tuple[Result, int]:
    """Give a function's result and the number of Python and C functions that were called for it."""
    n_calls = 0

    def note(frame: FrameType, event: str, arg: object) -> None:
        nonlocal n_calls
        n_calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        result = work()
    finally:
        sys.setprofile(before)
    return result, n_calls
