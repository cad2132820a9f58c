"""A plan whose preprocessing can be chosen, and grids as scanners and converters make them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from interactivepet.core.geometry import Geometry, Shape, Spacing
from interactivepet.core.plan import (
    ClickSampling,
    GuidancePlan,
    MemoryEstimate,
    Normalisation,
    Plan,
    TrainingPlan,
    UNetPlan,
)

MakePlan = Callable[..., Plan]
MakeGrid = Callable[..., Geometry]


@pytest.fixture
def make_plan() -> MakePlan:
    def make(spacing_mm: Spacing, *normalisation: Normalisation) -> Plan:
        channels = normalisation or (Normalisation(scheme="suv"),)
        return Plan(
            task="Task001",
            budget="cpu",
            channels=tuple(f"c{index}" for index in range(len(channels))),
            labels={"tumour": 1},
            spacing_mm=spacing_mm,
            median_shape=(16, 16, 16),
            patch_size=(16, 16, 16),
            normalisation=channels,
            network=UNetPlan(
                input_channels=len(channels) + 3,
                output_channels=2,
                features_per_stage=(4,),
                kernel_sizes=((3, 3, 3),),
                strides=((1, 1, 1),),
                n_conv_per_stage=(2,),
                n_conv_per_stage_decoder=(),
            ),
            guidance=GuidancePlan(scale_mm=6.0),
            training=TrainingPlan(batch_size=2, epochs=1, iterations_per_epoch=1, clicks=ClickSampling(noise_mm=1.0)),
            memory=MemoryEstimate(float32_gb=0.1, mixed_gb=0.1),
        )

    return make


@pytest.fixture
def make_grid() -> MakeGrid:
    def make(
        shape: Shape,
        spacing_mm: Spacing,
        *,
        flips: tuple[int, int, int] = (1, 1, 1),
        turn_deg: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> Geometry:
        affine = np.eye(4)
        turned = Rotation.from_euler("xyz", turn_deg, degrees=True).as_matrix()
        affine[:3, :3] = turned @ np.diag(np.multiply(flips, spacing_mm))
        affine[:3, 3] = (-171.3, 88.8, 1034.25)
        return Geometry(shape, affine)

    return make
