"""Let a simulated user correct a system, case by case, and score every mask on the way."""

from __future__ import annotations

import logging
import os
import shlex
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from interactivepet.core.classical import ClassicalMethod
from interactivepet.core.dataset import CaseEntry, DatasetManifest
from interactivepet.core.promptable import PromptableCard
from interactivepet.core.simulation import SimulatedCase, Simulation, StartName, UserName
from interactivepet.dataset.click_files import list_visible, match_click_files, warn_of_unused
from interactivepet.dataset.click_tables import PointFrame
from interactivepet.dataset.files.read import read_case
from interactivepet.dataset.files.write import atomic_path, read_present, write_artefact, write_text
from interactivepet.dataset.interactions import read_clicks
from interactivepet.dataset.manifest import read_manifest
from interactivepet.errors import CaseError, InteractionError
from interactivepet.evaluation.curves import find_areas, make_simulation
from interactivepet.pipeline.decisions import read_folds, read_plans
from interactivepet.pipeline.executor import map_cases, open_executor
from interactivepet.pipeline.judge.simulated_segmenters import MaskSegmenter, SystemKind, open_system
from interactivepet.pipeline.judge.simulated_session import SimulatedUser, run_session
from interactivepet.pipeline.lock import lock_folder
from interactivepet.pipeline.predict.models import PredictionOptions
from interactivepet.pipeline.stamps import FileStamps, open_stamps
from interactivepet.pipeline.train.promptable_folder import find_own_folds, open_unseen, stamp_unseen
from interactivepet.pipeline.train.tracking import TrackerConfig, find_parent_run
from interactivepet.pipeline.workspace import Workspace
from interactivepet.reporting.curve_page import render_simulation
from interactivepet.reporting.curve_pictures import draw_curves
from interactivepet.training.stop import leave_on_sigterm

