from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from interactivepet.core.case import Case
from interactivepet.core.geometry import BoundingBox, Geometry, Shape, Spacing
from interactivepet.core.interaction import Click
from interactivepet.core.plan import CropPlan, Plan
from interactivepet.errors import InteractionError
from interactivepet.preprocessing.crop import crop, find_crop

MakePlan = Callable[..., Plan]
MakeGrid = Callable[..., Geometry]

SHAPE, SPACING_MM = (30, 20, 10), (2.0, 3.0, 5.0)
BODY = BoundingBox((3, 2, 1), (28, 19, 10))


@pytest.mark.parametrize("with_label", [True, False])
def test_image_label_and_grid_are_cut_alike(with_label: bool) -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(size=(2, 7, 8, 9)).astype(np.float32)
    label = rng.integers(3, size=(7, 8, 9), dtype=np.uint8) if with_label else None
    affine = np.array([[0, -3.0, 0, 7], [2.0, 0, 0, 8], [0, 0, 4.0, 9], [0, 0, 0, 1]])
    case = Case("A", image, Geometry((7, 8, 9), affine), label)

    kept = crop(case, BoundingBox((1, 2, 3), (6, 8, 4)))

    assert kept.id == "A"
    assert np.array_equal(kept.image, image[:, 1:6, 2:8, 3:4])
    assert kept.geometry.shape == (5, 6, 1)
    assert kept.geometry.to_mm((0, 0, 0)) == pytest.approx(case.geometry.to_mm((1, 2, 3)))
    assert (kept.label is None) == (label is None)
    if label is not None and kept.label is not None:
        assert np.array_equal(kept.label, label[1:6, 2:8, 3:4])


@pytest.fixture
def grid(make_grid: MakeGrid) -> Geometry:
    return make_grid(SHAPE, SPACING_MM, flips=(-1, 1, -1), turn_deg=(10.0, 0.0, 20.0))


def make_case(grid: Geometry, labelled: BoundingBox | None = None, *, with_label: bool = True) -> Case:
    image = np.zeros((2, *SHAPE), np.float32)
    image[1][BODY.slices] = 1.0
    label = np.zeros(SHAPE, np.uint8)
    if labelled is not None:
        label[labelled.slices] = 2
    return Case("A", image, grid, label if with_label else None)


def crop_to(plan: Plan, region: str, margin_mm: float) -> Plan:
    return plan.model_copy(update={"crop": CropPlan(region=region, margin_mm=margin_mm)})


def click(grid: Geometry, *voxel: float) -> Click:
    i, j, k = grid.to_mm(voxel)
    return Click(position_mm=(i, j, k))


def test_the_body_is_kept_with_its_margin(make_plan: MakePlan, grid: Geometry) -> None:
    case = make_case(grid, BoundingBox((5, 5, 5), (7, 7, 7)))
    assert find_crop(case, make_plan(SPACING_MM), clicks=()) == BODY
    wider = crop_to(make_plan(SPACING_MM), "body", 5.0)
    assert find_crop(case, wider, clicks=()) == BoundingBox((0, 0, 0), (30, 20, 10))
    assert find_crop(case, crop_to(make_plan(SPACING_MM), "body", 2.5), clicks=()) == BoundingBox(
        (1, 1, 0), (30, 20, 10)
    )


def test_label_and_clicks_are_kept_with_a_margin_within_the_body(make_plan: MakePlan, grid: Geometry) -> None:
    plan = crop_to(make_plan(SPACING_MM), "clicks", 6.0)
    case = make_case(grid, BoundingBox((10, 8, 4), (12, 10, 5)))
    assert find_crop(case, plan, clicks=()) == BoundingBox((7, 6, 2), (15, 12, 7))
    assert find_crop(case, plan, clicks=(click(grid, 20.3, 3.9, 8.6),)) == BoundingBox((7, 2, 2), (24, 12, 10))
    alone = make_case(grid, with_label=False)
    assert find_crop(alone, plan, clicks=(click(grid, 20.3, 3.9, 8.6),)) == BoundingBox((17, 2, 7), (24, 7, 10))


def test_a_click_in_the_air_is_kept(make_plan: MakePlan, grid: Geometry) -> None:
    plan = crop_to(make_plan(SPACING_MM), "clicks", 2.0)
    box = find_crop(make_case(grid, with_label=False), plan, clicks=(click(grid, 1.0, 0.0, 0.0),))
    assert box == BoundingBox((1, 0, 0), (3, 2, 2))


def test_an_empty_label_keeps_the_body(make_plan: MakePlan, grid: Geometry) -> None:
    assert find_crop(make_case(grid), crop_to(make_plan(SPACING_MM), "clicks", 0.0), clicks=()) == BODY


def test_a_case_without_label_and_clicks_is_refused_by_name(make_plan: MakePlan, grid: Geometry) -> None:
    plan = crop_to(make_plan(SPACING_MM), "clicks", 6.0)
    with pytest.raises(InteractionError, match=r"A: no clicks, but this plan crops to them .* at least one click"):
        find_crop(make_case(grid, with_label=False), plan, clicks=())


@pytest.mark.parametrize("region", ["body", "clicks"])
def test_an_image_keeps_its_one_plane(make_plan: MakePlan, make_grid: MakeGrid, region: str) -> None:
    shape: Shape = (9, 8, 1)
    spacing: Spacing = (2.0, 2.0, 7.0)
    grid = make_grid(shape, spacing)
    case = Case("A", np.full((1, *shape), 3.0, np.float32), grid)
    box = find_crop(case, crop_to(make_plan(spacing), region, 4.0), clicks=(click(grid, 4, 4, 0),))
    assert box == (BoundingBox((0, 0, 0), shape) if region == "body" else BoundingBox((2, 2, 0), (7, 7, 1)))


def test_a_click_between_two_voxels_keeps_the_one_that_is_scored(make_plan: MakePlan) -> None:
    grid = Geometry(SHAPE, np.diag([2.0, 2.0, 4.0, 1.0]))
    plan = crop_to(make_plan(SPACING_MM), "clicks", 0.0)
    box = find_crop(make_case(grid, with_label=False), plan, clicks=(click(grid, 10.5, 8.5, 4.5),))
    assert box == BoundingBox((11, 9, 5), (12, 10, 6))
