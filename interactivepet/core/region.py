"""A bright region of an image, and what it was taken for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import BoundingBox

__all__ = ["REGION_METHODS", "Region", "RegionMethod", "RegionStatus"]

RegionStatus = Literal["lesion", "physiological", "unsure"]
"""`lesion`: no rule explains it. `physiological`: normal uptake by a rule. `unsure`: a rule may explain it."""

RegionMethod = Literal["percentile", "suv", "liver", "bloodpool"]
"""Where the uptake begins from which a region is a candidate."""

REGION_METHODS: tuple[RegionMethod, ...] = get_args(RegionMethod)


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """One candidate region.

    Attributes:
        id: from 1, in the order in which a reader should look at them.
        box: where it lies in the image.
        mask: (i, j, k) bool within the box.
        peak_mm: its hottest place in RAS+ mm.
        peak: uptake there, over a few voxels, in the unit of the image.
        maximum: of its voxels.
        mean: of its voxels.
        volume_ml: of its voxels.
        contrast: peak over the uptake around the region.
        status: what it was taken for.
        rule: the rule that decided, such as `bladder`.
        reason: the rule's words for a reader, with its values.
    """

    id: int
    box: BoundingBox
    mask: npt.NDArray[np.bool_]
    peak_mm: tuple[float, float, float]
    peak: float
    maximum: float
    mean: float
    volume_ml: float
    contrast: float
    status: RegionStatus
    rule: str
    reason: str

    def on_grid(self, shape: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
        """Give the region as a mask of the whole image, (I, J, K) bool."""
        mask = np.zeros(shape, dtype=np.bool_)
        mask[self.box.slices] = self.mask
        return mask
