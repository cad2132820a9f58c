from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from interactivepet.core.geometry import Shape, Spacing
from interactivepet.core.plan import NetworkPlan
from interactivepet.networks.build import build_network
from interactivepet.planning.topology import (
    MINIMUM_EDGE,
    Topology,
    estimate_cost,
    find_topology,
    grow_patch,
    round_patch,
)

edges = st.one_of(st.just(1), st.integers(2, 300))
spacings = st.tuples(*[st.floats(0.5, 8)] * 3)


def test_an_isotropic_patch_is_halved_alike_along_all_axes() -> None:
    topology = find_topology((64, 64, 32), (4.0, 4.0, 4.0))
    assert topology.strides == ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 1))
    assert topology.kernel_sizes[:4] == ((3, 3, 3),) * 4
    assert topology.divisor == (16, 16, 8)


def test_a_coarse_axis_waits_until_the_others_have_caught_up() -> None:
    topology = find_topology((128, 128, 24), (1.0, 1.0, 5.0))
    assert topology.strides == ((1, 1, 1), (2, 2, 1), (2, 2, 1), (2, 2, 2), (2, 2, 2), (2, 2, 1))
    assert topology.kernel_sizes[:4] == ((3, 3, 1), (3, 3, 1), (3, 3, 3), (3, 3, 3))


@pytest.mark.parametrize("single", [0, 1, 2])
def test_an_axis_of_one_voxel_is_neither_pooled_nor_convolved(single: int) -> None:
    patch = tuple(1 if axis == single else 64 for axis in range(3))
    topology = find_topology(patch, (3.0, 3.0, 3.0))
    assert len(topology.strides) == 5
    assert {stride[single] for stride in topology.strides} == {1}
    assert {kernel[single] for kernel in topology.kernel_sizes} == {1}
    assert {kernel[(single + 1) % 3] for kernel in topology.kernel_sizes} == {3}


@pytest.mark.parametrize("patch", [(128, 128, 8), (64, 64, 12), (56, 8, 56)])
def test_a_flat_patch_is_convolved_across_all_axes_at_every_stage(patch: Shape) -> None:
    assert set(find_topology(patch, (4.0, 4.0, 4.0)).kernel_sizes) == {(3, 3, 3)}


@settings(deadline=None)
@given(median=st.tuples(edges, edges, edges).filter(lambda m: max(m) > 1), spacing=spacings, edge=st.floats(1, 500))
def test_a_patch_is_divided_evenly_and_keeps_a_bottleneck(median: Shape, spacing: Spacing, edge: float) -> None:
    patch = grow_patch(median, spacing, edge_mm=edge)
    divisor = find_topology(patch, spacing).divisor
    for n, voxels, d in zip(median, patch, divisor, strict=True):
        assert voxels % d == 0
        assert (voxels == 1) == (n == 1)
        assert n == 1 or voxels // d >= MINIMUM_EDGE
    assert round_patch(patch, spacing) == patch


def test_a_patch_has_equal_edges_in_millimetres_within_the_median_shape() -> None:
    patch = grow_patch((200, 200, 40), (2.0, 4.0, 4.0), edge_mm=256.0)
    assert patch == (128, 64, 40)


def make_topology(patch: Shape, spacing: Spacing) -> tuple[Topology, tuple[int, ...]]:
    topology = find_topology(patch, spacing)
    return topology, tuple(min(8 * 2**stage, 32) for stage in range(len(topology.strides)))


def count_work(patch: Shape, plan: NetworkPlan) -> tuple[float, int]:
    """Count forward multiply-adds, times two, and parameters of the real network."""
    network = build_network(plan, deep_supervision=True)
    flops = 0

    def add(module: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal flops
        across = inputs[0] if isinstance(module, nn.ConvTranspose2d | nn.ConvTranspose3d) else output
        flops += 2 * across[0, 0].numel() * module.weight.numel()

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
            module.register_forward_hook(add)
    with torch.inference_mode():
        network(torch.zeros(1, plan.input_channels, *patch))
    return flops, sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("patch", "spacing"),
    [((32, 32, 32), (4.0, 4.0, 4.0)), ((48, 32, 8), (1.0, 1.0, 4.0)), ((64, 48, 1), (1.0, 1.0, 1.0))],
)
def test_the_estimate_agrees_with_the_network(patch: Shape, spacing: Spacing) -> None:
    topology, features = make_topology(patch, spacing)
    plan = NetworkPlan(
        input_channels=3,
        output_channels=2,
        features_per_stage=features,
        kernel_sizes=topology.kernel_sizes,
        strides=topology.strides,
        n_conv_per_stage=(2,) * len(features),
        n_conv_per_stage_decoder=(2,) * (len(features) - 1),
    )
    flops, n_parameters = count_work(patch, plan)

    cost = estimate_cost(patch, topology, batch_size=1, features=features, n_inputs=3, n_outputs=2)
    idle = estimate_cost(patch, topology, batch_size=0, features=features, n_inputs=3, n_outputs=2)

    assert cost.gigaflops == pytest.approx(3 * flops / 1e9, rel=0.05)
    # weights, gradients and momentum, four bytes each: all that is left without a batch
    assert idle.memory_gb == pytest.approx(3 * 4 * n_parameters / 1e9, rel=0.05)
    assert idle.gigaflops == 0.0


def test_the_estimate_grows_with_everything() -> None:
    topology, features = make_topology((32, 32, 32), (4.0, 4.0, 4.0))
    base = {"batch_size": 2, "features": features, "n_inputs": 3, "n_outputs": 2}
    reference = estimate_cost((32, 32, 32), topology, **base)
    for change in ({"batch_size": 3}, {"features": tuple(2 * f for f in features)}, {"n_inputs": 5}):
        grown = estimate_cost((32, 32, 32), topology, **{**base, **change})
        assert grown.gigaflops > reference.gigaflops
        assert grown.memory_gb > reference.memory_gb
    assert estimate_cost((32, 32, 32), topology, **{**base, "n_outputs": 4}).memory_gb > reference.memory_gb
    larger = estimate_cost((32, 64, 32), topology, **base)
    assert larger.gigaflops == pytest.approx(2 * reference.gigaflops)
    assert larger.memory_gb > reference.memory_gb
