from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from interactivepet.core.ensemble import FusionRule, PostprocessingRule
from interactivepet.core.geometry import Geometry
from interactivepet.core.interaction import Click
from interactivepet.core.plan import Configuration
from interactivepet.core.prediction import Prediction
from interactivepet.ensemble.choose import THRESHOLDS, WEIGHTS, ClickStage, OutOfFoldCase, choose_rule, list_pools
from interactivepet.ensemble.fuse import average
from interactivepet.errors import FusionError

SHAPE = (12, 10, 8)
ONE: tuple[Configuration, ...] = ("3d_fullres",)
TWO: tuple[Configuration, ...] = ("3d_fullres", "3d_cascade")
GEOMETRY = Geometry(SHAPE, np.diag([10.0, 10.0, 10.0, 1.0]))
"""One voxel is 1 ml."""


CLICK = Click(position_mm=tuple(GEOMETRY.to_mm((3, 3, 3)).tolist()))
"""In the label's middle."""


def make_label() -> np.ndarray:
    label = np.zeros(SHAPE, dtype=np.uint8)
    label[2:6, 2:6, 2:6] = 1
    return label


def predict(case_id: str, foreground: np.ndarray) -> Callable[..., Prediction]:
    share = foreground.astype(np.float32)
    return lambda *_: Prediction(case_id, np.stack([1 - share, share]), GEOMETRY, (1,))


def make_cases(
    folds: np.ndarray,
    promptable: np.ndarray | None = None,
    n: int = 6,
    n_folds: int = 3,
    clicks: tuple[Click, ...] = (),
) -> list[OutOfFoldCase]:
    return [
        OutOfFoldCase(
            id=f"C{number}",
            fold=number % n_folds,
            geometry=GEOMETRY,
            load_label=make_label,
            stages=(
                ClickStage(
                    clicks,
                    predict(f"C{number}", folds),
                    None if promptable is None else predict(f"C{number}", promptable),
                ),
            ),
        )
        for number in range(n)
    ]


def test_a_perfect_fold_prediction_needs_nothing_else() -> None:
    label = make_label().astype(float)
    choice = choose_rule(make_cases(label, label, clicks=(CLICK,)), labels=(1,), pools=[ONE], with_clicks=True)
    assert choice.fusion == FusionRule(configurations=ONE)
    assert choice.postprocessing == PostprocessingRule()
    assert choice.dice == choice.nested_dice == 1.0
    assert choice.nested_fold_dice == (1.0, 1.0, 1.0)


def test_the_promptable_model_is_chosen_when_it_is_better() -> None:
    label = make_label().astype(float)
    cases = make_cases(np.roll(label, 2, axis=0), label, clicks=(CLICK,))
    choice = choose_rule(cases, labels=(1,), pools=[ONE], with_clicks=True)
    assert choice.fusion.nninteractive_weight == 1.0
    assert choice.dice == 1.0


@pytest.mark.parametrize("shift", [0, 2])
def test_the_folds_alone_are_scored_where_the_promptable_model_has_a_share(shift: int) -> None:
    """Whoever predicts without nnInteractive gets this score, whatever threshold and clean-up were chosen."""
    label = make_label().astype(float)
    cases = make_cases(np.roll(0.45 * label, shift, axis=0), label, clicks=(CLICK,))
    choice = choose_rule(cases, labels=(1,), pools=[ONE], with_clicks=True)
    assert choice.fusion.nninteractive_weight > 0
    last = choice.candidates[-1]
    assert (last.fusion.nninteractive_weight, last.chosen) == (0.0, False)
    assert last.fusion == choice.fusion.model_copy(update={"nninteractive_weight": 0.0})
    assert last.postprocessing == choice.postprocessing
    without = make_cases(np.roll(0.45 * label, shift, axis=0), clicks=(CLICK,))
    folds_alone = choose_rule(without, labels=(1,), pools=[ONE], with_clicks=True)
    by_threshold = {c.fusion.threshold: c.dice for c in folds_alone.candidates if c.stage == "threshold"}
    assert last.dice == pytest.approx(by_threshold[choice.fusion.threshold])
    assert len(last.fold_dice) == 3


