"""How the steps find the experiment tracker, also from worker processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from interactivepet.core.tracking import TrackedRuns
from interactivepet.dataset.files.write import read_artefact, write_artefact
from interactivepet.errors import ArtefactError
from interactivepet.pipeline.lock import PATIENCE_S, lock_folder
from interactivepet.pipeline.workspace import Workspace
from interactivepet.tracking.mlflow import MlflowTracker, default_artefact_folder, default_uri, prepare_store
from interactivepet.tracking.tracker import Tracker

__all__ = ["TrackerConfig", "find_parent_run"]


@dataclass(frozen=True, slots=True)
class TrackerConfig:
    """Where runs are tracked; small enough to be sent to a worker.

    Attributes:
        uri: of the MLflow store.
        experiment: one a task.
        artefacts: folder of pictures and files; None leaves it to the server.
    """

    uri: str
    experiment: str
    artefacts: Path | None

    @classmethod
    def of(cls, task: str, *, results: Path, uri: str | None) -> TrackerConfig:
        """Choose the server at `uri`, or the embedded store under the results folder."""
        if uri is not None:
            return cls(uri, task, None)
        return cls(default_uri(results), task, default_artefact_folder(results))

    def open(self) -> Tracker:
        """Open a tracker; nothing is reached before the first run starts."""
        return MlflowTracker(self.uri, experiment=self.experiment, artefact_folder=self.artefacts)


def find_parent_run(workspace: Workspace, spec: TrackerConfig) -> str | None:
    """Give the run that all folds of a task are shown under; it is started when there is none yet."""
    # folds that were started at once belong under one run
    with lock_folder(workspace.results, timeout_s=PATIENCE_S):
        return _find_or_start(workspace, spec)


def _find_or_start(workspace: Workspace, spec: TrackerConfig) -> str | None:
    try:
        runs = read_artefact(workspace.runs, TrackedRuns, command="interactivepet_train")
    except ArtefactError:
        runs = None
    known = runs.cross_validation if runs is not None and runs.uri == spec.uri else None
    if not prepare_store(spec.uri, experiment=spec.experiment, artefact_folder=spec.artefacts):
        return known
    tracker = spec.open()
    run_id = tracker.start_run("cross-validation", run_id=known, tags={"task": workspace.task})
    tracker.end_run()
    if run_id != known or runs is None:
        write_artefact(workspace.runs, TrackedRuns(task=workspace.task, uri=spec.uri, cross_validation=run_id))
    return run_id
