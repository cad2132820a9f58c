"""The distance between the slices that a segmentation was drawn on, by which each of its frames is as thick as one."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from interactivepet.core.geometry import Geometry
from interactivepet.dataset.dicom.files import read_file
from interactivepet.dataset.dicom.planes import group_positions
from interactivepet.dataset.dicom.seg_frames import SegFrames
from interactivepet.dataset.dicom.series import RAS_FROM_LPS
from interactivepet.errors import CaseError

__all__ = ["find_slice_spacing_mm"]

logger = logging.getLogger(__name__)

_ON_PIXEL = 0.1
"""Pixels of one lattice lie this part of a pixel apart at most."""
_ON_SLICE = 0.25
"""A frame this part of the slice distance from a slice lies on it: scanners round where bed positions join."""
_SAME_SPACING = 0.1
"""Distances that differ by this part are the same."""
_PARALLEL = 1e-3
"""Normals whose cosine is this close to 1 are parallel."""

FloatArray = npt.NDArray[np.float64]


def find_slice_spacing_mm(
    frames: SegFrames, geometry: Geometry, *, slices: Sequence[Path] = (), source: str = "segmentation"
) -> float:
    """Find how far the slices lie apart that frames were drawn on.

    Frames without a marked pixel may be left out (PS3.3 A.51), so the distance between frames is no measure of it,
    and SpacingBetweenSlices may be missing. In this order:

    1. The frames' pixels are the grid's own and every frame lies on one of its slices: the grid's slice distance.
    2. The series that was segmented is there: the distance of its slices.
    3. SpacingBetweenSlices, unless frames lie closer together.
    4. The smallest distance between frames, where that is no more than SliceThickness.
    5. SliceThickness: whether slices between frames were left out as empty, or slices have gaps, cannot be told. A
       warning names both distances.

    Args:
        frames: of the segmentation.
        geometry: the grid that it is brought to.
        slices: files of the series that was segmented, as far as they are there.
        source: the segmentation's file, for messages.

    Raises:
        CaseError: none of these is known.
    """
    spacing = _find_on_grid(frames, geometry) or (_find_on_series(frames, slices) if slices else None)
    return spacing or _find_stated(frames, source=source)


def _find_on_grid(frames: SegFrames, geometry: Geometry) -> float | None:
    """Give the grid's slice distance when every frame's pixels are voxels of the grid."""
    to_voxel = np.linalg.inv(geometry.affine) @ frames.affine
    axis = int(np.argmax(np.abs(to_voxel[:3, 2])))
    in_plane = [other for other in range(3) if other != axis]
    turn = np.rint(to_voxel[:3, :2])
    size = np.asarray(frames.values.shape[1:])
    error = np.abs(to_voxel[:3, :2] - turn) @ size
    depth = to_voxel[axis, 2] * frames.positions_mm + to_voxel[axis, 3]
    origin = to_voxel[in_plane, 3]
    is_lattice = (
        bool((np.abs(turn[in_plane]).sum(axis=0) == 1).all() and not turn[axis].any())
        and error.max() <= _ON_PIXEL
        and np.abs(origin - np.rint(origin)).max() <= _ON_PIXEL
        and np.abs(depth - np.rint(depth)).max() <= _ON_SLICE
    )
    return float(geometry.spacing_mm[axis]) if is_lattice else None


def _find_on_series(frames: SegFrames, slices: Sequence[Path]) -> float | None:
    """Give the usual distance between the slices of a series that are parallel to the frames."""
    normal = frames.affine[:3, 2]
    positions = [
        float(corner @ normal)
        for path in slices
        for corner, slice_normal in _list_slices(read_file(path, stop_before_pixels=True))
        if abs(slice_normal @ normal) > 1 - _PARALLEL
    ]
    gaps = np.diff(group_positions(positions)[0]) if positions else np.empty(0)
    return float(np.median(gaps)) if gaps.size else None


def _list_slices(header: Dataset) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Give corner and normal of every slice in a file, (3,) each in RAS+ mm; none where they are not stated."""
    shared: Dataset = next(iter(header.get("SharedFunctionalGroupsSequence") or ()), Dataset())
    for item in header.get("PerFrameFunctionalGroupsSequence") or [header]:
        place = (item.get("PlanePositionSequence") or shared.get("PlanePositionSequence") or [item])[0]
        turn = (item.get("PlaneOrientationSequence") or shared.get("PlaneOrientationSequence") or [item])[0]
        corner, directions = place.get("ImagePositionPatient"), turn.get("ImageOrientationPatient")
        if corner and directions:
            across, down = np.asarray(directions, dtype=np.float64).reshape(2, 3)
            to_ras = RAS_FROM_LPS[:3, :3]
            yield to_ras @ np.asarray(corner, dtype=np.float64), to_ras @ np.cross(across, down)


def _find_stated(frames: SegFrames, *, source: str) -> float:
    """Judge by what the segmentation says itself."""
    gaps = np.diff(group_positions(frames.positions_mm)[0])
    smallest = float(gaps.min()) if gaps.size else float("inf")
    stated, thickness = frames.stated_spacing_mm, frames.thickness_mm
    limit = (1 - _SAME_SPACING) * smallest
    if stated is not None and stated * (1 - _SAME_SPACING) > smallest:
        logger.warning(
            "%s: SpacingBetweenSlices is %.4g mm, but frames lie %.4g mm apart, which is taken",
            source,
            stated,
            smallest,
        )
        return smallest
    if stated is not None:
        return stated
    if thickness is not None and thickness < limit:
        if gaps.size:
            logger.warning(
                "%s: slices of %.4g mm lie at least %.4g mm apart, and their distance is not stated, so slices between "
                "them may be empty or missing; each frame is taken as %.4g mm thick. Add the series that was segmented "
                "to the folder, or SpacingBetweenSlices (0018,0088)",
                *(source, thickness, smallest, thickness),
            )
        return thickness
    if not gaps.size:
        raise CaseError(
            f"{source}: one slice, and neither SpacingBetweenSlices (0018,0088) nor SliceThickness (0018,0050), so its "
            "depth is unknown; add the series that was segmented to the folder, or export the segmentation again"
        )
    if thickness is None:
        logger.warning(
            "%s: the distance of its slices is not stated (SpacingBetweenSlices, SliceThickness); the smallest between "
            "frames, %.4g mm, is taken",
            *(source, smallest),
        )
    return smallest
