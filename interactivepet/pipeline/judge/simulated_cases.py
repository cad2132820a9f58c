"""Sessions of simulated users, case by case; each is written as soon as it is finished."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from interactivepet.core.case import Case
from interactivepet.core.promptable import PromptableCard
from interactivepet.core.simulation import SimulatedCase
from interactivepet.dataset.files.read import read_case
from interactivepet.dataset.files.write import read_present, write_artefact
from interactivepet.dataset.interactions import read_clicks
from interactivepet.errors import CaseError
from interactivepet.evaluation.curves import find_areas
from interactivepet.pipeline.executor import map_cases, open_executor
from interactivepet.pipeline.judge.simulated_jobs import SimulationJob, SimulationOptions
from interactivepet.pipeline.judge.simulated_segmenters import MaskSegmenter, open_system
from interactivepet.pipeline.judge.simulated_session import SimulatedUser, run_session
from interactivepet.pipeline.predict.trained import PredictionSource
from interactivepet.pipeline.train.promptable_folder import open_unseen
from interactivepet.pipeline.workspace import Workspace
from interactivepet.training.stop import leave_on_sigterm

__all__ = ["CaseSet", "run_cases"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CaseSet:
    """Where cases are, what may answer for them, and where the results go.

    Attributes:
        source: a task or a model.
        root: folder that the entries' files are relative to.
        labels: name -> value of what the user cares for.
        folder: of the results.
    """

    source: PredictionSource
    root: Path
    labels: Mapping[str, int]
    folder: Path


def run_cases(
    cases: CaseSet,
    jobs: Sequence[SimulationJob],
    *,
    options: SimulationOptions,
    own: Mapping[int, PromptableCard],
    n_proc: int,
) -> tuple[list[SimulatedCase], bool]:
    """Simulate every case that is not up to date.

    Args:
        cases: where they are.
        jobs: the cases.
        options: who answers and who asks.
        own: the folds' own promptable models, of `find_own_folds`.
        n_proc: cases side by side.

    Returns:
        All cases in the order of the jobs, and whether all of them were up to date.

    Raises:
        InteractivePetError: a case failed; the finished ones are kept.
    """
    waiting = [job for job in jobs if _read_finished(cases.folder, job) is None]
    logger.info("%s: %d of %d cases are finished", options.name, len(jobs) - len(waiting), len(jobs))
    with leave_on_sigterm(), open_executor(n_proc) as executor:
        map_cases(
            executor,
            partial(_simulate, cases=cases, options=options, own=own),
            items=waiting,
            names=[job.entry.id for job in waiting],
            description="simulate",
        )
    found = [_read_finished(cases.folder, job) for job in jobs]
    return [case for case in found if case is not None], not waiting


def _read_finished(folder: Path, job: SimulationJob) -> SimulatedCase | None:
    return read_present(folder / "cases" / f"{job.entry.id}.json", SimulatedCase, made_from=job.stamp)


def _simulate(
    job: SimulationJob, *, cases: CaseSet, options: SimulationOptions, own: Mapping[int, PromptableCard]
) -> None:
    """Run the session of one case and write it."""
    case = _read_case(job, cases)
    fixed = (
        read_clicks(job.clicks, geometry=case.geometry, point_frame=options.point_frame, labels=cases.labels)
        if job.clicks
        else ()
    )
    rng = np.random.default_rng([options.seed, zlib.crc32(job.entry.id.encode())])
    user = SimulatedUser(options.user, case, tuple(sorted(cases.labels.values())), rng, fixed)
    with _open_system(job, cases.source, options=options, own=own, images=_list_images(job, cases)) as system:
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
    write_artefact(cases.folder / "cases" / f"{case.id}.json", result)


def _read_case(job: SimulationJob, cases: CaseSet) -> Case:
    case = read_case(cases.root, job.entry)
    unknown = (
        sorted({int(n) for n in np.unique(case.label)} - {0, *cases.labels.values()}) if case.label is not None else []
    )
    if unknown:
        known = ", ".join(f"{value} ({name})" for name, value in cases.labels.items())
        raise CaseError(
            f"{case.id}: the label has the value {unknown[0]}, expected 0, {known}; export it with these values"
        )
    return case


def _list_images(job: SimulationJob, cases: CaseSet) -> list[Path]:
    return [cases.root / name for name in job.entry.images]


@contextmanager
def _open_system(
    job: SimulationJob,
    source: PredictionSource,
    *,
    options: SimulationOptions,
    own: Mapping[int, PromptableCard],
    images: Sequence[Path],
) -> Iterator[MaskSegmenter]:
    """Open what answers for a case that none of its models has seen."""
    with ExitStack() as stack:
        prediction = options.prediction
        if job.fold is not None:
            prediction = replace(prediction, folds=(job.fold,))
        if prediction.promptable is not None and options.kind != "classical" and isinstance(source, Workspace):
            unseen = open_unseen(source, prediction.promptable, fold=job.fold, own=own)
            prediction = replace(prediction, promptable=stack.enter_context(unseen))
        system = open_system(
            source,
            images,
            kind=options.kind,
            command=options.command,
            options=prediction,
            fast=options.fast,
            method=options.method,
        )
        yield stack.enter_context(system)
