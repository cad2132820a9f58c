"""Scribbles lie on the slice where most is wrong, within what is wrong, and have the strokes of autoPET V."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from interactivepet.core.geometry import Geometry
from interactivepet.core.interaction import Click
from interactivepet.guidance.scribble import Stroke, draw_scribble, draw_stroke, find_axial_axis

STROKES = get_args(Stroke)
SHAPE = (30, 26, 9)


def draw(mask: np.ndarray, label: np.ndarray, stroke: Stroke, *, grid: Geometry | None = None) -> tuple[Click, ...]:
    grid = grid or Geometry(label.shape, np.diag([-4.0, -4.0, 5.0, 1.0]))
    rng = np.random.default_rng(3)
    return draw_scribble(mask, label, geometry=grid, labels=(1,), stroke=stroke, rng=rng)


def voxels_of(clicks: tuple[Click, ...], grid: Geometry) -> np.ndarray:
    return np.rint(grid.to_voxel([click.position_mm for click in clicks])).astype(int)


def make_label() -> np.ndarray:
    """Make a bar that is widest on slice 4."""
    label = np.zeros(SHAPE, np.uint8)
    label[8:20, 8:12, 2:7] = 1
    label[4:26, 7:14, 4] = 1
    return label


@pytest.mark.parametrize("stroke", STROKES)
def test_a_stroke_lies_in_what_was_missed_on_the_slice_with_the_largest_area(stroke: Stroke) -> None:
    label = make_label()
    grid = Geometry(SHAPE, np.diag([-4.0, -4.0, 5.0, 1.0]))
    clicks = draw(np.zeros_like(label), label, stroke, grid=grid)
    voxels = voxels_of(clicks, grid)
    assert len(clicks) >= 3
    assert len({tuple(voxel) for voxel in voxels.tolist()}) == len(clicks)
    assert set(voxels[:, 2]) == {4}
    assert label[tuple(voxels.T)].all()
    assert all(click.is_positive and click.label == 1 for click in clicks)


def test_a_centreline_runs_along_the_middle_without_its_ends() -> None:
    region = np.zeros((40, 15), bool)
    region[3:37, 4:11] = True
    path = draw_stroke(region, "centreline", rng=np.random.default_rng(0))
    assert set(path[:, 1]) <= {6, 7, 8}
    assert np.ptp(path[:, 0]) > 15
    assert path[:, 0].min() > 6
    assert path[:, 0].max() < 34


def test_a_line_is_straight_and_stays_inside_of_a_hollow_region() -> None:
    region = np.ones((20, 20), bool)
    region[6:14, 6:14] = False
    for seed in range(20):
        path = draw_stroke(region, "random", rng=np.random.default_rng(seed))
        assert region[tuple(path.T)].all()
        centred = path - path.mean(axis=0)
        assert len(path) < 3 or np.linalg.svd(centred, compute_uv=False)[1] < 0.5 * np.sqrt(len(path))


def test_a_stroke_along_the_margin_is_connected_and_as_long_as_its_share() -> None:
    region = np.zeros((22, 22), bool)
    region[1:21, 1:21] = True
    margin = region.copy()
    margin[2:20, 2:20] = False
    path = draw_stroke(region, "boundary", rng=np.random.default_rng(1))
    assert margin[tuple(path.T)].all()
    assert np.abs(np.diff(path, axis=0)).max() == 1
    assert 0.1 * margin.sum() < len(path) <= 0.2 * margin.sum() + 1


@pytest.mark.parametrize("stroke", STROKES)
def test_too_small_a_region_is_drawn_over_as_a_whole(stroke: Stroke) -> None:
    region = np.zeros((5, 5), bool)
    region[2, 2] = True
    assert draw_stroke(region, stroke, rng=np.random.default_rng(0)).tolist() == [[2, 2]]


def test_the_longer_stroke_decides_what_is_corrected() -> None:
    label = make_label()
    mask = np.zeros_like(label)
    mask[:, 16:22, 1] = 1
    clicks = draw(mask, label, "centreline")
    assert clicks
    assert not any(click.is_positive for click in clicks)
    mask[:, 16:22, 1] = 0
    mask[:3, 16:19, 1] = 1
    assert all(click.is_positive for click in draw(mask, label, "centreline"))


@pytest.mark.parametrize("stroke", STROKES)
def test_nothing_is_drawn_on_a_perfect_mask_or_without_any_lesion(stroke: Stroke) -> None:
    label = make_label()
    assert draw(label, label, stroke) == ()
    assert draw(label, np.zeros_like(label), stroke) == ()


def test_the_axial_axis_is_found_on_turned_grids_and_2d_images() -> None:
    assert find_axial_axis(Geometry((4, 5, 6), np.diag([-4.0, -4.0, -5.0, 1.0]))) == 2
    turned = np.eye(4)[[2, 0, 1, 3]]
    assert find_axial_axis(Geometry((4, 5, 6), turned)) == int(np.abs(turned[2, :3]).argmax())
    assert find_axial_axis(Geometry((40, 1, 60), np.eye(4))) == 1
    label = np.zeros((12, 1, 14), np.uint8)
    label[2:10, 0, 3:6] = 1
    clicks = draw(np.zeros_like(label), label, "centreline", grid=Geometry((12, 1, 14), np.eye(4)))
    assert len(clicks) > 2
    assert {click.position_mm[1] for click in clicks} == {0.0}
