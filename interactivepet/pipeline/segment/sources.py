"""Which images a user means: PET series and volumes in files, folders of any depth, and zip files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from interactivepet.core.suv import SuvVariant
from interactivepet.dataset.dicom.case import DicomJob
from interactivepet.dataset.dicom.flaws import find_flaws
from interactivepet.dataset.dicom.images import DicomReading, find_dicom_images
from interactivepet.dataset.dicom.tree import FoundSeries, Tree, scan_tree
from interactivepet.dataset.layout import SEGMENTATION_ENDING, find_detached, split_channel, split_ending
from interactivepet.errors import CaseError
from interactivepet.model.description import ImageInputs
from interactivepet.pipeline.segment.jobs import SegmentJob
from interactivepet.pipeline.segment.zips import extract_zip

__all__ = ["Failure", "FoundImages", "open_sources"]

VOLUME_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
DICOM_ENDINGS = (".dcm", ".ima", ".dicom")
ZIP_ENDING = ".zip"
MASK_SUFFIXES = ("_mask", "_seg", "_label")
MASK_FOLDERS = ("labelsTr", "labelsTs")
"""Files with such names are masks beside their images."""
NOT_IMAGES = ("RTSTRUCT", "SEG", "SR", "PR", "KO", "RTPLAN", "RTDOSE", "REG", "RTRECORD", "DOC", "OT", "FID")
"""Modalities of series that hold no image."""
_FOLDERS = re.compile(r"(?<![\w<])(?:[A-Za-z]:)?/(?:[^\s/:;,]+/)+")
"""The folders of an absolute path without spaces."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no result.

    Attributes:
        place: case, or the file or folder as the user named it.
        reason: in words.
        is_case: whether `place` is a case's name, which may be shown on a page; a path may hold a patient's name.
        folder: that the reason may name, where `place` is a case.
    """

    place: str
    reason: str
    is_case: bool = False
    folder: str = ""

    @property
    def shown_reason(self) -> str:
        """The reason without the folders of paths, which may hold a patient's name."""
        reason = self.reason
        for folder in (Path(self.folder or self.place), *Path(self.folder or self.place).parents):
            if folder.name:
                reason = reason.replace(f"{folder}/", "").replace(str(folder.absolute()) + "/", "")
        return _FOLDERS.sub("", reason)


@dataclass(slots=True)
class FoundImages:
    """What was found.

    Attributes:
        jobs: the images, each of them once.
        failures: series and files that were meant and cannot be used.
    """

    jobs: list[SegmentJob] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    _names: set[str] = field(default_factory=set)
    _seen: set[Path] = field(default_factory=set)

    def add(self, job: SegmentJob) -> None:
        """Take an image under a name of its own, unless it is there already."""
        first = (job.source if job.series is None else job.series.pet.paths[0]).resolve()
        if first in self._seen:
            return
        self._seen.add(first)
        name, number = job.case, 1
        while name.lower() in self._names:
            number += 1
            name = f"{job.case}-{number}"
        self._names.add(name.lower())
        series = None if job.series is None else replace(job.series, id=name)
        self.jobs.append(replace(job, case=name, series=series))


@contextmanager
def open_sources(
    sources: Sequence[Path], inputs: ImageInputs, *, reading: DicomReading, out: Path
) -> Iterator[FoundImages]:
    """Find the images of all sources; zip files are extracted to a temporary folder for as long as the block lasts.

    Args:
        sources: folders, zip files, files of volumes, or DICOM files, each of which stands for its series.
        inputs: what images must be.
        reading: which series and frames are taken, and how.
        out: folder of the results; images below it are passed over.

    Raises:
        CaseError: a source is not there, or there is no image at all.
    """
    for source in sources:
        if not source.exists():
            raise CaseError(f"{source}: there is no such file or folder; name images, folders or zip files")
    found = FoundImages()
    search = _Search(found, inputs, reading, out.resolve())
    with ExitStack() as stack:
        singles: dict[Path, list[Path]] = {}
        for source in sources:
            if source.is_dir():
                search.add_folder(source, shown=source, stack=stack)
            elif _is_volume(source):
                search.add_volume(source)
            elif source.name.lower().endswith(ZIP_ENDING):
                search.add_zip(source, stack=stack)
            else:
                singles.setdefault(source.parent, []).append(source)
        for folder, files in singles.items():
            search.add_series_of(folder, files)
        if not found.jobs and not found.failures:
            raise CaseError(f"{', '.join(map(str, sources))}: no image was found; name PET series or volumes")
        yield found


