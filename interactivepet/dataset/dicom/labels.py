"""The label that the regions of a case's RTSTRUCT and SEG files make."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

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
        _refuse_empty(used, rule)
    return label, {str(mask.path): chosen for mask, chosen in used.items() if chosen}


def _read_region(
    used: Mapping[MaskFile, Mapping[str, tuple[str, ...]]], entry: str, *, geometry: Geometry
) -> npt.NDArray[np.bool_] | None:
    """Read what a name or pattern means in all files as one region, (I, J, K); None where it is in none."""
    files = [mask for mask, chosen in used.items() if entry in chosen]
    region = np.zeros(geometry.shape, dtype=bool)
    of_name: dict[str, list[MaskFile]] = defaultdict(list)
    for mask in files:
        part = _read(mask, (entry,), geometry=geometry)
        for name in sorted({name.casefold() for name in mask.find(entry) if mask.is_drawn([name])}):
            if of_name[name]:
                _refuse_versions([*of_name[name], mask], name, part=part, others=region)
            of_name[name].append(mask)
        region |= part
    for name, several in of_name.items():
        if len(several) > 1:
            paths = ", ".join(str(mask.path) for mask in several)
            logger.warning("region %s is in %d files, taken as separate lesions: %s", name, len(several), paths)
    return region if files else None


def _refuse_versions(
    files: Sequence[MaskFile], name: str, *, part: npt.NDArray[np.bool_], others: npt.NDArray[np.bool_]
) -> None:
    """Files with the same region hold versions of it, unless they are segmentations of separate lesions.

    Args:
        files: with a region of this name.
        name: of the region.
        part: (I, J, K), the region in the last file.
        others: (I, J, K), what the files before it gave.
    """
    shared, n = int((part & others).sum()), int(min(part.sum(), others.sum()))
    if all(mask.series.modality == "SEG" for mask in files) and shared <= SHARED_BY_LESIONS * n:
        return
    paths = " and in ".join(str(mask.path) for mask in files)
    raise CaseError(
        f"region {name} is in {paths}, which share {shared} of {n} voxels, expected one of them; remove the outdated"
    )


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


def _refuse_empty(used: Mapping[MaskFile, Mapping[str, tuple[str, ...]]], rule: LabelRule) -> None:
    """Refuse a case without a lesion, unless nothing was drawn and that was said to mean so."""
    paths = ", ".join(str(mask.path) for mask in used)
    if any(_is_marked(mask, [*chain.from_iterable(chosen.values())]) for mask, chosen in used.items()):
        raise CaseError(
            f"{paths}: no voxel centre of the PET lies in {', '.join(rule.entries)}; choose other regions, or remove "
            "the file, so that this is a test case"
        )
    if not rule.no_contour_is_healthy:
        chosen = ", ".join(rule.entries) or "any region"
        raise CaseError(
            f"{paths}: no closed contour and no marked pixel in {chosen}, which would make this a healthy case; "
            "export the regions again, remove the file, so that this is a test case, or give --no-contour-is-healthy "
            "when the patient has none"
        )
    logger.info("%s: no contour, taken as a case without a lesion", paths)


def _is_marked(mask: MaskFile, names: Sequence[str]) -> bool:
    """Whether any of these regions has a closed contour or a marked pixel, on the PET's grid or off it."""
    from interactivepet.dataset.dicom.seg import has_marked_pixel

    if not mask.is_drawn(names):
        return False
    return mask.series.modality != "SEG" or has_marked_pixel(mask.path, names)


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
