"""The summary of a simulation: what it says of itself, its files, and its run of the tracker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interactivepet.core.simulation import SimulatedCase, Simulation
from interactivepet.dataset.files.write import atomic_path, write_artefact, write_text
from interactivepet.pipeline.judge.simulated_jobs import SimulationOptions
from interactivepet.pipeline.train.tracking import TrackerConfig, find_parent_run
from interactivepet.pipeline.workspace import Workspace
from interactivepet.reporting.curve_page import render_simulation
from interactivepet.reporting.curve_pictures import draw_curves

__all__ = ["describe_simulation", "describe_task_simulation", "track_simulation", "write_summary"]


def describe_task_simulation(options: SimulationOptions, cases: Sequence[SimulatedCase], *, is_unseen: bool) -> str:
    """Say who answered, who asked and what the figures are worth."""
    if options.kind == "command":
        seen = "Whether the program saw these cases before is not known to this report."
    elif options.kind == "classical":
        seen = "A method without training, which was fitted to no case."
    elif options.is_test:
        seen = "Test cases, used neither for training nor for any choice."
    elif options.kind == "nninteractive" and is_unseen:
        seen = "Each case was answered by the task's own promptable model of the fold that never saw it."
    elif options.kind == "nninteractive":
        seen = "Whether nnInteractive's model saw these cases before is not known to this report."
    else:
        seen = (
            "Each case was answered by the fold that never saw it; threshold and postprocessing, where chosen, were "
            "chosen on these same cases."
        )
    return describe_simulation(options, cases, seen=seen)


def describe_simulation(options: SimulationOptions, cases: Sequence[SimulatedCase], *, seen: str) -> str:
    """Say who answered and who asked, and in `seen` what the figures are worth."""
    start = "the interior margin points of every object" if options.start == "extreme" else "no click"
    models = "; ".join(dict.fromkeys(case.models for case in cases))
    return f"{models}. Begun with {start}, corrected by the user '{options.user}' (seed {options.seed}). {seen}"


def write_summary(folder: Path, simulation: Simulation, cases: Sequence[SimulatedCase]) -> None:
    """Write curves, page and summary, the latter last."""
    png = draw_curves(simulation)
    with atomic_path(folder / "curves.png") as partial:
        partial.write_bytes(png)
    write_text(folder / "report.html", render_simulation(simulation, cases, curves=png))
    write_artefact(folder / "simulation.json", simulation)


def track_simulation(workspace: Workspace, simulation: Simulation, folder: Path, *, spec: TrackerConfig) -> None:
    """Show the curves on a run under the task's parent run."""
    parent = find_parent_run(workspace, spec)
    tracker = spec.open()
    tracker.start_run(f"simulate {simulation.name}", parent=parent, tags={"task": workspace.task, "step": "simulate"})
    tracker.log_parameters(simulation.model_dump(include={"name", "user", "start", "seed", "n_corrections", "n_cases"}))
    for curve in simulation.curves:
        for number, point in enumerate(curve.points):
            tracker.log_metrics({f"simulated/{curve.metric}": point.mean}, step=number)
        tracker.log_metrics({f"area/{curve.metric}": curve.area, f"area_mean/{curve.metric}": curve.mean})
    for target in simulation.clicks_to:
        name = f"clicks_to_{target.dice:.2f}"
        tracker.log_metrics({f"{name}_failed": float(target.n_failed)})
        if target.median is not None:
            tracker.log_metrics({name: target.median})
    if simulation.seconds_median is not None and simulation.seconds_95 is not None:
        tracker.log_metrics({"seconds_median": simulation.seconds_median, "seconds_95": simulation.seconds_95})
    tracker.log_picture("curves.png", (folder / "curves.png").read_bytes())
    tracker.log_file(folder / "simulation.json")
    tracker.end_run()
