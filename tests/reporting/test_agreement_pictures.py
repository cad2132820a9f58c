from __future__ import annotations

from io import BytesIO

import pytest

from interactivepet.core.report import MeasurePair, Report
from interactivepet.evaluation.agreement import compare_measures
from interactivepet.evaluation.summarise import make_report
from interactivepet.reporting.agreement_pictures import draw_agreement, list_drawn
from interactivepet.reporting.report_page import render_report
from tests.reporting.examples import make_pairs


def make_measured(pairs: tuple[MeasurePair, ...]) -> Report:
    report = make_report("Task $1_x$", [], title="t", provenance="p")
    return report.model_copy(update={"measures": pairs, "agreement": compare_measures(pairs)})


def read_size(png: bytes) -> tuple[int, int]:
    from PIL import Image

    with Image.open(BytesIO(png)) as image:
        return image.size


def test_a_label_has_two_pictures_per_measure() -> None:
    report = make_measured(make_pairs())
    assert list_drawn(report) == ("a<b",)
    png = draw_agreement(report, "a<b")
    assert read_size(png)[1] == pytest.approx(2 * 290 + 50, abs=2)
    assert draw_agreement(report, "a<b") == png


def test_cases_that_agree_perfectly_can_be_drawn() -> None:
    pairs = tuple(MeasurePair(case=str(n), label="x", measure="n_lesions", value=1, reference=1) for n in range(3))
    assert read_size(draw_agreement(make_measured(pairs), "x"))[0] == 900


def test_nothing_to_compare_is_nothing_to_draw() -> None:
    report = make_measured(())
    assert list_drawn(report) == ()
    assert "Bland-Altman" not in render_report(report, pictures={})


def test_the_page_shows_table_and_picture() -> None:
    report = make_measured(make_pairs())
    page = render_report(report, pictures={}, agreement={"a<b": b"png"})
    assert "Measures of masks and references" in page
    assert "Measures of a&lt;b: scatter and Bland-Altman" in page
    assert "suv_max" in page
