"""Connected components: what counts as one object."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import CONNECTIVITY, BoundingBox

__all__ = ["find_components", "number_by_size", "number_lesions"]

SMALL = 4096
"""Voxels up to which an array is padded: cc3d (4.1) fails where single voxels are packed as densely as they can be,
such as (1, 0, 1), which happens in small arrays only."""


def find_components(
    mask: npt.NDArray[np.bool_ | np.integer], *, connectivity: Literal[6, 8, 18, 26] = CONNECTIVITY
) -> tuple[npt.NDArray[np.unsignedinteger], int]:
    """Number the connected components of a mask, or those of each label of a label map.

    Args:
        mask: (I, J, K) or (I, J), bool or integer, 0 is background.
        connectivity: 6, 18 or 26; 8 of a plane.

    Returns:
        Unsigned integers of the same shape, 0 in the background and 1 ... N in the components, and N.
    """
    import cc3d

    if mask.size > SMALL:
        components, n = cc3d.connected_components(mask, connectivity=connectivity, return_N=True)
        return components, int(n)
    padded, n = cc3d.connected_components(np.pad(mask, 1), connectivity=connectivity, return_N=True)
    return padded[(slice(1, -1),) * mask.ndim], int(n)


def number_by_size(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int32], int]:
    """Number the connected components of a mask from the largest to the smallest.

    Args:
        mask: (I, J, K) or (I, J) bool.

    Returns:
        int32 of the same shape, 0 in the background, 1 in the largest component; of equal ones, the one whose first
        voxel has the lower index comes first. And their number.
    """
    # The order of equal components is that of the indices only where the last axis changes fastest.
    components, n = find_components(np.ascontiguousarray(mask))
    sizes = np.bincount(components.ravel(), minlength=n + 1)[1:]
    numbers = np.zeros(n + 1, np.int32)
    numbers[np.argsort(-sizes, kind="stable") + 1] = np.arange(1, n + 1)
    return numbers[components], n


def number_lesions(mask: npt.NDArray[np.uint8], values: Iterable[int]) -> tuple[npt.NDArray[np.int32], tuple[int, ...]]:
    """Number the lesions of several labels through: those of the first label by size, then those of the next.

    Args:
        mask: (I, J, K), 0 is background.
        values: of the labels, in the order of the numbers.

    Returns:
        int32 (I, J, K), 0 in the background and 1 ... N in the lesions; and how many each label has.
    """
    numbers = np.zeros(mask.shape, np.int32)
    counts: list[int] = []
    for value in values:
        own = mask == value
        box = BoundingBox.of(own)
        n = 0
        if box is not None:
            inner = own[box.slices]
            lesions, n = number_by_size(inner)
            numbers[box.slices][inner] = lesions[inner] + sum(counts)
        counts.append(n)
    return numbers, tuple(counts)
