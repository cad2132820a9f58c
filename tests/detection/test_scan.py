"""An image in any order and direction of its axes becomes the same scan, and masks find their way back."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from interactivepet.core.geometry import BoundingBox, Geometry
from interactivepet.detection.body import cut_to_body, find_body
from interactivepet.detection.scan import make_scan

ORIENTATIONS = [(order, flips) for order in permutations(range(3)) for flips in ((1, 1, 1), (-1, -1, 1), (1, -1, -1))]


def turn(
    values: np.ndarray, spacing_mm: tuple[float, float, float], order: tuple[int, ...], flips: tuple[int, ...]
) -> tuple[np.ndarray, Geometry]:
    """Store RAS+ values in another order and direction; gives image and grid."""
    axes = np.zeros((3, 3))
    for stored, world in enumerate(order):
        axes[world, stored] = flips[stored] * spacing_mm[world]
    image = values.transpose(order)[tuple(slice(None, None, flip) for flip in flips)]
    affine = np.eye(4)
    affine[:3, :3] = axes
    affine[:3, 3] = [7.0, -3.0, 11.0]
    return np.ascontiguousarray(image), Geometry(image.shape, affine)


@pytest.mark.parametrize(("order", "flips"), ORIENTATIONS)
def test_axes_of_the_scan_are_those_of_the_patient(order: tuple[int, ...], flips: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).random((9, 11, 7)).astype(np.float32)
    image, geometry = turn(values, (5.0, 6.0, 7.0), order, flips)
    scan = make_scan(image, geometry)
    assert scan.spacing_mm == (5.0, 6.0, 7.0)
    assert np.array_equal(scan.values, values)
    mask = image > 0.5
    assert np.array_equal(scan.from_grid(mask), values > 0.5)
    box = BoundingBox((2, 3, 1), (7, 9, 6))
    cut = scan.cropped(box)
    place, inside = cut.to_grid(BoundingBox((1, 1, 1), (4, 5, 4)), cut.values[1:4, 1:5, 1:4] > 0.5)
    assert np.array_equal(image[place.slices] > 0.5, inside)
    assert inside.sum() == (values[3:6, 4:8, 2:5] > 0.5).sum()


@pytest.mark.parametrize(("shape", "spacing"), list(product([(17, 12, 10), (16, 13, 11)], [(1.0, 2.1, 3.0)])))
def test_fine_voxels_are_joined(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> None:
    values = np.random.default_rng(1).random(shape).astype(np.float32)
    image, geometry = turn(values, spacing, (2, 0, 1), (-1, 1, -1))
    scan = make_scan(image, geometry)
    assert scan.steps == (4, 1, 1)
    assert scan.shape == (-(-shape[0] // 4), *shape[1:])
    assert scan.values[0, 0, 0] == pytest.approx(values[:4, 0, 0].mean())
    last = BoundingBox((scan.shape[0] - 1, 0, 0), scan.shape)
    place, inside = scan.to_grid(last, np.ones(last.shape, np.bool_))
    assert inside.all()
    assert inside.size == (shape[0] - 4 * (scan.shape[0] - 1)) * shape[1] * shape[2]
    assert np.isin(image[place.slices], values[4 * (scan.shape[0] - 1) :]).all()


def test_voxels_that_are_not_finite_count_as_air() -> None:
    values = np.ones((8, 8, 8), np.float32)
    values[0, 0, 0], values[1, 1, 1] = np.nan, np.inf
    scan = make_scan(*turn(values, (5.0, 5.0, 5.0), (0, 1, 2), (1, 1, 1)))
    assert scan.values[0, 0, 0] == scan.values[1, 1, 1] == 0


@pytest.mark.parametrize("value", [0.0, 1.0, -1.0])
def test_an_image_without_contrast_shows_no_body(value: float) -> None:
    assert find_body(make_scan(*turn(np.full((9, 9, 9), value), (5.0, 5.0, 5.0), (0, 1, 2), (1, 1, 1)))) is None


def test_the_body_is_told_from_the_air_and_filled() -> None:
    x, y, z = np.indices((40, 30, 50))
    trunk = ((x - 20) / 14) ** 2 + ((y - 14) / 9) ** 2 <= 1
    lung = ((x - 14) / 3) ** 2 + ((y - 14) / 4) ** 2 + ((z - 25) / 8) ** 2 <= 1
    values = np.where(trunk & ~lung, 1.0, 0.02) + np.random.default_rng(0).normal(0, 0.005, trunk.shape)
    scan = make_scan(*turn(values.astype(np.float32), (5.0, 5.0, 5.0), (0, 1, 2), (-1, -1, 1)))
    body = find_body(scan)
    assert body is not None
    assert (body.mask & trunk).sum() / (body.mask | trunk).sum() > 0.75
    assert body.mask[14, 14, 25]
    assert body.middle_mm == pytest.approx(np.full(50, 100.0), abs=3)
    assert body.level == pytest.approx(1.0, abs=0.1)
    cut, part = cut_to_body(scan, body)
    assert cut.shape[2] == 50
    assert cut.values.size < scan.values.size
    assert part.mask.sum() == body.mask.sum()
    assert part.middle_mm + cut.start[0] * 5.0 == pytest.approx(body.middle_mm)
