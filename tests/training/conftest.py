"""A plan for a network that trains in milliseconds, and preprocessed cases on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interactivepet.core.geometry import Geometry, Shape
from interactivepet.core.interaction import Click
from interactivepet.core.plan import (
    ClickSampling,
    GuidancePlan,
    MemoryEstimate,
    Normalisation,
    Plan,
    TrainingPlan,
    UNetPlan,
)
from interactivepet.core.preprocessed import CaseRecord, GridRecord
from interactivepet.dataset.files.arrays import write_array
from interactivepet.preprocessing.pipeline import sample_foreground
from interactivepet.training.batches import StoredCase

MakePlan = Callable[..., Plan]
StoreCase = Callable[..., StoredCase]

SPACING_MM = (4.0, 4.0, 4.0)


@pytest.fixture
def make_plan() -> MakePlan:
    def make(
        patch: Shape = (16, 16, 16),
        *,
        labels: Mapping[str, int] | None = None,
        clicks: ClickSampling | None = None,
        **training: Any,
    ) -> Plan:
        known = dict(labels or {"tumour": 1})
        stride = tuple(2 if n > 1 else 1 for n in patch)
        kernel = tuple(3 if n > 1 else 1 for n in patch)
        settings = {"batch_size": 2, "epochs": 2, "iterations_per_epoch": 2, **training}
        return Plan(
            task="Task001",
            budget="cpu",
            channels=("PET",),
            labels=known,
            spacing_mm=SPACING_MM,
            median_shape=(24, 24, 24),
            patch_size=patch,
            normalisation=(Normalisation(scheme="suv"),),
            network=UNetPlan(
                input_channels=1 + 3 * len(known),
                output_channels=1 + len(known),
                features_per_stage=(4, 8),
                kernel_sizes=(kernel, kernel),
                strides=((1, 1, 1), stride),
                n_conv_per_stage=(2, 2),
                n_conv_per_stage_decoder=(2,),
            ),
            guidance=GuidancePlan(scale_mm=6.0),
            training=TrainingPlan(clicks=clicks or ClickSampling(noise_mm=0.0), **settings),
            memory=MemoryEstimate(float32_gb=0.01, mixed_gb=0.01),
        )

    return make


@pytest.fixture
def store_case(tmp_path: Path) -> StoreCase:
    def store(
        image: np.ndarray,
        label: np.ndarray,
        *,
        name: str = "CASE",
        click_voxels: Sequence[tuple[float, float, float]] = (),
        click_label: int = 1,
    ) -> StoredCase:
        """Write a case with positive clicks at the given voxels of a mirrored grid."""
        affine = np.diag([-SPACING_MM[0], SPACING_MM[1], SPACING_MM[2], 1.0])
        affine[:3, 3] = (100.0, -50.0, 700.0)
        grid = Geometry(label.shape, affine)
        record = CaseRecord(
            id=name,
            original=GridRecord.of(grid),
            crop_start=(0, 0, 0),
            crop_stop=label.shape,
            resampled=GridRecord.of(grid),
            has_label=True,
            volume_sha256=name,
            clicks=tuple(Click(position_mm=tuple(grid.to_mm(v).tolist()), label=click_label) for v in click_voxels),
            foreground=sample_foreground(label, np.random.default_rng(0)),
        )
        volume = np.concatenate((image, label[None])).astype(np.float32)
        write_array(tmp_path / f"{name}.b2nd", volume)
        return StoredCase(record, tmp_path / f"{name}.b2nd")

    return store
