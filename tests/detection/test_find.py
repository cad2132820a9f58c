"""Regions of digital whole bodies and of a real one: lesions are called so, organs are not."""

from __future__ import annotations

from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import pytest

from interactivepet.core.geometry import BoundingBox, Geometry
from interactivepet.core.region import REGION_METHODS, RegionMethod
from interactivepet.dataset.dicom.source import DicomOptions, find_dicom_source
from interactivepet.detection.find import RegionOptions, find_regions
from interactivepet.errors import CaseError, SettingsError
from tests.detection.digital import count_regions, make_digital

WHOLE = make_digital(40)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "spacing_mm", "n_lesions"),
    [(600, (5.47, 5.47, 6.54), (1, 4)), (700, (4.07, 4.07, 3.0), (1, 4)), (800, (4.0, 4.0, 5.0), (4, 8))],
    ids=["usual", "fine", "many"],
)
def test_lesions_of_digital_patients_are_called_so(
    seed: int, spacing_mm: tuple[float, float, float], n_lesions: tuple[int, int]
) -> None:
    counts = []
    for number in range(8):
        image, label, geometry = make_digital(seed + number, spacing_mm=spacing_mm, n_lesions=n_lesions)
        counts.append(count_regions(find_regions(image, geometry, case_id="A"), label))
    total = reduce(add, counts)
    assert total.n_called >= 0.85 * total.n_lesions
    assert total.n_false <= len(counts)
    assert total.n_unsure <= 3 * len(counts)


@pytest.mark.slow
def test_patients_without_a_lesion_have_few() -> None:
    for seed in range(900, 906):
        image, label, geometry = make_digital(seed, n_lesions=(0, 0))
        count = count_regions(find_regions(image, geometry, case_id="A"), label)
        assert count.n_false <= 1


@pytest.mark.real_data
@pytest.mark.slow
def test_the_tumour_of_a_real_patient_comes_first(real_data: Path) -> None:
    options = DicomOptions(rois=("GTV_Mass",))
    (job,) = find_dicom_source(real_data / "dicom" / "STS_001", options=options).training
    case = job.load().case
    assert case.label is not None
    found = find_regions(case.image[0], case.geometry, case_id=case.id)
    first = found.regions[0]
    mask = first.on_grid(case.geometry.shape)
    assert first.status == "lesion"
    assert 2 * (mask & (case.label > 0)).sum() / (mask.sum() + case.label.sum()) > 0.6
    assert count_regions(found, case.label).n_false == 0
    rules = {region.rule for region in found.regions if region.status == "physiological"}
    assert rules >= {"brain", "heart", "bladder", "left kidney", "right kidney", "liver"}


def test_every_region_has_its_status_and_its_reason() -> None:
    image, _, geometry = WHOLE
    found = find_regions(image, geometry, case_id="A")
    assert [region.id for region in found.regions] == list(range(1, len(found.regions) + 1))
    order = [region.status for region in found.regions]
    assert order == sorted(order, key=["lesion", "unsure", "physiological"].index)
    for region in found.regions:
        assert region.rule
        assert region.reason
        assert region.mask.any()
        assert region.mask.shape == region.box.shape
        held = image[region.box.slices][region.mask]
        assert region.maximum == held.max()
        assert region.mean == pytest.approx(held.mean())
        assert region.volume_ml == pytest.approx(region.mask.sum() * geometry.voxel_volume_ml)
        assert geometry.contains(region.peak_mm)
        assert region.on_grid(geometry.shape)[geometry.find_voxel(region.peak_mm)]
        assert region.volume_ml >= 0.3


def test_regions_do_not_overlap() -> None:
    image, _, geometry = WHOLE
    found = find_regions(image, geometry, case_id="A")
    covered = sum(region.on_grid(geometry.shape).astype(int) for region in found.regions)
    assert np.max(covered) == 1


def test_direction_and_order_of_axes_do_not_matter() -> None:
    image, _, geometry = WHOLE
    expected = find_regions(image, geometry, case_id="A")
    flip = np.diag([-1.0, 1.0, -1.0, 1.0])
    flip[[0, 2], 3] = [image.shape[0] - 1, image.shape[2] - 1]
    turned = image[::-1, :, ::-1].transpose(2, 0, 1)
    affine = (geometry.affine @ flip)[:, [2, 0, 1, 3]]
    found = find_regions(np.ascontiguousarray(turned), Geometry(turned.shape, affine), case_id="A")
    assert [region.rule for region in found.regions] == [region.rule for region in expected.regions]
    for one, other in zip(found.regions, expected.regions, strict=True):
        assert one.peak_mm == pytest.approx(other.peak_mm, abs=1e-3)
        assert one.volume_ml == pytest.approx(other.volume_ml)


def test_the_unit_does_not_matter() -> None:
    image, _, geometry = WHOLE
    expected = find_regions(image, geometry, case_id="A")
    found = find_regions(image * 4096, geometry, case_id="A")
    assert found.threshold == pytest.approx(4096 * expected.threshold, rel=1e-4)
    assert [region.rule for region in found.regions] == [region.rule for region in expected.regions]


