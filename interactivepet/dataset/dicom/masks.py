"""RTSTRUCT and SEG files of a DICOM tree: the regions in them, and which PET series each belongs to."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from interactivepet.dataset.dicom.selection import MaskSummary, find_regions
from interactivepet.dataset.dicom.tree import FoundSeries
from interactivepet.errors import CaseError

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
        summary: names of its regions, and what they refer to.
        slices: files of the images that it was drawn on, as far as they were found.
        frame: FrameOfReferenceUID of the PET that it was assigned to, where the file refers to that one.
    """

    path: Path
    series: FoundSeries
    summary: MaskSummary
    slices: tuple[Path, ...] = ()
    frame: str | None = None

    @property
    def regions(self) -> tuple[str, ...]:
        """Names of its ROIs or segments."""
        return self.summary.regions

    @property
    def drawn(self) -> tuple[str, ...]:
        """Names of those that have a closed contour or a frame."""
        return self.summary.drawn

    def find(self, entry: str) -> tuple[str, ...]:
        """Give the regions that a name or pattern means, without regard to case."""
        return tuple(self.regions[index].strip() for index in find_regions(self.regions, entry))

    def is_drawn(self, names: Iterable[str]) -> bool:
        """Whether any of these regions has a closed contour or a frame."""
        drawn = {name.strip() for name in self.drawn}
        return any(name in drawn for name in names)


def read_mask_files(
    series: Sequence[FoundSeries], *, damaged: dict[FoundSeries, str] | None = None
) -> tuple[MaskFile, ...]:
    """Read the names of the regions of every RTSTRUCT and SEG among all series of a tree.

    Args:
        series: of the tree.
        damaged: takes the series of files that cannot be read, with the reason; without it the first one is an error.

    Raises:
        CaseError: a file is damaged.
    """
    by_uid = {one.uid: one for one in series}
    read: list[MaskFile] = []
    for one in series:
        for path in one.paths if one.modality in MASK_MODALITIES else ():
            try:
                read.append(_read_mask_file(path, one, by_uid=by_uid))
            except CaseError as error:
                if damaged is None:
                    raise
                damaged[one] = str(error)
    return tuple(read)


def _read_mask_file(path: Path, series: FoundSeries, *, by_uid: Mapping[str, FoundSeries]) -> MaskFile:
    from interactivepet.dataset.dicom.rtstruct import summarise_rtstruct
    from interactivepet.dataset.dicom.seg import summarise_seg

    is_seg = series.modality == "SEG"
    summary = summarise_seg(path) if is_seg else summarise_rtstruct(path)
    if empty := sorted({name.strip() for name in summary.regions} - {name.strip() for name in summary.drawn}):
        kind = "segments without a frame" if is_seg else "ROIs without a closed contour"
        logger.warning("%s: %s are left out: %s", path, kind, ", ".join(empty))
    slices = next((by_uid[uid].paths for uid in summary.references if uid in by_uid), ())
    return MaskFile(path, series, summary, slices)


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
    spaces = {series.uid: series.frame_of_reference for series in others}
    assigned: dict[str, list[MaskFile]] = defaultdict(list)
    by_uid = {pet.uid: pet for pet in pets}
    own = {mask: by_uid[uid] for mask in masks for uid in reversed(mask.summary.references) if uid in by_uid}
    for mask, pet in own.items():
        assigned[pet.uid].append(_bind(mask, pet))
    with_own = set(assigned)
    passed_over: dict[Path, str] = {}
    for mask in (mask for mask in masks if mask not in own):
        named = [spaces[uid] for uid in mask.summary.references if spaces.get(uid)]
        frames = ({*named, *mask.summary.frames} or {mask.series.frame_of_reference}) - {""}
        near = _find_near(mask.series, [pet for pet in pets if pet.frame_of_reference in frames])
        for pet in near:
            if pet.uid not in with_own:
                assigned[pet.uid].append(_bind(mask, pet))
        if not near:
            missing = ", ".join(mask.summary.references) or "that it does not name"
            passed_over[mask.path] = f"{mask.series.modality} of series {missing}, which is no PET found here"
        elif all(pet.uid in with_own for pet in near):
            passed_over[mask.path] = f"{mask.series.modality} of another series; the PET has masks drawn on itself"
    return {uid: tuple(found) for uid, found in assigned.items()}, passed_over


def _bind(mask: MaskFile, pet: FoundSeries) -> MaskFile:
    """Note the PET's frame of reference where the mask refers to it, and log where it refers to others only."""
    if pet.frame_of_reference in mask.summary.frames:
        return replace(mask, frame=pet.frame_of_reference)
    if pet.frame_of_reference and mask.summary.frames:
        logger.warning(
            "%s: its regions lie in another frame of reference than the PET series %s; check their place",
            *(mask.path, pet.uid),
        )
    return mask


def _find_near(mask: FoundSeries, in_frame: Sequence[FoundSeries]) -> list[FoundSeries]:
    """Find the PET of a mask's patient; without any PatientID, of its study, or of the only patient in the frame."""
    near = [pet for pet in in_frame if pet.shares_patient(mask)]
    is_only_one = len({pet.patient_key for pet in in_frame}) == 1
    return near or [pet for pet in in_frame if is_only_one and pet.patient == mask.patient]


def list_entries(masks: Iterable[MaskFile], rois: Sequence[str]) -> tuple[str, ...]:
    """List what each label value means, over all cases: what was asked for, or else every drawn region by name."""
    if rois:
        return tuple(rois)
    names = {region.strip().casefold(): region.strip() for mask in masks for region in mask.drawn}
    return tuple(names[key] for key in sorted(names))


def name_label(entry: str) -> str:
    """Make a label's name of a region's name or pattern."""
    return re.sub(r"[^\w-]+", "_", entry).strip("_") or "lesion"
