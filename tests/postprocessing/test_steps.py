from __future__ import annotations

import hypothesis.extra.numpy as hnp
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from interactivepet.core.ensemble import PostprocessingRule
from interactivepet.core.geometry import Geometry
from interactivepet.core.interaction import Click
from interactivepet.postprocessing.steps import apply_rule, drop_small, fill_holes, keep_clicked, keep_largest

Mask = npt.NDArray[np.bool_]
LabelMap = npt.NDArray[np.uint8]

MASKS = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6))
ANY_NEIGHBOUR = np.ones((3, 3, 3), np.bool_)


def find_components_slowly(mask: Mask) -> list[Mask]:
    numbered, n = ndimage.label(mask, structure=ANY_NEIGHBOUR)
    return [numbered == number for number in range(1, n + 1)]


def make_mask(*objects: tuple[slice, slice, slice], shape: tuple[int, int, int] = (12, 10, 8)) -> Mask:
    mask = np.zeros(shape, np.bool_)
    for index in objects:
        mask[index] = True
    return mask


BIG = (slice(0, 4), slice(0, 4), slice(0, 4))
SMALL = (slice(8, 10), slice(6, 8), slice(6, 8))
VOXEL = (slice(11, 12), slice(0, 1), slice(7, 8))


def make_geometry(mask: npt.NDArray[np.generic]) -> Geometry:
    affine = np.diag([-2.0, 2.5, 4.0, 1.0])
    affine[:3, 3] = (100, -50, 7)
    i, j, k = mask.shape
    return Geometry((i, j, k), affine)


def clean(
    mask: LabelMap,
    *,
    clicks: tuple[Click, ...] = (),
    labels: tuple[int, ...] = (1, 2),
    keep_clicked: bool = False,
    largest_component: bool = False,
    minimum_volume_ml: float = 0.0,
    fill_holes: bool = False,
) -> LabelMap:
    rule = PostprocessingRule(
        keep_clicked=keep_clicked,
        largest_component=largest_component,
        minimum_volume_ml=minimum_volume_ml,
        fill_holes=fill_holes,
    )
    mask.setflags(write=False)
    return apply_rule(mask, rule, geometry=make_geometry(mask), clicks=clicks, labels=labels)


def click_at(mask: npt.NDArray[np.generic], *voxel: float, label: int = 1, is_positive: bool = True) -> Click:
    x, y, z = (float(v) for v in make_geometry(mask).to_mm(voxel))
    return Click(position_mm=(x, y, z), label=label, is_positive=is_positive)


@pytest.mark.parametrize("step", [keep_largest, fill_holes])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 1), (4, 5, 1), (4, 5, 6)])
def test_empty_masks_stay_empty(step: object, shape: tuple[int, int, int]) -> None:
    assert callable(step)
    assert not step(np.zeros(shape, np.bool_)).any()
    assert not drop_small(np.zeros(shape, np.bool_), minimum_volume_ml=1.0, voxel_volume_ml=1.0).any()
    assert not keep_clicked(np.zeros(shape, np.bool_), np.zeros((1, 3), np.int64)).any()


def test_largest_component_is_kept_and_a_tie_goes_to_the_first() -> None:
    np.testing.assert_array_equal(keep_largest(make_mask(BIG, SMALL, VOXEL)), make_mask(BIG))
    twin = tuple(slice(s.start, s.stop) for s in VOXEL)
    first = (slice(0, 1), slice(0, 1), slice(0, 1))
    np.testing.assert_array_equal(keep_largest(make_mask(first, (twin[0], twin[1], twin[2]))), make_mask(first))


def test_small_components_are_dropped_below_the_volume_only() -> None:
    mask = make_mask(BIG, SMALL, VOXEL)
    at_limit = drop_small(mask, minimum_volume_ml=8 * 0.02, voxel_volume_ml=0.02)
    above = drop_small(mask, minimum_volume_ml=8 * 0.02 + 1e-9, voxel_volume_ml=0.02)
    np.testing.assert_array_equal(at_limit, make_mask(BIG, SMALL))
    np.testing.assert_array_equal(above, make_mask(BIG))


