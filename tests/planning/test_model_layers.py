"""The layers of a trained model, planned for another task."""

from __future__ import annotations

from typing import Any

import pytest

from interactivepet.core.geometry import Shape, Spacing
from interactivepet.core.plan import Plans, UNetPlan
from interactivepet.errors import PlanError
from interactivepet.planning.budgets import BUDGETS, fits
from interactivepet.planning.compare import describe_plans
from interactivepet.planning.cost import estimate_cost
from interactivepet.planning.plan import PlanOptions, make_plans
from interactivepet.planning.request import PlanRequest, answer_request, is_planned
from interactivepet.planning.sizing import ModelLayers
from tests.planning.factory import make_fingerprint

FINGERPRINT = make_fingerprint()
FULL = "3d_fullres"


def make_layers(strides: tuple[Shape, ...] = ((2, 2, 2), (2, 2, 2)), *, name: str = "starter") -> ModelLayers:
    n = 1 + len(strides)
    kernel = tuple(3 if any(stride[axis] > 1 for stride in strides) else 1 for axis in range(3))
    return ModelLayers(
        name,
        UNetPlan(
            input_channels=4,
            output_channels=2,
            features_per_stage=tuple(min(12 * 2**stage, 48) for stage in range(n)),
            kernel_sizes=(kernel,) * n,
            strides=((1, 1, 1), *strides),
            n_conv_per_stage=(1,) + (3,) * (n - 1),
            n_conv_per_stage_decoder=(2,) * (n - 1),
        ),
    )


TASKS: dict[str, dict[str, Any]] = {
    "as the model's": {},
    "with CT": {"channels": ("PET", "CT")},
    "three labels": {"n_labels": 3},
    "small images": {"shape": (20, 21, 22)},
    "voxels unlike per axis": {"spacings": ((2.0, 2.0, 5.0),) * 4},
}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
@pytest.mark.parametrize(
    "strides", [((2, 2, 2), (2, 2, 2)), ((2, 2, 1), (2, 2, 2), (2, 2, 2)), ((2, 2, 2),) * 4], ids=len
)
@pytest.mark.parametrize("budget", ["cpu", "8gb"])
def test_a_task_is_planned_with_the_layers_of_a_model(
    task: dict[str, Any], strides: tuple[Shape, ...], budget: Any
) -> None:
    fingerprint, layers = make_fingerprint(**task), make_layers(strides)
    plans = make_plans(fingerprint, budget, architecture=layers)
    by_rule = make_plans(fingerprint, budget)
    own, other = plans.configurations[FULL], by_rule.configurations[FULL]
    assert layers.is_of(own.network)
    assert not layers.is_of(other.network)
    assert own.network.input_channels == len(fingerprint.channels) + 3 * len(fingerprint.labels)
    assert (own.spacing_mm, own.normalisation, own.guidance) == (other.spacing_mm, other.normalisation, other.guidance)
    for edge, step in zip(own.patch_size, own.network.divisor, strict=True):
        assert edge % step == 0
        assert edge >= 2 * step
    cost = estimate_cost(own.patch_size, own.network, batch_size=own.training.batch_size)
    assert own.memory == cost.memory
    assert fits(cost, BUDGETS[budget])
    assert describe_plans(plans)[FULL]["architecture"] == "plain, layers of starter"
    assert Plans.model_validate_json(plans.model_dump_json()) == plans


def test_layers_that_exceed_the_budget_are_refused() -> None:
    wide = make_layers()
    network = wide.network.model_copy(update={"features_per_stage": (1000, 1000, 1000)})
    with pytest.raises(PlanError, match="choose a larger budget"):
        make_plans(FINGERPRINT, "cpu", architecture=ModelLayers("wide", network))


SLICES = make_layers(((2, 2, 1), (2, 2, 1)))
FLAT = make_fingerprint(shape=(128, 128, 1), spacings=((2.0, 2.0, 2.0),) * 4)


