"""Other people's click files -> a task's own `CASE.mrk.json` in mm, so that no later step asks for their frame."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from interactivepet.core.interaction import Click
from interactivepet.dataset.folders.tree import list_tree
from interactivepet.dataset.interactions import (
    CLICK_FILE_ENDINGS,
    PointFrame,
    find_clicks_file,
    read_clicks,
    write_clicks,
)
from interactivepet.dataset.manifest import read_manifest
from interactivepet.dataset.read import read_geometry
from interactivepet.errors import InteractionError
from interactivepet.pipeline.executor import map_cases
from interactivepet.pipeline.workspace import Workspace

__all__ = ["ImportedClicks", "run_click_import"]

_SUFFIX = re.compile(r"([_-]lesion)?[_-](clicks?|points?|interactions?|markups?)", re.IGNORECASE)
"""What may follow the case in a file's name; anything else may be another case."""
_SHOWN = 3
"""Names that an error message gives as examples."""


@dataclass(frozen=True, slots=True)
class ImportedClicks:
    """What was imported.

    Attributes:
        training: files written to `interactionsTr`.
        test: files written to `interactionsTs`.
        passed_over: click files that belong to no case, relative to the folder.
    """

    training: tuple[Path, ...] = ()
    test: tuple[Path, ...] = ()
    passed_over: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class _Job:
    case: str
    source: Path
    image: Path
    target: Path


def run_click_import(
    workspace: Workspace,
    executor: Executor,
    *,
    folder: Path,
    frame: PointFrame = "lps",
    overwrite: bool = False,
) -> ImportedClicks:
    """Convert the click files of a folder for the task's cases; write all of them, or none.

    A file belongs to the case that it is named after: `CASE.json`, `CASE_clicks.json`, `CASE_lesion-clicks.json`.

    Args:
        workspace: with a `dataset.json`.
        executor: reads the files.
        folder: with files of any form that `read_clicks` knows, in any sub-folder.
        frame: what numbers are in files that do not say it; indices are those of the task's images.
        overwrite: replace clicks that cases have already.

    Raises:
        ManifestError: the folder cannot be read.
        InteractionError: no file or several belong to a case, it has clicks already, or a click lies outside.
    """
    manifest = read_manifest(workspace.raw)
    found, passed_over = _find_files(folder, [entry.id for entry in (*manifest.training, *manifest.test)])
    jobs = [
        _Job(entry.id, found[entry.id], workspace.raw / entry.images[0], target / f"{entry.id}.mrk.json")
        for entries, target in (
            (manifest.training, workspace.clicks_folder(test=False)),
            (manifest.test, workspace.clicks_folder(test=True)),
        )
        for entry in entries
        if entry.id in found
    ]
    if not overwrite:
        _refuse_present(jobs)
    clicks = map_cases(
        executor,
        partial(_read, frame=frame, labels=manifest.labels),
        items=jobs,
        names=[job.case for job in jobs],
        description="clicks",
    )
    for job, placed in zip(jobs, clicks, strict=True):
        write_clicks(job.target, placed)
    test = workspace.clicks_folder(test=True)
    return ImportedClicks(
        training=tuple(job.target for job in jobs if job.target.parent != test),
        test=tuple(job.target for job in jobs if job.target.parent == test),
        passed_over=passed_over,
    )


def _find_files(folder: Path, cases: Collection[str]) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Give case -> its file, and the files of no case."""
    found: dict[str, Path] = {}
    passed_over: list[str] = []
    for path in list_tree(folder):
        ending = next((ending for ending in CLICK_FILE_ENDINGS if path.name.endswith(ending)), None)
        if ending is None:
            continue
        stem = path.name.removesuffix(ending)
        case = next((case for case in cases if stem == case or _is_named_after(stem, case)), None)
        if case is None:
            passed_over.append(path.relative_to(folder).as_posix())
        elif case in found:
            raise InteractionError(f"{found[case]} and {path} are both clicks of {case}, expected one; remove either")
        else:
            found[case] = path
    if not found:
        there = f"{', '.join(passed_over[:_SHOWN])} ..." if passed_over else "none"
        raise InteractionError(
            f"{folder}: no click file of a case, expected CASE.json, CASE_clicks.json or CASE.mrk.json for a case such "
            f"as {', '.join(list(cases)[:_SHOWN])}, found {there}; rename the files after the cases"
        )
    return found, tuple(passed_over)


def _is_named_after(stem: str, case: str) -> bool:
    return stem.startswith(case) and _SUFFIX.fullmatch(stem, len(case)) is not None


def _refuse_present(jobs: Sequence[_Job]) -> None:
    present = [
        path for job in jobs if (path := find_clicks_file(job.target.parent, job.case)) not in (None, job.source)
    ]
    if present:
        raise InteractionError(
            f"{len(present)} of {len(jobs)} cases have clicks already, such as {present[0]}; replace them with "
            "--overwrite"
        )


def _read(job: _Job, *, frame: PointFrame, labels: Mapping[str, int]) -> tuple[Click, ...]:
    """Read one case's clicks and check that they lie in its image."""
    geometry = read_geometry(job.image)
    clicks = read_clicks(job.source, geometry=geometry, point_frame=frame, labels=labels)
    outside = [click for click in clicks if not geometry.contains(click.position_mm)]
    if outside:
        place = ", ".join(f"{value:.1f}" for value in outside[0].position_mm)
        raise InteractionError(
            f"{job.source}: {len(outside)} of {len(clicks)} clicks lie outside of the image when its numbers are taken "
            f"as {frame}, such as one at ({place}) mm RAS; say with --frame what they are: lps, ras or voxel"
        )
    return clicks
