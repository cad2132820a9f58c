from __future__ import annotations

import subprocess
import sys
from typing import Any, Literal

import pytest
import torch
from torch import nn

from interactivepet.core.geometry import Shape, Spacing
from interactivepet.core.plan import NetworkPlan, TransformerPlan, UNetPlan
from interactivepet.networks.build import build_network
from interactivepet.planning.cost import CONSTANT_BYTES, estimate_cost, list_layers, list_losses
from interactivepet.planning.topology import find_topology
from interactivepet.training import loss
from tests.counting import count_calls


def make_unet(
    patch: Shape,
    spacing: Spacing = (1.0, 1.0, 1.0),
    *,
    architecture: Literal["plain", "residual"] = "plain",
    features: int = 16,
    **changes: Any,
) -> UNetPlan:
    topology = find_topology(patch, spacing)
    n_stages = len(topology.strides)
    fields = {
        "architecture": architecture,
        "input_channels": 4,
        "output_channels": 2,
        "features_per_stage": tuple(min(features * 2**stage, 64) for stage in range(n_stages)),
        "kernel_sizes": topology.kernel_sizes,
        "strides": topology.strides,
        "n_conv_per_stage": (2,) * n_stages,
        "n_conv_per_stage_decoder": (1 if architecture == "residual" else 2,) * (n_stages - 1),
    }
    return UNetPlan(**{**fields, **changes})


def make_transformer(architecture: Literal["unetr", "swinunetr"], image_size: Shape) -> TransformerPlan:
    is_unetr = architecture == "unetr"
    return TransformerPlan(
        architecture=architecture,
        input_channels=4,
        output_channels=2,
        image_size=image_size,
        feature_size=16 if is_unetr else 12,
        hidden_size=64 if is_unetr else 0,
        n_heads=4 if is_unetr else 0,
    )


NETWORKS: dict[str, tuple[Shape, NetworkPlan]] = {
    "isotropic": ((32, 32, 32), make_unet((32, 32, 32))),
    "anisotropic": ((48, 32, 8), make_unet((48, 32, 8), (1.0, 1.0, 4.0))),
    "2D": ((1, 64, 48), make_unet((1, 64, 48))),
    "residual": ((32, 32, 16), make_unet((32, 32, 16), architecture="residual")),
    "residual 2D": ((64, 1, 48), make_unet((64, 1, 48), architecture="residual")),
    "unetr": ((32, 48, 32), make_transformer("unetr", (32, 48, 32))),
    "unetr 2D": ((64, 48, 1), make_transformer("unetr", (64, 48, 1))),
    "swinunetr": ((64, 32, 32), make_transformer("swinunetr", (64, 32, 32))),
    "swinunetr 2D": ((64, 1, 96), make_transformer("swinunetr", (64, 1, 96))),
}


