"""From the scores of single cases to the report of a task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from interactivepet.core.report import CaseScores, LabelScores, LesionFreeSummary, Report, Summary

__all__ = ["METRICS", "make_report", "mean_dice_of"]

METRICS = (
    "dice",
    "iou",
    "precision",
    "recall",
    "specificity",
    "hausdorff95_mm",
    "hausdorff_mm",
    "surface_distance_mm",
    "volume_ml",
    "reference_volume_ml",
    "relative_volume_difference",
    "false_positive_ml",
    "false_negative_ml",
)
"""Fields of `LabelScores` that are summarised, in the order of the report."""


def make_report(task: str, scores: Sequence[CaseScores], *, title: str, provenance: str, made_from: str = "") -> Report:
    """Summarise the scores of all cases.

    Args:
        task: the task's name.
        scores: one entry a case, in any order, which the report keeps.
        title: what is reported, for the head of the page.
        provenance: how the masks came about and whether they are out-of-fold, held out or neither.
        made_from: hash of the artefact that the masks were made with.

    Returns:
        The report. A metric that is defined in no case has no summary row.
    """
    names = dict.fromkeys(label.label for case in scores for label in case.labels)
    rows = [_summarise(name, metric, scores) for name in names for metric in METRICS]
    case_dice = [value for value in map(mean_dice_of, scores) if value is not None]
    return Report(
        task=task,
        title=title,
        provenance=provenance,
        made_from=made_from,
        cases=tuple(scores),
        summary=tuple(row for row in rows if row is not None),
        lesion_free=_summarise_lesion_free(scores),
        mean_dice=float(np.mean(case_dice)) if case_dice else None,
    )


def mean_dice_of(case: CaseScores) -> float | None:
    """Average the Dice over the labels of a case where it is defined; None when it is nowhere."""
    values = [label.dice for label in case.labels if label.dice is not None]
    return float(np.mean(values)) if values else None


def _summarise_lesion_free(scores: Sequence[CaseScores]) -> LesionFreeSummary | None:
    """Summarise the volumes that masks hold where nothing should be."""
    free = [case for case in scores if not any(label.reference_volume_ml for label in case.labels)]
    if not free:
        return None
    volumes = [sum(label.volume_ml for label in case.labels) for case in free]
    return LesionFreeSummary(
        n=len(free),
        n_rightly_empty=sum(volume == 0 for volume in volumes),
        mean_false_positive_ml=float(np.mean(volumes)),
        maximum_false_positive_ml=max(volumes),
    )


def _summarise(name: str, metric: str, scores: Sequence[CaseScores]) -> Summary | None:
    """Summarise one metric of one label over the cases where it is defined; `std` is the population's."""
    found = [_value_of(label, metric) for case in scores for label in case.labels if label.label == name]
    values = np.array([value for value in found if value is not None], dtype=np.float64)
    if values.size == 0:
        return None
    return Summary(
        label=name,
        metric=metric,
        n=values.size,
        mean=float(values.mean()),
        std=float(values.std()),
        median=float(np.median(values)),
        minimum=float(values.min()),
        maximum=float(values.max()),
    )


def _value_of(label: LabelScores, metric: str) -> float | None:
    """Look a metric up by its field's name."""
    value: float | None = getattr(label, metric)
    return value
