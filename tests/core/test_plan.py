from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from interactivepet.core.artefact import explain_refusal
from interactivepet.core.plan import (
    ConfigurationPlan,
    Fold,
    FoldList,
    MemoryEstimate,
    Normalisation,
    Plan,
    Plans,
    TransformerPlan,
    UNetPlan,
)

NETWORK = {
    "architecture": "plain",
    "input_channels": 4,
    "output_channels": 2,
    "features_per_stage": [4, 8],
    "kernel_sizes": [[3, 3, 3], [3, 3, 3]],
    "strides": [[1, 1, 1], [2, 2, 2]],
    "n_conv_per_stage": [2, 2],
    "n_conv_per_stage_decoder": [2],
}


def edit_configuration(**changes: object) -> dict[str, Any]:
    """The fields of a sound configuration of one channel and label, as a person may edit them."""
    content: dict[str, Any] = {
        "spacing_mm": [4.0, 4.0, 3.3333333333333335],
        "median_shape": [16, 16, 16],
        "patch_size": [16, 16, 16],
        "normalisation": [{"scheme": "suv", "clip": [0.0, 21.7], "std": 3.1}],
        "network": json.loads(json.dumps(NETWORK)),
        "guidance": {"scale_mm": 6.0},
        "training": {"batch_size": 2, "epochs": 1, "iterations_per_epoch": 1, "clicks": {"noise_mm": 1.0}},
        "memory": {"float32_gb": 0.1, "mixed_gb": 0.05},
    }
    for path, value in changes.items():
        *folders, name = path.split("__")
        place = content
        for folder in folders:
            place = place[folder]
        place[name] = value
    return content


def edit_plans(configurations: dict[str, Any] | None = None, **changes: object) -> dict[str, Any]:
    return {
        "made_from": "0123",
        "task": "Task001",
        "budget": "cpu",
        "channels": ["PET"],
        "labels": {"tumour": 1},
        "configurations": configurations or {"3d_fullres": edit_configuration()},
        **changes,
    }


@pytest.fixture
def plans() -> Plans:
    configurations = {name: edit_configuration() for name in ("3d_fullres", "3d_lowres", "3d_cascade")}
    return Plans.model_validate(edit_plans(configurations))


@pytest.fixture
def plan(plans: Plans) -> Plan:
    return plans.plan("3d_fullres")


def test_plans_survive_json(plans: Plans) -> None:
    again = Plans.model_validate_json(plans.model_dump_json(indent=2))
    assert again == plans
    assert again.content_hash() == plans.content_hash()
    assert list(again.configurations) == list(plans.configurations)
    assert again.plan("3d_lowres").preprocessing_hash() == plans.plan("3d_lowres").preprocessing_hash()


def test_a_configuration_is_joined_with_what_all_share(plans: Plans) -> None:
    assert plans.default == "3d_fullres"
    plan = plans.plan("3d_lowres")
    assert (plan.configuration, plan.task, plan.made_from) == ("3d_lowres", "Task001", "0123")
    assert plan.patch_size == plans.configurations["3d_lowres"].patch_size
    with pytest.raises(KeyError):
        plans.plan("2d")


@pytest.mark.parametrize("part", [None, "network", "guidance", "training", "memory", "crop"])
def test_a_plan_refuses_keys_that_it_does_not_know(plan: Plan, part: str | None) -> None:
    content: dict[str, Any] = json.loads(plan.model_dump_json())
    (content if part is None else content[part])["dropout"] = 0.5
    with pytest.raises(ValidationError, match="dropout"):
        Plan.model_validate(content)


@pytest.mark.parametrize(
    ("place", "wrong", "right"),
    [((), "patchsize", "patch_size"), (("training",), "bacth_size", "batch_size"), (("network",), "stride", "strides")],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(place: tuple[str, ...], wrong: str, right: str) -> None:
    content = edit_configuration()
    inner = content
    for part in place:
        inner = inner[part]
    inner[wrong] = 1
    with pytest.raises(ValidationError) as refused:
        Plans.model_validate(edit_plans({"3d_fullres": content}))
    message = explain_refusal(refused.value, Plans, content=edit_plans({"3d_fullres": content}))
    key = ".".join(("configurations", "3d_fullres", *place, wrong))
    assert message == f"{key}: no such key, did you mean {right}?"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features_per_stage": [8, 0]}, "network.features_per_stage.1: Input should be greater than or equal to 1"),
        ({"features_per_stage": None}, "network.features_per_stage: Field required"),
        ({"strides": [[1, 1, 1]]}, "network: features, kernels, strides and convolutions must be given for the same"),
        ({"architecture": "nope"}, "network.architecture: Input should be one of 'plain', 'residual', 'unetr', "),
        ({"architecture": None}, "network.architecture: Field required"),
    ],
)
def test_a_refused_network_is_named_as_it_was_written(change: dict[str, Any], message: str) -> None:
    configuration = edit_configuration()
    network = {**configuration["network"], **change}
    configuration["network"] = {name: value for name, value in network.items() if value is not None}
    content = edit_plans({"3d_fullres": configuration})
    text = json.dumps(content).encode()
    with pytest.raises(ValidationError) as refused:
        Plans.model_validate_json(text)
    for given in (text, content):
        explained = explain_refusal(refused.value, Plans, content=given)
        assert explained.startswith(f"configurations.3d_fullres.{message}")


