"""A report as one self-contained web page: tables, pictures and how the masks came about."""

from __future__ import annotations

from collections.abc import Mapping

from interactivepet.core.report import CaseScores, LesionFreeSummary, Report
from interactivepet.evaluation.summarise import mean_dice_of
from interactivepet.reporting.html import render_page

__all__ = ["HEADINGS", "describe_lesion_free", "render_report"]

HEADINGS = {
    "dice": "Dice",
    "iou": "IoU",
    "precision": "Precision",
    "recall": "Recall",
    "specificity": "Specificity",
    "hausdorff95_mm": "Hausdorff 95 % (mm)",
    "hausdorff_mm": "Hausdorff 100 % (mm)",
    "surface_distance_mm": "Surface distance (mm)",
    "volume_ml": "Volume (ml)",
    "reference_volume_ml": "Reference (ml)",
    "relative_volume_difference": "Relative volume difference",
    "false_positive_ml": "False positive (ml)",
    "false_negative_ml": "False negative (ml)",
}
"""Field of `LabelScores` -> how people call it."""

DIGITS = {
    metric: 3 if metric in ("dice", "iou", "precision", "recall", "specificity", "relative_volume_difference") else 2
    for metric in HEADINGS
}
"""Field of `LabelScores` -> digits after the point."""

MOST_PICTURES = 100
"""A page with more would be too large for a browser: a whole body's picture has 0.1 MB."""


def render_report(
    report: Report, *, pictures: Mapping[str, bytes], agreement: Mapping[str, bytes] | None = None
) -> str:
    """Render a report as HTML that needs no other file and no script.

    Args:
        report: the scores; the table lists the cases from the worst mean Dice to the best, and those without
            any defined Dice last.
        pictures: case -> PNG file's bytes; a case may have none.
        agreement: label -> PNG file's bytes, of `draw_agreement`.

    Returns:
        The page's text.
    """
    cases = sorted(report.cases, key=_badness)
    worst = [case.case for case in cases if case.case in pictures][:MOST_PICTURES]
    return render_page(
        "report",
        title=report.title,
        report=report,
        lesion_free="" if report.lesion_free is None else describe_lesion_free(report.lesion_free),
        cases=cases,
        n_defined=sum(mean_dice_of(case) is not None for case in cases),
        headings=HEADINGS,
        digits=DIGITS,
        anchors={case.case: f"case-{number}" for number, case in enumerate(cases, start=1)},
        pictures={case: pictures[case] for case in worst},
        n_pictures=len(pictures),
        agreement=agreement or {},
    )


def describe_lesion_free(summary: LesionFreeSummary) -> str:
    """Say in one sentence how many lesion-free cases were left empty, and what was found in the others."""
    return (
        f"Cases without any label: {summary.n_rightly_empty} of {summary.n} masks are rightly empty; false positives "
        f"{summary.mean_false_positive_ml:.2f} ml on average, {summary.maximum_false_positive_ml:.2f} ml at most."
    )


def _badness(case: CaseScores) -> tuple[bool, float, str]:
    """Order cases from the worst to the best, the undefined ones last, ties by name."""
    dice = mean_dice_of(case)
    return (dice is None, dice or 0.0, case.case)
