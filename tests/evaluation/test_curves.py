"""Areas in the challenges' definitions, clicks to a Dice, and the picture and page of a simulation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.integrate import trapezoid

from interactivepet.core.simulation import SimulatedCase, SimulatedStep, Simulation
from interactivepet.evaluation.curve_page import render_simulation
from interactivepet.evaluation.curve_pictures import draw_curves
from interactivepet.evaluation.curves import area_under, count_clicks_to, find_areas, make_simulation


def make_step(dice: float, n_clicks: int, *, f1: float | None = 1.0, seconds: float | None = 0.1) -> SimulatedStep:
    return SimulatedStep(
        n_clicks=n_clicks,
        added=(),
        dice=dice,
        false_positive_ml=1 - dice,
        false_negative_ml=2 * (1 - dice),
        lesion_f1=f1,
        surface_dice_2mm=dice,
        surface_dice_5mm=dice,
        n_disobeyed=0,
        seconds=seconds,
    )


def make_case(name: str, dice: Sequence[float], *, first: int = 0, f1: float | None = 1.0) -> SimulatedCase:
    steps = tuple(make_step(value, first + n, f1=f1, seconds=float(n)) for n, value in enumerate(dice))
    return SimulatedCase(
        case=name, fold=0, models="networks (MIT)", is_lesion_free=f1 is None, steps=steps, areas=find_areas(steps)
    )


def make(cases: Sequence[SimulatedCase]) -> Simulation:
    return make_simulation("Task900", cases, name="ours", provenance="who & what", user="perfect", start="none", seed=0)


def test_areas_are_those_of_the_challenges() -> None:
    rng = np.random.default_rng(0)
    for n_steps, best in ((11, 10.0), (6, 5.0)):
        assert area_under([1.0] * n_steps) == best
        values = rng.random(n_steps).tolist()
        assert area_under(values) == pytest.approx(trapezoid(values, np.arange(n_steps)))
    assert area_under([0.5]) == 0.0


def test_a_case_has_areas_of_the_metrics_that_are_always_defined() -> None:
    areas = {area.metric: area for area in make_case("A", [0.2, 0.6, 0.8]).areas}
    assert areas["dice"].area == pytest.approx(0.4 + 0.7)
    assert areas["dice"].mean == pytest.approx(0.55)
    assert areas["false_negative_ml"].area == pytest.approx(1.2 + 0.6)
    assert "lesion_f1" not in {area.metric for area in make_case("A", [0.0, 1.0], f1=None).areas}
    assert make_case("A", [0.3]).areas == ()


def test_clicks_to_a_dice_count_failures_as_infinite() -> None:
    cases = [
        make_case("A", [0.7, 0.8, 0.9]),
        make_case("B", [0.5, 0.6, 0.85], first=6),
        make_case("C", [0.1, 0.2, 0.3]),
    ]
    reached = count_clicks_to(cases, 0.80)
    assert (reached.n_reached, reached.n_failed, reached.median) == (2, 1, 8.0)
    assert count_clicks_to(cases[:2], 0.80).median == 4.5
    assert count_clicks_to(cases, 0.90).median is None
    assert count_clicks_to(cases[1:], 0.80).median is None
    assert count_clicks_to([make_case("D", [0.9, 0.2])], 0.90).median == 0


def test_a_simulation_sums_up_its_cases() -> None:
    cases = [make_case("A", [0.7, 0.8, 0.9]), make_case("B", [0.5, 0.3, 0.7]), make_case("F", [0.0, 0.0, 1.0], f1=None)]
    found = make(cases)
    curves = {curve.metric: curve for curve in found.curves}
    assert [point.mean for point in curves["dice"].points] == pytest.approx([0.4, 1.1 / 3, 2.6 / 3])
    assert curves["dice"].points[0].n == 3
    assert curves["lesion_f1"].points[0].n == 2
    assert curves["dice"].area == pytest.approx(np.mean([1.6, 0.9, 0.5]))
    assert curves["dice"].mean == pytest.approx(curves["dice"].area / 2)
    assert found.largest_fall == pytest.approx(0.4 - 1.1 / 3)
    assert (found.n_cases, found.n_lesion_free, found.n_corrections) == (3, 1, 2)
    assert found.n_clicks == (0.0, 1.0, 2.0)
    # The first answer is no correction: of 1 s and 2 s in each case.
    assert found.seconds_median == pytest.approx(1.5)
    assert [target.dice for target in found.clicks_to] == [0.80, 0.85, 0.90]
    assert make(cases[:1]).largest_fall == 0.0
    assert make(cases).made_from != make(cases[:2]).made_from


def test_without_corrections_there_is_neither_time_nor_area() -> None:
    found = make([make_case("A", [0.7])])
    assert (found.seconds_median, found.seconds_95, found.n_corrections) == (None, None, 0)
    assert found.curves[0].area == 0.0
    assert render_simulation(found, [make_case("A", [0.7])], curves=b"").count("<table>") == 3


def test_the_page_shows_everything_without_other_files() -> None:
    cases = [make_case("A<1>", [0.7, 0.8, 0.9]), make_case("B", [0.5, 0.3, 0.7])]
    found = make(cases)
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
