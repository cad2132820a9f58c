"""A simulated user clicks where the mask is worst, on any grid, and says nothing about a perfect mask."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from interactivepet.core.geometry import Geometry
from interactivepet.core.interaction import Click
from interactivepet.guidance.click_user import Aim, find_largest_error, place_click, take_first

SHAPE = (20, 18, 12)
AIMS = get_args(Aim)


def make_grid(spacing_mm: tuple[float, float, float], *, shape: tuple[int, int, int] = SHAPE) -> Geometry:
    """Make a grid whose first two axes run backwards, turned in the plane, with an origin."""
    angle = np.deg2rad(20.0)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(np.array([-1, -1, 1]) * np.array(spacing_mm))
    affine[:3, 3] = (40.0, -7.5, 900.0)
    return Geometry(shape, affine)


def make_label(shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    label = np.zeros(shape, np.uint8)
    label[4:14, 3:12, 2:9] = 1
    return label


def click(mask: np.ndarray, label: np.ndarray, grid: Geometry, aim: Aim = "perfect", seed: int = 0) -> Click | None:
    rng = np.random.default_rng(seed)
    labels = [int(value) for value in np.unique(label) if value] or [1]
    return place_click(mask, label, geometry=grid, labels=labels, aim=aim, rng=rng)


def voxel_of(found: Click | None, grid: Geometry) -> tuple[int, ...]:
    assert found is not None
    return tuple(int(n) for n in np.rint(grid.to_voxel(found.position_mm)))


@pytest.mark.parametrize("aim", AIMS)
def test_a_perfect_mask_gets_no_click(aim: Aim) -> None:
    label = make_label()
    assert click(label, label, make_grid((1, 1, 1)), aim) is None
    empty = np.zeros_like(label)
    assert click(empty, empty, make_grid((1, 1, 1)), aim) is None


def test_the_deepest_voxel_in_millimetres_is_clicked() -> None:
    """By brute force: the voxel of the error whose nearest voxel outside of it is furthest away in mm."""
    label = make_label()
    mask = np.zeros_like(label)
    for spacing_mm in ((1.0, 1.0, 1.0), (4.0, 4.0, 5.0), (1.0, 6.0, 2.5)):
        grid = make_grid(spacing_mm)
        found = click(mask, label, grid)
        inside = np.argwhere(label == 1) * spacing_mm
        outside = np.argwhere(label == 0) * spacing_mm
        depth = np.array([np.linalg.norm(outside - place, axis=1).min() for place in inside])
        here = np.linalg.norm(outside - np.array(voxel_of(found, grid)) * spacing_mm, axis=1).min()
        assert here == pytest.approx(depth.max())
        assert found is not None
        assert found.is_positive
        assert found.label == 1


def test_what_spilled_gets_a_negative_click_of_its_label() -> None:
    label, grid = make_label(), make_grid((2, 2, 3))
    mask = label.copy()
    mask[15:20, 12:18, 9:12] = 1
    mask[5, 5, 5] = 0
    found = click(mask, label, grid)
    assert found is not None
    assert not found.is_positive
    assert mask[voxel_of(found, grid)] == 1
    assert label[voxel_of(found, grid)] == 0
    error = find_largest_error(mask, label, labels=[1])
    assert error is not None
    assert (error.label, error.is_missed, error.n_voxels) == (1, False, 90)


def test_errors_of_all_labels_count_and_a_wrong_label_is_missed_first() -> None:
    label, grid = make_label(), make_grid((2, 2, 3))
    label[5:9, 4:8, 3:7] = 2
    mask = label.copy()
    mask[label == 2] = 1
    found = click(mask, label, grid)
    assert found is not None
    assert (found.label, found.is_positive) == (2, True)
    assert label[voxel_of(found, grid)] == 2
    mask[0:3] = 2
    found = click(mask, label, grid)
    assert found is not None
    assert (found.label, found.is_positive) == (2, False)


def test_errors_that_touch_at_a_corner_are_one() -> None:
    label = np.zeros((8, 8, 8), np.uint8)
    label[0:2, 0:2, 0:2] = label[2:4, 2:4, 2:4] = 1
    label[5:7, 5:8, 5:7] = 1
    error = find_largest_error(np.zeros_like(label), label, labels=[1])
    assert error is not None
    assert error.n_voxels == 16


def test_a_2d_image_is_clicked_in_its_plane() -> None:
    shape = (20, 18, 1)
    label = np.zeros(shape, np.uint8)
    label[4:13, 3:12, 0] = 1
    grid = make_grid((2.0, 2.0, 2.0), shape=shape)
    for aim in AIMS:
        for seed in range(5):
            found = click(np.zeros_like(label), label, grid, aim, seed)
            assert label[voxel_of(found, grid)] == 1
            assert found is not None
            assert grid.to_voxel(found.position_mm)[2] == pytest.approx(0)
    assert voxel_of(click(np.zeros_like(label), label, grid), grid) == (8, 7, 0)


def test_an_error_of_one_slice_in_a_volume_is_as_deep_as_half_a_slice() -> None:
    """Its deepest voxel is any, since the next slice is outside: the one nearest to their centre is clicked."""
    label = np.zeros(SHAPE, np.uint8)
    label[4:13, 3:12, 6] = 1
    grid = make_grid((1.0, 1.0, 1.0))
    assert voxel_of(click(np.zeros_like(label), label, grid), grid) == (8, 7, 6)


def test_noise_moves_the_click_but_never_its_meaning() -> None:
    label, grid = make_label(), make_grid((2.0, 2.0, 2.0))
    mask = label.copy()
    mask[4:8, 3:7, 2:6] = 0
    exact = click(mask, label, grid)
    assert exact is not None
    offsets = []
    for seed in range(60):
        found = click(mask, label, grid, "noisy", seed)
        assert found is not None
        assert found.is_positive
        assert label[voxel_of(found, grid)] == 1
        assert mask[voxel_of(found, grid)] == 0
        offsets.append(np.array(found.position_mm) - exact.position_mm)
    assert 1.0 < np.std(offsets) < 3.0
    assert len({tuple(offset) for offset in offsets}) > 40
    # Where there is room, the noise is that of the definition.
    wide = Geometry((30, 30, 30), np.eye(4))
    everywhere = np.ones(wide.shape, np.uint8)
    places = [click(np.zeros_like(everywhere), everywhere, wide, "noisy", seed) for seed in range(100)]
    assert np.std([found.position_mm for found in places if found is not None], axis=0) == pytest.approx(3.0, rel=0.25)


def test_a_hurried_user_clicks_anywhere_on_the_largest_error() -> None:
    label, grid = make_label(), make_grid((2.0, 2.0, 2.0))
    mask = label.copy()
    mask[4:8, 3:7, 2:6] = 0
    mask[13, 11, 8] = 0
    found = {voxel_of(click(mask, label, grid, "hurried", seed), grid) for seed in range(100)}
    assert len(found) > 40
    assert all(mask[voxel] == 0 and label[voxel] == 1 and voxel[0] < 8 for voxel in found)


def test_arguments_stay_as_they_were() -> None:
    label = make_label()
    mask = np.roll(label, 3, axis=0)
    before = (mask.copy(), label.copy())
    for aim in AIMS:
        click(mask, label, make_grid((1, 1, 1)), aim)
    assert (mask == before[0]).all()
    assert (label == before[1]).all()


def test_each_step_sees_one_more_fixed_click_of_each_sign() -> None:
    places = [
        Click(position_mm=(n, 0, 0), is_positive=sign, label=label)
        for label in (1, 2)
        for sign in (True, False)
        for n in range(3)
    ]
    assert take_first(places, 0) == ()
    assert len(take_first(places, 1)) == 4
    assert take_first(places, 2) == tuple(place for place in places if place.position_mm[0] < 2)
    assert take_first(places, 9) == tuple(places)
