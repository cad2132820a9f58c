"""What every test shares: one thread, no network, and where the real data lies."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from interactivepet.core.report import Report

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# a shell that runs the tests in the background lets them, and the programs that they start, ignore Ctrl-C
signal.signal(signal.SIGINT, signal.default_int_handler)

PROJECT_ROOT = Path(__file__).resolve().parent.parent

NO_DATA = "no real data"
"""How the reason of a test begins that may be left out everywhere; in continuous integration no other test may."""


SLOW_FIXTURES = frozenset({"finished", "model_folder"})
"""What takes long to set up; every test that uses it is slow, whichever of them comes first."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need a whole pipeline or a trained model."""
    for item in items:
        if isinstance(item, pytest.Function) and SLOW_FIXTURES & set(item.fixturenames):
            item.add_marker(pytest.mark.slow)


def list_left_out(reports: Iterable[pytest.TestReport | pytest.CollectReport]) -> dict[str, list[str]]:
    """Give the tests that were left out by their reasons; a whole file is named when it was left out as one."""
    left_out: dict[str, list[str]] = {}
    for report in reports:
        # the file, the line and the reason
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple | list) else report.longrepr)
        left_out.setdefault(reason.removeprefix("Skipped: "), []).append(report.nodeid)
    return left_out


def is_complete(left_out: Iterable[str]) -> bool:
    """Say whether every test ran that must: in continuous integration (CI=true) all those that need no real data."""
    return os.environ.get("CI") != "true" or all(reason.startswith(NO_DATA) for reason in left_out)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail in continuous integration when a program or package is missing that a test needs."""
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if terminal is None or session.exitstatus != pytest.ExitCode.OK:
        return
    if not is_complete(list_left_out(terminal.stats.get("skipped", []))):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which tests were left out, and why."""
    left_out = list_left_out(terminalreporter.stats.get("skipped", []))
    if not left_out:
        return
    terminalreporter.section("tests that were left out")
    for reason, tests in sorted(left_out.items()):
        terminalreporter.line(f"{len(tests)}: {reason}")
        for test in sorted(tests):
            terminalreporter.line(f"    {test}")
    if not is_complete(left_out):
        terminalreporter.line(f"CI=true: only tests with {NO_DATA} may be left out; install the rest", red=True)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with the real data sets; a test that needs it is skipped, with the reason, when it is missing."""
    folder = Path(os.environ.get("INTERACTIVEPET_TEST_DATA", PROJECT_ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"{NO_DATA} at {folder}; set INTERACTIVEPET_TEST_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Report]]:
    """Root folder and reports of a finished walk on the tiny task; tests must not change it."""
    from interactivepet.pipeline.prepare.steps import run_generate_dataset_json
    from tests.tiny import open_tiny, walk, write_tiny_task

    root = tmp_path_factory.mktemp("walk")
    write_tiny_task(root / "raw")
    run_generate_dataset_json(open_tiny(root), channels=["PET"], labels=["lesion"])
    return root, walk(root)


@pytest.fixture
def copied(finished: tuple[Path, dict[str, Report]], tmp_path: Path) -> Path:
    """A finished walk of one's own, to damage."""
    root = tmp_path / "walk"
    shutil.copytree(finished[0], root)
    return root


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty folder of raw tasks of a user who works in a folder without `.env`, with one worker."""
    monkeypatch.chdir(tmp_path)
    for name in ("raw", "processed", "results"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"interactivepet_{name}", str(tmp_path / name))
    monkeypatch.setenv("interactivepet_n_proc", "1")
    monkeypatch.delenv("interactivepet_task", raising=False)
    return tmp_path / "raw"
