from __future__ import annotations

import hypothesis.extra.numpy as hnp
import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from interactivepet.core.ensemble import PostprocessingRule
from interactivepet.postprocessing.choose import choose_simplest, make_candidates, nested_scores

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
    assert {r.minimum_volume_ml for r in make_candidates([5.0], with_clicks=False)} == {0.0, 2.5, 5.0}


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


def test_nested_scores_by_hand() -> None:
    # Without fold 0, the second candidate looks best; without fold 1, the first one does.
    scores = np.array([[0.9, 0.8, 0.2, 0.3], [0.1, 0.2, 0.7, 0.8]])
    folds = np.array([0, 0, 1, 1])
    np.testing.assert_array_equal(nested_scores(scores, folds, margin=0.0), [0.1, 0.2, 0.2, 0.3])


def test_a_single_fold_is_scored_with_the_simplest() -> None:
    scores = np.array([[0.1, 0.2], [0.9, 0.9]])
    np.testing.assert_array_equal(nested_scores(scores, np.zeros(2, np.int64), margin=0.0), [0.1, 0.2])


@given(
    hnp.arrays(np.float64, (4, 9), elements=st.floats(0, 1)),
    hnp.arrays(np.int64, 9, elements=st.integers(0, 2)),
    st.floats(0, 0.1),
)
@settings(deadline=None, max_examples=60)
def test_nested_scores_never_look_at_their_own_fold(
    scores: npt.NDArray[np.float64], folds: npt.NDArray[np.int64], margin: float
) -> None:
    nested = nested_scores(scores, folds, margin=margin)
    for fold in np.unique(folds):
        own = folds == fold
        changed = scores.copy()
        changed[:, own] += np.array([[0], [5], [7], [3]])
        moved = nested_scores(changed, folds, margin=margin)
        rows = [row for row in range(4) if np.array_equal(moved[own], changed[row, own])]
        assert any(np.array_equal(nested[own], scores[row, own]) for row in rows)