@pytest.mark.parametrize(("negatives", "name"), [("some", "3d_fullres"), (2, "3d_fullres"), ("keep", "3d_huge")])
def test_a_refused_value_or_name_is_named_without_words_of_the_validator(negatives: object, name: str) -> None:
    configuration = edit_configuration()
    configuration["training"]["negatives"] = negatives
    content = edit_plans({name: configuration})
    with pytest.raises(ValidationError) as refused:
        Plans.model_validate(content)
    explained = explain_refusal(refused.value, Plans, content=content)
    path = "configurations.3d_huge: " if name == "3d_huge" else "configurations.3d_fullres.training.negatives: "
    assert explained.startswith(path)


def test_a_key_near_to_none_is_to_be_removed() -> None:
    with pytest.raises(ValidationError) as refused:
        Plans.model_validate(edit_plans(qqq=1))
    assert explain_refusal(refused.value, Plans, content=edit_plans(qqq=1)) == "qqq: no such key, remove it"


def test_label_values_are_in_the_order_of_the_outputs(plan: Plan) -> None:
    network = plan.network.model_copy(update={"input_channels": 7, "output_channels": 3})
    labels = {"b": 2, "a": 1}
    both = Plan.model_validate({**plan.model_dump(), "labels": labels, "network": network.model_dump()})
    assert both.label_values == (1, 2)


def test_editing_the_training_keeps_preprocessed_cases_valid(plan: Plan) -> None:
    training = plan.training.model_copy(update={"learning_rate": 0.005})
    edited = plan.model_copy(update={"training": training, "patch_size": (32, 32, 32)})
    assert edited.preprocessing_hash() == plan.preprocessing_hash()
    assert edited.content_hash() != plan.content_hash()


def test_what_only_tells_the_reader_changes_no_hash(plan: Plan) -> None:
    told = plan.model_copy(
        update={
            "reasons": {"patch_size": "because"},
            "memory": MemoryEstimate(float32_gb=9.0, mixed_gb=5.0),
            "normalisation": tuple(rule.model_copy(update={"reason": "because"}) for rule in plan.normalisation),
        }
    )
    assert told.content_hash() == plan.content_hash()
    assert told.preprocessing_hash() == plan.preprocessing_hash()
    rules = tuple(rule.model_copy(update={"std": 4.0}) for rule in plan.normalisation)
    clipped = plan.model_copy(update={"normalisation": rules})
    assert clipped.content_hash() != plan.content_hash()
    assert clipped.preprocessing_hash() != plan.preprocessing_hash()


@pytest.mark.parametrize(
    "change",
    [
        {"spacing_mm": (4.0, 4.0, 4.0)},
        {"target_shape": (16, 16, 16)},
        {"normalisation": ()},
        {"channels": ("MR",)},
        {"labels": {"tumour": 3}},
    ],
)
def test_what_preprocessing_follows_changes_its_hash(plan: Plan, change: dict[str, object]) -> None:
    assert plan.model_copy(update=change).preprocessing_hash() != plan.preprocessing_hash()


def test_a_crop_is_preprocessing_too(plan: Plan) -> None:
    crop = plan.crop.model_copy(update={"margin_mm": 5.0})
    assert plan.model_copy(update={"crop": crop}).preprocessing_hash() != plan.preprocessing_hash()


def test_an_unknown_budget_or_scheme_is_refused() -> None:
    with pytest.raises(ValidationError, match="budget"):
        Plans.model_validate(edit_plans(budget="12gb"))
    with pytest.raises(ValidationError, match="scheme"):
        Normalisation.model_validate({"scheme": "histogram"})