def test_without_clicks_or_promptable_model_only_the_folds_are_tried() -> None:
    label = make_label().astype(float)
    worse = np.roll(label, 2, axis=0)
    for cases, with_clicks in ((make_cases(worse, label), False), (make_cases(worse), True)):
        choice = choose_rule(cases, labels=(1,), pools=[ONE], with_clicks=with_clicks)
        tried = {candidate.fusion.nninteractive_weight for candidate in choice.candidates}
        assert tried == {0.0}
        assert choice.dice == pytest.approx(0.5)


def test_threshold_and_postprocessing_repair_what_they_can() -> None:
    faint = 0.45 * make_label()
    faint[10, 8, 6] = 0.45
    choice = choose_rule(make_cases(faint), labels=(1,), pools=[ONE], with_clicks=False)
    assert choice.fusion.threshold == 0.4
    assert choice.postprocessing != PostprocessingRule()
    assert choice.dice == choice.nested_dice == 1.0


def test_every_candidate_is_recorded_with_its_folds() -> None:
    label = make_label().astype(float)
    choice = choose_rule(
        make_cases(label, np.roll(label, 1, axis=1), clicks=(CLICK,)), labels=(1,), pools=[ONE], with_clicks=True
    )
    by_stage = {
        stage: [candidate for candidate in choice.candidates if candidate.stage == stage]
        for stage in ("blend", "threshold", "postprocessing")
    }
    assert [candidate.fusion.nninteractive_weight for candidate in by_stage["blend"]] == list(WEIGHTS)
    assert [candidate.fusion.threshold for candidate in by_stage["threshold"]] == list(THRESHOLDS)
    assert len(by_stage["postprocessing"]) > 4
    for candidates in by_stage.values():
        assert sum(candidate.chosen for candidate in candidates) == 1
        assert all(len(candidate.fold_dice) == 3 for candidate in candidates)
    rolled = by_stage["blend"][1]
    assert rolled.dice == pytest.approx(0.75)
    assert rolled.fold_dice == pytest.approx((0.75, 0.75, 0.75))


def test_the_nested_estimate_is_blind_to_the_fold_it_scores() -> None:
    """Two folds that contradict each other: each one's best choice is wrong for the other."""
    label = make_label().astype(float)
    faint, spilled = 0.45 * label, label.copy()
    spilled[6:8, 2:6, 2:6] = 0.45
    cases = [*make_cases(faint, n=3, n_folds=1), *make_cases(spilled, n=6, n_folds=2)[1::2]]
    choice = choose_rule(cases, labels=(1,), pools=[ONE], with_clicks=False)
    assert [case.fold for case in cases] == [0, 0, 0, 1, 1, 1]
    # With threshold 0.4 the faint cases are perfect and the others are 64 of 64 + 32 voxels: 0.8.
    assert choice.fusion.threshold == 0.4
    assert choice.dice == pytest.approx(0.9)
    # Chosen on the spilled cases alone, 0.5 stays and loses the faint ones; the other way round 0.8 is left.
    assert choice.nested_fold_dice == pytest.approx((0.0, 0.8))
    assert choice.nested_dice == pytest.approx(0.4)


def test_with_one_fold_each_case_is_left_out_in_turn() -> None:
    label = make_label().astype(float)
    choice = choose_rule(make_cases(label, n=4, n_folds=1), labels=(1,), pools=[ONE], with_clicks=False)
    assert choice.nested_fold_dice == (1.0, 1.0, 1.0, 1.0)


