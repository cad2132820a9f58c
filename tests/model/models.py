"""Models made by hand: two folds of a small network without training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from interactivepet.core.ensemble import Choice, EnsembleRule, FusionRule, PostprocessingRule
from interactivepet.core.plan import ConfigurationPlan, Plan, Plans, UNetPlan
from interactivepet.core.promptable import PromptEncoding
from interactivepet.model.archive import write_archive
from interactivepet.model.card import make_card
from interactivepet.model.description import (
    PROMPTABLE_WEIGHTS,
    FoldRecord,
    ImageInputs,
    ModelDescription,
    PromptableRecord,
    WeightPrecision,
    name_weights,
)
from interactivepet.model.manifest import DESCRIPTION, LICENCE, MODEL_CARD
from interactivepet.model.weights import pack_weights
from interactivepet.networks.build import build_network
from tests.session.test_session import make_plan

NETWORK = UNetPlan(
    input_channels=7,
    output_channels=3,
    features_per_stage=(4, 8),
    kernel_sizes=((3, 3, 3), (3, 3, 3)),
    strides=((1, 1, 1), (2, 2, 2)),
    n_conv_per_stage=(1, 2),
    n_conv_per_stage_decoder=(1,),
)


def make_network_plan() -> Plan:
    return make_plan().model_copy(update={"network": NETWORK})


def make_weights(plan: Plan, *, seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return build_network(plan.network, deep_supervision=False).state_dict()


PROMPTABLE = PromptableRecord(
    network=NETWORK.model_copy(update={"input_channels": 8, "output_channels": 2}),
    patch_size=(64, 64, 64),
    prompts=PromptEncoding(),
    channel="PET",
    licence="CC0",
    n_training=9,
    dice=0.5,
)


def make_prompt_weights(*, seed: int = 7) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return build_network(PROMPTABLE.network, deep_supervision=False).state_dict()


def make_rule(*, share: float, nninteractive: str = "not part of the model") -> EnsembleRule:
    """A choice with known scores, in which nnInteractive has a share in masks with clicks."""
    scores = {"none": (0.61, 0.6), "extreme": (0.81, 0.8), "corrected": (0.91, 0.9)}
    return EnsembleRule(
        task="T",
        folds=(0, 1),
        configurations=("3d_fullres",),
        chosen_on="",
        nninteractive=nninteractive if share else "",
        corrections=(1, 5, 10),
        margin=0.002,
        choices={
            mode: Choice(
                fusion=FusionRule(
                    configurations=("3d_fullres",), nninteractive_weight=0.0 if mode == "none" else share
                ),
                postprocessing=PostprocessingRule(),
                dice=dice,
                nested_dice=nested,
                nested_fold_dice=(nested - 0.1, nested + 0.1),
                candidates=(),
            )
            for mode, (dice, nested) in scores.items()
        },
    )


def describe_model(plan: Plan, *, n_folds: int = 2) -> ModelDescription:
    own = ConfigurationPlan(**{name: getattr(plan, name) for name in ConfigurationPlan.model_fields})
    return ModelDescription(
        plans=Plans(
            task=plan.task,
            budget=plan.budget,
            channels=plan.channels,
            labels=plan.labels,
            configurations={plan.configuration: own},
        ),
        rule=None,
        inputs=ImageInputs(channels=plan.channels, is_by_channel=False, is_picture=False, suv="bw"),
        intensities=None,
        folds={plan.configuration: tuple(FoldRecord(fold=n, n_training=3, dice={}) for n in range(n_folds))},
        licence="MIT",
    )


def list_files(
    plan: Plan, *, n_folds: int = 2, precision: WeightPrecision = "float32", **told: object
) -> Iterator[tuple[str, bytes]]:
    description = describe_model(plan, n_folds=n_folds).model_copy(update={"precision": precision, **told})
    yield DESCRIPTION, description.model_dump_json().encode()
    yield MODEL_CARD, make_card(description, name="small").encode()
    yield LICENCE, b"MIT\n"
    for fold in range(n_folds):
        yield (
            name_weights(plan.configuration, fold),
            pack_weights(plan, make_weights(plan, seed=fold), precision=precision),
        )
    if description.promptable is not None:
        yield PROMPTABLE_WEIGHTS, pack_weights(description.promptable, make_prompt_weights())


def write_model(path: Path, *, name: str = "small", precision: WeightPrecision = "float32", **told: object) -> Path:
    write_archive(path, list_files(make_network_plan(), precision=precision, **told), name=name)
    return path