def measure_saved(network: nn.Module, data: torch.Tensor, precision: torch.dtype | None) -> int:
    """Count the bytes that autograd keeps, copies of weights but not the weights themselves; each storage once."""
    known = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    known.add(data.untyped_storage().data_ptr())
    saved: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        saved.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", precision, enabled=precision is not None):
        network(data)
    return sum(tensor.untyped_storage().nbytes() for pointer, tensor in saved.items() if pointer not in known)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_the_layers_keep_what_autograd_keeps(name: str, precision: torch.dtype | None) -> None:
    patch, plan = NETWORKS[name]
    network = build_network(plan, deep_supervision=True)
    measured = measure_saved(network, torch.randn(2, plan.input_channels, *patch), precision)

    layers, size = list_layers(plan, (2, *patch)), 4 if precision is None else 2
    estimated = sum(size * sum(layer.saved) + 4 * sum(layer.saved_float32) for layer in layers)
    if precision is not None:
        estimated += sum(2 * sum(layer.saved_mixed) + 2 * layer.n_weights for layer in layers)

    assert estimated == pytest.approx(measured, rel=0.05)


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_and_arithmetic_agree_with_the_network(name: str) -> None:
    patch, plan = NETWORKS[name]
    network = build_network(plan, deep_supervision=True)
    done = 0

    def add(module: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal done
        if isinstance(module, nn.Linear):
            done += module.weight.numel() * output[..., 0].numel()
        else:
            is_transposed = isinstance(module, nn.ConvTranspose2d | nn.ConvTranspose3d)
            positions = (inputs[0] if is_transposed else output)[:, 0].numel()
            done += module.weight.numel() * positions

    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
            module.register_forward_hook(add)
    with torch.inference_mode():
        network(torch.zeros(2, plan.input_channels, *patch))

    layers = list_layers(plan, (2, *patch))
    assert sum(layer.n_weights for layer in layers) == pytest.approx(
        sum(parameter.numel() for parameter in network.parameters()), rel=0.02
    )
    # attention multiplies tokens with each other, which no module's weights show
    attention = 0.3 if isinstance(plan, TransformerPlan) else 0.01
    cost = estimate_cost(patch, plan, batch_size=2)
    assert 3 * 2 * done / 1e9 <= 1.0001 * cost.gigaflops
    assert cost.gigaflops == pytest.approx(3 * 2 * done / 1e9, rel=attention)


@pytest.mark.parametrize("name", NETWORKS)
def test_without_a_batch_there_are_weights_gradients_and_what_the_optimiser_keeps(name: str) -> None:
    patch, plan = NETWORKS[name]
    n_weights = sum(layer.n_weights for layer in list_layers(plan, (0, *patch)))
    idle = estimate_cost(patch, plan, batch_size=0)
    assert idle.gigaflops == 0.0
    # four bytes each, and copies of one layer's weights besides
    assert 0.9 < (1e9 * idle.memory.float32_gb - CONSTANT_BYTES) / (4 * 4 * n_weights) < 1.3


@pytest.mark.parametrize("name", NETWORKS)
def test_adamw_keeps_one_value_a_weight_more(name: str) -> None:
    patch, plan = NETWORKS[name]
    n_weights = sum(layer.n_weights for layer in list_layers(plan, (2, *patch)))
    sgd, adamw = (estimate_cost(patch, plan, batch_size=2, optimizer=kind) for kind in ("sgd", "adamw"))
    assert 1e9 * (adamw.memory.float32_gb - sgd.memory.float32_gb) == pytest.approx(4 * n_weights)
    assert 1e9 * (adamw.memory.mixed_gb - sgd.memory.mixed_gb) == pytest.approx(4 * n_weights)
    assert adamw.gigaflops == sgd.gigaflops


@pytest.mark.parametrize("name", NETWORKS)
def test_the_losses_are_those_of_training(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    patch, plan = NETWORKS[name]
    seen: list[int] = []

    def count(logits: torch.Tensor, target: torch.Tensor, **options: object) -> torch.Tensor:
        seen.append(logits.numel())
        return logits.mean()

    monkeypatch.setattr(loss, "combined_loss", count)
    with torch.no_grad():
        outputs = build_network(plan, deep_supervision=True)(torch.zeros(2, plan.input_channels, *patch))
        loss.deep_supervision_loss(outputs, torch.zeros(2, *patch, dtype=torch.uint8))
    counted = [layer.saved_float32[0] for layer in list_losses(plan, (2, *patch))]
    assert counted == seen


@pytest.mark.parametrize("name", NETWORKS)
def test_the_estimate_grows_with_the_batch(name: str) -> None:
    patch, plan = NETWORKS[name]
    costs = [estimate_cost(patch, plan, batch_size=size) for size in (1, 2, 8)]
    assert costs[1].gigaflops == pytest.approx(2 * costs[0].gigaflops)
    for precision in ("float32_gb", "mixed_gb"):
        values = [getattr(cost.memory, precision) for cost in costs]
        assert values == sorted(set(values))


@pytest.mark.parametrize(
    "changes",
    [{"features": 24}, {"input_channels": 20}, {"output_channels": 12}, {"n_conv_per_stage": (3, 3, 3, 3)}],
)
def test_the_estimate_grows_with_the_network(changes: dict[str, Any]) -> None:
    patch = (32, 32, 32)
    reference = estimate_cost(patch, make_unet(patch), batch_size=2)
    grown = estimate_cost(patch, make_unet(patch, **changes), batch_size=2)
    assert grown.gigaflops > reference.gigaflops
    assert grown.memory.float32_gb > reference.memory.float32_gb
    assert grown.memory.mixed_gb > reference.memory.mixed_gb


def test_mixed_precision_takes_about_half_of_a_convolutional_network() -> None:
    patch = (96, 96, 96)
    memory = estimate_cost(patch, make_unet(patch, features=32), batch_size=2).memory
    assert 0.5 < memory.mixed_gb / memory.float32_gb < 0.65


def test_a_plan_is_priced_with_little_work() -> None:
    swin = TransformerPlan(
        architecture="swinunetr", input_channels=4, output_channels=2, image_size=(96, 96, 96), feature_size=48
    )
    _, n_calls = count_calls(lambda: estimate_cost((96, 96, 96), swin, batch_size=2))
    assert n_calls < 10_000


def test_a_plan_is_priced_without_torch() -> None:
    code = (
        "import sys\n"
        "from interactivepet.planning.cost import estimate_cost\n"
        "from interactivepet.core.plan import TransformerPlan\n"
        "plan = TransformerPlan(architecture='swinunetr', input_channels=4, output_channels=2,\n"
        "                       image_size=(96, 96, 96), feature_size=48)\n"
        "estimate_cost((96, 96, 96), plan, batch_size=2)\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
