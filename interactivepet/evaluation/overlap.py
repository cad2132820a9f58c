"""Overlap of two masks, voxel by voxel.

Source:
    Maier-Hein et al. 2024, Nat Methods 21:195 (Metrics Reloaded): intersection over union, positive predictive value
    (precision), sensitivity (recall), specificity. Heimann et al. 2009, IEEE TMI 28(8): relative volume difference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Overlap", "count_overlap"]


@dataclass(frozen=True, slots=True)
class Overlap:
    """Voxels of a mask and its reference; a metric without a meaning is None.

    Attributes:
        n_both: in both.
        n_mask: in the mask.
        n_reference: in the reference.
    """

    n_both: int
    n_mask: int
    n_reference: int

    @property
    def iou(self) -> float | None:
        """Intersection over union in [0, 1]; None when the reference is empty, as for Dice."""
        union = self.n_mask + self.n_reference - self.n_both
        return self.n_both / union if self.n_reference else None

    @property
    def precision(self) -> float | None:
        """Share of the mask that is in the reference; None when either is empty."""
        return self.n_both / self.n_mask if self.n_reference and self.n_mask else None

    @property
    def recall(self) -> float | None:
        """Share of the reference that is in the mask (sensitivity); None when the reference is empty."""
        return self.n_both / self.n_reference if self.n_reference else None

    @property
    def relative_difference(self) -> float | None:
        """Volume of the mask over that of the reference, minus 1; None when the reference is empty."""
        return self.n_mask / self.n_reference - 1 if self.n_reference else None

    def specificity(self, n_voxels: int) -> float | None:
        """Share of the voxels outside of the reference that are outside of the mask.

        It grows with the image, so it compares masks of one image only.

        Args:
            n_voxels: of the whole image.

        Returns:
            A share in [0, 1]; None when the reference fills the image.
        """
        n_outside = n_voxels - self.n_reference
        return (n_outside - (self.n_mask - self.n_both)) / n_outside if n_outside else None


def count_overlap(mask: npt.NDArray[np.bool_], reference: npt.NDArray[np.bool_]) -> Overlap:
    """Count the voxels of two masks of one shape."""
    return Overlap(
        n_both=int(np.count_nonzero(mask & reference)),
        n_mask=int(np.count_nonzero(mask)),
        n_reference=int(np.count_nonzero(reference)),
    )
