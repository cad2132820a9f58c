"""Where the second step of a cascade looks: around the first step's mask and the clicks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import BoundingBox, Geometry
from interactivepet.core.interaction import Click

__all__ = ["CASCADE_MARGIN_MM", "find_guided_box"]

CASCADE_MARGIN_MM = 20.0
"""Around the coarse mask: a coarse step may end a tumour one or two of its voxels too early."""


def find_guided_box(coarse: npt.NDArray[np.uint8], clicks: Sequence[Click], grid: Geometry) -> BoundingBox | None:
    """Find the box of a coarse mask and of all clicks, `CASCADE_MARGIN_MM` wider on each side.

    Args:
        coarse: (I, J, K) label values on `grid`.
        clicks: in RAS+ mm; those outside of the grid count at its border.
        grid: of the mask.

    Returns:
        The box, or None when the mask is empty and nobody clicked: then there is nothing to refine.
    """
    boxes = [BoundingBox.of_voxel(grid.find_voxel(click.position_mm)) for click in clicks]
    masked = BoundingBox.of(coarse > 0)
    if masked is not None:
        boxes.append(masked)
    if not boxes:
        return None
    a, b, c = (
        0 if n == 1 else int(np.ceil(CASCADE_MARGIN_MM / mm)) for n, mm in zip(grid.shape, grid.spacing_mm, strict=True)
    )
    return reduce(BoundingBox.union, boxes).grown((a, b, c), within=grid.shape)
