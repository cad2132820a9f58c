"""Named checks of a region's mask: each has a value, a limit and a verdict, and explains itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import BoundingBox, Shape
from interactivepet.core.region import Region
from interactivepet.core.segmented import RegionCheck

__all__ = ["check_mask"]

LEAST_VOXELS = 2
"""A clicked voxel is always in the mask, so one voxel alone means that the segmenter found nothing."""
LEAST_GROWTH, MOST_GROWTH = 0.2, 5.0
"""Volume of the mask over that of the bright region, which ends at 41 % of its maximum."""
MOST_BELOW = 0.1
"""Share of voxels that are no brighter than what surrounds the bright region."""
MOST_LEAK = 0.1
"""Share of voxels in a region that was taken for normal uptake."""


def check_mask(
    mask: npt.NDArray[np.bool_],
    box: BoundingBox,
    *,
    image: npt.NDArray[np.float32],
    candidates: Sequence[Region],
    normal: Sequence[Region],
    n_components: int,
    max_components: int,
) -> tuple[RegionCheck, ...]:
    """Check one mask.

    Args:
        mask: (i, j, k) within the box, with at least one voxel.
        box: where it lies in the image.
        image: (I, J, K) uptake.
        candidates: the bright regions that it came from.
        normal: the regions of normal uptake in the image.
        n_components: of the segmenter's answer.
        max_components: of them that stay.

    Returns:
        The checks, in a fixed order.
    """
    n_voxels = int(mask.sum())
    growth = n_voxels / max(1, sum(int(region.mask.sum()) for region in candidates))
    background = min(region.peak / region.contrast for region in candidates)
    below = float((image[box.slices][mask] <= background).mean())
    leak = sum(_count_shared(mask, box, region) for region in normal) / n_voxels
    at_border = _count_at_border(mask, box, image.shape)
    return (
        _judge("voxels", n_voxels, n_voxels >= LEAST_VOXELS, f"at least {LEAST_VOXELS}"),
        _judge("voxels at the border of the image", at_border, at_border == 0, "0"),
        _judge("components", n_components, n_components <= max_components, f"at most {max_components}"),
        _judge(
            "volume over that of the bright region",
            growth,
            LEAST_GROWTH <= growth <= MOST_GROWTH,
            f"{LEAST_GROWTH:g} to {MOST_GROWTH:g}",
        ),
        _judge("share below the surroundings", below, below <= MOST_BELOW, f"at most {MOST_BELOW:g}"),
        _judge("share in normal uptake", leak, leak <= MOST_LEAK, f"at most {MOST_LEAK:g}"),
    )


def _judge(name: str, value: float, passed: bool, limit: str) -> RegionCheck:
    return RegionCheck(name=name, value=float(value), limit=limit, passed=bool(passed))


def _count_shared(mask: npt.NDArray[np.bool_], box: BoundingBox, region: Region) -> int:
    """Count the voxels that a mask and a region share."""
    common = box.intersection(region.box)
    if common is None:
        return 0
    return int((mask[common.slices_in(box)] & region.mask[common.slices_in(region.box)]).sum())


def _count_at_border(mask: npt.NDArray[np.bool_], box: BoundingBox, shape: tuple[int, ...] | Shape) -> int:
    """Count the voxels in the outermost planes of the image, of axes with at least three."""
    touched = np.zeros_like(mask)
    for axis, n in enumerate(shape):
        if n < 3:
            continue
        planes = np.moveaxis(touched, axis, 0)
        if box.start[axis] == 0:
            planes[0] = True
        if box.stop[axis] == n:
            planes[-1] = True
    return int((touched & mask).sum())
