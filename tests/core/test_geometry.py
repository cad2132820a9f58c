from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from interactivepet.core.geometry import GRID_TOLERANCE_MM, BoundingBox, Geometry, Shape

shapes = st.tuples(*[st.integers(1, 40)] * 3)
spacings = st.tuples(*[st.floats(0.3, 9)] * 3)
angles = st.tuples(*[st.floats(-180, 180)] * 3)
offsets = st.tuples(*[st.floats(-900, 900)] * 3)
indices = st.tuples(*[st.floats(-50, 90)] * 3)


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    """Oblique, mirrored grids away from the origin."""
    signs = draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3))
    turned = Rotation.from_euler("xyz", draw(angles), degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turned @ np.diag(np.multiply(signs, draw(spacings)))
    affine[:3, 3] = draw(offsets)
    return Geometry(draw(shapes), affine)


def outer_corners_mm(geometry: Geometry) -> np.ndarray:
    faces = [(-0.5, n - 0.5) for n in geometry.shape]
    return geometry.to_mm(np.array(list(itertools.product(*faces))))


@settings(deadline=None)
@given(geometry=geometries(), points=st.lists(indices, min_size=1, max_size=5))
def test_voxels_and_millimetres_are_inverse(geometry: Geometry, points: list[tuple[float, float, float]]) -> None:
    array = np.array(points)
    assert geometry.to_voxel(geometry.to_mm(array)) == pytest.approx(array, abs=1e-8)
    assert geometry.to_mm(geometry.to_voxel(array)) == pytest.approx(array, abs=1e-8)
    assert geometry.to_voxel(geometry.to_mm(array[0])) == pytest.approx(array[0], abs=1e-8)


@settings(deadline=None)
@given(geometry=geometries(), shape=shapes)
def test_resampling_keeps_the_outer_faces(geometry: Geometry, shape: Shape) -> None:
    resampled = geometry.resampled(shape)
    assert resampled.shape == shape
    assert outer_corners_mm(resampled) == pytest.approx(outer_corners_mm(geometry), abs=1e-7)
    back = resampled.resampled(geometry.shape)
    assert back.affine == pytest.approx(geometry.affine, abs=1e-7)


@settings(deadline=None)
@given(geometry=geometries(), data=st.data())
def test_cropping_leaves_every_voxel_where_it_is(geometry: Geometry, data: st.DataObject) -> None:
    start = tuple(data.draw(st.integers(0, n - 1)) for n in geometry.shape)
    stop = tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, geometry.shape, strict=True))
    cropped = geometry.cropped(BoundingBox(start, stop))
    assert cropped.shape == tuple(b - a for a, b in zip(start, stop, strict=True))
    assert cropped.to_mm((0, 0, 0)) == pytest.approx(geometry.to_mm(start), abs=1e-8)
    last = np.subtract(stop, 1)
    assert cropped.to_mm(last - start) == pytest.approx(geometry.to_mm(last), abs=1e-8)
    assert cropped.spacing_mm == pytest.approx(geometry.spacing_mm)


@settings(deadline=None)
@given(geometry=geometries())
def test_spacing_and_volume_do_not_depend_on_the_orientation(geometry: Geometry) -> None:
    assert geometry.is_orthogonal
    assert geometry.voxel_volume_ml == pytest.approx(abs(np.linalg.det(geometry.affine[:3, :3])) / 1000)


def test_a_sheared_grid_is_not_orthogonal() -> None:
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    affine[0, 1] = 0.1
    assert not Geometry((4, 4, 4), affine).is_orthogonal


def test_a_grid_contains_what_lies_within_its_outer_faces() -> None:
    geometry = Geometry((4, 5, 1), np.diag([-2.0, 2.0, 8.0, 1.0]))
    assert geometry.contains((0.9, 0, 0))
    assert not geometry.contains((1.1, 0, 0))
    assert geometry.contains((-6.9, 8.9, 3.9))
    assert not geometry.contains((-7.1, 0, 0))
    assert not geometry.contains((0, 9.1, 0))
    assert not geometry.contains((0, 0, 4.1))


def test_grids_match_within_the_tolerance_at_their_farthest_corner() -> None:
    geometry = Geometry((100, 10, 10), np.diag([2.0, 2.0, 2.0, 1.0]))
    moved, stretched = geometry.affine.copy(), geometry.affine.copy()
    moved[0, 3] = 0.9 * GRID_TOLERANCE_MM
    stretched[0, 0] = 2.001
    assert geometry.matches(Geometry(geometry.shape, moved))
    assert not geometry.matches(Geometry(geometry.shape, stretched))
    assert geometry.offset_mm(Geometry(geometry.shape, stretched)) == pytest.approx(0.099)
    assert geometry.matches(Geometry(geometry.shape, stretched), tolerance_mm=0.1)
    assert geometry.offset_mm(Geometry((100, 10, 11), geometry.affine)) == np.inf


@settings(deadline=None)
@given(shape=shapes, data=st.data())
def test_the_box_of_a_mask_holds_exactly_its_voxels(shape: Shape, data: st.DataObject) -> None:
    voxels = data.draw(st.lists(st.tuples(*[st.integers(0, n - 1) for n in shape]), min_size=1, max_size=4))
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(np.transpose(voxels))] = True

    box = BoundingBox.of(mask)

    assert box is not None
    assert box.start == tuple(np.min(voxels, axis=0))
    assert box.stop == tuple(np.max(voxels, axis=0) + 1)
    assert mask[box.slices].sum() == mask.sum()
    assert mask[box.slices].shape == box.shape


