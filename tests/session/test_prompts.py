from __future__ import annotations

import numpy as np
import pytest

from interactivepet.core.geometry import Geometry, Shape
from interactivepet.core.interaction import Click
from interactivepet.errors import InteractionError
from interactivepet.session.prompts import (
    BOX_INWARD_SHARE,
    SCRIBBLE_STEP_MM,
    check_clicks,
    make_box_clicks,
    make_scribble_clicks,
)


def make_grid(shape: Shape = (40, 40, 20)) -> Geometry:
    affine = np.eye(4)
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    affine[:3, :3] = turn @ np.diag([-2.0, 2.0, 5.0])
    affine[:3, 3] = (70.0, -20.0, 400.0)
    return Geometry(shape, affine)


def place(grid: Geometry, voxel: tuple[float, float, float]) -> tuple[float, float, float]:
    x, y, z = grid.to_mm(voxel).tolist()
    return (x, y, z)


def box_voxels(grid: Geometry, start: tuple[float, ...], stop: tuple[float, ...]) -> np.ndarray:
    clicks = make_box_clicks(place(grid, start), place(grid, stop), geometry=grid, label=3, is_positive=False)
    assert {(c.label, c.is_positive) for c in clicks} == {(3, False)}
    return grid.to_voxel([c.position_mm for c in clicks])


def test_a_box_becomes_six_points_inside_of_it_on_the_images_axes() -> None:
    grid = make_grid()
    for corners in (((5, 8, 2), (35, 28, 18)), ((35, 8, 18), (5, 28, 2))):
        voxels = box_voxels(grid, *corners)
        assert len(voxels) == 6
        offset = np.sort(voxels - (20, 18, 10), axis=0)
        reach = (1 - BOX_INWARD_SHARE) * np.array([15, 10, 8])
        assert offset[0] == pytest.approx(-reach, abs=0.05)
        assert offset[-1] == pytest.approx(reach, abs=0.05)
        assert offset[1:-1] == pytest.approx(0)


def test_the_points_of_a_box_around_a_ball_lie_in_the_ball() -> None:
    grid = make_grid()
    voxels = box_voxels(grid, (15, 13, 8), (25, 23, 12))
    distance = np.linalg.norm((voxels - (20, 18, 10)) * grid.spacing_mm, axis=1)
    assert (distance < 10).all()
    assert (distance > 4).all()


@pytest.mark.parametrize(
    ("shape", "start", "stop", "n"),
    [
        ((40, 40, 20), (5, 8, 4), (25, 28, 4), 4),
        ((40, 40, 1), (5, 8, 0), (25, 28, 0), 4),
        ((40, 40, 20), (5, 8, 4), (5, 8, 4), 1),
        ((40, 40, 20), (5, 8, 4), (6.5, 9.5, 5.5), 1),
    ],
)
def test_flat_and_tiny_boxes_give_fewer_points(
    shape: Shape, start: tuple[float, ...], stop: tuple[float, ...], n: int
) -> None:
    voxels = box_voxels(make_grid(shape), start, stop)
    assert len(voxels) == n
    assert (voxels >= np.minimum(start, stop) - 1e-6).all()
    assert (voxels <= np.maximum(start, stop) + 1e-6).all()


def test_a_scribble_is_thinned() -> None:
    there = [(0.5 * n, 10.0, -3.0) for n in range(100)]
    clicks = make_scribble_clicks([*there, *reversed(there)], label=2, is_positive=True)
    places = np.array([c.position_mm for c in clicks])
    assert len(clicks) == 9
    assert clicks[0].position_mm == there[0]
    apart = np.linalg.norm(places[:, None] - places, axis=-1) + 99 * np.eye(len(places))
    assert apart.min() >= SCRIBBLE_STEP_MM
    assert np.linalg.norm(np.array(there)[:, None] - places, axis=-1).min(axis=1).max() < SCRIBBLE_STEP_MM
    with pytest.raises(InteractionError, match="without points"):
        make_scribble_clicks([], label=1, is_positive=True)


def test_clicks_that_cannot_be_seen_are_refused() -> None:
    grid = make_grid()
    good = Click(position_mm=place(grid, (1, 1, 1)), label=2)
    check_clicks([good], case_id="A", geometry=grid, labels=(1, 2))
    with pytest.raises(InteractionError, match=r"A: .* outside of the image of \(40, 40, 20\)"):
        check_clicks([Click(position_mm=place(grid, (-1, 1, 1)))], case_id="A", geometry=grid, labels=(1,))
    with pytest.raises(InteractionError, match="outside"):
        check_clicks([Click(position_mm=(float("nan"), 0, 0))], case_id="A", geometry=grid, labels=(1,))
    with pytest.raises(InteractionError, match=r"label 2, expected one of \(1, 3\)"):
        check_clicks([good], case_id="A", geometry=grid, labels=(1, 3))


def test_a_box_that_overhangs_the_image_counts_as_far_as_the_image_goes() -> None:
    grid = make_grid((40, 36, 20))
    inside = box_voxels(grid, (0, 10, 5), (12, 20, 19))
    np.testing.assert_allclose(box_voxels(grid, (-6, 10, 5), (12, 20, 23)), inside, atol=1e-6)
    with pytest.raises(InteractionError, match="outside of the image"):
        box_voxels(grid, (-9, 10, 5), (-2, 20, 12))
    with pytest.raises(InteractionError, match="outside of the image"):
        box_voxels(grid, (float("nan"), 10, 5), (2, 20, 12))


def test_a_scribble_has_numbers() -> None:
    with pytest.raises(InteractionError, match="not finite"):
        make_scribble_clicks([(0.0, 0.0, 0.0), (float("nan"), 0.0, 0.0)], label=1, is_positive=True)
