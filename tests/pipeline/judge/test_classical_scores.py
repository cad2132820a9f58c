"""Methods without training beside the masks of a cross-validation with clicks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from interactivepet.core.case import Case
from interactivepet.core.classical import CLASSICAL_METHODS, ClassicalMethod
from interactivepet.core.interaction import Click
from interactivepet.core.report import Report
from interactivepet.guidance.simulate import ClickOptions, simulate_clicks
from interactivepet.pipeline.judge.classical_scores import score_classical, summarise_classical
from tests.tiny import SHAPE, make_volume, open_tiny

# the made cases have no liver
USED = tuple(name for name in CLASSICAL_METHODS if name != "percist")
WITHOUT_SUV = tuple(name for name in USED if not name.startswith("suv"))


def make_case(*, factor: float = 1.0, is_empty: bool = False) -> tuple[Case, tuple[Click, ...]]:
    image, label, geometry = make_volume(0)
    clicks = simulate_clicks(label, geometry, options=ClickOptions(), rng=np.random.default_rng(0))
    shown = np.zeros(SHAPE, np.uint8) if is_empty else label
    return Case("TINY", image * np.float32(factor), geometry, shown), clicks


@pytest.mark.parametrize(
    ("factor", "is_empty", "channel", "expected"),
    [
        (1.0, False, "PET", USED),
        (5000.0, False, "PET", WITHOUT_SUV),
        (1.0, False, "MR", WITHOUT_SUV),
        (1.0, True, "PET", ()),
    ],
)
def test_methods_that_can_be_used_are_scored(
    factor: float, is_empty: bool, channel: str, expected: tuple[ClassicalMethod, ...]
) -> None:
    case, clicks = make_case(factor=factor, is_empty=is_empty)
    found = score_classical(case, clicks, labels=(1,), channel=channel)
    assert tuple(found) == expected
    assert all(value > 0.6 for value in found.values())


def test_without_clicks_nothing_is_found() -> None:
    case, _ = make_case()
    assert set(score_classical(case, (), labels=(1,), channel="PET").values()) == {0.0}


def test_labels_that_the_reference_lacks_do_not_count() -> None:
    case, clicks = make_case()
    both = score_classical(case, clicks, labels=(1, 2), channel="PET")
    assert both == score_classical(case, clicks, labels=(1,), channel="PET")


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([], []),
        ([{}, {}], []),
        ([{"nestle": 0.5}, {}, {"nestle": 0.75}], [("nestle", 2, 0.625)]),
        ([{"suv4": 0.5, "nestle": 0.5}, {"nestle": 1.0}], [("nestle", 2, 0.75)]),
    ],
)
def test_means_are_over_cases_with_a_label(
    scores: list[Mapping[ClassicalMethod, float]], expected: list[tuple[str, int, float]]
) -> None:
    assert [(row.method, row.n, row.mean_dice) for row in summarise_classical(scores)] == expected


def test_the_cross_validation_with_clicks_shows_them(finished: tuple[Path, dict[str, Report]]) -> None:
    folder = open_tiny(finished[0])
    report = Report.model_validate_json((folder.cross_validation("extreme") / "report.json").read_text())
    assert [row.method for row in report.classical] == list(USED)
    assert {row.n for row in report.classical} == {6}
    page = (folder.cross_validation("extreme") / "report.html").read_text()
    assert "Beside methods without training" in page
    assert all(f">{name}</td>" in page for name in USED)
    without = Report.model_validate_json((folder.cross_validation("none") / "report.json").read_text())
    assert without.classical == ()
    assert "Beside methods without training" not in (folder.cross_validation("none") / "report.html").read_text()


def test_a_report_from_before_keeps_its_hash(finished: tuple[Path, dict[str, Report]]) -> None:
    report = next(iter(finished[1].values())).model_copy(update={"classical": ()})
    text = report.model_dump_json(exclude={"classical"})
    assert Report.model_validate_json(text) == report
    assert "classical" not in text
    assert Report.model_validate_json(text).content_hash() == report.content_hash()
