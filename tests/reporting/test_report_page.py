from __future__ import annotations

import re
from base64 import b64decode
from html.parser import HTMLParser

import pytest

from interactivepet.core.report import CaseScores, LabelScores, Report
from interactivepet.evaluation.summarise import make_report
from interactivepet.reporting import report_page
from interactivepet.reporting.html import NOTICE
from interactivepet.reporting.report_page import render_report

VOID = {"meta", "img"}


class Outline(HTMLParser):
    """Collects what the page shows and fails on a tag that is not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def make_test_report(**dice: float | None) -> Report:
    cases = [
        CaseScores(
            case=name,
            n_clicks=6,
            labels=(
                LabelScores(
                    label="a<b",
                    dice=value,
                    hausdorff95_mm=None,
                    surface_distance_mm=1.234,
                    volume_ml=1.0,
                    reference_volume_ml=2.0,
                    false_positive_ml=0.0,
                    false_negative_ml=0.0,
                ),
            ),
        )
        for name, value in dice.items()
    ]
    return make_report("Task<1>", cases, title="A <i> & B", provenance='held "out" <b>')


def test_page_is_well_formed_and_escaped() -> None:
    report = make_test_report(**{"<script>": 0.5})
    outline = Outline(render_report(report, pictures={"<script>": b"png"}))
    assert outline.open == []
    assert "script" not in {tag for tag, _ in outline.tags}
    for text in ("A <i> & B", "Task<1>", 'held "out" <b>', "a<b", "<script>", NOTICE):
        assert text in outline.text


def test_cases_come_worst_first_and_undefined_last() -> None:
    page = render_report(make_test_report(good=0.9, none=None, bad=0.1, fair=0.5), pictures={})
    table = page[page.index("Cases, worst first") :]
    assert sorted(("good", "none", "bad", "fair"), key=table.index) == ["bad", "fair", "good", "none"]


def test_every_link_leads_to_a_picture_and_every_picture_is_inside() -> None:
    page = render_report(make_test_report(a=0.9, b=0.1, c=0.3), pictures={"a": b"one", "b": b"two"})
    tags = Outline(page).tags
    links = [attrs["href"] for tag, attrs in tags if tag == "a"]
    targets = [f"#{attrs['id']}" for tag, attrs in tags if tag == "figure"]
    assert links == targets
    assert len(targets) == 2
    sources = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert [b64decode(source) for source in sources] == [b"two", b"one"]


def test_page_loads_nothing_from_elsewhere() -> None:
    page = render_report(make_test_report(a=0.9), pictures={})
    assert not re.search(r"https?:|<link|<script|@import|url\(", page)


def test_numbers_are_rounded_and_undefined_ones_are_dashes() -> None:
    text = Outline(render_report(make_test_report(a=0.87654, b=None), pictures={})).text
    assert "Mean Dice 0.877 over 1 of 2 cases" in text
    assert "1.23" in text
    assert "–" in text  # noqa: RUF001
    assert "None" not in text


def test_report_without_cases_is_a_page() -> None:
    outline = Outline(render_report(make_test_report(), pictures={}))
    assert outline.open == []
    assert "Mean Dice not defined" in outline.text


def test_a_page_shows_the_worst_of_many_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_page, "MOST_PICTURES", 2)
    pictures = {name: name.encode() for name in "abc"}
    page = render_report(make_test_report(a=0.9, b=0.1, c=0.3), pictures=pictures)
    assert "The 2 worst of 3 cases are shown" in page
    assert page.count("<figure") == 2
    assert 'id="case-3"' not in page
