"""Every page keeps its text, tables, links and pictures, escapes names, and misses no value."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from interactivepet.reporting import html
from interactivepet.reporting.curve_page import render_simulation
from interactivepet.reporting.fold_page import render_fold
from interactivepet.reporting.html import render_page
from interactivepet.reporting.report_page import render_report
from tests.reporting.examples import make_example_pages
from tests.reporting.patients import make_patient_examples

EXPECTED = Path(__file__).with_name("expected")
"""Pages of the same examples without their style sheet: a difference is one that readers see."""
PAGES = make_example_pages(render_report, render_fold, render_simulation) | make_patient_examples()
TEMPLATES = Path(html.__file__).with_name("templates")


class Content(HTMLParser):
    """Lists tags with their attributes and the text between them, spaces and style sheet left out."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.parts: list[object] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._end_text()
        self.parts.append((tag, sorted(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag == "style":
            self.text = []
        self._end_text()
        self.parts.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def _end_text(self) -> None:
        if text := " ".join("".join(self.text).split()):
            self.parts.append(text)
        self.text = []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_keeps_its_text_tables_links_and_pictures(name: str) -> None:
    expected = (EXPECTED / f"{name}.html").read_text(encoding="utf-8")
    assert Content(PAGES[name]).parts == Content(expected).parts


def test_every_page_has_an_example() -> None:
    templates = {path.name.removesuffix(".html.j2") for path in TEMPLATES.glob("*.html.j2")} - {"page", "macros"}
    assert {name.split("_")[0] for name in PAGES} == templates


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_its_style_and_needs_no_other_file(name: str) -> None:
    page = PAGES[name]
    assert "font-variant-numeric" in page
    assert "&amp;" not in page[page.index("<style>") : page.index("</style>")]
    assert all(word not in page for word in ("http:", "https:", "<link", "<script ", "@import", "url(", "fetch("))
    # only a projection that turns has a script
    assert page.count("<script>") == (name.startswith("patient") and name != "patient_flat")


def test_a_value_that_a_template_misses_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="'report' is undefined"):
        render_page("report", title="a page")


def test_templates_are_part_of_the_installed_package(tmp_path: Path) -> None:
    root = Path(html.__file__).parents[2]
    command = [sys.executable, "setup.py", "--quiet", "build_py", "--build-lib", str(tmp_path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    packed = {path.name for path in (tmp_path / "interactivepet" / "reporting" / "templates").iterdir()}
    assert packed == {path.name for path in TEMPLATES.iterdir()}
