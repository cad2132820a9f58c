from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from interactivepet.core.case import Case, find_body_box
from interactivepet.core.geometry import BoundingBox, Geometry, Shape, SpatialTrace
from interactivepet.core.plan import Plan
from interactivepet.preprocessing.pipeline import preprocess
from interactivepet.preprocessing.restore import restore

MakePlan = Callable[..., Plan]
MakeGrid = Callable[..., Geometry]


def draw_ball(grid: Geometry, centre: tuple[float, float, float], radius_mm: float) -> np.ndarray:
    distance = grid.to_mm(np.indices(grid.shape).reshape(3, -1).T) - grid.to_mm(centre)
    return (np.linalg.norm(distance, axis=1) <= radius_mm).reshape(grid.shape)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


GRIDS = [
    ((41, 37, 29), (2.0, 2.0, 3.3), (1, 1, 1), (0.0, 0.0, 0.0)),
    ((40, 37, 21), (1.7, 2.1, 5.0), (-1, -1, 1), (0.0, 0.0, 0.0)),
    ((33, 29, 31), (3.0, 2.6, 2.2), (1, -1, -1), (17.0, -8.0, 31.0)),
]


@pytest.mark.parametrize(("shape", "spacing", "flips", "turn_deg"), GRIDS)
@pytest.mark.parametrize("target", [2.0, 3.1])
def test_what_a_network_sees_comes_back_to_its_place(
    make_plan: MakePlan,
    make_grid: MakeGrid,
    shape: Shape,
    spacing: tuple[float, float, float],
    flips: tuple[int, int, int],
    turn_deg: tuple[float, float, float],
    target: float,
) -> None:
    grid = make_grid(shape, spacing, flips=flips, turn_deg=turn_deg)
    inside = draw_ball(grid, (17.3, 16.1, 11.6), 19.0)
    image = np.zeros((1, *shape), np.float32)
    image[0, 1:-3, 4:, 1:-1] = 1.0
    case = Case("A", image, grid, inside.astype(np.uint8))
    body = find_body_box(image)

    ready = preprocess(case, make_plan((target, target, target)), box=body)
    on_grid = draw_ball(
        ready.trace.resampled, tuple(ready.trace.resampled.to_voxel(grid.to_mm((17.3, 16.1, 11.6)))), 19.0
    )
    foreground = on_grid.astype(np.float32)
    out = restore(np.stack([1 - foreground, foreground]), ready.trace)

    assert ready.label is not None
    assert dice(ready.label == 1, on_grid) > 0.95
    assert out.shape == (2, *shape)
    assert out.dtype == np.float32
    assert dice(out[1] >= 0.5, inside) > 0.95
    assert out.sum(0) == pytest.approx(np.ones(shape), abs=1e-5)
    assert out.min() >= 0.0
    assert out.max() <= 1.0 + 1e-6
    outside = np.ones(shape, dtype=bool)
    outside[body.slices] = False
    assert outside.any()
    assert (out[0][outside] == 1.0).all()
    assert not out[1:, outside].any()


def test_nothing_changes_on_a_grid_that_was_neither_cropped_nor_resampled() -> None:
    grid = Geometry((4, 5, 6), np.eye(4))
    probabilities = np.random.default_rng(0).random((3, 4, 5, 6), np.float32)
    trace = SpatialTrace(grid, BoundingBox((0, 0, 0), (4, 5, 6)), grid)
    assert np.array_equal(restore(probabilities, trace), probabilities)


def test_an_object_at_the_border_of_the_crop_stays_there() -> None:
    grid = Geometry((10, 9, 1), np.diag([2.0, 2.0, 7.0, 1.0]))
    box = BoundingBox((2, 1, 0), (10, 9, 1))
    trace = SpatialTrace(grid, box, grid.cropped(box).resampled((16, 4, 1)))
    foreground = np.zeros((16, 4, 1), np.float32)
    foreground[8:, :2] = 1.0

    out = restore(np.stack([1 - foreground, foreground]), trace)

    mask = out[1] > 0.5
    assert mask.shape == (10, 9, 1)
    assert BoundingBox.of(mask) == BoundingBox((6, 1, 0), (10, 5, 1))
    assert mask.sum() == 4 * 4
