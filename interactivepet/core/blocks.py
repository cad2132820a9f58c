"""Blocks of voxels joined into one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import Shape

__all__ = ["average_blocks"]


def average_blocks(values: npt.NDArray[np.float32], steps: Shape) -> npt.NDArray[np.float32]:
    """Average blocks of `steps` voxels; the last ones of an axis may hold fewer.

    Args:
        values: (I, J, K) float32.
        steps: voxels of a block along (i, j, k), at least 1.
    """
    for axis, step in enumerate(steps):
        if step > 1:
            starts = np.arange(0, values.shape[axis], step)
            counts = np.diff(np.append(starts, values.shape[axis])).astype(np.float32)
            sums: npt.NDArray[np.float32] = np.add.reduceat(values, starts, axis=axis)
            values = np.divide(sums, np.expand_dims(counts, [a for a in range(3) if a != axis]), dtype=np.float32)
    return values
