from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from interactivepet.core.fingerprint import Fingerprint
from interactivepet.core.geometry import Shape, Spacing
from interactivepet.core.plan import Architecture, Budget, ConfigurationPlan, TransformerPlan, UNetPlan
from interactivepet.errors import PlanError
from interactivepet.planning.budgets import BUDGETS, MemoryBudget, fits
from interactivepet.planning.cost import estimate_cost
from interactivepet.planning.plan import PlanOptions, make_plans
from interactivepet.planning.sizing import MAXIMUM_BATCH_SHARE
from interactivepet.planning.topology import find_topology
from tests.planning.factory import make_fingerprint

GRIDS: list[tuple[Shape, Spacing]] = [
    ((200, 200, 300), (4.0, 4.0, 3.0)),
    ((35, 50, 35), (1.0, 1.0, 1.0)),
    ((320, 320, 20), (0.6, 0.6, 3.6)),
    ((512, 512, 1), (0.8, 0.8, 5.0)),
    ((1, 512, 384), (5.0, 0.8, 0.8)),
    ((9, 3, 2), (4.0, 4.0, 4.0)),
]


def plan_default(
    fingerprint: Fingerprint, budget: Budget, *, architecture: Architecture = "plain"
) -> ConfigurationPlan:
    plans = make_plans(fingerprint, budget, architecture=architecture)
    return plans.configurations[plans.default]


def check_configuration(plan: ConfigurationPlan, budget: Budget) -> None:
    limit = BUDGETS[budget]
    assert all(n % d == 0 for n, d in zip(plan.patch_size, plan.network.divisor, strict=True))
    training = plan.training
    cost = estimate_cost(plan.patch_size, plan.network, batch_size=training.batch_size, optimizer=training.optimizer)
    assert fits(cost, limit)
    assert plan.memory == cost.memory
    assert plan.training.batch_size >= 2
    assert (plan.training.epochs, plan.training.iterations_per_epoch) == (limit.epochs, limit.iterations_per_epoch)


@pytest.mark.parametrize("budget", list(BUDGETS))
@pytest.mark.parametrize(("shape", "spacing"), GRIDS)
@pytest.mark.parametrize("architecture", ["plain", "residual"])
def test_every_configuration_respects_the_budget(
    shape: Shape, spacing: Spacing, budget: Budget, architecture: Architecture
) -> None:
    fingerprint = make_fingerprint(shape=shape, spacings=(spacing,) * 4, n_labels=2)
    for plan in make_plans(fingerprint, budget, architecture=architecture).configurations.values():
        check_configuration(plan, budget)
        network, limit = plan.network, BUDGETS[budget]
        assert isinstance(network, UNetPlan)
        topology = find_topology(plan.patch_size, plan.spacing_mm)
        assert (network.strides, network.kernel_sizes) == (topology.strides, topology.kernel_sizes)
        assert network.features_per_stage[0] == limit.base_features
        assert max(network.features_per_stage) <= limit.maximum_features


@pytest.mark.parametrize("budget", list(BUDGETS))
@pytest.mark.parametrize("shape", [(200, 200, 300), (35, 50, 35), (320, 320, 1)])
@pytest.mark.parametrize("architecture", ["unetr", "swinunetr"])
def test_transformers_respect_the_budget(shape: Shape, budget: Budget, architecture: Architecture) -> None:
    fingerprint = make_fingerprint(shape=shape)
    plan = plan_default(fingerprint, budget, architecture=architecture)
    check_configuration(plan, budget)
    assert isinstance(plan.network, TransformerPlan)
    assert plan.network.image_size == plan.patch_size
    assert plan.network.hidden_size == 64 * plan.network.n_heads
    assert (plan.training.optimizer, plan.training.learning_rate) == ("adamw", 1e-4)
    shortest = 32 if architecture == "unetr" else 64
    assert all(edge == 1 or edge >= shortest for edge in plan.patch_size)


def test_residual_encoders_have_more_blocks_in_deep_stages() -> None:
    network = plan_default(make_fingerprint(shape=(200, 200, 300)), "8gb", architecture="residual").network
    assert isinstance(network, UNetPlan)
    assert network.n_conv_per_stage == (1, 3, 4, 6, 6, 6)[: len(network.strides)]
    assert set(network.n_conv_per_stage_decoder) == {1}


def test_a_larger_budget_gives_a_larger_patch_or_batch() -> None:
    fingerprint = make_fingerprint(shape=(200, 200, 300))
    work = []
    for budget in BUDGETS:
        plan = plan_default(fingerprint, budget)
        work.append(plan.training.batch_size * int(np.prod(plan.patch_size)))
    assert work[0] < work[1] < work[2] < work[3]


