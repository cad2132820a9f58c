from __future__ import annotations

import numpy as np
import pytest

from interactivepet.core.geometry import BoundingBox, Shape
from interactivepet.inference.sliding_window import find_mirrorings
from interactivepet.inference.tiles import TilePlan, plan_all_tiles, plan_tiles

PATCH = (16, 16, 16)
AXES = (0, 1, 2)


def make_body(shape: Shape, start: Shape, stop: Shape, *, margin: int = 2) -> tuple[np.ndarray, np.ndarray]:
    body, widened = np.zeros(shape, bool), np.zeros(shape, bool)
    box = BoundingBox(start, stop)
    body[box.slices] = True
    widened[box.grown((margin, margin, margin), within=shape).slices] = True
    return body, widened


def plan(
    shape: Shape, start: Shape, stop: Shape, *, patch: Shape = PATCH, clicked: tuple[Shape, ...] = ()
) -> tuple[TilePlan, np.ndarray]:
    body, widened = make_body(shape, start, stop)
    whole = plan_all_tiles(BoundingBox((0, 0, 0), shape), patch)
    return plan_tiles(whole, patch, body=body, widened=widened, clicked=clicked), widened


def find_covered(found: TilePlan, patch: Shape) -> np.ndarray:
    padded = np.maximum(found.box.shape, patch)
    covered = np.zeros(padded, bool)
    for start, _ in found.tiles:
        covered[tuple(slice(a, a + n) for a, n in zip(start, patch, strict=True))] = True
    before = (padded - found.box.shape) // 2
    return covered[tuple(slice(b, b + n) for b, n in zip(before, found.box.shape, strict=True))]


@pytest.mark.parametrize(
    ("shape", "start", "stop", "patch", "least_skipped"),
    [
        ((64, 64, 64), (0, 0, 0), (64, 64, 64), PATCH, 0.0),
        ((64, 64, 64), (24, 24, 0), (40, 40, 64), PATCH, 0.5),
        ((64, 64, 64), (0, 0, 0), (20, 20, 64), PATCH, 0.5),
        ((64, 64, 64), (30, 30, 30), (31, 31, 31), PATCH, 0.8),
        ((70, 45, 33), (10, 3, 5), (30, 20, 30), PATCH, 0.3),
        ((64, 64, 5), (24, 24, 0), (40, 40, 5), PATCH, 0.5),
        ((64, 64, 30), (24, 24, 0), (40, 40, 30), (16, 16, 1), 0.5),
    ],
)
def test_every_voxel_of_the_widened_body_is_predicted(
    shape: Shape, start: Shape, stop: Shape, patch: Shape, least_skipped: float
) -> None:
    found, widened = plan(shape, start, stop, patch=patch)

    whole = plan_all_tiles(found.box, patch)
    assert {start for start, _ in found.tiles} <= {start for start, _ in whole.tiles}
    assert found.n_tiles == whole.n_tiles
    assert find_covered(found, patch)[widened].all()
    assert least_skipped <= found.find_skipped(AXES) < 1
    if found.region is not None:
        assert np.array_equal(found.region, widened)


def test_where_every_tile_matters_nothing_changes() -> None:
    found, _ = plan((64, 64, 64), (0, 0, 0), (64, 64, 64))
    assert found.region is None
    assert found.find_skipped(AXES) == 0.0
    assert {mirroring for _, mirroring in found.tiles} == {"all"}


def test_tiles_inside_of_the_body_are_mirrored_in_every_way() -> None:
    found, _ = plan((80, 80, 80), (20, 20, 0), (60, 60, 80))
    mirrorings = dict(found.tiles)
    assert {mirrorings[start] for start in mirrorings if all(24 <= a <= 40 for a in start[:2])} == {"all"}
    assert set(mirrorings.values()) == {"all", "even", "none"}


@pytest.mark.parametrize("voxel", [(2, 2, 2), (79, 79, 79), (2, 40, 77), (70, 11, 3)])
def test_a_click_in_the_air_is_predicted_in_full(voxel: Shape) -> None:
    without, _ = plan((80, 80, 80), (30, 30, 30), (50, 50, 50))
    found, _ = plan((80, 80, 80), (30, 30, 30), (50, 50, 50), clicked=(voxel,))

    holding = [tile for tile in plan_all_tiles(found.box, PATCH).tiles if _holds(tile[0], voxel)]
    assert holding
    assert set(holding) <= set(found.tiles)
    assert found.count_passes(AXES) > without.count_passes(AXES)
    assert found.region is not None
    assert found.region[voxel]
    assert find_covered(found, PATCH)[found.region].all()


def _holds(start: Shape, voxel: Shape) -> bool:
    return all(a <= v < a + n for a, v, n in zip(start, voxel, PATCH, strict=True))


@pytest.mark.parametrize(
    ("axes", "mirroring", "expected"),
    [
        ((0, 1, 2), "all", 8),
        ((0, 1, 2), "even", 4),
        ((0, 1, 2), "none", 1),
        ((0, 2), "all", 4),
        ((0, 2), "even", 2),
        ((1,), "all", 2),
        ((1,), "even", 1),
        ((), "all", 1),
        ((), "even", 1),
    ],
)
def test_mirrorings_are_counted(axes: tuple[int, ...], mirroring: str, expected: int) -> None:
    found = find_mirrorings(axes, mirroring)  # type: ignore[arg-type]
    assert len(found) == len(set(found)) == expected
    assert found[0] == ()


def test_passes_and_what_is_skipped() -> None:
    box = BoundingBox((0, 0, 0), (32, 16, 16))
    found = TilePlan(box, (((0, 0, 0), "all"), ((8, 0, 0), "even")), 3)
    assert found.count_passes(AXES) == 12
    assert found.find_skipped(AXES) == 0.5
    assert found.count_passes(()) == 2
    assert found.find_skipped(()) == pytest.approx(1 / 3)
    assert TilePlan(box, (), 0).find_skipped(AXES) == 0.0
