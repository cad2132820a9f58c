"""The label that the regions of a case's RTSTRUCT and SEG files make."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import Geometry, Shape
from interactivepet.dataset.dicom.masks import MaskFile
from interactivepet.errors import CaseError

__all__ = ["LabelRule", "UsedRegions", "read_label"]

logger = logging.getLogger(__name__)

SHARED_BY_LESIONS = 0.1
"""Segments of separate lesions share at most this part of the smaller one's voxels."""

UsedRegions = dict[str, dict[str, tuple[str, ...]]]
"""File -> name or pattern that was asked for -> names of the regions that it means there."""


@dataclass(frozen=True, slots=True)
class LabelRule:
    """How the regions of a case become its label.

    Attributes:
        entries: names or patterns of regions; the first becomes 1, the second 2 ...
        union: all of them become 1.
        is_ordered: the entries are in the order in which they were asked for, so that of regions that overlap the
            one that was asked for first stays. Else a voxel belongs to the smaller one, so that a tumour stays
            visible in the oedema or organ around it.
        no_contour_is_healthy: a case whose files have no contour and no marked pixel is one without a lesion.
    """

    entries: tuple[str, ...] = ()
    union: bool = False
    is_ordered: bool = False
    no_contour_is_healthy: bool = False


def read_label(
    masks: Sequence[MaskFile], rule: LabelRule, *, geometry: Geometry
) -> tuple[npt.NDArray[np.uint8], UsedRegions]:
    """Make a case's label of its files.

    Segments of one name in several SEG files, such as one file for each lesion, are joined where they share almost
    no voxel; else they are versions of one region.

    Args:
        masks: of the case, at least one.
        rule: what becomes which label.
        geometry: the grid of the PET.

    Returns:
        Label (I, J, K); and the regions used.

    Raises:
        CaseError: no file has any of the regions, none of them is drawn, two files have versions of the same one, or
            one disappears in others.
    """
    used = {mask: {entry: names for entry in rule.entries if (names := mask.find(entry))} for mask in masks}
    is_drawn = any(mask.is_drawn(names) for mask, chosen in used.items() for names in chosen.values())
    if not any(used.values()) and any(mask.drawn for mask in masks):
        there = ", ".join(region for mask in masks for region in mask.regions)
        raise CaseError(f"no region is named {' or '.join(rule.entries)}, found {there}; choose of these")
    regions = {
        value: region
        for value, entry in enumerate(rule.entries, start=1)
        if (region := _read_region(used, entry, geometry=geometry)) is not None
    }
    label = _join(regions, rule, shape=geometry.shape)
    if not label.any():
        _refuse_empty(masks, rule, is_drawn=is_drawn)
    return label, {str(mask.path): chosen for mask, chosen in used.items() if chosen}


def _read_region(
    used: Mapping[MaskFile, Mapping[str, tuple[str, ...]]], entry: str, *, geometry: Geometry
) -> npt.NDArray[np.bool_] | None:
    """Read what a name or pattern means in all files as one region, (I, J, K); None where it is in none."""
    parts = {mask: _read(mask, (entry,), geometry=geometry) for mask, chosen in used.items() if entry in chosen}
    for (first, one), (second, other) in combinations(parts.items(), 2):
        _refuse_versions(
            first, second, entry=entry, shared=int((one & other).sum()), n=int(min(one.sum(), other.sum()))
        )
    return np.logical_or.reduce(list(parts.values())) if parts else None


def _refuse_versions(first: MaskFile, second: MaskFile, *, entry: str, shared: int, n: int) -> None:
    """Two files with the same region are versions of it, unless they are segments of separate lesions.

    Args:
        first: one file.
        second: another file.
        entry: name or pattern of the region.
        shared: voxels of the region in both.
        n: voxels of the region in the file that has fewer.
    """
    names = [{name.casefold() for name in mask.find(entry) if mask.is_drawn([name])} for mask in (first, second)]
    if not (same := sorted(names[0] & names[1])):
        return
    is_seg = first.series.modality == second.series.modality == "SEG"
    if not is_seg or shared > SHARED_BY_LESIONS * n:
        raise CaseError(
            f"region {same[0]} is in {first.path} and in {second.path}, which share {shared} of {n} voxels, expected "
            "one of them; remove the outdated"
        )
    logger.warning("region %s is in %s and in %s, taken as separate lesions", same[0], first.path, second.path)


def _join(regions: Mapping[int, npt.NDArray[np.bool_]], rule: LabelRule, *, shape: Shape) -> npt.NDArray[np.uint8]:
    """Make one label of regions by value, (I, J, K)."""
    label = np.zeros(shape, dtype=np.uint8)
    if rule.union:
        for region in regions.values():
            label[region] = 1
        return label
    for value in sorted(regions, key=lambda value: (0 if rule.is_ordered else int(regions[value].sum()), value)):
        _add_region(label, regions[value], value=value, rule=rule)
    return label


def _refuse_empty(masks: Sequence[MaskFile], rule: LabelRule, *, is_drawn: bool) -> None:
    """Refuse a case without a lesion, unless nothing was drawn and that was said to mean so."""
    from interactivepet.dataset.dicom import seg

    paths = ", ".join(str(mask.path) for mask in masks)
    marked = [mask for mask in masks if mask.series.modality == "SEG" and seg.has_marked_pixel(mask.path)]
    if marked or (is_drawn and any(mask.series.modality != "SEG" and mask.drawn for mask in masks)):
        raise CaseError(
            f"{paths}: no voxel's centre of the PET lies in {', '.join(rule.entries)}; choose other regions, or remove "
            "the file, so that this is a test case"
        )
    if not rule.no_contour_is_healthy:
        there = ", ".join(dict.fromkeys(region.strip() for mask in masks for region in mask.regions)) or "no region"
        raise CaseError(
            f"{paths}: no closed contour and no marked pixel in {there}, which would make this a healthy case; "
            "export the regions again, remove the file, so that this is a test case, or give --no-contour-is-healthy "
            "when the patient has none"
        )
    logger.info("%s: no contour, taken as a case without a lesion", paths)


def _add_region(label: npt.NDArray[np.uint8], region: npt.NDArray[np.bool_], *, value: int, rule: LabelRule) -> None:
    """Write a region where `label` is free, and say what was not."""
    is_free = label == 0
    n_all, n_free = int(region.sum()), int((region & is_free).sum())
    if n_free < n_all:
        others = ", ".join(rule.entries[other - 1] for other in np.unique(label[region & ~is_free]))
        if n_free == 0:
            raise CaseError(
                f"every voxel of region {rule.entries[value - 1]} is in {others} too; ask for it first, choose some of "
                "them by name, or join them to one label"
            )
        logger.warning(
            "%d of %d voxels of region %s are in %s too, and belong to that",
            *(n_all - n_free, n_all, rule.entries[value - 1], others),
        )
    label[region & is_free] = value


def _read(mask: MaskFile, entries: Sequence[str], *, geometry: Geometry) -> npt.NDArray[np.bool_]:
    """Read regions of one file as one, (I, J, K)."""
    from interactivepet.dataset.dicom import rtstruct, seg

    if mask.series.modality == "SEG":
        return seg.read_seg(mask.path, geometry=geometry, segments=entries, union=True, slices=mask.slices) > 0
    return rtstruct.read_rtstruct(mask.path, geometry=geometry, rois=entries, union=True, frame=mask.frame) > 0
