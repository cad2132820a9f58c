"""Voxel grids in space, boxes in a grid, and the trace that leads a mask back to the scanner's grid.

Axes of every array are (i, j, k), the order of the voxel axes in the file as nibabel gives them.
World coordinates are RAS+ in mm: x grows to the patient's right, y to anterior, z to superior.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from interactivepet.core.axes import Permutation, match_axes

__all__ = [
    "CONNECTIVITY",
    "GRID_TOLERANCE_MM",
    "ORTHOGONALITY_TOLERANCE",
    "BoundingBox",
    "FloatArray",
    "Geometry",
    "Shape",
    "Spacing",
    "SpatialTrace",
    "to_triple",
]

Value = TypeVar("Value")

Shape = tuple[int, int, int]
"""Voxels along (i, j, k)."""
Spacing = tuple[float, float, float]
"""Millimetres along (i, j, k)."""
FloatArray = npt.NDArray[np.float64]
"""Coordinates, in voxels or mm."""

CONNECTIVITY: Final = 26
"""Voxels that share a face, an edge or a corner belong to one object, wherever objects are counted.

PET lesions are a few voxels wide, so a stricter rule would break one into several. The challenges' own scores, which
count through faces and edges only, have a constant of their own in `evaluation.lesions`.
"""

GRID_TOLERANCE_MM = 0.01
"""Two grids are the same when no corner of one lies further than this from its twin in the other.

