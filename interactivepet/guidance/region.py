"""Where the second step of a cascade looks: around the first step's mask and the clicks."""

from __future__ import annotations

from collections.abc import Sequence

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
    last = np.asarray(grid.shape) - 1
    corners = [np.clip(np.round(grid.to_voxel(click.position_mm)), 0, last) for click in clicks]
    box = BoundingBox.of(coarse > 0)
    if box is not None:
        corners += [np.asarray(box.start), np.asarray(box.stop) - 1]
    if not corners:
        return None
    i, j, k = (int(n) for n in np.min(corners, axis=0))
    x, y, z = (int(n) + 1 for n in np.max(corners, axis=0))
    a, b, c = (
        0 if n == 1 else int(np.ceil(CASCADE_MARGIN_MM / mm)) for n, mm in zip(grid.shape, grid.spacing_mm, strict=True)
    )
    return BoundingBox((i, j, k), (x, y, z)).grown((a, b, c), within=grid.shape)
