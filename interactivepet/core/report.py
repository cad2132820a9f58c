"""Scores of masks against labels."""

from __future__ import annotations

from typing import ClassVar

from interactivepet.core.artefact import Artefact, Record
from interactivepet.core.classical import ClassicalMethod

__all__ = ["CaseScores", "ClassicalSummary", "LabelScores", "LesionFreeSummary", "Report", "Summary"]


class LabelScores(Record):
    """One label of one case. None stands for a metric that is not defined there."""

    label: str
    dice: float | None
    """None when the reference is empty: a false positive then has a volume, not a Dice."""
    hausdorff95_mm: float | None
    """None when label or mask is empty."""
    surface_distance_mm: float | None
    """Average symmetric surface distance; None when label or mask is empty."""
    volume_ml: float
    reference_volume_ml: float
    false_positive_ml: float
    """Volume of predicted components that touch no voxel of the label."""
    false_negative_ml: float
    """Volume of label components that no predicted voxel touches."""


class CaseScores(Record):
    """One case."""

    case: str
    n_clicks: int
    labels: tuple[LabelScores, ...]


class Summary(Record):
    """One metric of one label over the cases where it is defined."""

    label: str
    metric: str
    n: int
    mean: float
    std: float
    median: float
    minimum: float
    maximum: float


class LesionFreeSummary(Record):
    """The cases whose reference holds no label at all."""

    n: int
    n_rightly_empty: int
    """How many masks hold no voxel either."""
    mean_false_positive_ml: float
    maximum_false_positive_ml: float


class ClassicalSummary(Record):
    """A method without training on the cases of the report, with the same clicks."""

    method: ClassicalMethod
    n: int
    """Cases whose reference holds a label."""
    mean_dice: float
    """Mean over these cases of the mean over the labels that the reference holds."""


class Report(Artefact):
    """The content of `report.json`."""

    later_fields: ClassVar[frozenset[str]] = frozenset({"classical"})

    task: str
    title: str
    provenance: str
    """How the masks came about and whether they are out-of-fold, held out or neither."""
    cases: tuple[CaseScores, ...]
    summary: tuple[Summary, ...]
    lesion_free: LesionFreeSummary | None = None
    """None when every case has a label."""
    mean_dice: float | None
    """Mean over cases of the mean over the labels where Dice is defined."""
    classical: tuple[ClassicalSummary, ...] = ()
    """What methods without training reach; empty where they were not asked."""
