from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from interactivepet.core.fingerprint import CaseFingerprint, ChannelStatistics, Fingerprint, ObjectStatistics
from interactivepet.core.geometry import Shape, Spacing
from interactivepet.core.plan import Budget
from interactivepet.errors import PlanError
from interactivepet.planning import plan as planning
from interactivepet.planning.plan import (
    BUDGETS,
    MAXIMUM_BATCH_SHARE,
    MemoryBudget,
    choose_guidance,
    choose_normalisation,
    choose_spacing,
    make_plan,
)
from interactivepet.planning.topology import Topology, estimate_cost, find_topology

MakeFingerprint = Callable[..., Fingerprint]


def describe(mean: float, *, std: float = 1.0) -> ChannelStatistics:
    return ChannelStatistics(
        mean=mean,
        std=std,
        minimum=mean - 3 * std,
        percentile_00_5=mean - 2 * std,
        median=mean,
        percentile_99_5=mean + 2 * std,
        maximum=mean + 3 * std,
    )


def make_fingerprint(
    *,
    shape: Shape = (80, 80, 60),
    spacings: tuple[Spacing, ...] = ((4.0, 4.0, 4.0),) * 10,
    channels: tuple[str, ...] = ("PET",),
    n_labels: int = 1,
    volumes_ml: tuple[float, ...] = (50.0,),
    extent_mm: Spacing = (200.0, 200.0, 200.0),
    body_means: tuple[float, ...] = (1.0,),
    foreground: ChannelStatistics | None = None,
) -> Fingerprint:
    objects = tuple(
        ObjectStatistics(label=1, volume_ml=v, extent_mm=extent_mm, uptake_mean=5, uptake_max=9) for v in volumes_ml
    )
    statistics = (foreground or describe(5.0, std=2.0),) * len(channels)
    cases = tuple(
        CaseFingerprint(
            id=f"c{index}",
            shape=shape,
            spacing_mm=spacing,
            crop_shape=shape,
            foreground=statistics if objects else (),
            body=(describe(body_means[index % len(body_means)]),) * len(channels),
            objects=objects,
        )
        for index, spacing in enumerate(spacings)
    )
    return Fingerprint(
        task="Task001",
        channels=channels,
        labels={f"l{value}": value for value in range(1, n_labels + 1)},
        cases=cases,
        foreground=statistics if objects else (),
        body=(describe(1.0),) * len(channels),
    )


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


def check_network(fingerprint: Fingerprint, budget: Budget) -> None:
    plan = make_plan(fingerprint, budget)
    network, limit = plan.network, BUDGETS[budget]
    topology = Topology(network.strides, network.kernel_sizes)
    assert topology == find_topology(plan.patch_size, plan.spacing_mm)
    assert all(n % d == 0 for n, d in zip(plan.patch_size, topology.divisor, strict=True))
    cost = estimate_cost(
        plan.patch_size,
        topology,
        batch_size=plan.training.batch_size,
        features=network.features_per_stage,
        n_inputs=network.input_channels,
        n_outputs=network.output_channels,
    )
    assert cost.memory_gb <= limit.memory_gb
    assert cost.gigaflops <= limit.gigaflops
    assert plan.estimated_memory_gb == pytest.approx(cost.memory_gb)
    assert plan.training.batch_size >= 2
    assert network.features_per_stage[0] == limit.base_features
    assert max(network.features_per_stage) <= limit.maximum_features
    assert (plan.training.epochs, plan.training.iterations_per_epoch) == (limit.epochs, limit.iterations_per_epoch)


@pytest.mark.parametrize("budget", list(BUDGETS))
@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((200, 200, 300), (4.0, 4.0, 3.0)),
        ((35, 50, 35), (1.0, 1.0, 1.0)),
        ((320, 320, 20), (0.6, 0.6, 3.6)),
        ((512, 512, 1), (0.8, 0.8, 5.0)),
        ((9, 3, 2), (4.0, 4.0, 4.0)),
    ],
)
def test_every_budget_is_respected(shape: Shape, spacing: Spacing, budget: Budget) -> None:
    check_network(make_fingerprint(shape=shape, spacings=(spacing,) * 4, n_labels=2), budget)


def test_a_larger_budget_gives_a_larger_patch_or_batch() -> None:
    fingerprint = make_fingerprint(shape=(200, 200, 300))
    work = []
    for budget in BUDGETS:
        plan = make_plan(fingerprint, budget)
        work.append(plan.training.batch_size * int(np.prod(plan.patch_size)))
    assert work[0] < work[2] < work[3]


def test_on_a_cpu_a_patch_reaches_little_beyond_its_objects() -> None:
    small = make_fingerprint(shape=(200, 200, 200), extent_mm=(8.0, 20.0, 12.0))
    large = make_fingerprint(shape=(200, 200, 200))
    assert make_plan(small, "cpu").patch_size == (20, 20, 20)
    assert min(make_plan(large, "cpu").patch_size) > 20
    assert make_plan(small, "8gb").patch_size == make_plan(large, "8gb").patch_size


