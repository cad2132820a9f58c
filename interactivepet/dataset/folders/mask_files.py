"""The masks of one case, one file or several, 3D or 4D -> one label volume; and names of the labels in them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import Geometry
from interactivepet.dataset.read import read_header, read_mask, read_volume
from interactivepet.dataset.volume import describe_mismatch, round_labels
from interactivepet.errors import CaseError, ManifestError

__all__ = ["DEFAULT_LABEL", "MaskFile", "name_labels", "read_masks"]

logger = logging.getLogger(__name__)

DEFAULT_LABEL = "lesion"
"""Name of the only label when nobody names it."""
_LARGEST_SAMPLE = 100
"""Masks that are read to find the values in use; a value that only others hold is refused when they are read."""


@dataclass(frozen=True, slots=True)
class MaskFile:
    """One file of a case's masks.

    Attributes:
        path: the file.
        value: the label that every voxel but 0 belongs to; None when the voxels hold the labels' values, or when
            the file has one volume a label.
    """

    path: Path
    value: int | None = None


def read_masks(files: Sequence[MaskFile], *, labels: Sequence[str]) -> tuple[npt.NDArray[np.uint8], Geometry]:
    """Read a case's masks as one label volume.

    Args:
        files: one file with every label, or one a label.
        labels: names of the values 1 ... L.

    Returns:
        (I, J, K), 0 is background, and its grid.

    Raises:
        CaseError: a file cannot be used, a value has no name, two labels claim one voxel, or grids differ.
    """
    if len(files) == 1 and files[0].value is None and read_header(files[0].path).n_channels == 1:
        mask, geometry = read_mask(files[0].path)
        _refuse_values(mask, files[0].path, labels=labels)
        return mask, geometry
    planes = [plane for file in files for plane in _read_planes(file, n_labels=len(labels))]
    geometry = planes[0].geometry
    merged = np.zeros(geometry.shape, dtype=np.uint8)
    for plane in planes:
        if not plane.geometry.matches(geometry):
            found = describe_mismatch(plane.name, plane.geometry, other_name=planes[0].name, other=geometry)
            raise CaseError(f"{found}; resample the masks to one grid")
        both = plane.inside & (merged > 0)
        if both.any():
            other = labels[int(merged[both][0]) - 1]
            raise CaseError(
                f"{plane.name}: {int(both.sum())} voxels belong to {labels[plane.value - 1]} and to {other}, expected "
                "one label a voxel; take the one from the other, or import either"
            )
        merged[plane.inside] = plane.value
    if len(planes) > 1 and merged.all():
        raise CaseError(
            f"{planes[0].name}: the labels fill the whole image, so one of them is the background; leave it out"
        )
    return merged, geometry


@dataclass(frozen=True, slots=True, eq=False)
class _Plane:
    """The voxels (I, J, K) of one label."""

    name: str
    value: int
    inside: npt.NDArray[np.bool_]
    geometry: Geometry


def _read_planes(file: MaskFile, *, n_labels: int) -> list[_Plane]:
    if file.value is not None:
        mask, geometry = read_mask(file.path)
        values = np.unique(mask[mask > 0])
        if len(values) > 1:
            raise CaseError(f"{file.path}: values {_join(values)}, expected one in a file of one label; split it")
        return [_Plane(file.path.name, file.value, mask > 0, geometry)]
    volume = read_volume(file.path)
    if len(volume.values) != n_labels:
        raise CaseError(
            f"{file.path}: {len(volume.values)} volumes, expected one a label, {n_labels}; name the labels with -l"
        )
    planes = []
    for number, values in enumerate(volume.values, start=1):
        rounded, wrong = round_labels(type(volume)(values[None], volume.geometry, volume.step))
        if wrong.any() or not np.isin(np.unique(rounded), (0, 1)).all():
            raise CaseError(f"{file.path}: volume {number} holds other values than 0 and 1; threshold it")
        planes.append(_Plane(f"{file.path.name} volume {number}", number, rounded > 0, volume.geometry))
    return planes


def _refuse_values(mask: npt.NDArray[np.uint8], path: Path, *, labels: Sequence[str]) -> None:
    strange = np.unique(mask[mask > len(labels)])
    if strange.size:
        named = ", ".join(f"{value} ({name})" for value, name in enumerate(labels, start=1))
        raise CaseError(
            f"{path}: the mask holds {_join(strange)}, expected 0 or {named}; name every label with -l in the order of "
            "the values, or renumber the mask"
        )


def name_labels(files: Iterable[MaskFile], *, names: Sequence[str]) -> tuple[str, ...]:
    """Name the labels of masks that hold the labels' values, or one volume a label.

    Args:
        files: of all cases.
        names: what the user named; when nothing, the masks, a hundred at most, are read for the values in use.

    Raises:
        ManifestError: the values are not 1 ... L.
    """
    if names:
        return tuple(names)
    paths = [file.path for file in files]
    step = max(1, -(-len(paths) // _LARGEST_SAMPLE))
    values: dict[int, Path] = {}
    for path in paths[::step]:
        values |= {value: path for value in _find_values(path) if value not in values}
    found = sorted(values)
    if found != list(range(1, len(found) + 1)):
        largest = found[-1]
        raise ManifestError(
            f"{values[largest]}: the masks hold {_join(found)}, expected 1, 2, ... without a gap; renumber them, or "
            "name every label up to the largest value with -l"
        )
    return tuple(f"label_{value}" for value in found) if len(found) > 1 else (DEFAULT_LABEL,)


def _find_values(path: Path) -> list[int]:
    try:
        n_volumes = read_header(path).n_channels
        if n_volumes > 1:
            return list(range(1, n_volumes + 1))
        mask, _ = read_mask(path)
    except CaseError as error:
        # The import of its case names the file; here it only has no say.
        logger.debug("no label values: %s", error)
        return []
    return [int(value) for value in np.unique(mask[mask > 0])]


def _join(values: Iterable[object]) -> str:
    return ", ".join(str(value) for value in values)
