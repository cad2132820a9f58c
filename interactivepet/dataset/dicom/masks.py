"""RTSTRUCT and SEG files of a DICOM tree: which PET series each belongs to, and the label that a case's files make."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import Geometry
from interactivepet.dataset.dicom.selection import find_regions
from interactivepet.dataset.dicom.tree import FoundSeries
from interactivepet.errors import CaseError

__all__ = [
    "MASK_MODALITIES",
    "MaskFile",
    "UsedRegions",
    "assign_masks",
    "list_entries",
    "name_label",
    "read_label",
    "read_mask_files",
]

logger = logging.getLogger(__name__)

MASK_MODALITIES = ("RTSTRUCT", "SEG")

UsedRegions = dict[str, dict[str, tuple[str, ...]]]
"""File -> name or pattern that was asked for -> names of the regions that it means there."""


@dataclass(frozen=True, slots=True)
class MaskFile:
    """One file with regions.

    Attributes:
        path: the file.
        series: it is part of.
        regions: names of its ROIs or segments.
        referenced: SeriesInstanceUID of the images that it was drawn on; None when the file does not say.
        frame: FrameOfReferenceUID that its regions lie in; None when the file does not say.
    """

    path: Path
    series: FoundSeries
    regions: tuple[str, ...]
    referenced: str | None
    frame: str | None = None

    def find(self, entry: str) -> tuple[str, ...]:
        """Give the regions that a name or pattern means, without regard to case."""
        return tuple(self.regions[index].strip() for index in find_regions(self.regions, entry))


def read_mask_files(series: Iterable[FoundSeries]) -> tuple[MaskFile, ...]:
    """Read the names of the regions of every RTSTRUCT and SEG.

    Raises:
        CaseError: a file is damaged.
    """
    found = [(path, one) for one in series if one.modality in MASK_MODALITIES for path in one.paths]
    if not found:
        return ()
    from interactivepet.dataset.dicom import rtstruct, seg

    masks: list[MaskFile] = []
    for path, one in found:
        if one.modality == "SEG":
            regions, referenced, frame = seg.list_segments(path), seg.find_referenced_series(path), None
        else:
            regions, (referenced, frame) = rtstruct.list_rois(path), rtstruct.find_references(path)
        masks.append(MaskFile(path, one, regions, referenced, frame or one.frame_of_reference))
    return tuple(masks)


def assign_masks(
    masks: Sequence[MaskFile], pets: Sequence[FoundSeries], *, others: Sequence[FoundSeries]
) -> tuple[dict[str, tuple[MaskFile, ...]], dict[Path, str]]:
    """Find the PET series of every mask.

    A mask belongs to the series that it refers to. One that refers to another series, such as the CT, belongs to
    the patient's PET in the same frame of reference, if that has no mask of its own.

    Args:
        masks: of the whole tree.
        pets: the series that become cases.
        others: every other series of the tree.

    Returns:
        SeriesInstanceUID of the PET -> its masks; and files that belong to none -> why.
    """
    frames = {series.uid: series.frame_of_reference for series in others}
    assigned: dict[str, list[MaskFile]] = defaultdict(list)
    uids = {pet.uid for pet in pets}
    for mask in masks:
        if mask.referenced in uids:
            assigned[str(mask.referenced)].append(mask)
    with_own = set(assigned)
    passed_over: dict[Path, str] = {}
    for mask in masks:
        if mask.referenced in uids:
            continue
        frame = frames.get(mask.referenced or "") or mask.frame
        near = _find_near(mask.series, [pet for pet in pets if frame and pet.frame_of_reference == frame])
        for pet in near:
            if pet.uid not in with_own:
                assigned[pet.uid].append(mask)
        if not near:
            passed_over[mask.path] = f"{mask.series.modality} of series {mask.referenced}, which is no PET found here"
        elif all(pet.uid in with_own for pet in near):
            passed_over[mask.path] = f"{mask.series.modality} of another series; the PET has masks drawn on itself"
    return {uid: tuple(found) for uid, found in assigned.items()}, passed_over


def _find_near(mask: FoundSeries, in_frame: Sequence[FoundSeries]) -> list[FoundSeries]:
    """Find the PET of a mask's patient; without any PatientID, of its study, or of the only patient in the frame."""
    near = [pet for pet in in_frame if pet.shares_patient(mask)]
    is_only_one = len({pet.patient_key for pet in in_frame}) == 1
    return near or [pet for pet in in_frame if is_only_one and pet.patient == mask.patient]


