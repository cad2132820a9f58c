"""Regions that were segmented without a user: `CASE.json` of `interactivepet_segment`."""

from __future__ import annotations

from pydantic import Field

from interactivepet.core.artefact import Artefact, Record
from interactivepet.core.summary import PatientSummary

__all__ = ["RegionCheck", "RegionOrigin", "SegmentedCase"]


class RegionCheck(Record):
    """A named check of one mask; one that fails is a reason to look at the region, and changes nothing else."""

    name: str
    value: float
    limit: str
    """What the value should be, in words such as `at most 0.1`."""
    passed: bool


class RegionOrigin(Record):
    """Where a region comes from, beside what its row on the page says."""

    id: int
    """The value of its voxels in the file of all regions, where it was segmented."""
    rule: str
    """That decided about its status."""
    is_segmented: bool
    """Normal uptake is not: its measures are those of the bright region."""
    clicks_mm: tuple[tuple[float, float, float], ...] = ()
    """Where it was clicked on, in RAS+ mm; several where masks that overlapped were joined."""
    checks: tuple[RegionCheck, ...] = ()


class SegmentedCase(Artefact):
    """Everything found in one case. `made_from` covers its files, the model, the options and the version."""

    summary: PatientSummary
    """What the page says: regions with status, reasons and measures, totals, notes and settings."""
    origins: tuple[RegionOrigin, ...]
    """One per region, in the same order."""
    files: tuple[str, ...] = Field(default=())
    """What was written, relative to the folder of the results."""
