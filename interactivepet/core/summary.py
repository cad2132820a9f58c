"""What the page of a patient, and the page of a batch of patients, says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from interactivepet.core.measures import CaseMeasures, Organ, ReferenceUptake, Value
from interactivepet.core.uptake import UptakeUnit

__all__ = ["PatientOutcome", "PatientSummary", "RegionStatus", "RegionSummary", "summarise_measures"]

RegionStatus = Literal["lesion", "unsure", "physiological"]


@dataclass(frozen=True, slots=True)
class RegionSummary:
    """One region of a patient.

    Attributes:
        id: shown in the table, and on the pictures as a mark.
        measures: name with its unit -> value; None where a measure is not defined.
        label: of the mask that the region belongs to.
        status: whether it is a lesion.
        reasons: why the region has its status.
        quality: predicted Dice, 0 to 1; None when nothing predicts it.
    """

    id: str
    measures: Mapping[str, Value]
    label: str = ""
    status: RegionStatus = "lesion"
    reasons: tuple[str, ...] = ()
    quality: float | None = None


@dataclass(frozen=True, slots=True)
class PatientSummary:
    """Everything that a patient's page says, apart from pictures.

    Attributes:
        case: name.
        unit: of the image.
        regions: in the order of the table. On the map of regions, the n-th one has the value n.
        totals: name with its unit -> value, of all lesions together.
        references: normal organs that lesions were compared with.
        notes: what a reader should know about this patient, such as doubts about the SUV.
        settings: name -> value of everything that the result depends on.
        versions: program or model -> version.
    """

    case: str
    unit: UptakeUnit
    regions: tuple[RegionSummary, ...]
    totals: Mapping[str, Value]
    references: Mapping[Organ, ReferenceUptake] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PatientOutcome:
    """One row of a batch: a patient with a result, or why there is none.

    Attributes:
        case: name.
        summary: None where the patient failed.
        page: link to the patient's page, relative to that of the batch; empty without one.
        failure: why there is no result.
    """

    case: str
    summary: PatientSummary | None = None
    page: str = ""
    failure: str = ""


def summarise_measures(
    measures: CaseMeasures, *, settings: Mapping[str, str], versions: Mapping[str, str]
) -> PatientSummary:
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