def test_an_empty_mask_has_no_box() -> None:
    assert BoundingBox.of(np.zeros((3, 4, 5), dtype=bool)) is None


def test_a_grown_box_stops_at_the_borders() -> None:
    box = BoundingBox((1, 4, 0), (3, 6, 1))
    assert box.grown((2, 2, 5), (10, 7, 1)) == BoundingBox((0, 2, 0), (5, 7, 1))
    assert box.grown((0, 0, 0), (10, 10, 10)) == box


@pytest.mark.parametrize(
    ("box", "minimum", "expected"),
    [
        (((5, 5, 5), (7, 7, 7)), (4, 4, 4), ((4, 4, 4), (8, 8, 8))),
        (((0, 9, 4), (1, 10, 6)), (6, 6, 2), ((0, 4, 4), (6, 10, 6))),
        (((2, 3, 4), (3, 4, 5)), (50, 1, 10), ((0, 3, 0), (10, 4, 10))),
    ],
)
def test_a_box_is_widened_within_the_grid(
    box: tuple[Shape, Shape], minimum: Shape, expected: tuple[Shape, Shape]
) -> None:
    found = BoundingBox(*box).widened(minimum, within=(10, 10, 10))
    assert (found.start, found.stop) == expected


def test_a_position_between_two_voxels_belongs_to_the_further_one() -> None:
    grid = Geometry((9, 8, 1), np.diag([2.0, 2.0, 5.0, 1.0]))
    places = [(2.5, 3.5, 0.0), (2.49, 3.51, 0.4), (-0.5, 7.4, -0.4)]
    assert [grid.find_voxel(grid.to_mm(place)) for place in places] == [(3, 4, 0), (2, 4, 0), (0, 7, 0)]


def test_a_position_outside_counts_at_the_border() -> None:
    grid = Geometry((9, 8, 1), np.diag([-2.0, 2.0, 5.0, 1.0]))
    assert grid.find_voxel(grid.to_mm((-40.0, 8.0, 3.0))) == (0, 7, 0)
    assert grid.find_voxel((1e12, -1e12, 0.0)) == (0, 0, 0)


@settings(deadline=None)
@given(geometry=geometries(), index=indices)
def test_the_voxel_that_is_found_holds_the_position(geometry: Geometry, index: tuple[float, float, float]) -> None:
    position = geometry.to_mm(index)
    if geometry.contains(position):
        assert np.abs(np.subtract(geometry.find_voxel(position), index)).max() <= 0.5 + 1e-6


def test_boxes_are_united() -> None:
    box = BoundingBox((1, 5, 2), (3, 6, 9))
    assert box.union(BoundingBox((2, 0, 4), (8, 2, 5))) == BoundingBox((1, 0, 2), (8, 6, 9))
    assert BoundingBox.of_voxel((2, 5, 7)).union(box) == box


boxes = st.builds(BoundingBox.at, st.tuples(*[st.integers(-5, 8)] * 3), st.tuples(*[st.integers(1, 9)] * 3))


def mark(box: BoundingBox, frame: BoundingBox) -> np.ndarray:
    """Mark the voxels of a box by their coordinates, without slices."""
    voxels = np.indices(frame.shape).T.reshape(-1, 3) + frame.start
    inside = ((voxels >= box.start) & (voxels < box.stop)).all(axis=1)
    return inside.reshape(frame.shape[::-1]).T


@given(boxes, boxes)
def test_the_intersection_holds_the_voxels_of_both_boxes(a: BoundingBox, b: BoundingBox) -> None:
    frame = a.union(b)
    both = mark(a, frame) & mark(b, frame)
    shared = a.intersection(b)
    assert shared == b.intersection(a)
    if shared is None:
        assert not both.any()
        return
    assert np.array_equal(mark(shared, frame), both)
    for box in (frame, a, b):
        found = np.zeros(box.shape, bool)
        found[shared.slices_in(box)] = True
        assert np.array_equal(found, mark(shared, box))


@pytest.mark.parametrize(
    ("start", "shape"),
    [((3, 0, 0), (2, 4, 4)), ((0, -2, 0), (4, 2, 4)), ((0, 0, 9), (4, 4, 1)), ((-9, -9, -9), (1, 1, 1))],
)
def test_boxes_that_only_touch_share_nothing(start: Shape, shape: Shape) -> None:
    assert BoundingBox.at((0, 0, 0), (3, 4, 4)).intersection(BoundingBox.at(start, shape)) is None


@pytest.mark.parametrize(
    ("start", "shape"),
    [((0, 0, 0), (4, 5, 6)), ((1, 2, 3), (2, 2, 2)), ((-2, 3, 4), (4, 4, 4)), ((3, 4, 5), (9, 9, 9))],
)
def test_a_cut_is_zero_beyond_the_array(start: Shape, shape: Shape) -> None:
    array = np.arange(1, 241, dtype=np.int16).reshape(2, 4, 5, 6)
    padded = np.pad(array, ((0, 0), (10, 10), (10, 10), (10, 10)))
    box = BoundingBox.at(start, shape)
    cut = box.cut(array)
    assert cut.dtype == array.dtype
    np.testing.assert_array_equal(
        cut, padded[(slice(None), *(slice(a + 10, b + 10) for a, b in zip(box.start, box.stop, strict=True)))]
    )


def test_a_cut_far_away_is_empty() -> None:
    assert not BoundingBox.at((9, 9, 9), (2, 2, 2)).cut(np.ones((1, 3, 3, 3))).any()
