"""Every problem of a task before anything runs on it: `Issue`s with what was found and how to mend it.

| kind | what is wrong |
|---|---|
| `missing-file`, `orphan`, `duplicate` | files and identifiers that do not fit together |
| `unreadable` | a damaged file or one of an unknown format |
| `channels`, `grid`, `shear` | number of channels; grids that differ; axes that are not at right angles |
| `nan`, `constant` | NaN or infinite voxels; a channel without any contrast |
| `swapped`, `negative-suv` | PET and CT exchanged or in other units; uptake below 0 |
| `patient` | a patient with both training and test cases |
| `spacing` | PET or SPECT whose voxels all have 1 mm |
| `axes` | a case whose voxel axes are stored in another order than those of most |
| `intensity` | PET or CT in another unit than the other cases |
| `transform` | a NIfTI header whose sform and qform differ by half a voxel or more |
| `label-value`, `label-noninteger`, `label-empty` | undeclared values, fractions, or nothing in a mask |
| `click-outside-image`, `click-outside-mask` | a click outside the image, or on the wrong side of a margin |

`axes`, `intensity`, `label-empty` of one case, `patient`, `spacing`, `transform`, a second click file of a case,
`swapped` when only a CT without air speaks for it, and a lack of training cases where there are test cases, are notes:
they do not stop the pipeline.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import reduce
from pathlib import Path

import numpy as np

from interactivepet.core.axes import find_axis_order
from interactivepet.core.dataset import CaseEntry, DatasetManifest, Issue, Severity
from interactivepet.core.geometry import Geometry
from interactivepet.core.intensities import FACTOR_LIMIT, IntensityRange
from interactivepet.dataset.checks import Findings, check_clicks, check_image_files, check_label, is_pet
from interactivepet.dataset.click_files import CLICK_FILE_ENDINGS, find_clicks_file, list_visible
from interactivepet.dataset.files.read import read_geometry
from interactivepet.dataset.layout import (
    CLICKS_TEST,
    CLICKS_TRAINING,
    IMAGES_TEST,
    IMAGES_TRAINING,
    LABELS_TEST,
    LABELS_TRAINING,
    find_files,
)
from interactivepet.errors import CaseError

__all__ = [
    "WHOLE_TASK",
    "examine_case",
    "find_empty_task",
    "find_foreign_units",
    "find_issues",
    "find_task_issues",
]

WHOLE_TASK = "-"
"""Case of an issue that concerns the task as a whole."""

FEWEST_OTHERS = 3
"""Cases whose range tells whether another one without any shared value is unusual."""


def find_issues(
    task_dir: Path, entry: CaseEntry, *, manifest: DatasetManifest, clicks_path: Path | None = None
) -> tuple[Issue, ...]:
    """Find every problem of one case. Bad data never raises: it is what this function looks for.

    Args:
        task_dir: the folder that the entry's files are relative to.
        entry: a training or test case; only a training case must have a mask.
        manifest: declares channels and labels.
        clicks_path: the case's clicks; None when it has none.

    Returns:
        The problems, in the order image, mask, clicks; empty when the case is sound.
    """
    return tuple(examine_case(task_dir, entry, manifest=manifest, clicks_path=clicks_path).issues)


def examine_case(
    task_dir: Path, entry: CaseEntry, *, manifest: DatasetManifest, clicks_path: Path | None = None
) -> Findings:
    """Find every problem of one case, as `find_issues` does, and measure its intensities."""
    findings = Findings(entry.id)
    geometry = check_image_files(findings, entry, task_dir=task_dir, channels=manifest.channels)
    mask = check_label(findings, entry, task_dir=task_dir, manifest=manifest, geometry=geometry)
    if clicks_path is not None and geometry is not None:
        check_clicks(findings, clicks_path, manifest=manifest, geometry=geometry, mask=mask)
    return findings


def find_foreign_units(cases: Sequence[Findings]) -> tuple[Issue, ...]:
    """Find cases whose PET or CT is in another unit than that of most; other channels have no common unit.

    Sorted by their strongest voxels, neighbours that differ by more than `FACTOR_LIMIT` belong to different units, and
    those of the largest group are the usual ones. Among these, a case with no value in the range of all others is told
    as well, such as a CT without its rescale intercept.
    """
    names = dict.fromkeys(name for case in cases for name in case.intensities)
    found: list[Issue] = []
    for name in names:
        if is_pet(name) or name.strip().lower() == "ct":
            found += _compare_units(
                name, {case.case: case.intensities[name] for case in cases if name in case.intensities}
            )
    return tuple(found)


def _compare_units(channel: str, ranges: Mapping[str, IntensityRange]) -> list[Issue]:
    groups: list[list[str]] = []
    for case in sorted(ranges, key=lambda case: ranges[case].strongest):
        if groups and ranges[case].strongest <= FACTOR_LIMIT * ranges[groups[-1][-1]].strongest:
            groups[-1].append(case)
        else:
            groups.append([case])
    usual = max(groups, key=len)
    issues = []
    for case in ranges:
        others = [ranges[name] for name in usual if name != case]
        if not others or (case in usual and len(others) < FEWEST_OTHERS):
            continue
        joined = reduce(IntensityRange.joined, others)
        if case not in usual or ranges[case].is_outside(joined):
            findings = Findings(case)
            findings.add(
                "intensity",
                f"{channel} from {ranges[case]}",
                expected=f"{joined}, as in {len(others)} other cases",
                remedy="convert it to the unit of the others; if it is in the same, nothing needs to be done",
                severity="note",
            )
            issues += findings.issues
    return issues


def find_task_issues(task_dir: Path, manifest: DatasetManifest) -> tuple[Issue, ...]:
    """Find the problems of the task's folder as a whole; a file that a case lacks is found by `find_issues`.

    Returns:
        Files that no case names, files and identifiers that occur twice, a task without training cases, and cases
        whose axes run otherwise than those of most.
    """
    findings = Findings(WHOLE_TASK)
    entries = (*manifest.training, *manifest.test)
    if not manifest.training:
        remedy = "fill imagesTr and labelsTr and generate dataset.json again"
        expected = "at least one, or another task's model for the test cases" if manifest.test else "at least one"
        severity: Severity = "note" if manifest.test else "error"
        findings.add("missing-file", "no training cases", expected=expected, remedy=remedy, severity=severity)
    for case, count in Counter(entry.id for entry in entries).items():
        if count > 1:
            found, remedy = f"{count} cases named {case}", "rename the files of all but one"
            findings.add("duplicate", found, expected="a name a case", remedy=remedy)
    _check_patients(findings, manifest)
    names = Counter(name for entry in entries for name in entry.files)
    for name, count in names.items():
        if count > 1:
            remedy = "generate dataset.json again"
            findings.add("duplicate", f"{name} is listed {count} times", expected="once", remedy=remedy)
    for folder in (IMAGES_TRAINING, LABELS_TRAINING, IMAGES_TEST, LABELS_TEST):
        _check_folder(findings, folder, task_dir=task_dir, listed=set(names))
    for folder, cases in ((CLICKS_TRAINING, manifest.training), (CLICKS_TEST, manifest.test)):
        _check_clicks(findings, folder, task_dir=task_dir, cases={entry.id for entry in cases})
    grids = _read_grids(task_dir, entries)
    _check_spacing(findings, grids, channels=manifest.channels)
    return (*findings.issues, *_find_turned_cases(grids))


def find_empty_task(manifest: DatasetManifest, issues: Sequence[Issue]) -> tuple[Issue, ...]:
    """Find a task whose training masks are all empty: one is a patient without lesion, all are masks read wrongly.

    Args:
        manifest: of the task.
        issues: what `find_issues` found in its cases.
    """
    empty = {issue.case for issue in issues if issue.kind == "label-empty"}
    cases = {entry.id for entry in manifest.training}
    if not cases or not cases <= empty:
        return ()
    findings = Findings(WHOLE_TASK)
    findings.add(
        "label-empty",
        f"no labelled voxel in any of the {len(cases)} training masks",
        expected="a label in one at least",
        remedy="check how the masks store the label, and import or export them again",
    )
    return tuple(findings.issues)


def _check_patients(findings: Findings, manifest: DatasetManifest) -> None:
    known = {entry.patient for entry in manifest.training if entry.patient is not None}
    both = sorted({entry.patient for entry in manifest.test if entry.patient in known and entry.patient is not None})
    if both:
        findings.add(
            "patient",
            f"{len(both)} patients, such as {both[0]}, have training and test cases",
            expected="test cases of patients that training never sees",
            remedy="move all cases of these patients to one side, or take the test scores for what they are",
            severity="note",
        )


def _read_grids(task_dir: Path, entries: Sequence[CaseEntry]) -> dict[str, Geometry]:
    """Read the grid of each case's first image; what cannot be read is reported by `find_issues`."""
    grids: dict[str, Geometry] = {}
    for entry in entries:
        with suppress(CaseError):
            grids[entry.id] = read_geometry(task_dir / entry.images[0])
    return grids


