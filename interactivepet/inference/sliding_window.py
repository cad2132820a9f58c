"""Predict a volume of any size with a network of fixed patch size."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from interactivepet.core.geometry import Shape

__all__ = [
    "TILE_STEP",
    "Mirroring",
    "Tile",
    "find_mirrorings",
    "find_padding",
    "find_tiles",
    "make_weights",
    "predict_volume",
]

Mirroring = Literal["all", "even", "none"]
"""Which mirrored inputs are averaged: every combination of axes, those of an even number of axes, or none."""

Tile = tuple[Shape, Mirroring]
"""Where a tile starts in the padded volume, and how it is mirrored."""

TILE_STEP = 0.5
"""Neighbouring tiles overlap by half, so that each voxel is near the centre of one (nnU-Net)."""

WEIGHT_SIGMA = 0.125
"""Standard deviation of a tile's Gaussian weight, as a share of its edge (nnU-Net)."""


def find_tiles(shape: Shape, patch: Shape, *, step: float = TILE_STEP) -> list[Shape]:
    """Give the starts of evenly spread tiles that cover a volume at least as large as the patch."""
    axes: list[list[int]] = []
    for n, edge in zip(shape, patch, strict=True):
        n_steps = int(np.ceil((n - edge) / max(1.0, edge * step))) + 1
        axes.append([round(i * (n - edge) / max(1, n_steps - 1)) for i in range(n_steps)])
    return [(i, j, k) for i, j, k in itertools.product(*axes)]


def find_padding(shape: Shape, patch: Shape) -> list[tuple[int, int]]:
    """Give the voxels before and after each axis by which a volume that is smaller than the patch is padded."""
    missing = [max(0, edge - n) for n, edge in zip(shape, patch, strict=True)]
    return [(n // 2, n - n // 2) for n in missing]


@lru_cache(maxsize=8)
def make_weights(patch: Shape) -> Tensor:
    """Make a tile's weights (I, J, K) float32: 1 at the centre, small but never 0 at the border."""
    weights = torch.ones(patch)
    for axis, edge in enumerate(patch):
        distance = (torch.arange(edge) - (edge - 1) / 2) / max(1.0, WEIGHT_SIGMA * edge)
        view = [1, 1, 1]
        view[axis] = edge
        weights = weights * torch.exp(-0.5 * distance**2).view(view)
    return weights.clamp_min(float(weights.max()) * 1e-3)


def predict_volume(
    network: nn.Module,
    volume: Tensor,
    *,
    patch: Shape,
    n_outputs: int,
    mirror_axes: Sequence[int],
    precision: torch.dtype | None,
    device: torch.device | None = None,
    tiles: Sequence[Tile] | None = None,
    tick: Callable[[int], object] | None = None,
) -> Tensor:
    """Predict class probabilities of a whole volume.

    Args:
        network: in any mode; gives logits, or a list of them with the finest first.
        volume: (C, I, J, K) float32.
        patch: the network's patch size; smaller volumes are padded with 0.
        n_outputs: classes with background.
        mirror_axes: spatial axes (0, 1, 2) mirrored in combinations that are averaged; none to skip.
        precision: of autocast; None computes in float32.
        device: of the network, to which tiles are sent; None is the volume's.
        tiles: to compute; None computes all of them with every mirroring.
        tick: called after each tile with how often the network ran for it.

    Returns:
        (n_outputs, I, J, K) float32 probabilities, where the volume is; equal for all classes where no tile is.
    """
    device = device or volume.device
    padding = find_padding((volume.shape[1], volume.shape[2], volume.shape[3]), patch)
    widths = [n for pair in reversed(padding) for n in pair]
    # padding by nothing would copy the volume, which fills the memory
    padded = functional.pad(volume, widths) if any(widths) else volume
    i, j, k = padded.shape[1:]
    logits = torch.zeros((n_outputs, i, j, k), device=volume.device)
    weight_sum = torch.zeros((i, j, k), device=volume.device)
    weights = make_weights(patch).to(volume.device)
    every: Sequence[Tile] = [(start, "all") for start in find_tiles((i, j, k), patch)]
    with torch.inference_mode(), torch.autocast(device.type, precision, enabled=precision is not None):
        for start, mirroring in every if tiles is None else tiles:
            box = tuple(slice(a, a + n) for a, n in zip(start, patch, strict=True))
            mirrorings = find_mirrorings(mirror_axes, mirroring)
            tile = _predict_mirrored(network, padded[(slice(None), *box)][None].to(device), mirrorings)
            logits[(slice(None), *box)] += tile[0].float().to(volume.device) * weights
            weight_sum[box] += weights
            if tick is not None:
                tick(len(mirrorings))
    # no tile's weight is as small, so that this changes voxels without any tile alone
    logits /= weight_sum.clamp_min_(float(weights.min()) / 2)
    del weight_sum, padded
    inner = tuple(slice(b, b + n) for (b, _), n in zip(padding, volume.shape[1:], strict=True))
    return logits[(slice(None), *inner)].softmax(0)


def find_mirrorings(mirror_axes: Sequence[int], mirroring: Mirroring) -> list[tuple[int, ...]]:
    """Give the combinations of axes to mirror, the input as it is first."""
    if mirroring == "none":
        return [()]
    sizes = range(0, len(mirror_axes) + 1, 2 if mirroring == "even" else 1)
    return [axes for n in sizes for axes in itertools.combinations(mirror_axes, n)]


def _predict_mirrored(network: nn.Module, tile: Tensor, mirrorings: Sequence[tuple[int, ...]]) -> Tensor:
    """Average logits of (1, C, I, J, K) over combinations of mirrored axes."""
    logits = []
    for axes in mirrorings:
        dims = [axis + 2 for axis in axes]
        output = network(tile.flip(dims) if dims else tile)
        finest: Tensor = output if isinstance(output, Tensor) else output[0]
        logits.append(finest.float().flip(dims) if dims else finest.float())
    return torch.stack(logits).mean(0)
