"""Log lines and progress bars: each stands on lines of its own, whatever standard error is."""

from __future__ import annotations

import io
import logging
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from interactivepet.console import BarLines, collect_warnings

PROGRAM = """
import logging, sys
from concurrent.futures import Executor
from tqdm import tqdm
from interactivepet.cli.common import report_errors
from interactivepet.errors import CaseError
from interactivepet.pipeline.executor import map_cases, open_executor

def work(number):
    logging.getLogger("interactivepet.test").warning("CASE_%d: dose was taken as MBq", number)
    return number

@report_errors
def main(argv=None):
    with open_executor(int(sys.argv[1])) as executor:
        map_cases(executor, work, items=[1, 2, 3], names=["a", "b", "c"], description="import to imagesTr")
    for number in tqdm([4, 5], desc="predict"):
        work(number)
    raise CaseError("it ends here")

if __name__ == "__main__":
    sys.exit(main())
"""


def start(folder: Path, n_proc: int) -> list[str]:
    program = folder / "program.py"
    program.write_text(PROGRAM)
    return [sys.executable, str(program), str(n_proc)]


@pytest.mark.parametrize("n_proc", [1, 2])
def test_in_a_file_every_line_is_either_a_bar_or_a_record(tmp_path: Path, n_proc: int) -> None:
    done = subprocess.run(start(tmp_path, n_proc), capture_output=True, check=False, timeout=120)
    assert done.returncode == 1
    assert b"\r" not in done.stderr
    assert b"\x1b" not in done.stderr
    lines = done.stderr.decode().splitlines()
    records = [line for line in lines if line.startswith("WARNING interactivepet.test: ")]
    assert sorted(records) == [f"WARNING interactivepet.test: CASE_{n}: dose was taken as MBq" for n in range(1, 6)]
    bars = [line for line in lines if "%|" in line]
    assert [line.split(":")[0] for line in bars] == ["import to imagesTr", "predict"]
    assert all("100%" in line for line in bars)
    assert sorted(set(lines) - set(records) - set(bars)) == ["error: it ends here"]


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals")
@pytest.mark.parametrize("n_proc", [1, 2])
def test_on_a_terminal_a_record_starts_a_line(tmp_path: Path, n_proc: int) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(start(tmp_path, n_proc), stderr=slave, stdout=slave)
    os.close(slave)
    shown = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(master)
    assert process.wait(timeout=60) == 1
    # What a terminal shows of a line is what follows the last carriage return.
    visible = [line.rstrip(b"\r").rpartition(b"\r")[2] for line in shown.split(b"\n")]
    records = [line.replace(b"\x1b[K", b"") for line in visible if b"WARNING" in line]
    assert len(records) == 5
    assert all(record.startswith(b"WARNING interactivepet.test: CASE_") for record in records)
    assert all(record.endswith(b"dose was taken as MBq") for record in records)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (["text", "\n"], "text\n"),
        (["two\nlines\n"], "two\nlines\n"),
        (["\rbar:  50%|#"], ""),
        (["\rbar:   0%|", "\rbar: 100%|#", "\n"], "bar: 100%|#\n"),
        (["\rbar: 100%|#", "\rbar: 100%|#", "\n"], "bar: 100%|#\n"),
        (["\rbar: 100%|#", "\n", "\rbar:   0%|", "\rbar: 100%|#", "\n"], "bar: 100%|#\n" * 2),
        (["\n", "\rlower: 100%|#", "\x1b[A"], "lower: 100%|#\n"),
        (["\r      \r", "WARNING a\n", "\rbar:  50%|#"], "WARNING a\n"),
    ],
)
def test_bars_become_lines(written: list[str], expected: str) -> None:
    stream = io.StringIO()
    lines = BarLines(stream)
    for text in written:
        lines.write(text)
    assert stream.getvalue() == expected


def test_a_long_bar_is_shown_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, now = io.StringIO(), [0.0]
    monkeypatch.setattr("interactivepet.console.time.monotonic", lambda: now[0])
    lines = BarLines(stream)
    for second in range(35):
        now[0] = float(second)
        lines.write(f"\rbar: {second:3d}%|")
    assert stream.getvalue() == "bar:  10%|\nbar:  20%|\nbar:  30%|\n"


def test_warnings_are_collected_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    with collect_warnings() as messages:
        logging.getLogger("interactivepet.dataset").warning("%s: found", "A")
        logging.getLogger("interactivepet.dataset").info("not this")
        logging.getLogger("elsewhere").warning("nor this")
    logging.getLogger("interactivepet.dataset").warning("too late")
    assert messages == ["A: found"]
    assert "A: found" in caplog.text
