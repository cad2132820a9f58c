"""One case's files, looked at one after the other: each check adds what it finds and never raises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from interactivepet.core.case import Case
from interactivepet.core.dataset import CaseEntry, DatasetManifest, Issue, Severity
from interactivepet.core.geometry import GRID_TOLERANCE_MM, ORTHOGONALITY_TOLERANCE, Geometry
from interactivepet.core.intensities import IntensityRange, measure_range
from interactivepet.core.interaction import Click
from interactivepet.dataset.files.read import read_volume, to_float32
from interactivepet.dataset.files.volume import Volume, describe_mismatch, round_labels
from interactivepet.dataset.interactions import read_clicks
from interactivepet.dataset.lattice import find_placement
from interactivepet.errors import CaseError, DatasetError

__all__ = [
    "AIR_HU",
    "NEGATIVE_SHARE",
    "Findings",
    "Mask",
    "check_clicks",
    "check_image",
    "check_image_files",
    "check_label",
    "is_pet",
]

AIR_HU = -500.0
"""No PET reaches as low, and a CT with any air in it does."""
NEGATIVE_SHARE = 0.05
"""Uptake is never negative: a minimum below minus this share of the maximum is no noise of the reconstruction."""
_PET_NAMES = ("pet", "suv", "fdg", "psma")
_IMAGE = "the image"


@dataclass(slots=True)
class Findings:
    """Collects the issues of one case, or of the task as a whole.

    Attributes:
        case: the case's identifier, or `-`.
        issues: what was found so far; `add` extends it.
        intensities: channel name -> range of the case's voxels, of sound channels.
    """

    case: str
    issues: list[Issue] = field(default_factory=list)
    intensities: dict[str, IntensityRange] = field(default_factory=dict)

    def add(self, kind: str, found: str, *, expected: str, remedy: str, severity: Severity = "error") -> None:
        """Add one issue."""
        issue = Issue(case=self.case, kind=kind, found=found, expected=expected, remedy=remedy, severity=severity)
        self.issues.append(issue)


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """A mask to look clicks up in.

    Attributes:
        values: (I, J, K) label values.
        geometry: their own grid, which may differ from the image's.
    """

    values: npt.NDArray[Any]
    geometry: Geometry

    def holds(self, click: Click) -> bool:
        """Whether the voxel that a click falls into has the click's label."""
        if not self.geometry.contains(click.position_mm):
            return False
        i, j, k = np.floor(self.geometry.to_voxel(click.position_mm) + 0.5).astype(int)
        return bool(self.values[i, j, k] == click.label)


def is_pet(channel: str) -> bool:
    """Whether a channel's name says that it holds uptake of a PET tracer."""
    return channel.strip().lower().startswith(_PET_NAMES)


def check_image(case: Case, channels: Sequence[str]) -> tuple[Issue, ...]:
    """Check the image of one case in memory as `check_image_files` checks files: before it is predicted.

    Args:
        case: image (C, I, J, K) in the units of its files.
        channels: names in channel order, which tell PET and CT.

    Returns:
        The kinds `channels`, `shear`, `nan`, `constant`, `swapped` and `negative-suv`; empty when the image is sound.
    """
    findings = Findings(case.id)
    names = tuple(channels)
    _check_channels(findings, _IMAGE, n_found=len(case.image), n_expected=len(names))
    _check_shear(findings, _IMAGE, geometry=case.geometry)
    ranges = _check_intensities(findings, _IMAGE, values=case.image, names=names)
    _check_units(findings, ranges if len(case.image) == len(names) else {})
    return tuple(findings.issues)


def check_image_files(
    findings: Findings, entry: CaseEntry, *, task_dir: Path, channels: tuple[str, ...]
) -> Geometry | None:
    """Check files, grids and intensities of every channel; give the first grid that can be read."""
    is_split = len(entry.images) > 1
    if is_split and len(entry.images) != len(channels):
        expected = f"{len(channels)} or a single one"
        remedy = "generate dataset.json again"
        findings.add("channels", f"{len(entry.images)} files", expected=expected, remedy=remedy)
    reference: tuple[str, Geometry] | None = None
    ranges: dict[str, tuple[float, float]] = {}
    for number, file in enumerate(entry.images):
        volume = _read(findings, file, task_dir=task_dir)
        if volume is None:
            continue
        names = channels[number : number + 1] if is_split else channels
        _check_channels(findings, file, n_found=len(volume.values), n_expected=len(names) or 1)
        _check_shear(findings, file, geometry=volume.geometry)
        found = _check_intensities(findings, file, values=volume.values, names=names)
        ranges |= found if len(volume.values) == len(names) else {}
        here = (names[0] if names else file, volume.geometry)
        reference = reference or here
        _check_grid(findings, here, reference=reference, remedy="resample the channels to one grid")
    _check_units(findings, ranges)
    return reference[1] if reference else None


