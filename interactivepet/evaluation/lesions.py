"""Lesions found, missed and made up: the detection and matching metric (DMM) of autoPET V, and volumes beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from interactivepet.core.components import find_components

__all__ = ["CHALLENGE_CONNECTIVITY", "MATCHING_IOU", "LesionMatch", "match_lesions"]

Mask = npt.NDArray[np.bool_]

MATCHING_IOU: Final = 0.1
"""A component of the mask finds a lesion when intersection over union of the two reach this (autoPET V, DMM)."""

CHALLENGE_CONNECTIVITY: Final = 18
"""Voxels that share a face or an edge are one lesion, as the evaluation code of autoPET III, IV and V counts."""


@dataclass(frozen=True, slots=True)
class LesionMatch:
    """How the components of a mask and the lesions of its reference belong together.

    Attributes:
        n_lesions: components of the reference.
        n_found: lesions that at least one component of the mask matches at `MATCHING_IOU`.
        n_false: components of the mask that match no lesion.
        untouched_mask_voxels: voxels of the mask's components without any overlap with the reference.
        untouched_lesion_voxels: voxels of the lesions without any overlap with the mask.
    """

    n_lesions: int
    n_found: int
    n_false: int
    untouched_mask_voxels: int
    untouched_lesion_voxels: int

    @property
    def f1(self) -> float | None:
        """2 TP / (2 TP + FP + FN) over lesions, in [0, 1]; None for a reference without lesion, as in the challenge."""
        if self.n_lesions == 0:
            return None
        return 2 * self.n_found / (self.n_found + self.n_lesions + self.n_false)


def match_lesions(mask: Mask, reference: Mask) -> LesionMatch:
    """Match the components of a mask with the lesions of a reference.

    A lesion counts once, however many components find it. One component may find several lesions that lie within
    it, if it overlaps enough with each: autoPET V does not ask for one-to-one pairs, and neither does this.

    Args:
        mask: (I, J, K) bool.
        reference: the same, of the same shape.

    Source:
        autoPET V (MICCAI 2026), evaluation: DMM; false positive and false negative volume as since autoPET I
        (Gatidis et al. 2024, doi:10.1038/s42256-024-00912-9).
    """
    parts, n_parts = find_components(mask, connectivity=CHALLENGE_CONNECTIVITY)
    lesions, n_lesions = find_components(reference, connectivity=CHALLENGE_CONNECTIVITY)
    part_sizes = np.bincount(parts.ravel(), minlength=n_parts + 1)
    lesion_sizes = np.bincount(lesions.ravel(), minlength=n_lesions + 1)
    both = mask & reference
    pairs, shared = np.unique(np.stack((parts[both], lesions[both]), axis=1), axis=0, return_counts=True)
    part, lesion = pairs[:, 0].astype(np.intp), pairs[:, 1].astype(np.intp)
    iou = shared / (part_sizes[part] + lesion_sizes[lesion] - shared)
    is_match = iou >= MATCHING_IOU
    part_sizes[0] = lesion_sizes[0] = 0
    part_sizes[part] = 0
    lesion_sizes[lesion] = 0
    return LesionMatch(
        n_lesions=n_lesions,
        n_found=int(np.unique(lesion[is_match]).size),
        n_false=n_parts - int(np.unique(part[is_match]).size),
        untouched_mask_voxels=int(part_sizes.sum()),
        untouched_lesion_voxels=int(lesion_sizes.sum()),
    )
