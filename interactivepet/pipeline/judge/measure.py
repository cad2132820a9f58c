"""Measure the lesions of many cases: one file per case, and tables of all of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from interactivepet.core.artefact import hash_text
from interactivepet.core.measures import CaseMeasures, Organ, ReferenceUptake, RegionLevel
from interactivepet.core.uptake import UptakeUnit, average_uptake
from interactivepet.dataset.files.read import read_image, read_mask
from interactivepet.dataset.files.volume import describe_mismatch
from interactivepet.dataset.files.write import read_present, write_artefact, write_text
from interactivepet.dataset.layout import find_detached
from interactivepet.dataset.uptake_unit import find_unit, read_noted_unit
from interactivepet.errors import CaseError, InteractivePetError
from interactivepet.pipeline.executor import map_cases
from interactivepet.pipeline.judge.measure_jobs import FoundCases, MeasureJob
from interactivepet.pipeline.judge.measure_pages import BATCH_PAGE, locate_page, write_batch_page, write_page
from interactivepet.pipeline.judge.measure_references import CaseReferences
from interactivepet.quantification.case import measure_regions
from interactivepet.quantification.references import ReferenceSphere, measure_reference
from interactivepet.quantification.table import make_csv
from interactivepet.version import __version__

if TYPE_CHECKING:
    from interactivepet.core.geometry import Geometry

__all__ = ["TABLES", "MeasureOptions", "Measured", "run_measure"]

logger = logging.getLogger(__name__)

TABLES: Mapping[RegionLevel, str] = {"lesion": "lesions.csv", "label": "labels.csv", "patient": "patients.csv"}
"""What a row is -> name of the table."""

Volume = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class MeasureOptions:
    """How cases are measured.

    Attributes:
        unit: of the images; None finds it out.
        references: normal organs of every case.
        case_references: case -> its own, which take precedence.
        pages: each case gets a page, and all of them one that links these.
    """

    unit: UptakeUnit | None = None
    references: CaseReferences = field(default_factory=dict)
    case_references: Mapping[str, CaseReferences] = field(default_factory=dict)
    pages: bool = False

    def find_references(self, case: str) -> CaseReferences:
        """Give the normal organs that a case is compared with."""
        return {**self.references, **self.case_references.get(case, {})}


@dataclass(frozen=True, slots=True)
class Measured:
    """What became of the cases.

    Attributes:
        cases: those that were measured, now or earlier, in their order.
        failures: case or file -> why it was not measured.
        n_kept: how many of `cases` were measured earlier.
    """

    cases: tuple[CaseMeasures, ...]
    failures: Mapping[str, str]
    n_kept: int


def run_measure(found: FoundCases, out: Path, *, options: MeasureOptions, executor: Executor) -> Measured:
    """Measure cases, each into `OUT/cases/CASE.json`, and write the tables of all.

    A case whose files and options are as before is kept. One that fails does not stop the others.

    Returns:
        What was measured, and why the others were not.
    """
    present: dict[str, CaseMeasures] = {}
    for job in found.jobs:
        earlier = read_present(_path(out, job.case), CaseMeasures, made_from=_stamp(job, options))
        if earlier is not None and (not options.pages or locate_page(out, job.case).exists()):
            present[job.case] = earlier
    jobs = [job for job in found.jobs if job.case not in present]
    results = map_cases(
        executor,
        partial(_run_case, out=out, options=options),
        items=jobs,
        names=[job.case for job in jobs],
        description="measure",
    )
    outcomes: dict[str, CaseMeasures | str] = {job.case: result for job, result in zip(jobs, results, strict=True)}
    outcomes |= present
    ordered = [outcomes[job.case] for job in found.jobs]
    cases = tuple(outcome for outcome in ordered if isinstance(outcome, CaseMeasures))
    for level, name in TABLES.items():
        write_text(out / name, make_csv(cases, level))
    failed = {case: outcome for case, outcome in outcomes.items() if isinstance(outcome, str)}
    measured = Measured(cases, {**found.unusable, **failed}, n_kept=len(present))
    (out / BATCH_PAGE).unlink(missing_ok=True)
    if options.pages:
        write_batch_page(out, measured.cases, measured.failures, unit=options.unit)
    return measured


def _path(out: Path, case: str) -> Path:
    return out / "cases" / f"{case}.json"


def _stamp(job: MeasureJob, options: MeasureOptions) -> str:
    """Hash what a case's measures depend on: its files by name, size and time of change, the options, the version."""
    parts = [__version__, job.channel, str(options.unit), str(dict(job.labels or {})), job.case]
    parts += [f"{organ}:{reference!r}" for organ, reference in sorted(options.find_references(job.case).items())]
    for path in (part for whole in job.list_files() for part in (whole, *find_detached(whole))):
        status = path.stat() if path.exists() else None
        parts.append(f"{path.absolute()}:{status.st_size}:{status.st_mtime_ns}" if status else f"{path}:missing")
    return hash_text(*parts)


