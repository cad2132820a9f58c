"""Preprocessed cases on disk: written when something changed, read by training and prediction."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from interactivepet.core.case import Case, PreprocessedCase
from interactivepet.core.dataset import CaseEntry
from interactivepet.core.interaction import Click
from interactivepet.core.plan import Plan
from interactivepet.core.preprocessed import CaseRecord, GridRecord
from interactivepet.dataset.click_files import find_clicks_file
from interactivepet.dataset.files.arrays import read_array, write_channels
from interactivepet.dataset.files.read import read_case, read_geometry
from interactivepet.dataset.files.write import atomic_path, read_artefact, write_artefact
from interactivepet.dataset.interactions import read_clicks
from interactivepet.dataset.manifest import read_manifest
from interactivepet.errors import ArtefactError, StaleArtefactError
from interactivepet.guidance.encode import encode_clicks
from interactivepet.pipeline.executor import map_cases
from interactivepet.pipeline.stamps import open_stamps
from interactivepet.pipeline.workspace import Workspace
from interactivepet.preprocessing.crop import find_crop
from interactivepet.preprocessing.pipeline import preprocess, sample_foreground
from interactivepet.preprocessing.resample import find_target_shape
from interactivepet.reporting.pictures import draw_snapshot
from interactivepet.reporting.views import is_emission

__all__ = ["estimate_worker_gb", "read_preprocessed", "read_records", "run_preprocessing"]

logger = logging.getLogger(__name__)

COMMAND = "interactivepet_plan_and_process"

FORMAT = "cases 2"
"""Raised when the same plan leads to other voxels, so that cases are preprocessed again."""

WORKER_GB = 0.2
"""What a worker takes before it has read a case: the interpreter and its libraries."""


@dataclass(frozen=True, slots=True)
class CaseJob:
    """One case to preprocess.

    Attributes:
        entry: its files.
        clicks: its click file, if there is one.
        stamp: hash of the plan's preprocessing and of its files.
        seed: of the sample of labelled voxels.
    """

    entry: CaseEntry
    clicks: Path | None
    stamp: str
    seed: int


def run_preprocessing(workspace: Workspace, executor: Executor, *, plan: Plan, snapshots: bool) -> int:
    """Preprocess every training case that is not up to date.

    Returns:
        How many cases were written.
    """
    jobs = [job for job in _list_jobs(workspace, plan) if snapshots or not _is_fresh(workspace, plan, job)]
    map_cases(
        executor,
        partial(_process, workspace=workspace, plan=plan, snapshot=snapshots),
        items=jobs,
        names=[job.entry.id for job in jobs],
        description="preprocess",
        estimate_gb=partial(_estimate_gb, workspace=workspace, plan=plan),
    )
    return len(jobs)


def _estimate_gb(job: CaseJob, *, workspace: Workspace, plan: Plan) -> float:
    grid = read_geometry(workspace.raw / job.entry.images[0])
    grid = grid.permuted(plan.find_axes(grid))
    shape = plan.target_shape or find_target_shape(grid.shape, grid.spacing_mm, target_mm=plan.spacing_mm)
    return estimate_worker_gb(len(plan.channels), before=math.prod(grid.shape), after=math.prod(shape))


def estimate_worker_gb(n_channels: int, *, before: float, after: float) -> float:
    """Estimate the peak of a process that preprocesses: the image twice while it is read, then raw and resampled.

    With a volume of 400 x 400 x 326 voxels and two channels, 1.22 GB were measured.

    Args:
        n_channels: of the image.
        before: voxels of a channel as it was.
        after: voxels of a channel on the plan's grid.
    """
    n_bytes = 4 * n_channels * (before + max(before, after)) + before + after
    return WORKER_GB + n_bytes / 1e9


def _list_jobs(workspace: Workspace, plan: Plan) -> list[CaseJob]:
    jobs, salt = [], f"{FORMAT}|{plan.preprocessing_hash()}"
    with open_stamps(workspace) as stamps:
        for seed, entry in enumerate(read_manifest(workspace.raw).training):
            clicks = find_clicks_file(workspace.clicks_folder(), entry.id)
            stamp = stamps.stamp(workspace.case_files(entry, clicks), salt=salt)
            jobs.append(CaseJob(entry, clicks, stamp, seed))
    return jobs


def _paths(workspace: Workspace, plan: Plan, case_id: str) -> tuple[Path, Path]:
    folder = workspace.cases(plan.configuration)
    return folder / f"{case_id}.json", folder / f"{case_id}.b2nd"


def _is_fresh(workspace: Workspace, plan: Plan, job: CaseJob) -> bool:
    record, volume = _paths(workspace, plan, job.entry.id)
    try:
        _read_record(record, plan, command=COMMAND, stamp=job.stamp)
    except ArtefactError:
        return False
    return volume.is_file()


def _read_record(path: Path, plan: Plan, *, command: str, stamp: str) -> CaseRecord:
    """Read a record that must be up to date; the plan's order of axes is in no stamp, but its effect is recorded."""
    record = read_artefact(path, CaseRecord, command=command, made_from=stamp)
    if record.trace.axes != plan.find_axes(record.trace.original):
        raise StaleArtefactError(f"{path} has its axes in another order than the plan; run {command} again")
    return record