def test_clicked_components_are_kept() -> None:
    mask = make_mask(BIG, SMALL, VOXEL)
    voxels = np.array([[9, 7, 7], [11, 0, 7], [5, 5, 5], [-1, 0, 0], [12, 0, 0]])
    np.testing.assert_array_equal(keep_clicked(mask, voxels), make_mask(SMALL, VOXEL))


@pytest.mark.parametrize("voxels", [[], [[5, 5, 5]], [[4, 0, 0]], [[-1, -1, -1]], [[12, 10, 8]]])
def test_a_mask_without_a_clicked_component_is_left_alone(voxels: list[list[int]]) -> None:
    mask = make_mask(BIG, SMALL)
    kept = keep_clicked(mask, np.array(voxels, np.int64).reshape(-1, 3))
    np.testing.assert_array_equal(kept, mask)
    assert kept is not mask


@given(MASKS, st.integers(1, 20))
@settings(deadline=None, max_examples=60)
def test_component_steps_agree_with_brute_force(mask: Mask, minimum: int) -> None:
    components = find_components_slowly(mask)
    sizes = [int(c.sum()) for c in components]
    large = [c for c, n in zip(components, sizes, strict=True) if n >= minimum]
    dropped = drop_small(mask, minimum_volume_ml=minimum, voxel_volume_ml=1.0)
    np.testing.assert_array_equal(dropped, np.any([np.zeros_like(mask), *large], axis=0))
    assert keep_largest(mask).sum() == max(sizes, default=0)
    voxel = np.array([[s // 2 for s in mask.shape]])
    hit = [c for c in components if c[tuple(voxel[0])]]
    np.testing.assert_array_equal(keep_clicked(mask, voxel), hit[0] if hit else mask)


@given(MASKS)
@settings(deadline=None, max_examples=60)
def test_filling_agrees_with_scipy(mask: Mask) -> None:
    axes = tuple(a for a in range(3) if mask.shape[a] == 1)
    flat = np.squeeze(mask, axis=axes)
    expected = ndimage.binary_fill_holes(flat) if flat.ndim else flat
    np.testing.assert_array_equal(fill_holes(mask), np.reshape(expected, mask.shape))


def test_holes_are_closed_by_edges_and_corners() -> None:
    # A diamond: its voxels touch at edges only, and enclose the middle against shared faces.
    mask = np.zeros((3, 3, 1), np.bool_)
    mask[[0, 1, 1, 2], [1, 0, 2, 1], 0] = True
    assert fill_holes(mask)[1, 1, 0]
    assert fill_holes(mask).sum() == 5


def test_a_ring_in_a_volume_has_no_hole_but_in_an_image_it_has() -> None:
    ring = make_mask((slice(1, 6), slice(1, 6), slice(0, 1)), shape=(8, 8, 1))
    ring[3, 3, 0] = False
    volume = np.repeat(np.zeros_like(ring), 5, axis=2)
    volume[..., 2] = ring[..., 0]
    assert fill_holes(ring)[3, 3, 0]
    np.testing.assert_array_equal(fill_holes(volume), volume)
    filled = clean(ring.astype(np.uint8), fill_holes=True)
    kept = clean(volume.astype(np.uint8), fill_holes=True)
    assert filled[3, 3, 0] == 1
    np.testing.assert_array_equal(kept, volume)


def test_a_rule_of_nothing_copies() -> None:
    mask = make_mask(BIG, SMALL).astype(np.uint8)
    cleaned = clean(mask)
    np.testing.assert_array_equal(cleaned, mask)
    assert not np.shares_memory(cleaned, mask)


def test_every_label_is_cleaned_alone_and_others_are_left() -> None:
    mask = np.zeros((12, 10, 8), np.uint8)
    mask[BIG] = 1
    mask[4, 0, 0] = 2
    mask[SMALL] = 2
    mask[VOXEL] = 3
    mask[6, 9, 0] = 1
    expected = mask.copy()
    expected[4, 0, 0] = expected[6, 9, 0] = 0
    np.testing.assert_array_equal(clean(mask, largest_component=True), expected)


def test_clicks_count_for_their_own_label_and_only_when_positive() -> None:
    mask = np.zeros((12, 10, 8), np.uint8)
    mask[BIG] = mask[SMALL] = 1
    mask[VOXEL] = 2
    mask[6, 9, 0] = 2
    wrong = (click_at(mask, 0, 0, 0, label=2), click_at(mask, 0, 0, 0, is_positive=False))
    np.testing.assert_array_equal(clean(mask, clicks=wrong, keep_clicked=True), mask)
    expected = mask.copy()
    expected[BIG] = 0
    right = (*wrong, click_at(mask, 8.4, 6.6, 7.4))
    np.testing.assert_array_equal(clean(mask, clicks=right, keep_clicked=True), expected)


def test_clicks_stay_right_when_the_mask_starts_far_inside_the_grid() -> None:
    mask = np.zeros((30, 30, 30), np.uint8)
    mask[20:24, 20:24, 20:24] = mask[26:28, 26:28, 26:28] = 1
    expected = mask.copy()
    expected[20:24, 20:24, 20:24] = 0
    cleaned = clean(mask, clicks=(click_at(mask, 27, 26, 27), click_at(mask, 2, 2, 2)), keep_clicked=True)
    np.testing.assert_array_equal(cleaned, expected)


def test_filling_never_overwrites_another_label() -> None:
    mask = np.zeros((9, 9, 9), np.uint8)
    mask[1:8, 1:8, 1:8] = 1
    mask[3:6, 3:6, 3:6] = 0
    mask[4, 4, 4] = 2
    mask[3, 3, 3] = 7
    filled = clean(mask, fill_holes=True)
    assert (filled[4, 4, 4], filled[3, 3, 3]) == (2, 7)
    assert np.count_nonzero(filled[1:8, 1:8, 1:8] == 1) == 7**3 - 2


def test_steps_follow_the_order_of_the_fields() -> None:
    # The clicked component is not the largest; its hole is filled although the voxel in it is dropped.
    mask = np.zeros((14, 12, 12), np.uint8)
    mask[0:5, 0:5, 0:5] = 1
    mask[8:13, 5:10, 5:10] = 1
    mask[9:12, 6:9, 6:9] = 0
    mask[10, 7, 7] = 1
    clicks = (click_at(mask, 8, 5, 5), click_at(mask, 10, 7, 7))
    cleaned = clean(
        mask,
        clicks=clicks,
        keep_clicked=True,
        largest_component=True,
        minimum_volume_ml=0.2,
        fill_holes=True,
    )
    expected = np.zeros_like(mask)
    expected[8:13, 5:10, 5:10] = 1
    np.testing.assert_array_equal(cleaned, expected)
    assert not clean(mask, largest_component=True, minimum_volume_ml=2.6).any()


def test_the_place_of_a_dropped_label_is_filled_whatever_the_order_of_the_labels() -> None:
    mask = np.zeros((9, 9, 9), np.uint8)
    mask[1:6, 1:6, 1:6] = 1
    mask[3, 3, 3] = 2
    mask[7:9, 7:9, 7:9] = 2
    for labels in ((1, 2), (2, 1)):
        cleaned = clean(mask, labels=labels, largest_component=True, fill_holes=True)
        assert cleaned[3, 3, 3] == 1
        assert np.count_nonzero(cleaned == 2) == 8


@given(hnp.arrays(np.uint8, (5, 6, 4), elements=st.integers(0, 2)), st.booleans(), st.booleans(), st.booleans())
@settings(deadline=None, max_examples=50)
def test_working_in_a_box_changes_nothing(mask: LabelMap, clicked: bool, largest: bool, filled: bool) -> None:
    wide = np.pad(mask, 5)
    rule = PostprocessingRule(keep_clicked=clicked, largest_component=largest, fill_holes=filled)
    grid = Geometry((5, 6, 4), np.eye(4))
    moved = Geometry((15, 16, 14), np.eye(4))
    moved.affine[:3, 3] = -5
    clicks = (Click(position_mm=(2, 3, 1)), Click(position_mm=(0, 0, 0), label=2))
    narrow = apply_rule(mask, rule, geometry=grid, clicks=clicks, labels=(1, 2))
    cleaned = apply_rule(wide, rule, geometry=moved, clicks=clicks, labels=(1, 2))
    np.testing.assert_array_equal(cleaned[5:-5, 5:-5, 5:-5], narrow)
    assert np.count_nonzero(cleaned) == np.count_nonzero(narrow)
