from __future__ import annotations

import pytest
from pydantic import ValidationError

from interactivepet.core.plan import Budget, Plans
from interactivepet.core.promptable import PromptablePlan, PromptEncoding, StartingModel
from interactivepet.planning.budgets import BUDGETS, fits
from interactivepet.planning.cost import estimate_cost
from interactivepet.planning.plan import make_plans
from interactivepet.planning.promptable import make_promptable_plan
from tests.planning.factory import make_fingerprint


def make_task_plans(budget: Budget) -> Plans:
    return make_plans(make_fingerprint(channels=("PET", "CT"), n_labels=2), budget)


@pytest.mark.parametrize("budget", list(BUDGETS))
def test_the_network_fits_its_budget_and_sessions_can_refine_with_its_patch(budget: Budget) -> None:
    plan = make_promptable_plan(make_task_plans(budget))
    cost = estimate_cost(
        plan.patch_size, plan.network, batch_size=plan.training.batch_size, optimizer=plan.training.optimizer
    )
    assert fits(cost, BUDGETS[budget])
    assert plan.memory == cost.memory
    assert min(plan.patch_size) > 48
    assert len(set(plan.patch_size)) == 1
    assert (plan.network.input_channels, plan.network.output_channels) == (8, 2)
    assert plan.channel == "PET"
    coarsest = plan.patch_size[0] // plan.network.divisor[0]
    assert 4 <= coarsest < 8


def test_larger_budgets_see_more() -> None:
    edges = [make_promptable_plan(make_task_plans(budget)).patch_size[0] for budget in BUDGETS]
    assert edges == sorted(edges)
    assert (edges[0], edges[-1]) == (64, 192)


def test_a_model_to_start_from_keeps_its_network_and_prompts() -> None:
    plans = make_task_plans("cpu")
    own = make_promptable_plan(plans)
    large = make_promptable_plan(make_task_plans("80gb")).network
    start = StartingModel(large, (192, 192, 192), PromptEncoding(decay=0.9), "a licence", "abc")
    tuned = make_promptable_plan(plans, start=start)
    assert (tuned.network, tuned.patch_size, tuned.prompts.decay) == (large, (192, 192, 192), 0.9)
    assert tuned.pretrained == "abc"
    assert tuned.training.learning_rate < own.training.learning_rate
    assert tuned.content_hash() != own.content_hash()


def test_another_number_of_channels_is_refused() -> None:
    plan = make_promptable_plan(make_task_plans("cpu"))
    network = plan.network.model_copy(update={"input_channels": 7})
    with pytest.raises(ValidationError, match="8 input and 2 output channels"):
        PromptablePlan(**{**plan.model_dump(), "network": network.model_dump()})
