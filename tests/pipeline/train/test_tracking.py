"""Several folds that are started at once are shown under one run."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from interactivepet.pipeline.train.tracking import TrackerConfig, find_parent_run
from tests.tiny import TASK, open_tiny


@pytest.mark.slow
def test_folds_that_start_at_once_share_their_parent_run(tmp_path: Path) -> None:
    workspace = open_tiny(tmp_path)
    spec = TrackerConfig.of(TASK, results=tmp_path / "results", uri=None)
    start = threading.Barrier(3)

    def find(_: int) -> str | None:
        start.wait()
        return find_parent_run(workspace, spec)

    with ThreadPoolExecutor(3) as threads:
        found = set(threads.map(find, range(3)))
    assert len(found) == 1
    assert None not in found
    assert find_parent_run(workspace, spec) in found, "a later fold finds it too"
