from __future__ import annotations

import numpy as np
import pytest

from interactivepet.core.plan import CropPlan
from interactivepet.planning.rules import (
    OBJECT_REACH,
    SMALLEST_MARGIN_MM,
    choose_crop,
    choose_guidance,
    choose_normalisation,
    choose_spacing,
    find_flat_axes,
    find_reach_mm,
    measure_extents_mm,
)
from tests.planning.factory import describe, make_fingerprint


def test_the_spacing_is_the_median() -> None:
    assert choose_spacing([(1.0, 2.0, 3.0), (2.0, 2.0, 3.0), (9.0, 4.0, 3.0)]) == (2.0, 2.0, 3.0)


def test_the_coarse_axis_of_an_anisotropic_task_takes_its_tenth_percentile() -> None:
    slices = [float(mm) for mm in range(3, 14)]
    chosen = choose_spacing([(1.0, 1.0, mm) for mm in slices])
    assert chosen == pytest.approx((1.0, 1.0, np.percentile(slices, 10)))


def test_three_times_coarser_is_not_yet_anisotropic() -> None:
    assert choose_spacing([(1.0, 1.0, mm) for mm in (1.0, 3.0, 3.0)]) == (1.0, 1.0, 3.0)


def test_the_coarse_axis_never_becomes_finer_than_the_others() -> None:
    assert choose_spacing([(2.0, 1.0, mm) for mm in (0.5, 0.5, 8.0, 8.0, 8.0)]) == (2.0, 1.0, 2.0)


def test_ct_is_clipped_and_scaled_by_its_foreground() -> None:
    (ct,) = choose_normalisation(make_fingerprint(channels=("CT",), foreground=describe(40.0, std=30.0)))
    assert (ct.scheme, ct.clip, ct.mean, ct.std) == ("ct", (-20.0, 100.0), 40.0, 30.0)


@pytest.mark.parametrize("name", ["PET", "suv", "FDG-PET", " PSMA"])
def test_suv_in_one_unit_keeps_its_scale(name: str) -> None:
    fingerprint = make_fingerprint(channels=(name,), body_means=(0.5, 1.0, 2.0))
    (pet,) = choose_normalisation(fingerprint)
    assert (pet.scheme, pet.clip, pet.mean, pet.std) == ("suv", (0.0, 9.0), 0.0, 2.0)
    assert "99.5 percentile, 1.8 times its median" in pet.reason


@pytest.mark.parametrize(
    ("name", "means"),
    [("PET", (100.0, 9000.0)), ("PET", (0.0, 0.0)), ("PET", (-1.0, 2.0)), ("SPECT", (1.0,)), ("MR", (1.0,))],
)
def test_what_has_no_common_unit_is_scaled_case_by_case(name: str, means: tuple[float, ...]) -> None:
    (chosen,) = choose_normalisation(make_fingerprint(channels=(name,), body_means=means))
    assert (chosen.scheme, chosen.clip) == ("zscore", None)


def test_a_constant_foreground_divides_by_one() -> None:
    (ct,) = choose_normalisation(make_fingerprint(channels=("CT",), foreground=describe(40.0, std=0.0)))
    assert ct.std == 1.0
    (pet,) = choose_normalisation(make_fingerprint(channels=("PET",), foreground=describe(0.0, std=0.0)))
    assert (pet.clip, pet.std) == ((0.0, 1.0), 1.0)


def sphere_ml(radius_mm: float) -> float:
    return 4 / 3 * np.pi * radius_mm**3 / 1000


@pytest.mark.parametrize(
    ("radius_mm", "scale_mm"),
    [(100.0, 10.0), (40.0, 6.0), (12.0, 6.0), (10.0, 5.0), (8.0, 4.0), (2.0, 4.0)],
)
def test_a_click_spans_a_voxel_and_a_half_but_not_a_small_object(radius_mm: float, scale_mm: float) -> None:
    fingerprint = make_fingerprint(volumes_ml=(sphere_ml(radius_mm),))
    assert choose_guidance(fingerprint, (4.0, 4.0, 4.0)).scale_mm == pytest.approx(scale_mm)


