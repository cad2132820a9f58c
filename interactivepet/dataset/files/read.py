"""Files -> arrays with axes (i, j, k) on a grid in RAS+ mm, or an error that says what to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from interactivepet.core.case import Case
from interactivepet.core.dataset import CaseEntry
from interactivepet.core.geometry import GRID_TOLERANCE_MM, Geometry
from interactivepet.dataset.files.volume import describe_mismatch, round_labels
from interactivepet.dataset.lattice import find_placement
from interactivepet.dataset.layout import ITK_ENDINGS, NIFTI_ENDINGS, split_ending
from interactivepet.errors import CaseError

if TYPE_CHECKING:
    from interactivepet.dataset.files.volume import Header, Volume

__all__ = [
    "LARGEST_LABEL",
    "read_case",
    "read_geometry",
    "read_header",
    "read_image",
    "read_mask",
    "read_volume",
    "refuse_shear",
    "to_float32",
    "to_labels",
]

LARGEST_LABEL = 255
"""Masks are uint8."""


def read_image(paths: Sequence[Path]) -> tuple[npt.NDArray[np.float32], Geometry]:
    """Read a case's image.

    Args:
        paths: one file a channel in channel order, or a single file that holds every channel.

    Returns:
        (C, I, J, K) float32 in the files' unit after the files' own scaling, and the grid of the first file.
        A 2D file has K = 1.

    Raises:
        CaseError: a file is missing or damaged, its axes are sheared, or two channels differ in their grid.
    """
    if not paths:
        raise CaseError("no image file given, expected one a channel or one for all channels")
    geometry = read_geometry(paths[0])
    channels: list[npt.NDArray[np.float32]] = []
    for path in paths:
        volume = read_volume(path)
        refuse_shear(path, volume.geometry)
        if not volume.geometry.matches(geometry):
            found = describe_mismatch(path.name, volume.geometry, other_name=paths[0].name, other=geometry)
            raise CaseError(f"{path}: {found}; resample the channels to one grid")
        if len(paths) > 1 and len(volume.values) > 1:
            raise CaseError(
                f"{path}: {len(volume.values)} channels in one of {len(paths)} channel files, expected 1; "
                "give one file a channel or a single file"
            )
        channels.append(to_float32(volume.values))
    return np.concatenate(channels), geometry


def read_mask(path: Path) -> tuple[npt.NDArray[np.uint8], Geometry]:
    """Read a label mask.

    Returns:
        (I, J, K) uint8, 0 is background, and its grid.

    Raises:
        CaseError: the file is missing or damaged, its axes are sheared, it has several channels, or a value
            is no integer from 0 to 255.
    """
    volume = read_volume(path)
    refuse_shear(path, volume.geometry)
    if len(volume.values) != 1:
        raise CaseError(f"{path}: {len(volume.values)} channels, expected 1 with the labels as values; merge them")
    return to_labels(path, volume), volume.geometry


def to_labels(path: Path, volume: Volume, *, channel: int = 0) -> npt.NDArray[np.uint8]:
    """Take the values of one channel of a file as labels.

    Args:
        path: of the file, for messages.
        volume: its voxels.
        channel: which of them.

    Returns:
        (I, J, K) uint8.

    Raises:
        CaseError: a value is no integer from 0 to 255.
    """
    rounded, wrong = round_labels(volume, channel=channel)
    if wrong.any():
        example = float(volume.values[channel][wrong][0])
        raise CaseError(
            f"{path}: {int(wrong.sum())} voxels hold no integer (such as {example:.4g}), expected labels; "
            "resample masks with nearest neighbour, or threshold them"
        )
    lowest, highest = float(rounded.min()), float(rounded.max())
    if lowest < 0:
        raise CaseError(f"{path}: negative label {lowest:g}, expected 0 to {LARGEST_LABEL}; renumber the labels")
    if highest > LARGEST_LABEL:
        raise CaseError(f"{path}: label {highest:g}, expected 0 to {LARGEST_LABEL}; renumber the labels")
    return np.ascontiguousarray(rounded, dtype=np.uint8)


def read_case(task_dir: Path, entry: CaseEntry, *, with_label: bool = True) -> Case:
    """Read a case of a task, with its label if it has one and `with_label` is set.

    Raises:
        CaseError: a file cannot be used, or image and label differ in their grid.
    """
    paths = [task_dir / name for name in entry.images]
    image, geometry = read_image(paths)
    if entry.label is None or not with_label:
        return Case(entry.id, image, geometry, source=paths[0])
    label, label_geometry = read_mask(task_dir / entry.label)
    if not label_geometry.matches(geometry):
        found = describe_mismatch("label", label_geometry, other_name="image", other=geometry)
        is_placeable = find_placement(label_geometry, geometry) is not None
        remedy = "place it with interactivepet_import folder" if is_placeable else "resample the label"
        raise CaseError(
            f"{entry.id}: {found} (tolerance {GRID_TOLERANCE_MM} mm); {remedy} or export both from one series"
        )
    return Case(entry.id, image, geometry, label, paths[0])


def read_geometry(path: Path) -> Geometry:
    """Read a file's grid, without its voxels.

    Raises:
        CaseError: the file is missing or damaged, or its axes are sheared.
    """
    geometry = read_header(path).geometry
    refuse_shear(path, geometry)
    return geometry


def read_header(path: Path) -> Header:
    """Read a file's grid, sheared or not, and its number of channels, without its voxels.

    Raises:
        CaseError: the file is missing, damaged or of an unknown format.
    """
    if _is_nifti(path):
        from interactivepet.dataset.files import nifti

        return nifti.read_header(path)
    from interactivepet.dataset.files import itk

    return itk.read_header(path)


def read_volume(path: Path) -> Volume:
    """Read a file's voxels as they are, on a grid that may be sheared.

    Raises:
        CaseError: the file is missing, damaged or of an unknown format.
    """
    if _is_nifti(path):
        from interactivepet.dataset.files import nifti

        return nifti.read_volume(path)
    from interactivepet.dataset.files import itk

    return itk.read_volume(path)


def to_float32(values: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """Convert voxels to contiguous float32; what is too large for it becomes infinite."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype=np.float32)


def _is_nifti(path: Path) -> bool:
    ending = split_ending(path.name)[1].lower()
    if not ending:
        known = " ".join((*NIFTI_ENDINGS, *ITK_ENDINGS))
        raise CaseError(f"{path}: unknown ending, expected one of {known}; convert the file")
    if path.is_symlink() and not path.exists():
        raise CaseError(f"{path}: is a link that leads nowhere; restore its target or remove it")
    if not path.is_file():
        raise CaseError(f"{path}: there is no such file; restore it or run interactivepet_generate_dataset_json")
    return ending in NIFTI_ENDINGS


def refuse_shear(path: Path, geometry: Geometry) -> None:
    """Refuse a grid whose axes are not at right angles.

    Raises:
        CaseError: they are not.
    """
    if not geometry.is_orthogonal:
        raise CaseError(
            f"{path}: its voxel axes are not at right angles, expected an orthogonal grid; "
            "resample it, or correct its header (gantry tilt, or a registration written into the header)"
        )
