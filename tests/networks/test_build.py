from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import nn

from interactivepet.core.geometry import Shape
from interactivepet.core.plan import NetworkPlan, TransformerPlan, UNetPlan
from interactivepet.errors import SettingsError
from interactivepet.networks.build import SliceNetwork, build_empty, build_network


def make_unet(
    *, flat: int | None = None, architecture: Literal["plain", "residual"] = "plain", kernel: int = 3
) -> UNetPlan:
    """Three stages; nothing reaches along the axis `flat`."""
    i, j, k = (1 if axis == flat else kernel for axis in range(3))
    a, b, c = (1 if axis == flat else 2 for axis in range(3))
    return UNetPlan(
        architecture=architecture,
        input_channels=3,
        output_channels=2,
        features_per_stage=(4, 8, 8),
        kernel_sizes=((i, j, k),) * 3,
        strides=((1, 1, 1), (a, b, c), (a, b, c)),
        n_conv_per_stage=(2, 2, 2),
        n_conv_per_stage_decoder=(2, 2),
    )


def make_transformer(architecture: Literal["unetr", "swinunetr"], image_size: Shape) -> TransformerPlan:
    is_unetr = architecture == "unetr"
    return TransformerPlan(
        architecture=architecture,
        input_channels=3,
        output_channels=2,
        image_size=image_size,
        feature_size=4 if is_unetr else 12,
        hidden_size=16 if is_unetr else 0,
        n_heads=2 if is_unetr else 0,
    )


def infer(plan: NetworkPlan, shape: Shape, *, deep_supervision: bool = False) -> torch.Tensor | list[torch.Tensor]:
    network = build_network(plan, deep_supervision=deep_supervision)
    with torch.inference_mode():
        result: torch.Tensor | list[torch.Tensor] = network(torch.zeros(2, 3, *shape))
    return result


@pytest.mark.parametrize("architecture", ["plain", "residual"])
@pytest.mark.parametrize(("flat", "shape"), [(None, (16, 12, 8)), (0, (3, 12, 16)), (1, (16, 1, 12)), (2, (16, 12, 5))])
def test_a_unet_gives_logits_of_the_inputs_size(
    architecture: Literal["plain", "residual"], flat: int | None, shape: Shape
) -> None:
    logits = infer(make_unet(flat=flat, architecture=architecture), shape)
    assert isinstance(logits, torch.Tensor)
    assert logits.shape == (2, 2, *shape)


