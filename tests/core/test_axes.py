"""Orders of voxel axes: what an affine follows, how a grid is brought to another order, and what is left alone."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from interactivepet.core.axes import (
    IDENTITY,
    AxisOrder,
    Permutation,
    find_axes,
    find_axis_order,
    invert,
    match_axes,
    transpose,
)
from interactivepet.core.geometry import BoundingBox, Geometry, SpatialTrace

SHAPE = (5, 7, 9)
PERMUTATIONS: list[Permutation] = list(permutations(range(3)))


def make_affine(turn_deg: tuple[float, float, float] = (0, 0, 0), flips: tuple[int, ...] = (1, 1, 1)) -> np.ndarray:
    affine = np.eye(4)
    turned = Rotation.from_euler("xyz", turn_deg, degrees=True).as_matrix()
    affine[:3, :3] = turned @ np.diag(np.multiply(flips, (2.0, 3.0, 5.0)))
    affine[:3, 3] = (-31.0, 12.5, 880.0)
    return affine


def permute(affine: np.ndarray, axes: Permutation) -> np.ndarray:
    return affine[:, [*axes, 3]]


@pytest.mark.parametrize("axes", PERMUTATIONS)
@pytest.mark.parametrize("turn", [(0, 0, 0), (10, -20, 5), (0, 30, 0)])
@pytest.mark.parametrize("flips", list(product((1, -1), repeat=3)))
def test_a_grid_is_brought_to_the_order(axes: Permutation, turn: tuple[float, ...], flips: tuple[int, ...]) -> None:
    affine = make_affine(turn, flips)
    assert find_axis_order(affine) == "xyz"
    stored = permute(affine, axes)
    assert find_axis_order(stored) == "".join("xyz"[axis] for axis in axes)
    shape = tuple(SHAPE[axis] for axis in axes)
    back = find_axes(stored, shape, order="xyz")
    assert back == invert(axes)
    assert np.array_equal(permute(stored, back), affine)


@pytest.mark.parametrize(
    ("turn", "order", "expected"),
    [
        ((0, 0, 0), None, IDENTITY),
        ((0, 0, 0), "xyz", IDENTITY),
        ((0, 0, 44), "xyz", IDENTITY),
        ((0, 0, 46), "xyz", IDENTITY),
        ((0, 0, 50), "xyz", (1, 0, 2)),
        ((0, 0, 90), "xyz", (1, 0, 2)),
        ((0, 0, 180), "xyz", IDENTITY),
        ((90, 0, 0), "xyz", (0, 2, 1)),
        ((0, 0, 0), "zyx", (2, 1, 0)),
        ((0, 0, 0), "yzx", (1, 2, 0)),
    ],
)
def test_turned_grids(turn: tuple[float, ...], order: AxisOrder | None, expected: Permutation) -> None:
    assert find_axes(make_affine(turn), SHAPE, order=order) == expected


@pytest.mark.parametrize(
    ("shape", "order", "flat", "expected"),
    [
        ((5, 7, 1), "xyz", 2, IDENTITY),
        # a picture file says nothing of directions, and its slice must stay the slice
        ((5, 7, 1), "xzy", 2, IDENTITY),
        ((5, 7, 1), "yxz", 2, (1, 0, 2)),
        ((5, 1, 7), "xzy", 2, (0, 2, 1)),
        ((1, 5, 7), "xyz", 2, (2, 1, 0)),
        # a volume for a task of pictures is none of this function's errors
        ((5, 7, 9), "xyz", 2, IDENTITY),
    ],
)
def test_pictures_keep_their_slice(
    shape: tuple[int, int, int], order: AxisOrder, flat: int, expected: Permutation
) -> None:
    assert find_axes(make_affine(), shape, order=order, flat=flat) == expected


@pytest.mark.parametrize("axes", PERMUTATIONS)
def test_arrays_boxes_and_grids_go_together(axes: Permutation) -> None:
    rng = np.random.default_rng(0)
    volume = rng.normal(size=(2, *SHAPE))
    grid, box = Geometry(SHAPE, make_affine((10, 20, 30))), BoundingBox((1, 2, 3), (4, 6, 8))
    moved, there = transpose(volume, axes), grid.permuted(axes)
    assert moved.shape[1:] == there.shape
    assert moved.flags.c_contiguous
    assert np.array_equal(
        moved[(slice(None), *box.permuted(axes).slices)], transpose(volume[(slice(None), *box.slices)], axes)
    )
    assert there.permuted(invert(axes)).offset_mm(grid) == 0
    assert np.array_equal(transpose(moved, invert(axes)), volume)
    index = np.array([1, 2, 3])
    assert np.allclose(there.to_mm(index[list(axes)]), grid.to_mm(index))
    trace = SpatialTrace(grid, box, there.cropped(box.permuted(axes)).resampled((3, 4, 5)))
    assert trace.axes == match_axes(grid.affine, trace.resampled.affine) == axes


def test_the_present_order_costs_no_copy() -> None:
    volume = np.zeros(SHAPE)
    assert transpose(volume, IDENTITY) is volume
