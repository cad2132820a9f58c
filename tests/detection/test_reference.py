"""Uptake of liver and blood pool in digital patients, where it is known."""

from __future__ import annotations

import numpy as np
import pytest

from interactivepet.core.geometry import BoundingBox, Geometry
from interactivepet.dataset.phantom.anatomy import sample_anatomy
from interactivepet.detection.body import Body, cut_to_body, find_body
from interactivepet.detection.reference import (
    Reference,
    find_blood_pool,
    find_liver,
    measure_liver,
    measure_sphere,
    percist_threshold,
    take_liver,
)
from interactivepet.detection.scan import Scan, make_scan
from tests.detection.digital import make_digital


def open_scan(image: np.ndarray, geometry: Geometry) -> tuple[Scan, Body]:
    full = make_scan(image, geometry)
    body = find_body(full)
    assert body is not None
    return cut_to_body(full, body)


@pytest.mark.parametrize("seed", range(40, 52))
def test_the_liver_is_found_without_ct(seed: int) -> None:
    image, _, geometry = make_digital(seed)
    # the generator draws the anatomy first
    organs = {organ.name: organ for organ in sample_anatomy(np.random.default_rng(seed)).organs}
    scan, body = open_scan(image, geometry)
    liver = find_liver(scan, body)
    assert liver is not None
    assert liver.reference.name == "liver"
    lobe = organs["liver, right lobe"]
    # noise, and lesions beside the sphere
    assert liver.reference.mean == pytest.approx(lobe.suv, rel=0.15)
    above_bladder = lobe.centre_mm[2] - organs["bladder"].centre_mm[2]
    bladder = organs["bladder"].radii_mm[2] + 20.0
    assert liver.centre_mm[2] == pytest.approx(above_bladder + bladder, abs=35)
    pool = find_blood_pool(scan, body, liver)
    assert pool is not None
    assert 0.8 < pool.mean < 0.9 * liver.reference.mean


def test_the_unit_does_not_matter() -> None:
    image, _, geometry = make_digital(40)
    suv, counts = measure_liver(image, geometry), measure_liver(image * 4096, geometry)
    assert suv is not None
    assert counts is not None
    assert counts.mean == pytest.approx(4096 * suv.mean, rel=1e-4)


@pytest.mark.parametrize(
    ("axis", "low", "high"),
    [(2, 0.0, 0.25), (2, 0.75, 1.0), (0, 0.62, 1.0)],
    ids=["pelvis", "neck", "left side"],
)
def test_a_part_of_the_body_without_liver_has_none(axis: int, low: float, high: float) -> None:
    image, _, geometry = make_digital(40, n_lesions=(0, 0))
    n = image.shape[axis]
    start, stop = [0, 0, 0], list(image.shape)
    start[axis], stop[axis] = int(low * n), int(high * n)
    box = BoundingBox(tuple(start), tuple(stop))
    assert measure_liver(image[box.slices], geometry.cropped(box)) is None


def test_an_empty_image_has_none() -> None:
    assert measure_liver(np.zeros((9, 9, 9), np.float32), Geometry((9, 9, 9), np.eye(4) * 5)) is None


def test_the_blood_pool_lies_above_the_liver() -> None:
    image, _, geometry = make_digital(41)
    box = BoundingBox((0, 0, 0), (*image.shape[:2], int(0.55 * image.shape[2])))
    scan, body = open_scan(image[box.slices], geometry.cropped(box))
    liver = find_liver(scan, body)
    assert liver is not None
    assert find_blood_pool(scan, body, liver) is None


def test_a_mask_of_the_liver_is_taken() -> None:
    image, _, geometry = make_digital(42)
    scan, body = open_scan(image, geometry)
    found = find_liver(scan, body)
    assert found is not None
    taken = take_liver(scan, found.core)
    assert taken is not None
    assert taken.reference.mean == pytest.approx(found.reference.mean, rel=0.05)
    assert taken.core.sum() < found.core.sum()
    assert take_liver(scan, np.zeros_like(found.core)) is None


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        (Reference("liver", 2.0, 0.2), 1.5 * 2.0 + 0.4),
        (Reference("blood pool", 1.5, 0.3), 2 * 1.5 + 0.6),
        (Reference("liver", 8000.0, 0.0), 12000.0),
    ],
)
def test_the_threshold_of_percist(reference: Reference, expected: float) -> None:
    assert percist_threshold(reference) == pytest.approx(expected)


def test_a_sphere_has_the_values_within_15_mm() -> None:
    geometry = Geometry((30, 30, 30), np.diag([-3.0, 4.0, 5.0, 1.0]))
    centre = geometry.to_mm((15, 15, 15))
    places = np.moveaxis(np.indices(geometry.shape), 0, -1)
    distance = np.linalg.norm((places - 15) * geometry.spacing_mm, axis=-1)
    image = np.where(distance <= 15, 3.0, 50.0).astype(np.float32)
    found = measure_sphere(image, geometry, centre_mm=tuple(centre.tolist()), name="liver")
    assert found == Reference("liver", 3.0, 0.0)
    assert measure_sphere(image, geometry, centre_mm=(500.0, 0.0, 0.0), name="liver") is None
