from __future__ import annotations

import numpy as np

from interactivepet.core.ensemble import PostprocessingRule
from interactivepet.postprocessing.choose import choose_simplest, make_candidates

VOLUMES_ML = (0.9, 2.0, 3.0, 40.0, 12.34)


def count_steps(rule: PostprocessingRule) -> int:
    return rule.keep_clicked + rule.largest_component + (rule.minimum_volume_ml > 0) + rule.fill_holes


def test_candidates_start_with_nothing_and_grow() -> None:
    candidates = make_candidates(VOLUMES_ML, with_clicks=True)
    assert candidates[0] == PostprocessingRule()
    steps = [count_steps(rule) for rule in candidates]
    assert steps == sorted(steps)
    assert len(set(candidates)) == len(candidates) == 20


def test_candidates_hold_every_combination_that_makes_sense() -> None:
    candidates = make_candidates(VOLUMES_ML, with_clicks=True)
    flags = {(r.keep_clicked, r.largest_component, r.minimum_volume_ml > 0, r.fill_holes) for r in candidates}
    assert len(flags) == 12
    assert not any(r.largest_component and r.minimum_volume_ml > 0 for r in candidates)


def test_without_clicks_none_are_needed() -> None:
    candidates = make_candidates(VOLUMES_ML, with_clicks=False)
    assert len(candidates) == 10
    assert not any(rule.keep_clicked for rule in candidates)


def test_minimum_volumes_are_round_and_small() -> None:
    volumes = {r.minimum_volume_ml for r in make_candidates(VOLUMES_ML, with_clicks=False)}
    # Half of 0.9; then 0.9 + 0.04 * 1.1 and 0.9 + 0.2 * 1.1, to two significant digits.
    assert volumes == {0.0, 0.45, 0.94, 1.1}
    assert {r.minimum_volume_ml for r in make_candidates([3.0], with_clicks=False)} == {0.0, 1.5, 2.0}


def test_without_objects_there_is_nothing_small() -> None:
    candidates = make_candidates([], with_clicks=False)
    assert {r.minimum_volume_ml for r in candidates} == {0.0}
    assert len(candidates) == 4


def test_the_simpler_candidate_stays_within_the_margin() -> None:
    scores = np.array([[0.80, 0.80], [0.80, 0.81], [0.82, 0.83]])
    assert choose_simplest(scores, margin=0.01) == 2
    assert choose_simplest(scores[:2], margin=0.01) == 0
    assert choose_simplest(scores, margin=0.05) == 0
    assert choose_simplest(np.full((3, 2), 0.7), margin=0.0) == 0


def test_the_margin_counts_from_the_present_choice() -> None:
    # The third beats the first by more than the margin, but not the second, which was chosen by then.
    scores = np.array([[0.50], [0.52], [0.525]])
    assert choose_simplest(scores, margin=0.01) == 1


def test_without_cases_the_first_is_chosen() -> None:
    assert choose_simplest(np.empty((4, 0)), margin=0.0) == 0


def test_a_gain_within_its_own_standard_error_is_not_taken() -> None:
    # mean gain 0.02 in both, but in the second case it comes from one case of four
    steady = np.array([[0.5, 0.6, 0.7, 0.8], [0.52, 0.62, 0.72, 0.82]])
    lucky = np.array([[0.5, 0.6, 0.7, 0.8], [0.48, 0.58, 0.68, 0.94]])
    assert choose_simplest(steady, margin=0.002) == 1
    assert lucky[1].mean() > lucky[0].mean() + 0.019
    assert choose_simplest(lucky, margin=0.002) == 0


def test_no_large_component_is_ever_dropped_for_its_size() -> None:
    volumes = {r.minimum_volume_ml for r in make_candidates([60.0, 90.0, 400.0], with_clicks=False)}
    assert volumes == {0.0, 2.0}