@pytest.mark.parametrize(
    ("configurations", "message"),
    [
        ({"3d_cascade": edit_configuration()}, "missing: 3d_fullres, 3d_lowres"),
        ({"3d_lowres": edit_configuration(), "3d_cascade": edit_configuration()}, "missing: 3d_fullres"),
        (
            {
                "3d_fullres": edit_configuration(spacing_mm=[2.0, 2.0, 2.0]),
                "3d_lowres": edit_configuration(),
                "3d_cascade": edit_configuration(),
            },
            "3d_cascade has the cases of 3d_fullres, so spacing_mm must be the same",
        ),
        ({"4d": edit_configuration()}, "4d"),
    ],
)
def test_configurations_must_make_sense_together(configurations: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Plans.model_validate(edit_plans(configurations))
    with pytest.raises(ValidationError, match="at least one"):
        Plans.model_validate({**edit_plans(), "configurations": {}})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch_size": [16, 15, 16]}, r"must be multiples of \(2, 2, 2\)"),
        ({"network__features_per_stage": [4]}, "the same stages"),
        ({"network__input_channels": 7}, r"must be \(4, 2\)"),
        ({"training__batch_size": 0}, "batch_size"),
        ({"training__learning_rate": -1.0}, "learning_rate"),
        ({"training__clicks__none": 0.9}, "1 together"),
        ({"crop": {"margin_mm": -1.0}}, "margin_mm"),
        ({"network__architecture": "dense"}, "architecture"),
    ],
)
def test_an_edit_that_cannot_work_is_refused_by_name(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Plans.model_validate(edit_plans({"3d_fullres": edit_configuration(**changes)}))


@pytest.mark.parametrize(
    ("architecture", "size", "divisor"),
    [("unetr", (32, 48, 1), (16, 16, 1)), ("swinunetr", (64, 96, 64), (32, 32, 32))],
)
def test_a_transformer_belongs_to_its_patch(
    architecture: str, size: tuple[int, int, int], divisor: tuple[int, int, int]
) -> None:
    network = {
        "architecture": architecture,
        "input_channels": 4,
        "output_channels": 2,
        "image_size": size,
        "feature_size": 12,
    }
    own = ConfigurationPlan.model_validate(edit_configuration(network=network, patch_size=size))
    assert isinstance(own.network, TransformerPlan)
    assert own.network.divisor == divisor
    with pytest.raises(ValidationError, match="image_size"):
        ConfigurationPlan.model_validate(edit_configuration(network=network, patch_size=(64, 64, 32 * divisor[2])))


def test_a_u_net_divides_by_its_strides() -> None:
    network = UNetPlan.model_validate({**NETWORK, "strides": [[1, 1, 1], [4, 2, 1]]})
    assert network.divisor == (4, 2, 1)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("guidance__scale_mm", 0.0),
        ("training__foreground_share", 1.1),
        ("training__momentum", 1.0),
        ("training__learning_rate", 0.0),
        ("training__weight_decay", -1e-5),
        ("memory__mixed_gb", -0.1),
        ("normalisation", [{"scheme": "suv", "std": 0.0}]),
        ("network__kernel_sizes", [[3, 3, 3], [3, 2, 3]]),
        ("network__kernel_sizes", [[3, 3, 3], [3, -1, 3]]),
        ("network__strides", [[1, 1, 1], [2, 0, 2]]),
        ("network__features_per_stage", [0, 8]),
        ("network__n_conv_per_stage", [2, 0]),
        ("network__n_conv_per_stage_decoder", [0]),
        ("spacing_mm", [4.0, 0.0, 3.0]),
        ("spacing_mm", [4.0, float("inf"), 3.0]),
        ("median_shape", [16, 0, 16]),
        ("patch_size", [16, 0, 16]),
        ("target_shape", [16, -16, 16]),
    ],
)
def test_a_value_that_no_plan_can_have_is_refused(path: str, value: object) -> None:
    with pytest.raises(ValidationError) as refused:
        ConfigurationPlan.model_validate(edit_configuration(**{path: value}))
    (problem,) = refused.value.errors()
    place = [str(part) for part in problem["loc"]]
    assert set(path.split("__")) <= set(place)


@pytest.mark.parametrize(("name", "value"), [("feature_size", 0), ("hidden_size", -1), ("n_heads", -1)])
def test_a_transformer_has_no_negative_width(name: str, value: int) -> None:
    content = {"architecture": "unetr", "input_channels": 4, "output_channels": 2, "image_size": (32, 32, 32)}
    with pytest.raises(ValidationError, match=name):
        TransformerPlan.model_validate({**content, "feature_size": 12, name: value})


def test_each_case_has_the_fold_that_never_sees_it() -> None:
    folds = (Fold(index=0, training=("B",), validation=("A",)), Fold(index=1, training=("A",), validation=("B",)))
    assert FoldList(task="T", seed=0, folds=folds).validation_folds == {"A": 0, "B": 1}
    assert FoldList(task="T", seed=0, folds=()).validation_folds == {}
