from __future__ import annotations

import numpy as np
import pytest

from interactivepet.core.geometry import Geometry
from interactivepet.dataset.lattice import find_placement
from interactivepet.errors import CaseError

SHAPE = (7, 6, 5)
OBLIQUE = np.array(
    [[-3.0, 0.6, 0.0, 20.0], [-0.45, -4.0, 0.0, 31.5], [0.0, 0.0, 2.5, -80.0], [0.0, 0.0, 0.0, 1.0]],
)
TARGET = Geometry(SHAPE, OBLIQUE)


def make_mask() -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:4, 1:5, 2:4] = 1
    mask[3, 2, 3] = 2
    return mask


def turn(mask: np.ndarray, *, order: tuple[int, ...], flipped: tuple[int, ...]) -> tuple[np.ndarray, Geometry]:
    """Give the same mask axes in another order and direction, and its grid."""
    matrix = np.eye(4)[:, [*order, 3]]
    turned = mask.transpose(order)
    for axis in flipped:
        flip = np.eye(4)
        flip[axis, axis], flip[axis, 3] = -1, turned.shape[axis] - 1
        matrix, turned = matrix @ flip, np.flip(turned, axis)
    return turned, Geometry(turned.shape, OBLIQUE @ matrix)


@pytest.mark.parametrize(
    ("order", "flipped", "words"),
    [
        ((0, 1, 2), (), ""),
        ((0, 1, 2), (2,), "flipped"),
        ((0, 1, 2), (0, 1), "flipped"),
        ((2, 1, 0), (), "axes in another order"),
        ((1, 2, 0), (0, 2), "axes in another order, flipped"),
    ],
)
def test_every_order_and_direction_of_axes(order: tuple[int, ...], flipped: tuple[int, ...], words: str) -> None:
    turned, geometry = turn(make_mask(), order=order, flipped=flipped)
    placement = find_placement(geometry, TARGET)
    assert placement is not None
    np.testing.assert_array_equal(placement.apply(turned, name="mask"), make_mask())
    assert placement.describe() == words


def test_a_cropped_mask_and_one_that_reaches_beyond_the_image() -> None:
    whole = make_mask()
    cropped = whole[1:5, 1:5, 2:5]
    placement = find_placement(Geometry(cropped.shape, OBLIQUE @ shift(1, 1, 2)), TARGET)
    assert placement is not None
    np.testing.assert_array_equal(placement.apply(cropped, name="mask"), whole)
    assert placement.describe() == "cropped"
    padded = np.pad(whole, ((2, 1), (0, 3), (1, 1)))
    placement = find_placement(Geometry(padded.shape, OBLIQUE @ shift(-2, 0, -1)), TARGET)
    assert placement is not None
    np.testing.assert_array_equal(placement.apply(padded, name="mask"), whole)
    assert placement.describe() == "padded"
    padded[0, 0, 0] = 1
    with pytest.raises(CaseError, match="mask: 1 of its 17 labelled voxels lie outside of the image"):
        placement.apply(padded, name="mask")


def shift(*voxels: float) -> np.ndarray:
    moved = np.eye(4)
    moved[:3, 3] = voxels
    return moved


@pytest.mark.parametrize(
    ("shape", "affine"),
    [
        (SHAPE, OBLIQUE @ shift(1, 0, 0)),
        ((4, 4, 3), OBLIQUE @ shift(1.2, 1, 1)),
        ((4, 4, 3), OBLIQUE @ shift(20, 0, 0)),
        ((14, 6, 5), OBLIQUE @ np.diag([0.5, 1, 1, 1])),
        ((4, 4, 3), np.diag([3.0, 4.0, 2.5, 1.0])),
    ],
    ids=["same shape, shifted", "between voxels", "beside the image", "finer", "turned"],
)
def test_other_grids_have_no_placement(shape: tuple[int, int, int], affine: np.ndarray) -> None:
    assert find_placement(Geometry(shape, affine), TARGET) is None
