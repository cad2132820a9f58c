"""The order of voxel axes: which axis of the body each one follows, and how arrays are brought to another order.

Networks see voxels without a sense of direction, and spacing, patch and kernels are planned axis by axis. A volume that
is stored in another order of its axes than those of training is therefore transposed first, and its mask back.
"""

from __future__ import annotations

from itertools import permutations
from typing import Any, Final, Literal, TypeVar, get_args

import numpy as np
import numpy.typing as npt

__all__ = ["IDENTITY", "AxisOrder", "Permutation", "find_axes", "find_axis_order", "invert", "match_axes", "transpose"]

AxisOrder = Literal["xyz", "xzy", "yxz", "yzx", "zxy", "zyx"]
"""The world axis (x to the right, y to anterior, z to superior, either way) that i, j and k follow most closely."""

Permutation = tuple[int, int, int]
"""Axis of the array before, for each axis of the array after, as `numpy.transpose` counts them."""

IDENTITY: Final[Permutation] = (0, 1, 2)

CLOSENESS = 0.1
"""Sum of the cosines between voxel and world axes by which another order must be closer than the present one.

A grid turned by about 45 degrees follows two orders equally well, and noise must not decide: it is left as it is.
"""

_PERMUTATIONS: Final[tuple[Permutation, ...]] = tuple((a, b, c) for a, b, c in permutations(range(3)))

Scalar = TypeVar("Scalar", bound=np.generic)


def find_axis_order(affine: npt.NDArray[np.float64]) -> AxisOrder:
    """Find the order that a (4, 4) affine, voxel -> RAS+ mm, follows most closely; flips do not matter."""
    cosines = _measure_cosines(affine)
    return max(get_args(AxisOrder), key=lambda order: _sum_cosines(cosines, order, IDENTITY))


def find_axes(
    affine: npt.NDArray[np.float64], shape: tuple[int, int, int], *, order: AxisOrder | None, flat: int | None = None
) -> Permutation:
    """Find the permutation that brings a grid closest to an order.

    Args:
        affine: (4, 4), voxel -> RAS+ mm.
        shape: voxels along (i, j, k).
        order: wanted; None changes nothing.
        flat: axis of the order along which pictures of one slice have their single voxel; None for volumes. A picture
            keeps its slice there, whatever its affine says: formats of pictures know no directions.

    Returns:
        The permutation; the present order stays unless another one is closer by `CLOSENESS`.
    """
    if order is None:
        return IDENTITY
    cosines = _measure_cosines(affine)
    allowed = [axes for axes in _PERMUTATIONS if flat is not None and shape[axes[flat]] == 1] or list(_PERMUTATIONS)
    best = max(allowed, key=lambda axes: _sum_cosines(cosines, order, axes))
    gain = _sum_cosines(cosines, order, best) - _sum_cosines(cosines, order, IDENTITY)
    return IDENTITY if IDENTITY in allowed and gain <= CLOSENESS else best


def match_axes(affine: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> Permutation:
    """Find the axis of a (4, 4) affine that each axis of another one is parallel to."""
    unit, other_unit = (a[:3, :3] / np.linalg.norm(a[:3, :3], axis=0) for a in (affine, other))
    cosines = np.abs(unit.T @ other_unit)
    return max(_PERMUTATIONS, key=lambda axes: float(cosines[list(axes), (0, 1, 2)].sum()))


def transpose(array: npt.NDArray[Scalar], axes: Permutation) -> npt.NDArray[Scalar]:
    """Permute the last three axes into a contiguous copy; the array itself for `IDENTITY`."""
    if axes == IDENTITY:
        return array
    n_before = array.ndim - 3
    return np.ascontiguousarray(array.transpose(*range(n_before), *(n_before + axis for axis in axes)))


def invert(axes: Permutation) -> Permutation:
    """Give the permutation that undoes another one."""
    i, j, k = (axes.index(axis) for axis in range(3))
    return (i, j, k)


def _measure_cosines(affine: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Give (3, 3) absolute cosines between world axes (rows) and voxel axes (columns)."""
    linear = affine[:3, :3]
    cosines: npt.NDArray[Any] = np.abs(linear) / np.linalg.norm(linear, axis=0)
    return cosines


def _sum_cosines(cosines: npt.NDArray[np.float64], order: AxisOrder, axes: Permutation) -> float:
    return float(sum(cosines["xyz".index(world), axis] for world, axis in zip(order, axes, strict=True)))
