from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.transform import resize

from interactivepet.core.geometry import BoundingBox, Shape, to_triple
from interactivepet.preprocessing.resample import (
    CUBIC,
    LINEAR,
    find_target_shape,
    resample,
    resample_box,
    resample_label,
)


def test_a_target_shape_comes_nearest_to_the_spacing() -> None:
    assert find_target_shape((100, 50, 7), (2.0, 4.0, 5.0), target_mm=(4.0, 4.0, 2.0)) == (50, 50, 18)
    assert find_target_shape((1, 1, 1), (1.0, 1.0, 1.0), target_mm=(9.0, 1.0, 0.3)) == (1, 1, 1)


def test_an_axis_within_the_tolerance_keeps_its_length() -> None:
    assert find_target_shape((2000, 2000, 1), (4.0, 4.0, 4.0), target_mm=(4.003, 4.01, 4.0)) == (2000, 1995, 1)


@pytest.mark.parametrize("order", [CUBIC, LINEAR])
def test_nothing_changes_when_the_shape_stays(order: int) -> None:
    volume = np.random.default_rng(0).normal(size=(2, 5, 6, 7)).astype(np.float32)
    assert resample(volume, (5, 6, 7), order=order) is volume
    label = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    assert resample_label(label, (2, 2, 2)) is label


SHAPES = [((13, 17, 9), (20, 11, 18)), ((24, 20, 1), (17, 31, 1)), ((9, 9, 9), (9, 5, 9)), ((12, 10, 2), (8, 7, 5))]


@pytest.mark.parametrize(("shape", "target"), SHAPES)
@pytest.mark.parametrize("order", [CUBIC, LINEAR])
def test_splines_agree_with_scikit_image(shape: Shape, target: Shape, order: int) -> None:
    volume = np.random.default_rng(1).gamma(2.0, size=(2, *shape)).astype(np.float32)

    out = resample(volume, target, order=order)

    assert out.dtype == np.float32
    assert out.shape == (2, *target)
    for channel, values in zip(out, volume, strict=True):
        expected = resize(values.astype(np.float64), target, order=order, mode="edge", anti_aliasing=False, clip=True)
        assert channel == pytest.approx(expected, rel=1e-3, abs=1e-3)
        assert channel.min() >= values.min()
        assert channel.max() <= values.max()