def _check_spacing(findings: Findings, grids: Mapping[str, Geometry], *, channels: Sequence[str]) -> None:
    """Note emission volumes of 1 mm in all directions: their headers have most likely never known the real spacing."""
    is_emission = is_pet(channels[0]) or channels[0].strip().lower().startswith("spect")
    volumes = [grid for grid in grids.values() if 1 not in grid.shape]
    if is_emission and volumes and all(np.allclose(grid.spacing_mm, 1.0, atol=1e-4) for grid in volumes):
        findings.add(
            "spacing",
            f"all {len(volumes)} volumes have voxels of 1 x 1 x 1 mm",
            expected="2 to 7 mm, as scanners have them",
            remedy="import with --spacing-mm I J K, or write the real spacing into the files: plans, clicks and "
            "distances are in mm; if it is real, continue",
            severity="note",
        )


def _find_turned_cases(grids: Mapping[str, Geometry]) -> tuple[Issue, ...]:
    """Find cases whose voxel axes follow other directions of the body than those of most cases.

    They are brought to the order of most before networks see them; the note is for an affine that is wrong.
    """
    orders = {case: find_axis_order(grid.affine) for case, grid in grids.items()}
    if not orders:
        return ()
    usual, count = Counter(orders.values()).most_common(1)[0]
    issues: list[Issue] = []
    for case, order in orders.items():
        if order != usual:
            findings = Findings(case)
            remedy = "none, if the affine is right: the axes are brought to the usual order before training"
            expected = f"along {', '.join(usual)}, as in {count} of {len(orders)} cases"
            found = f"voxel axes along {', '.join(order)}"
            findings.add("axes", found, expected=expected, remedy=remedy, severity="note")
            issues.extend(findings.issues)
    return tuple(issues)


