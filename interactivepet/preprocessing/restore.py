"""Bring probabilities from the network's grid back to the scanner's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from interactivepet.core.axes import IDENTITY
from interactivepet.core.geometry import SpatialTrace
from interactivepet.preprocessing.resample import LINEAR, resample

__all__ = ["restore"]


def restore(probabilities: npt.NDArray[np.float32], trace: SpatialTrace) -> npt.NDArray[np.float32]:
    """Undo resampling, cropping and the permutation of the axes.

    Args:
        probabilities: (1 + L, I, J, K) on `trace.resampled`, background first.
        trace: of the preprocessed case.

    Returns:
        (1 + L, I, J, K) float32 on `trace.original`; outside of the crop the background is certain.
    """
    axes = trace.axes
    if trace.crop.shape == trace.original.shape and axes == IDENTITY:
        return resample(probabilities, trace.crop.shape, order=LINEAR)
    out = np.zeros((probabilities.shape[0], *trace.original.shape), np.float32)
    out[0] = 1.0
    inside = out[(slice(None), *trace.crop.slices)].transpose(0, *(1 + axis for axis in axes))
    resample(probabilities, trace.crop.permuted(axes).shape, order=LINEAR, out=inside)
    return out
