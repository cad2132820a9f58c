"""Which clicks show one object: margin points in a row, corrections near them, and chains of other clicks."""

from __future__ import annotations

import numpy as np
import pytest

from interactivepet.core.geometry import Geometry
from interactivepet.core.interaction import Click
from interactivepet.guidance.simulate import ClickOptions, simulate_clicks
from interactivepet.inference.classical.objects import find_clicked_objects

SPACING = (4.0, 4.0, 3.0)
GRID = Geometry((60, 60, 60), np.diag([*SPACING, 1.0]))
FLAT = Geometry((60, 60, 1), np.diag([*SPACING, 1.0]))


def make_ball(geometry: Geometry, *, centre: tuple[int, int, int], radius_mm: float) -> np.ndarray:
    offsets = np.moveaxis(np.indices(geometry.shape), 0, -1) - np.asarray(centre)
    return np.linalg.norm(offsets * np.asarray(geometry.spacing_mm), axis=-1) <= radius_mm


def make_margin(label: np.ndarray, geometry: Geometry = GRID) -> tuple[Click, ...]:
    return simulate_clicks(label.astype(np.uint8), geometry, options=ClickOptions(), rng=np.random.default_rng(0))


def at(*voxel: int, label: int = 1, is_positive: bool = True) -> Click:
    x, y, z = GRID.to_mm(voxel).tolist()
    return Click(position_mm=(x, y, z), label=label, is_positive=is_positive)


LARGE = make_margin(make_ball(GRID, centre=(20, 20, 20), radius_mm=40.0))
SMALL = make_margin(make_ball(GRID, centre=(45, 45, 20), radius_mm=14.0))
STROKE = tuple(at(20 + n, 30, 30) for n in range(12))
DIAGONAL = tuple(at(20 + n, 20 + n, 30) for n in range(12))


@pytest.mark.parametrize(
    ("clicks", "expected"),
    [
        ((), []),
        ([at(20, 20, 20, is_positive=False)], []),
        ([at(20, 20, 20, label=2)], []),
        ([at(90, 20, 20)], []),
        ([at(20, 20, 20)], [(1, False)]),
        ([at(20, 20, 20), at(20, 20, 20)], [(1, False)]),
        ([at(20, 20, 20), at(26, 20, 20)], [(2, False)]),
        ([at(20, 20, 20), at(40, 20, 20)], [(1, False), (1, False)]),
        (LARGE, [(6, True)]),
        (LARGE[::-1], [(6, True)]),
        ((*LARGE, *SMALL), [(6, True), (6, True)]),
        ((*SMALL, *LARGE, at(20, 20, 20)), [(6, True), (7, True)]),
        ((at(2, 2, 50), *LARGE), [(6, True), (1, False)]),
        (LARGE[:5], None),
        (STROKE, [(12, False)]),
        (DIAGONAL, [(12, False)]),
    ],
)
def test_clicks_of_one_object_are_found(clicks: tuple[Click, ...], expected: list[tuple[int, bool]] | None) -> None:
    found = [(len(shown.points), shown.has_margin) for shown in find_clicked_objects(clicks, GRID, label=1)]
    if expected is None:
        assert not any(has_margin for _, has_margin in found)
        assert sum(n for n, _ in found) == len(clicks)
    else:
        assert found == expected


@pytest.mark.parametrize("radius_mm", [12.0, 20.0, 45.0])
def test_the_box_of_margin_points_holds_the_object_and_little_more(radius_mm: float) -> None:
    ball = make_ball(GRID, centre=(25, 30, 28), radius_mm=radius_mm)
    (shown,) = find_clicked_objects(make_margin(ball), GRID, label=1)
    found = np.argwhere(ball)
    assert np.all(np.asarray(shown.box.start) <= found.min(axis=0))
    assert np.all(np.asarray(shown.box.stop) > found.max(axis=0))
    assert np.all(np.asarray(shown.box.shape) <= np.ptp(found, axis=0) + 1 + 2)


def test_a_flat_image_has_four_margin_points() -> None:
    disk = make_ball(FLAT, centre=(30, 30, 0), radius_mm=40.0)
    clicks = make_margin(disk, FLAT)
    (shown,) = find_clicked_objects(clicks, FLAT, label=1)
    assert (len(clicks), shown.has_margin, shown.box.shape[2]) == (4, True, 1)


def test_one_click_is_looked_around_within_the_image() -> None:
    (shown,) = find_clicked_objects([at(1, 30, 30)], GRID, label=1)
    assert shown.box.start == (0, 22, 20)
    assert shown.box.stop == (10, 39, 41)
