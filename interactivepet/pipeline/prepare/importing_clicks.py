"""Other people's click files -> a task's own `CASE.mrk.json` in mm, so that no later step asks for their frame."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from interactivepet.core.interaction import Click
from interactivepet.dataset.click_files import find_clicks_file, match_click_files
from interactivepet.dataset.click_tables import PointFrame
from interactivepet.dataset.files.read import read_geometry
from interactivepet.dataset.folders.tree import list_tree
from interactivepet.dataset.interactions import read_clicks, write_clicks
from interactivepet.dataset.manifest import read_manifest
from interactivepet.errors import InteractionError
from interactivepet.pipeline.executor import map_cases
from interactivepet.pipeline.workspace import Workspace

__all__ = ["ImportedClicks", "run_click_import"]

_SHOWN = 3
"""Names that an error message gives as examples."""


@dataclass(frozen=True, slots=True)
class ImportedClicks:
    """What was imported.

    Attributes:
        training: files written to `interactionsTr`.
        test: files written to `interactionsTs`.
        passed_over: files that are not used, relative to the folder -> why.
    """

    training: tuple[Path, ...] = ()
    test: tuple[Path, ...] = ()
    passed_over: Mapping[str, str] = field(default_factory=dict)


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

    A file belongs to the case that it is named after: `CASE.json`, `CASE_clicks.fcsv`, `CASE_lesion-clicks.csv`,
    `CASE_0000.nii.gz`.

    Args:
        workspace: with a `dataset.json`.
        executor: reads the files.
        folder: with files of any form that `read_clicks` knows, in any sub-folder.
        frame: what numbers are in files that do not say it; indices are those of the task's images.
        overwrite: replace clicks that cases have already.

    Raises:
        ManifestError: the folder cannot be read.
        InteractionError: no file or several belong to a case, it has clicks already, a click lies outside, or no file
            holds a point.
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
    empty = [job for job, placed in zip(jobs, clicks, strict=True) if not placed]
    if len(empty) == len(jobs):
        raise InteractionError(f"{empty[0].source}: no point, as in all {len(jobs)} files; export the points again")
    passed_over |= {job.source.relative_to(folder).as_posix(): "holds no point" for job in empty}
    for job, placed in zip(jobs, clicks, strict=True):
        if placed:
            write_clicks(job.target, placed)
    jobs = [job for job in jobs if job not in empty]
    test = workspace.clicks_folder(test=True)
    return ImportedClicks(
        training=tuple(job.target for job in jobs if job.target.parent != test),
        test=tuple(job.target for job in jobs if job.target.parent == test),
        passed_over=passed_over,
    )


def _find_files(folder: Path, cases: Collection[str]) -> tuple[dict[str, Path], dict[str, str]]:
    """Give case -> its file, and file -> why it is no case's."""
    files = match_click_files(list_tree(folder), cases)
    for case, paths in files.by_case.items():
        if len(paths) > 1:
            raise InteractionError(f"{paths[0]} and {paths[1]} are both clicks of {case}, expected one; remove either")
    found, unused = files.take_first()
    passed_over = {path.relative_to(folder).as_posix(): reason for path, reason in unused.items()}
    if not found:
        there = f"{', '.join(list(passed_over)[:_SHOWN])} ..." if passed_over else "no file at all"
        raise InteractionError(
            f"{folder}: no click file of a case, expected CASE.json, CASE_clicks.csv, CASE.fcsv or CASE.mrk.json for a "
            f"case such as {', '.join(list(cases)[:_SHOWN])}, found {there}; rename the files after the cases"
        )
    return found, passed_over


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
