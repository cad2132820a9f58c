from __future__ import annotations

import pytest

from interactivepet.core.report import CaseScores, LabelScores, Report
from interactivepet.evaluation.summarise import METRICS, make_report, mean_dice_of


def make_scores(case: str, **dice: float | None) -> CaseScores:
    labels = tuple(
        LabelScores(
            label=name,
            dice=value,
            hausdorff95_mm=None,
            surface_distance_mm=None,
            volume_ml=2.0,
            reference_volume_ml=3.0,
            false_positive_ml=0.0,
            false_negative_ml=0.0,
        )
        for name, value in dice.items()
    )
    return CaseScores(case=case, n_clicks=6, labels=labels)


def make_test_report(*scores: CaseScores) -> Report:
    return make_report("Task001_X", scores, title="Title", provenance="held out", made_from="0123")


def test_summary_has_hand_computed_statistics() -> None:
    report = make_test_report(make_scores("A", x=0.5), make_scores("B", x=0.9), make_scores("C", x=None))
    row = next(row for row in report.summary if row.metric == "dice")
    assert (row.label, row.n) == ("x", 2)
    assert (row.mean, row.std, row.median) == pytest.approx((0.7, 0.2, 0.7))
    assert (row.minimum, row.maximum) == (0.5, 0.9)


def test_mean_dice_weighs_cases_and_leaves_out_the_undefined() -> None:
    report = make_test_report(
        make_scores("A", x=0.4, y=0.6), make_scores("B", x=0.9, y=None), make_scores("C", x=None, y=None)
    )
    assert report.mean_dice == pytest.approx((0.5 + 0.9) / 2)
    assert mean_dice_of(report.cases[2]) is None


def test_rows_come_by_label_then_metric_and_never_empty() -> None:
    report = make_test_report(make_scores("A", y=0.4, x=0.6))
    undefined = {"hausdorff95_mm", "surface_distance_mm", *LabelScores.later_fields}
    present = [m for m in METRICS if m not in undefined]
    assert [(row.label, row.metric) for row in report.summary] == [(n, m) for n in "yx" for m in present]


def test_report_carries_its_origin_and_survives_json() -> None:
    report = make_test_report(make_scores("A", x=0.25))
    assert (report.task, report.title, report.provenance, report.made_from) == (
        "Task001_X",
        "Title",
        "held out",
        "0123",
    )
    assert Report.model_validate_json(report.model_dump_json()) == report


def test_report_of_nothing_has_no_mean() -> None:
    report = make_test_report()
    assert report.mean_dice is None
    assert report.summary == ()


def test_every_metric_is_a_field() -> None:
    assert set(METRICS) == set(LabelScores.model_fields) - {"label"}


def test_lesion_free_cases_are_counted_by_what_their_masks_hold() -> None:
    full = make_scores("A", x=0.5)
    empty = full.labels[0].model_copy(update={"dice": None, "reference_volume_ml": 0.0, "volume_ml": 0.0})
    spilled = empty.model_copy(update={"volume_ml": 3.0})
    report = make_test_report(
        full, CaseScores(case="B", n_clicks=0, labels=(empty,)), CaseScores(case="C", n_clicks=0, labels=(spilled,))
    )
    assert report.lesion_free is not None
    assert (report.lesion_free.n, report.lesion_free.n_rightly_empty) == (2, 1)
    assert report.lesion_free.mean_false_positive_ml == pytest.approx(1.5)
    assert report.lesion_free.maximum_false_positive_ml == 3.0
    assert report.mean_dice == pytest.approx(0.5)
    assert make_test_report(full).lesion_free is None
