from __future__ import annotations

import pytest

from interactivepet.core.plan import Architecture, Budget
from interactivepet.planning.plan import PlanOptions, make_plans
from interactivepet.planning.request import PlanRequest, complete_request, is_planned, set_negatives
from tests.planning.factory import make_fingerprint

FINGERPRINT = make_fingerprint()
PLANS = make_plans(FINGERPRINT, "8gb", architecture="residual", options=PlanOptions(negatives=0.25))


@pytest.mark.parametrize(
    ("budget", "architecture", "options"),
    [
        (None, None, PlanOptions()),
        ("8gb", "residual", PlanOptions(interactive=False, normalise="suv", configurations=("3d_fullres",))),
        (None, None, PlanOptions(negatives="exclude")),
    ],
)
def test_a_plan_that_is_what_is_asked_for_stays(
    budget: Budget | None, architecture: Architecture | None, options: PlanOptions
) -> None:
    assert is_planned(PLANS, PlanRequest(budget, architecture, options))


@pytest.mark.parametrize(
    ("budget", "architecture", "options"),
    [
        ("cpu", None, PlanOptions()),
        (None, "plain", PlanOptions()),
        (None, None, PlanOptions(interactive=True)),
        (None, None, PlanOptions(target_shape=(32, 32, 32))),
        (None, None, PlanOptions(normalise="minmax")),
        (None, None, PlanOptions(configurations=("3d_fullres", "2d"))),
    ],
)
def test_anything_else_is_planned_anew(
    budget: Budget | None, architecture: Architecture | None, options: PlanOptions
) -> None:
    assert not is_planned(PLANS, PlanRequest(budget, architecture, options))


def test_what_is_not_asked_for_stays_as_it_was() -> None:
    options = PlanOptions(interactive=True, target_shape=(32, 32, 32), normalise="minmax")
    present = make_plans(FINGERPRINT, "8gb", architecture="residual", options=options)
    filled = complete_request(PlanRequest("24gb", overrides=("training.epochs=3",)), present)
    assert (filled.budget, filled.architecture) == ("24gb", "residual")
    assert filled.overrides == ("training.epochs=3",)
    assert filled.options == PlanOptions(
        interactive=True, target_shape=(32, 32, 32), normalise="minmax", negatives="keep"
    )
    assert complete_request(PlanRequest(options=PlanOptions(interactive=True)), PLANS).options.normalise is None


def test_configurations_and_other_schemes_are_left_to_the_rules() -> None:
    asked = PlanOptions(configurations=("3d_fullres", "2d"), normalise="zscore")
    filled = complete_request(PlanRequest("24gb"), make_plans(FINGERPRINT, "8gb", options=asked)).options
    assert (filled.configurations, filled.normalise) == (None, None)


def test_negatives_change_nothing_else() -> None:
    changed = set_negatives(PLANS, "exclude")
    assert changed.configurations["3d_fullres"].training.negatives == "exclude"
    assert set_negatives(changed, 0.25) == PLANS
    assert set_negatives(PLANS, None) is PLANS
