"""Pages of measured cases: one per case, and one that links them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from interactivepet.core.components import number_lesions
from interactivepet.core.measures import CaseMeasures
from interactivepet.core.summary import PatientOutcome, summarise_measures
from interactivepet.core.uptake import UptakeUnit
from interactivepet.dataset.files.write import write_text
from interactivepet.version import list_versions

if TYPE_CHECKING:
    from interactivepet.core.geometry import Geometry
    from interactivepet.pipeline.judge.measure_jobs import MeasureJob

__all__ = ["BATCH_PAGE", "locate_page", "write_batch_page", "write_page"]

BATCH_PAGE: Final = "index.html"
"""Name of the page that links those of the cases."""
_FOLDER = "pages"


def locate_page(out: Path, case: str) -> Path:
    """Give the path of a case's page."""
    return out / _FOLDER / f"{case}.html"


def write_page(
    out: Path,
    measures: CaseMeasures,
    image: npt.NDArray[np.float32],
    *,
    mask: npt.NDArray[np.uint8],
    geometry: Geometry,
    labels: Mapping[str, int],
    job: MeasureJob,
) -> None:
    """Write the page of one case, atomically.

    Args:
        out: folder of the measures.
        measures: of the case.
        image: (I, J, K) in the unit of the measures.
        mask: (I, J, K), what was measured.
        geometry: the grid of both.
        labels: name -> value, in the order of the measures.
        job: where image and mask came from.
    """
    from interactivepet.reporting.patient_page import make_patient_page

    regions, _ = number_lesions(mask, labels.values())
    summary = summarise_measures(measures, settings=_list_settings(measures, job), versions=list_versions())
    write_text(locate_page(out, measures.case), make_patient_page(summary, image, regions=regions, geometry=geometry))


def write_batch_page(
    out: Path, cases: Sequence[CaseMeasures], failures: Mapping[str, str], *, unit: UptakeUnit | None
) -> None:
    """Write the page of all cases, atomically.

    Args:
        out: folder of the measures and of the cases' pages.
        cases: those that were measured.
        failures: case or file -> why it was not measured.
        unit: that was asked for; None where it was found out.
    """
    from interactivepet.reporting.batch_page import render_batch

    outcomes = [
        PatientOutcome(
            case=one.case,
            summary=summarise_measures(one, settings={}, versions={}),
            page=quote(locate_page(Path(), one.case).as_posix()),
        )
        for one in cases
    ]
    outcomes += [PatientOutcome(case=case, failure=reason) for case, reason in failures.items()]
    settings = {"unit": unit or "found out for each image"}
    title = f"Measures of {len(outcomes)} {'case' if len(outcomes) == 1 else 'cases'}"
    write_text(out / BATCH_PAGE, render_batch(outcomes, title=title, settings=settings, versions=list_versions()))


def _list_settings(measures: CaseMeasures, job: MeasureJob) -> dict[str, str]:
    """List what the measures of a case depend on."""
    files = job.list_files()
    scan = job.images if job.series is None else job.series.pet.paths
    masks = [path for path in files if path not in scan]
    references = {
        f"reference: {organ.replace('_', ' ')}": ", ".join(
            f"{name} {value:.4g}" for name, value in reference.model_dump().items() if value is not None
        )
        for organ, reference in measures.references.items()
    }
    return {
        "image": str(scan[0]) if len(scan) == 1 else f"{scan[0].parent} ({len(scan)} files)",
        "mask": ", ".join(map(str, masks)),
        "channel": job.channel,
        "unit": measures.unit,
        "labels": ", ".join(region.label for region in measures.regions if region.level == "label"),
        "lesion": "connected component of one label, 26 neighbours",
        **references,
    }
