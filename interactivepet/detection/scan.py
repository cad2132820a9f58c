"""An image turned to the patient's axes, on voxels coarse enough for whole bodies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from interactivepet.core.blocks import average_blocks
from interactivepet.core.geometry import BoundingBox, Geometry, Shape, Spacing, to_triple

__all__ = ["COARSE_MM", "BoolVolume", "Scan", "Volume", "make_scan"]

COARSE_MM = 4.0
"""Voxels are joined up to this edge: the smallest lesions that PET shows are twice as wide."""

Volume = npt.NDArray[np.float32]
BoolVolume = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """One channel along the patient's axes, cut to a box.

    Attributes:
        values: (X, Y, Z) float32 in the unit of the image; x grows to the right, y to anterior, z to superior.
        spacing_mm: along x, y, z.
        order: axis of the image that each of x, y, z lies along.
        flips: whether the image's axis runs against x, y, z.
        steps: voxels of the image that were joined along x, y, z.
        full: voxels of the image along x, y, z.
        start: voxels, of the joined ones, that were cut off before the first.
    """

    values: Volume
    spacing_mm: Spacing
    order: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    steps: Shape
    full: Shape
    start: Shape = (0, 0, 0)

    @property
    def shape(self) -> Shape:
        """Voxels along x, y, z."""
        return to_triple(self.values.shape)

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel."""
        return float(np.prod(self.spacing_mm)) / 1000.0

    def cropped(self, box: BoundingBox) -> Scan:
        """Give the voxels of a box."""
        start = to_triple(a + b for a, b in zip(self.start, box.start, strict=True))
        return replace(self, values=np.ascontiguousarray(self.values[box.slices]), start=start)

    def from_grid(self, mask: BoolVolume) -> BoolVolume:
        """Bring a mask (I, J, K) to the scan's voxels: those of which it fills at least half."""
        share = average_blocks(_flip(mask.transpose(self.order), self.flips).astype(np.float32), self.steps)
        return np.asarray(share[BoundingBox.at(self.start, self.shape).slices] >= 0.5)

    def to_grid(self, box: BoundingBox, mask: BoolVolume) -> tuple[BoundingBox, BoolVolume]:
        """Bring a mask (x, y, z) within a box of the scan back to the image: its box there, and (i, j, k) within it."""
        for axis, step in enumerate(self.steps):
            mask = mask.repeat(step, axis=axis)
        ranges: list[tuple[int, int]] = [(0, 0)] * 3
        for axis, (n, step, flip) in enumerate(zip(self.full, self.steps, self.flips, strict=True)):
            low = (box.start[axis] + self.start[axis]) * step
            high = min(n, (box.stop[axis] + self.start[axis]) * step)
            mask = mask.take(np.arange(high - low), axis=axis)
            ranges[self.order[axis]] = (n - high, n - low) if flip else (low, high)
        start, stop = (to_triple(side) for side in zip(*ranges, strict=True))
        turned = _flip(mask, self.flips).transpose(np.argsort(self.order))
        return BoundingBox(start, stop), np.ascontiguousarray(turned)


def make_scan(image: Volume, geometry: Geometry) -> Scan:
    """Turn an image to the patient's axes and join its voxels.

    Args:
        image: (I, J, K) float32; values that are not finite count as 0.
        geometry: its grid, whose axes may lie anyhow but along the patient's axes roughly.
    """
    from scipy.optimize import linear_sum_assignment

    directions = geometry.affine[:3, :3] / np.asarray(geometry.spacing_mm)
    _, columns = linear_sum_assignment(-np.abs(directions))
    order = to_triple(int(column) for column in columns)
    flips = to_triple(bool(directions[row, column] < 0) for row, column in enumerate(order))
    spacing = to_triple(geometry.spacing_mm[axis] for axis in order)
    steps = to_triple(max(1, int(COARSE_MM / mm + 1e-6)) for mm in spacing)
    turned = np.nan_to_num(image.transpose(order), posinf=0.0, neginf=0.0)
    values = np.ascontiguousarray(average_blocks(_flip(turned, flips), steps), dtype=np.float32)
    coarse_mm = to_triple(mm * step for mm, step in zip(spacing, steps, strict=True))
    return Scan(values, coarse_mm, order, flips, steps, to_triple(turned.shape))


def _flip(values: npt.NDArray[Any], flips: tuple[bool, bool, bool]) -> npt.NDArray[Any]:
    return values[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