A hundredth of a millimetre is far below any PET voxel and far above what single precision headers
(NIfTI stores its affine in float32) lose.
"""

ORTHOGONALITY_TOLERANCE = 1e-3
"""Largest cosine between two voxel axes that still counts as orthogonal; a sheared grid is refused."""


def to_triple(values: Iterable[Value]) -> tuple[Value, Value, Value]:
    """Give the three values along (i, j, k) as a tuple of that length."""
    i, j, k = values
    return (i, j, k)


@dataclass(frozen=True, slots=True)
class BoundingBox:
    """A box of voxels, half-open: `start` is inside, `stop` is not."""

    start: Shape
    stop: Shape

    @property
    def shape(self) -> Shape:
        """Edge lengths in voxels."""
        return to_triple(b - a for a, b in zip(self.start, self.stop, strict=True))

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index of the box in an array whose last three axes are (i, j, k), all of them given."""
        return to_triple(slice(a, b) for a, b in zip(self.start, self.stop, strict=True))

    def offset(self, voxel: Shape) -> Shape:
        """Give the index of a voxel of the grid, counted from the start of the box."""
        return to_triple(v - a for v, a in zip(voxel, self.start, strict=True))

    def grown(self, margin: Shape, within: Shape) -> BoundingBox:
        """Grow by `margin` voxels on each side of each axis, cut at the borders of a grid of shape `within`."""
        start = to_triple(max(0, a - m) for a, m in zip(self.start, margin, strict=True))
        return BoundingBox(start, to_triple(min(n, b + m) for b, m, n in zip(self.stop, margin, within, strict=True)))

    def union(self, other: BoundingBox) -> BoundingBox:
        """Give the smallest box that holds both."""
        start = to_triple(map(min, self.start, other.start))
        return BoundingBox(start, to_triple(map(max, self.stop, other.stop)))

    def intersection(self, other: BoundingBox) -> BoundingBox | None:
        """Give the voxels that both boxes hold; None when they share none."""
        box = BoundingBox(to_triple(map(max, self.start, other.start)), to_triple(map(min, self.stop, other.stop)))
        return box if min(box.shape) > 0 else None

    def slices_in(self, outer: BoundingBox) -> tuple[slice, slice, slice]:
        """Index of the box in an array of the voxels of `outer`, which holds the box."""
        return to_triple(slice(a - s, b - s) for a, b, s in zip(self.start, self.stop, outer.start, strict=True))

    def cut(self, array: Any) -> npt.NDArray[Any]:
        """Copy the voxels of the box out of an array (C, I, J, K); they are 0 where the box reaches beyond it."""
        values = np.zeros((array.shape[0], *self.shape), array.dtype)
        inner = self.intersection(BoundingBox.at((0, 0, 0), to_triple(array.shape[1:])))
        if inner is not None:
            values[(slice(None), *inner.slices_in(self))] = array[(slice(None), *inner.slices)]
        return values

    def widened(self, minimum: Shape, within: Shape) -> BoundingBox:
        """Widen each edge to `minimum` voxels where the grid of shape `within` has that many, about the same centre."""
        edges = []
        for a, b, edge, n in zip(self.start, self.stop, minimum, within, strict=True):
            length = max(b - a, min(edge, n))
            start = min(max(0, (a + b - length) // 2), n - length)
            edges.append((start, start + length))
        return BoundingBox(*(to_triple(side) for side in zip(*edges, strict=True)))

    @staticmethod
    def at(start: Shape, shape: Shape) -> BoundingBox:
        """Give the box of `shape` voxels that begins at `start`."""
        return BoundingBox(start, to_triple(a + n for a, n in zip(start, shape, strict=True)))

    def permuted(self, axes: Permutation) -> BoundingBox:
        """Give the same box of an array whose axes are permuted."""
        (i, j, k), (x, y, z) = ((edge[axes[0]], edge[axes[1]], edge[axes[2]]) for edge in (self.start, self.stop))
        return BoundingBox((i, j, k), (x, y, z))

    @staticmethod
    def of_voxel(voxel: Shape) -> BoundingBox:
        """Give the box of one voxel."""
        i, j, k = voxel
        return BoundingBox(voxel, (i + 1, j + 1, k + 1))

    @staticmethod
    def of(mask: npt.NDArray[np.bool_]) -> BoundingBox | None:
        """Give the smallest box that holds every true voxel of `mask` (I, J, K), or None when there is none."""
        ranges: list[tuple[int, int]] = []
        for axis in range(3):
            others = tuple(a for a in range(3) if a != axis)
            hit = np.flatnonzero(mask.any(axis=others))
            if hit.size == 0:
                return None
            ranges.append((int(hit[0]), int(hit[-1]) + 1))
        return BoundingBox(*(to_triple(side) for side in zip(*ranges, strict=True)))


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """Where a voxel grid lies in space.

    Attributes:
        shape: voxels along (i, j, k).
        affine: (4, 4) float64, voxel centre indices -> RAS+ mm.
    """

    shape: Shape
    affine: FloatArray

    @property
    def spacing_mm(self) -> Spacing:
        """Distance between neighbouring voxel centres along (i, j, k), in mm."""
        return to_triple(float(v) for v in np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(np.prod(self.spacing_mm)) / 1000.0

    @property
    def is_orthogonal(self) -> bool:
        """Whether the voxel axes are at right angles within `ORTHOGONALITY_TOLERANCE`."""
        axes = self.affine[:3, :3] / np.asarray(self.spacing_mm)
        cosines = axes.T @ axes - np.eye(3)
        return bool(np.abs(cosines).max() <= ORTHOGONALITY_TOLERANCE)

    def to_voxel(self, position_mm: npt.ArrayLike) -> FloatArray:
        """Convert RAS+ mm, shape (3,) or (N, 3), to continuous voxel indices of the same shape."""
        matrix = np.linalg.inv(self.affine)
        index: FloatArray = np.asarray(position_mm, dtype=np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
        return index

    def find_voxel(self, position_mm: npt.ArrayLike) -> Shape:
        """Find the voxel that holds a RAS+ mm position, shape (3,); for one outside of the grid, the nearest voxel."""
        nearest = np.floor(self.to_voxel(position_mm) + 0.5)
        return to_triple(int(n) for n in np.clip(nearest, 0, np.asarray(self.shape) - 1))

    def to_mm(self, index: npt.ArrayLike) -> FloatArray:
        """Convert continuous voxel indices, shape (3,) or (N, 3), to RAS+ mm of the same shape."""
        return np.asarray(index, dtype=np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def contains(self, position_mm: npt.ArrayLike) -> bool:
        """Whether a RAS+ mm position, shape (3,), lies within the outer faces of the grid."""
        index = self.to_voxel(position_mm)
        return bool(np.all(index >= -0.5) and np.all(index < np.asarray(self.shape) - 0.5))

    def offset_mm(self, other: Geometry) -> float:
        """Largest distance in mm between corners of the two grids that should coincide; inf if shapes differ."""
        if self.shape != other.shape:
            return float("inf")
        corners = np.array(np.meshgrid(*((0, n - 1) for n in self.shape))).reshape(3, -1).T
        return float(np.linalg.norm(self.to_mm(corners) - other.to_mm(corners), axis=1).max())

    def matches(self, other: Geometry, tolerance_mm: float = GRID_TOLERANCE_MM) -> bool:
        """Whether both grids have the same shape and coincide within `tolerance_mm`."""
        return self.offset_mm(other) <= tolerance_mm

    def cropped(self, box: BoundingBox) -> Geometry:
        """Give the grid of the voxels inside `box`."""
        affine = self.affine.copy()
        affine[:3, 3] = self.to_mm(box.start)
        return Geometry(box.shape, affine)

    def permuted(self, axes: Permutation) -> Geometry:
        """Give the grid of the same voxels in another order of the axes."""
        i, j, k = (self.shape[axis] for axis in axes)
        return Geometry((i, j, k), np.ascontiguousarray(self.affine[:, [*axes, 3]]))

    def resampled(self, shape: Shape) -> Geometry:
        """Give the grid of `shape` voxels that fills the same outer faces."""
        scale = np.asarray(self.shape) / np.asarray(shape)
        affine = self.affine.copy()
        affine[:3, :3] = self.affine[:3, :3] * scale
        affine[:3, 3] = self.to_mm((scale - 1) / 2)
        return Geometry(shape, affine)


@dataclass(frozen=True, slots=True, eq=False)
class SpatialTrace:
    """Everything needed to return from a preprocessed grid to the scanner's grid.

    Attributes:
        original: the grid of the file.
        crop: the box of `original` that was kept.
        resampled: the grid after permuting the axes, cropping and resampling; what networks see.
    """

    original: Geometry
    crop: BoundingBox
    resampled: Geometry

    @property
    def axes(self) -> Permutation:
        """The axis of `original` that each axis of `resampled` lies along."""
        return match_axes(self.original.affine, self.resampled.affine)
