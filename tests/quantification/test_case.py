from __future__ import annotations

import numpy as np
import pytest

from interactivepet.core.geometry import Geometry
from interactivepet.core.measures import MeasuredRegion, Organ, ReferenceUptake
from interactivepet.core.uptake import UNITS, UptakeUnit, name_total, name_uptake, name_volume
from interactivepet.quantification.case import measure_regions

SHAPE = (30, 30, 30)
GEOMETRY = Geometry(SHAPE, np.array([[0, -5.0, 0, 60], [10.0, 0, 0, -100], [0, 0, 5.0, 0], [0, 0, 0, 1]]))
"""Voxels of 10 x 5 x 5 mm, 0.25 ml, i along the second axis of space."""
LABELS = {"tumour": 1, "node": 2, "absent": 3}


def make_case() -> tuple[np.ndarray, np.ndarray]:
    """Two tumours of 8 and 2 voxels, the second joined by corners only, and one node of one voxel."""
    image = np.ones(SHAPE, np.float32)
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:4, 2:4, 2:4] = 1
    image[2:4, 2:4, 2:4] = 4
    image[2, 2, 2] = 10
    mask[10, 10, 10] = mask[11, 11, 11] = 1
    image[10, 10, 10] = 6
    image[11, 11, 11] = 3
    mask[2, 2, 20] = 2
    image[2, 2, 20] = 8
    return image, mask


def measure(
    unit: UptakeUnit = "suv", references: dict[Organ, ReferenceUptake] | None = None
) -> dict[tuple[str, str, int | None], MeasuredRegion]:
    image, mask = make_case()
    regions = measure_regions(image, mask, geometry=GEOMETRY, labels=LABELS, unit=unit, references=references)
    return {(region.level, region.label, region.lesion): region for region in regions}


TUMOUR = ("lesion", "tumour", 1)
SMALL = ("lesion", "tumour", 2)
NODE = ("lesion", "node", 1)
BOTH = ("label", "tumour", None)
ABSENT = ("label", "absent", None)
PATIENT = ("patient", "", None)
D12 = float(np.hypot(80, np.hypot(40, 40)))  # (10.5 - 2.5) voxels along each axis
D13 = float(np.hypot(5, np.hypot(2.5, 87.5)))
D23 = float(np.hypot(85, np.hypot(42.5, 47.5)))


@pytest.mark.parametrize(
    ("region", "name", "expected"),
    [
        (TUMOUR, "suv_max", 10),
        (TUMOUR, "suv_mean", 38 / 8),
        (TUMOUR, "suv_median", 4),
        (TUMOUR, "suv_min", 4),
        (TUMOUR, "mtv_ml", 2.0),
        (TUMOUR, "tlg_g", 9.5),
        (TUMOUR, "volume_41_percent_of_max_ml", 0.25),
        (TUMOUR, "volume_50_percent_of_max_ml", 0.25),
        (TUMOUR, "centroid_x_ras_mm", 60 - 2.5 * 5),
        (TUMOUR, "centroid_y_ras_mm", -100 + 2.5 * 10),
        (TUMOUR, "centroid_z_ras_mm", 12.5),
        (SMALL, "suv_max", 6),
        (SMALL, "mtv_ml", 0.5),
        (SMALL, "volume_50_percent_of_max_ml", 0.5),
        (NODE, "suv_max", 8),
        (NODE, "mtv_ml", 0.25),
        (BOTH, "n_lesions", 2),
        (BOTH, "suv_max", 10),
        (BOTH, "suv_mean", 47 / 10),
        (BOTH, "mtv_ml", 2.5),
        (BOTH, "tlg_g", 47 * 0.25),
        # each lesion by its own maximum
        (BOTH, "volume_50_percent_of_max_ml", 0.75),
        (BOTH, "dmax_mm", D12),
        (BOTH, "spread_mm", D12),
        (("label", "node", None), "dmax_mm", None),
        (ABSENT, "n_lesions", 0),
        (ABSENT, "suv_max", None),
        (ABSENT, "suv_peak_global", None),
        (ABSENT, "mtv_ml", 0),
        (ABSENT, "tlg_g", 0),
        (ABSENT, "surface_area_mm2", 0),
        (ABSENT, "dmax_mm", None),
        (PATIENT, "n_lesions", 3),
        (PATIENT, "suv_max", 10),
        (PATIENT, "mtv_ml", 2.75),
        (PATIENT, "tlg_g", 55 * 0.25),
        (PATIENT, "dmax_mm", max(D12, D13, D23)),
        (PATIENT, "spread_mm", max(D12 + D13, D12 + D23, D13 + D23)),
    ],
)
def test_values(region: tuple[str, str, int | None], name: str, expected: float | None) -> None:
    assert measure()[region].values[name] == (expected if expected is None else pytest.approx(expected))


def test_lesions_come_largest_first_then_their_label_then_the_patient() -> None:
    assert list(measure()) == [
        TUMOUR,
        SMALL,
        BOTH,
        NODE,
        ("label", "node", None),
        ABSENT,
        PATIENT,
    ]


