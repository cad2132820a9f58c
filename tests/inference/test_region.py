from __future__ import annotations

import numpy as np
import pytest

from interactivepet.core.geometry import BoundingBox, Geometry, Shape, SpatialTrace
from interactivepet.core.interaction import Click
from interactivepet.inference.region import find_scanner_box, find_windows, make_shares
from interactivepet.preprocessing.restore import restore, restore_box

SPACING = (3.0, 3.0, 6.0)


def make_grid(shape: Shape) -> Geometry:
    return Geometry(shape, np.diag([*SPACING, 1.0]))


def click(grid: Geometry, voxel: tuple[float, float, float]) -> Click:
    x, y, z = grid.to_mm(voxel).tolist()
    return Click(position_mm=(x, y, z))


def find(
    shape: Shape, patch: Shape, *voxels: tuple[float, float, float], scale_mm: float = 3.0
) -> list[tuple[BoundingBox, BoundingBox]]:
    grid = make_grid(shape)
    return find_windows([click(grid, v) for v in voxels], grid, patch=patch, scale_mm=scale_mm)


def test_a_window_is_a_patch_about_the_click_as_far_as_the_grid_allows() -> None:
    ((box, core),) = find((60, 50, 40), (16, 16, 16), (30, 25, 20))
    assert (box.start, box.shape, core.start, core.shape) == ((22, 17, 12), (16, 16, 16), (30, 25, 20), (1, 1, 1))
    ((box, core),) = find((60, 50, 40), (16, 16, 16), (1, 49, 20))
    assert (box.start, box.shape) == ((0, 34, 12), (16, 16, 16))
    ((box, core),) = find((60, 50, 10), (16, 16, 16), (30, 25, 3))
    assert (box.start, box.stop) == ((22, 17, 0), (38, 33, 10))
    ((box, core),) = find((60, 50, 40), (16, 16, 16), (-9, 99, 20))
    assert core.start == (0, 49, 20)


def test_clicks_near_each_other_share_a_window() -> None:
    assert len(find((90, 90, 90), (16, 16, 16), (10, 10, 10), (15, 10, 10), (20, 10, 10))) == 1
    assert len(find((90, 90, 90), (16, 16, 16), (10, 10, 10), (20, 10, 10), (15, 10, 10))) == 1
    windows = find((90, 90, 90), (16, 16, 16), (10, 10, 10), (60, 10, 10), (12, 12, 12))
    assert sorted(core.shape for _, core in windows) == [(1, 1, 1), (3, 3, 3)]
    ((box, _),) = find((90, 90, 90), (16, 16, 16), *[(10 + 4 * n, 10, 10) for n in range(12)])
    assert box.start[0] <= 6
    assert box.stop[0] >= 59


def test_a_2d_network_sees_the_slices_that_a_click_reaches() -> None:
    ((box, _),) = find((60, 50, 40), (16, 16, 1), (30, 25, 20), scale_mm=6.0)
    assert (box.start[2], box.stop[2]) == (18, 23)
    ((box, _),) = find((60, 50, 1), (16, 16, 1), (30, 25, 0))
    assert box.shape == (16, 16, 1)


def test_shares_are_1_at_the_clicks_and_0_at_the_seams() -> None:
    shape = (60, 50, 12)
    ((box, core),) = find(shape, (24, 24, 16), (30, 5, 6), (33, 7, 6))
    share = make_shares((box, core), shape)
    inside = tuple(slice(a - s, b - s) for a, b, s in zip(core.start, core.stop, box.start, strict=True))
    assert share.shape == box.shape
    assert share.dtype == np.float32
    assert (share[inside] > 0.98).all()
    assert share[[0, -1]].max() < 0.1
    assert share[:, -1].max() < 0.1
    # towards the grid's own border there is no seam
    assert share[12, 0, 6] > 0.98
    assert share[12, 5, [0, -1]].min() > 0.98
    assert np.abs(np.diff(share, axis=0)).max() < 0.35
    assert (np.diff(share[core.stop[0] - box.start[0] :, 5, 6]) <= 0).all()


def make_trace(original: Shape, crop: BoundingBox, resampled: Shape) -> SpatialTrace:
    grid = make_grid(original)
    return SpatialTrace(grid, crop, grid.cropped(crop).resampled(resampled))


TRACES = [
    make_trace((30, 28, 20), BoundingBox((3, 2, 0), (29, 28, 17)), (13, 26, 29)),
    make_trace((17, 16, 15), BoundingBox((0, 0, 0), (17, 16, 15)), (17, 16, 15)),
    make_trace((30, 28, 1), BoundingBox((3, 2, 0), (29, 28, 1)), (41, 17, 1)),
    make_trace((9, 8, 7), BoundingBox((2, 2, 2), (3, 5, 7)), (1, 1, 9)),
]


@pytest.mark.parametrize("trace", TRACES)
def test_a_box_is_restored_as_a_part_of_the_whole(trace: SpatialTrace) -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(3), size=trace.resampled.shape).astype(np.float32).transpose(3, 0, 1, 2)
    whole = restore(probabilities, trace)

    def read(box: BoundingBox) -> np.ndarray:
        return probabilities[(slice(None), *box.slices)]

    for _ in range(30):
        start = [int(rng.integers(0, n)) for n in trace.original.shape]
        stop = [int(rng.integers(a + 1, n + 1)) for a, n in zip(start, trace.original.shape, strict=True)]
        box = BoundingBox(tuple(start), tuple(stop))
        found = restore_box(read, trace, box=box)
        assert found.dtype == np.float32
        assert found == pytest.approx(whole[(slice(None), *box.slices)], abs=1e-5)


@pytest.mark.parametrize("trace", TRACES)
def test_the_scanners_box_holds_all_that_a_change_reaches(trace: SpatialTrace) -> None:
    rng = np.random.default_rng(1)
    before = np.zeros((2, *trace.resampled.shape), np.float32)
    for _ in range(30):
        start = [int(rng.integers(0, n)) for n in trace.resampled.shape]
        stop = [int(rng.integers(a + 1, n + 1)) for a, n in zip(start, trace.resampled.shape, strict=True)]
        changed = BoundingBox(tuple(start), tuple(stop))
        after = before.copy()
        after[(slice(None), *changed.slices)] = 1
        differs = (restore(after, trace) != restore(before, trace)).any(axis=0)
        found = find_scanner_box(changed, trace)
        assert not np.delete(differs.ravel(), np.flatnonzero(mark(differs.shape, found))).any()
        tight = BoundingBox.of(differs)
        if tight is not None:
            slack = np.array(found.shape) - np.array(tight.shape)
            assert (slack <= 2 * np.ceil(np.array(trace.crop.shape) / trace.resampled.shape) + 3).all()


def mark(shape: Shape, box: BoundingBox) -> np.ndarray:
    marked = np.zeros(shape, bool)
    marked[box.slices] = True
    return marked
