"""What a simulation is about: its options, its cases, and the hash of everything that changes a session."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from interactivepet.core.classical import ClassicalMethod
from interactivepet.core.dataset import CaseEntry, DatasetManifest
from interactivepet.core.promptable import PromptableCard
from interactivepet.core.simulation import StartName, UserName
from interactivepet.dataset.click_files import list_visible, match_click_files, warn_of_unused
from interactivepet.dataset.click_tables import PointFrame
from interactivepet.errors import CaseError, InteractionError
from interactivepet.pipeline.decisions import read_folds, read_plans
from interactivepet.pipeline.judge.simulated_segmenters import SystemKind
from interactivepet.pipeline.predict.models import PredictionOptions
from interactivepet.pipeline.stamps import FileStamps, open_stamps
from interactivepet.pipeline.train.promptable_folder import stamp_unseen
from interactivepet.pipeline.workspace import Workspace

__all__ = ["SimulationJob", "SimulationOptions", "find_fixed", "hash_options", "list_jobs", "list_programs"]


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
class SimulationJob:
    """One case.

    Attributes:
        entry: its files.
        fold: that never saw it; None where all folds answer, or another system.
        clicks: click file of the user `fixed`.
        stamp: hash of everything that changes the session.
    """

    entry: CaseEntry
    fold: int | None
    clicks: Path | None
    stamp: str


def list_jobs(
    workspace: Workspace, manifest: DatasetManifest, options: SimulationOptions, *, own: Mapping[int, PromptableCard]
) -> list[SimulationJob]:
    """List the labelled cases that were asked for, those of one fold after those of another.

    Raises:
        CaseError: no case is left, one has no such name, or one is in no fold.
        InteractionError: a case has no file of fixed clicks.
    """
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
    clicks = find_fixed(options, asked)
    with open_stamps(workspace) as stamps:
        # a stamp of the promptable model looks at all of its files: once a fold, not once a case
        salts = {
            fold: hash_options(manifest.label_values, options, stamps, fold=fold, own=own)
            for fold in set(fold_of.values())
        }
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


def find_fixed(options: SimulationOptions, entries: Sequence[CaseEntry]) -> dict[str, Path]:
    """Give case -> its file of fixed clicks; the files that are not used are named.

    Raises:
        InteractionError: there is no such folder, or a case has no file in it.
    """
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
) -> SimulationJob:
    files = workspace.case_files(entry, clicks)
    if options.kind in ("ours", "ensemble"):
        files += _list_models(workspace, fold)
    files += list_programs(options)
    return SimulationJob(entry, fold, clicks, stamps.stamp(files, salt=f"{salt}|{entry.id}|{fold}"))


def list_programs(options: SimulationOptions) -> list[Path]:
    """List the files that a program's command line names; what it loads by itself is not seen."""
    if options.kind != "command":
        return []
    return [Path(word) for word in shlex.split(options.command) if os.path.isfile(word)]  # noqa: PTH113


def _list_models(workspace: Workspace, fold: int | None) -> list[Path]:
    """List the files that decide what the networks answer."""
    plans = read_plans(workspace)
    indices = [item.index for item in read_folds(workspace).folds] if fold is None else [fold]
    cards = [workspace.card(name, index) for name in plans.configurations for index in indices]
    return [workspace.plans, workspace.ensemble, *cards]


def hash_options(
    labels: Sequence[int],
    options: SimulationOptions,
    stamps: FileStamps,
    *,
    fold: int | None,
    own: Mapping[int, PromptableCard],
) -> str:
    """Give everything but files that changes a session."""
    prediction = options.prediction
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
    return repr((answers, asks, tuple(labels)))
