"""Change the number of voxels along each axis while the outer faces of the grid stay where they are."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import Shape, Spacing

__all__ = ["CUBIC", "LINEAR", "SPACING_TOLERANCE", "find_target_shape", "resample", "resample_label"]

SplineOrder = Literal[1, 3]

CUBIC: Final = 3
"""Spline order for images (nnU-Net): sharp, and clipped afterwards to the values that were there."""

LINEAR: Final = 1
"""Spline order for probabilities: stays within [0, 1] and keeps sums at 1."""

SPACING_TOLERANCE = 1e-3
"""Relative difference of spacings below which a grid is left as it is."""

FloatVolume = npt.NDArray[np.float32]


def find_target_shape(shape: Shape, spacing_mm: Spacing, *, target_mm: Spacing) -> Shape:
    """Give the shape that comes nearest to the target spacing.

    An axis that already has it, or that has one voxel (a 2D image), keeps its length.
    """
    edges = [
        n if n == 1 or abs(mm / new - 1.0) <= SPACING_TOLERANCE else max(1, round(n * mm / new))
        for n, mm, new in zip(shape, spacing_mm, target_mm, strict=True)
    ]
    return (edges[0], edges[1], edges[2])


def resample(volume: FloatVolume, shape: Shape, *, order: SplineOrder) -> FloatVolume:
    """Resample each leading channel by splines with edge values continued.

    Args:
        volume: (C, I, J, K).
        shape: the new (I, J, K).
        order: `CUBIC` or `LINEAR`.

    Returns:
        (C, *shape) float32 within the range of each channel's input; the input itself when nothing changes.
    """
    if volume.shape[1:] == shape:
        return volume
    from scipy import ndimage

    out = np.empty((volume.shape[0], *shape), np.float32)
    factors = [new / old for new, old in zip(shape, volume.shape[1:], strict=True)]
    for channel in range(len(volume)):
        values: FloatVolume = volume[channel]
        ndimage.zoom(values, factors, output=out[channel], order=order, mode="nearest", grid_mode=True)
        if order > LINEAR:
            np.clip(out[channel], values.min(), values.max(), out=out[channel])
    return out


def resample_label(label: npt.NDArray[np.uint8], shape: Shape) -> npt.NDArray[np.uint8]:
    """Resample a label (I, J, K): each value's indicator linearly, then the likeliest value a voxel.

    Nearest-neighbour sampling would shift borders by up to half a voxel and drop thin structures.
    """
    if label.shape == shape:
        return label
    values = np.unique(label)
    best = np.full(shape, -1.0, np.float32)
    out = np.zeros(shape, np.uint8)
    for value in values:
        share = resample((label == value)[None].astype(np.float32), shape, order=LINEAR)[0]
        # on a tie the label wins over the background, or thin structures would vanish when an axis is halved
        wins = share >= best
        out[wins] = value
        best[wins] = share[wins]
    return out
