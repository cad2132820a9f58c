"""The whole walk, run once on the tiny task for all tests that look at what it leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from interactivepet.core.report import Report
from interactivepet.pipeline.predict import PredictionOptions
from interactivepet.pipeline.prepare import run_generate_dataset_json
from interactivepet.pipeline.runs import TrackerSpec
from interactivepet.pipeline.stages import PlanningOptions, RunOptions, run_all
from interactivepet.pipeline.workspace import Workspace
from interactivepet.training.fold import TrainingOptions
from tests.tiny import TASK, write_tiny_task


def open_tiny(root: Path) -> Workspace:
    return Workspace.of(TASK, raw=root / "raw", processed=root / "processed", results=root / "results")


def make_options(root: Path, **training: object) -> RunOptions:
    return RunOptions(
        planning=PlanningOptions(n_folds=3, budget="cpu"),
        training=TrainingOptions(**{"epochs": 2, "iterations": 3, "device": "cpu", "n_threads": 1, **training}),
        prediction=PredictionOptions(tta=False, device="cpu"),
        tracker=TrackerSpec.of(TASK, results=root / "results", uri=None),
        n_cores=1,
    )


def walk(root: Path, options: RunOptions | None = None) -> dict[str, Report]:
    return run_all(open_tiny(root), options=options or make_options(root), show_issues=lambda issues: None)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Report]]:
    """Root folder and reports of a finished walk; tests must not change it."""
    root = tmp_path_factory.mktemp("walk")
    write_tiny_task(root / "raw")
    run_generate_dataset_json(open_tiny(root), channels=["PET"], labels=["lesion"])
    return root, walk(root)
