from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from interactivepet.core.case import Case
from interactivepet.core.geometry import BoundingBox, Geometry, Shape, Spacing
from interactivepet.core.plan import Normalisation, Plan
from interactivepet.preprocessing.pipeline import FOREGROUND_SAMPLES, preprocess, sample_foreground

MakePlan = Callable[..., Plan]
MakeGrid = Callable[..., Geometry]


def whole(shape: Shape) -> BoundingBox:
    return BoundingBox((0, 0, 0), shape)


def test_crop_resample_normalise_in_this_order(make_plan: MakePlan, make_grid: MakeGrid) -> None:
    grid = make_grid((12, 10, 9), (2.0, 3.0, 4.0), flips=(-1, 1, -1))
    image = np.zeros((2, 12, 10, 9), np.float32)
    image[0, 2:10, 3:8, 1:9] = 10.0
    image[1] = 500.0
    label = np.zeros((12, 10, 9), np.uint8)
    label[4:8, 3:8, 1:5] = 1
    plan = make_plan(
        (4.0, 3.0, 2.0), Normalisation(scheme="suv", clip=(0.0, 8.0), std=2.0), Normalisation(scheme="zscore")
    )

    ready = preprocess(Case("A", image, grid, label), plan, box=BoundingBox((2, 3, 1), (10, 8, 9)))

    assert ready.id == "A"
    assert ready.image.shape == (2, 4, 5, 16)
    assert ready.image.dtype == np.float32
    assert ready.image[0] == pytest.approx(np.full((4, 5, 16), 4.0))
    assert not ready.image[1].any()
    assert ready.label is not None
    assert ready.label.shape == (4, 5, 16)
    assert ready.label[1:3, :, :8].all()
    assert not ready.label[:, :, 8:].any()
    assert ready.trace.original is grid
    assert ready.trace.crop == BoundingBox((2, 3, 1), (10, 8, 9))
    assert ready.trace.resampled.shape == (4, 5, 16)
    assert ready.trace.resampled.spacing_mm == pytest.approx((4.0, 3.0, 2.0))
    corner = ready.trace.resampled.to_mm((-0.5, -0.5, -0.5))
    assert corner == pytest.approx(grid.to_mm((1.5, 2.5, 0.5)))


def test_nothing_moves_when_the_spacings_agree(make_plan: MakePlan, make_grid: MakeGrid) -> None:
    rng = np.random.default_rng(0)
    grid = make_grid((7, 6, 5), (2.0, 3.0, 4.0), turn_deg=(10.0, 20.0, 30.0))
    image = rng.normal(size=(1, 7, 6, 5)).astype(np.float32)
    label = rng.integers(2, size=(7, 6, 5), dtype=np.uint8)

    ready = preprocess(Case("A", image, grid, label), make_plan((2.0, 3.0, 4.0)), box=whole((7, 6, 5)))

    assert np.array_equal(ready.image, image)
    assert np.array_equal(ready.label, label)
    assert ready.trace.resampled.matches(grid)


@pytest.mark.parametrize(
    ("shape", "spacing", "expected"),
    [((1, 1, 1), (3.0, 3.0, 3.0), (1, 1, 1)), ((9, 8, 1), (2.0, 2.0, 2.0), (12, 11, 1))],
)
def test_one_voxel_and_2d_images_are_preprocessed(
    make_plan: MakePlan, make_grid: MakeGrid, shape: Shape, spacing: Spacing, expected: Shape
) -> None:
    case = Case("A", np.full((1, *shape), 3.0, np.float32), make_grid(shape, spacing))

    ready = preprocess(case, make_plan((1.5, 1.5, 1.5 if shape[2] > 1 or shape[0] == 1 else 2.0)), box=whole(shape))

    assert ready.image.shape == (1, *expected)
    assert ready.image == pytest.approx(np.full((1, *expected), 3.0))
    assert ready.label is None


def test_a_sample_of_the_foreground_holds_voxels_of_each_label() -> None:
    label = np.zeros((30, 30, 30), np.uint8)
    label[5:25, 5:25, 5:25] = 2
    label[0, 0, 0] = 5

    drawn = sample_foreground(label, np.random.default_rng(0))

    assert list(drawn) == [2, 5]
    assert drawn[5] == ((0, 0, 0),)
    assert len(drawn[2]) == len(set(drawn[2])) == FOREGROUND_SAMPLES
    assert all(label[voxel] == 2 for voxel in drawn[2])
    assert drawn == sample_foreground(label, np.random.default_rng(0))
    assert drawn[2] != sample_foreground(label, np.random.default_rng(1))[2]


def test_an_empty_label_gives_no_sample() -> None:
    assert sample_foreground(np.zeros((3, 3, 3), np.uint8), np.random.default_rng(0)) == {}


def test_a_fixed_grid_is_reached_whatever_the_spacing(make_plan: MakePlan, make_grid: MakeGrid) -> None:
    grid = make_grid((12, 10, 9), (2.0, 3.0, 4.0))
    image = np.random.default_rng(0).gamma(2.0, size=(1, 12, 10, 9)).astype(np.float32)
    label = (image[0] > 3).astype(np.uint8)
    plan = make_plan((4.0, 3.0, 2.0), Normalisation(scheme="minmax")).model_copy(update={"target_shape": (8, 8, 7)})

    ready = preprocess(Case("A", image, grid, label), plan, box=BoundingBox((1, 0, 0), (12, 10, 9)))

    assert ready.image.shape == (1, 8, 8, 7)
    assert ready.label is not None
    assert ready.label.shape == (8, 8, 7)
    assert (ready.image.min(), ready.image.max()) == (0.0, 1.0)
    assert ready.trace.resampled.shape == (8, 8, 7)
    assert ready.trace.resampled.spacing_mm == pytest.approx((2.0 * 11 / 8, 3.0 * 10 / 8, 4.0 * 9 / 7))


def test_the_raw_case_is_never_changed(make_plan: MakePlan, make_grid: MakeGrid) -> None:
    image = np.random.default_rng(0).normal(size=(1, 6, 6, 6)).astype(np.float32)
    before = image.copy()
    case = Case("A", image, make_grid((6, 6, 6), (2.0, 2.0, 2.0)))
    for spacing in ((2.0, 2.0, 2.0), (1.0, 2.0, 3.0)):
        preprocess(case, make_plan(spacing, Normalisation(scheme="zscore")), box=whole((6, 6, 6)))
    assert np.array_equal(image, before)
