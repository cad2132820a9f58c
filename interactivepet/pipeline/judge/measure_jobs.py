"""Which cases are measured: images with their masks, from files, from a task or from a tree of DICOM files."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from interactivepet.core.dataset import CaseEntry
from interactivepet.core.suv import SuvVariant
from interactivepet.core.uptake import UNIT_OF_VARIANT, UptakeUnit
from interactivepet.dataset.dicom.case import DicomJob
from interactivepet.dataset.dicom.images import DicomReading
from interactivepet.dataset.dicom.reconstructions import ALL_SERIES
from interactivepet.dataset.dicom.source import DicomOptions, find_dicom_source
from interactivepet.dataset.layout import find_masks, list_files, split_channel, split_ending
from interactivepet.dataset.manifest import read_manifest
from interactivepet.errors import CaseError, ManifestError
from interactivepet.pipeline.workspace import Workspace

__all__ = ["FoundCases", "MeasureJob", "find_cases", "find_task_cases"]

logger = logging.getLogger(__name__)

_SHOWN = 5
"""Names that a message gives as examples."""
MASK_SUFFIXES = ("_mask", "_seg", "_label")
"""What the name of a mask may have behind that of its case."""


@dataclass(frozen=True, slots=True)
class MeasureJob:
    """One case to measure; small enough to be sent to a worker.

    Attributes:
        case: its name.
        images: files of the image, of which the first channel is measured; empty for a series.
        series: PET series, in place of files.
        mask: file of the mask; None for the regions that are drawn on the series.
        labels: name -> value; None takes the values that the mask holds.
        channel: name of the first channel.
        n_channels: of one image file.
    """

    case: str
    images: tuple[Path, ...] = ()
    series: DicomJob | None = None
    mask: Path | None = None
    labels: Mapping[str, int] | None = None
    channel: str = "PET"
    n_channels: int = 1

    def list_files(self) -> tuple[Path, ...]:
        """List the files that the measures are made from."""
        drawn = () if self.series is None else tuple(mask.path for mask in self.series.masks)
        scan = self.images if self.series is None else self.series.pet.paths
        return (*scan, *((self.mask,) if self.mask is not None else drawn))


@dataclass(frozen=True, slots=True)
class FoundCases:
    """What can be measured, and what cannot.

    Attributes:
        jobs: the cases.
        unusable: case or file -> why it cannot be measured.
    """

    jobs: tuple[MeasureJob, ...]
    unusable: Mapping[str, str] = field(default_factory=dict)


def find_cases(
    images: Path,
    masks: Path | None,
    *,
    labels: Sequence[str] = (),
    unit: UptakeUnit | None = None,
    reading: DicomReading | None = None,
) -> FoundCases:
    """Find images and their masks.

    Args:
        images: an image, a folder of images (`CASE.nii.gz`, or `CASE_0000.nii.gz` of several channels), or a tree of
            DICOM files.
        masks: a mask, or a folder of masks named after the cases; None takes the RTSTRUCT and SEG files of the tree.
        labels: names of the values 1, 2 ...; without any the values are their own names, and regions of DICOM files
            keep theirs.
        unit: that was asked for; DICOM is converted to it.
        reading: which DICOM series are taken, and how; by default all.

    Raises:
        CaseError: a path is not there, no image has a mask, or masks are missing.
        ManifestError: options for DICOM go with image files.
    """
    if not images.exists():
        raise CaseError(f"{images}: there is no such file or folder; name an image, or a folder of images")
    if masks is not None and not masks.exists():
        raise CaseError(f"{masks}: there is no such file or folder; name a mask, or the folder of the masks")
    named = {name: value for value, name in enumerate(labels, start=1)} or None
    if images.is_dir() and not list_files(images, "."):
        return _find_series(images, masks, labels=named, unit=unit, reading=reading or DicomReading())
    if reading not in (None, DicomReading()):
        raise ManifestError(f"{images} holds no DICOM, so --series, --time-frame and --long-uptake have no effect")
    if masks is None:
        raise CaseError(f"{images}: image files have no masks of their own; name the masks with -p")
    scans = _list_images(images)
    if images.is_file() and masks.is_file():
        found = dict.fromkeys(scans, masks)
    else:
        found = _list_masks(masks, scans, images=images)
    scans = {case: path for case, path in scans.items() if path not in found.values()}
    jobs = [MeasureJob(case, (scans[case],), mask=mask, labels=named) for case, mask in found.items() if case in scans]
    return _join(jobs, images=images, masks=masks, scans=tuple(scans), found=tuple(found))


def find_task_cases(workspace: Workspace, masks: Path | None) -> FoundCases:
    """Find a task's images, with masks of a folder or, for None, the task's own labels.

    Raises:
        CaseError: no image has a mask.
    """
    manifest = read_manifest(workspace.raw)
    entries = {entry.id: entry for entry in (*manifest.training, *manifest.test)}
    if masks is None:
        found = {name: workspace.raw / entry.label for name, entry in entries.items() if entry.label is not None}
    else:
        found = _list_masks(masks, entries, images=workspace.raw)

    def make(case: str, entry: CaseEntry) -> MeasureJob:
        files = workspace.image_files(entry)
        n_channels = len(manifest.channels) if len(files) == 1 else 1
        return MeasureJob(
            case,
            tuple(files[:1]),
            mask=found[case],
            labels=manifest.labels,
            channel=manifest.channels[0],
            n_channels=n_channels,
        )

    jobs = [make(case, entry) for case, entry in entries.items() if case in found]
    return _join(jobs, images=workspace.raw, masks=masks or workspace.raw, scans=tuple(entries), found=tuple(found))


def _list_images(images: Path) -> dict[str, Path]:
    """Give case -> file of its first channel; a file that was named is the first channel, whatever its number."""
    if images.is_file():
        return {_name_of(images): images}
    files = {file.stem: images / file.path for file in list_files(images, ".")}
    cases: dict[str, Path] = {}
    for stem, path in files.items():
        numbered = split_channel(stem)
        if numbered is None or f"{numbered[0]}_0000" not in files:
            cases[stem] = path
        elif numbered[1] == 0:
            cases[numbered[0]] = path
    return cases


def _list_masks(masks: Path, cases: Collection[str], *, images: Path) -> dict[str, Path]:
    """Give case -> mask: `CASE`, or `CASE` with one of `MASK_SUFFIXES`, as masks that lie beside images must have."""
    files = find_masks(masks) if masks.is_dir() else {_name_of(masks): masks}
    is_beside = masks.resolve() == images.resolve()
    found: dict[str, Path] = {}
    for name, path in files.items():
        bare = next((name.removesuffix(end) for end in MASK_SUFFIXES if name.removesuffix(end) in cases), name)
        case = name if name in cases and not is_beside else bare
        if is_beside and case == name:
            continue
        if case in found:
            raise CaseError(f"{masks}: {found[case].name} and {path.name} are both masks of {case}; keep one")
        found[case] = path
    return found


def _name_of(path: Path) -> str:
    """Name a case after a file."""
    stem = split_ending(path.name)[0] or path.stem
    numbered = split_channel(stem)
    return numbered[0] if numbered is not None else stem


def _join(
    jobs: Sequence[MeasureJob], *, images: Path, masks: Path, scans: Sequence[str], found: Sequence[str]
) -> FoundCases:
    """Name masks without an image, which cannot be measured, and images without a mask, which need not be."""
    if not jobs:
        raise CaseError(
            f"none of the {len(found)} masks of {masks} ({_show(found)}) has an image of its name in {images} "
            f"({_show(scans)}); name masks and images alike"
        )
    if unmasked := [case for case in scans if case not in found]:
        logger.warning("not measured, as they have no mask in %s: %s", masks, _show(unmasked))
    reason = f"a mask in {masks} without an image of its name in {images}; name masks and images alike"
    return FoundCases(tuple(jobs), {case: reason for case in found if case not in scans})


def _find_series(
    folder: Path,
    masks: Path | None,
    *,
    labels: Mapping[str, int] | None,
    unit: UptakeUnit | None,
    reading: DicomReading,
) -> FoundCases:
    """Find the PET series of a tree, with the masks drawn on them or those of a folder."""
    variants: dict[UptakeUnit, SuvVariant] = {unit: variant for variant, unit in UNIT_OF_VARIANT.items()}
    options = DicomOptions(
        variant=variants.get(unit or "suv", "bw"),
        read_masks=masks is None,
        series=reading.series or ALL_SERIES,
        time_frame=reading.time_frame,
        long_uptake=reading.long_uptake,
        skip_bad=True,
        labels=tuple(labels or ()),
    )
    source = find_dicom_source(folder, options=options)
    series = [job for job in (*source.training, *source.test) if isinstance(job, DicomJob)]
    if masks is None:
        joined = _take_drawn(series, source.labels, folder=folder)
    else:
        joined = _take_masks(series, masks, folder=folder, labels=labels)
    return FoundCases(joined.jobs, {**source.left_out, **joined.unusable})


def _take_drawn(series: Sequence[DicomJob], labels: Sequence[str], *, folder: Path) -> FoundCases:
    """Take the series on which regions are drawn."""
    names = [job.id for job in series]
    named = {name: value for value, name in enumerate(labels, start=1)}
    jobs = [MeasureJob(job.id, series=job, labels=named) for job in series if job.masks]
    if not jobs:
        raise CaseError(
            f"{folder}: none of its PET series ({_show(names)}) has an RTSTRUCT or SEG; add one, or name masks with -p"
        )
    return _join(jobs, images=folder, masks=folder, scans=names, found=[job.case for job in jobs])


def _take_masks(
    series: Sequence[DicomJob], masks: Path, *, folder: Path, labels: Mapping[str, int] | None
) -> FoundCases:
    """Match files of masks with series; one mask and one series belong together, whatever their names."""
    names = [job.id for job in series]
    is_only = masks.is_file() and len(series) == 1
    files = {names[0]: masks} if is_only else _list_masks(masks, names, images=folder)
    jobs = [MeasureJob(job.id, series=job, mask=files[job.id], labels=labels) for job in series if job.id in files]
    return _join(jobs, images=folder, masks=masks, scans=names, found=tuple(files))


def _show(names: Iterable[str]) -> str:
    """Show some names."""
    found = list(names)
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return (", ".join(found[:_SHOWN]) or "none") + more