def test_small_objects_decide_by_their_share_of_the_volume_and_voxels_by_their_mean_edge() -> None:
    specks = make_fingerprint(volumes_ml=(0.01,) * 50 + (sphere_ml(50.0),))
    small = make_fingerprint(volumes_ml=(sphere_ml(10.0),) * 50 + (sphere_ml(50.0),))
    assert choose_guidance(specks, (2.0, 4.0, 8.0)).scale_mm == pytest.approx(6.0)
    assert choose_guidance(small, (2.0, 4.0, 8.0)).scale_mm == pytest.approx(5.0)


def test_fine_voxels_say_nothing_about_large_objects() -> None:
    fingerprint = make_fingerprint(volumes_ml=(sphere_ml(40.0),) * 3)
    assert choose_guidance(fingerprint, (1.0, 1.0, 1.0)).scale_mm == pytest.approx(4.0)


def test_a_projection_is_judged_by_its_area_and_by_the_voxels_of_its_plane() -> None:
    area_mm2 = np.pi * 5.0**2
    spacing = (2.0, 2.0, 50.0)
    fingerprint = make_fingerprint(
        shape=(80, 80, 1), spacings=(spacing,) * 3, volumes_ml=(area_mm2 * 50.0 / 1000.0,), extent_mm=(10.0, 10.0, 50.0)
    )
    guidance = choose_guidance(fingerprint, spacing)
    assert guidance.scale_mm == pytest.approx(2.5)


def test_guidance_without_measured_objects_follows_the_voxels_alone() -> None:
    unknown = make_fingerprint(volumes_ml=None)
    assert choose_guidance(unknown, (2.0, 4.0, 8.0)).scale_mm == pytest.approx(6.0)
    assert find_reach_mm(unknown) == np.inf


def test_reach_is_that_of_the_large_objects() -> None:
    assert find_reach_mm(make_fingerprint(extent_mm=(8.0, 20.0, 12.0))) == OBJECT_REACH * 20.0


def test_a_scheme_that_is_asked_for_is_taken_for_every_channel() -> None:
    first, second = choose_normalisation(make_fingerprint(channels=("PET", "CT")), "minmax")
    assert (first.scheme, second.scheme) == ("minmax", "minmax")
    assert first.reason.startswith("asked for")


def test_suv_of_an_unmeasured_body_is_trusted_by_its_name() -> None:
    known = make_fingerprint()
    cases = tuple(case.model_copy(update={"body": ()}) for case in known.cases)
    (pet,) = choose_normalisation(known.model_copy(update={"cases": cases, "body": ()}))
    assert pet.scheme == "suv"


def test_a_flat_axis_is_flat_in_every_case() -> None:
    assert find_flat_axes(make_fingerprint(shape=(80, 1, 60))) == (1,)
    assert find_flat_axes(make_fingerprint(shapes=((80, 80, 1), (80, 80, 2)))) == ()


def test_a_crop_to_clicks_keeps_half_an_object_on_every_side() -> None:
    assert choose_crop(make_fingerprint(), interactive=False) == CropPlan()
    large = choose_crop(make_fingerprint(extent_mm=(50.0, 100.0, 20.0)), interactive=True)
    assert (large.region, large.margin_mm) == ("clicks", 50.0)
    for small in (make_fingerprint(extent_mm=(5.0, 5.0, 5.0)), make_fingerprint(volumes_ml=None)):
        assert choose_crop(small, interactive=True).margin_mm == SMALLEST_MARGIN_MM


def test_what_a_crop_to_clicks_keeps_lies_within_the_body() -> None:
    fingerprint = make_fingerprint(extent_mm=(100.0, 310.0, 20.0), spacings=((4.0, 4.0, 4.0),) * 2)
    kept = measure_extents_mm(fingerprint, CropPlan(region="clicks", margin_mm=30.0))
    assert kept.tolist() == [[160.0, 320.0, 80.0]] * 2
    assert measure_extents_mm(fingerprint, CropPlan()).tolist() == [[320.0, 320.0, 240.0]] * 2


def test_cases_without_objects_have_no_clicks_to_crop_to() -> None:
    fingerprint = make_fingerprint(spacings=((4.0, 4.0, 4.0),) * 2)
    first, second = fingerprint.cases
    fingerprint = fingerprint.model_copy(update={"cases": (first, second.model_copy(update={"objects": ()}))})
    assert len(measure_extents_mm(fingerprint, CropPlan(region="clicks", margin_mm=30.0))) == 1
    assert len(measure_extents_mm(fingerprint, CropPlan())) == 2
