from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from interactivepet.guidance.extreme import find_extreme_points, make_inward_mm

Mask = npt.NDArray[np.bool_]


def _ball(radius: float, shape: tuple[int, int, int] = (21, 21, 21)) -> Mask:
    centre = (np.array(shape) - 1) / 2
    distance = np.linalg.norm(np.indices(shape).T - centre, axis=-1).T
    return np.asarray(distance <= radius)


def test_a_ball_gets_one_point_inside_each_pole() -> None:
    points = find_extreme_points(_ball(8), spacing_mm=(1, 1, 1), inward_mm=2)

    assert points.tolist() == [
        [4, 10, 10],
        [16, 10, 10],
        [10, 4, 10],
        [10, 16, 10],
        [10, 10, 4],
        [10, 10, 16],
    ]


def test_the_step_follows_the_spacing() -> None:
    points = find_extreme_points(_ball(8), spacing_mm=(1, 2, 5), inward_mm=4)

    assert points[0, 0] == 2 + 4
    assert points[2, 1] == 2 + 2
    assert points[4, 2] == 2


def test_without_a_step_the_points_are_the_centres_of_the_extreme_faces() -> None:
    mask = np.zeros((9, 9, 9), dtype=bool)
    mask[1:8, 2:7, 3:6] = True

    points = find_extreme_points(mask, spacing_mm=(1, 1, 1), inward_mm=0)

    assert points.tolist() == [[1, 4, 4], [7, 4, 4], [4, 2, 4], [4, 6, 4], [4, 4, 3], [4, 4, 5]]


def test_one_voxel_repeats_its_only_point() -> None:
    mask = np.zeros((5, 5, 5), dtype=bool)
    mask[4, 0, 2] = True

    points = find_extreme_points(mask, spacing_mm=(1, 1, 1), inward_mm=10)

    assert points.tolist() == [[4, 0, 2]] * 6


def test_a_string_is_followed_inwards() -> None:
    mask = np.zeros((20, 5, 5), dtype=bool)
    mask[2:18, 2, 2] = True

    points = find_extreme_points(mask, spacing_mm=(2, 2, 2), inward_mm=5)

    assert points[:2].tolist() == [[4, 2, 2], [15, 2, 2]]


def test_opposite_points_do_not_pass_each_other() -> None:
    mask = np.zeros((9, 3, 3), dtype=bool)
    mask[2:6, 1, 1] = True

    points = find_extreme_points(mask, spacing_mm=(1, 1, 1), inward_mm=50)

    assert points[:2].tolist() == [[3, 1, 1], [4, 1, 1]]


def test_a_sheet_of_one_slice_is_not_a_2d_image() -> None:
    mask = np.zeros((9, 9, 9), dtype=bool)
    mask[2:7, 2:7, 4] = True

    points = find_extreme_points(mask, spacing_mm=(1, 1, 1), inward_mm=1.5)

    assert points.shape == (6, 3)
    assert set(points[:, 2]) == {4}
    assert mask[tuple(points.T)].all()


def test_a_2d_image_has_four_points_and_depth_within_the_slice() -> None:
    points = find_extreme_points(_ball(8)[:, :, 10:11], spacing_mm=(1, 1, 1), inward_mm=2)

    assert points.tolist() == [[4, 10, 0], [16, 10, 0], [10, 4, 0], [10, 16, 0]]


def test_a_slanting_rod_keeps_its_points() -> None:
    mask = np.zeros((20, 20, 20), dtype=bool)
    steps = np.arange(3, 17)
    mask[steps, steps, 10] = True

    points = find_extreme_points(mask, spacing_mm=(1, 1, 1), inward_mm=3)

    assert points[0].tolist() == [5, 5, 10]
    assert mask[tuple(points.T)].all()


def test_points_do_not_jump_over_the_gap_of_a_c() -> None:
    mask = np.zeros((11, 11, 5), dtype=bool)
    mask[1:10, 1, 2] = mask[1:10, 3:8, 2] = True
    mask[1, 1:8, 2] = True

    low_j = find_extreme_points(mask, spacing_mm=(1, 1, 1), inward_mm=3)[2]

    # The broad arm is deeper and within 3 mm, but the way there leads out of the object.
    assert low_j[1] == 1


def test_a_ring_has_no_point_in_its_hole() -> None:
    ring = _ball(9) & ~_ball(6)
    ring[:, :, :9] = ring[:, :, 12:] = False

    points = find_extreme_points(ring, spacing_mm=(1, 1, 1), inward_mm=6)

    assert ring[tuple(points.T)].all()
    assert len(np.unique(points, axis=0)) >= 4


def test_the_edge_of_the_grid_is_a_margin() -> None:
    points = find_extreme_points(np.ones((9, 9, 9), dtype=bool), spacing_mm=(1, 1, 1), inward_mm=2)

    assert points[0].tolist() == [2, 4, 4]
    assert points[5].tolist() == [4, 4, 6]


def test_two_far_tips_of_one_side_give_one_of_them() -> None:
    mask = np.zeros((9, 9, 9), dtype=bool)
    mask[1:6, 2, 4] = mask[1:6, 6, 4] = True
    mask[5, 2:7, 4] = True

    first = find_extreme_points(mask, spacing_mm=(1, 1, 1), inward_mm=0)[0]

    assert first.tolist() == [1, 2, 4]


def test_an_empty_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="empty mask"):
        find_extreme_points(np.zeros((4, 4, 4), dtype=bool), spacing_mm=(1, 1, 1), inward_mm=1)


def test_the_default_step_never_crosses_a_thick_slice() -> None:
    assert make_inward_mm((4.0, 4.0, 4.0), shape=(9, 9, 9)) == pytest.approx(6.0)
    assert make_inward_mm((1.0, 1.0, 5.0), shape=(9, 9, 9)) < 5.0
    assert make_inward_mm((1.0, 1.0, 5.0), shape=(9, 9, 1)) == pytest.approx(1.5)


@settings(deadline=None)
@given(
    mask=hnp.arrays(bool, st.tuples(*[st.integers(2, 7)] * 3)).filter(np.any),
    spacing_mm=st.tuples(*[st.floats(0.5, 6)] * 3),
    inward_mm=st.floats(0, 12),
)
def test_every_point_lies_in_the_mask_within_its_step(
    mask: Mask, spacing_mm: tuple[float, float, float], inward_mm: float
) -> None:
    before = mask.copy()

    margin = find_extreme_points(mask, spacing_mm=spacing_mm, inward_mm=0)
    points = find_extreme_points(mask, spacing_mm=spacing_mm, inward_mm=inward_mm)

    assert mask[tuple(points.T)].all()
    assert (np.linalg.norm((points - margin) * np.array(spacing_mm), axis=1) <= inward_mm + 1e-6).all()
    voxels = np.argwhere(mask)
    assert (points[::2].diagonal() <= points[1::2].diagonal()).all()
    assert (margin[::2].diagonal() == voxels.min(axis=0)).all()
    assert (margin[1::2].diagonal() == voxels.max(axis=0)).all()
    assert np.array_equal(mask, before)
