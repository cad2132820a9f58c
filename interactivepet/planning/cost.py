"""Memory and arithmetic of one training step, from the plan alone: nothing is built to find out what fits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from interactivepet.core.geometry import Shape
from interactivepet.core.plan import MemoryEstimate, NetworkPlan, Optimizer, UNetPlan
from interactivepet.planning.layers import Grid, Layer, list_unet_layers
from interactivepet.planning.transformers import list_transformer_layers

__all__ = ["Cost", "estimate_cost", "list_layers", "list_losses"]

FLOAT32 = 4
"""Bytes of weights, gradients, the optimiser's states, the loss and, without autocast, activations."""

BFLOAT16 = 2
"""Bytes of activations under autocast."""

OPTIMIZER_STATES: dict[Optimizer, int] = {"sgd": 1, "adamw": 2}
"""Values that an optimiser keeps for each weight: momentum, or the means of the gradient and of its square."""

TARGET_BYTES = 1
"""Of a voxel's label: uint8."""

SAVED_BY_LOSS = 4
"""Maps of one class that the loss keeps: logits in float32, their logarithms, probabilities, and the truth."""

WORKING_OF_LOSS = 2
"""Maps of one class that the loss holds in passing."""

BF16_SCRATCH = 0.55
"""Share of a convolution's input and output that oneDNN transposes at once under bfloat16; measured as 0.53 to 0.6."""

MAPPED_BYTES = 32 * 2**20
"""From this size on glibc maps a block of its own and gives it back when it is freed; smaller ones share a heap."""

HEAP_OVERHEAD = 1.48
"""Heap over what is used of it at the peak: blocks of many sizes leave holes that no other fits.

Measured as 1.25 to 1.6, and two runs of one plan differ by up to a tenth of all memory."""

CONSTANT_BYTES = 12e6
"""What hardly depends on the network's size: oneDNN's compiled kernels, autograd's graph, Python objects. Measured as
7 to 20 MB beyond what torch allocates, with every block mapped of its own."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one training step takes.

    Attributes:
        memory: peak of weights, gradients, the optimiser's states, stored activations and the largest workspace.
        gigaflops: multiply-adds times two, forward and backward.
    """

    memory: MemoryEstimate
    gigaflops: float


def estimate_cost(patch: Shape, network: NetworkPlan, *, batch_size: int, optimizer: Optimizer = "adamw") -> Cost:
    """Estimate one training step; a moving average, which is not counted, keeps the weights once more.

    The layers are run through backwards as autograd does: what they keep is released, the gradients of their weights
    are added, and the largest sum is the peak. On a CPU what torch allocates is met within 4 %, and resident memory,
    which has the heap's holes besides, within 15 % (`tests/benchmarks/step_memory.py`).

    Args:
        patch: (I, J, K) voxels, multiples of the network's divisor.
        network: a U-Net or a transformer.
        batch_size: patches in a batch.
        optimizer: of the training.
    """
    grid = (batch_size, *patch)
    layers = [*list_layers(network, grid), *list_losses(network, grid)]
    fixed = math.prod(grid) * (FLOAT32 * network.input_channels + TARGET_BYTES)
    float32, mixed = (
        CONSTANT_BYTES + fixed + _find_peak(layers, activation_bytes=size, n_states=OPTIMIZER_STATES[optimizer])
        for size in (FLOAT32, BFLOAT16)
    )
    # forward once, backward twice: by the inputs and by the weights
    gigaflops = 3 * 2 * sum(layer.multiply_adds for layer in layers) / 1e9
    return Cost(MemoryEstimate(float32_gb=float32 / 1e9, mixed_gb=mixed / 1e9), gigaflops)


def list_layers(network: NetworkPlan, grid: Grid) -> list[Layer]:
    """List a network's layers in the order of the forward pass, for a batch of `grid` (N, I, J, K)."""
    if isinstance(network, UNetPlan):
        return list(list_unet_layers(network, grid))
    return list(list_transformer_layers(network, grid))


def list_losses(network: NetworkPlan, grid: Grid) -> Iterator[Layer]:
    """List the losses of all outputs but the coarsest, which does not count unless it is the only one.

    A U-Net has an output on every stage but its last one, the bottleneck.
    """
    strides = network.strides[1:-2] if isinstance(network, UNetPlan) else ()
    voxels = math.prod(grid)
    for stride in ((1, 1, 1), *strides):
        voxels //= math.prod(stride)
        classes = network.output_channels * voxels
        yield Layer(saved_float32=(classes,) * SAVED_BY_LOSS, working_float32=(classes,) * WORKING_OF_LOSS)


def _find_peak(layers: list[Layer], *, activation_bytes: int, n_states: int) -> float:
    """Give the peak in bytes of the backward pass, weights and `n_states` of the optimiser a weight included."""
    is_mixed = activation_bytes != FLOAT32
    n_weights = sum(layer.n_weights for layer in layers)
    saved = [_sum_saved(layer, activation_bytes, is_mixed=is_mixed) for layer in layers]
    live = (1 + n_states) * FLOAT32 * n_weights + sum(saved)
    peak = live
    for layer, released in zip(reversed(layers), reversed(saved), strict=True):
        working = _resident(layer.working, activation_bytes) + _resident(layer.working_float32, FLOAT32)
        if is_mixed:
            working += BF16_SCRATCH * _resident([layer.scratch], activation_bytes)
        peak = max(peak, live + working)
        live += FLOAT32 * layer.n_weights - released
    return peak


def _sum_saved(layer: Layer, activation_bytes: int, *, is_mixed: bool) -> float:
    saved = _resident(layer.saved, activation_bytes) + _resident(layer.saved_float32, FLOAT32)
    if is_mixed:
        # autocast keeps its copy of the weights until their gradient is known
        saved += _resident(layer.saved_mixed, BFLOAT16) + BFLOAT16 * layer.n_weights
    return saved


def _resident(counts: Iterable[int], size: int) -> float:
    """Give the bytes that blocks of so many elements make resident."""
    return sum(n * size * (1.0 if n * size >= MAPPED_BYTES else HEAP_OVERHEAD) for n in counts)