def test_the_peak_of_a_patient_is_that_of_the_hottest_lesion() -> None:
    found = measure()
    assert found[PATIENT].values["suv_peak_local"] == found[TUMOUR].values["suv_peak_local"]
    peaks = [found[lesion].values["suv_peak_global"] or 0 for lesion in (TUMOUR, SMALL, NODE)]
    assert found[PATIENT].values["suv_peak_global"] == max(peaks)


@pytest.mark.parametrize(
    ("unit", "maximum", "volume", "total"),
    [
        ("suv", "suv_max", "mtv_ml", "tlg_g"),
        ("sul", "sul_max", "mtv_ml", "tlg_sul_g"),
        ("suv_ibw", "suv_ibw_max", "mtv_ml", "tlg_suv_ibw_g"),
        ("suv_bsa", "suv_bsa_max", "mtv_ml", "tlg_suv_bsa_cm2"),
        ("bq_per_ml", "uptake_max_bq_per_ml", "volume_ml", "total_uptake_bq"),
        ("counts", "uptake_max_counts", "volume_ml", "total_uptake_counts_ml"),
        ("unknown", "uptake_max_image_units", "volume_ml", "total_uptake_image_units_ml"),
    ],
)
def test_the_unit_of_the_image_decides_the_names(unit: UptakeUnit, maximum: str, volume: str, total: str) -> None:
    values = measure(unit)[TUMOUR].values
    assert (values[maximum], values[volume], values[total]) == (10, 2.0, 9.5)
    assert (name_uptake("max", unit), name_volume(unit), name_total(unit)) == (maximum, volume, total)
    assert not any(name.startswith("suv") for name in values) or unit.startswith("suv")


def test_every_unit_has_names_of_its_own() -> None:
    assert len({name_uptake("max", unit) for unit in UNITS}) == len({name_total(unit) for unit in UNITS}) == len(UNITS)


def test_ratios_to_normal_organs() -> None:
    found = measure("sul", {"liver": ReferenceUptake(mean=2.0, sd=0.5), "blood_pool": ReferenceUptake(mean=1.0)})
    values = found[TUMOUR].values
    assert values["max_to_liver_ratio"] == 5
    assert values["max_to_blood_pool_ratio"] == 10
    assert values["peak_to_liver_ratio"] == pytest.approx((values["sul_peak_global"] or 0) / 2)
    assert values["percist_threshold_liver_sul"] == 4.0
    assert values["percist_measurable_by_liver"] == int((values["sul_peak_global"] or 0) >= 4)
    assert values["percist_measurable_by_blood_pool"] is None
    assert found[ABSENT].values["max_to_liver_ratio"] is None
    assert "deauville_suggestion" not in found[PATIENT].values
    assert not any("percist" in name for name in measure("suv", {"liver": ReferenceUptake(mean=2)})[TUMOUR].values)


@pytest.mark.parametrize(("liver", "score"), [(12.0, 3), (6.0, 4), (5.0, 5), (9.99, 4)])
def test_a_score_is_suggested_where_both_organs_are_known_by_their_maxima(liver: float, score: int) -> None:
    references: dict[Organ, ReferenceUptake] = {
        "liver": ReferenceUptake(mean=1.0, maximum=liver),
        "blood_pool": ReferenceUptake(mean=1.0, maximum=2.0),
    }
    found = measure("suv", references)
    assert found[PATIENT].values["deauville_suggestion"] == score
    assert "deauville_suggestion" not in found[TUMOUR].values


def test_an_empty_mask_has_no_uptake_and_no_score() -> None:
    image, mask = make_case()
    references: dict[Organ, ReferenceUptake] = {
        "liver": ReferenceUptake(mean=1.0, maximum=2.0),
        "blood_pool": ReferenceUptake(mean=1.0, maximum=1.0),
    }
    regions = measure_regions(image, mask * 0, geometry=GEOMETRY, labels={"a": 1}, unit="suv", references=references)
    assert [region.level for region in regions] == ["label", "patient"]
    assert regions[-1].values["deauville_suggestion"] is None
    assert regions[-1].values["mtv_ml"] == 0
    assert regions[-1].values["suv_mean"] is None


def test_a_lesion_over_the_whole_of_a_picture() -> None:
    image = np.ones((5, 4, 1), np.float32)
    geometry = Geometry((5, 4, 1), np.diag([4.0, 4.0, 4.0, 1.0]))
    regions = measure_regions(image, image.astype(np.uint8), geometry=geometry, labels={"a": 1}, unit="counts")
    assert regions[0].values["volume_ml"] == pytest.approx(20 * 0.064)
    assert regions[0].values["uptake_peak_global_counts"] == 1


class Recorded:
    """An image that notes how many voxels are read at once."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values
        self.shape = values.shape
        self.n_read: list[int] = []

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
        part = self.values[index]
        self.n_read.append(part.size)
        return part


def test_only_the_surroundings_of_lesions_are_read() -> None:
    values, mask = make_case()
    image = Recorded(values)
    measure_regions(image, mask, geometry=GEOMETRY, labels=LABELS, unit="suv")  # type: ignore[arg-type]
    # each lesion in its own box, with the reach of a sphere of 6.2 mm around
    assert sorted(image.n_read) == [1 * 3 * 3, 2 * 4 * 4, 2 * 4 * 4]
