"""A promptable plan for a network that trains in milliseconds, and a case with two objects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interactivepet.core.axes import IDENTITY
from interactivepet.core.case import Case
from interactivepet.core.geometry import Geometry, Shape
from interactivepet.core.plan import ClickSampling, MemoryEstimate, TrainingPlan, UNetPlan
from interactivepet.core.promptable import PromptablePlan
from interactivepet.dataset.files.arrays import write_channels
from interactivepet.training.batches import StoredCase
from interactivepet.training.promptable.cases import make_prompt_case, make_record

MakePromptPlan = Callable[..., PromptablePlan]
StorePromptCase = Callable[..., StoredCase]


def make_promptable_plan(patch: Shape = (16, 16, 16), **training: Any) -> PromptablePlan:
    return PromptablePlan(
        task="Task001_Balls",
        budget="cpu",
        channel="PET",
        patch_size=patch,
        network=UNetPlan(
            input_channels=8,
            output_channels=2,
            features_per_stage=(4, 8),
            kernel_sizes=((3, 3, 3),) * 2,
            strides=((1, 1, 1), (2, 2, 2)),
            n_conv_per_stage=(1, 1),
            n_conv_per_stage_decoder=(1,),
        ),
        training=TrainingPlan(
            **{
                "batch_size": 2,
                "epochs": 2,
                "iterations_per_epoch": 3,
                "optimizer": "adamw",
                "learning_rate": 1e-2,
                "clicks": ClickSampling(noise_mm=0.0),
                **training,
            }
        ),
        memory=MemoryEstimate(float32_gb=0.01, mixed_gb=0.01),
    )


def make_ball_case(name: str = "BALLS", shape: Shape = (30, 26, 22)) -> Case:
    """Two hot balls, in padding of exact zeros on one side; the spacing is anisotropic."""
    rng = np.random.default_rng(len(name))
    label = np.zeros(shape, np.uint8)
    grid = np.indices(shape)
    for centre in ((9, 9, 11), (21, 17, 11)):
        place = np.minimum(centre, np.array(shape) - 1).reshape(3, 1, 1, 1)
        label[((grid - place) ** 2).sum(axis=0) <= 16] = 1
    image = (rng.normal(1.0, 0.1, shape) + 5.0 * label).astype(np.float32)
    image[:2] = 0.0
    return Case(name, image[None], Geometry(shape, np.diag([-4.0, 4.0, 3.0, 1.0])), label)


@pytest.fixture
def make_prompt_plan() -> MakePromptPlan:
    return make_promptable_plan


@pytest.fixture
def make_balls() -> Callable[..., Case]:
    return make_ball_case


@pytest.fixture
def store_balls(tmp_path: Path) -> StorePromptCase:
    def store(name: str = "BALLS", shape: Shape = (30, 26, 22)) -> StoredCase:
        case = make_ball_case(name, shape)
        ready = make_prompt_case(case, rng=np.random.default_rng(0))
        sha256 = write_channels(tmp_path / f"{name}.b2nd", (ready.image, ready.objects[None]))
        return StoredCase(
            make_record(case, ready, axes=IDENTITY, made_from="", volume_sha256=sha256), tmp_path / f"{name}.b2nd"
        )

    return store
