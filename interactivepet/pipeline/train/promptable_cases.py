"""Training cases as a promptable network sees them: written when something changed, in their own voxels."""

from __future__ import annotations

from concurrent.futures import Executor
from functools import partial

import numpy as np

from interactivepet.core.dataset import CaseEntry
from interactivepet.core.plan import Plan
from interactivepet.core.preprocessed import CaseRecord
from interactivepet.dataset.files.arrays import write_channels
from interactivepet.dataset.files.read import read_case
from interactivepet.dataset.files.write import read_present, write_artefact
from interactivepet.dataset.manifest import read_manifest
from interactivepet.pipeline.executor import map_cases
from interactivepet.pipeline.lock import PATIENCE_S, lock_folder
from interactivepet.pipeline.stamps import FileStamps, open_stamps
from interactivepet.pipeline.workspace import Workspace
from interactivepet.training.promptable.cases import make_prompt_case, make_record

__all__ = ["COMMAND", "run_prompt_cases"]

COMMAND = "interactivepet_train_nninteractive"

FORMAT = "prompt cases 1"
"""Raised when what is stored changes, so that it is written again."""


def run_prompt_cases(workspace: Workspace, executor: Executor, *, plan: Plan) -> dict[str, CaseRecord]:
    """Prepare every training case that is not up to date, in the plan's order of axes; give the records of all.

    Raises:
        TrainingError: another process has been at it for too long.
    """
    entries = read_manifest(workspace.raw).training
    # several folds may be started at once, and all of them need the cases
    with lock_folder(workspace.prompt_cases, timeout_s=PATIENCE_S):
        with open_stamps(workspace) as stamps:
            jobs = [(entry, _stamp(workspace, entry, stamps)) for entry in entries]
        records = map_cases(
            executor,
            partial(_prepare, workspace=workspace, plan=plan),
            items=jobs,
            names=[entry.id for entry in entries],
            description="cases",
        )
    return {record.id: record for record in records}


def _stamp(workspace: Workspace, entry: CaseEntry, stamps: FileStamps) -> str:
    names = (entry.images[0], *([entry.label] if entry.label else []))
    return stamps.stamp([workspace.raw / name for name in names], salt=FORMAT)


def _prepare(job: tuple[CaseEntry, str], *, workspace: Workspace, plan: Plan) -> CaseRecord:
    """Write one case, its record last, unless it is there already."""
    entry, stamp = job
    path = workspace.prompt_cases / f"{entry.id}.json"
    volume = path.with_suffix(".b2nd")
    present = read_present(path, CaseRecord, made_from=stamp)
    if present is not None and volume.is_file() and present.trace.axes == plan.find_axes(present.trace.original):
        return present
    case = read_case(workspace.raw, entry)
    axes = plan.find_axes(case.geometry)
    ready = make_prompt_case(case.permuted(axes), rng=np.random.default_rng(0))
    # an old record must not speak of the new voxels
    path.unlink(missing_ok=True)
    sha256 = write_channels(volume, (ready.image, ready.objects[None]))
    record = make_record(case, ready, axes=axes, made_from=stamp, volume_sha256=sha256)
    write_artefact(path, record)
    return record
