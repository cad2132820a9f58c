from __future__ import annotations

import numpy as np
import pytest

from interactivepet.core.geometry import Spacing
from interactivepet.core.plan import Configuration, UNetPlan
from interactivepet.errors import PlanError
from interactivepet.planning.grids import LOWRES_SHARE, LOWRES_VOXELS, SLICE_COARSENING
from interactivepet.planning.plan import PlanOptions, make_plans
from tests.planning.factory import make_fingerprint

ANISOTROPIC: tuple[Spacing, ...] = ((1.0, 1.0, 5.0),) * 5
WHOLE_BODY = {"shape": (400, 400, 300), "spacings": ((2.0, 2.0, 3.0),) * 5}


def test_a_small_task_has_one_configuration() -> None:
    assert list(make_plans(make_fingerprint(shape=(48, 48, 48)), "8gb").configurations) == ["3d_fullres"]


def test_slices_are_planned_for_an_anisotropic_task() -> None:
    plans = make_plans(make_fingerprint(shape=(200, 190, 24), spacings=ANISOTROPIC), "8gb")
    assert list(plans.configurations)[:2] == ["3d_fullres", "2d"]
    plan = plans.configurations["2d"]
    assert plan.patch_size[2] == 1
    assert min(plan.patch_size[:2]) >= 190
    assert plan.median_shape == (200, 190, 24)
    assert isinstance(plan.network, UNetPlan)
    assert {stride[2] for stride in plan.network.strides} == {1}
    assert {kernel[2] for kernel in plan.network.kernel_sizes} == {1}


def test_the_coarsest_axis_is_what_slices_lie_along() -> None:
    plans = make_plans(make_fingerprint(shape=(24, 200, 190), spacings=((5.0, 1.0, 1.0),) * 5), "8gb")
    assert plans.configurations["2d"].patch_size[0] == 1


def test_a_2d_task_is_planned_in_2d_only() -> None:
    fingerprint = make_fingerprint(shape=(300, 1, 200))
    plans = make_plans(fingerprint, "8gb")
    assert list(plans.configurations) == ["2d"]
    assert plans.configurations["2d"].patch_size[1] == 1
    with pytest.raises(PlanError, match="3d_fullres cannot be planned, since every case is a 2D image"):
        make_plans(fingerprint, "8gb", options=PlanOptions(configurations=("3d_fullres",)))


def test_whole_images_come_before_fine_pixels() -> None:
    spacing = (1.65, 1.65, 1.0)
    fingerprint = make_fingerprint(shape=(384, 1024, 1), spacings=(spacing,) * 40, extent_mm=(10.0, 10.0, 1.0))
    on_cpu, on_card = (make_plans(fingerprint, budget).configurations["2d"] for budget in ("cpu", "8gb"))
    assert on_card.spacing_mm == spacing
    assert on_card.patch_size == (384, 1024, 1)
    factor = on_cpu.spacing_mm[0] / spacing[0]
    assert 1.0 < factor <= SLICE_COARSENING
    assert on_cpu.spacing_mm == pytest.approx((factor * 1.65, factor * 1.65, 1.0))
    assert on_cpu.patch_size[0] >= on_cpu.median_shape[0]
    assert on_cpu.patch_size[1] >= on_cpu.median_shape[1]
    assert on_cpu.training.batch_size >= 3
    assert on_card.training.batch_size >= 4


def test_an_image_that_never_fits_is_seen_in_parts() -> None:
    plan = make_plans(make_fingerprint(shape=(4000, 4000, 1), spacings=((1.0, 1.0, 1.0),) * 20), "cpu")
    configuration = plan.configurations["2d"]
    assert configuration.spacing_mm == (SLICE_COARSENING, SLICE_COARSENING, 1.0)
    assert max(configuration.patch_size) < 2000