def test_predictions_are_loaded_one_case_after_the_other_and_once_a_stage() -> None:
    label = make_label().astype(float)
    loaded: list[str] = []

    def load(case_id: str) -> Prediction:
        loaded.append(case_id)
        return predict(case_id, label)()

    cases = [
        OutOfFoldCase(name, number, GEOMETRY, make_label, (ClickStage((), lambda _, name=name: load(name)),))  # type: ignore[misc]
        for number, name in enumerate(("A", "B", "C"))
    ]
    steps: list[tuple[int, int]] = []
    choose_rule(
        cases,
        labels=(1,),
        pools=[ONE],
        with_clicks=False,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert loaded == ["A", "B", "C"] * 3
    assert steps == [(1, 3), (2, 3), (3, 3)] * 4


def test_cases_that_give_no_basis_for_a_choice_are_refused() -> None:
    label = make_label().astype(float)
    with pytest.raises(FusionError, match="at least two"):
        choose_rule(make_cases(label, n=1), labels=(1,), pools=[ONE], with_clicks=False)
    mixed = [*make_cases(label, label, n=2)[:1], *make_cases(label, n=2)[1:]]
    with pytest.raises(FusionError, match="C1: no nnInteractive prediction"):
        choose_rule(mixed, labels=(1,), pools=[ONE], with_clicks=True)


def make_case(number: int, predictions: dict[Configuration, np.ndarray]) -> OutOfFoldCase:
    name = f"C{number}"
    loaders = {key: predict(name, found) for key, found in predictions.items()}
    stage = ClickStage((), lambda pool: average(loaders[key]() for key in pool))
    return OutOfFoldCase(name, number % 3, GEOMETRY, make_label, (stage,))


def test_the_second_step_is_chosen_when_it_is_better() -> None:
    label = make_label().astype(float)
    cases = [make_case(n, {"3d_fullres": np.roll(label, 1, axis=0), "3d_cascade": label}) for n in range(6)]
    choice = choose_rule(cases, labels=(1,), pools=list_pools(TWO), with_clicks=False)
    assert choice.fusion.configurations == ("3d_cascade",)
    assert choice.dice == choice.nested_dice == 1.0
    tried = [c.fusion.configurations for c in choice.candidates if c.stage == "configuration"]
    assert tried == [("3d_fullres",), ("3d_cascade",), TWO]


def test_the_second_step_is_not_chosen_when_it_gains_nothing() -> None:
    label = make_label().astype(float)
    cases = [make_case(n, {"3d_fullres": label, "3d_cascade": label}) for n in range(6)]
    choice = choose_rule(cases, labels=(1,), pools=list_pools(TWO), with_clicks=False)
    assert choice.fusion.configurations == ("3d_fullres",)


def test_two_configurations_are_averaged_when_they_complete_each_other() -> None:
    label = make_label().astype(float)
    left, right = label.copy(), label.copy()
    left[10, 8, 6], right[0, 0, 0] = 0.9, 0.9
    left[4:6] *= 0.2
    right[2:4] *= 0.2
    cases = [make_case(n, {"3d_fullres": left, "3d_cascade": right}) for n in range(6)]
    choice = choose_rule(cases, labels=(1,), pools=list_pools(TWO), with_clicks=False)
    assert choice.fusion.configurations == TWO
    assert choice.dice == 1.0


def test_a_blend_never_falls_behind_the_better_of_the_two() -> None:
    label = make_label().astype(float)
    smaller = label.copy()
    smaller[2, 2, 2] = 0  # better by less than what a more complicated rule would have to gain
    for folds, promptable, weight in ((smaller, label, 1.0), (label, smaller, 0.0)):
        cases = make_cases(folds, promptable, clicks=(CLICK,))
        choice = choose_rule(cases, labels=(1,), pools=[ONE], with_clicks=True, margin=0.1)
        assert choice.fusion.nninteractive_weight == weight
        assert choice.dice == 1.0


def test_the_score_of_a_case_is_the_mean_over_its_moments() -> None:
    label = make_label().astype(float)
    half = label.copy()
    half[2:4] = 0
    stages = tuple(ClickStage((), predict("C", found)) for found in (label, half))
    cases = [OutOfFoldCase("C", number, GEOMETRY, make_label, stages) for number in range(3)]
    choice = choose_rule(cases, labels=(1,), pools=[ONE], with_clicks=False)
    assert choice.dice == pytest.approx((1 + 2 / 3) / 2)
    nowhere = [
        OutOfFoldCase("C", 0, GEOMETRY, make_label, (*stages, ClickStage((), predict("C", half), predict("C", half))))
    ]
    with pytest.raises(FusionError, match="no nnInteractive prediction"):
        choose_rule([*nowhere, *nowhere, *make_cases(label, label)], labels=(1,), pools=[ONE], with_clicks=True)
