"""The first half of the walk: verification, clicks from labels, fingerprint, folds, plan, preprocessing."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from interactivepet.core.axes import AxisOrder, find_axes, find_axis_order
from interactivepet.core.dataset import CaseEntry, DatasetManifest, IssueList
from interactivepet.core.fingerprint import Fingerprint
from interactivepet.core.plan import FoldList, Plans
from interactivepet.dataset.checks import Findings
from interactivepet.dataset.click_files import find_clicks_file, find_own_clicks
from interactivepet.dataset.files.read import read_case, read_geometry
from interactivepet.dataset.files.write import read_artefact, write_artefact
from interactivepet.dataset.interactions import has_points, write_clicks
from interactivepet.dataset.manifest import build_manifest, read_manifest, write_manifest
from interactivepet.dataset.validate import examine_case, find_empty_task, find_foreign_units, find_task_issues
from interactivepet.errors import ArtefactError, CaseError, ManifestError
from interactivepet.guidance.simulate import ClickOptions, simulate_clicks
from interactivepet.pipeline.decisions import read_fingerprint, read_folds, read_plans
from interactivepet.pipeline.executor import map_cases
from interactivepet.pipeline.stamps import open_stamps
from interactivepet.pipeline.workspace import Workspace
from interactivepet.planning.fingerprint import CaseMeasurement, extract_fingerprint, measure_case
from interactivepet.planning.folds import make_folds
from interactivepet.planning.request import DEFAULT_REQUEST, PlanRequest, answer_request

__all__ = [
    "ClickJob",
    "find_plans",
    "is_verified",
    "read_decisions",
    "run_fingerprint",
    "run_folds",
    "run_generate_dataset_json",
    "run_mimic_interactions",
    "run_plan",
    "run_verification",
]

logger = logging.getLogger(__name__)

DEFAULT_FOLDS = 5
"""What the field compares by."""


def run_generate_dataset_json(
    workspace: Workspace, *, channels: Sequence[str], labels: Sequence[str]
) -> DatasetManifest:
    """Write `dataset.json` from the files that are there."""
    manifest = build_manifest(workspace.raw, channels=channels, labels=labels)
    write_manifest(workspace.raw, manifest)
    return manifest


def run_verification(workspace: Workspace, executor: Executor) -> IssueList:
    """Check every case and write `issues.json`; finding problems is not an error here."""
    manifest = read_manifest(workspace.raw)
    entries = [*manifest.training, *manifest.test]
    n_training = len(manifest.training)
    clicks = [
        find_clicks_file(workspace.clicks_folder(test=index >= n_training), entry.id)
        for index, entry in enumerate(entries)
    ]
    found = map_cases(
        executor,
        partial(_examine, raw=workspace.raw, manifest=manifest),
        items=list(zip(entries, clicks, strict=True)),
        names=[entry.id for entry in entries],
        description="verify",
    )
    cases = tuple(issue for case in found for issue in case.issues)
    issues = (
        *find_task_issues(workspace.raw, manifest),
        *find_empty_task(manifest, cases),
        *cases,
        *find_foreign_units(found),
    )
    result = IssueList(
        made_from=_stamp_task(workspace, manifest), task=workspace.task, n_cases=len(entries), issues=issues
    )
    write_artefact(workspace.issues, result)
    return result


def _examine(item: tuple[CaseEntry, Path | None], *, raw: Path, manifest: DatasetManifest) -> Findings:
    entry, clicks_path = item
    return examine_case(raw, entry, manifest=manifest, clicks_path=clicks_path)


def is_verified(workspace: Workspace) -> bool:
    """Whether the task was verified without errors and no file has changed since."""
    try:
        made_from = _stamp_task(workspace, read_manifest(workspace.raw))
        issues = read_artefact(workspace.issues, IssueList, command="interactivepet_verify", made_from=made_from)
    except ArtefactError:
        return False
    return not issues.errors


def _stamp_task(workspace: Workspace, manifest: DatasetManifest) -> str:
    """Stamp every file of the task, clicks too."""
    folders = [workspace.clicks_folder(test=test) for test in (False, True)]
    clicks = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]
    files = _list_files(workspace, (*manifest.training, *manifest.test))
    with open_stamps(workspace) as stamps:
        return stamps.stamp([*files, *clicks], salt=manifest.content_hash())


def _list_files(workspace: Workspace, entries: Sequence[CaseEntry]) -> list[Path]:
    """List images and labels of the cases."""
    return [path for entry in entries for path in workspace.case_files(entry)]


@dataclass(frozen=True, slots=True)
class ClickJob:
    """Where one case's clicks go.

    Attributes:
        entry: the case; it has a label.
        path: of the file to write.
        seed: of this case.
        is_empty: whether the case has a click file without a point.
    """

    entry: CaseEntry
    path: Path
    seed: tuple[int, ...]
    is_empty: bool = False


def run_mimic_interactions(
    workspace: Workspace,
    executor: Executor,
    *,
    options: ClickOptions,
    seed: int,
    overwrite: bool,
    test: bool = False,
) -> int:
    """Synthesise clicks for every labelled case without any, or for all with `overwrite`.

    A click file without a point counts as none, and is replaced if the label gives clicks.

    Returns:
        How many files were written.

    Raises:
        ManifestError: no case has a label.
    """
    manifest = read_manifest(workspace.raw)
    folder = workspace.clicks_folder(test=test)
    entries = [entry for entry in (manifest.test if test else manifest.training) if entry.label is not None]
    if not entries:
        raise ManifestError(f"{workspace.raw}: no {'test' if test else 'training'} case has a label to click on")
    present = find_own_clicks(folder, [entry.id for entry in (manifest.test if test else manifest.training)])
    jobs = [
        ClickJob(entry, folder / f"{entry.id}.mrk.json", (seed, index), is_empty=not overwrite and entry.id in present)
        for index, entry in enumerate(entries)
        if overwrite or entry.id not in present or not has_points(present[entry.id])
    ]
    written = map_cases(
        executor,
        partial(_write_case_clicks, raw=workspace.raw, options=options),
        items=jobs,
        names=[job.entry.id for job in jobs],
        description="clicks",
    )
    return sum(written)


def _write_case_clicks(job: ClickJob, *, raw: Path, options: ClickOptions) -> bool:
    """Write the clicks of one case; an empty file stays as it is when the case has no lesion."""
    case = read_case(raw, job.entry)
    if case.label is None:
        raise ManifestError(f"{job.entry.id}: no label to click on")
    rng = np.random.default_rng(job.seed)
    clicks = simulate_clicks(case.label, case.geometry, options=options, rng=rng)
    if job.is_empty:
        if not clicks:
            return False
        logger.warning("%s: its click file holds no point, so clicks are made from the label", job.entry.id)
    write_clicks(job.path, clicks)
    return True


def run_fingerprint(workspace: Workspace, executor: Executor) -> Fingerprint:
    """Measure the training cases, unless that was done and nothing changed."""
    manifest = read_manifest(workspace.raw)
    with open_stamps(workspace) as stamps:
        stamp = stamps.stamp(_list_files(workspace, manifest.training), salt=manifest.content_hash())
    try:
        return read_fingerprint(workspace, made_from=stamp)
    except ArtefactError:
        logger.info("measuring %d cases", len(manifest.training))
    order, flat = _find_usual_order(workspace.raw, manifest.training)
    measured = map_cases(
        executor,
        partial(_measure, raw=workspace.raw, manifest=manifest, order=order, flat=flat),
        items=list(enumerate(manifest.training)),
        names=[entry.id for entry in manifest.training],
        description="fingerprint",
    )
    fingerprint = extract_fingerprint(
        measured,
        workspace.task,
        channels=manifest.channels,
        labels=manifest.labels,
        axis_order=order,
        made_from=stamp,
    )
    write_artefact(workspace.fingerprint, fingerprint)
    return fingerprint


def _find_usual_order(raw: Path, entries: Sequence[CaseEntry]) -> tuple[AxisOrder | None, int | None]:
    """Find the order of axes that most cases have, and the axis of a single voxel where they are pictures."""
    found = []
    for entry in entries:
        # measuring names every case that cannot be read
        with suppress(CaseError):
            grid = read_geometry(raw / entry.images[0])
            found.append((find_axis_order(grid.affine), grid.shape.index(1) if 1 in grid.shape else None))
    return Counter(found).most_common(1)[0][0] if found else (None, None)


def _measure(
    item: tuple[int, CaseEntry], *, raw: Path, manifest: DatasetManifest, order: AxisOrder | None, flat: int | None
) -> CaseMeasurement:
    seed, entry = item
    case = read_case(raw, entry)
    if len(case.image) != len(manifest.channels):
        raise CaseError(
            f"{entry.images[0]}: {len(case.image)} channels, expected {len(manifest.channels)} "
            f"({', '.join(manifest.channels)}); declare every channel, or take one frame of a dynamic image with "
            "interactivepet_import folder --time-frame"
        )
    axes = find_axes(case.geometry.affine, case.geometry.shape, order=order, flat=flat)
    return measure_case(case.permuted(axes), manifest.labels, seed=seed)


def run_folds(workspace: Workspace, *, seed: int | None, n_folds: int | None) -> FoldList:
    """Split the task, unless the same split is there already.

    Args:
        workspace: with a `dataset.json`.
        seed: None keeps the present split's, else 0.
        n_folds: None keeps the present split's, else `DEFAULT_FOLDS`.
    """
    manifest = read_manifest(workspace.raw)
    present = _read_present_folds(workspace)
    if seed is None:
        seed = present.seed if present else 0
    if n_folds is None:
        n_folds = len(present.folds) if present else DEFAULT_FOLDS
    folds = FoldList(
        made_from=_hash_training(manifest),
        task=workspace.task,
        seed=seed,
        folds=make_folds(manifest.training, seed, n_folds=n_folds),
    )
    if present is None or present.folds != folds.folds or present.made_from != folds.made_from:
        write_artefact(workspace.folds, folds)
    return folds


def read_decisions(workspace: Workspace) -> tuple[Plans, FoldList]:
    """Read plans and folds, and check that they are of the task as it is now.

    Raises:
        MissingArtefactError: the task was not planned.
        StaleArtefactError: training cases, patients or subtypes have changed since, or the fingerprint has.
    """
    plans = read_plans(workspace, made_from=read_fingerprint(workspace).content_hash())
    return plans, read_folds(workspace, made_from=_hash_training(read_manifest(workspace.raw)))


def _hash_training(manifest: DatasetManifest) -> str:
    """Hash what folds depend on: adding test cases changes none."""
    return manifest.model_copy(update={"test": ()}).content_hash()


def _read_present_folds(workspace: Workspace) -> FoldList | None:
    try:
        return read_folds(workspace)
    except ArtefactError:
        return None


def run_plan(workspace: Workspace, request: PlanRequest = DEFAULT_REQUEST) -> Plans:
    """Plan the task and write `plans.json`, unless a plan is there that says the same: people may have edited it.

    A plan that is replaced is kept as `plans.previous.json`. Raises as `find_plans` does.
    """
    plans = find_plans(workspace, request)
    present = _read_present_plans(workspace)
    if plans == present:
        return plans
    if present is not None:
        kept = workspace.plans.with_name("plans.previous.json")
        write_artefact(kept, present)
        logger.warning("task, budget or options changed: planned anew, the plan before is in %s", kept)
    write_artefact(workspace.plans, plans)
    return plans


def find_plans(workspace: Workspace, request: PlanRequest = DEFAULT_REQUEST) -> Plans:
    """Find the plans that `run_plan` would write: those that are there, as long as they are what is asked for.

    Raises:
        MissingArtefactError: there is no fingerprint.
        PlanError: no plan fits, or an override is not understood.
    """
    return answer_request(read_fingerprint(workspace), request, present=_read_present_plans(workspace))


def _read_present_plans(workspace: Workspace) -> Plans | None:
    return read_plans(workspace) if workspace.plans.is_file() else None
