from __future__ import annotations

import pytest

from interactivepet.planning.compare import compare_rows, describe_nnunet_plans, describe_plans
from interactivepet.planning.plan import PlanOptions, make_plans
from tests.planning.factory import make_fingerprint

THEIRS = {
    "plans_name": "nnUNetPlans",
    "transpose_forward": [1, 0, 2],
    "transpose_backward": [1, 0, 2],
    "configurations": {
        "2d": {
            "batch_size": 12,
            "patch_size": [64, 32],
            "spacing": [3.0, 1.0],
            "normalization_schemes": ["CTNormalization", "ZScoreNormalization"],
            "architecture": {
                "network_class_name": "some.where.ResidualEncoderUNet",
                "arch_kwargs": {"strides": [[1, 1], [2, 1]], "n_blocks_per_stage": [1, 3]},
            },
        },
        "3d_fullres": {"patch_size": [16, 32, 64], "spacing": [4.0, 3.0, 1.0]},
    },
}


def test_nnunet_plans_are_shown_along_i_j_k() -> None:
    described = describe_nnunet_plans(THEIRS, channels=("CT",))
    assert described["3d_fullres"]["patch"] == "64 x 16 x 32"
    assert described["3d_fullres"]["spacing in mm"] == "1.00 x 4.00 x 3.00"
    slices = described["2d"]
    assert slices["patch"] == "32 x 1 x 64"
    assert slices["spacing in mm"] == "1.00 x ? x 3.00"
    assert slices["strides"] == "111  112"
    assert slices["architecture"] == "residual"
    assert slices["convolutions a stage"] == "1 3"
    assert (slices["normalisation of CT"], slices["normalisation of 1"]) == ("ct", "zscore")


@pytest.mark.parametrize("architecture", ["plain", "unetr", "swinunetr"])
def test_every_architecture_has_its_rows(architecture: str) -> None:
    options = PlanOptions(target_shape=(64, 64, 64), interactive=True)
    plans = make_plans(make_fingerprint(), "24gb", architecture=architecture, options=options)
    rows = describe_plans(plans)["3d_fullres"]
    assert rows["architecture"] == architecture
    assert rows["fixed shape"] == "64 x 64 x 64"
    assert rows["crop"].startswith("clicks, ")
    assert ("strides" in rows) == (architecture == "plain")


def test_rows_that_differ_are_marked_and_missing_ones_shown() -> None:
    rows = compare_rows({"patch": "8", "batch": "2"}, {"patch": "16", "batch": "2", "crop": "body"})
    assert rows == [("patch", "8", "16", True), ("batch", "2", "2", False), ("crop", "-", "body", True)]