def test_on_a_cpu_a_patch_reaches_little_beyond_its_objects() -> None:
    small = make_fingerprint(shape=(200, 200, 200), extent_mm=(8.0, 20.0, 12.0))
    large = make_fingerprint(shape=(200, 200, 200))
    assert plan_default(small, "cpu").patch_size == (20, 20, 20)
    assert min(plan_default(large, "cpu").patch_size) > 20
    assert plan_default(small, "8gb").patch_size == plan_default(large, "8gb").patch_size


def test_channels_follow_from_images_and_labels() -> None:
    fingerprint = make_fingerprint(channels=("PET", "CT"), n_labels=3)
    plans = make_plans(fingerprint, "cpu")
    plan = plans.plan(plans.default)
    assert plan.network.input_channels == 2 + 3 * 3
    assert plan.network.output_channels == 4
    assert len(plan.normalisation) == 2
    assert plans.labels == {"l1": 1, "l2": 2, "l3": 3}
    assert plans.made_from == fingerprint.content_hash()


def test_the_median_shape_is_counted_in_the_plans_voxels() -> None:
    fingerprint = make_fingerprint(shape=(80, 80, 60), spacings=((4.0, 4.0, 2.0), (4.0, 4.0, 4.0)) * 2)
    plan = plan_default(fingerprint, "cpu")
    assert plan.spacing_mm == (4.0, 4.0, 3.0)
    assert plan.median_shape == (80, 80, 60)


def test_a_batch_holds_a_small_share_of_a_small_task() -> None:
    few = plan_default(make_fingerprint(shape=(40, 40, 40), spacings=((4.0, 4.0, 4.0),) * 5), "24gb")
    many = plan_default(make_fingerprint(shape=(40, 40, 40), spacings=((4.0, 4.0, 4.0),) * 500), "24gb")
    assert few.training.batch_size == 2
    share = many.training.batch_size * np.prod(many.patch_size) / (500 * 40**3)
    assert many.training.batch_size > 2
    assert share <= MAXIMUM_BATCH_SHARE


@pytest.mark.parametrize("fingerprint", [make_fingerprint(volumes_ml=()), make_fingerprint(spacings=())])
def test_a_task_without_objects_is_refused(fingerprint: Fingerprint) -> None:
    if not fingerprint.cases:
        fingerprint = fingerprint.model_copy(update={"foreground": ()})
    with pytest.raises(PlanError, match="Task001: no case holds a labelled voxel"):
        make_plans(fingerprint, "cpu")


def test_objects_that_were_not_measured_are_no_reason_to_refuse() -> None:
    unknown = plan_default(make_fingerprint(shape=(200, 200, 200), volumes_ml=None), "cpu")
    small = plan_default(make_fingerprint(shape=(200, 200, 200), extent_mm=(8.0, 8.0, 8.0)), "cpu")
    assert np.prod(unknown.patch_size) > np.prod(small.patch_size)


def test_a_budget_for_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny: MemoryBudget = replace(BUDGETS["cpu"], memory_gb=0.0001)
    monkeypatch.setitem(BUDGETS, "cpu", tiny)
    with pytest.raises(PlanError, match=r"the smallest patch \(8, 8, 8\) .* the budget allows 0.0001 GB"):
        make_plans(make_fingerprint(), "cpu")


def test_an_interactive_plan_is_cropped_to_clicks_and_never_goes_without() -> None:
    fingerprint = make_fingerprint(shape=(200, 200, 200), extent_mm=(40.0, 80.0, 40.0))
    plans = make_plans(fingerprint, "8gb", options=PlanOptions(interactive=True))
    plan = plans.configurations["3d_fullres"]
    assert list(plans.configurations) == ["3d_fullres"]
    assert (plan.crop.region, plan.crop.margin_mm) == ("clicks", 40.0)
    assert plan.median_shape == (30, 40, 30)
    assert plan.training.clicks.none == 0.0
    assert make_plans(fingerprint, "8gb").configurations["3d_fullres"].training.clicks.none > 0.0


def test_a_fixed_grid_is_covered_by_the_patch() -> None:
    options = PlanOptions(target_shape=(64, 64, 56), normalise="minmax", negatives="exclude")
    plans = make_plans(make_fingerprint(shape=(128, 128, 56)), "8gb", options=options)
    plan = plans.configurations["3d_fullres"]
    assert plan.target_shape == plan.median_shape == plan.patch_size == (64, 64, 56)
    assert plan.spacing_mm == (8.0, 8.0, 4.0)
    assert [rule.scheme for rule in plan.normalisation] == ["minmax"]
    assert plan.training.negatives == "exclude"
    parts = make_plans(make_fingerprint(shape=(128, 128, 56)), "cpu", options=options).configurations["3d_fullres"]
    assert parts.target_shape == (64, 64, 56)
    assert np.prod(parts.patch_size) < 64 * 64 * 56
