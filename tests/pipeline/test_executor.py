"""Mapping over cases: order, failures by name, and workers that die with their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from interactivepet.errors import CaseError
from interactivepet.pipeline.executor import InlineExecutor, map_cases, open_executor

ORPHAN = """
import sys, time
from pathlib import Path
from interactivepet.pipeline.executor import map_cases, open_executor

def work(path):
    for _ in range(600):
        Path(path).touch()
        time.sleep(0.1)

if __name__ == "__main__":
    with open_executor(2) as executor:
        map_cases(executor, work, items=sys.argv[1:], names=["a", "b"], description="work")
"""


def double(value: int) -> int:
    if value < 0:
        raise CaseError(f"{value} is negative; give a positive number")
    if value == 13:
        raise ValueError("thirteen")
    return 2 * value


@pytest.mark.parametrize("n_proc", [1, 2])
def test_results_keep_the_order_of_the_items(n_proc: int) -> None:
    with open_executor(n_proc) as executor:
        assert map_cases(executor, double, items=[3, 1, 2], names=["a", "b", "c"], description="double") == [6, 2, 4]


def test_every_failed_case_is_named_and_the_others_are_done() -> None:
    with pytest.raises(CaseError, match=r"2 of 3 cases") as caught:
        map_cases(InlineExecutor(), double, items=[-1, 5, -2], names=["a", "b", "c"], description="double")
    assert "a: -1 is negative" in str(caught.value)
    assert "c: -2 is negative" in str(caught.value)


def test_a_defect_keeps_its_traceback_and_names_the_case() -> None:
    with pytest.raises(RuntimeError, match="b: double failed") as caught:
        map_cases(InlineExecutor(), double, items=[1, 13], names=["a", "b"], description="double")
    assert isinstance(caught.value.__cause__, ValueError)


def test_threads_are_limited_in_workers_and_restored_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with open_executor(2):
        assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "1"
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "orphan.py"
    script.write_text(ORPHAN)
    marks = [tmp_path / "a", tmp_path / "b"]
    with subprocess.Popen([sys.executable, str(script), *map(str, marks)], stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not all(mark.exists() for mark in marks):
            assert time.monotonic() < deadline, "the workers never started"
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
    time.sleep(1.0)
    before = [mark.stat().st_mtime_ns for mark in marks]
    time.sleep(1.0)
    assert [mark.stat().st_mtime_ns for mark in marks] == before


def test_an_interruption_ends_the_workers_and_what_waits_for_them(tmp_path: Path) -> None:
    script = tmp_path / "orphan.py"
    script.write_text(ORPHAN.replace('names=["a", "b"]', 'names=["a", "b", "c", "d"]'))
    marks = [tmp_path / name for name in "abcd"]
    with subprocess.Popen([sys.executable, str(script), *map(str, marks)], stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not all(mark.exists() for mark in marks[:2]):
            assert time.monotonic() < deadline, "the workers never started"
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)
    assert not marks[2].exists()
    assert not marks[3].exists()
