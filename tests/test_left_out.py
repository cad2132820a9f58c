"""Tests that are left out are listed at the end, and fail in continuous integration unless real data is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT_ROOT = Path(__file__).resolve().parent.parent

NO_DATA = 'import pytest\n\ndef test_scan() -> None:\n    pytest.skip("no real data at /nowhere")\n'
NO_PROGRAM = 'import pytest\n\ndef test_file() -> None:\n    pytest.skip("no program dciodvfy")\n'
NO_PACKAGE = 'import pytest\n\npytest.importorskip("no_such_package")\n'
COMPLETE = "def test_nothing() -> None:\n    pass\n"

ALONE: tuple[str, ...] = ("-p", "no:cacheprovider")
PARALLEL = (*ALONE, "--numprocesses", "1")


@pytest.mark.parametrize(
    ("text", "is_ci", "options", "shown", "code"),
    [
        pytest.param(COMPLETE, True, ALONE, None, 0, id="nothing"),
        pytest.param(NO_DATA, True, ALONE, "1: no real data at /nowhere", 0, id="data"),
        pytest.param(NO_PROGRAM, False, ALONE, "1: no program dciodvfy", 0, id="program at a developer's"),
        pytest.param(NO_PROGRAM, True, ALONE, "1: no program dciodvfy", 1, id="program"),
        pytest.param(NO_PACKAGE, True, ALONE, "1: could not import 'no_such_package'", 1, id="package"),
        pytest.param(NO_PROGRAM, True, PARALLEL, "1: no program dciodvfy", 1, id="program in parallel"),
        pytest.param(NO_PACKAGE, True, PARALLEL, "1: could not import 'no_such_package'", 1, id="package in parallel"),
    ],
)
def test_what_is_left_out_is_listed(
    text: str, is_ci: bool, options: tuple[str, ...], shown: str | None, code: int, tmp_path: Path
) -> None:
    (tmp_path / "test_example.py").write_text(text)
    (tmp_path / "test_other.py").write_text(COMPLETE)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", *options, str(tmp_path)]
    environment = {**os.environ, "CI": "true" if is_ci else "", "PYTHONPATH": str(PROJECT_ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout
    assert ("tests that were left out" in done.stdout) == (shown is not None)
    assert shown is None or shown in done.stdout
    assert ("install the rest" in done.stdout) == (code == 1)
