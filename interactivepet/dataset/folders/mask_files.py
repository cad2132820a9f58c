"""The masks of one case, in one file or several, 3D or 4D -> one label volume on the grid of an image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import Geometry
from interactivepet.dataset.files.read import LARGEST_LABEL, read_volume, refuse_shear, to_labels
from interactivepet.dataset.files.volume import Volume, describe_mismatch
from interactivepet.dataset.folders.segments import Segment, match_segments, read_segments
from interactivepet.dataset.lattice import Placement, find_placement
from interactivepet.errors import CaseError

__all__ = ["MaskFile", "ReadMask", "read_masks"]


_ROUNDING = 0.05
"""A mask of 1 that was saved as scaled bytes comes back as 1.004; that needs no remark."""


@dataclass(frozen=True, slots=True)
class MaskFile:
    """One file of a case's masks.

    Attributes:
        path: the file.
        value: the label that every voxel but 0 belongs to; None when the voxels hold the labels' values, or when
            the file has one volume per label, or names its segments.
    """

    path: Path
    value: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ReadMask:
    """A case's label.

    Attributes:
        label: (I, J, K) uint8 on the grid of an image, 0 is background.
        grid: which of the grids that were offered.
        remarks: what was placed, renumbered or left out, and that nothing is labelled.
    """

    label: npt.NDArray[np.uint8]
    grid: int
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Label values (I, J, K) of one file, volume or layer of segments."""

    name: str
    label: npt.NDArray[np.uint8]
    geometry: Geometry


def read_masks(files: Sequence[MaskFile], *, labels: Sequence[str], grids: Sequence[Geometry]) -> ReadMask:
    """Read a case's masks as one label volume.

    A mask must lie on the voxels of one of the grids. It may be flipped or cropped, reach beyond the image, or have
    its axes in another order: it is then placed voxel by voxel.

    Args:
        files: one file with every label, or one per label.
        labels: names of the values 1 ... L.
        grids: of the case's images; the first on which all masks fit is taken.

    Raises:
        CaseError: a file cannot be used, a value has no name, two labels claim one voxel, no grid fits, or the only
            label and the background seem to be exchanged.
    """
    remarks: list[str] = []
    parts = [part for file in files for part in _read_parts(file, labels=labels, remarks=remarks)]
    grid, placements = _choose_grid(parts, grids)
    for words in dict.fromkeys(placement.describe() for placement in placements):
        if words:
            remarks.append(f"the mask was placed on the voxels of the image without loss: {words}")
    label = _merge(parts, placements, labels=labels)
    if len(labels) == 1 and _is_inverted(label):
        percent = 100 * np.count_nonzero(label) / label.size
        raise CaseError(
            f"{files[0].path}: the mask labels {percent:.0f} % of the voxels and all of the border, so "
            "label and background seem to be exchanged; save it with 0 as background"
        )
    if not label.any():
        remarks.append("the mask holds no labelled voxel")
    return ReadMask(label, grid, tuple(dict.fromkeys(remarks)))


def _is_inverted(label: npt.NDArray[np.uint8]) -> bool:
    """Whether a mask (I, J, K) of one label fills its border and more than half of the voxels."""
    axes = [axis for axis, n in enumerate(label.shape) if n > 1]
    is_most = 2 * int(np.count_nonzero(label)) > label.size
    return is_most and all(bool(label.take([0, -1], axis).all()) for axis in axes)


def _choose_grid(parts: Sequence[_Part], grids: Sequence[Geometry]) -> tuple[int, list[Placement]]:
    """Choose the grid that is the masks' own, else the first on whose voxels all of them lie."""
    own = [index for index, grid in enumerate(grids) if all(part.geometry.matches(grid) for part in parts)]
    for index in (*own, *range(len(grids))):
        placements = [find_placement(part.geometry, grids[index]) for part in parts]
        found = [placement for placement in placements if placement is not None]
        if len(found) == len(parts):
            return index, found
    misfit = next((part for part in parts if not any(find_placement(part.geometry, grid) for grid in grids)), parts[0])
    found_text = describe_mismatch(misfit.name, misfit.geometry, other_name="image", other=grids[0])
    raise CaseError(f"{found_text}; resample the mask to the image's voxels, or export both from one series")


def _merge(parts: Sequence[_Part], placements: Sequence[Placement], *, labels: Sequence[str]) -> npt.NDArray[np.uint8]:
    merged = np.zeros(placements[0].target, dtype=np.uint8)
    for part, placement in zip(parts, placements, strict=True):
        placed = placement.apply(part.label, name=part.name)
        both = (placed > 0) & (merged > 0) & (placed != merged)
        if both.any():
            mine, other = (labels[int(values[both][0]) - 1] for values in (placed, merged))
            raise CaseError(
                f"{part.name}: {int(both.sum())} voxels belong to {mine} and to {other}, expected one label per voxel; "
                "subtract one from the other, or import either"
            )
        np.copyto(merged, placed, where=placed > 0)
    if len(parts) > 1 and merged.all():
        raise CaseError(
            f"{parts[0].name}: the labels fill the whole image, so one of them is the background; leave it out"
        )
    return merged


