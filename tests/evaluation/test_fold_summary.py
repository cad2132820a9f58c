from __future__ import annotations

import pytest

from interactivepet.core.checkpoint import CheckpointCard
from interactivepet.evaluation.fold_summary import summarise_fold
from tests.reporting.examples import make_card


def make_changed_card(**changes: object) -> CheckpointCard:
    return make_card().model_copy(update=changes)


def test_cases_come_from_the_worst_dice_with_clicks_and_have_their_gain() -> None:
    summary = summarise_fold(make_card())
    assert [case.case for case in summary.cases] == ["bad & <i>", "middle", "good"]
    assert [case.gain for case in summary.cases] == pytest.approx([-0.05, 0.1, 0.1])
    assert summary.mean_dice == pytest.approx({"none": 0.6, "extreme": 0.65})


@pytest.mark.parametrize(
    ("dice", "names", "gains"),
    [
        ({}, [], []),
        ({"none": {"a": 0.5}}, [], []),
        ({"extreme": {"b": 0.5, "a": 0.5}}, ["a", "b"], [None, None]),
        ({"none": {"a": 0.5}, "extreme": {"a": 0.5, "b": 0.1}}, ["b", "a"], [None, 0.0]),
    ],
)
def test_a_mode_that_was_not_predicted_leaves_a_gap(
    dice: dict[str, dict[str, float]], names: list[str], gains: list[float | None]
) -> None:
    summary = summarise_fold(make_changed_card(validation_dice=dice))
    assert [case.case for case in summary.cases] == names
    assert [case.gain for case in summary.cases] == gains
    assert set(summary.mean_dice) == set(dice)


def test_epochs_give_time_speed_waiting_and_memory() -> None:
    first, *others = make_card(3).epochs
    long = first.model_copy(update={"seconds": 30.0, "wait_share": 0.5, "memory_gb": 2.0, "iterations_per_second": 9.0})
    summary = summarise_fold(make_changed_card(epochs=(long, *others)))
    assert (summary.seconds, summary.memory_gb, summary.iterations_per_second) == (50.0, 2.0, 5.0)
    assert summary.wait_share == pytest.approx((0.5 * 30 + 0.1 * 20) / 50)
    assert summarise_fold(make_changed_card(epochs=(first.model_copy(update={"seconds": 0.0}),))).wait_share == 0.0
