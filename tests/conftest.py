"""What every test shares: one thread, no network, and where the real data lies."""

from __future__ import annotations

import os
import shutil
import signal
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


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with the real data sets; a test that needs it is skipped, with the reason, when it is missing."""
    folder = Path(os.environ.get("INTERACTIVEPET_TEST_DATA", PROJECT_ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set INTERACTIVEPET_TEST_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Report]]:
    """Root folder and reports of a finished walk on the tiny task; tests must not change it."""
    from interactivepet.pipeline.prepare import run_generate_dataset_json
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
