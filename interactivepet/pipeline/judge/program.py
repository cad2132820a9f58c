"""Another program, run to its end; it never outlives the process that waits for it."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

__all__ = ["run_program"]

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


def run_program(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a program and wait for its end.

    When this process is interrupted, or ended by SIGTERM or SIGHUP, the program is killed with all that it started.

    Args:
        words: of its command line.

    Returns:
        Its exit status and what it said; bytes that are no UTF-8 are replaced.
    """
    # a session of its own: what it starts can be found by its group
    with subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            with _kill_on_signals(process):
                out, err = process.communicate()
        except BaseException:
            _kill(process)
            raise
    return subprocess.CompletedProcess(words, process.returncode, out, err)


@contextmanager
def _kill_on_signals(process: subprocess.Popen[str]) -> Iterator[None]:
    """Kill the program before a signal ends this process as it would have done anyway."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    previous: dict[int, Any] = {n: handler for n, handler in handlers.items() if handler is not signal.SIG_IGN}

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        _kill(process)
        signal.signal(number, previous[number])
        signal.raise_signal(number)

    for number in previous:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _kill(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
