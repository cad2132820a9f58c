"""Masks drawn on parallel planes, at any distance and angle, brought onto a voxel grid."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import BoundingBox, Geometry, to_triple
from interactivepet.errors import CaseError

__all__ = ["PLANE_TOLERANCE_MM", "PlaneStack", "check_inside", "find_corners_mm", "group_positions"]

logger = logging.getLogger(__name__)

PLANE_TOLERANCE_MM = 0.1
"""Planes closer than this are one: positions are stored with few digits."""
_CHECKED_PIXELS = 10_000
"""Enough of them to see whether a mask lies on an image."""
_TIE_MM = 1e-3
"""What lies in the middle between two planes, up to this much, belongs to the upper."""

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class PlaneStack:
    """Parallel planes of pixels.

    Attributes:
        affine: (4, 4) float64, (u, v in pixels, w in mm along the planes' normal) -> RAS+ mm.
        positions_mm: (P,) float64, w of every plane, rising.
        masks: (P, U, V) bool.
        reach_mm: how far from a plane its mask is still valid, along w.
    """

    affine: FloatArray
    positions_mm: FloatArray
    masks: BoolArray
    reach_mm: float

    def sample(self, geometry: Geometry) -> BoolArray:
        """Mark the voxels (I, J, K) whose centres lie in a marked pixel of the nearest plane within reach."""
        mask = np.zeros(geometry.shape, dtype=bool)
        box = self._find_box(geometry)
        if box is None:
            return mask
        matrix = np.linalg.inv(self.affine) @ geometry.affine
        i = np.arange(box.start[0], box.stop[0])[:, None]
        j = np.arange(box.start[1], box.stop[1])[None, :]
        for k in range(box.start[2], box.stop[2]):
            u, v, w = (row[0] * i + row[1] * j + (row[2] * k + row[3]) for row in matrix[:3])
            mask[box.slices[0], box.slices[1], k] = self._look_up(u, v, w)
        return mask

    def find_marked_mm(self) -> FloatArray:
        """Give centres of marked pixels, (N, 3) RAS+ mm: all of a few, an even choice of many."""
        flat = np.flatnonzero(self.masks)
        chosen = flat[:: len(flat) // _CHECKED_PIXELS + 1]
        plane, u, v = np.unravel_index(chosen, self.masks.shape)
        return Geometry((1, 1, 1), self.affine).to_mm(np.stack([u, v, self.positions_mm[plane]], axis=1))

    def _look_up(self, u: FloatArray, v: FloatArray, w: FloatArray) -> BoolArray:
        middles = (self.positions_mm[:-1] + self.positions_mm[1:]) / 2
        plane = np.searchsorted(middles, w + _TIE_MM, side="right")
        distance = w - self.positions_mm[plane] + _TIE_MM
        column, row = np.rint(u).astype(np.int64), np.rint(v).astype(np.int64)
        _, n_u, n_v = self.masks.shape
        is_known = (distance >= -self.reach_mm) & (distance < self.reach_mm)
        is_known &= (column >= 0) & (column < n_u) & (row >= 0) & (row < n_v)
        found = self.masks[plane, np.clip(column, 0, n_u - 1), np.clip(row, 0, n_v - 1)]
        return np.asarray(found & is_known, dtype=bool)

    def _find_box(self, geometry: Geometry) -> BoundingBox | None:
        """Find the voxels that the stack may reach."""
        _, n_u, n_v = self.masks.shape
        w = (self.positions_mm[0] - self.reach_mm, self.positions_mm[-1] + self.reach_mm)
        corners = np.array(np.meshgrid((-0.5, n_u - 0.5), (-0.5, n_v - 0.5), w)).reshape(3, -1).T
        index = geometry.to_voxel(Geometry((1, 1, 1), self.affine).to_mm(corners))
        start = np.maximum(np.floor(index.min(axis=0)), 0).astype(int)
        stop = np.minimum(np.ceil(index.max(axis=0)) + 1, geometry.shape).astype(int)
        if np.any(start >= stop):
            return None
        return BoundingBox(to_triple(start), to_triple(stop))


def group_positions(positions_mm: npt.ArrayLike) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Join positions that differ by no more than `PLANE_TOLERANCE_MM` from their neighbour.

    Returns:
        The planes' positions (P,), rising, and the plane of every given position.
    """
    given = np.asarray(positions_mm, dtype=np.float64)
    order = np.argsort(given, kind="stable")
    steps = np.diff(given[order], prepend=given[order[0]])
    plane = np.empty(len(given), dtype=np.int64)
    plane[order] = np.cumsum(steps > PLANE_TOLERANCE_MM)
    return np.bincount(plane, weights=given) / np.bincount(plane), plane


def find_corners_mm(geometry: Geometry) -> FloatArray:
    """Give the outer corners of a grid, (8, 3) RAS+ mm."""
    return geometry.to_mm(np.array(np.meshgrid(*((-0.5, n - 0.5) for n in geometry.shape))).reshape(3, -1).T)


def check_inside(name: str, points_mm: Sequence[FloatArray] | FloatArray, *, geometry: Geometry) -> None:
    """Refuse a mask that lies outside of a grid; one that is cut by its border is logged.

    Args:
        name: file and ROI, for the message.
        points_mm: (N, 3) RAS+ mm of the mask, N > 0.
        geometry: the grid.

    Raises:
        CaseError: every point lies outside.
    """
    points = np.asarray(points_mm)
    index = geometry.to_voxel(points)
    # Contours around the outermost voxels run along the grid's outer faces, half a voxel from their centres.
    slack = 1.0
    is_outside = np.any((index < -slack) | (index > np.asarray(geometry.shape) - 1 + slack), axis=1)
    if is_outside.all():
        raise CaseError(
            f"{name} lies outside of the image: {_span(points)} mm but the image is at "
            f"{_span(find_corners_mm(geometry))} mm; take the series that it was drawn on"
        )
    if is_outside.any():
        logger.warning("%s is cut by the border of the image: %.0f %% lie outside", name, 100 * is_outside.mean())


def _span(points: FloatArray) -> str:
    low, high = points.min(axis=0), points.max(axis=0)
    return " x ".join(f"{a:.0f}...{b:.0f}" for a, b in zip(low, high, strict=True))
