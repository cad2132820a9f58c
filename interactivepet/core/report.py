"""Scores of masks against labels."""

from __future__ import annotations

from typing import ClassVar

from interactivepet.core.artefact import Artefact, Record
from interactivepet.core.classical import ClassicalMethod

__all__ = [
    "Agreement",
    "CaseScores",
    "ClassicalSummary",
    "LabelScores",
    "LesionFreeSummary",
    "MeasurePair",
    "Report",
    "Summary",
]


class LabelScores(Record):
    """One label of one case. None stands for a metric that is not defined there."""

    later_fields: ClassVar[frozenset[str]] = frozenset(
        {"iou", "precision", "recall", "specificity", "hausdorff_mm", "relative_volume_difference"}
    )

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
    iou: float | None = None
    """Intersection over union; None when the reference is empty."""
    precision: float | None = None
    """Share of the mask that is label; None when label or mask is empty."""
    recall: float | None = None
    """Share of the label that the mask holds (sensitivity); None when the reference is empty."""
    specificity: float | None = None
    """Share of the image outside of the label that the mask leaves out; None when the label fills the image."""
    hausdorff_mm: float | None = None
    """Largest distance between the surfaces; None when label or mask is empty."""
    relative_volume_difference: float | None = None
    """Volume of the mask over that of the label, minus 1; None when the reference is empty."""


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


class MeasurePair(Record):
    """One measure of one label of one case, in the mask and in the reference."""

    case: str
    label: str
    measure: str
    """Name with its unit, such as `suv_max`."""
    value: float | None
    """Of the mask; None where it is not defined, such as the uptake of an empty mask."""
    reference: float | None


class Agreement(Record):
    """How far a measure of the masks agrees with that of the references (Bland and Altman 1986, Lancet 327:307)."""

    label: str
    measure: str
    n: int
    """Cases in which it is defined in both."""
    mean_reference: float
    bias: float
    """Mean difference, mask minus reference."""
    sd: float | None
    """Standard deviation of the differences, with n - 1; None for one case."""
    lower: float | None
    """Lower limit of agreement, bias - 1.96 SD."""
    upper: float | None
    """Upper limit of agreement, bias + 1.96 SD."""


class Report(Artefact):
    """The content of `report.json`."""

    later_fields: ClassVar[frozenset[str]] = frozenset({"classical", "measures", "agreement"})

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
    measures: tuple[MeasurePair, ...] = ()
    """Of the cases whose image shows uptake."""
    agreement: tuple[Agreement, ...] = ()
    """One per label and measure."""
