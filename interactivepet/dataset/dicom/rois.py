"""A region's closed contours in space, rasterised on a voxel grid."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import Geometry
from interactivepet.dataset.dicom.contours import fill_polygons
from interactivepet.dataset.dicom.planes import PlaneStack, check_inside, find_corners_mm, group_positions
from interactivepet.errors import CaseError

__all__ = ["LARGEST_CONTOUR_SPACING_MM", "Roi", "find_contour_spacing_mm", "rasterise_roi"]

logger = logging.getLogger(__name__)

LARGEST_CONTOUR_SPACING_MM = 12.0
"""Contours further apart belong to separate parts: nobody draws a region on slices that far from each other."""
_FLATNESS = 0.25
"""A contour that leaves its plane by no more than this part of a voxel is flat."""
_SAME_SPACING = 0.2
"""Distances that differ by this part are the same: scanners round slice positions."""
_WIDEST_GAP = 1.5
"""Neighbouring planes up to this many distances apart belong together."""
_BORDER = 0.05
"""A slice's centre lies on the border of a region when it is this part of a slice away."""
_STEPS_A_VOXEL = 4
"""Pixels along a voxel's shortest edge, for contours on planes that are tilted against the grid."""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Roi:
    """One region of a structure set.

    Attributes:
        name: as it is stored; names need not be unique.
        contours: closed polygons (N, 3), RAS+ mm, the first corner not repeated.
        passed_over: kinds of its other contours, one entry each, such as `POINT`.
        frame: FrameOfReferenceUID that they lie in; empty when it is not named.
        spacing_mm: distance of the slices that they were computed on; None when it is not stated or they were drawn.
    """

    name: str
    contours: tuple[FloatArray, ...]
    passed_over: tuple[str, ...] = ()
    frame: str = ""
    spacing_mm: float | None = None


def rasterise_roi(roi: Roi, geometry: Geometry, *, contour_spacing_mm: float, source: str) -> npt.NDArray[np.bool_]:
    """Mark the voxels (I, J, K) whose centres lie inside of a region.

    Contours on one plane are filled by even-odd. A slice takes the nearest plane of contours within half a spacing
    of the grid's slices. On a grid that is tilted against the planes the same holds along their normal.

    Contours that lie further apart than the grid's slices, such as on every second one, stand for half the distance
    to each neighbour, and for as much beyond the first and the last (half-slice end caps, Nelms et al. 2015, Med Phys
    42:4435). A slice whose centre lies on that border does not belong to the region. Half-way between two planes the
    mean of their signed distances gives the shape (Raya and Udupa 1990, IEEE TMI 9:32). A gap of more than one and a
    half distances stays empty.

    Args:
        roi: with at least one contour.
        geometry: an orthogonal grid.
        contour_spacing_mm: usual distance between planes of contours of the whole file; 0 when there is only one
            plane. It counts where the region does not state the distance of its slices
            (SourcePixelPlanesCharacteristicsSequence), and its own contours have no regular one.
        source: file, for messages.

    Raises:
        CaseError: the contours lie outside of the grid, or not in parallel planes.
    """
    name = f"{source}: ROI {roi.name}"
    check_inside(name, np.concatenate(roi.contours), geometry=geometry)
    frame, slice_spacing_mm = _find_frame(roi, geometry, name=name)
    spacing_mm = roi.spacing_mm or _find_own_spacing_mm(roi) or contour_spacing_mm
    stack = _draw_planes(roi, frame, geometry, reach_mm=max(slice_spacing_mm, spacing_mm) / 2)
    if spacing_mm > (1 + _SAME_SPACING) * slice_spacing_mm:
        logger.info(
            "%s: its contours lie %.4g mm apart, slices %.4g mm; those between are filled",
            *(name, spacing_mm, slice_spacing_mm),
        )
        reach_mm = spacing_mm / 2 - _BORDER * slice_spacing_mm
        stack = replace(_fill_between(stack, widest_mm=_WIDEST_GAP * spacing_mm), reach_mm=reach_mm)
    return stack.sample(geometry)


def find_contour_spacing_mm(rois: Sequence[Roi]) -> float:
    """Find the usual distance between neighbouring planes of contours; 0 when there is none.

    All regions of a file take part, because one of them may have contours on a few separate slices only.
    """
    gaps = np.concatenate([_find_gaps_mm(roi) for roi in rois]) if rois else np.empty(0)
    return float(np.median(gaps)) if gaps.size else 0.0


def _find_gaps_mm(roi: Roi) -> FloatArray:
    """Find the distances between neighbouring planes of contours, without those between separate parts."""
    if not roi.contours:
        return np.empty(0)
    normal = _fit_normal(roi.contours)
    positions, _ = group_positions([float(contour.mean(axis=0) @ normal) for contour in roi.contours])
    gaps = np.diff(positions)
    return gaps[gaps <= LARGEST_CONTOUR_SPACING_MM]