def check_label(
    findings: Findings,
    entry: CaseEntry,
    *,
    task_dir: Path,
    manifest: DatasetManifest,
    geometry: Geometry | None,
) -> Mask | None:
    """Check file, grid and values of the mask; give it when there is one to look clicks up in."""
    if entry.label is None:
        if entry in manifest.training:
            remedy = "generate dataset.json again, or make it a test case"
            findings.add("missing-file", "no mask listed", expected="one a training case", remedy=remedy)
        return None
    volume = _read(findings, entry.label, task_dir=task_dir)
    if volume is None:
        return None
    _check_shear(findings, entry.label, geometry=volume.geometry)
    if geometry is not None:
        remedy = "resample the label or export both from one series"
        if find_placement(volume.geometry, geometry) is not None:
            remedy = "its voxels are those of the image, turned or cropped: interactivepet_import folder places them"
        reference = (manifest.channels[0], geometry)
        _check_grid(findings, ("label", volume.geometry), reference=reference, remedy=remedy)
    _check_channels(findings, entry.label, n_found=len(volume.values), n_expected=1)
    if len(volume.values) != 1:
        return None
    return Mask(_check_values(findings, entry.label, volume=volume, declared=manifest.labels), volume.geometry)


def check_clicks(
    findings: Findings, path: Path, *, manifest: DatasetManifest, geometry: Geometry, mask: Mask | None
) -> None:
    """Check that clicks can be read and lie in the image, and on the right side of their label's margin."""
    if not path.is_file():
        remedy = "run interactivepet_mimic_interactions, or place them"
        findings.add("missing-file", f"{path} is not there", expected="the case's clicks", remedy=remedy)
        return
    try:
        clicks = read_clicks(path, geometry=geometry, labels=manifest.labels)
    except DatasetError as error:
        findings.add("unreadable", str(error), expected="a file with clicks", remedy="place the clicks again")
        return
    for number, click in enumerate(clicks, start=1):
        name = f"click {number} of {path.name} at ({', '.join(f'{v:.1f}' for v in click.position_mm)}) mm RAS"
        if not geometry.contains(click.position_mm):
            remedy = "move the click, or say what its numbers are: interactivepet_import clicks FOLDER --frame NAME"
            findings.add("click-outside-image", name, expected="inside the image", remedy=remedy)
        elif mask is not None and mask.holds(click) != click.is_positive:
            sign, side = ("positive", "inside") if click.is_positive else ("negative", "outside")
            found = f"{sign} {name} for label {click.label}"
            remedy = "move the click or correct the mask"
            findings.add("click-outside-mask", found, expected=f"{side} the label", remedy=remedy)


def _read(findings: Findings, file: str, *, task_dir: Path) -> Volume | None:
    path = task_dir / file
    expected = "a file that can be read"
    if not path.is_file():
        remedy = "restore it or remove the case"
        findings.add("missing-file", f"{file} is not there", expected=expected, remedy=remedy)
        return None
    try:
        volume = read_volume(path)
    except CaseError as error:
        findings.add("unreadable", str(error), expected=expected, remedy="copy or export it again")
        return None
    if volume.remark:
        remedy = "check in a viewer that image and mask lie on one another; if so, continue"
        found = f"{file}: {volume.remark}"
        findings.add("transform", found, expected="one place in both", remedy=remedy, severity="note")
    return volume


def _check_channels(findings: Findings, file: str, *, n_found: int, n_expected: int) -> None:
    if n_found != n_expected:
        remedy = (
            "split or merge the file, or declare its channels; of a dynamic image, take one frame with "
            "--time-frame, of interactivepet_import folder or interactivepet_predict"
        )
        findings.add("channels", f"{n_found} in {file}", expected=str(n_expected), remedy=remedy)


def _check_shear(findings: Findings, file: str, *, geometry: Geometry) -> None:
    if not geometry.is_orthogonal:
        found = f"the voxel axes of {file} are not at right angles"
        expected = f"cosines within ORTHOGONALITY_TOLERANCE = {ORTHOGONALITY_TOLERANCE:g}"
        findings.add("shear", found, expected=expected, remedy="resample it to an orthogonal grid")


