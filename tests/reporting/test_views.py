from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from interactivepet.core.geometry import BoundingBox, Geometry
from interactivepet.core.interaction import Click
from interactivepet.reporting.views import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    choose_planes,
    find_centre,
    find_field,
    find_object,
    reorient,
    reorient_geometry,
)


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("signs", list(product((-1, 1), repeat=3)))
def test_reorienting_keeps_every_voxel_where_it_is(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) * signs * (2.0, 3.0, 4.0))[:, order] + 0.05
    affine[:3, 3] = (10, -20, 30)
    geometry = Geometry((3, 4, 5), affine)
    array = np.arange(2 * 60).reshape(2, 3, 4, 5)
    turned, grid = reorient(array, geometry), reorient_geometry(geometry)
    assert turned.shape[1:] == grid.shape
    assert np.all(np.diag(grid.affine)[:3] > 1.9)
    for voxel in ((0, 0, 0), (2, 1, 3), (2, 3, 4)):
        new = np.rint(grid.to_voxel(geometry.to_mm(voxel))).astype(int)
        np.testing.assert_array_equal(turned[(slice(None), *new)], array[(slice(None), *voxel)])


def test_planes_are_three_or_the_one_of_the_image() -> None:
    assert choose_planes((4, 5, 6)) == (AXIAL, CORONAL, SAGITTAL)
    assert choose_planes((4, 5, 1)) == (AXIAL,)
    assert choose_planes((4, 1, 6)) == (CORONAL,)
    assert choose_planes((1, 5, 6)) == (SAGITTAL,)


def test_object_is_the_largest_component_of_the_first_map_that_holds_one() -> None:
    first, second = np.zeros((2, 9, 9, 9), np.uint8)
    assert find_object([first, second]) is None
    second[0, 0, 0] = 1
    second[4:7, 4:7, 4:7] = 2
    target = find_object([first, second])
    assert target is not None
    assert BoundingBox.of(target) == BoundingBox((4, 4, 4), (7, 7, 7))


def test_centre_lies_in_the_object_even_in_a_ring() -> None:
    ring = np.zeros((9, 9, 1), np.bool_)
    ring[1:8, 1:8] = True
    ring[2:7, 2:7] = False
    centre = find_centre(ring, (), Geometry((9, 9, 1), np.diag([1.0, 3.0, 1.0, 1.0])))
    assert ring[centre]
    assert centre in ((1, 4, 0), (7, 4, 0))


def test_centre_without_object_is_a_click_or_the_middle() -> None:
    geometry = Geometry((9, 9, 9), np.diag([2.0, 2.0, 2.0, 1.0]))
    outside, inside = Click(position_mm=(-50, 0, 0)), Click(position_mm=(2, 4, 7))
    assert find_centre(None, (outside, inside), geometry) == (1, 2, 4)
    assert find_centre(None, (outside,), geometry) == (4, 4, 4)


def test_field_is_a_part_of_a_large_volume_only() -> None:
    target = np.zeros((100, 100, 100), np.bool_)
    target[10:14, 50:54, 50:54] = True
    small = Geometry((100, 100, 100), np.eye(4))
    large = Geometry((100, 100, 100), np.diag([4.0, 4.0, 4.0, 1.0]))
    assert find_field(target, (12, 52, 52), small).shape == small.shape
    assert find_field(None, (12, 52, 52), large).shape == large.shape
    field = find_field(target, (12, 52, 52), large)
    assert field == BoundingBox((0, 32, 32), (33, 73, 73))
