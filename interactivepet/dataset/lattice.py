"""Masks on the voxels of another grid, one to one: flipped, with axes in another order, cropped or padded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import Geometry, Shape, to_triple
from interactivepet.errors import CaseError

__all__ = ["Placement", "find_placement"]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the voxels of one grid lie among those of another, the target.

    Attributes:
        order: axis of the source along each axis of the target.
        is_flipped: for each axis of the target, whether the source runs against it.
        start: voxel of the target at the lowest corner of the source; outside of the target where it is negative.
        shape: of the source in the target's order of axes.
        target: shape of the target.
    """

    order: tuple[int, int, int]
    is_flipped: tuple[bool, bool, bool]
    start: Shape
    shape: Shape
    target: Shape

    def apply(self, mask: npt.NDArray[np.uint8], *, name: str) -> npt.NDArray[np.uint8]:
        """Place a mask on the target without changing any voxel.

        Args:
            mask: (I, J, K) on the source.
            name: of the mask, for the error.

        Returns:
            The mask on the target; 0 where the source does not reach.

        Raises:
            CaseError: labelled voxels lie outside of the target.
        """
        turned = mask.transpose(self.order)
        turned = turned[tuple(slice(None, None, -1 if flipped else 1) for flipped in self.is_flipped)]
        placed = np.zeros(self.target, dtype=mask.dtype)
        axes = list(zip(self.start, self.shape, self.target, strict=True))
        there = tuple(slice(max(0, start), max(0, min(n, start + length))) for start, length, n in axes)
        here = tuple(slice(max(0, -start), max(0, min(length, n - start))) for start, length, n in axes)
        placed[there] = turned[here]
        lost = int(np.count_nonzero(mask)) - int(np.count_nonzero(placed))
        if lost:
            raise CaseError(
                f"{name}: {lost} of its {int(np.count_nonzero(mask))} labelled voxels lie outside of the image; check "
                "that both are of one study, or crop the mask"
            )
        return placed

    def describe(self) -> str:
        """Say how the source differs: `flipped, cropped`; empty when the grids are the same."""
        sides = list(zip(self.start, self.shape, self.target, strict=True))
        words = {
            "axes in another order": self.order != (0, 1, 2),
            "flipped": any(self.is_flipped),
            "cropped": any(start > 0 or start + length < n for start, length, n in sides),
            "padded": any(start < 0 or start + length > n for start, length, n in sides),
        }
        return ", ".join(word for word, applies in words.items() if applies)


def find_placement(geometry: Geometry, target: Geometry) -> Placement | None:
    """Find where the voxels of a grid lie among those of another.

    Args:
        geometry: the source's grid.
        target: the grid to place it on.

    Returns:
        None when the voxels do not coincide within `GRID_TOLERANCE_MM`, when the grids have no voxel in common, or when
        they have the same length along an axis but are shifted along it: that is a header without its origin.
    """
    if geometry.matches(target):
        return Placement((0, 1, 2), (False, False, False), (0, 0, 0), target.shape, target.shape)
    steps = np.rint(np.linalg.inv(target.affine[:3, :3]) @ geometry.affine[:3, :3])
    if not (np.abs(steps).sum(axis=0) == 1).all() or not (np.abs(steps).sum(axis=1) == 1).all():
        return None
    first = np.rint(target.to_voxel(geometry.affine[:3, 3]))
    exact = target.affine @ np.block([[steps, first[:, None]], [np.zeros((1, 3)), np.ones((1, 1))]])
    if not geometry.matches(Geometry(geometry.shape, exact)):
        return None
    order = to_triple(int(axis) for axis in np.abs(steps).argmax(axis=1))
    flips = [bool(steps[axis, order[axis]] < 0) for axis in range(3)]
    shape = tuple(geometry.shape[axis] for axis in order)
    start = tuple(int(first[axis]) - (shape[axis] - 1 if flips[axis] else 0) for axis in range(3))
    for a, n, m in zip(start, shape, target.shape, strict=True):
        if a + n <= 0 or a >= m or (n == m and a != 0):
            return None
    return Placement(
        order,
        to_triple(flips),
        to_triple(start),
        to_triple(shape),
        target.shape,
    )