def _check_grid(
    findings: Findings, here: tuple[str, Geometry], *, reference: tuple[str, Geometry], remedy: str
) -> None:
    (name, geometry), (other_name, other) = here, reference
    if not geometry.matches(other):
        found = describe_mismatch(name, geometry, other_name=other_name, other=other)
        expected = f"one grid within GRID_TOLERANCE_MM = {GRID_TOLERANCE_MM:g} mm"
        findings.add("grid", found, expected=expected, remedy=remedy)


def _check_intensities(
    findings: Findings, file: str, *, values: npt.NDArray[Any], names: tuple[str, ...]
) -> dict[str, tuple[float, float]]:
    """Check every channel of a file; give name -> smallest and largest value of those that are sound."""
    ranges: dict[str, tuple[float, float]] = {}
    for number, channel in enumerate(to_float32(values)):
        name = f"{names[number] if number < len(names) else f'channel {number}'} of {file}"
        n_nan, n_infinite = int(np.isnan(channel).sum()), int(np.isinf(channel).sum())
        if n_nan or n_infinite:
            found = f"{n_nan} NaN and {n_infinite} infinite voxels in {name}"
            remedy = "export the image again, or replace them"
            findings.add("nan", found, expected="finite numbers", remedy=remedy)
        elif channel.min() == channel.max():
            found = f"every voxel of {name} is {float(channel.flat[0]):g}"
            remedy = "export the image again or remove the case"
            findings.add("constant", found, expected="an image with contrast", remedy=remedy)
        elif number < len(names):
            ranges[names[number]] = (float(channel.min()), float(channel.max()))
            measured = measure_range(channel)
            if measured is not None:
                findings.intensities[names[number]] = measured
    return ranges


def _check_units(findings: Findings, ranges: dict[str, tuple[float, float]]) -> None:
    """Check that PET can be uptake and CT can be HU; of exchanged channels only the exchange is reported."""
    low_pet = {name: low for name, (low, _) in ranges.items() if is_pet(name) and low < AIR_HU}
    high_ct = {name: low for name, (low, _) in ranges.items() if name.strip().lower() == "ct" and low >= AIR_HU}
    if low_pet or high_ct:
        found = ", ".join(f"{name} from {low:g}" for name, low in (low_pet | high_ct).items())
        expected = f"PET above {AIR_HU:g}, CT in HU with air below it"
        remedy = "exchange the channels or their names" if low_pet else "exchange the channels, or convert CT to HU"
        severity: Severity = "error" if low_pet else "note"
        findings.add("swapped", found, expected=expected, remedy=remedy, severity=severity)
    for name, (low, high) in ranges.items():
        if is_pet(name) and name not in low_pet and low < -NEGATIVE_SHARE * abs(high):
            remedy = "export it again; bytes may have been read with a sign, or the rescale left out"
            found = f"{name} from {low:g} to {high:g}"
            findings.add("negative-suv", found, expected="uptake of 0 or more", remedy=remedy)


def _check_values(findings: Findings, file: str, *, volume: Volume, declared: dict[str, int]) -> npt.NDArray[Any]:
    rounded, wrong = round_labels(volume)
    if wrong.any():
        example = float(volume.values[0][wrong][0])
        found = f"{int(wrong.sum())} voxels of {file} hold no integer, such as {example:.4g}"
        remedy = "resample masks with nearest neighbour, or threshold them"
        findings.add("label-noninteger", found, expected="integers", remedy=remedy)
    values, counts = np.unique(rounded[~wrong], return_counts=True)
    known = (0, *declared.values())
    strange = [f"{v:g} ({n} voxels)" for v, n in zip(values, counts, strict=True) if v not in known]
    if strange:
        expected = "0 or " + ", ".join(f"{value} ({name})" for name, value in declared.items())
        remedy = "declare the label with -l, or correct the mask"
        if len(declared) == 1 and len(strange) == 1:
            remedy += "; interactivepet_import folder takes 0 and one other value as background and label"
        findings.add("label-value", f"{', '.join(strange)} in {file}", expected=expected, remedy=remedy)
    if not rounded.any():
        remedy = "draw it if there is a lesion"
        expected = "one, or no lesion"
        findings.add("label-empty", "no labelled voxel", expected=expected, remedy=remedy, severity="note")
    return rounded