def test_channels_follow_from_images_and_labels() -> None:
    plan = make_plan(make_fingerprint(channels=("PET", "CT"), n_labels=3), "cpu")
    assert plan.network.input_channels == 2 + 2 * 3
    assert plan.network.output_channels == 4
    assert len(plan.normalisation) == 2
    assert plan.labels == {"l1": 1, "l2": 2, "l3": 3}
    assert plan.made_from == make_fingerprint(channels=("PET", "CT"), n_labels=3).content_hash()


def test_the_median_shape_is_counted_in_the_plans_voxels() -> None:
    plan = make_plan(make_fingerprint(shape=(80, 80, 60), spacings=((4.0, 4.0, 2.0), (4.0, 4.0, 4.0)) * 2), "cpu")
    assert plan.spacing_mm == (4.0, 4.0, 3.0)
    assert plan.median_shape == (80, 80, 60)


def test_a_batch_holds_a_small_share_of_a_small_task() -> None:
    few = make_plan(make_fingerprint(shape=(40, 40, 40), spacings=((4.0, 4.0, 4.0),) * 5), "24gb")
    many = make_plan(make_fingerprint(shape=(40, 40, 40), spacings=((4.0, 4.0, 4.0),) * 500), "24gb")
    assert few.training.batch_size == 2
    share = many.training.batch_size * np.prod(many.patch_size) / (500 * 40**3)
    assert many.training.batch_size > 2
    assert share <= MAXIMUM_BATCH_SHARE


def test_a_task_without_objects_is_refused() -> None:
    with pytest.raises(PlanError, match="Task001: no case holds a labelled voxel"):
        make_plan(make_fingerprint(volumes_ml=()), "cpu")


def test_a_budget_for_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = MemoryBudget(0.001, np.inf, 32, 320, 1, 1)
    monkeypatch.setitem(planning.BUDGETS, "cpu", tiny)
    with pytest.raises(PlanError, match=r"the smallest patch \(8, 8, 8\) .* the budget allows 0.001 GB"):
        make_plan(make_fingerprint(), "cpu")


def test_ct_is_clipped_and_scaled_by_its_foreground() -> None:
    (ct,) = choose_normalisation(make_fingerprint(channels=("CT",), foreground=describe(40.0, std=30.0)))
    assert (ct.scheme, ct.clip, ct.mean, ct.std) == ("ct", (-20.0, 100.0), 40.0, 30.0)


@pytest.mark.parametrize("name", ["PET", "suv", "FDG-PET", " PSMA"])
def test_suv_in_one_unit_keeps_its_scale(name: str) -> None:
    fingerprint = make_fingerprint(channels=(name,), body_means=(0.5, 1.0, 2.0))
    (pet,) = choose_normalisation(fingerprint)
    assert (pet.scheme, pet.clip, pet.mean, pet.std) == ("suv", (0.0, 9.0), 0.0, 2.0)


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
    assert choose_guidance(fingerprint, (4.0, 4.0, 4.0), median_shape=(80, 80, 60)).scale_mm == pytest.approx(scale_mm)


def test_small_objects_decide_by_their_share_of_the_volume_and_voxels_by_their_mean_edge() -> None:
    specks = make_fingerprint(volumes_ml=(0.01,) * 50 + (sphere_ml(50.0),))
    small = make_fingerprint(volumes_ml=(sphere_ml(10.0),) * 50 + (sphere_ml(50.0),))
    assert choose_guidance(specks, (2.0, 4.0, 8.0), median_shape=(80, 80, 60)).scale_mm == pytest.approx(6.0)
    assert choose_guidance(small, (2.0, 4.0, 8.0), median_shape=(80, 80, 60)).scale_mm == pytest.approx(5.0)


def test_fine_voxels_say_nothing_about_large_objects() -> None:
    fingerprint = make_fingerprint(volumes_ml=(sphere_ml(40.0),) * 3)
    assert choose_guidance(fingerprint, (1.0, 1.0, 1.0), median_shape=(80, 80, 60)).scale_mm == pytest.approx(4.0)


def test_a_projection_is_judged_by_its_area_and_by_the_voxels_of_its_plane() -> None:
    area_mm2 = np.pi * 5.0**2
    spacing = (2.0, 2.0, 50.0)
    fingerprint = make_fingerprint(
        shape=(80, 80, 1), spacings=(spacing,) * 3, volumes_ml=(area_mm2 * 50.0 / 1000.0,), extent_mm=(10.0, 10.0, 50.0)
    )
    guidance = choose_guidance(fingerprint, spacing, median_shape=(80, 80, 1))
    assert guidance.scale_mm == pytest.approx(2.5)
