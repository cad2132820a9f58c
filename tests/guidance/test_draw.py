from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from interactivepet.guidance.draw import draw_inside, draw_negative

Mask = npt.NDArray[np.bool_]
masks = hnp.arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7), st.integers(1, 7)))


@settings(deadline=None)
@given(mask=masks, n=st.integers(0, 9), seed=st.integers(0, 99))
def test_points_inside_are_distinct_voxels_of_the_mask(mask: Mask, n: int, seed: int) -> None:
    points = draw_inside(mask, n=n, rng=np.random.default_rng(seed))

    assert points.shape == (min(n, mask.sum()), 3)
    assert mask[tuple(points.T)].all()
    assert len(np.unique(points, axis=0)) == len(points)


@settings(deadline=None)
@given(mask=masks, n=st.integers(0, 9), seed=st.integers(0, 99), distance_mm=st.floats(0.1, 20))
def test_negative_points_are_distinct_voxels_near_the_mask(mask: Mask, n: int, seed: int, distance_mm: float) -> None:
    spacing = (1.0, 2.5, 4.0)

    points = draw_negative(mask, n=n, spacing_mm=spacing, distance_mm=distance_mm, rng=np.random.default_rng(seed))

    assert len(points) <= n
    assert not mask[tuple(points.T)].any()
    assert len(np.unique(points, axis=0)) == len(points)
    if n and mask.any() and not mask.all():
        assert len(points) >= 1
        distance = ndimage.distance_transform_edt(~mask, sampling=spacing)
        assert (distance[tuple(points.T)] <= max(distance_mm, *spacing) + 1e-6).all()
    else:
        assert len(points) == 0


def test_negative_points_reach_all_around_to_the_distance() -> None:
    mask = np.zeros((31, 31, 31), dtype=bool)
    mask[13:18, 13:18, 13:18] = True
    rng = np.random.default_rng(0)

    points = draw_negative(mask, n=500, spacing_mm=(2.0, 2.0, 2.0), distance_mm=12.0, rng=rng)

    assert len(points) == 500
    assert (points.min(axis=0) <= 9).all()
    assert (points.max(axis=0) >= 21).all()


def test_a_mask_with_a_single_hole_still_has_its_negative_point() -> None:
    mask = np.ones((9, 9, 9), dtype=bool)
    mask[4, 5, 6] = False

    points = draw_negative(mask, n=3, spacing_mm=(4, 4, 4), distance_mm=1, rng=np.random.default_rng(0))

    assert points.tolist() == [[4, 5, 6]]


def test_as_many_negative_points_as_there_is_room_for() -> None:
    mask = np.zeros((5, 5, 5), dtype=bool)
    mask[2, 2, 2] = True

    points = draw_negative(mask, n=6, spacing_mm=(4, 4, 4), distance_mm=1, rng=np.random.default_rng(0))

    assert len(points) == 6
    assert (np.abs(points - 2).sum(axis=1) == 1).all()


@pytest.mark.parametrize("n", [1, 4])
def test_the_seed_decides(n: int) -> None:
    mask = np.zeros((16, 16, 16), dtype=bool)
    mask[4:12, 4:12, 4:12] = True

    drawn = [
        (
            draw_inside(mask, n=n, rng=np.random.default_rng(seed)).tolist(),
            draw_negative(mask, n=n, spacing_mm=(1, 1, 1), distance_mm=5, rng=np.random.default_rng(seed)).tolist(),
        )
        for seed in (1, 1, 2)
    ]

    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]
