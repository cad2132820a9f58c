"""The files of an imported task: images, masks, clicks and notes of each case, the table, and `import.json`."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from interactivepet.console import collect_warnings
from interactivepet.core.imported import ImportJob, ImportRecord, ImportSource
from interactivepet.dataset.files.write import write_artefact, write_image, write_mask, write_text
from interactivepet.dataset.interactions import write_clicks
from interactivepet.dataset.layout import (
    CLICKS_TEST,
    CLICKS_TRAINING,
    IMAGES_TEST,
    IMAGES_TRAINING,
    LABELS_TEST,
    LABELS_TRAINING,
    channel_path,
)
from interactivepet.dataset.manifest import CASES_CSV, build_manifest, write_manifest
from interactivepet.dataset.validate import WHOLE_TASK
from interactivepet.errors import CaseError, InteractivePetError
from interactivepet.pipeline.executor import map_cases

__all__ = ["IMPORT_JSON", "write_task"]

IMPORT_JSON = "import.json"
ENDING = ".nii.gz"


@dataclass(frozen=True, slots=True)
class _Written:
    """What became of one case: its files, or why it has none."""

    files: tuple[Path, ...] = ()
    remarks: tuple[str, ...] = ()
    failure: str = ""


def write_task(
    folder: Path,
    source: ImportSource,
    executor: Executor,
    *,
    skip_bad: bool = False,
    check: Callable[[Path], Mapping[str, str]] | None = None,
) -> None:
    """Write every case of a source, `dataset.json` and `import.json`.

    Args:
        folder: of the task, which is not there yet.
        source: training and test cases.
        executor: loads the cases.
        skip_bad: leave out the cases that cannot be used.
        check: gives the cases to leave out of the complete folder, with reasons; it is called until there are none.

    Raises:
        CaseError: some cases cannot be used, or with `skip_bad` all of the training or of all cases.
        ManifestError: the files do not make a task.
    """
    written = _write_cases(folder, source, executor, skip_bad=skip_bad)
    found: Mapping[str, str] = {case: one.failure for case, one in written.items() if one.failure}
    left_out = {**source.left_out, **found}
    while True:
        for case in found:
            for path in written[case].files:
                path.unlink()
        kept = _keep(source, left_out)
        _write_table(folder, [*kept.training, *kept.test])
        write_manifest(folder, build_manifest(folder, channels=source.channels, labels=source.labels))
        found = check(folder) if check is not None else {}
        if not found:
            break
        left_out |= found
    remarks = {case: one.remarks for case, one in written.items() if one.remarks and case not in left_out}
    if source.remarks:
        remarks = {WHOLE_TASK: source.remarks} | remarks
    record = ImportRecord(layout=source.layout, left_out=left_out, remarks=remarks, passed_over=source.passed_over)
    write_artefact(folder / IMPORT_JSON, record)


def _keep(source: ImportSource, left_out: Mapping[str, str]) -> ImportSource:
    """Give the source without some cases.

    Raises:
        CaseError: nothing is left, or nothing to train on.
    """
    training = tuple(job for job in source.training if job.id not in left_out)
    test = tuple(job for job in source.test if job.id not in left_out)
    if (source.training and not training) or not (training or test):
        n_bad = len(source.training) or len(source.test)
        kind = "training" if source.training else "test"
        reasons = "\n".join(f"{case}: {reason}" for case, reason in left_out.items())
        raise CaseError(f"none of the {n_bad} {kind} cases can be used:\n{reasons}")
    return replace(source, training=training, test=test)


def _write_cases(folder: Path, source: ImportSource, executor: Executor, *, skip_bad: bool) -> dict[str, _Written]:
    written: dict[str, _Written] = {}
    for jobs, images, labels, clicks in (
        (source.training, IMAGES_TRAINING, LABELS_TRAINING, CLICKS_TRAINING),
        (source.test, IMAGES_TEST, LABELS_TEST, CLICKS_TEST),
    ):
        if not jobs:
            continue
        names = [job.id for job in jobs]
        done = map_cases(
            executor,
            partial(_write_case, folder=folder, images=images, labels=labels, clicks=clicks, skip_bad=skip_bad),
            items=jobs,
            names=names,
            description=f"import to {images}",
        )
        written |= zip(names, done, strict=True)
    return written


def _write_case(job: ImportJob, *, folder: Path, images: str, labels: str, clicks: str, skip_bad: bool) -> _Written:
    try:
        with collect_warnings() as messages:
            imported = job.load()
    except InteractivePetError as error:
        if not skip_bad:
            raise
        return _Written(failure=str(error))
    case, files = imported.case, []
    for channel in range(len(case.image)):
        files.append(folder / channel_path(images, job.id, channel=channel, ending=ENDING))
        write_image(files[-1], case.image[channel : channel + 1], geometry=case.geometry)
    if case.label is not None:
        files.append(folder / labels / f"{job.id}{ENDING}")
        write_mask(files[-1], case.label, geometry=case.geometry)
    if imported.clicks is not None:
        files.append(folder / clicks / f"{job.id}.mrk.json")
        write_clicks(files[-1], imported.clicks)
    for suffix, text in imported.notes.items():
        files.append(folder / images / f"{job.id}.{suffix}")
        write_text(files[-1], text)
    warnings = (message.removeprefix(f"{job.id}: ") for message in messages)
    return _Written(tuple(files), (*imported.remarks, *warnings))


def _write_table(folder: Path, jobs: Sequence[ImportJob]) -> None:
    """Write `cases.csv` when any case has a patient or a subtype."""
    if not any(job.patient or job.subtype for job in jobs):
        (folder / CASES_CSV).unlink(missing_ok=True)
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", "patient", "subtype"])
    writer.writerows([job.id, job.patient or "", job.subtype or ""] for job in jobs)
    write_text(folder / CASES_CSV, text.getvalue())
