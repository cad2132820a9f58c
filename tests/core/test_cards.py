"""Cards that were stored before stay valid: they load, and their hashes, which choices depend on, stay the same."""

from __future__ import annotations

import json

import pytest

from interactivepet.core.checkpoint import CheckpointCard, TrainingCard
from interactivepet.core.promptable import PromptableCard, PromptableExport

FOLD = {
    "schema_version": 1,
    "package_version": "0.1.0",
    "made_from": "0123456789abcdef",
    "task": "Task001_Balls",
    "fold": 1,
    "training": ["A", "B"],
    "validation": ["C"],
    "cases_hash": "fedcba9876543210",
    "weights_sha256": "abababababababababababababababababababababababababababababababab",
    "licence": "the owner decides",
    "device": "cpu",
    "tta": True,
    "run_id": "run",
    "epochs": [
        {
            "epoch": 0,
            "loss": 0.5,
            "validation_loss": 0.25,
            "pseudo_dice": [0.5, None],
            "learning_rate": 0.01,
            "seconds": 1.5,
            "memory_gb": 0.5,
            "iterations_per_second": 0.0,
            "wait_share": 0.0,
        }
    ],
    "validation_dice": {"none": {"C": 0.5}, "extreme": {"C": 0.75}},
}

MODEL = {
    "schema_version": 1,
    "package_version": "0.1.0",
    "made_from": "0123456789abcdef",
    "task": "Task001_Balls",
    "fold": "all",
    "training": ["A", "B"],
    "validation": ["C"],
    "cases_hash": "fedcba9876543210",
    "plan": {
        "schema_version": 1,
        "package_version": "0.1.0",
        "made_from": "",
        "task": "Task001_Balls",
        "budget": "cpu",
        "channel": "PET",
        "labels": {"target": 1},
        "patch_size": [16, 16, 16],
        "network": {
            "architecture": "plain",
            "input_channels": 8,
            "output_channels": 2,
            "features_per_stage": [4, 8],
            "kernel_sizes": [[3, 3, 3], [3, 3, 3]],
            "strides": [[1, 1, 1], [2, 2, 2]],
            "n_conv_per_stage": [1, 1],
            "n_conv_per_stage_decoder": [1],
        },
        "training": {
            "batch_size": 2,
            "epochs": 2,
            "iterations_per_epoch": 3,
            "loss": "dice_ce",
            "optimizer": "adamw",
            "learning_rate": 0.001,
            "schedule": "polynomial",
            "warm_up": 0.0,
            "momentum": 0.99,
            "weight_decay": 3e-05,
            "ema": None,
            "foreground_share": 0.5,
            "mirror_axes": [0, 1, 2],
            "negatives": "keep",
            "clicks": {"none": 0.3, "extreme": 0.45, "more": 0.25, "noise_mm": 0.0, "corrected": 0.25},
        },
        "memory": {"float32_gb": 0.01, "mixed_gb": 0.01},
        "prompts": {"point_radius": 4, "decay": 0.98},
        "pretrained": "",
    },
    "weights_sha256": "abababababababababababababababababababababababababababababababab",
    "licence": "the owner decides",
    "pretrained": "model",
    "seen": ["D"],
    "device": "cpu",
    "run_id": None,
    "epochs": [
        {
            "epoch": 0,
            "loss": 0.5,
            "validation_loss": 0.25,
            "pseudo_dice": [0.5, None],
            "learning_rate": 0.01,
            "seconds": 1.5,
            "memory_gb": 0.5,
            "iterations_per_second": 0.0,
            "wait_share": 0.0,
        }
    ],
    "validation_dice": {"C": 0.5},
}


@pytest.mark.parametrize(
    ("kind", "stored", "content_hash"),
    [(CheckpointCard, FOLD, "16cde034c7a506b7"), (PromptableCard, MODEL, "01ea137a1ee85fb6")],
)
def test_stored_cards_keep_their_fields_and_their_hash(
    kind: type[TrainingCard], stored: dict[str, object], content_hash: str
) -> None:
    card = kind.model_validate_json(json.dumps(stored))
    assert card.content_hash() == content_hash
    written = json.loads(card.model_dump_json(exclude=set(card.later_fields)))
    assert list(written.items()) == list(stored.items()), "the order is part of the hash"
    assert list(card.model_dump(exclude={"run_id", *card.later_fields})) == [n for n in stored if n != "run_id"]


def test_a_card_within_an_export_keeps_its_hash() -> None:
    card = PromptableCard.model_validate(MODEL)
    assert PromptableExport(model=card, fold_dice={"0": 0.5}).content_hash() == "2130c107542afa1f"


def test_a_new_field_follows_those_whose_order_is_fixed() -> None:
    class Longer(CheckpointCard):
        extra: int = 1

    assert list(Longer.model_validate(FOLD).model_dump()) == [*FOLD, "intensities", "patients", "pretrained", "extra"]