def _process(job: CaseJob, *, workspace: Workspace, plan: Plan, snapshot: bool) -> None:
    """Preprocess one case; the record is written last, so that it never speaks of a volume that is not there."""
    case = read_case(workspace.raw, job.entry)
    clicks: tuple[Click, ...] = ()
    if job.clicks is not None:
        clicks = read_clicks(job.clicks, geometry=case.geometry, labels=plan.labels)
    # A training case without a label is one without objects: it has no box of its own, and is kept whole.
    labelled = case if case.label is not None else replace(case, label=np.zeros(case.geometry.shape, np.uint8))
    ready = preprocess(case, plan, box=find_crop(labelled, plan, clicks=clicks))
    label = ready.label if ready.label is not None else np.zeros(ready.image.shape[1:], np.uint8)
    record_path, volume_path = _paths(workspace, plan, case.id)
    record_path.unlink(missing_ok=True)
    sha256 = write_channels(volume_path, (ready.image, label[None]))
    write_artefact(record_path, _make_record(ready, label, clicks, job=job, volume_sha256=sha256))
    if snapshot:
        _write_snapshot(case, ready, clicks, workspace=workspace, plan=plan)


def _make_record(
    ready: PreprocessedCase,
    label: npt.NDArray[np.uint8],
    clicks: tuple[Click, ...],
    *,
    job: CaseJob,
    volume_sha256: str,
) -> CaseRecord:
    return CaseRecord(
        made_from=job.stamp,
        id=ready.id,
        original=GridRecord.of(ready.trace.original),
        crop_start=ready.trace.crop.start,
        crop_stop=ready.trace.crop.stop,
        resampled=GridRecord.of(ready.trace.resampled),
        has_label=ready.label is not None,
        volume_sha256=volume_sha256,
        clicks=clicks,
        foreground=sample_foreground(label, np.random.default_rng(job.seed)),
    )


def _write_snapshot(
    case: Case, ready: PreprocessedCase, clicks: tuple[Click, ...], *, workspace: Workspace, plan: Plan
) -> None:
    guidance = encode_clicks(clicks, ready.trace.resampled, labels=plan.label_values, guidance=plan.guidance)
    png = draw_snapshot(
        case, ready, guidance=guidance, clicks=clicks, title=case.id, is_emission=is_emission(plan.channels)
    )
    with atomic_path(workspace.snapshots / f"{case.id}.png") as partial_path:
        partial_path.write_bytes(png)


def read_records(workspace: Workspace, plan: Plan, *, cases: Iterable[str]) -> dict[str, CaseRecord]:
    """Read the records of cases that must be up to date.

    Raises:
        MissingArtefactError: a case was not preprocessed.
        StaleArtefactError: the plan, the image, the label or the clicks have changed since.
    """
    jobs = {job.entry.id: job for job in _list_jobs(workspace, plan)}
    return {
        name: _read_record(
            _paths(workspace, plan, name)[0],
            plan,
            command=f"{COMMAND} -t {workspace.task}",
            stamp=jobs[name].stamp if name in jobs else "",
        )
        for name in cases
    }


def read_preprocessed(workspace: Workspace, plan: Plan, *, record: CaseRecord) -> PreprocessedCase:
    """Read a whole preprocessed case."""
    values = read_array(_paths(workspace, plan, record.id)[1], command=COMMAND)
    label = values[-1].astype(np.uint8) if record.has_label else None
    return PreprocessedCase(record.id, values[:-1], label, record.trace)
