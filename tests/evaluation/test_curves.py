"""Areas in the challenges' definitions, clicks to a Dice, and the summary of a simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import trapezoid

from interactivepet.evaluation.curves import area_under, count_clicks_to
from tests.reporting.examples import make_example_simulation, make_simulated_case


def test_areas_are_those_of_the_challenges() -> None:
    rng = np.random.default_rng(0)
    for n_steps, best in ((11, 10.0), (6, 5.0)):
        assert area_under([1.0] * n_steps) == best
        values = rng.random(n_steps).tolist()
        assert area_under(values) == pytest.approx(trapezoid(values, np.arange(n_steps)))
    assert area_under([0.5]) == 0.0


def test_a_case_has_areas_of_the_metrics_that_are_always_defined() -> None:
    areas = {area.metric: area for area in make_simulated_case("A", [0.2, 0.6, 0.8]).areas}
    assert areas["dice"].area == pytest.approx(0.4 + 0.7)
    assert areas["dice"].mean == pytest.approx(0.55)
    assert areas["false_negative_ml"].area == pytest.approx(1.2 + 0.6)
    assert "lesion_f1" not in {area.metric for area in make_simulated_case("A", [0.0, 1.0], f1=None).areas}
    assert make_simulated_case("A", [0.3]).areas == ()


def test_clicks_to_a_dice_count_failures_as_infinite() -> None:
    cases = [
        make_simulated_case("A", [0.7, 0.8, 0.9]),
        make_simulated_case("B", [0.5, 0.6, 0.85], first=6),
        make_simulated_case("C", [0.1, 0.2, 0.3]),
    ]
    reached = count_clicks_to(cases, 0.80)
    assert (reached.n_reached, reached.n_failed, reached.median) == (2, 1, 8.0)
    assert count_clicks_to(cases[:2], 0.80).median == 4.5
    assert count_clicks_to(cases, 0.90).median is None
    assert count_clicks_to(cases[1:], 0.80).median is None
    assert count_clicks_to([make_simulated_case("D", [0.9, 0.2])], 0.90).median == 0


def test_a_simulation_sums_up_its_cases() -> None:
    cases = [
        make_simulated_case("A", [0.7, 0.8, 0.9]),
        make_simulated_case("B", [0.5, 0.3, 0.7]),
        make_simulated_case("F", [0.0, 0.0, 1.0], f1=None),
    ]
    found = make_example_simulation(cases)
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
    assert make_example_simulation(cases[:1]).largest_fall == 0.0
    assert make_example_simulation(cases).made_from != make_example_simulation(cases[:2]).made_from


def test_without_corrections_there_is_neither_time_nor_area() -> None:
    found = make_example_simulation([make_simulated_case("A", [0.7])])
    assert (found.seconds_median, found.seconds_95, found.n_corrections) == (None, None, 0)
    assert found.curves[0].area == 0.0
