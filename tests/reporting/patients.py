"""Small digital patients for the pages of patients and batches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from interactivepet.core.geometry import Geometry
from interactivepet.core.measures import ReferenceUptake
from interactivepet.core.summary import PatientOutcome, PatientSummary, RegionSummary
from interactivepet.reporting.batch_page import render_batch
from interactivepet.reporting.lesion_views import LesionView, Outline
from interactivepet.reporting.patient_page import PatientPictures, render_patient
from interactivepet.reporting.projections import Projections
from interactivepet.reporting.views import AXIAL

VERSIONS = {"interactivepet": "0.0.0", "model <starter>": "1"}
SETTINGS = {"image": "a & b.nii.gz", "unit": "suv"}
TOTALS = {"n_lesions": 1, "mtv_ml": 12.3456, "suv_max": 9.876, "suv_peak_global": 7.0, "tlg_g": 77.77, "dmax_mm": None}


def make_region(name: str, **fields: object) -> RegionSummary:
    """Make one region with a few measures."""
    measures = {"mtv_ml": 12.3456, "suv_max": 9.876, "tlg_g": 77.77, "sphericity": None, "centroid_x_ras_mm": -12.3}
    return RegionSummary(id=name, measures=measures, **fields)  # type: ignore[arg-type]


def make_summary(*regions: RegionSummary, case: str = "A <b> & c", **fields: object) -> PatientSummary:
    """Make a summary of regions."""
    values: dict[str, object] = {"unit": "suv", "totals": TOTALS, "settings": SETTINGS, "versions": VERSIONS} | fields
    return PatientSummary(case=case, regions=regions, **values)  # type: ignore[arg-type]


FULL = make_summary(
    make_region("1", label="tumour <i>", quality=0.876),
    make_region("2", label="node", status="unsure", reasons=("quality 0.41 below 0.6", "touches the <border>")),
    make_region("3", status="physiological", reasons=("bladder",), quality=0.5),
    references={"liver": ReferenceUptake(mean=2.1, sd=0.3), "blood_pool": ReferenceUptake(mean=1.6)},
    notes=("The weight is missing & was given.",),
)
PLAIN = make_summary(make_region("1"))
EMPTY = make_summary(totals={"n_lesions": 0, "mtv_ml": 0.0, "suv_max": None, "tlg_g": 0.0})


def make_pictures(n: int) -> PatientPictures:
    """Make pictures of a few bytes, of n regions."""
    marks = np.array([[10.0 * number, 5.0, 20.0, 8.0] for number in range(n)]).reshape(n, 4)
    view = LesionView(
        plane=AXIAL,
        picture=b"slice",
        width_mm=160.0,
        height_mm=150.0,
        outlines=(Outline("M1 2L3 4L5 6Z", 1),),
        position_mm=-12.34,
        top=9.876,
        scale_bar_mm=50,
    )
    projections = Projections((b"front", b"left", b"back", b"right"), width_mm=400, height_mm=900, marks_mm=marks)
    return PatientPictures(projections, ((view,),) * n, top=10.0)


FLAT = Projections((b"flat",), width_mm=40, height_mm=90, marks_mm=np.array([[1.0, 0.0, 20.0, 4.0]]))


def make_patient_examples() -> dict[str, str]:
    """Give the pages of patients and batches by their names."""
    outcomes = [
        PatientOutcome(case="A <b> & c", summary=FULL, page="pages/A%20%3Cb%3E.html"),
        PatientOutcome(case="B", failure="2 tags are missing: <PatientWeight>"),
        PatientOutcome(case="C", summary=EMPTY),
    ]
    other = replace(PLAIN, unit="bq_per_ml", totals={"volume_ml": 3.0, "total_uptake_bq": 12345.6})
    mixed = [outcomes[2], PatientOutcome(case="D", summary=other)]
    options = {"settings": SETTINGS, "versions": VERSIONS}
    return {
        "patient": render_patient(FULL, make_pictures(3)),
        "patient_plain": render_patient(PLAIN, make_pictures(1)),
        "patient_empty": render_patient(EMPTY, make_pictures(0)),
        "patient_flat": render_patient(PLAIN, replace(make_pictures(1), projections=FLAT)),
        "batch": render_batch(outcomes, title="3 <cases>", **options),
        "batch_mixed": render_batch(mixed, title="2 cases", **options),
        "batch_empty": render_batch([], title="0 cases", **options),
    }


def make_body(shape: tuple[int, int, int] = (40, 30, 50), spacing_mm: float = 5.0) -> tuple[np.ndarray, Geometry]:
    """Make an ellipsoid of SUV 1 in air: (I, J, K) in RAS+, and its grid."""
    grid = np.indices(shape).astype(np.float32)
    radii = np.reshape(shape, (3, 1, 1, 1)) * 0.4
    middle = (np.reshape(shape, (3, 1, 1, 1)) - 1) / 2
    inside = (((grid - middle) / radii) ** 2).sum(axis=0) <= 1
    affine = np.diag([spacing_mm] * 3 + [1.0])
    return inside.astype(np.float32), Geometry(shape, affine)
