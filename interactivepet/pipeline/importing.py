"""Write imported cases as a task: complete under its name, or not at all."""

from __future__ import annotations

import csv
import io
import logging
import shutil
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path

from interactivepet.core.imported import ImportJob, ImportSource
from interactivepet.dataset.layout import (
    IMAGES_TEST,
    IMAGES_TRAINING,
    LABELS_TEST,
    LABELS_TRAINING,
    PARTIAL_PREFIX,
    channel_path,
)
from interactivepet.dataset.manifest import CASES_CSV, build_manifest, write_manifest
from interactivepet.dataset.write import write_image, write_mask, write_text
from interactivepet.errors import ManifestError
from interactivepet.pipeline.executor import map_cases

__all__ = ["run_import"]

logger = logging.getLogger(__name__)

ENDING = ".nii.gz"


def run_import(raw: Path, task: str, *, source: ImportSource, executor: Executor, overwrite: bool = False) -> Path:
    """Import every case into `raw/task`.

    The task is written under a temporary name and renamed when every case is there, so that an error or a kill
    leaves no half-written task; the next run starts over.

    Args:
        raw: folder of the raw tasks.
        task: name of the new task.
        source: what an importer found.
        executor: loads the cases.
        overwrite: replace a task of this name.

    Raises:
        ManifestError: the task exists, or there is nothing to import.
        CaseError: some cases cannot be used; the message lists them all.
    """
    final, partial_folder = raw / task, raw / f"{PARTIAL_PREFIX}{task}"
    if final.exists() and not overwrite:
        raise ManifestError(f"{final} is there already; choose another name with -t, or replace it with --overwrite")
    if not source.training and not source.test:
        raise ManifestError("no case was found to import")
    if partial_folder.exists():
        shutil.rmtree(partial_folder)
    try:
        _write_cases(partial_folder, source, executor)
        manifest = build_manifest(partial_folder, channels=source.channels, labels=source.labels)
        write_manifest(partial_folder, manifest.model_copy(update={"task": task}))
        if final.exists():
            shutil.rmtree(final)
        partial_folder.rename(final)
    except BaseException:
        shutil.rmtree(partial_folder, ignore_errors=True)
        raise
    return final


def _write_cases(folder: Path, source: ImportSource, executor: Executor) -> None:
    for jobs, images, labels in (
        (source.training, IMAGES_TRAINING, LABELS_TRAINING),
        (source.test, IMAGES_TEST, LABELS_TEST),
    ):
        map_cases(
            executor,
            partial(_write_case, folder=folder, images=images, labels=labels),
            items=jobs,
            names=[job.id for job in jobs],
            description=f"import to {images}",
        )
    _write_table(folder, [*source.training, *source.test])


def _write_case(job: ImportJob, *, folder: Path, images: str, labels: str) -> None:
    imported = job.load()
    case = imported.case
    for channel in range(len(case.image)):
        path = folder / channel_path(images, job.id, channel=channel, ending=ENDING)
        write_image(path, case.image[channel : channel + 1], geometry=case.geometry)
    if case.label is not None:
        write_mask(folder / labels / f"{job.id}{ENDING}", case.label, geometry=case.geometry)
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