def _check_clicks(findings: Findings, folder: str, *, task_dir: Path, cases: set[str]) -> None:
    """Find click files that would be passed over: no case has their name, or the case has another one."""
    for path in list_visible(task_dir / folder):
        ending = next((e for e in CLICK_FILE_ENDINGS if path.name.endswith(e)), "")
        case = path.name.removesuffix(ending)
        if case not in cases:
            expected, remedy = f"CASE{CLICK_FILE_ENDINGS[0]} for a case of dataset.json", "rename or remove it"
            findings.add("orphan", f"{folder}/{path.name}", expected=expected, remedy=remedy)
        elif (first := find_clicks_file(task_dir / folder, case)) not in (None, path):
            found = f"{folder}/{path.name} is not used, as {first.name if first else ''} comes first"
            findings.add(
                "duplicate", found, expected="one click file per case", remedy="remove either", severity="note"
            )


def _check_folder(findings: Findings, folder: str, *, task_dir: Path, listed: set[str]) -> None:
    files = find_files(task_dir, folder)
    stems = Counter(file.stem for file in files)
    for stem, count in stems.items():
        if count > 1:
            found = ", ".join(file.path for file in files if file.stem == stem)
            findings.add("duplicate", found, expected="one ending a file", remedy="remove all but one")
    for file in files:
        if file.path not in listed and stems[file.stem] == 1:
            remedy = "remove it, give it a partner, or generate dataset.json again"
            findings.add("orphan", file.path, expected="a file that dataset.json lists", remedy=remedy)
