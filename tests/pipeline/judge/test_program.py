"""Other programs that are run: their answers, and that none outlives the process that waits for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from interactivepet.pipeline.judge.program import run_program

WAITING = """
import pathlib, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
child.wait()
"""
"""A program that starts another one, as shell scripts do."""
PARENT = """
import sys
from interactivepet.pipeline.judge.program import run_program
run_program([sys.executable, "-c", sys.argv[1], sys.argv[2]])
"""


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.is_file() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_for(condition: Callable[[], object], *, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_status_and_words_are_given() -> None:
    text = "import sys; print('out'); sys.stderr.buffer.write(b'P\\xe9ter'); sys.exit(3)"
    done = run_program([sys.executable, "-c", text])
    assert (done.returncode, done.stdout.strip(), done.stderr) == (3, "out", "P\ufffdter")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_program_ends_with_the_process_that_waits_for_it(number: signal.Signals, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, WAITING, str(note)], stderr=subprocess.DEVNULL)
    try:
        assert wait_for(lambda: note.is_file() and note.read_text())
        child = int(note.read_text())
        assert is_alive(child)
        parent.send_signal(number)
        assert parent.wait(timeout=10) in (-number, 1)
        assert wait_for(lambda: not is_alive(child))
    finally:
        parent.kill()
        parent.wait()


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    run_program([sys.executable, "-c", ""])
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == before
