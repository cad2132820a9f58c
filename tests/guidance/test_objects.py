from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from interactivepet.guidance.objects import find_depth_mm, find_objects, find_shell


def test_objects_are_split_by_distance_and_by_label() -> None:
    label = np.zeros((8, 8, 8), dtype=np.uint8)
    label[0, 0, 0] = label[1, 1, 1] = 1
    label[5:7, 5:7, 5:7] = 1
    label[4, 4, 4] = 2

    corner, cube = find_objects(label, value=1)

    assert corner.mask.sum() == 2
    assert (corner.box.start, corner.box.stop) == ((0, 0, 0), (3, 3, 3))
    assert (cube.box.start, cube.box.stop) == ((4, 4, 4), (8, 8, 8))
    assert cube.mask.sum() == 8
    assert len(find_objects(label, value=2)) == 1
    assert find_objects(label, value=3) == ()


def test_an_object_does_not_see_its_neighbour() -> None:
    label = np.zeros((6, 3, 3), dtype=np.uint8)
    label[0:2] = label[3:5] = 1

    first, second = find_objects(label, value=1)

    assert first.box.stop[0] == 3
    assert second.box.start[0] == 2
    assert first.mask.sum() == second.mask.sum() == 18


@pytest.mark.parametrize("shape", [(12, 11, 10), (12, 11, 1), (12, 1, 1)])
def test_depth_is_the_distance_to_the_outside(shape: tuple[int, int, int]) -> None:
    mask = np.random.default_rng(0).random(shape) < 0.8
    spacing = (1.5, 2.0, 5.0)
    width = [(int(n > 1),) * 2 for n in shape]
    expected = ndimage.distance_transform_edt(np.pad(mask, width), sampling=spacing)
    inside = tuple(slice(a, a + n) for (a, _), n in zip(width, shape, strict=True))

    assert find_depth_mm(mask, spacing_mm=spacing) == pytest.approx(expected[inside], abs=1e-4)


def test_the_shell_touches_the_outside_but_not_the_edge_of_the_grid() -> None:
    mask = np.zeros((7, 7, 7), dtype=bool)
    mask[0:5, 1:6, 1:6] = True

    shell = find_shell(mask)

    expected = mask & ~ndimage.binary_erosion(mask, border_value=1)
    assert np.array_equal(shell, expected)
    assert not shell[0, 3, 3]
    assert not find_shell(np.ones((3, 3, 3), dtype=bool)).any()
    assert mask.sum() == 125