def test_a_2d_patch_covers_the_median_image() -> None:
    shapes = ((100, 100, 1),) * 15 + ((100, 460, 1),) * 5
    fingerprint = make_fingerprint(shapes=shapes, spacings=((4.0, 4.0, 4.0),) * 20)
    plan = make_plans(fingerprint, "8gb").configurations["2d"]
    assert plan.median_shape == (100, 100, 1)
    assert 100 <= plan.patch_size[1] < 160
    assert plan.training.mirror_axes == (0,)


def test_two_steps_are_planned_when_a_patch_sees_little() -> None:
    plans = make_plans(make_fingerprint(**WHOLE_BODY), "8gb")
    assert list(plans.configurations) == ["3d_fullres", "3d_lowres", "3d_cascade"]
    full, low, cascade = plans.configurations.values()
    assert np.prod(full.patch_size) < LOWRES_SHARE * np.prod(full.median_shape)
    assert np.prod(low.patch_size) >= LOWRES_SHARE * np.prod(low.median_shape)
    assert np.prod(low.median_shape) <= LOWRES_VOXELS * np.prod(full.median_shape)
    assert low.spacing_mm[0] / low.spacing_mm[2] == pytest.approx(2 / 3)
    assert (cascade.spacing_mm, cascade.patch_size, cascade.network) == (
        full.spacing_mm,
        full.patch_size,
        full.network,
    )


def test_a_patch_that_was_bounded_by_its_objects_lacks_no_context() -> None:
    near = make_fingerprint(**WHOLE_BODY, extent_mm=(20.0, 20.0, 20.0))
    far = make_fingerprint(**WHOLE_BODY, extent_mm=(200.0, 200.0, 200.0))
    assert list(make_plans(near, "cpu").configurations) == ["3d_fullres"]
    assert "3d_cascade" in make_plans(far, "cpu").configurations


def test_thick_slices_are_coarsened_last() -> None:
    fingerprint = make_fingerprint(shape=(500, 500, 200), spacings=((1.0, 1.0, 4.0),) * 5)
    low = make_plans(fingerprint, "8gb", options=PlanOptions(configurations=("3d_lowres",))).configurations["3d_lowres"]
    assert low.spacing_mm[0] > 1.5
    assert low.spacing_mm[2] == pytest.approx(4.0) or low.spacing_mm[0] >= 2.0


def test_what_is_asked_for_is_planned_in_that_order() -> None:
    wanted: tuple[Configuration, ...] = ("3d_lowres", "2d", "3d_cascade", "3d_fullres")
    plans = make_plans(make_fingerprint(), "8gb", options=PlanOptions(configurations=wanted))
    assert tuple(plans.configurations) == wanted
    assert plans.default == "3d_lowres"


@pytest.mark.parametrize(
    "wanted", [("3d_cascade",), ("3d_lowres", "3d_cascade"), ("3d_fullres", "3d_cascade")], ids="+".join
)
def test_a_cascade_without_its_first_step_or_its_cases_is_refused(wanted: tuple[Configuration, ...]) -> None:
    with pytest.raises(PlanError, match="ask for all three"):
        make_plans(make_fingerprint(), "8gb", options=PlanOptions(configurations=wanted))


def test_a_fixed_grid_has_no_coarser_one() -> None:
    options = PlanOptions(configurations=("3d_fullres", "3d_lowres", "3d_cascade"), target_shape=(64, 64, 64))
    with pytest.raises(PlanError, match="leave out 3d_lowres and 3d_cascade, or --target-shape"):
        make_plans(make_fingerprint(), "8gb", options=options)


def test_slices_of_a_fixed_grid_are_flat() -> None:
    options = PlanOptions(target_shape=(64, 64, 24), configurations=("3d_fullres", "2d"))
    plans = make_plans(make_fingerprint(shape=(200, 190, 24), spacings=ANISOTROPIC), "8gb", options=options)
    assert plans.configurations["2d"].patch_size == (64, 64, 1)
    assert plans.configurations["2d"].median_shape == (64, 64, 24)