@pytest.mark.parametrize("flat", [None, 0, 1, 2])
def test_deep_supervision_gives_the_finest_first(flat: int | None) -> None:
    shape = (16, 12, 8)
    outputs = infer(make_unet(flat=flat), shape, deep_supervision=True)
    half = tuple(n if axis == flat else n // 2 for axis, n in enumerate(shape))
    assert [tuple(out.shape) for out in outputs] == [(2, 2, *shape), (2, 2, *half)]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_along_any_axis_do_not_see_each_other(axis: int) -> None:
    torch.manual_seed(0)
    network = build_network(make_unet(flat=axis), deep_supervision=False)
    assert isinstance(network, SliceNetwork)
    volume = torch.randn(1, 3, 8, 8, 8)
    with torch.inference_mode():
        whole = network(volume)
        alone = network(volume.narrow(2 + axis, 5, 1))
    torch.testing.assert_close(whole.narrow(2 + axis, 5, 1), alone)


def test_a_2d_network_gives_the_same_whichever_axis_the_slices_are_along() -> None:
    torch.manual_seed(0)
    along_k = build_network(make_unet(flat=2), deep_supervision=False)
    along_i = build_network(make_unet(flat=0), deep_supervision=False)
    along_i.load_state_dict(along_k.state_dict())
    volume = torch.randn(1, 3, 16, 12, 3)
    with torch.inference_mode():
        torch.testing.assert_close(along_i(volume.movedim(4, 2)), along_k(volume).movedim(4, 2))


def test_strides_along_an_axis_make_a_network_3d() -> None:
    plan = make_unet(flat=2).model_copy(update={"strides": ((1, 1, 1), (2, 2, 2), (2, 2, 1))})
    assert not isinstance(build_network(plan, deep_supervision=False), SliceNetwork)


@pytest.mark.slow
@pytest.mark.parametrize(
    "plan",
    [
        make_unet(flat=2),
        make_unet(),
        make_transformer("unetr", (16, 16, 32)),
        make_transformer("swinunetr", (32, 1, 64)),
    ],
)
def test_weights_trained_with_deep_supervision_fit_without(plan: NetworkPlan) -> None:
    torch.manual_seed(0)
    trained = build_network(plan, deep_supervision=True).eval()
    deployed = build_network(plan, deep_supervision=False).eval()

    deployed.load_state_dict(trained.state_dict())

    image = torch.randn(1, 3, *(plan.image_size if isinstance(plan, TransformerPlan) else (16, 16, 16)))
    with torch.inference_mode():
        assert torch.equal(deployed(image), trained(image)[0])


@pytest.mark.parametrize("image_size", [(16, 32, 16), (16, 1, 32)])
def test_unetr_lists_its_one_output_for_training(image_size: Shape) -> None:
    plan = make_transformer("unetr", image_size)
    assert [tuple(out.shape) for out in infer(plan, image_size, deep_supervision=True)] == [(2, 2, *image_size)]


@pytest.mark.slow
@pytest.mark.parametrize("image_size", [(32, 32, 64), (1, 64, 32)])
def test_swinunetr_keeps_the_inputs_size(image_size: Shape) -> None:
    logits = infer(make_transformer("swinunetr", image_size), image_size)
    assert isinstance(logits, torch.Tensor)
    assert logits.shape == (2, 2, *image_size)


def test_transformers_start_with_their_own_weights() -> None:
    network = build_network(make_transformer("unetr", (16, 16, 16)), deep_supervision=False)
    weights = [conv.weight.detach() for conv in network.modules() if isinstance(conv, nn.Conv3d)]
    # He's weights have a variance of 2 over the inputs of each output; torch's own a sixth of that
    assert all(float(weight.var()) * weight[0].numel() < 1.0 for weight in weights)


@pytest.mark.parametrize(("architecture", "edges"), [("unetr", (16, 16, 16)), ("swinunetr", (32, 32, 32))])
def test_a_missing_monai_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, architecture: Literal["unetr", "swinunetr"], edges: Shape
) -> None:
    monkeypatch.setitem(sys.modules, "monai.networks.nets.swin_unetr", None)
    with pytest.raises(SettingsError, match=rf"{architecture} needs MONAI.*interactivepet\[monai\]"):
        build_network(make_transformer(architecture, edges), deep_supervision=True)


def test_building_a_transformer_leaves_torchvision_alone() -> None:
    before = {name for name in sys.modules if name.partition(".")[0] == "torchvision"}
    build_network(make_transformer("unetr", (16, 16, 16)), deep_supervision=False)
    assert {name for name in sys.modules if name.partition(".")[0] == "torchvision"} == before


def test_torchs_seed_decides_on_the_weights() -> None:
    def draw(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        network = build_network(make_unet(), deep_supervision=True)
        return torch.cat([p.flatten() for p in network.parameters()])

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


@pytest.mark.parametrize("mode", [True, False])
def test_training_mode_changes_no_output(mode: bool) -> None:
    torch.manual_seed(0)
    network = build_network(make_unet(flat=2), deep_supervision=False)
    image = torch.randn(1, 3, 16, 16, 1)
    with torch.inference_mode():
        expected = network.eval()(image)
        assert torch.equal(network.train(mode)(image), expected)


@pytest.mark.parametrize("flat", [None, 2])
@pytest.mark.parametrize("architecture", ["plain", "residual"])
def test_an_empty_network_takes_weights_without_memory_of_its_own(
    architecture: Literal["plain", "residual"], flat: int | None
) -> None:
    plan = make_unet(architecture=architecture, flat=flat)
    trained = build_network(plan, deep_supervision=False).eval()
    empty = build_empty(plan).eval()
    assert all(tensor.is_meta for tensor in empty.state_dict().values())
    empty.load_state_dict(trained.state_dict(), assign=True)
    volume = torch.rand(1, plan.input_channels, 16, 16, 16)
    with torch.no_grad():
        assert torch.equal(empty(volume), trained(volume))


def test_an_empty_network_does_not_load_the_compiler() -> None:
    code = (
        "import sys; from interactivepet.networks.build import build_empty; "
        "from tests.networks.test_build import make_unet; build_empty(make_unet()); "
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0
