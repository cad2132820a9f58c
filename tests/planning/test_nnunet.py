from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from interactivepet.core.plan import UNetPlan
from interactivepet.errors import PlanError
from interactivepet.planning.nnunet import (
    convert_nnunet_fingerprint,
    count_nnunet_channels,
    is_nnunet_plans,
    list_nnunet_configurations,
)
from interactivepet.planning.plan import make_plans
from tests.counting import count_calls

STATISTICS = {
    "max": 9.0,
    "mean": 4.0,
    "median": 3.0,
    "min": 0.0,
    "percentile_00_5": 0.5,
    "percentile_99_5": 8.0,
    "std": 2.0,
}


def make_content(**changes: object) -> dict[str, Any]:
    return {
        "foreground_intensity_properties_per_channel": {"0": STATISTICS, "1": STATISTICS},
        "shapes_after_crop": [[30, 50, 60], [32, 48, 64]],
        "spacings": [[5.0, 2.0, 1.0], [5.0, 2.0, 1.0]],
        "median_relative_size_after_cropping": 1.0,
        **changes,
    }


def test_axes_are_turned_round() -> None:
    fingerprint = convert_nnunet_fingerprint(make_content(), "T", channels=("CT", "PET"), labels={"tumour": 1})
    first = fingerprint.cases[0]
    assert (first.shape, first.crop_shape, first.spacing_mm) == ((60, 50, 30), (60, 50, 30), (1.0, 2.0, 5.0))
    assert first.objects is None
    assert fingerprint.foreground[1].percentile_99_5 == 8.0
    assert fingerprint.body == ()


def test_channels_beyond_the_named_ones_are_left_out() -> None:
    fingerprint = convert_nnunet_fingerprint(make_content(), "T", channels=("PET",), labels={"tumour": 1})
    assert (fingerprint.channels, len(fingerprint.foreground)) == (("PET",), 1)
    assert count_nnunet_channels(make_content()) == 2


@pytest.mark.parametrize("channels", [(), ("a", "b", "c")])
def test_names_must_fit_the_channels(channels: tuple[str, ...]) -> None:
    with pytest.raises(PlanError, match="for a fingerprint of 2 channels"):
        convert_nnunet_fingerprint(make_content(), "T", channels=channels, labels={"tumour": 1})


@pytest.mark.parametrize(
    "change",
    [
        {"shapes_after_crop": [[30, 50]], "spacings": [[5.0, 2.0, 1.0]]},
        {"spacings": []},
        {"foreground_intensity_properties_per_channel": {"0": {"max": 1.0}}},
        {"spacings": [[5.0, 2.0, "wide"], [5.0, 2.0, 1.0]]},
    ],
)
def test_a_malformed_fingerprint_is_named(change: dict[str, object]) -> None:
    with pytest.raises(PlanError, match="malformed"):
        convert_nnunet_fingerprint(make_content(**change), "T", channels=("CT",), labels={"tumour": 1})


def test_another_file_is_no_fingerprint() -> None:
    with pytest.raises(PlanError, match="no foreground_intensity_properties_per_channel, shapes_after_crop, spacings"):
        count_nnunet_channels({"name": "AutoPETV"})


def test_what_a_configuration_inherits_is_filled_in() -> None:
    content = {
        "plans_name": "nnUNetPlans",
        "configurations": {
            "3d_fullres": {"batch_size": 2, "spacing": [1, 1, 1]},
            "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
        },
    }
    assert is_nnunet_plans(content)
    assert not is_nnunet_plans({"configurations": {}})
    configurations = list_nnunet_configurations(content)
    assert list(configurations) == ["3d_fullres", "3d_cascade"]
    assert configurations["3d_cascade"]["batch_size"] == 2


@pytest.mark.real_data
def test_whole_body_scans_are_planned_as_large_as_nnunet_does(real_data: Path) -> None:
    folder = real_data / "autopetv"
    content = json.loads((folder / "dataset_fingerprint.json").read_text())
    fingerprint = convert_nnunet_fingerprint(content, "AutoPETV", channels=("CT", "PET"), labels={"tumor": 1})
    plans, n_calls = count_calls(lambda: make_plans(fingerprint, "8gb"))
    assert n_calls < 300 * len(fingerprint.cases)
    assert len(fingerprint.cases) == 1611
    theirs = json.loads((folder / "plans.json").read_text())["configurations"]["3d_fullres"]
    ours = plans.configurations["3d_fullres"]
    assert ours.spacing_mm == pytest.approx(tuple(reversed(theirs["spacing"])))
    assert math.prod(ours.patch_size) >= 0.8 * math.prod(theirs["patch_size"])
    assert ours.training.batch_size >= theirs["batch_size"]
    strides = theirs["architecture"]["arch_kwargs"]["strides"]
    assert isinstance(ours.network, UNetPlan)
    depth = [sum(stride[axis] == 2 for stride in ours.network.strides) for axis in range(3)]
    assert depth == [sum(stride[axis] == 2 for stride in strides) for axis in (2, 1, 0)] == [5, 5, 4]
    assert list(plans.configurations) == ["3d_fullres", "3d_lowres", "3d_cascade"]
