"""What the page of a patient, and the page of a batch of patients, says."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from interactivepet.core.artefact import Record
from interactivepet.core.measures import CaseMeasures, Organ, ReferenceUptake, Value
from interactivepet.core.uptake import UptakeUnit

__all__ = ["PatientOutcome", "PatientSummary", "RegionStatus", "RegionSummary", "summarise_measures"]

RegionStatus = Literal["lesion", "unsure", "physiological"]


class RegionSummary(Record):
    """One region of a patient."""

    id: str
    """Shown in the table, and on the pictures as a mark."""
    label: str = ""
    """Of the mask that the region belongs to."""
    status: RegionStatus = "lesion"
    reasons: tuple[str, ...] = ()
    """Why the region has its status."""
    quality: float | None = Field(default=None, ge=0, le=1)
    """Predicted Dice; None when nothing predicts it."""
    measures: dict[str, Value]
    """Name with its unit -> value; None where a measure is not defined."""


class PatientSummary(Record):
    """Everything that a patient's page says, apart from pictures."""

    case: str
    unit: UptakeUnit
    """Of the image."""
    regions: tuple[RegionSummary, ...]
    """In the order of the table. On the map of regions, the n-th one has the value n."""
    totals: dict[str, Value]
    """Of all lesions together."""
    references: dict[Organ, ReferenceUptake] = Field(default_factory=dict)
    """Normal organs that lesions were compared with."""
    notes: tuple[str, ...] = ()
    """What a reader should know about this patient, such as doubts about the SUV."""
    settings: dict[str, str] = Field(default_factory=dict)
    """Name -> value of everything that the result depends on."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Program or model -> version."""


class PatientOutcome(Record):
    """One row of a batch: a patient with a result, or why there is none."""

    case: str
    summary: PatientSummary | None = None
    page: str = ""
    """Link to the patient's page, relative to that of the batch."""
    failure: str = ""
    """Why there is no result."""


def summarise_measures(measures: CaseMeasures, *, settings: dict[str, str], versions: dict[str, str]) -> PatientSummary:
    """Make the summary of a patient whose mask was measured: each of its lesions is a region."""
    regions = tuple(
        RegionSummary(id=str(number), label=region.label, measures=region.values)
        for number, region in enumerate((one for one in measures.regions if one.level == "lesion"), start=1)
    )
    return PatientSummary(
        case=measures.case,
        unit=measures.unit,
        regions=regions,
        totals=next(region.values for region in measures.regions if region.level == "patient"),
        references=measures.references,
        settings=settings,
        versions=versions,
    )
