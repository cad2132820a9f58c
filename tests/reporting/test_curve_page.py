from __future__ import annotations

from interactivepet.reporting.curve_page import render_simulation
from interactivepet.reporting.curve_pictures import draw_curves
from tests.reporting.examples import make_example_simulation, make_simulated_case


def test_without_corrections_every_table_is_there() -> None:
    case = make_simulated_case("A", [0.7])
    assert render_simulation(make_example_simulation([case]), [case], curves=b"").count("<table>") == 3


def test_the_page_shows_everything_without_other_files() -> None:
    cases = [make_simulated_case("A<1>", [0.7, 0.8, 0.9]), make_simulated_case("B", [0.5, 0.3, 0.7])]
    found = make_example_simulation(cases)
    png = draw_curves(found)
    assert png.startswith(b"\x89PNG")
    assert png == draw_curves(found)
    page = render_simulation(found, cases, curves=png)
    assert "A&lt;1&gt;" in page
    assert "who &amp; what" in page
    assert page.index(">B<") < page.index("A&lt;1&gt;")
    assert "Research software, not a medical device." in page
    assert 'src="data:image/png;base64,' in page
    assert "http" not in page
    assert f"{found.curves[0].area:.3f}" in page
