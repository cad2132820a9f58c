from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from interactivepet.core.plan import UNetPlan
from interactivepet.core.promptable import PromptablePlan
from interactivepet.errors import SegmenterError
from interactivepet.networks.build import build_network
from interactivepet.training.promptable.start import load_model_weights, read_model_folder
from interactivepet.training.tasks import PromptTask
from tests.training.promptable.conftest import make_promptable_plan

LICENCE = "CC BY-NC-SA 4.0\nno commercial use\n"


def write_folder(folder: Path, plan: PromptablePlan, **changes: Any) -> dict[str, torch.Tensor]:
    """Write a folder as nnU-Net does, with numpy's numbers in its checkpoint; give the weights."""
    network = plan.network
    kwargs = {
        "n_stages": 2,
        "features_per_stage": list(network.features_per_stage),
        "kernel_sizes": [[3, 3, 3]] * 2,
        "strides": [list(stride) for stride in network.strides],
        "n_conv_per_stage": 1,
        "n_conv_per_stage_decoder": [1],
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        **changes,
    }
    architecture = {"network_class_name": "somewhere.PlainConvUNet", "arch_kwargs": kwargs}
    (folder / "fold_0").mkdir(parents=True)
    plans = {"configurations": {"big": {"patch_size": [16, 16, 16], "architecture": architecture}}}
    (folder / "plans.json").write_text(json.dumps(plans))
    info = {"point_radius": 3, "interaction_decay": 0.9}
    (folder / "inference_session_class.json").write_text(json.dumps(info))
    (folder / "LICENSE").write_text(LICENCE)
    torch.manual_seed(7)
    weights = build_network(network, deep_supervision=False).state_dict()
    checkpoint = {
        "init_args": {"configuration": "big"},
        "network_weights": weights,
        "_best_ema": np.float64(0.5),
        "logging": {"dice": [np.float32(0.25)], "epoch": np.int64(3)},
    }
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")
    return dict(weights)


def test_a_model_folder_gives_network_prompts_and_licence(tmp_path: Path) -> None:
    plan = make_promptable_plan()
    weights = write_folder(tmp_path / "model", plan)
    found = read_model_folder(tmp_path / "model")
    assert found.network == plan.network
    assert found.patch_size == (16, 16, 16)
    assert (found.prompts.point_radius, found.prompts.decay) == (3, 0.9)
    assert found.licence == LICENCE
    network = build_network(plan.network, deep_supervision=True)
    load_model_weights(network, tmp_path / "model")
    assert all(torch.equal(network.state_dict()[name], value) for name, value in weights.items())


def test_the_oldest_folders_mean_a_decay_of_nine_tenths(tmp_path: Path) -> None:
    write_folder(tmp_path / "model", make_promptable_plan())
    (tmp_path / "model" / "inference_session_class.json").write_text('"nnInteractiveInferenceSession"')
    assert read_model_folder(tmp_path / "model").prompts.decay == 0.9
    (tmp_path / "model" / "LICENSE").unlink()
    assert read_model_folder(tmp_path / "model").licence.startswith("unknown")


def test_other_networks_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "model", make_promptable_plan(), norm_op=None)
    with pytest.raises(SegmenterError, match="instance normalisation"):
        read_model_folder(tmp_path / "model")
    with pytest.raises(SegmenterError, match="expected one fold"):
        read_model_folder(tmp_path)


def test_weights_of_another_width_are_refused(tmp_path: Path) -> None:
    plan = make_promptable_plan()
    write_folder(tmp_path / "model", plan)
    wide = UNetPlan(**{**plan.network.model_dump(), "features_per_stage": (4, 16)})
    with pytest.raises(SegmenterError, match="do not fit"):
        load_model_weights(build_network(wide, deep_supervision=True), tmp_path / "model")


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "model", make_promptable_plan())
    torch.save({"trainer": Path("anything")}, tmp_path / "model" / "fold_0" / "checkpoint_final.pth")
    with pytest.raises(SegmenterError, match="holds more than nnInteractive's own checkpoints") as refused:
        read_model_folder(tmp_path / "model")
    assert "weights_only" not in str(refused.value)


def test_an_untrained_network_says_background() -> None:
    plan = make_promptable_plan()
    network = build_network(plan.network, deep_supervision=True)
    assert PromptTask(plan).set_first_weights(network, pretrained=None).words == "random weights"
    with torch.no_grad():
        finest = network(torch.rand(1, 8, 16, 16, 16))[0]
    assert (finest.argmax(1) == 0).all()
