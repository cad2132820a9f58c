"""What each layer of a U-Net keeps for its backward pass: the arithmetic beneath `planning.cost`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from interactivepet.core.plan import UNetPlan

__all__ = ["Grid", "Layer", "convolution", "head", "list_unet_layers", "normalised", "residual_block", "upsampling"]

Grid = tuple[int, ...]
"""Batch and voxels along the axes."""

BLOCKED_CHANNELS = 16
"""oneDNN convolves copies of the maps in blocks of this many channels, the last one padded (AVX-512)."""

ACTIVATION_GRADIENTS = 4
"""Maps that the backward pass of the in-place leaky ReLU holds: the gradient, what CopySlices makes of it for
the tensor and for its view, and the result."""

WEIGHT_COPIES = 2
"""Of its weights that a convolution's backward holds: reordered, and the gradient before it is reordered back."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer, or a few whose backward passes follow each other; every figure counts elements, the batch included.

    Attributes:
        saved: maps kept from the forward pass until the backward of this layer, in the activations' precision.
        saved_float32: such maps that stay in float32.
        saved_mixed: such maps, in the activations' precision, that exist under autocast alone.
        working: what its backward holds at once besides those.
        working_float32: the same for what stays in float32.
        scratch: maps that oneDNN transposes under bfloat16 to find the gradient of the weights.
        n_weights: parameters.
        multiply_adds: of the forward pass.
    """

    saved: tuple[int, ...] = ()
    saved_float32: tuple[int, ...] = ()
    saved_mixed: tuple[int, ...] = ()
    working: tuple[int, ...] = ()
    working_float32: tuple[int, ...] = ()
    scratch: int = 0
    n_weights: int = 0
    multiply_adds: int = 0


def convolution(n_in: int, n_out: int, grid: Grid, *, kernel: int) -> Layer:
    """A convolution alone: its output is counted where it is kept, its input where that was made."""
    voxels = math.prod(grid)
    n_weights = n_in * n_out * kernel
    blocked_in, blocked_out = (math.ceil(n / BLOCKED_CHANNELS) * BLOCKED_CHANNELS * voxels for n in (n_in, n_out))
    return Layer(
        working=(n_in * voxels, n_out * voxels, blocked_in, blocked_out),
        working_float32=(n_weights,) * WEIGHT_COPIES,
        scratch=blocked_in + blocked_out,
        n_weights=n_weights + n_out,
        multiply_adds=n_weights * voxels,
    )


def normalised(n_in: int, n_out: int, grid: Grid, *, kernel: int) -> Iterator[Layer]:
    """Convolution, instance normalisation, leaky ReLU.

    Kept are the convolution's output, which the normalisation needs, and the activation, which takes the place of
    the normalisation's output and is the next layer's input.
    """
    feature_map = n_out * math.prod(grid)
    yield convolution(n_in, n_out, grid, kernel=kernel)
    yield Layer(saved=(feature_map, feature_map), working=(feature_map,) * ACTIVATION_GRADIENTS, n_weights=2 * n_out)


def residual_block(n_in: int, n_out: int, grid: Grid, *, kernel: int) -> Iterator[Layer]:
    """Two normalised convolutions beside a projection, which is there when the number of channels changes.

    The sum is taken in place, so a projection leaves only its convolution's output.
    """
    if n_in != n_out:
        yield convolution(n_in, n_out, grid, kernel=1)
        yield Layer(saved=(n_out * math.prod(grid),))
    yield from normalised(n_in, n_out, grid, kernel=kernel)
    yield from normalised(n_out, n_out, grid, kernel=kernel)


def upsampling(n_in: int, n_out: int, grid: Grid, *, stride: int) -> Layer:
    """A transposed convolution to `grid` and its concatenation with a skip of as many channels: that is kept."""
    feature_map = n_out * math.prod(grid)
    return Layer(
        saved=(2 * feature_map,),
        working=(2 * feature_map, feature_map, n_in * math.prod(grid) // stride),
        working_float32=(n_in * n_out * stride,) * WEIGHT_COPIES,
        n_weights=n_in * n_out * stride + n_out,
        multiply_adds=n_in * feature_map,
    )


def head(n_in: int, n_out: int, grid: Grid) -> Iterator[Layer]:
    """The convolution to logits, which are kept."""
    yield convolution(n_in, n_out, grid, kernel=1)
    yield Layer(saved=(n_out * math.prod(grid),))


def list_unet_layers(plan: UNetPlan, grid: Grid) -> Iterator[Layer]:
    """List the layers of a U-Net in the order of the forward pass, for a batch of `grid` (N, I, J, K)."""
    grids = _list_grids(plan, grid)
    widths, kernels = plan.features_per_stage, [math.prod(size) for size in plan.kernel_sizes]
    yield Layer(saved_mixed=(plan.input_channels * math.prod(grid),))
    yield from _list_encoder(plan, grids, kernels)
    for stage in reversed(range(len(widths) - 1)):
        width = widths[stage]
        yield upsampling(widths[stage + 1], width, grids[stage], stride=math.prod(plan.strides[stage + 1]))
        for number in range(plan.n_conv_per_stage_decoder[len(widths) - 2 - stage]):
            n_in = width if number else 2 * width
            yield from normalised(n_in, width, grids[stage], kernel=kernels[stage])
        yield from head(width, plan.output_channels, grids[stage])


def _list_encoder(plan: UNetPlan, grids: list[Grid], kernels: list[int]) -> Iterator[Layer]:
    is_plain = plan.architecture == "plain"
    width, grid = plan.input_channels, grids[0]
    if not is_plain:
        yield from normalised(width, plan.features_per_stage[0], grid, kernel=kernels[0])
        width = plan.features_per_stage[0]
    for stage, n_out in enumerate(plan.features_per_stage):
        for _ in range(plan.n_conv_per_stage[stage]):
            if is_plain:
                yield from normalised(width, n_out, grids[stage], kernel=kernels[stage])
            else:
                if grid != grids[stage]:
                    yield _pooling(width, grid, grids[stage])
                yield from residual_block(width, n_out, grids[stage], kernel=kernels[stage])
            width, grid = n_out, grids[stage]


def _pooling(n_channels: int, grid: Grid, pooled: Grid) -> Layer:
    """Average pooling before a projection; in 3D autocast runs it on a copy in float32, which is kept."""
    is_flat = 1 in grid[1:]
    return Layer(
        saved=(n_channels * math.prod(pooled),),
        saved_mixed=() if is_flat else (2 * n_channels * math.prod(grid),),
    )


def _list_grids(plan: UNetPlan, grid: Grid) -> list[Grid]:
    """Give the grid of each stage."""
    grids = []
    for stride in plan.strides:
        grid = (grid[0], *(-(-edge // step) for edge, step in zip(grid[1:], stride, strict=True)))
        grids.append(grid)
    return grids
