from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from interactivepet.core.geometry import Geometry
from interactivepet.core.measures import CaseMeasures, MeasuredRegion
from interactivepet.core.summary import summarise_measures
from interactivepet.core.uptake import UNITS, UptakeUnit
from interactivepet.reporting.html import NOTICE
from interactivepet.reporting.lesion_views import draw_views
from interactivepet.reporting.measure_columns import list_columns, list_other_names
from interactivepet.reporting.patient_page import MOST_VIEWED, draw_patient, make_patient_page
from tests.reporting.patients import make_body, make_region, make_summary


def make_patient(n: int) -> tuple[np.ndarray, np.ndarray, Geometry]:
    """Make a body with n regions of eight voxels."""
    image, geometry = make_body()
    regions = np.zeros(image.shape, np.int32)
    for number in range(n):
        i, j, k = 4 + 3 * (number % 11), 4 + 3 * (number // 11 % 7), 4 + 3 * (number // 77)
        image[i : i + 2, j : j + 2, k : k + 2] = 6
        regions[i : i + 2, j : j + 2, k : k + 2] = number + 1
    return image, regions, geometry


@pytest.mark.parametrize("n", [0, 1, 5, MOST_VIEWED + 4])
def test_a_page_has_every_region_and_stays_small(n: int) -> None:
    image, regions, geometry = make_patient(n)
    summary = make_summary(*(make_region(str(number + 1)) for number in range(n)), case="P")
    page = make_patient_page(summary, image, regions=regions, geometry=geometry)
    assert len(re.findall(r'<section class="lesion"', page)) == min(n, MOST_VIEWED)
    assert len(re.findall(r'<td class="text"><a href="#region-', page)) == n
    assert ("the table has all" in page) == (n > MOST_VIEWED)
    assert page.count('class="shown"') == 1
    assert NOTICE in page
    assert len(page) < 3e6


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, -1, 1), (1, -1, -1)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_the_order_of_the_axes_changes_no_picture(order: tuple[int, int, int], flips: tuple[int, int, int]) -> None:
    image, regions, geometry = make_patient(3)
    summary = make_summary(*(make_region(str(number)) for number in range(3)))
    affine = geometry.affine.copy()
    for axis, flip in enumerate(flips):
        if flip < 0:
            affine[:3, 3] += affine[:3, axis] * (image.shape[axis] - 1)
            affine[:3, axis] *= -1
    turned = [
        np.flip(array, [a for a, flip in enumerate(flips) if flip < 0]).transpose(order) for array in (image, regions)
    ]
    affine[:3, :3] = affine[:3, list(order)]
    expected = draw_patient(summary, image, regions=regions, geometry=geometry)
    found = draw_patient(summary, turned[0], regions=turned[1], geometry=Geometry(turned[0].shape, affine))
    assert found.projections.pictures == expected.projections.pictures
    assert [[view.outlines for view in views] for views in found.views] == [
        [view.outlines for view in views] for views in expected.views
    ]


@pytest.mark.parametrize("normal", [0, 1, 2])
def test_a_flat_image_is_shown_whole_and_does_not_turn(normal: int) -> None:
    image = np.zeros((200, 300), np.float32)
    regions = np.zeros(image.shape, np.int32)
    image[150:154, 200:203], regions[150:154, 200:203] = 7, 1
    image, regions = np.expand_dims(image, normal), np.expand_dims(regions, normal)
    geometry = Geometry(image.shape, np.eye(4))  # type: ignore[arg-type]
    summary = make_summary(make_region("1"))
    pictures = draw_patient(summary, image, regions=regions, geometry=geometry)
    projections = pictures.projections
    assert len(projections.pictures) == 1
    assert (projections.width_mm, projections.height_mm) == (200, 300)
    # high indices are on the left and above
    across, _, down, beside = projections.marks_mm[0]
    assert (across, down) == pytest.approx((100 - 152, 300 - 201.5))
    assert beside > 0
    ((view,),) = pictures.views
    assert view.width_mm < 80
    assert view.height_mm < 80
    page = make_patient_page(summary, image, regions=regions, geometry=geometry)
    assert "<script" not in page


