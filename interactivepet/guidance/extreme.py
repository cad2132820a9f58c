"""Interior margin points: the extreme voxels of an object, moved a little into it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from interactivepet.core.components import find_components
from interactivepet.core.geometry import BoundingBox, Shape, Spacing, to_triple
from interactivepet.guidance.objects import find_depth_mm

__all__ = ["DEFAULT_INWARD_VOXELS", "find_extreme_points", "make_inward_mm"]

DEFAULT_INWARD_VOXELS = 1.5
"""How far extreme points are moved inwards, in voxels of the geometric mean spacing.

One voxel leaves the partial-volume layer of the margin, diagonal steps (1.41 voxels) included; two would
leave the margin itself, which is what the point shows. On a grid with thick slices the geometric mean stays
below the slice distance, so that no point jumps to another slice.
"""

_DEPTH_DECIMALS = 3
"""Depths within a micrometre are equal, so that rounding never decides where a point goes."""


class _Side(NamedTuple):
    """One side of an object along one axis."""

    axis: int
    inward: int
    """Step along the axis into the object: +1 on the low side, -1 on the high side."""
    outermost: int
    """Index of the extreme face."""
    middle: float
    """Index halfway through the object, which the point of neither side passes."""


def make_inward_mm(spacing_mm: Spacing, *, shape: Shape) -> float:
    """Give the inward step in mm for a voxel spacing, by the rule at `DEFAULT_INWARD_VOXELS`.

    An axis of one voxel (a 2D image) has no say.
    """
    edges = [mm for mm, n in zip(spacing_mm, shape, strict=True) if n > 1] or list(spacing_mm)
    return DEFAULT_INWARD_VOXELS * float(np.prod(edges) ** (1.0 / len(edges)))


def find_extreme_points(mask: npt.NDArray[np.bool_], *, spacing_mm: Spacing, inward_mm: float) -> npt.NDArray[np.intp]:
    """Find the interior margin points of one object.

    The point of a side is the object's outermost voxel there; among several, the one nearest to the centre
    of that extreme face. It then moves to the deepest voxel of the object within `inward_mm`, among those
    that it can reach without leaving the object, the ball of that radius or its own half of the object.
    Depth, and not the axis, leads the way because the tip of a slanting or curved object lies off the axis;
    and as the destination is a voxel of the object, no object is too thin. Where all voxels are equally deep
    (a sheet, a string), the point follows the object inwards along the axis.

    Args:
        mask: (I, J, K) bool, one object.
        spacing_mm: voxel spacing along (i, j, k).
        inward_mm: longest way of a point from the extreme voxel, 0 or more.

    Returns:
        (6, 3) voxel indices, in the order low i, high i, low j, high j, low k, high k; an axis with a single
        slice is left out, so that a 2D image gives (4, 3). Small objects repeat points.

    Raises:
        ValueError: the mask is empty.
    """
    tight = BoundingBox.of(mask)
    if tight is None:
        msg = "an empty mask has no extreme points; pass one object with at least one voxel"
        raise ValueError(msg)
    # One voxel around the object, where the grid has it, keeps 2D images apart from objects of one slice.
    box = tight.grown((1, 1, 1), within=to_triple(mask.shape))
    local = mask[box.slices]
    depth = find_depth_mm(local, spacing_mm=spacing_mm)
    points = []
    for axis in (a for a in range(3) if local.shape[a] > 1):
        first, last = (edge - box.start[axis] for edge in (tight.start[axis], tight.stop[axis] - 1))
        for outermost, inward in ((first, 1), (last, -1)):
            side = _Side(axis, inward=inward, outermost=outermost, middle=(first + last) / 2)
            start = _find_extreme_voxel(local, side, spacing_mm=spacing_mm)
            points.append(_move_inward(depth, start, side=side, spacing_mm=spacing_mm, inward_mm=inward_mm))
    return np.array(points, dtype=np.intp).reshape(-1, 3) + np.array(box.start, dtype=np.intp)


def _find_extreme_voxel(mask: npt.NDArray[np.bool_], side: _Side, *, spacing_mm: Spacing) -> npt.NDArray[np.intp]:
    """Find the outermost voxel, (3,), of a side: of its face, the voxel nearest to the centre."""
    face = np.argwhere(mask.take([side.outermost], axis=side.axis))
    face[:, side.axis] = side.outermost
    offset_mm = (face - face.mean(axis=0)) * np.asarray(spacing_mm)
    distance = np.round(np.linalg.norm(offset_mm, axis=1), _DEPTH_DECIMALS)
    nearest: npt.NDArray[np.intp] = face[int(distance.argmin())]
    return nearest


def _move_inward(
    depth: npt.NDArray[np.float32],
    start: npt.NDArray[np.intp],
    *,
    side: _Side,
    spacing_mm: Spacing,
    inward_mm: float,
) -> npt.NDArray[np.intp]:
    """Move an extreme voxel, (3,), to the deepest voxel that it reaches within `inward_mm`."""
    spacing = np.asarray(spacing_mm)
    reach = np.floor(inward_mm / spacing).astype(np.intp)
    low = np.maximum(start - reach, 0)
    high = np.minimum(start + reach + 1, depth.shape)
    local = depth[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    voxels = np.moveaxis(np.indices(local.shape), 0, -1) + low
    distance = np.linalg.norm((voxels - start) * spacing, axis=-1)
    own_half = side.inward * (voxels[..., side.axis] - side.middle) <= 0
    parts, _ = find_components((local > 0) & (distance <= inward_mm) & own_half)
    reachable = parts == parts[tuple(start - low)]
    best = np.lexsort(
        (
            np.round(distance[reachable], _DEPTH_DECIMALS),
            -side.inward * voxels[reachable][:, side.axis],
            -np.round(local[reachable], _DEPTH_DECIMALS),
        )
    )[0]
    deepest: npt.NDArray[np.intp] = voxels[reachable][best]
    return deepest