@dataclass(frozen=True, slots=True)
class _Search:
    """Looks for images in one source after the other."""

    found: FoundImages
    inputs: ImageInputs
    reading: DicomReading
    out: Path

    def add_folder(self, folder: Path, *, shown: Path, stack: ExitStack) -> None:
        """Take everything below a folder, which the user knows as `shown`."""
        try:
            tree = scan_tree(folder)
        except CaseError as error:
            self.found.failures.append(Failure(str(shown), str(error)))
            return
        self._add_tree(tree, folder, shown=shown)
        others = [path for path in tree.passed_over if self.out not in path.resolve().parents]
        volumes = [path for path in others if _is_volume(path) and not _is_mask(path)]
        detached = {part for path in volumes for part in find_detached(path)}
        for path in sorted(set(volumes) - detached):
            self.add_volume(path)
        for path in sorted(path for path in others if path.name.lower().endswith(ZIP_ENDING)):
            self.add_zip(path, stack=stack)

    def add_zip(self, path: Path, *, stack: ExitStack) -> None:
        """Extract a zip file and take everything in it."""
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="interactivepet-zip-")))
        try:
            extract_zip(path, folder)
        except CaseError as error:
            self.found.failures.append(Failure(str(path), str(error)))
            return
        self.add_folder(folder, shown=path, stack=stack)

    def add_volume(self, path: Path) -> None:
        """Take the file of a volume; of several channels the first file stands for all."""
        stem, ending = split_ending(path.name)
        numbered = split_channel(stem)
        if numbered is not None:
            first = path.with_name(f"{numbered[0]}_0000{ending}")
            if self.inputs.is_by_channel and numbered[1] > 0 and first.is_file():
                return
            stem = numbered[0] if numbered[1] == 0 else stem
        name = re.sub(r"[^A-Za-z0-9_-]+", "_", stem).strip("_") or "image"
        self.found.add(SegmentJob(name, path, self.inputs, self.reading))

    def add_series_of(self, folder: Path, files: Sequence[Path]) -> None:
        """Take the series that single DICOM files belong to, with its files beside them."""
        tree = scan_tree(folder)
        wanted = [series for series in tree.series if set(series.paths) & set(files)]
        for path in files:
            if not any(path in series.paths for series in wanted):
                reason = tree.passed_over.get(path) or tree.unreadable.get(path) or "no DICOM file"
                self.found.failures.append(
                    Failure(str(path), f"{reason}; expected a PET series in DICOM, or a NIfTI, NRRD or MHA file")
                )
        self._add_tree(tree, folder, shown=folder, wanted=wanted)

    def _add_tree(self, tree: Tree, folder: Path, *, shown: Path, wanted: Sequence[FoundSeries] | None = None) -> None:
        """Take the PET series of a tree, or those that are wanted."""
        jobs, problem = self._find_jobs(tree, folder)
        if wanted is not None:
            jobs = [job for job in jobs if job.pet in wanted]
        flaws = find_flaws([job.pet for job in jobs], unreadable=tree.unreadable, damaged={})
        for job in jobs:
            if job.pet.uid in flaws:
                self.found.failures.append(
                    Failure(job.id, flaws[job.pet.uid], is_case=True, folder=str(job.pet.paths[0].parent))
                )
            else:
                place = _show(job.pet.paths[0].parent, folder, shown)
                self.found.add(SegmentJob(job.id, Path(place), self.inputs, self.reading, job))
        covered = {(job.pet.patient_key, job.pet.study) for job in jobs}
        for series in tree.series if wanted is None else wanted:
            if series.modality not in NOT_IMAGES and (series.patient_key, series.study) not in covered:
                place = _show(series.paths[0].parent, folder, shown)
                self.found.failures.append(Failure(place, _explain(series, problem)))
        if wanted is None:
            self._add_lost(tree, folder, shown=shown, pets=[job.pet for job in jobs])

    def _find_jobs(self, tree: Tree, folder: Path) -> tuple[list[DicomJob], str]:
        """Give every PET series of a tree, or why there is none; files that cannot be read are for the caller."""
        variant: SuvVariant = self.inputs.suv or "bw"
        readable = replace(tree, unreadable={}, passed_over={})
        if not any(series.modality == "PT" for series in tree.series):
            return [], ""
        try:
            jobs, _ = find_dicom_images(
                folder, channels=self.inputs.channels, variant=variant, reading=self.reading, tree=readable
            )
        except CaseError as error:
            return [], str(error)
        return list(jobs), ""

    def _add_lost(self, tree: Tree, folder: Path, *, shown: Path, pets: Sequence[FoundSeries]) -> None:
        """Name what nothing was made of: files that cannot be read, and folders of files that should be DICOM."""
        owned = {path.parent for series in tree.series for path in series.paths}
        for path, reason in sorted(tree.unreadable.items()):
            if not any(file.is_relative_to(path.parent) for pet in pets for file in pet.paths):
                self.found.failures.append(
                    Failure(_show(path, folder, shown), f"cannot be read ({reason}); copy it again, or remove it")
                )
        strays: dict[Path, list[Path]] = {}
        for path in sorted(tree.passed_over):
            if path.suffix.lower() in DICOM_ENDINGS and path.parent not in owned:
                strays.setdefault(path.parent, []).append(path)
        for parent, paths in strays.items():
            reason = (
                f"{len(paths)} files are named as DICOM and are none ({tree.passed_over[paths[0]]}); copy them again"
            )
            self.found.failures.append(Failure(_show(parent, folder, shown), reason))


def _is_volume(path: Path) -> bool:
    return path.name.lower().endswith(VOLUME_ENDINGS)


def _is_mask(path: Path) -> bool:
    """Whether a file's name is that of a mask, a hidden file, or one that is being written."""
    stem, _ = split_ending(path.name)
    is_named = path.name.lower().endswith(SEGMENTATION_ENDING) or stem.lower().endswith(MASK_SUFFIXES)
    return is_named or path.name.startswith(".") or path.parent.name in MASK_FOLDERS


def _show(path: Path, folder: Path, shown: Path) -> str:
    """Name a path below a folder that the user knows by another name."""
    return str(shown / path.relative_to(folder))


def _explain(series: FoundSeries, problem: str) -> str:
    """Say why a series is no image to segment."""
    if series.modality != "PT":
        return f"a series of {series.modality or 'no modality'} without a PET of its study, expected a PET; add it"
    return problem or (
        "a series of modality PT that is no image of activity (not corrected for attenuation, projections or a "
        "screenshot), expected an attenuation-corrected PET"
    )
