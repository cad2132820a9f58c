"""Initial masks that a user brings to be corrected: too small, too large, blocky, or with another lesion."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

__all__ = ["draw_initial_mask"]

Mask = npt.NDArray[np.bool_]

MOST_STEPS = 3
"""Voxels by which a mask is eroded or dilated at most."""

BLOCK_EDGES = (2, 4)
"""Voxels of the blocks of a mask that was predicted on a coarser grid, as nnInteractive does it for large objects."""

FAULTS = ("eroded", "dilated", "blocky", "stranger", "half")


def draw_initial_mask(label: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Spoil the target's mask.

    Args:
        label: (I, J, K): 1 the target, 2 other objects.
        rng: the source of chance.

    Returns:
        (I, J, K), 0 or 1; empty when an eroded target leaves nothing.
    """
    target = label == 1
    fault = FAULTS[int(rng.integers(len(FAULTS)))]
    n_steps = int(rng.integers(1, MOST_STEPS + 1))
    if fault == "eroded":
        mask: Mask = ndimage.binary_erosion(target, iterations=n_steps)
    elif fault == "dilated":
        mask = ndimage.binary_dilation(target, iterations=n_steps)
    elif fault == "blocky":
        mask = _make_blocky(target, int(rng.choice(BLOCK_EDGES)))
    elif fault == "stranger":
        mask = label > 0
    else:
        mask = _cut_half(target, rng)
    return mask.astype(np.float32)


def _make_blocky(mask: Mask, edge: int) -> Mask:
    """Give each block of `edge` voxels to the mask when its middle is in it."""
    coarse = mask[edge // 2 :: edge, edge // 2 :: edge, edge // 2 :: edge]
    blocks = coarse.repeat(edge, 0).repeat(edge, 1).repeat(edge, 2)
    spare = [(0, max(0, n - m)) for n, m in zip(mask.shape, blocks.shape, strict=True)]
    i, j, k = mask.shape
    whole: Mask = np.pad(blocks, spare)[:i, :j, :k]
    return whole


def _cut_half(mask: Mask, rng: np.random.Generator) -> Mask:
    """Remove what lies on one side of a random plane through one of the mask's voxels."""
    voxels = np.argwhere(mask)
    if not len(voxels):
        return mask
    normal, point = rng.normal(size=3), voxels[rng.integers(len(voxels))]
    side = np.tensordot(normal, np.indices(mask.shape), axes=1) <= normal @ point
    kept: Mask = mask & side
    return kept