def _read_parts(file: MaskFile, *, labels: Sequence[str], remarks: list[str]) -> list[_Part]:
    volume = read_volume(file.path)
    refuse_shear(file.path, volume.geometry)
    if volume.remark:
        remarks.append(f"mask: {volume.remark}")
    segments = read_segments(file.path)
    if segments:
        return _split_segments(file, volume, segments=segments, labels=labels, remarks=remarks)
    if file.value is not None or len(volume.values) > 1:
        return _split_channels(file, volume, labels=labels)
    label = _take_values(file.path, volume, labels=labels, remarks=remarks)
    return [_Part(file.path.name, label, volume.geometry)]


def _split_segments(
    file: MaskFile, volume: Volume, *, segments: Sequence[Segment], labels: Sequence[str], remarks: list[str]
) -> list[_Part]:
    """Make one part per layer of a segmentation of 3D Slicer."""
    layers = [to_labels(file.path, volume, channel=number) for number in range(len(volume.values))]
    for number, layer in enumerate(layers):
        known = [segment.value for segment in segments if segment.layer == number]
        strange = np.setdiff1d(layer, [0, *known])
        if strange.size:
            raise CaseError(
                f"{file.path}: voxels of layer {number} hold {_join(strange)}, which is no segment's value; save it "
                "again with Slicer"
            )
    if missing := [segment.name for segment in segments if not 0 <= segment.layer < len(layers)]:
        raise CaseError(
            f"{file.path}: {len(layers)} layers, but segment {missing[0]} lies in another; save it again with Slicer"
        )
    if file.value is not None:
        pairs = tuple((segment, file.value) for segment in segments)
    else:
        pairs, found = match_segments(file.path, segments, labels=labels)
        remarks.extend(found)
    parts = []
    for number, layer in enumerate(layers):
        new_values = np.zeros(LARGEST_LABEL + 1, np.uint8)
        for segment, value in pairs:
            if segment.layer == number:
                new_values[segment.value] = value
        parts.append(_Part(f"{file.path.name} layer {number}", new_values[layer], volume.geometry))
    return parts


def _split_channels(file: MaskFile, volume: Volume, *, labels: Sequence[str]) -> list[_Part]:
    """Make one part of a file of one label, or one per volume of a 4D file."""
    n_expected = len(labels) if file.value is None else 1
    if len(volume.values) != n_expected:
        expected = f"one per label, {n_expected}; name the labels with -l" if file.value is None else "1; split it"
        raise CaseError(f"{file.path}: {len(volume.values)} volumes, expected {expected}")
    parts = []
    for number, values in enumerate(volume.values):
        inside, found = _find_inside(values)
        if inside is None:
            where = file.path if n_expected == 1 else f"{file.path}: volume {number + 1}"
            raise CaseError(
                f"{where}: values {_join(found)}, expected 0 and one other in a mask of one label; split it, or "
                "threshold it"
            )
        name = file.path.name if n_expected == 1 else f"{file.path.name} volume {number + 1}"
        value = np.uint8(number + 1 if file.value is None else file.value)
        parts.append(_Part(name, inside.astype(np.uint8) * value, volume.geometry))
    return parts


def _take_values(path: Path, volume: Volume, *, labels: Sequence[str], remarks: list[str]) -> npt.NDArray[np.uint8]:
    """Take the voxels' values as labels; with one label declared, 0 and one other value are background and label."""
    if len(labels) == 1:
        inside, values = _find_inside(volume.values[0])
        if inside is not None and inside.any() and not inside.all():
            if abs(values[0] - 1) > _ROUNDING:
                remarks.append(f"the mask holds 0 and {values[0]:g}; {values[0]:g} was taken for {labels[0]}")
            return inside.astype(np.uint8)
    label = to_labels(path, volume)
    strange = np.unique(label[label > len(labels)])
    if strange.size:
        named = ", ".join(f"{value} ({name})" for value, name in enumerate(labels, start=1))
        raise CaseError(
            f"{path}: the mask holds {_join(strange)}, expected 0 or {named}; name every label with -l in the order of "
            "the values, or renumber the mask"
        )
    return label


def _find_inside(values: npt.NDArray[np.generic]) -> tuple[npt.NDArray[np.bool_] | None, list[float]]:
    """Find the voxels (I, J, K) of a mask of 0 and one other whole number; None when it holds anything else.

    Returns:
        Where the other value is, and the values but 0, at most five.
    """
    inside = values != 0
    found = np.unique(values[inside])
    with np.errstate(invalid="ignore"):
        usable = len(found) < 2 and bool((np.abs(found - np.rint(found)) <= _ROUNDING).all())
    return (inside if usable else None), [float(value) for value in found[:5]]


def _join(values: Iterable[object]) -> str:
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)
