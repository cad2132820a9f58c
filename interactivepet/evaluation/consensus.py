"""The consensus of several readers: STAPLE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import BoundingBox, to_triple
from interactivepet.core.readers import ReaderQuality

__all__ = ["Consensus", "find_consensus"]

LabelMap = npt.NDArray[np.uint8]

MARGIN_VOXELS: Final = 1
"""Background around all masks that enters the estimate.

STAPLE takes the share of marked voxels for the prior probability, so a whole body of background would let every voxel
that one reader marked enter the consensus.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Consensus:
    """What several readers agree on.

    Attributes:
        mask: (I, J, K) uint8, 0 is background.
        qualities: label -> readers in the order of their masks.
    """

    mask: LabelMap
    qualities: Mapping[str, tuple[ReaderQuality, ...]]


def find_consensus(masks: Mapping[str, LabelMap], *, labels: Mapping[str, int]) -> Consensus:
    """Estimate the consensus of all readers, each label against everything else.

    A voxel belongs to the label with the highest probability, if that is at least one half.

    Args:
        masks: reader -> (I, J, K) uint8, all of one shape.
        labels: name -> value.

    Source:
        Warfield, Zou and Wells 2004, IEEE TMI 23(7):903 (STAPLE), by SimpleITK, in the box of all masks.
    """
    drawn = [np.asarray(mask) for mask in masks.values()]
    box = BoundingBox.of(np.logical_or.reduce([mask != 0 for mask in drawn]))
    merged = np.zeros(drawn[0].shape, np.uint8)
    if box is None:
        nobody = tuple(ReaderQuality(reader=reader, sensitivity=None, specificity=None) for reader in masks)
        return Consensus(merged, dict.fromkeys(labels, nobody))
    part = merged[box.slices]
    best = np.zeros(part.shape)
    qualities: dict[str, tuple[ReaderQuality, ...]] = {}
    for name, value in labels.items():
        probability, qualities[name] = _estimate({r: m[box.slices] == value for r, m in masks.items()})
        is_best = (probability >= 0.5) & (probability > best)
        part[is_best] = value
        best[is_best] = probability[is_best]
    return Consensus(merged, qualities)


def _estimate(
    masks: Mapping[str, npt.NDArray[np.bool_]],
) -> tuple[npt.NDArray[np.float64], tuple[ReaderQuality, ...]]:
    """Give the probability (I, J, K) of one label, and how good each reader is."""
    import SimpleITK

    shape = next(iter(masks.values())).shape
    if not any(mask.any() for mask in masks.values()):
        nobody = tuple(ReaderQuality(reader=reader, sensitivity=None, specificity=None) for reader in masks)
        return np.zeros(shape), nobody
    staple = SimpleITK.STAPLEImageFilter()
    staple.SetForegroundValue(1)
    padded = [np.pad(mask, MARGIN_VOXELS).astype(np.uint8) for mask in masks.values()]
    result = SimpleITK.GetArrayFromImage(staple.Execute([SimpleITK.GetImageFromArray(mask) for mask in padded]))
    inside = tuple(slice(MARGIN_VOXELS, MARGIN_VOXELS + n) for n in to_triple(shape))
    qualities = tuple(
        ReaderQuality(reader=reader, sensitivity=float(sensitivity), specificity=float(specificity))
        for reader, sensitivity, specificity in zip(
            masks, staple.GetSensitivity(), staple.GetSpecificity(), strict=True
        )
    )
    return np.asarray(result[inside], np.float64), qualities
