"""Many images, one by one or side by side: each is complete or not there, and one that fails stops no other."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from interactivepet.core.artefact import hash_text
from interactivepet.core.segmented import SegmentedCase
from interactivepet.errors import InteractivePetError
from interactivepet.pipeline.executor import map_cases
from interactivepet.pipeline.segment.events import Events
from interactivepet.pipeline.segment.jobs import SegmentJob
from interactivepet.pipeline.segment.options import Outputs, SegmentOptions
from interactivepet.pipeline.segment.outputs import Folders, write_case
from interactivepet.pipeline.segment.regions import segment_image
from interactivepet.pipeline.segment.segmenters import ChoiceDescription, SegmenterChoice, open_segmenter
from interactivepet.pipeline.segment.sources import Failure, FoundImages
from interactivepet.pipeline.segment.tables import write_tables
from interactivepet.version import __version__, list_versions

__all__ = ["SegmentTask", "Segmented", "run_segmentation"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SegmentTask:
    """What all cases have in common; small enough to be sent to a worker.

    Attributes:
        out: folder of the results.
        choice: what segments.
        segmenter: what is known of it.
        options: how regions are found and segmented.
        outputs: what is written.
        log: file of events; None writes none.
    """

    out: Path
    choice: SegmenterChoice
    segmenter: ChoiceDescription
    options: SegmentOptions = field(default_factory=SegmentOptions)
    outputs: Outputs = field(default_factory=Outputs)
    log: Path | None = None

    def stamp(self, job: SegmentJob) -> str:
        """Hash everything that the results of a case depend on."""
        parts = (self.segmenter.content, self.options.model_dump_json(), " ".join(sorted(self.outputs.formats)))
        return hash_text(__version__, job.stamp(), *parts)

    def list_settings(self) -> dict[str, str]:
        """Name what the results depend on, for pages."""
        return {"segmenter": self.segmenter.name, **self.options.describe()}


@dataclass(frozen=True, slots=True)
class Segmented:
    """What became of the cases.

    Attributes:
        cases: that are complete, now or from an earlier run, in their order.
        failures: why there is no result of others.
        n_kept: how many of `cases` were complete before.
    """

    cases: tuple[SegmentedCase, ...]
    failures: tuple[Failure, ...]
    n_kept: int


def run_segmentation(found: FoundImages, task: SegmentTask, *, executor: Executor) -> Segmented:
    """Segment all images that are not complete, and write the tables and the page of all.

    A case is complete when its `CASE.json` was made from the same files, segmenter, options and version, and all files
    that it names are there.

    Args:
        found: the images, and what cannot be used.
        task: what to do with each.
        executor: where cases are segmented.
    """
    folders = Folders(task.out)
    stamps: dict[str, str] = {}
    failures: dict[str, str] = {}
    for job in found.jobs:
        try:
            stamps[job.case] = task.stamp(job)
        except (InteractivePetError, OSError) as error:
            failures[job.case] = str(error)
    present = {case: record for case, stamp in stamps.items() if (record := folders.read(case, stamp=stamp))}
    jobs = [job for job in found.jobs if job.case in stamps and job.case not in present]
    failures |= _run(jobs, task, executor=executor)
    cases, missing = [], []
    for job in found.jobs:
        record = present.get(job.case) or folders.read(job.case, stamp=stamps.get(job.case, "-"))
        if record is not None:
            cases.append(record)
        else:
            reason = failures.get(job.case, "its worker ended before the case was complete; run the command again")
            missing.append(Failure(job.case, reason, is_case=True, folder=str(job.source)))
    segmented = Segmented(tuple(cases), (*found.failures, *missing), len(present))
    write_tables(
        folders,
        segmented.cases,
        segmented.failures,
        outputs=task.outputs,
        settings=task.list_settings(),
        versions=list_versions(),
    )
    return segmented


def _run(jobs: Sequence[SegmentJob], task: SegmentTask, *, executor: Executor) -> Mapping[str, str]:
    """Segment cases; gives case -> why it failed."""
    names = [job.case for job in jobs]
    try:
        reasons = map_cases(
            executor, partial(_run_case, task=task), items=list(jobs), names=names, description="segment"
        )
    except (InteractivePetError, RuntimeError) as error:
        # a worker was killed; the others are done, and what is complete is read from the disk
        return dict.fromkeys(names, str(error))
    return {name: reason for name, reason in zip(names, reasons, strict=True) if reason is not None}


def _run_case(job: SegmentJob, *, task: SegmentTask) -> str | None:
    """Segment one case and write its files; gives the reason where it fails."""
    try:
        stamp = task.stamp(job)
        events = Events(stamp[:8], task.log)
        with events.step("case"):
            _segment(job, task, stamp=stamp, events=events)
    except (InteractivePetError, OSError) as error:
        return str(error)
    except Exception as error:  # a defect, or whatever damaged files lead to: the other cases do not suffer from it
        logger.exception("%s: failed", job.case)
        return f"{type(error).__name__}: {error}; this is a defect of the program or of the files"
    return None


def _segment(job: SegmentJob, task: SegmentTask, *, stamp: str, events: Events) -> None:
    with events.step("read"):
        case, unit = job.load()
    with events.step("load the segmenter"):
        segmenter = open_segmenter(task.choice)
    image = segment_image(case, segmenter, unit=unit, channels=job.inputs.channels, options=task.options, events=events)
    settings = {
        **task.list_settings(),
        "segmenter": segmenter.description,
        "image": "DICOM, converted to SUV" if job.series is not None else "file",
        "files of the image": str(len(job.paths)),
    }
    with events.step("write"):
        write_case(
            Folders(task.out),
            image,
            case=case,
            job=job,
            outputs=task.outputs,
            stamp=stamp,
            settings=settings,
            versions=list_versions(),
        )