def test_the_outline_encloses_the_region_as_radiologists_look_at_it() -> None:
    image, geometry = make_body((40, 40, 40), spacing_mm=2.0)
    regions = np.zeros(image.shape, np.int32)
    # to the patient's right, anterior, superior
    regions[28:32, 30:33, 34:36] = 1
    for view in draw_views(image, regions, geometry=geometry, n=1, unit="suv")[0]:
        (outline,) = view.outlines
        x, y = np.array([tuple(map(float, pair.split())) for pair in re.findall(r"[\d.]+ [\d.]+", outline.path)]).T
        size = [regions.any(axis=axis) for axis in ((1, 2), (0, 2), (0, 1))]
        lengths = [2.0 * int(extent.sum()) for extent in size]
        assert np.ptp(x) == pytest.approx(lengths[view.plane.horizontal], abs=0.1)
        assert np.ptp(y) == pytest.approx(lengths[view.plane.vertical], abs=0.1)
        assert x.mean() < view.width_mm / 2, "right and anterior are on the left of the screen"
        assert y.mean() < view.height_mm / 2, "anterior and superior are above"


@pytest.mark.parametrize(
    ("maximum", "unit", "top"), [(7.0, "suv", 7.0), (1.5, "suv", 4.0), (30.0, "sul", 10.0), (900.0, "counts", 900.0)]
)
def test_black_around_a_lesion_is_its_maximum_within_limits(maximum: float, unit: UptakeUnit, top: float) -> None:
    image, regions, geometry = make_patient(1)
    image[regions > 0] = maximum
    (views,) = draw_views(image, regions, geometry=geometry, n=1, unit=unit)
    assert {view.top for view in views} == {top}


def test_a_region_without_voxels_has_a_row_but_no_planes() -> None:
    image, regions, geometry = make_patient(1)
    summary = make_summary(make_region("1"), make_region("2"))
    page = make_patient_page(summary, image, regions=regions, geometry=geometry)
    assert page.count('<td class="text"><a href="#region-') == 2
    assert [len(views) for views in draw_views(image, regions, geometry=geometry, n=3, unit="suv")] == [3, 0, 0]


@pytest.mark.parametrize("unit", UNITS)
def test_every_unit_has_headings_with_units(unit: UptakeUnit) -> None:
    from interactivepet.core.uptake import name_total, name_uptake, name_volume

    names = [name_volume(unit), name_uptake("max", unit), name_uptake("min", unit), name_total(unit), "sphericity"]
    columns = list_columns(unit, names)
    assert [column.measure for column in columns] == [names[0], names[1], names[3], "sphericity"]
    assert all(column.unit for column in columns[:3])
    assert list_other_names(names, columns) == (names[2],)


def test_the_summary_of_a_measured_mask_has_its_lesions_in_their_order() -> None:
    regions = [
        MeasuredRegion(level="lesion", label="tumour", lesion=1, values={"mtv_ml": 3.0}),
        MeasuredRegion(level="lesion", label="tumour", lesion=2, values={"mtv_ml": 1.0}),
        MeasuredRegion(level="label", label="tumour", values={"mtv_ml": 4.0}),
        MeasuredRegion(level="lesion", label="node", lesion=1, values={"mtv_ml": 2.0}),
        MeasuredRegion(level="label", label="node", values={"mtv_ml": 2.0}),
        MeasuredRegion(level="patient", values={"mtv_ml": 6.0}),
    ]
    measures = CaseMeasures(case="A", unit="suv", regions=tuple(regions))
    summary = summarise_measures(measures, settings={}, versions={})
    assert [(one.id, one.label, one.measures["mtv_ml"]) for one in summary.regions] == [
        ("1", "tumour", 3.0),
        ("2", "tumour", 1.0),
        ("3", "node", 2.0),
    ]
    assert summary.totals == {"mtv_ml": 6.0}


@pytest.mark.real_data
def test_a_whole_body_makes_a_small_page(real_data: Path) -> None:
    from interactivepet.dataset.dicom.case import read_suv_series

    image, geometry, _ = read_suv_series(sorted((real_data / "dicom" / "STS_001" / "PT").iterdir()))
    regions = (image > 6).astype(np.int32)
    page = make_patient_page(make_summary(make_region("1")), image, regions=regions, geometry=geometry)
    assert len(page) < 3e6
