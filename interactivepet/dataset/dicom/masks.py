"""RTSTRUCT and SEG files of a DICOM tree: the regions in them, and which PET series each belongs to."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from interactivepet.dataset.dicom.selection import find_regions
from interactivepet.dataset.dicom.tree import FoundSeries

__all__ = [
    "MASK_MODALITIES",
    "MaskFile",
    "assign_masks",
    "list_entries",
    "name_label",
    "read_mask_files",
]

logger = logging.getLogger(__name__)

MASK_MODALITIES = ("RTSTRUCT", "SEG")


@dataclass(frozen=True, slots=True)
class MaskFile:
    """One file with regions.

    Attributes:
        path: the file.
        series: it is part of.
        regions: names of its ROIs or segments.
        drawn: names of those that have a closed contour or a frame.
        references: SeriesInstanceUID of the images that it was drawn on; empty when the file does not say.
        frame: FrameOfReferenceUID that its regions lie in; None when the file does not say.
        slices: files of the images that it was drawn on, as far as they were found.
    """

    path: Path
    series: FoundSeries
    regions: tuple[str, ...]
    drawn: tuple[str, ...]
    references: tuple[str, ...]
    frame: str | None = None
    slices: tuple[Path, ...] = ()

    def find(self, entry: str) -> tuple[str, ...]:
        """Give the regions that a name or pattern means, without regard to case."""
        return tuple(self.regions[index].strip() for index in find_regions(self.regions, entry))

    def is_drawn(self, names: Iterable[str]) -> bool:
        """Whether any of these regions has a closed contour or a frame."""
        drawn = {name.strip() for name in self.drawn}
        return any(name in drawn for name in names)


def read_mask_files(series: Iterable[FoundSeries]) -> tuple[MaskFile, ...]:
    """Read the names of the regions of every RTSTRUCT and SEG among all series of a tree.

    Raises:
        CaseError: a file is damaged.
    """
    by_uid = {one.uid: one for one in series}
    return tuple(
        _read_mask_file(path, one, by_uid=by_uid)
        for one in series
        if one.modality in MASK_MODALITIES
        for path in one.paths
    )


def _read_mask_file(path: Path, series: FoundSeries, *, by_uid: Mapping[str, FoundSeries]) -> MaskFile:
    from interactivepet.dataset.dicom import rtstruct, seg

    if series.modality == "SEG":
        regions, drawn, frame = seg.list_segments(path), seg.list_framed_segments(path), None
        references = seg.list_references(path)
    else:
        regions, drawn, (_, frame) = (
            rtstruct.list_rois(path),
            rtstruct.list_drawn_rois(path),
            rtstruct.find_references(path),
        )
        references = rtstruct.list_references(path)
    if empty := sorted({name.strip() for name in regions} - {name.strip() for name in drawn}):
        kind = "segments without a frame" if series.modality == "SEG" else "ROIs without a closed contour"
        logger.warning("%s: %s are left out: %s", path, kind, ", ".join(empty))
    slices = next((by_uid[uid].paths for uid in references if uid in by_uid), ())
    return MaskFile(path, series, regions, drawn, references, frame or series.frame_of_reference, slices)


def assign_masks(
    masks: Sequence[MaskFile], pets: Sequence[FoundSeries], *, others: Sequence[FoundSeries]
) -> tuple[dict[str, tuple[MaskFile, ...]], dict[Path, str]]:
    """Find the PET series of every mask.

    A mask belongs to the first PET series that it refers to. One that refers to other series only, such as the CT,
    belongs to the patient's PET in the same frame of reference, if that has no mask of its own.

    Args:
        masks: of the whole tree.
        pets: the series that become cases.
        others: every other series of the tree.

    Returns:
        SeriesInstanceUID of the PET -> its masks; and files that belong to none -> why.
    """
    frames = {series.uid: series.frame_of_reference for series in others}
    assigned: dict[str, list[MaskFile]] = defaultdict(list)
    by_uid = {pet.uid: pet for pet in pets}
    own = {mask: uid for mask in masks if (uid := next((uid for uid in mask.references if uid in by_uid), None))}
    for mask, uid in own.items():
        assigned[uid].append(mask)
        if mask.frame and by_uid[uid].frame_of_reference not in ("", mask.frame):
            logger.warning(
                "%s: it refers to the PET series %s, but lies in another frame of reference; check the regions' place",
                *(mask.path, uid),
            )
    with_own = set(assigned)
    passed_over: dict[Path, str] = {}
    for mask in (mask for mask in masks if mask not in own):
        frame = next((frames[uid] for uid in mask.references if frames.get(uid)), None) or mask.frame
        near = [pet for pet in pets if frame and pet.frame_of_reference == frame and pet.patient == mask.series.patient]
        for pet in near:
            if pet.uid not in with_own:
                assigned[pet.uid].append(mask)
        if not near:
            named = ", ".join(mask.references) or "that it does not name"
            passed_over[mask.path] = f"{mask.series.modality} of series {named}, which is no PET found here"
        elif all(pet.uid in with_own for pet in near):
            passed_over[mask.path] = f"{mask.series.modality} of another series; the PET has masks drawn on itself"
    return {uid: tuple(found) for uid, found in assigned.items()}, passed_over


def list_entries(masks: Iterable[MaskFile], rois: Sequence[str]) -> tuple[str, ...]:
    """List what each label value means, over all cases: what was asked for, or else every drawn region by name."""
    if rois:
        return tuple(rois)
    names = {region.strip().casefold(): region.strip() for mask in masks for region in mask.drawn}
    return tuple(names[key] for key in sorted(names))


def name_label(entry: str) -> str:
    """Make a label's name of a region's name or pattern."""
    return re.sub(r"[^\w-]+", "_", entry).strip("_") or "lesion"