def _run_case(job: MeasureJob, *, out: Path, options: MeasureOptions) -> CaseMeasures | str:
    """Measure one case and write its page and its file; give the reason where it fails."""
    locate_page(out, job.case).unlink(missing_ok=True)
    try:
        measures = _measure(job, options, out=out)
    except InteractivePetError as error:
        # what an earlier run measured is not about these files
        _path(out, job.case).unlink(missing_ok=True)
        return str(error)
    write_artefact(_path(out, job.case), measures)
    return measures


def _measure(job: MeasureJob, options: MeasureOptions, *, out: Path) -> CaseMeasures:
    image, mask, geometry, unit = _read(job, options.unit)
    if not np.isfinite(image).all():
        raise CaseError(f"{job.case}: the image holds voxels that are not finite; correct or export it again")
    labels = job.labels
    if labels is None:
        labels = {f"label_{value}": int(value) for value in np.unique(mask) if value}
    elif strange := sorted({int(value) for value in np.unique(mask)} - {0, *labels.values()}):
        raise CaseError(
            f"{job.mask or job.case}: holds {', '.join(map(str, strange[:5]))}, expected 0 or "
            f"{', '.join(f'{value} ({name})' for name, value in labels.items())}; renumber the mask, or name its labels"
        )
    references = _find_references(image, geometry, options.find_references(job.case))
    regions = measure_regions(image, mask, geometry=geometry, labels=labels, unit=unit, references=references)
    stamp = _stamp(job, options)
    measures = CaseMeasures(made_from=stamp, case=job.case, unit=unit, references=references, regions=regions)
    if options.pages:
        write_page(out, measures, image, mask=mask, geometry=geometry, labels=labels, job=job)
    return measures


def _find_references(image: Volume, geometry: Geometry, given: CaseReferences) -> dict[Organ, ReferenceUptake]:
    """Measure the organs that are given as spheres."""
    return {
        organ: measure_reference(image, one, geometry=geometry) if isinstance(one, ReferenceSphere) else one
        for organ, one in given.items()
    }


def _read(job: MeasureJob, asked: UptakeUnit | None) -> tuple[Volume, npt.NDArray[np.uint8], Geometry, UptakeUnit]:
    """Read the first channel (I, J, K), the mask on its grid, the grid and the unit."""
    if job.series is not None:
        unit = asked or "suv"
        image, label, geometry = _read_series(job, unit)
    else:
        volume, geometry = read_image(job.images)
        if len(volume) != job.n_channels:
            raise CaseError(
                f"{job.images[0]}: {len(volume)} channels or frames in one file, expected {job.n_channels}; "
                "write the one that is measured into a file of its own"
            )
        image, label = volume[0], None
        unit = _find_file_unit(job, image, asked)
    if job.mask is None:
        if label is None:
            raise CaseError(f"{job.case}: no mask; name one with -p")
        return image, label, geometry, unit
    mask, mask_geometry = read_mask(job.mask)
    if not mask_geometry.matches(geometry):
        found = describe_mismatch(f"mask {job.mask}:", mask_geometry, other_name="image", other=geometry)
        raise CaseError(f"{found}; measure on the image that the mask was made on, or resample the mask")
    return image, mask, geometry, unit


def _find_file_unit(job: MeasureJob, image: Volume, asked: UptakeUnit | None) -> UptakeUnit:
    if asked is not None:
        noted = read_noted_unit(job.images[0], case=job.case)
        if noted not in (None, asked):
            raise CaseError(
                f"{job.images[0]}: its suv.json says {noted}, not {asked}; leave --unit out, or name {noted}"
            )
        return asked
    unit = find_unit(job.images[0], image, case=job.case, channel=job.channel)
    if unit == "unknown":
        raise CaseError(
            f"{job.images[0]}: nothing says in which unit it is, and channel {job.channel} with a mean of "
            f"{average_uptake(image):.4g} above 0 is no SUV; name the unit with --unit, such as bq_per_ml or counts"
        )
    return unit


def _read_series(job: MeasureJob, unit: UptakeUnit) -> tuple[Volume, Any, Geometry]:
    """Read a series in SUV, or as it was stored; and the label that is drawn on it, None without one."""
    from interactivepet.dataset.dicom.activity import STORED_UNITS, read_stored_series
    from interactivepet.dataset.dicom.labels import read_label

    if job.series is None:
        raise CaseError(f"{job.case}: no series")
    if unit not in STORED_UNITS:
        case = job.series.load().case
        return case.image[0], case.label, case.geometry
    values, geometry = read_stored_series(job.series.pet.paths, unit=unit)
    label = read_label(job.series.masks, job.series.rule, geometry=geometry)[0] if job.series.masks else None
    return values, label, geometry
