"""Cases that several folds, started at once, need."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from interactivepet.core.preprocessed import CaseRecord
from interactivepet.dataset.files.arrays import write_channels
from interactivepet.pipeline.executor import open_executor
from interactivepet.pipeline.prepare.steps import run_generate_dataset_json
from interactivepet.pipeline.train import promptable_cases
from interactivepet.pipeline.train.promptable_cases import run_prompt_cases
from interactivepet.planning.plan import make_plans
from tests.planning.factory import make_fingerprint
from tests.tiny import open_tiny, write_tiny_task


def test_two_folds_that_start_at_once_write_each_case_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = open_tiny(tmp_path)
    write_tiny_task(tmp_path / "raw", n_training=3, n_test=0)
    run_generate_dataset_json(workspace, channels=["PET"], labels=["lesion"])
    plans = make_plans(make_fingerprint(), "cpu")
    plan = plans.plan(plans.default)
    written: Counter[str] = Counter()
    start = threading.Barrier(2)

    def write_slowly(path: Path, *args: object) -> str:
        written[path.name] += 1
        time.sleep(0.05)
        return write_channels(path, *args)  # type: ignore[arg-type]

    def prepare(_: int) -> dict[str, CaseRecord]:
        start.wait()
        with open_executor(1) as executor:
            return run_prompt_cases(workspace, executor, plan=plan)

    monkeypatch.setattr(promptable_cases, "write_channels", write_slowly)
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(prepare, range(2))
    assert len(written) == 3
    assert set(written.values()) == {1}
    assert first == second
