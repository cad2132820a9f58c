"""An image gives the same voxels, and its probabilities come back to their place, in whatever order it is stored."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest

from interactivepet.core.axes import Permutation, invert, transpose
from interactivepet.core.case import Case
from interactivepet.core.geometry import BoundingBox, Geometry
from interactivepet.core.interaction import Click
from interactivepet.core.plan import CropPlan, Plan
from interactivepet.inference.region import find_scanner_box
from interactivepet.preprocessing.crop import find_crop
from interactivepet.preprocessing.pipeline import preprocess
from interactivepet.preprocessing.restore import restore, restore_box

MakePlan = Callable[..., Plan]
MakeGrid = Callable[..., Geometry]

PERMUTATIONS: list[Permutation] = list(permutations(range(3)))
GRIDS = [((1, 1, 1), (0.0, 0.0, 0.0)), ((-1, 1, -1), (12.0, -8.0, 20.0))]


@pytest.fixture
def plan(make_plan: MakePlan) -> Plan:
    return make_plan((3.0, 2.5, 4.0)).model_copy(update={"axis_order": "xyz"})


def make_case(grid: Geometry) -> Case:
    rng = np.random.default_rng(0)
    image = rng.gamma(2.0, size=(1, *grid.shape)).astype(np.float32)
    image[:, :3] = image[:, :, -2:] = 0
    label = np.zeros(grid.shape, np.uint8)
    label[8:12, 6:11, 5:9] = 1
    return Case("A", image, grid, label)


@pytest.mark.parametrize("axes", PERMUTATIONS)
@pytest.mark.parametrize(("flips", "turn_deg"), GRIDS)
@pytest.mark.parametrize("region", ["body", "clicks"])
def test_the_order_of_storage_does_not_matter(
    plan: Plan,
    make_grid: MakeGrid,
    axes: Permutation,
    flips: tuple[int, int, int],
    turn_deg: tuple[float, float, float],
    region: str,
) -> None:
    plan = plan.model_copy(update={"crop": CropPlan(region=region, margin_mm=9.0)})
    case = make_case(make_grid((20, 18, 15), (3.0, 2.0, 5.0), flips=flips, turn_deg=turn_deg))
    x, y, z = case.geometry.to_mm((12, 7, 7)).tolist()
    clicks = (Click(position_mm=(x, y, z)),)
    usual = preprocess(case, plan, box=find_crop(case, plan, clicks=clicks))
    stored = case.permuted(axes)
    ready = preprocess(stored, plan, box=find_crop(stored, plan, clicks=clicks))

    assert np.array_equal(ready.image, usual.image)
    assert ready.label is not None
    assert np.array_equal(ready.label, usual.label)
    assert ready.trace.resampled.offset_mm(usual.trace.resampled) < 1e-9
    assert ready.trace.original is stored.geometry

    probabilities = np.random.default_rng(1).dirichlet((1, 1), ready.image.shape[1:]).astype(np.float32)
    probabilities = np.ascontiguousarray(np.moveaxis(probabilities, -1, 0))
    expected = restore(probabilities, usual.trace)
    found = restore(probabilities, ready.trace)
    assert found.shape[1:] == stored.geometry.shape
    assert np.array_equal(transpose(found, invert(axes)), expected)

    part = BoundingBox((4, 5, 3), (15, 17, 12))
    inside = restore_box(lambda box: probabilities[(slice(None), *box.slices)], ready.trace, box=part.permuted(axes))
    assert np.allclose(transpose(inside, invert(axes)), expected[(slice(None), *part.slices)], atol=1e-6)
    seen = BoundingBox((2, 1, 3), (6, 8, 7))
    assert find_scanner_box(seen, ready.trace) == find_scanner_box(seen, usual.trace).permuted(axes)


def test_a_plan_without_an_order_takes_images_as_they_are(make_plan: MakePlan, make_grid: MakeGrid) -> None:
    plan = make_plan((3.0, 3.0, 3.0))
    case = make_case(make_grid((20, 18, 15), (3.0, 3.0, 3.0))).permuted((2, 0, 1))
    ready = preprocess(case, plan, box=find_crop(case, plan, clicks=()))
    assert ready.trace.axes == (0, 1, 2)
    assert ready.image.shape[1:] == ready.trace.crop.shape
