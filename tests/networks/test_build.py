from __future__ import annotations

from typing import Literal

import pytest
import torch

from interactivepet.core.plan import NetworkPlan
from interactivepet.networks.build import build_network


def make_network_plan(*, depth: int = 1, architecture: Literal["plain", "residual"] = "plain") -> NetworkPlan:
    """Three stages; `depth` 1 makes a network for 2D images of one slice."""
    kernel, stride = (3, 3, min(3, depth)), (2, 2, min(2, depth))
    return NetworkPlan(
        architecture=architecture,
        input_channels=3,
        output_channels=2,
        features_per_stage=(4, 8, 8),
        kernel_sizes=(kernel,) * 3,
        strides=((1, 1, 1), stride, stride),
        n_conv_per_stage=(2, 2, 2),
        n_conv_per_stage_decoder=(2, 2),
    )


@pytest.mark.parametrize("architecture", ["plain", "residual"])
@pytest.mark.parametrize("depth", [1, 8])
def test_a_network_gives_logits_of_the_inputs_size(architecture: Literal["plain", "residual"], depth: int) -> None:
    network = build_network(make_network_plan(depth=depth, architecture=architecture), deep_supervision=False)
    with torch.inference_mode():
        assert network(torch.zeros(2, 3, 16, 12, depth)).shape == (2, 2, 16, 12, depth)


@pytest.mark.parametrize("depth", [1, 8])
def test_deep_supervision_gives_the_finest_first(depth: int) -> None:
    network = build_network(make_network_plan(depth=depth), deep_supervision=True)
    with torch.inference_mode():
        outputs = network(torch.zeros(1, 3, 16, 12, depth))
    assert [tuple(out.shape) for out in outputs] == [(1, 2, 16, 12, depth), (1, 2, 8, 6, max(1, depth // 2))]


def test_weights_trained_with_deep_supervision_fit_without() -> None:
    torch.manual_seed(0)
    trained = build_network(make_network_plan(), deep_supervision=True).eval()
    deployed = build_network(make_network_plan(), deep_supervision=False).eval()

    deployed.load_state_dict(trained.state_dict())

    image = torch.randn(1, 3, 16, 16, 1)
    with torch.inference_mode():
        assert torch.equal(deployed(image), trained(image)[0])


def test_torchs_seed_decides_on_the_weights() -> None:
    def draw(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        network = build_network(make_network_plan(), deep_supervision=True)
        return torch.cat([p.flatten() for p in network.parameters()])

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


@pytest.mark.parametrize("mode", [True, False])
def test_training_mode_changes_no_output(mode: bool) -> None:
    torch.manual_seed(0)
    network = build_network(make_network_plan(), deep_supervision=False)
    image = torch.randn(1, 3, 16, 16, 1)
    with torch.inference_mode():
        expected = network.eval()(image)
        assert torch.equal(network.train(mode)(image), expected)