def list_entries(masks: Iterable[MaskFile], rois: Sequence[str]) -> tuple[str, ...]:
    """List what each label value means, over all cases: what was asked for, or else every region by name."""
    if rois:
        return tuple(rois)
    names = {region.strip().casefold(): region.strip() for mask in masks for region in mask.regions}
    return tuple(names[key] for key in sorted(names))


def name_label(entry: str) -> str:
    """Make a label's name of a region's name or pattern."""
    return re.sub(r"[^\w-]+", "_", entry).strip("_") or "lesion"


def read_label(
    masks: Sequence[MaskFile], entries: Sequence[str], *, union: bool, geometry: Geometry
) -> tuple[npt.NDArray[np.uint8], UsedRegions]:
    """Make a case's label of its files.

    Args:
        masks: of the case, at least one.
        entries: names or patterns of regions; the first becomes 1, the second 2 ...
        union: all of them become 1.
        geometry: the grid of the PET.

    Returns:
        Label (I, J, K); and the regions used. Where regions overlap, a voxel belongs to the smaller one, so
        that a tumour stays visible in the oedema or organ around it.

    Raises:
        CaseError: no file has any of the regions, two files have the same one, or one disappears in others.
    """
    used = {mask: {entry: names for entry in entries if (names := mask.find(entry))} for mask in masks}
    if not any(used.values()):
        there = ", ".join(region for mask in masks for region in mask.regions) or "none"
        raise CaseError(f"no region is named {' or '.join(entries)}, found {there}; choose of these")
    _refuse_twins(used)
    label = np.zeros(geometry.shape, dtype=np.uint8)
    regions: dict[int, npt.NDArray[np.bool_]] = {}
    for value, entry in enumerate(entries, start=1):
        parts = [_read(mask, (entry,), geometry=geometry) for mask, chosen in used.items() if entry in chosen]
        if parts:
            regions[value] = np.logical_or.reduce(parts)
    if union:
        label[np.logical_or.reduce(list(regions.values()))] = 1
    else:
        for value in sorted(regions, key=lambda value: (int(regions[value].sum()), value)):
            _add_region(label, regions[value], value=value, entries=entries)
    return label, {str(mask.path): chosen for mask, chosen in used.items() if chosen}


def _add_region(
    label: npt.NDArray[np.uint8], region: npt.NDArray[np.bool_], *, value: int, entries: Sequence[str]
) -> None:
    """Write a region where `label` is free, and say what was not."""
    is_free = label == 0
    n_all, n_free = int(region.sum()), int((region & is_free).sum())
    if n_free < n_all:
        others = ", ".join(entries[other - 1] for other in np.unique(label[region & ~is_free]))
        if n_free == 0:
            raise CaseError(
                f"every voxel of region {entries[value - 1]} is in {others} too; choose some of them by name, or "
                "join them to one label"
            )
        logger.warning(
            "%d of %d voxels of region %s are in %s too, and belong to that",
            n_all - n_free,
            n_all,
            entries[value - 1],
            others,
        )
    label[region & is_free] = value


def _read(mask: MaskFile, entries: Sequence[str], *, geometry: Geometry) -> npt.NDArray[np.bool_]:
    """Read regions of one file as one, (I, J, K)."""
    from interactivepet.dataset.dicom import rtstruct, seg

    if mask.series.modality == "SEG":
        return seg.read_seg(mask.path, geometry=geometry, segments=entries, union=True) > 0
    return rtstruct.read_rtstruct(mask.path, geometry=geometry, rois=entries, union=True) > 0


def _refuse_twins(used: Mapping[MaskFile, Mapping[str, tuple[str, ...]]]) -> None:
    """Two files with the same region are two versions of it, and it is open which one holds."""
    files: dict[str, list[str]] = defaultdict(list)
    for mask, chosen in used.items():
        for region in sorted({name.casefold() for names in chosen.values() for name in names}):
            files[region].append(str(mask.path))
    for region, paths in files.items():
        if len(paths) > 1:
            raise CaseError(
                f"region {region} is in {' and in '.join(paths)}, expected one of them; remove the outdated"
            )
