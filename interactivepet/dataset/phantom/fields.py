"""Smooth random fields and random lines on a grid: what irregular shapes and uneven uptake are made of."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import Shape

__all__ = ["Axes", "FloatArray", "find_distance_mm", "make_axes", "make_basis", "make_field", "make_line"]

FloatArray = npt.NDArray[np.float32]
Axes = tuple[FloatArray, FloatArray, FloatArray]
"""Positions in mm of the voxels along (i, j, k)."""

FIELD_STD = 0.33
"""Standard deviation of a product of three cubic B-spline sums of standard normal coefficients."""


def make_axes(shape: Shape, step_mm: tuple[float, float, float]) -> Axes:
    """Give the positions of voxels, with the middle of the grid at 0."""
    i, j, k = (((np.arange(n) - (n - 1) / 2) * mm).astype(np.float32) for n, mm in zip(shape, step_mm, strict=True))
    return i, j, k


def make_field(axes_mm: Axes, *, length_mm: float, rng: np.random.Generator) -> FloatArray:
    """Draw a smooth field, (I, J, K) float32 of about zero mean and unit variance.

    It is a sum of cubic B-splines with normal coefficients on a lattice, one axis after the other.

    Args:
        axes_mm: positions of the voxels.
        length_mm: distance of the lattice's points: structures are about twice as wide.
        rng: random numbers.
    """
    bases = [make_basis(axis, length_mm) for axis in axes_mm]
    lattice = rng.normal(size=[basis.shape[1] for basis in bases]).astype(np.float32)
    field = np.einsum("ia,abc->ibc", bases[0], lattice, optimize=True)
    field = np.einsum("jb,ibc->ijc", bases[1], field, optimize=True)
    field = np.einsum("kc,ijc->ijk", bases[2], field, optimize=True)
    return np.asarray(field / FIELD_STD, np.float32)


def make_basis(axis_mm: FloatArray, length_mm: float) -> FloatArray:
    """Give the cubic B-splines of a lattice along an axis, (n, lattice points) float32."""
    low, high = float(axis_mm[0]), float(axis_mm[-1])
    n_points = int(np.ceil((high - low) / length_mm)) + 4
    points = low - 1.5 * length_mm + length_mm * np.arange(n_points)
    u = np.abs(axis_mm[:, None] - points) / length_mm
    near, far = 2 / 3 - u**2 + u**3 / 2, np.maximum(0, 2 - u) ** 3 / 6
    return np.asarray(np.where(u < 1, near, far), np.float32)


def make_line(start_mm: npt.NDArray[np.float64], *, length_mm: float, rng: np.random.Generator) -> FloatArray:
    """Draw a bent line through a point as (N, 3) float32 points some 5 mm apart."""
    n = max(2, int(length_mm / 5.0))
    turns = np.cumsum(rng.normal(0.0, 0.25, (n, 3)), axis=0) + rng.normal(size=3)
    steps = turns / np.linalg.norm(turns, axis=1, keepdims=True) * (length_mm / n)
    places = np.cumsum(steps, axis=0)
    return np.asarray(places - places[n // 2] + start_mm, np.float32)


def find_distance_mm(axes_mm: Axes, points_mm: FloatArray) -> FloatArray:
    """Measure the distance of every voxel from the nearest of (N, 3) points, (I, J, K) float32 in mm."""
    i, j, k = axes_mm
    nearest = np.full((i.size, j.size, k.size), np.inf, np.float32)
    for x, y, z in points_mm:
        flat = (i - x)[:, None] ** 2 + (j - y) ** 2
        np.minimum(nearest, flat[:, :, None] + (k - z) ** 2, out=nearest)
    return np.sqrt(nearest)
