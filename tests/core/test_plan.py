from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from interactivepet.core.plan import (
    ClickSampling,
    GuidancePlan,
    NetworkPlan,
    Normalisation,
    Plan,
    TrainingPlan,
)


@pytest.fixture
def plan() -> Plan:
    return Plan(
        made_from="0123",
        task="Task001",
        budget="cpu",
        channels=("PET", "CT"),
        labels={"b": 2, "a": 1},
        spacing_mm=(4.0, 4.0, 3.3333333333333335),
        median_shape=(40, 41, 42),
        patch_size=(16, 16, 16),
        normalisation=(
            Normalisation(scheme="suv", clip=(0.0, 21.7), std=3.1),
            Normalisation(scheme="ct", clip=(-1000.0, 300.1), mean=12.5, std=99.0),
        ),
        network=NetworkPlan(
            input_channels=6,
            output_channels=3,
            features_per_stage=(4, 8),
            kernel_sizes=((3, 3, 3), (3, 3, 3)),
            strides=((1, 1, 1), (2, 2, 2)),
            n_conv_per_stage=(2, 2),
            n_conv_per_stage_decoder=(2,),
        ),
        guidance=GuidancePlan(scale_mm=6.0),
        training=TrainingPlan(batch_size=2, epochs=3, iterations_per_epoch=4, clicks=ClickSampling(noise_mm=1.9)),
        estimated_memory_gb=0.25,
        reasons={"spacing_mm": "median"},
    )


def test_a_plan_survives_json(plan: Plan) -> None:
    again = Plan.model_validate_json(plan.model_dump_json(indent=2))
    assert again == plan
    assert again.content_hash() == plan.content_hash()
    assert again.preprocessing_hash() == plan.preprocessing_hash()


@pytest.mark.parametrize("part", [None, "network", "guidance", "training"])
def test_a_plan_refuses_keys_that_it_does_not_know(plan: Plan, part: str | None) -> None:
    content: dict[str, Any] = json.loads(plan.model_dump_json())
    (content if part is None else content[part])["dropout"] = 0.5
    with pytest.raises(ValidationError, match="dropout"):
        Plan.model_validate(content)


def test_label_values_are_in_the_order_of_the_outputs(plan: Plan) -> None:
    assert plan.label_values == (1, 2)


def test_editing_the_training_keeps_preprocessed_cases_valid(plan: Plan) -> None:
    training = plan.training.model_copy(update={"learning_rate": 0.005})
    edited = plan.model_copy(update={"training": training, "patch_size": (32, 32, 32)})
    assert edited.preprocessing_hash() == plan.preprocessing_hash()
    assert edited.content_hash() != plan.content_hash()


@pytest.mark.parametrize(
    "change",
    [
        {"spacing_mm": (4.0, 4.0, 4.0)},
        {"normalisation": ()},
        {"channels": ("PET", "MR")},
        {"labels": {"a": 1, "b": 3}},
    ],
)
def test_what_preprocessing_follows_changes_its_hash(plan: Plan, change: dict[str, object]) -> None:
    assert plan.model_copy(update=change).preprocessing_hash() != plan.preprocessing_hash()


def test_an_unknown_budget_or_scheme_is_refused(plan: Plan) -> None:
    with pytest.raises(ValidationError, match="budget"):
        Plan.model_validate({**plan.model_dump(), "budget": "12gb"})
    with pytest.raises(ValidationError, match="scheme"):
        Normalisation.model_validate({"scheme": "minmax"})


def edit_plan(**changes: object) -> dict[str, object]:
    """The fields of a sound plan of one channel and label, as a person may edit them."""
    network = {
        "input_channels": 3,
        "output_channels": 2,
        "features_per_stage": [4, 8],
        "kernel_sizes": [[3, 3, 3], [3, 3, 3]],
        "strides": [[1, 1, 1], [2, 2, 2]],
        "n_conv_per_stage": [2, 2],
        "n_conv_per_stage_decoder": [2],
    }
    training = {"batch_size": 2, "epochs": 1, "iterations_per_epoch": 1, "clicks": {"noise_mm": 1.0}}
    plan = {
        "task": "Task001",
        "budget": "cpu",
        "channels": ["PET"],
        "labels": {"tumour": 1},
        "spacing_mm": [4.0, 4.0, 4.0],
        "median_shape": [16, 16, 16],
        "patch_size": [16, 16, 16],
        "normalisation": [{"scheme": "suv"}],
        "network": network,
        "guidance": {"scale_mm": 6.0},
        "training": training,
        "estimated_memory_gb": 0.1,
    }
    for path, value in changes.items():
        *folders, name = path.split("__")
        place = plan
        for folder in folders:
            place = place[folder]
        place[name] = value
    return plan


def test_a_sound_plan_is_accepted() -> None:
    assert Plan.model_validate(edit_plan()).label_values == (1,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch_size": [16, 15, 16]}, "multiples of the product of strides"),
        ({"network__features_per_stage": [4]}, "the same stages"),
        ({"network__input_channels": 7}, r"must be \(3, 2\)"),
        ({"training__batch_size": 0}, "batch_size"),
        ({"training__learning_rate": -1.0}, "learning_rate"),
        ({"training__clicks__none": 0.9}, "1 together"),
        ({"patchsize": [16, 16, 16]}, "patchsize"),
    ],
)
def test_an_edit_that_cannot_work_is_refused_by_name(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Plan.model_validate(edit_plan(**changes))
