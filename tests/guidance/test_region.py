from __future__ import annotations

import numpy as np
import pytest

from interactivepet.core.geometry import Geometry
from interactivepet.core.interaction import Click
from interactivepet.guidance.region import CASCADE_MARGIN_MM, find_guided_box

GRID = Geometry((40, 30, 20), np.array([[-4.0, 0, 0, 50], [0, 5, 0, -20], [0, 0, 10, 7], [0, 0, 0, 1.0]]))
MARGIN = (5, 4, 2)


def make_click(i: float, j: float, k: float) -> Click:
    x, y, z = GRID.to_mm((i, j, k))
    return Click(position_mm=(x, y, z), label=1, is_positive=True)


def test_the_box_holds_mask_and_clicks_with_a_margin_in_mm() -> None:
    assert [np.ceil(CASCADE_MARGIN_MM / mm) for mm in GRID.spacing_mm] == list(MARGIN)
    mask = np.zeros(GRID.shape, np.uint8)
    mask[12:15, 10:12, 8:10] = 2

    alone = find_guided_box(mask, (), GRID)
    clicked = find_guided_box(mask, (make_click(25.2, 11, 9),), GRID)

    assert alone is not None
    assert (alone.start, alone.stop) == ((7, 6, 6), (20, 16, 12))
    assert clicked is not None
    assert (clicked.start, clicked.stop) == ((7, 6, 6), (31, 16, 12))


def test_the_box_ends_at_the_border() -> None:
    mask = np.zeros(GRID.shape, np.uint8)
    mask[0, 29, 19] = 1
    box = find_guided_box(mask, (make_click(-3, 50, 3),), GRID)
    assert box is not None
    assert (box.start, box.stop) == ((0, 25, 1), (6, 30, 20))


def test_nothing_found_and_nothing_clicked_leaves_nothing_to_refine() -> None:
    assert find_guided_box(np.zeros(GRID.shape, np.uint8), (), GRID) is None


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_axis_of_one_voxel_stays(axis: int) -> None:
    shape = tuple(1 if a == axis else 30 for a in range(3))
    grid = Geometry((shape[0], shape[1], shape[2]), np.eye(4))
    mask = np.ones(grid.shape, np.uint8)
    box = find_guided_box(mask, (), grid)
    assert box is not None
    assert box.shape == shape
