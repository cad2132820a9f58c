"""Let a simulated user correct a system on a task's cases, and score every mask on the way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from interactivepet.core.promptable import PromptableCard
from interactivepet.core.simulation import Simulation
from interactivepet.dataset.manifest import read_manifest
from interactivepet.evaluation.curves import make_simulation
from interactivepet.pipeline.decisions import read_folds
from interactivepet.pipeline.judge.simulated_cases import CaseSet, run_cases
from interactivepet.pipeline.judge.simulated_jobs import SimulationOptions, list_jobs
from interactivepet.pipeline.judge.simulation_report import describe_task_simulation, track_simulation, write_summary
from interactivepet.pipeline.lock import lock_folder
from interactivepet.pipeline.predict.trained import hash_results, read_task
from interactivepet.pipeline.train.promptable_folder import find_own_folds
from interactivepet.pipeline.train.tracking import TrackerConfig
from interactivepet.pipeline.workspace import Workspace

__all__ = ["SimulationOptions", "run_simulation"]


def run_simulation(
    workspace: Workspace, *, options: SimulationOptions, tracker: TrackerConfig, n_proc: int
) -> Simulation:
    """Simulate every case that is not up to date; each is written as soon as it is finished.

    Args:
        workspace: of the task, planned and, for its own networks, trained.
        options: who answers and who asks.
        tracker: told the curves.
        n_proc: cases side by side; times are those of a machine that does nothing else only for 1.

    Returns:
        The summary, which is also written with curves and page.

    Raises:
        CaseError: no case is left to simulate, or one has no such name.
        InteractionError: a case has no file of fixed clicks.
        InteractivePetError: a case failed; the finished ones are kept. Or another process is at it.
    """
    folder = workspace.simulation(options.name)
    with lock_folder(folder):
        return _simulate_cases(workspace, folder, options=options, tracker=tracker, n_proc=n_proc)


def _simulate_cases(
    workspace: Workspace, folder: Path, *, options: SimulationOptions, tracker: TrackerConfig, n_proc: int
) -> Simulation:
    manifest = read_manifest(workspace.raw)
    own = _find_own(workspace, options)
    jobs = list_jobs(workspace, manifest, options, own=own)
    answered_by = _hash_answering(workspace, options)
    where = CaseSet(workspace, workspace.raw, manifest.labels, folder)
    cases, is_finished = run_cases(where, jobs, options=options, own=own, n_proc=n_proc)
    simulation = make_simulation(
        workspace.task,
        cases,
        name=options.name,
        provenance=describe_task_simulation(options, cases, is_unseen=bool(own)),
        user=options.user,
        start=options.start,
        seed=options.seed,
        system=options.kind,
        answered_by=answered_by,
    )
    is_tracked = is_finished and (folder / "simulation.json").is_file()
    write_summary(folder, simulation, cases)
    if not is_tracked:
        track_simulation(workspace, simulation, folder, spec=tracker)
    return simulation


def _hash_answering(workspace: Workspace, options: SimulationOptions) -> str:
    """Hash the folds and the choice that answer for cases that they have not seen; empty for anything else."""
    is_whole = options.prediction.tta and not (options.fast or options.is_test or options.prediction.folds)
    if not is_whole or options.kind not in ("ours", "ensemble"):
        return ""
    return hash_results(read_task(workspace, ()))


def _find_own(workspace: Workspace, options: SimulationOptions) -> Mapping[int, PromptableCard]:
    """Find the folds' own promptable models, which stand for one that has seen the training cases."""
    source = options.prediction.promptable
    if source is None or options.is_test or options.kind not in ("nninteractive", "ensemble"):
        return {}
    # without a plan there are no folds of the task's own either
    if not workspace.folds.is_file():
        return {}
    return find_own_folds(workspace, source.source, split=read_folds(workspace), folds=options.prediction.folds)