@pytest.mark.parametrize(
    ("fingerprint", "layers", "wanted", "message"),
    [
        (FLAT, make_layers(), None, r"reach along i and j and k, but a patch has \(\d+, \d+, 1\) voxels"),
        (FINGERPRINT, SLICES, None, r"reach along i and j, but a patch has"),
        (FINGERPRINT, make_layers(), (FULL, "2d"), r"leave this configuration out with --configurations"),
    ],
)
def test_layers_of_volumes_are_none_of_slices(fingerprint: Any, layers: ModelLayers, wanted: Any, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        make_plans(fingerprint, "cpu", architecture=layers, options=PlanOptions(configurations=wanted))


def test_layers_of_slices_are_planned_for_slices() -> None:
    assert SLICES.is_of(make_plans(FLAT, "cpu", architecture=SLICES).configurations["2d"].network)


def test_two_steps_have_the_layers_alike() -> None:
    fingerprint = make_fingerprint(shape=(200, 200, 300), extent_mm=(400.0, 400.0, 400.0))
    wanted = PlanOptions(configurations=(FULL, "3d_lowres", "3d_cascade"))
    plans = make_plans(fingerprint, "cpu", architecture=make_layers(), options=wanted)
    assert all(make_layers().is_of(own.network) for own in plans.configurations.values())


PLANNED = make_plans(FINGERPRINT, "cpu", architecture=make_layers())
BY_RULE = make_plans(FINGERPRINT, "cpu")
OTHER_LAYERS = make_layers(((2, 2, 2),) * 3)


@pytest.mark.parametrize(
    ("present", "architecture", "is_kept"),
    [
        (PLANNED, None, True),
        (PLANNED, make_layers(), True),
        (PLANNED, "plain", False),
        (PLANNED, "residual", False),
        (PLANNED, OTHER_LAYERS, False),
        (PLANNED, make_layers(name="other"), False),
        (BY_RULE, make_layers(), False),
        (BY_RULE, "plain", True),
    ],
)
def test_what_is_planned_is_known(present: Plans, architecture: Any, is_kept: bool) -> None:
    request = PlanRequest(architecture=architecture)
    assert is_planned(present, request) is is_kept
    answer = answer_request(FINGERPRINT, request, present=present)
    assert (answer == present) is is_kept
    assert is_planned(answer, request)


def test_another_budget_keeps_the_layers() -> None:
    answer = answer_request(FINGERPRINT, PlanRequest("8gb"), present=PLANNED)
    own = answer.configurations[FULL]
    assert answer.budget == "8gb"
    assert own.layers_of == "starter"
    assert make_layers().is_of(own.network)


@pytest.mark.parametrize(
    ("override", "name", "keeps"),
    [
        ("patch_size=32,32,32", "starter", True),
        ("spacing_mm=3,3,3", "starter", True),
        ("training.batch_size=3", "starter", True),
        ("network.architecture=residual patch_size=64,64,64", "", False),
    ],
)
def test_an_edit_keeps_the_layers_unless_it_is_of_the_architecture(override: str, name: str, keeps: bool) -> None:
    (own,) = answer_request(
        FINGERPRINT, PlanRequest(overrides=tuple(override.split())), present=PLANNED
    ).configurations.values()
    assert own.layers_of == name
    assert make_layers().is_of(own.network) is keeps


def test_a_patch_that_the_layers_do_not_halve_is_refused() -> None:
    with pytest.raises(PlanError, match="the next that is: 36,32,32"):
        answer_request(FINGERPRINT, PlanRequest(overrides=("patch_size=34,32,32",)), present=PLANNED)


def test_the_name_of_the_model_changes_no_hash() -> None:
    own = PLANNED.configurations[FULL].model_copy(update={"layers_of": ""})
    unnamed = PLANNED.model_copy(update={"configurations": {FULL: own}})
    assert unnamed != PLANNED
    assert unnamed.content_hash() == PLANNED.content_hash()
    assert unnamed.plan(FULL).content_hash() == PLANNED.plan(FULL).content_hash()
    assert unnamed.plan(FULL).preprocessing_hash() == PLANNED.plan(FULL).preprocessing_hash()


SPACINGS: list[Spacing] = [(4.0, 4.0, 4.0), (1.0, 1.0, 6.0)]


@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_fixed_grid_is_covered(spacing: Spacing) -> None:
    fingerprint = make_fingerprint(spacings=(spacing,) * 4)
    options = PlanOptions(target_shape=(30, 30, 30), configurations=(FULL,))
    (own,) = make_plans(fingerprint, "cpu", architecture=make_layers(), options=options).configurations.values()
    assert own.patch_size == (32, 32, 32)
