"""What is written of a segmented case: masks, DICOM, its page and, last, its `CASE.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from interactivepet.core.case import Case
from interactivepet.core.segmented import SegmentedCase
from interactivepet.core.summary import PatientSummary
from interactivepet.dataset.files.write import read_artefact, read_present, write_artefact, write_mask, write_text
from interactivepet.dataset.layout import PARTIAL_PREFIX
from interactivepet.errors import ArtefactError
from interactivepet.pipeline.segment.jobs import SegmentJob
from interactivepet.pipeline.segment.options import Outputs
from interactivepet.pipeline.segment.result import SegmentedImage, name_region
from interactivepet.quantification.case import measure_regions

__all__ = ["Folders", "write_case"]

_PAGES: Final = "pages"


@dataclass(frozen=True, slots=True)
class Folders:
    """Where results lie.

    Attributes:
        out: the folder that the user named.
    """

    out: Path

    def record(self, case: str) -> Path:
        """`CASE.json`, which declares a case complete."""
        return self.out / "cases" / f"{case}.json"

    def page(self, case: str) -> Path:
        """The page of a case."""
        return self.out / _PAGES / f"{case}.html"

    def mask(self, case: str, ending: str) -> Path:
        """The mask of all lesions."""
        return self.out / "masks" / f"{case}.{ending}"

    def regions(self, case: str, ending: str) -> Path:
        """The map of all regions."""
        return self.out / "regions" / f"{case}.{ending}"

    def dicom(self, case: str, kind: str) -> Path:
        """A DICOM file."""
        return self.out / "dicom" / f"{case}.{kind}.dcm"

    def read(self, case: str, *, stamp: str) -> SegmentedCase | None:
        """Read a case that is complete and up to date, with all of its files."""
        present = read_present(self.record(case), SegmentedCase, made_from=stamp)
        if present is None or any(not (self.out / name).is_file() for name in present.files):
            return None
        return present


def write_case(
    folders: Folders,
    image: SegmentedImage,
    *,
    case: Case,
    job: SegmentJob,
    outputs: Outputs,
    stamp: str,
    settings: Mapping[str, str],
    versions: Mapping[str, str],
) -> SegmentedCase:
    """Write everything of one case, each file atomically, and last the file that declares it complete.

    Args:
        folders: where to.
        image: what was found.
        case: that was segmented; the placement of its file is copied.
        job: what it was read from.
        outputs: which files.
        stamp: what the results depend on.
        settings: for the page.
        versions: for the page.

    Raises:
        CaseError: a format cannot hold the masks, or the series cannot be referred to.
        OSError: a file cannot be written.
    """
    name = image.case_id
    written: list[Path] = []
    for ending in outputs.masks:
        for path, values in ((folders.mask(name, ending), image.mask), (folders.regions(name, ending), image.numbers)):
            write_mask(path, values, geometry=image.geometry, like=case.source)
            written.append(path)
    for kind in outputs.dicom if job.series is not None else ():
        written += _write_dicom(folders.dicom(name, kind), image, job=job, kind=kind)
    summary = image.summarise(settings=settings, versions=versions)
    written.append(folders.page(name))
    _write_page(written[-1], image, summary=summary)
    record = SegmentedCase(
        made_from=stamp,
        summary=summary,
        origins=image.list_origins(),
        files=tuple(path.relative_to(folders.out).as_posix() for path in written),
    )
    _remove_others(folders, name, record)
    write_artefact(folders.record(name), record)
    return record


def _write_page(path: Path, image: SegmentedImage, *, summary: PatientSummary) -> None:
    from interactivepet.reporting.patient_page import make_patient_page

    page = make_patient_page(summary, image.image, regions=image.every_region, geometry=image.geometry)
    write_text(path, page)


def _write_dicom(path: Path, image: SegmentedImage, *, job: SegmentJob, kind: str) -> tuple[Path, ...]:
    """Write the regions over their series; the report has lesions only."""
    from interactivepet.dataset.dicom.rtstruct import write_rtstruct
    from interactivepet.dataset.dicom.seg import write_seg
    from interactivepet.dataset.dicom.sr import write_sr

    if job.series is None:
        return ()
    paths, geometry = job.series.pet.paths, image.geometry
    if kind != "sr":
        labels = {name_region(region): region.id for region in image.regions if region.is_segmented}
        write = write_seg if kind == "seg" else write_rtstruct
        write(path, image.numbers, geometry=geometry, labels=labels or {"lesion": 1}, series=paths)
        return (path,)
    lesions = {name_region(region): region.id for region in image.regions if region.status == "lesion"}
    mask, rows = np.where(image.mask > 0, image.numbers, 0).astype(np.uint8), image.lesions
    if not lesions:
        lesions = {"lesion": 1}
        rows = measure_regions(image.image, mask, geometry=geometry, labels=lesions, unit=image.unit)
    return write_sr(path, mask, geometry=geometry, labels=lesions, series=paths, regions=rows, unit=image.unit)


def _remove_others(folders: Folders, case: str, record: SegmentedCase) -> None:
    """Remove what an earlier run with other options wrote of this case, and what a killed one left half-written."""
    earlier = _read_any(folders.record(case))
    for name in () if earlier is None else set(earlier.files) - set(record.files):
        (folders.out / name).unlink(missing_ok=True)
    for folder in {(folders.out / name).parent for name in record.files} | {folders.record(case).parent}:
        for path in folder.glob(f"{PARTIAL_PREFIX}{case}.*"):
            path.unlink(missing_ok=True)


def _read_any(path: Path) -> SegmentedCase | None:
    """Read a record whatever it was made from; None where there is none that can be read."""
    try:
        return read_artefact(path, SegmentedCase, command="interactivepet_segment")
    except ArtefactError:
        return None
