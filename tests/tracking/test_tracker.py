"""The protocol that training talks to."""

from __future__ import annotations

from pathlib import Path

from interactivepet.tracking.mlflow import MlflowTracker
from interactivepet.tracking.tracker import NullTracker, Tracker


def use(tracker: Tracker, folder: Path) -> str | None:
    run_id = tracker.start_run("fold 0", tags={"fold": "0"})
    tracker.log_parameters({"epochs": 3})
    tracker.log_metrics({"loss": 0.5}, step=0)
    tracker.log_picture("validation/a.png", b"png")
    tracker.log_text("plan.json", "{}")
    tracker.log_file(folder)
    tracker.end_run()
    return run_id


def test_null_tracker_keeps_nothing(tmp_path: Path) -> None:
    assert use(NullTracker(), tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_constructing_an_mlflow_tracker_touches_nothing(tmp_path: Path) -> None:
    tracker: Tracker = MlflowTracker(
        f"sqlite:///{tmp_path}/store.db", experiment="Task", artefact_folder=tmp_path / "artefacts"
    )
    tracker.log_metrics({"loss": 1.0})
    tracker.end_run()
    assert list(tmp_path.iterdir()) == []
