"""What each layer of a UNETR or SwinUNETR keeps for its backward pass, as MONAI builds them."""

from __future__ import annotations

import math
from collections.abc import Iterator

from interactivepet.core.plan import TransformerPlan
from interactivepet.planning.layers import Grid, Layer, head, residual_block, upsampling

__all__ = ["list_transformer_layers"]

TOKEN_EDGE = 16
"""Voxels of a UNETR token along each axis."""

UNETR_BLOCKS = 12
"""Transformer blocks of a UNETR."""

MLP_RATIO = 4
"""Width of the perceptrons over that of the tokens."""

WINDOW_EDGE = 7
"""Tokens along each axis of a SwinUNETR window; fewer where the grid has fewer."""

BLOCKS_PER_STAGE = 2
"""Of a SwinUNETR."""

HEADS = (3, 6, 12, 24)
"""Attention heads of the stages of a SwinUNETR."""

INPUT_COPIES = 3
"""Of the batch that autocast makes: for the tokens and the two convolutions at full resolution."""

ATTENTION_GRADIENTS = 3
"""Maps of the attention's size that its backward holds: the gradient before and after the softmax, and of the sum."""


def list_transformer_layers(plan: TransformerPlan, grid: Grid) -> Iterator[Layer]:
    """List the layers in the order of the forward pass, for a batch of `grid` (N, I, J, K)."""
    kernel = 3 ** sum(edge > 1 for edge in plan.image_size)
    yield Layer(saved_mixed=(plan.input_channels * math.prod(grid),) * INPUT_COPIES)
    yield from (_list_unetr if plan.architecture == "unetr" else _list_swinunetr)(plan, grid, kernel=kernel)
    yield from head(plan.feature_size, plan.output_channels, grid)


def _list_unetr(plan: TransformerPlan, grid: Grid, *, kernel: int) -> Iterator[Layer]:
    width, hidden = plan.feature_size, plan.hidden_size
    grids = [_coarsen(grid, 2**level) for level in range(5)]
    n_axes = sum(edge > 1 for edge in plan.image_size)
    stride = 2**n_axes
    n_tokens, per_image = math.prod(grids[4]), math.prod(grids[4][1:])
    n_embedding = plan.input_channels * TOKEN_EDGE**n_axes * hidden
    yield Layer(
        saved_float32=(hidden * n_tokens,),
        n_weights=n_embedding + per_image * hidden,
        multiply_adds=n_embedding * n_tokens,
    )
    for _ in range(UNETR_BLOCKS):
        yield _token_block(hidden, plan.n_heads, n_tokens, per_image=per_image)
    yield from residual_block(plan.input_channels, width, grid, kernel=kernel)
    for level, n_blocks in ((1, 2), (2, 1), (3, 0)):
        n_out = width * 2**level
        # tokens in the order of a volume, then upsampled once or more
        yield Layer(saved=(hidden * n_tokens,))
        yield _upsample(hidden, n_out, grids[3], stride=stride)
        for block in range(n_blocks):
            yield _upsample(n_out, n_out, grids[2 - block], stride=stride)
            yield from residual_block(n_out, n_out, grids[2 - block], kernel=kernel)
    yield Layer(saved=(hidden * n_tokens,), saved_float32=(hidden * n_tokens,))
    for level in (3, 2, 1, 0):
        n_in = hidden if level == 3 else width * 2 ** (level + 1)
        yield from _decode(n_in, width * 2**level, grids[level], stride=stride, kernel=kernel)


def _upsample(n_in: int, n_out: int, grid: Grid, *, stride: int) -> Layer:
    """A transposed convolution to `grid` without a skip."""
    feature_map = n_out * math.prod(grid)
    return Layer(saved=(feature_map,), n_weights=n_in * n_out * stride, multiply_adds=n_in * feature_map)


def _decode(n_in: int, n_out: int, grid: Grid, *, stride: int, kernel: int) -> Iterator[Layer]:
    yield upsampling(n_in, n_out, grid, stride=stride)
    yield from residual_block(2 * n_out, n_out, grid, kernel=kernel)


