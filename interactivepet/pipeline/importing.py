"""Write imported cases as a task: complete and sound under its name, or not at all."""

from __future__ import annotations

import csv
import io
import logging
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from pathlib import Path

from interactivepet.core.dataset import Issue, IssueList
from interactivepet.core.imported import ImportJob, ImportSource
from interactivepet.dataset.interactions import write_clicks
from interactivepet.dataset.layout import (
    CLICKS_TEST,
    CLICKS_TRAINING,
    IMAGES_TEST,
    IMAGES_TRAINING,
    LABELS_TEST,
    LABELS_TRAINING,
    PARTIAL_PREFIX,
    channel_path,
)
from interactivepet.dataset.manifest import CASES_CSV, build_manifest, write_manifest
from interactivepet.dataset.write import write_image, write_mask, write_text
from interactivepet.errors import ManifestError, VerificationError
from interactivepet.pipeline.executor import map_cases
from interactivepet.pipeline.prepare import run_verification
from interactivepet.pipeline.workspace import Workspace, check_task_name

__all__ = ["run_import", "run_verified_import"]

logger = logging.getLogger(__name__)

ENDING = ".nii.gz"
_SHOWN = 3
"""Problems that an error message repeats; the table before it has them all."""


def run_import(
    raw: Path,
    task: str,
    *,
    source: ImportSource,
    executor: Executor,
    overwrite: bool = False,
    test_only: bool = False,
    check: Callable[[Path], None] | None = None,
) -> Path:
    """Import every case into `raw/task`.

    The task is written inside of a hidden folder and moved to its name when every case is there, so that an error
    or a kill leaves no half-written task; the next run starts over.

    Args:
        raw: folder of the raw tasks.
        task: name of the new task.
        source: what an importer found.
        executor: loads the cases.
        overwrite: replace a task of this name.
        test_only: every case is a test case, with its mask where it has one.
        check: is called with the complete folder before it is moved; when it raises, nothing is imported.

    Raises:
        ManifestError: the task exists or cannot have this name, there is nothing to import, or nothing to train on.
        CaseError: some cases cannot be used; the message lists them all.
    """
    final, hidden = raw / task, raw / f"{PARTIAL_PREFIX}{task}"
    check_task_name(task)
    replaced = hidden / "replaced"
    if replaced.exists() and not final.exists():
        # A replacement was killed between its two renames: the old task is still whole.
        replaced.rename(final)
    if final.exists() and not overwrite:
        raise ManifestError(f"{final} is there already; choose another name with -t, or replace it with --overwrite")
    source = _divide(source, test_only=test_only)
    if hidden.exists():
        shutil.rmtree(hidden)
    try:
        # The folder has its final name already: the manifest and the stamp of the verification depend on it.
        folder = hidden / task
        _write_cases(folder, source, executor)
        write_manifest(folder, build_manifest(folder, channels=source.channels, labels=source.labels))
        if check is not None:
            check(folder)
        if final.exists():
            final.rename(replaced)
        folder.rename(final)
    except BaseException:
        if replaced.exists() and not final.exists():
            replaced.rename(final)
        raise
    finally:
        # a task that could not be put back stays where it is
        if final.exists() or not replaced.exists():
            shutil.rmtree(hidden, ignore_errors=True)
    return final


def run_verified_import(
    workspace: Workspace,
    executor: Executor,
    *,
    source: ImportSource,
    show_issues: Callable[[IssueList], None],
    overwrite: bool = False,
    test_only: bool = False,
) -> IssueList:
    """Import every case into the workspace's raw folder, if the task that comes of it is sound.

    Args:
        workspace: of the new task; what verification found is written there.
        executor: loads and checks the cases.
        source: what an importer found.
        show_issues: is called with what verification found when that is more than notes.
        overwrite: replace a task of this name.
        test_only: as `run_import`.

    Returns:
        What verification found: notes at most.

    Raises:
        VerificationError: the task would have problems; `show_issues` was called, nothing was imported.
        ManifestError: as `run_import`.
        CaseError: as `run_import`.
    """
    results: list[IssueList] = []

    def check(folder: Path) -> None:
        result = run_verification(replace(workspace, raw=folder), executor)
        if result.errors:
            show_issues(result)
            raise VerificationError(
                f"{workspace.task}: {len(result.errors)} problems, so nothing was imported:\n"
                + "\n".join(_describe(issue) for issue in result.errors[:_SHOWN])
            )
        results.append(result)

    run_import(
        workspace.raw.parent,
        workspace.task,
        source=source,
        executor=executor,
        overwrite=overwrite,
        test_only=test_only,
        check=check,
    )
    return results[0]


def _divide(source: ImportSource, *, test_only: bool) -> ImportSource:
    """Divide the cases into training and test cases."""
    if not source.training and not source.test:
        raise ManifestError("no case was found to import")
    if test_only:
        return replace(source, training=(), test=(*source.training, *source.test))
    if not source.training:
        raise ManifestError(
            f"{len(source.test)} cases, none of them with a mask, so there is nothing to train on; put the masks "
            "beside them, or import them with --test, to predict them with the model of another task"
        )
    return source


def _describe(issue: Issue) -> str:
    return f"{issue.case}: {issue.kind}: {issue.found}; expected {issue.expected}; {issue.remedy}"


def _write_cases(folder: Path, source: ImportSource, executor: Executor) -> None:
    for jobs, images, labels, clicks in (
        (source.training, IMAGES_TRAINING, LABELS_TRAINING, CLICKS_TRAINING),
        (source.test, IMAGES_TEST, LABELS_TEST, CLICKS_TEST),
    ):
        if not jobs:
            continue
        map_cases(
            executor,
            partial(_write_case, folder=folder, images=images, labels=labels, clicks=clicks),
            items=jobs,
            names=[job.id for job in jobs],
            description=f"import to {images}",
        )
    _write_table(folder, [*source.training, *source.test])


def _write_case(job: ImportJob, *, folder: Path, images: str, labels: str, clicks: str) -> None:
    imported = job.load()
    case = imported.case
    for channel in range(len(case.image)):
        path = folder / channel_path(images, job.id, channel=channel, ending=ENDING)
        write_image(path, case.image[channel : channel + 1], geometry=case.geometry)
    if case.label is not None:
        write_mask(folder / labels / f"{job.id}{ENDING}", case.label, geometry=case.geometry)
    if imported.clicks is not None:
        write_clicks(folder / clicks / f"{job.id}.mrk.json", imported.clicks)
    for suffix, text in imported.notes.items():
        write_text(folder / images / f"{job.id}.{suffix}", text)


def _write_table(folder: Path, jobs: Sequence[ImportJob]) -> None:
    """Write `cases.csv` when any case has a patient or a subtype."""
    if not any(job.patient or job.subtype for job in jobs):
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", "patient", "subtype"])
    writer.writerows([job.id, job.patient or "", job.subtype or ""] for job in jobs)
    write_text(folder / CASES_CSV, text.getvalue())
