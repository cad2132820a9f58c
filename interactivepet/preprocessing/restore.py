"""Bring probabilities from the network's grid back to the scanner's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from interactivepet.core.axes import IDENTITY
from interactivepet.core.geometry import BoundingBox, Shape, SpatialTrace
from interactivepet.preprocessing.resample import resample_box

__all__ = ["make_background", "restore", "restore_box"]

FloatVolume = npt.NDArray[np.float32]


def restore(probabilities: FloatVolume, trace: SpatialTrace) -> FloatVolume:
    """Undo resampling, cropping and the permutation of the axes.

    Args:
        probabilities: (1 + L, I, J, K) on `trace.resampled`, background first.
        trace: of the preprocessed case.

    Returns:
        (1 + L, I, J, K) float32 on `trace.original`, `probabilities` itself when nothing changes; outside of the crop
        the background is certain.
    """
    if trace.axes == IDENTITY and trace.crop.shape == trace.original.shape == trace.resampled.shape:
        return probabilities
    whole = BoundingBox((0, 0, 0), trace.original.shape)
    return restore_box(lambda box: probabilities[(slice(None), *box.slices)], trace, box=whole)


def restore_box(read: Callable[[BoundingBox], FloatVolume], trace: SpatialTrace, *, box: BoundingBox) -> FloatVolume:
    """Bring a box of the scanner's grid back from the network's, linearly.

    Args:
        read: gives the probabilities (1 + L, I, J, K) of a box of the network's grid.
        trace: of the preprocessed case.
        box: of the scanner's grid.

    Returns:
        (1 + L, *box.shape) float32, a new array; outside of the crop the background is certain.
    """
    axes = trace.axes
    asked, crop = box.permuted(axes), trace.crop.permuted(axes)
    result = make_background(len(read(BoundingBox.of_voxel((0, 0, 0)))), box.shape)
    inside = asked.intersection(crop)
    if inside is not None:
        part = BoundingBox(crop.offset(inside.start), crop.offset(inside.stop))
        # a view in the network's order of axes: what is written there lies where the scanner has it
        out = result.transpose(0, *(1 + axis for axis in axes))[(slice(None), *inside.slices_in(asked))]
        resample_box(read, trace.resampled.shape, new=crop.shape, box=part, out=out)
    return result


def make_background(n_classes: int, shape: Shape) -> FloatVolume:
    """Make probabilities (n_classes, I, J, K) that are certain of background."""
    values = np.zeros((n_classes, *shape), np.float32)
    values[0] = 1.0
    return values