def _token_block(hidden: int, n_heads: int, n_tokens: int, *, per_image: int) -> Layer:
    """Attention between all tokens of an image and a perceptron, each with its normalisation.

    Kept are both sums in float32; both normalised, queries, keys and values, the softmax, what it gathers; and the
    perceptron before and after its activation.
    """
    tokens, attention = hidden * n_tokens, n_heads * per_image * n_tokens
    n_weights = (4 + 2 * MLP_RATIO) * hidden**2
    return Layer(
        saved=(3 * tokens, tokens, tokens, tokens, MLP_RATIO * tokens, MLP_RATIO * tokens, attention),
        saved_float32=(tokens, tokens),
        working=(attention,) * ATTENTION_GRADIENTS,
        n_weights=n_weights,
        multiply_adds=n_weights * n_tokens + 2 * per_image * tokens,
    )


def _list_swinunetr(plan: TransformerPlan, grid: Grid, *, kernel: int) -> Iterator[Layer]:
    width = plan.feature_size
    grids = [_coarsen(grid, 2**level) for level in range(6)]
    stride = 2 ** sum(edge > 1 for edge in plan.image_size)
    n_embedding = plan.input_channels * stride * width
    yield Layer(
        saved=(width * math.prod(grids[1]),), n_weights=n_embedding, multiply_adds=n_embedding * math.prod(grids[1])
    )
    for stage, n_heads in enumerate(HEADS):
        for _ in range(BLOCKS_PER_STAGE):
            yield _window_block(width * 2**stage, n_heads, grids[stage + 1])
        yield _merging(width * 2**stage, grids[stage + 1], stride=stride)
    yield from residual_block(plan.input_channels, width, grid, kernel=kernel)
    for level in (1, 2, 3, 5):
        n_in = width * 2 ** (level - 1)
        # normalised without weights and copied into the order of a volume
        yield Layer(saved=(n_in * math.prod(grids[level]),))
        yield from residual_block(n_in, n_in, grids[level], kernel=kernel)
    for level in (4, 3, 2, 1, 0):
        n_out = width * 2 ** max(0, level - 1)
        yield from _decode(width * 2**level, n_out, grids[level], stride=stride, kernel=kernel)


def _window_block(width: int, n_heads: int, grid: Grid) -> Layer:
    """Attention inside windows, to which the grid is padded, and a perceptron.

    The softmax stays in float32, since the table of positions is; autocast keeps a copy of it beside. Queries, keys
    and values are copied each, as their layout does not allow one product over all heads.
    """
    edges = [min(edge, WINDOW_EDGE) for edge in grid[1:]]
    per_window = math.prod(edges)
    n_padded = grid[0] * math.prod(-(-n // edge) * edge for n, edge in zip(grid[1:], edges, strict=True))
    n_tokens, tokens, padded = math.prod(grid), width * math.prod(grid), width * n_padded
    attention = n_heads * per_window * n_padded
    n_weights = (4 + 2 * MLP_RATIO) * width**2
    return Layer(
        saved=(padded,) * 5 + (tokens,) * 3 + (MLP_RATIO * tokens,) * 2,
        saved_float32=(attention, 2 * per_window**2),
        saved_mixed=(attention,),
        working_float32=(attention,) * ATTENTION_GRADIENTS,
        n_weights=n_weights + n_heads * math.prod(2 * WINDOW_EDGE - 1 for n in grid[1:] if n > 1),
        multiply_adds=n_weights * n_tokens + 2 * per_window * padded,
    )


def _merging(width: int, grid: Grid, *, stride: int) -> Layer:
    """Neighbours joined, normalised and reduced to twice the width at half the grid, in two orders of axes."""
    tokens = width * math.prod(grid)
    n_weights = stride * width * 2 * width
    return Layer(
        saved=(tokens, tokens, 2 * tokens // stride),
        n_weights=n_weights,
        multiply_adds=n_weights * math.prod(grid) // stride,
    )


def _coarsen(grid: Grid, factor: int) -> Grid:
    return (grid[0], *(1 if edge == 1 else edge // factor for edge in grid[1:]))
