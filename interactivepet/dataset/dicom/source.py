"""A tree of DICOM files -> cases in SUV with masks: which series are cases, and what belongs to each."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from interactivepet.core.imported import ImportSource
from interactivepet.core.suv import SuvVariant
from interactivepet.core.time_frame import TimeFrame
from interactivepet.dataset.dicom.case import DicomJob
from interactivepet.dataset.dicom.flaws import find_flaws, list_unclaimed
from interactivepet.dataset.dicom.labels import LabelRule
from interactivepet.dataset.dicom.masks import (
    MASK_MODALITIES,
    assign_masks,
    list_entries,
    name_label,
    read_mask_files,
)
from interactivepet.dataset.dicom.reconstructions import choose_series
from interactivepet.dataset.dicom.tree import FoundSeries, Tree, find_series, scan_tree, summarise_passed_over
from interactivepet.dataset.files.read import LARGEST_LABEL
from interactivepet.errors import CaseError, ManifestError

__all__ = ["DicomOptions", "find_dicom_source"]

PET_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.128",
    "1.2.840.10008.5.1.4.1.1.128.1",
    "1.2.840.10008.5.1.4.1.1.130",
)
"""PET Image Storage, Legacy Converted Enhanced and Enhanced; screenshots have modality PT too."""
CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"


@dataclass(frozen=True, slots=True)
class DicomOptions:
    """How DICOM becomes cases.

    Attributes:
        variant: SUV by body weight, lean body mass (Janmahasatian 2005), body surface (Du Bois 1916) or ideal weight.
        rois: names, or patterns such as `GTV*`, of ROIs or segments, without regard to case; each is a label, in
            this order, and the first stays where they overlap. Empty: every region that is drawn in any case is a
            label, in alphabetical order, and the smaller one stays where they overlap.
        union: every region that was chosen is part of one label.
        with_ct: the CT in the PET's frame of reference becomes a second channel on the PET grid.
        labels: names of the labels, in place of those of the regions.
        read_masks: without, masks are passed over.
        no_contour_is_healthy: a case whose masks have no contour and no marked pixel is one without a lesion; else it
            is refused.
        series: pattern of SeriesDescription, or a SeriesInstanceUID, of the PET series to take; None takes one of each
            study (`choose_series`).
        time_frame: what stands for a dynamic or gated series.
        long_uptake: accept an injection up to a day before the scan, or an hour after its start.
        skip_bad: leave out the cases that files which cannot be read may belong to; else these files are an error.
    """

    variant: SuvVariant = "bw"
    rois: tuple[str, ...] = ()
    union: bool = False
    with_ct: bool = False
    labels: tuple[str, ...] = ()
    read_masks: bool = True
    no_contour_is_healthy: bool = False
    series: str | None = None
    time_frame: TimeFrame | None = None
    long_uptake: bool = False
    skip_bad: bool = False


def find_dicom_source(folder: Path, *, options: DicomOptions, tree: Tree | None = None) -> ImportSource:
    """Find the PET series of a tree of mixed files, with their masks and CT; no pixel is read.

    A series with masks is a training case, one without a test case.

    Args:
        folder: anything, such as a PACS export; neither names nor places of files matter.
        options: what to make of it.
        tree: of the folder, where it was scanned before; it is used with `options.skip_bad` only.

    Raises:
        CaseError: files cannot be read, or there is no PET series.
        ManifestError: names of labels do not fit their number.
    """
    unreadable: dict[Path, str] = {}
    damaged: dict[FoundSeries, str] | None = None
    if options.skip_bad:
        tree = tree or scan_tree(folder)
        series, files_over, unreadable, damaged = tree.series, tree.passed_over, tree.unreadable, {}
    else:
        series, files_over = find_series(folder)
    possible, doubtful = _choose_pets(series)
    found_masks = read_mask_files(series, damaged=damaged) if options.read_masks else ()
    drawn_on = {uid for mask in found_masks for uid in mask.summary.references}
    pets, other_pets = choose_series(possible, options.series, drawn_on=drawn_on)
    doubtful |= other_pets
    masks, masks_over = assign_masks(found_masks, pets, others=[one for one in series if one not in pets])
    cts = {pet: ct for pet in pets if options.with_ct and (ct := _find_ct(pet, series))}
    for one in series:
        if one not in pets and one not in cts.values() and one.modality not in MASK_MODALITIES:
            files_over |= dict.fromkeys(one.paths, doubtful.get(one, f"series of {one.modality} {one.description}"))
    passed_over = summarise_passed_over(files_over | masks_over, root=folder)
    if not pets:
        reasons = "".join(f"\n  {name}: {reason}" for name, reason in list(passed_over.items())[:10])
        raise CaseError(f"{folder}: no PET series to import, expected attenuation-corrected PET; passed over:{reasons}")
    flaws = find_flaws(pets, unreadable=unreadable, damaged=damaged or {})
    masks = {uid: found for uid, found in masks.items() if uid not in flaws}
    entries = list_entries((mask for found in masks.values() for mask in found), options.rois)
    rule = LabelRule(
        entries,
        union=options.union,
        is_ordered=bool(options.rois),
        no_contour_is_healthy=options.no_contour_is_healthy,
    )
    jobs = [
        DicomJob(
            id=case_id,
            patient=patient,
            pet=pet,
            variant=options.variant,
            masks=masks.get(pet.uid, ()),
            rule=rule,
            with_ct=options.with_ct,
            ct=cts.get(pet),
            time_frame=options.time_frame,
            long_uptake=options.long_uptake,
        )
        for pet, patient, case_id in _name_cases(pets)
    ]
    flawed = {job.id: flaws[job.pet.uid] for job in jobs if job.pet.uid in flaws}
    jobs = [job for job in jobs if job.id not in flawed]
    return ImportSource(
        channels=("PET", "CT") if options.with_ct else ("PET",),
        labels=_name_labels(entries, options),
        training=tuple(job for job in jobs if job.masks),
        test=tuple(job for job in jobs if not job.masks),
        passed_over=passed_over,
        left_out=flawed | list_unclaimed(pets, unreadable=unreadable, root=folder),
    )


def _choose_pets(series: Sequence[FoundSeries]) -> tuple[tuple[FoundSeries, ...], dict[FoundSeries, str]]:
    """Choose what SUV has a meaning for; and say why the other series of modality PT are none."""
    pets: list[FoundSeries] = []
    doubtful: dict[FoundSeries, str] = {}
    for one in series:
        if one.modality == "PT":
            reason = _find_doubt(one)
            if reason:
                doubtful[one] = reason
            else:
                pets.append(one)
    return tuple(pets), doubtful


def _find_doubt(pet: FoundSeries) -> str | None:
    """Say why a series of modality PT is no image in activity, None when it may be one."""
    from interactivepet.dataset.dicom.slices import read_slices

    if pet.sop_class not in PET_CLASSES:
        return "modality PT, but no PET image (a screenshot or a report)"
    try:
        header = read_slices(pet.paths[:1])[0].header
    except CaseError:
        # It is refused by name when it is loaded: it may be the only scan of its patient.
        return None
    if "REPROJECTION" in str(header.get("SeriesType") or ""):
        return f"PET {pet.description}: projections, no slices"
    corrections = header.get("CorrectedImage")
    if corrections and "ATTN" not in corrections:
        return f"PET {pet.description}: not corrected for attenuation (no ATTN in CorrectedImage), so no SUV"
    return None


def _find_ct(pet: FoundSeries, series: Sequence[FoundSeries]) -> FoundSeries | None:
    """Choose the CT in the PET's frame of reference; of several the one with most slices, which covers most."""
    near = [
        one
        for one in series
        if one.sop_class == CT_CLASS
        and one.shares_patient(pet)
        and pet.frame_of_reference
        and one.frame_of_reference == pet.frame_of_reference
    ]
    return max(near, key=lambda one: (one.study == pet.study, len(one.paths), one.uid), default=None)


