"""Measures of a case's lesions, labels and patient: `CASE.json` of `interactivepet_measure`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from interactivepet.core.artefact import Artefact, Record
from interactivepet.core.uptake import UptakeUnit

__all__ = ["CaseMeasures", "MeasuredRegion", "Organ", "ReferenceUptake", "RegionLevel", "Value"]

RegionLevel = Literal["lesion", "label", "patient"]
Organ = Literal["liver", "blood_pool"]
Value = int | float | None


class ReferenceUptake(Record):
    """Uptake of a normal organ that lesions are compared with, in the unit of the image."""

    mean: float = Field(gt=0, allow_inf_nan=False)
    sd: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Standard deviation over the voxels of a sphere; None when it is not known."""
    maximum: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """None when it is not known."""


class MeasuredRegion(Record):
    """One lesion, one label with all of its lesions, or the patient with all labels."""

    level: RegionLevel
    label: str = ""
    """Name of the label; empty for the patient."""
    lesion: int | None = None
    """Number of the lesion within its label, 1 for the largest; None for label and patient."""
    values: dict[str, Value]
    """Name with its unit -> value; None where a measure is not defined."""


class CaseMeasures(Artefact):
    """Everything measured in one case. `made_from` covers the files and the options."""

    case: str
    unit: UptakeUnit
    """Of the image."""
    references: dict[Organ, ReferenceUptake] = Field(default_factory=dict)
    """What lesions were compared with."""
    regions: tuple[MeasuredRegion, ...]
    """Lesions and label, label by label, then the patient."""