def _find_own_spacing_mm(roi: Roi) -> float | None:
    """Find the distance at which a region was drawn; None when its contours are few or irregular."""
    gaps = _find_gaps_mm(roi)
    if gaps.size < 2 or np.median(gaps) > (1 + _SAME_SPACING) * gaps.min():
        return None
    return float(np.median(gaps))


def _fill_between(stack: PlaneStack, *, widest_mm: float) -> PlaneStack:
    """Add a plane half-way between neighbours that lie no further apart than `widest_mm`."""
    sampling = np.linalg.norm(stack.affine[:3, :2], axis=0)
    distances = [_measure_depth(mask, sampling) for mask in stack.masks]
    lower = np.flatnonzero(np.diff(stack.positions_mm) <= widest_mm)
    if not lower.size:
        return stack
    between = np.stack([distances[index] + distances[index + 1] >= 0 for index in lower])
    positions = np.concatenate([stack.positions_mm, (stack.positions_mm[lower] + stack.positions_mm[lower + 1]) / 2])
    order = np.argsort(positions)
    masks = np.concatenate([stack.masks, between])
    return replace(stack, positions_mm=positions[order], masks=masks[order])


def _measure_depth(mask: npt.NDArray[np.bool_], sampling: FloatArray) -> FloatArray:
    """Measure the distance to the border of a plane's mask in mm, (U, V): positive inside, negative outside."""
    from scipy.ndimage import distance_transform_edt

    if not mask.any():
        return np.full(mask.shape, -np.inf)
    padded = np.pad(mask, 1)
    inside = distance_transform_edt(padded, sampling=sampling)
    depth: FloatArray = (inside - distance_transform_edt(~padded, sampling=sampling))[1:-1, 1:-1]
    return depth


def _find_frame(roi: Roi, geometry: Geometry, *, name: str) -> tuple[FloatArray, float]:
    """Choose the pixels to draw contours on: the grid's own where they lie in its planes.

    Returns:
        The affine (u, v in pixels, w in mm) -> RAS+ mm, and the grid's spacing along w in mm.
    """
    spacing = np.asarray(geometry.spacing_mm)
    depth = np.max([np.ptp(geometry.to_voxel(contour), axis=0) for contour in roi.contours], axis=0)
    axis = int(np.argmin(depth * spacing))
    frame = geometry.affine.copy()
    if depth[axis] <= _FLATNESS:
        order = [other for other in range(3) if other != axis] + [axis]
        frame[:3, :3] = geometry.affine[:3, order]
        frame[:3, 2] /= spacing[axis]
        return frame, float(spacing[axis])
    normal = _fit_normal(roi.contours)
    out_of_plane = max(float(np.ptp(contour @ normal)) for contour in roi.contours)
    if out_of_plane > 2 * _FLATNESS * spacing.min():
        raise CaseError(
            f"{name}: its contours leave their planes by up to {out_of_plane:.1f} mm, expected flat contours in "
            "parallel planes; export it as a mask (DICOM SEG, NIfTI)"
        )
    in_plane = np.linalg.svd(normal[None])[2][1:]
    frame[:3, :3] = np.stack([*in_plane * spacing.min() / _STEPS_A_VOXEL, normal], axis=1)
    return frame, float(np.linalg.norm(normal @ geometry.affine[:3, :3]))


def _draw_planes(roi: Roi, frame: FloatArray, geometry: Geometry, *, reach_mm: float) -> PlaneStack:
    """Fill the contours of every plane, in the box that contours and grid share."""
    drawing = Geometry((1, 1, 1), frame)
    placed = [drawing.to_voxel(contour) for contour in roi.contours]
    points, corners = np.concatenate(placed), drawing.to_voxel(find_corners_mm(geometry))
    low = np.floor(np.maximum(points.min(axis=0), corners.min(axis=0))[:2])
    n_u, n_v = (np.ceil(np.minimum(points.max(axis=0), corners.max(axis=0))[:2]) - low + 1).astype(int)
    positions, plane = group_positions([float(contour[:, 2].mean()) for contour in placed])
    masks = [
        fill_polygons(
            [contour[:, :2] - low for contour, own in zip(placed, plane, strict=True) if own == index],
            (max(int(n_u), 1), max(int(n_v), 1)),
        )
        for index in range(len(positions))
    ]
    affine = frame.copy()
    affine[:3, 3] = drawing.to_mm([*low, 0.0])
    return PlaneStack(affine, positions, np.stack(masks), reach_mm)


def _fit_normal(contours: Sequence[FloatArray]) -> FloatArray:
    """Fit the common normal of flat contours."""
    centred = np.concatenate([contour - contour.mean(axis=0) for contour in contours])
    normal: FloatArray = np.linalg.eigh(centred.T @ centred)[1][:, 0]
    return normal