@pytest.mark.parametrize("method", REGION_METHODS)
def test_every_method_finds_hot_organs_and_lesions(method: RegionMethod) -> None:
    image, label, geometry = WHOLE
    found = find_regions(image, geometry, case_id="A", options=RegionOptions(method=method))
    assert all(region.peak >= found.threshold for region in found.regions)
    assert {"bladder", "brain"} <= {region.rule for region in found.regions}
    assert count_regions(found, label).n_called >= 1


def test_the_options_move_the_threshold() -> None:
    image, _, geometry = WHOLE
    low, high = (
        find_regions(image, geometry, case_id="A", options=RegionOptions(percentile=percentile))
        for percentile in (90.0, 98.0)
    )
    assert low.threshold < high.threshold
    assert len(low.regions) >= len(high.regions)
    fixed = find_regions(image, geometry, case_id="A", options=RegionOptions(method="suv", suv=4.0))
    assert fixed.threshold == 4.0
    few = find_regions(image, geometry, case_id="A", options=RegionOptions(least_ml=20.0))
    assert few.n_small > low.n_small
    assert len(few.regions) + few.n_small == len(low.regions) + low.n_small


def test_a_sphere_takes_the_place_of_the_liver() -> None:
    image, _, geometry = WHOLE
    plain = find_regions(image, geometry, case_id="A", options=RegionOptions(method="liver"))
    bladder = next(region for region in plain.regions if region.rule == "bladder")
    options = RegionOptions(method="liver", sphere_mm=bladder.peak_mm)
    found = find_regions(image, geometry, case_id="A", options=options)
    assert found.reference is not None
    assert plain.reference is not None
    assert found.reference.mean > 2 * plain.reference.mean
    assert found.threshold > 2 * plain.threshold
    pool = find_regions(
        image, geometry, case_id="A", options=RegionOptions(method="bloodpool", sphere_mm=bladder.peak_mm)
    )
    assert pool.threshold > found.threshold
    assert pool.reference == plain.reference


def test_masks_of_organs_take_the_place_of_rules() -> None:
    image, label, geometry = WHOLE
    expected = find_regions(image, geometry, case_id="A")
    lesion = next(region for region in expected.regions if region.status == "lesion")
    mask = lesion.on_grid(geometry.shape)
    found = find_regions(image, geometry, case_id="A", organs={"gallbladder": mask})
    same = min(found.regions, key=lambda region: np.linalg.norm(np.subtract(region.peak_mm, lesion.peak_mm)))
    assert (same.status, same.rule) == ("physiological", "gallbladder")
    assert count_regions(expected, label).n_called > count_regions(found, label).n_called


def test_without_a_liver_nothing_is_sure() -> None:
    image, _, geometry = make_digital(40)
    box = BoundingBox((0, 0, 0), (*image.shape[:2], image.shape[2] // 4))
    pelvis, grid = image[box.slices], geometry.cropped(box)
    found = find_regions(pelvis, grid, case_id="A")
    assert found.reference is None
    assert found.regions
    assert {(region.status, region.rule) for region in found.regions} == {("unsure", "no liver")}
    for method, tissue in (("liver", "liver"), ("bloodpool", "blood pool")):
        with pytest.raises(CaseError, match=f"A: no {tissue} is seen in the image, .*; name a reference sphere"):
            find_regions(pelvis, grid, case_id="A", options=RegionOptions(method=method))


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (np.zeros((20, 20, 20), np.float32), RegionOptions(), "A: no body is brighter than the air"),
        (np.full((20, 20, 20), np.nan, np.float32), RegionOptions(), "A: no body is brighter than the air"),
        (WHOLE[0] * 4096, RegionOptions(method="suv"), "A: the body has a median of .*, expected SUV"),
        (WHOLE[0], RegionOptions(sphere_mm=(9000.0, 0.0, 0.0)), "A: the sphere at 9000, 0, 0 mm is outside"),
    ],
    ids=["empty", "NaN", "other unit", "sphere outside"],
)
def test_images_that_cannot_be_used(image: np.ndarray, options: RegionOptions, message: str) -> None:
    geometry = Geometry(image.shape, WHOLE[2].affine)
    with pytest.raises(CaseError, match=message):
        find_regions(image, geometry, case_id="A", options=options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"percentile": 100.0}, "percentile 100, expected above 0 and below 100"),
        ({"percentile": 0.0}, "percentile 0, expected"),
        ({"percentile": float("nan")}, "percentile nan, expected"),
        ({"suv": 0.0}, "SUV 0, expected above 0"),
        ({"suv": float("inf")}, "SUV inf, expected"),
        ({"least_ml": -1.0}, "a least volume of -1 ml, expected 0 or more"),
    ],
)
def test_limits_that_no_image_has(options: dict[str, float], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        RegionOptions(**options)


@pytest.mark.parametrize("shape", [(60, 60, 1), (1, 60, 60), (2, 2, 2)])
def test_thin_images_give_no_lesion(shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(0).gamma(1.0, 0.2, shape).astype(np.float32)
    image[shape[0] // 2 :, shape[1] // 2 :] += 3
    found = find_regions(image, Geometry(shape, np.diag([-4.0, -4.0, 4.0, 1.0])), case_id="A")
    assert {region.status for region in found.regions} <= {"unsure"}
