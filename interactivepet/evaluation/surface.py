"""Surface Dice at a tolerance: the share of two surfaces, by area, that lies within some millimetres of the other."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import BoundingBox, Spacing

__all__ = ["surface_dice"]

Mask = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]

_MIDDLE = 0.5
"""The surface runs halfway between a voxel inside and a voxel outside."""


def surface_dice(
    mask: Mask, reference: Mask, *, spacing_mm: Spacing, tolerances_mm: Sequence[float]
) -> tuple[float | None, ...]:
    """Measure the normalised surface Dice at several tolerances.

    The surface is the one of marching cubes: each cell between eight neighbouring voxel centres holds a piece of
    surface whose area follows from which of the eight are inside. A piece lies as far from the other surface as its
    cell from the nearest cell that the other surface passes. In a 2D image (an axis of one voxel) cells have four
    corners and pieces have lengths.

    Args:
        mask: (I, J, K) bool; what lies outside of the grid is background.
        reference: the same, of the same shape.
        spacing_mm: along (i, j, k).
        tolerances_mm: distances in mm that still count as no difference.

    Returns:
        For each tolerance a share in [0, 1]; 0 when exactly one of the two is empty, None when both are.

    Source:
        Nikolov et al. 2021, J Med Internet Res 23(7) e26151, as their package `surface-distance` computes it.
    """
    if not mask.any() and not reference.any():
        return (None,) * len(tolerances_mm)
    if not mask.any() or not reference.any():
        return (0.0,) * len(tolerances_mm)
    box = BoundingBox.of(mask | reference) or BoundingBox((0, 0, 0), (1, 1, 1))
    axes = [axis for axis in range(3) if mask.shape[axis] > 1] or [0, 1, 2]
    shown = tuple(n for axis, n in enumerate(box.shape) if axis in axes)
    codes = [_encode_cells(volume[box.slices].reshape(shown)) for volume in (mask, reference)]
    edges_mm = tuple(spacing_mm[axis] for axis in axes)
    areas = [_measure_codes(edges_mm)[code] for code in codes]
    distances = [_measure_distance(area > 0, edges_mm) for area in areas]
    total = sum(float(area.sum()) for area in areas)
    far = [
        float(areas[0][distances[1] > limit].sum() + areas[1][distances[0] > limit].sum()) for limit in tolerances_mm
    ]
    return tuple(max(0.0, 1.0 - value / total) for value in far)


def _encode_cells(mask: Mask) -> npt.NDArray[np.uint8]:
    """Give for every cell between neighbouring voxels which of its corners are inside, one bit a corner."""
    padded = np.pad(mask, 1).astype(np.uint8)
    codes = np.zeros([n + 1 for n in mask.shape], dtype=np.uint8)
    for bit, corner in enumerate(product((0, 1), repeat=mask.ndim)):
        index = tuple(slice(start, start + n) for start, n in zip(corner, codes.shape, strict=True))
        codes |= padded[index] << np.uint8(bit)
    return codes


@lru_cache(maxsize=64)
def _measure_codes(edges_mm: tuple[float, ...]) -> FloatArray:
    """Give the area (mm2), or in 2D the length (mm), of the surface in a cell of every code."""
    measure = _measure_patch if len(edges_mm) == 3 else _measure_line
    n_corners = 2 ** len(edges_mm)
    areas = np.zeros(2**n_corners)
    for code in range(1, 2**n_corners - 1):
        bits = [(code >> bit) & 1 for bit in range(n_corners)]
        areas[code] = measure(np.array(bits, dtype=np.float64).reshape((2,) * len(edges_mm)), edges_mm)
    return areas


def _measure_patch(corners: FloatArray, edges_mm: tuple[float, ...]) -> float:
    """Measure the area of marching cubes in one cell (2, 2, 2)."""
    from skimage.measure import marching_cubes, mesh_surface_area

    # What is ambiguous is decided for the fewer corners, so that inside and outside have one surface.
    fewer = corners if corners.sum() <= 4 else 1 - corners
    vertices, faces, *_ = marching_cubes(fewer, _MIDDLE, spacing=edges_mm, method="lorensen")
    return float(mesh_surface_area(vertices, faces))


def _measure_line(corners: FloatArray, edges_mm: tuple[float, ...]) -> float:
    """Measure the length of the outline in one cell: (2, 2), or (2,) in an image of a single row."""
    if corners.ndim == 1:
        return 1.0
    first, second = edges_mm
    if corners.sum() in (1, 3):
        return float(np.hypot(first, second)) / 2
    if corners[0, 0] == corners[1, 1]:
        return float(np.hypot(first, second))
    return second if corners[0, 0] == corners[0, 1] else first


def _measure_distance(surface: Mask, edges_mm: tuple[float, ...]) -> npt.NDArray[np.float32]:
    """Give for each cell the distance in mm to the nearest cell that a surface passes."""
    import edt

    distance = edt.edt(~surface, anisotropy=edges_mm, black_border=False, parallel=1)
    return np.asarray(distance, dtype=np.float32)
