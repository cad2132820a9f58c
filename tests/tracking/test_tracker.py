"""The protocol that training talks to."""

from __future__ import annotations

from pathlib import Path

from interactivepet.tracking.mlflow import MlflowTracker
from interactivepet.tracking.tracker import Tracker


def test_constructing_an_mlflow_tracker_touches_nothing(tmp_path: Path) -> None:
    tracker: Tracker = MlflowTracker(
        f"sqlite:///{tmp_path}/store.db", experiment="Task", artefact_folder=tmp_path / "artefacts"
    )
    tracker.log_metrics({"loss": 1.0})
    tracker.end_run()
    assert list(tmp_path.iterdir()) == []
