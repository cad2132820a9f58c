"""Mapping over cases: order, failures by name, and workers that die with their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from interactivepet.errors import CaseError, WorkerError
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


def kill_myself(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(item: tuple[Path, int]) -> int:
    folder, number = item
    runs = folder / f"runs_{number}"
    with runs.open("a") as stream:
        stream.write("x")
    if number == 2 and len(runs.read_text()) == 1:
        kill_myself()
    return number


def die_always(item: tuple[Path, int]) -> int:
    folder, number = item
    if number == 2:
        kill_myself()
    (folder / f"runs_{number}").touch()
    return number


@pytest.mark.parametrize("n_proc", [1, 2])
def test_results_keep_the_order_of_the_items(n_proc: int) -> None:
    with open_executor(n_proc) as executor:
        assert map_cases(executor, double, items=[3, 1, 2], names=["a", "b", "c"], description="double") == [6, 2, 4]


def test_every_failed_case_is_named_and_the_others_are_done() -> None:
    with pytest.raises(CaseError, match=r"2 of 3 cases") as caught:
        map_cases(InlineExecutor(), double, items=[-1, 5, -2], names=["a", "b", "c"], description="double")
    assert "a: -1 is negative" in str(caught.value)
    assert "c: -2 is negative" in str(caught.value)


@pytest.mark.parametrize("n_proc", [1, 2])
def test_a_defect_keeps_its_traceback_and_the_others_go_on(n_proc: int, caplog: pytest.LogCaptureFixture) -> None:
    with open_executor(n_proc) as executor, pytest.raises(RuntimeError, match="double failed for 2 of 4") as caught:
        map_cases(executor, double, items=[1, 13, -4, 5], names=["a", "b", "c", "d"], description="double")
    assert "b: ValueError: thirteen" in str(caught.value)
    assert "c: -4 is negative" in str(caught.value)
    assert isinstance(caught.value.__cause__, ValueError)
    (record,) = caplog.records
    assert record.message == "b: double failed"
    assert record.exc_info is not None


def test_a_killed_case_is_tried_again_alone_and_the_rest_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_executor(2) as executor:
        found = map_cases(
            executor,
            die_once,
            items=[(tmp_path, number) for number in range(6)],
            names=list("abcdef"),
            description="work",
            estimate_gb=lambda item: 1.5 + item[1],
        )
        assert found == list(range(6))
        assert map_cases(executor, double, items=[4], names=["a"], description="double") == [8]
    message = caplog.records[0].message
    assert "a worker was killed, most likely for lack of memory, at" in message
    assert "c (needs about 3.5 GB)" in message
    assert all(len((tmp_path / f"runs_{number}").read_text()) <= 2 for number in range(6))


def test_a_case_that_dies_alone_too_is_named_and_the_rest_are_done(tmp_path: Path) -> None:
    items = [(tmp_path, number) for number in range(4)]
    with open_executor(2) as executor, pytest.raises(WorkerError, match="work failed for 1 of 4 cases") as caught:
        map_cases(executor, die_always, items=items, names=list("abcd"), description="work")
    assert "c: its worker was killed twice, the second time alone: c." in str(caught.value)
    assert [(tmp_path / f"runs_{number}").exists() for number in range(4)] == [True, True, False, True]


def test_workers_that_cannot_start_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interactivepet.pipeline.executor._end_with_parent", kill_myself)
    with open_executor(2) as executor, pytest.raises(WorkerError, match="failed for 2 of 2 cases"):
        map_cases(executor, double, items=[1, 2], names=["a", "b"], description="double")


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
        try:
            process.wait(timeout=20)
        finally:
            process.kill()
    assert not marks[2].exists()
    assert not marks[3].exists()