__all__ = ["SimulationOptions", "run_simulation"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SimulationOptions:
    """Who answers, who asks, and about which cases.

    Attributes:
        kind: the system that answers.
        command: of another program; only for the kind `command`.
        prediction: device, threads, mirroring and nnInteractive; its `folds` are those whose validation cases take
            part, or, for test cases, those that answer together.
        user: who corrects.
        start: what is there before the first correction.
        n_corrections: steps after the first.
        seed: of the user.
        fixed: folder of click files, for the user `fixed`.
        point_frame: what their numbers are where the files do not say it.
        is_test: simulate the test cases, with all folds, instead of the training cases, each with the fold that
            never saw it.
        cases: only these; all when empty.
        fast: our own networks answer with fewer folds and without mirrored inputs.
        name: of the folder of results.
        method: of the kind `classical`.
    """

    kind: SystemKind
    prediction: PredictionOptions
    command: str = ""
    user: UserName = "perfect"
    start: StartName = "none"
    n_corrections: int = 10
    seed: int = 0
    fixed: Path | None = None
    point_frame: PointFrame = "voxel"
    is_test: bool = False
    cases: tuple[str, ...] = ()
    fast: bool = False
    name: str = "ours-perfect-none"
    method: ClassicalMethod | None = None


@dataclass(frozen=True, slots=True)
class _Job:
    """One case: its files, the fold that never saw it, the user's click file, and the hash of all of it."""

    entry: CaseEntry
    fold: int | None
    clicks: Path | None
    stamp: str


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
    jobs = _list_jobs(workspace, manifest, options, own=own)
    waiting = [job for job in jobs if _read_finished(folder, job) is None]
    logger.info("%s: %d of %d cases are finished", options.name, len(jobs) - len(waiting), len(jobs))
    with leave_on_sigterm(), open_executor(n_proc) as executor:
        map_cases(
            executor,
            partial(_simulate, workspace=workspace, options=options, own=own, folder=folder),
            items=waiting,
            names=[job.entry.id for job in waiting],
            description="simulate",
        )
    found = [_read_finished(folder, job) for job in jobs]
    cases = [case for case in found if case is not None]
    simulation = make_simulation(
        workspace.task,
        cases,
        name=options.name,
        provenance=_describe(options, cases, is_unseen=bool(own)),
        user=options.user,
        start=options.start,
        seed=options.seed,
    )
    is_tracked = not waiting and (folder / "simulation.json").is_file()
    _write_summary(folder, simulation, cases)
    if not is_tracked:
        _track(workspace, simulation, folder, spec=tracker)
    return simulation


def _find_own(workspace: Workspace, options: SimulationOptions) -> Mapping[int, PromptableCard]:
    """Find the folds' own promptable models, which stand for one that has seen the training cases."""
    source = options.prediction.promptable
    if source is None or options.is_test or options.kind not in ("nninteractive", "ensemble"):
        return {}
    # without a plan there are no folds of the task's own either
    if not workspace.folds.is_file():
        return {}
    return find_own_folds(workspace, source.source, split=read_folds(workspace), folds=options.prediction.folds)


def _list_jobs(
    workspace: Workspace, manifest: DatasetManifest, options: SimulationOptions, *, own: Mapping[int, PromptableCard]
) -> list[_Job]:
    """List the labelled cases that were asked for, those of one fold after those of another."""
    entries = [entry for entry in (manifest.test if options.is_test else manifest.training) if entry.label is not None]
    folds = _find_folds(workspace, options, own=own)
    if unknown := sorted(set(options.cases) - {entry.id for entry in entries}):
        raise CaseError(
            f"{workspace.task}: no labelled {'test' if options.is_test else 'training'} case {', '.join(unknown)}; "
            "give names as in dataset.json, and --test for test cases"
        )
    asked = [
        entry
        for entry in entries
        if (not options.cases or entry.id in options.cases)
        and (folds is None or not options.prediction.folds or folds.get(entry.id) in options.prediction.folds)
    ]
    if not asked:
        raise CaseError(f"{workspace.task}: no labelled case is left to simulate; ask for other cases or folds")
    if folds is not None and (strange := sorted(entry.id for entry in asked if entry.id not in folds)):
        raise CaseError(
            f"{workspace.task}: {', '.join(strange[:5])} in no fold, so which model never saw it is unknown; run "
            f"interactivepet_plan_and_process -t {workspace.task} again, or name other --cases"
        )
    fold_of = {entry.id: folds.get(entry.id) if folds else None for entry in asked}
    clicks = _find_fixed(options, asked)
    with open_stamps(workspace) as stamps:
        # a stamp of the promptable model looks at all of its files: once a fold, not once a case
        salts = {fold: _hash_options(manifest, options, stamps, fold=fold, own=own) for fold in set(fold_of.values())}
        jobs = [
            _make_job(workspace, entry, options, stamps, clicks=clicks.get(entry.id), fold=fold, salt=salts[fold])
            for entry in asked
            for fold in [fold_of[entry.id]]
        ]
    return sorted(jobs, key=lambda job: (job.fold is not None and job.fold, job.entry.id))


def _find_folds(
    workspace: Workspace, options: SimulationOptions, *, own: Mapping[int, PromptableCard]
) -> Mapping[str, int] | None:
    """Give case -> the fold that never saw it; None where all folds answer, or none of them."""
    if options.is_test or not (own or options.kind in ("ours", "ensemble")):
        return None
    return read_folds(workspace).validation_folds


def _find_fixed(options: SimulationOptions, entries: Sequence[CaseEntry]) -> dict[str, Path]:
    """Give case -> its file of fixed clicks, which every case must have; the other files are named."""
    if options.user != "fixed" or options.fixed is None:
        return {}
    if not options.fixed.is_dir():
        raise InteractionError(f"{options.fixed}: there is no such folder; name the folder of the click files")
    names = [entry.id for entry in entries]
    found, unused = match_click_files(list_visible(options.fixed), names).take_first()
    if missing := next((name for name in names if name not in found), None):
        raise InteractionError(
            f"{missing}: no click file in {options.fixed}; expected {missing}.mrk.json, .json, .fcsv, .csv or .nii.gz"
        )
    warn_of_unused(unused)
    return found


def _make_job(
    workspace: Workspace,
    entry: CaseEntry,
    options: SimulationOptions,
    stamps: FileStamps,
    *,
    clicks: Path | None,
    fold: int | None,
    salt: str,
) -> _Job:
    files = workspace.case_files(entry, clicks)
    if options.kind in ("ours", "ensemble"):
        files += _list_models(workspace, fold)
    if options.kind == "command":
        # a script that is named in it; what a program loads by itself is not seen
        files += [Path(word) for word in shlex.split(options.command) if os.path.isfile(word)]  # noqa: PTH113
    return _Job(entry, fold, clicks, stamps.stamp(files, salt=f"{salt}|{entry.id}|{fold}"))


def _list_models(workspace: Workspace, fold: int | None) -> list[Path]:
    """List the files that decide what the networks answer."""
    plans = read_plans(workspace)
    indices = [item.index for item in read_folds(workspace).folds] if fold is None else [fold]
    cards = [workspace.card(name, index) for name in plans.configurations for index in indices]
    return [workspace.plans, workspace.ensemble, *cards]


def _hash_options(
    manifest: DatasetManifest,
    options: SimulationOptions,
    stamps: FileStamps,
    *,
    fold: int | None,
    own: Mapping[int, PromptableCard],
) -> str:
    """Give everything but files that changes a session."""
    prediction = options.prediction
    labels = manifest.label_values
    promptable = ""
    if prediction.promptable is not None and options.kind not in ("ours", "classical", "command"):
        promptable = stamp_unseen(prediction.promptable, stamps, fold=fold, own=own)
    answers = (
        options.kind,
        options.command,
        promptable,
        prediction.tta,
        options.fast,
        prediction.folds if options.is_test else (),
        # stamps from before there were such methods stay valid
        *([options.method] if options.method is not None else []),
    )
    frame = (options.point_frame,) if options.point_frame != "voxel" else ()
    asks = (options.user, options.start, options.n_corrections, options.seed, *frame)
    return repr((answers, asks, labels))


def _read_finished(folder: Path, job: _Job) -> SimulatedCase | None:
    return read_present(folder / "cases" / f"{job.entry.id}.json", SimulatedCase, made_from=job.stamp)


def _simulate(
    job: _Job,
    *,
    workspace: Workspace,
    options: SimulationOptions,
    own: Mapping[int, PromptableCard],
    folder: Path,
) -> None:
    """Run the session of one case and write it."""
    manifest = read_manifest(workspace.raw)
    case = read_case(workspace.raw, job.entry)
    fixed = (
        read_clicks(job.clicks, geometry=case.geometry, point_frame=options.point_frame, labels=manifest.labels)
        if job.clicks
        else ()
    )
    rng = np.random.default_rng([options.seed, zlib.crc32(job.entry.id.encode())])
    user = SimulatedUser(options.user, case, manifest.label_values, rng, fixed)
    with _open_system(job, workspace=workspace, options=options, own=own) as system:
        steps = run_session(user, system, start=options.start, n_corrections=options.n_corrections)
        models = system.description
    result = SimulatedCase(
        made_from=job.stamp,
        case=case.id,
        fold=job.fold,
        models=models,
        is_lesion_free=not user.reference.any(),
        steps=steps,
        areas=find_areas(steps),
    )
    write_artefact(folder / "cases" / f"{case.id}.json", result)


@contextmanager
def _open_system(
    job: _Job, *, workspace: Workspace, options: SimulationOptions, own: Mapping[int, PromptableCard]
) -> Iterator[MaskSegmenter]:
    """Open what answers for a case that none of its models has seen."""
    with ExitStack() as stack:
        prediction = options.prediction
        if job.fold is not None:
            prediction = replace(prediction, folds=(job.fold,))
        if prediction.promptable is not None and options.kind != "classical":
            source = open_unseen(workspace, prediction.promptable, fold=job.fold, own=own)
            prediction = replace(prediction, promptable=stack.enter_context(source))
        yield stack.enter_context(
            open_system(
                workspace,
                job.entry,
                kind=options.kind,
                command=options.command,
                options=prediction,
                fast=options.fast,
                method=options.method,
            )
        )


def _describe(options: SimulationOptions, cases: Sequence[SimulatedCase], *, is_unseen: bool) -> str:
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
    start = "the interior margin points of every object" if options.start == "extreme" else "no click"
    models = "; ".join(dict.fromkeys(case.models for case in cases))
    return f"{models}. Begun with {start}, corrected by the user '{options.user}' (seed {options.seed}). {seen}"


def _write_summary(folder: Path, simulation: Simulation, cases: Sequence[SimulatedCase]) -> None:
    png = draw_curves(simulation)
    with atomic_path(folder / "curves.png") as partial:
        partial.write_bytes(png)
    write_text(folder / "report.html", render_simulation(simulation, cases, curves=png))
    write_artefact(folder / "simulation.json", simulation)


def _track(workspace: Workspace, simulation: Simulation, folder: Path, *, spec: TrackerConfig) -> None:
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