def _name_cases(pets: Sequence[FoundSeries]) -> list[tuple[FoundSeries, str, str]]:
    """Give each series its patient and its case: `PATIENT`, or `PATIENT_1`, `PATIENT_2` ... by time.

    Both are made of PatientID with letters, digits, `_` and `-`; without one, of the UID of the study, which then
    counts as a patient of its own. Two that would become the same, also on a disk that ignores case, get a number.
    """
    by_patient: dict[tuple[str, tuple[str, str]], list[FoundSeries]] = defaultdict(list)
    for pet in pets:
        kind, value = pet.patient_key
        by_patient[value if kind == "patient" else f"{kind}-{value[-12:]}", pet.patient_key].append(pet)
    taken: set[str] = set()
    named: list[tuple[FoundSeries, str, str]] = []
    for (raw, _), found in sorted(by_patient.items()):
        patient = _unique(re.sub(r"[^A-Za-z0-9_-]+", "_", raw).strip("_") or "patient", taken)
        for number, pet in enumerate(found, start=1):
            case = patient if len(found) == 1 else _unique(f"{patient}_{number}", taken)
            named.append((pet, patient, case))
    return named


def _unique(name: str, taken: set[str]) -> str:
    """Give `name`, or `name-2`, `name-3` ... when it is taken, and take it."""
    number, candidate = 1, name
    while candidate.lower() in taken:
        number += 1
        candidate = f"{name}-{number}"
    taken.add(candidate.lower())
    return candidate


def _name_labels(entries: Sequence[str], options: DicomOptions) -> tuple[str, ...]:
    """Name the labels' values 1 ... L."""
    taken: set[str] = set()
    found = ("lesion",) if options.union or not entries else tuple(_unique(name_label(e), taken) for e in entries)
    if len(found) > LARGEST_LABEL:
        raise ManifestError(
            f"{len(found)} regions of different names, expected at most {LARGEST_LABEL} labels; choose some by name, "
            "or join them to one label"
        )
    if options.labels and len(options.labels) != len(found):
        raise ManifestError(
            f"{len(options.labels)} names of labels for {len(found)} labels ({', '.join(found[:10])}); give one each"
        )
    return options.labels or found