@pytest.mark.parametrize(("shape", "target"), [*SHAPES, ((40, 9, 8), (70, 9, 3)), ((3, 5, 7), (3, 5, 7))])
def test_a_box_is_resampled_as_a_part_of_the_whole(shape: Shape, target: Shape) -> None:
    rng = np.random.default_rng(4)
    volume = rng.random((2, *shape), np.float32)
    whole = resample(volume, target, order=LINEAR)
    asked: list[BoundingBox] = []

    def read(box: BoundingBox) -> np.ndarray:
        asked.append(box)
        return volume[(slice(None), *box.slices)]

    for n in range(20):
        start = [0, 0, 0] if n == 0 else [int(rng.integers(0, edge)) for edge in target]
        stop = [int(rng.integers(a + 1, edge + 1)) for a, edge in zip(start, target, strict=True)]
        box = BoundingBox(to_triple(start), to_triple(stop))
        out = np.full((2, *box.shape), -1, np.float32)
        resample_box(read, shape, new=target, box=box, out=out)
        assert out == pytest.approx(whole[(slice(None), *box.slices)], abs=1e-6)
        assert all(0 <= a < b <= n for box in asked for a, b, n in zip(box.start, box.stop, shape, strict=True))
    asked.clear()
    resample_box(read, shape, new=target, box=BoundingBox((0, 0, 0), target), out=np.empty_like(whole))
    assert len(asked) == -(-target[0] // 32), "in slabs, so that no second volume is in memory"


@pytest.mark.parametrize("target", [(1, 1, 1), (4, 1, 3)])
def test_one_voxel_and_constant_volumes_keep_their_value(target: Shape) -> None:
    one = np.full((1, 1, 1, 1), 2.5, np.float32)
    assert resample(one, target, order=CUBIC) == pytest.approx(np.full((1, *target), 2.5))
    flat = np.full((1, 5, 6, 7), 2.5, np.float32)
    assert resample(flat, target, order=CUBIC) == pytest.approx(np.full((1, *target), 2.5))


def test_linear_resampling_keeps_probabilities_probabilities() -> None:
    rng = np.random.default_rng(2)
    scores = rng.gamma(0.1, size=(4, 11, 7, 5)) + 1e-6
    probabilities = (scores / scores.sum(0)).astype(np.float32)
    for target in ((23, 15, 9), (5, 4, 3)):
        out = resample(probabilities, target, order=LINEAR)
        assert out.sum(0) == pytest.approx(np.ones(target), abs=1e-5)
        assert out.min() >= 0.0
        assert out.max() <= 1.0 + 1e-6


@pytest.mark.parametrize("target", [(52, 44, 36), (33, 38, 25), (20, 16, 14)])
def test_a_label_keeps_its_place_and_size(target: Shape) -> None:
    shape = (26, 22, 18)
    label = np.zeros(shape, np.uint8)
    label[4:16, 6:16, 4:14] = 3
    label[16:24, 6:16, 4:14] = 7

    out = resample_label(label, target)

    assert out.dtype == np.uint8
    assert set(np.unique(out)) == {0, 3, 7}
    for value in (3, 7):
        expected = np.argwhere(label == value).mean(0)
        found = (np.argwhere(out == value).mean(0) + 0.5) * np.divide(shape, target) - 0.5
        assert found == pytest.approx(expected, abs=0.5)
        assert (out == value).mean() == pytest.approx((label == value).mean(), rel=0.25)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_thin_plate_survives_refinement_without_holes(axis: int) -> None:
    label = np.zeros((9, 9, 9), np.uint8)
    np.moveaxis(label, axis, 0)[4] = 1
    target = tuple(14 if a == axis else 9 for a in range(3))
    assert np.moveaxis(resample_label(label, target), axis, 0).any(0).all()


def test_a_thin_plate_survives_halving() -> None:
    label = np.zeros((8, 8, 8), np.uint8)
    label[3] = 1
    assert resample_label(label, (4, 8, 8)).any(0).all()


def test_a_label_at_the_border_reaches_the_border() -> None:
    label = np.zeros((6, 6, 6), np.uint8)
    label[0, :, 5] = 2
    out = resample_label(label, (12, 9, 12))
    assert (out[0, :, -1] == 2).all()


@pytest.mark.parametrize(("shape", "target"), [*SHAPES, ((70, 33, 20), (81, 33, 14)), ((40, 8, 9), (130, 8, 9))])
@pytest.mark.parametrize("order", [CUBIC, LINEAR])
def test_an_axis_at_a_time_gives_what_the_whole_spline_gives(shape: Shape, target: Shape, order: int) -> None:
    volume = np.random.default_rng(1).gamma(2.0, size=shape).astype(np.float32)
    factors = [new / old for new, old in zip(target, shape, strict=True)]
    expected = ndimage.zoom(volume, factors, order=order, mode="nearest", grid_mode=True).clip(
        volume.min(), volume.max()
    )

    out = resample(volume[None], target, order=order)[0]

    assert np.abs(out - expected).max() < 1e-5 * np.ptp(volume)


def test_a_result_can_be_written_into_a_box_of_a_larger_array() -> None:
    volume = np.random.default_rng(1).random((2, 9, 8, 7), np.float32)
    larger = np.full((2, 20, 20, 20), -7.0, np.float32)
    box = larger[:, 3:14, 5:13, 2:12]

    assert resample(volume, (11, 8, 10), order=LINEAR, out=box) is box

    assert np.array_equal(box, resample(volume, (11, 8, 10), order=LINEAR))
    box[...] = -7.0
    assert (larger == -7.0).all()


@pytest.mark.parametrize(("shape", "target"), [*SHAPES, ((70, 33, 20), (81, 33, 14))])
def test_the_likeliest_label_wins(shape: Shape, target: Shape) -> None:
    label = np.random.default_rng(4).integers(4, size=shape, dtype=np.uint8) * 2
    factors = [new / old for new, old in zip(target, shape, strict=True)]
    indicators = [(label == value).astype(np.float32) for value in (6, 4, 2, 0)]
    shares = [ndimage.zoom(one, factors, order=1, mode="nearest", grid_mode=True) for one in indicators]

    # of equal shares the larger value wins: the first in this order
    expected = np.array([6, 4, 2, 0])[np.argmax(np.round(shares, 5), axis=0)]

    # but for single voxels that would vanish
    assert (resample_label(label, target) == expected).mean() > 0.98


@pytest.mark.parametrize("target", [(21, 21, 21), (10, 12, 8), (24, 24, 6)])
def test_no_object_vanishes_however_small(target: Shape) -> None:
    rng = np.random.default_rng(0)
    label = np.zeros((24, 24, 24), np.uint8)
    places = [tuple(int(n) for n in voxel) for voxel in rng.integers(0, 6, size=(40, 3)) * 4]
    for number, voxel in enumerate(dict.fromkeys(places)):
        label[voxel] = 1 + number % 2
    out = resample_label(label, target)
    for voxel in np.argwhere(label):
        near = ((voxel + 0.5) * np.asarray(target) / 24).astype(int)
        assert out[tuple(near)] > 0
    assert set(np.unique(out)) == {0, 1, 2}
    assert np.count_nonzero(out) <= 3 * np.count_nonzero(label)


def test_a_neighbour_is_not_written_over_for_a_small_object() -> None:
    label = np.zeros((8, 8, 8), np.uint8)
    label[0:4, 0:4, 0:4] = 1
    label[3, 3, 3] = 2
    out = resample_label(label, (4, 4, 4))
    assert (out[:2, :2, :2] == 1).all()


def test_small_objects_beside_a_large_one_stay() -> None:
    rng = np.random.default_rng(0)
    label = np.zeros((120, 120, 120), np.uint8)
    label[2::4, 2::4, 2::4] = rng.random((30, 30, 30)) < 0.3
    label[:60, :60] = 1
    out = resample_label(label, (60, 60, 60))
    assert np.count_nonzero(out[32:, 32:]) > 1000
