"""Plan a promptable network in nnInteractive's form: as large as the budget allows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from interactivepet.core.plan import ClickSampling, Plans, TrainingPlan, UNetPlan
from interactivepet.core.promptable import N_PROMPT_CHANNELS, PromptablePlan, PromptEncoding, StartingModel
from interactivepet.errors import PlanError
from interactivepet.planning.budgets import BUDGETS, MemoryBudget, fits
from interactivepet.planning.cost import estimate_cost
from interactivepet.planning.sizing import RESIDUAL_BLOCKS

__all__ = ["make_promptable_plan"]

PATCH_EDGES = (192, 160, 128, 96, 64)
"""nnInteractive refines large objects in patches of which it uses the inner part, 48 voxels less: 96 and more are
better, and 48 and less impossible. On a CPU 64 is what can be trained."""

BASE_FEATURES = (32, 16, 12, 8)
"""Feature maps of the finest stage; a wide network goes before a large patch."""

COARSEST_EDGE = 4
"""Voxels that the coarsest stage is wide, or a little more."""

BATCH_SIZE = 2

STEP_SHARE = 0.5
"""Of the budget's arithmetic; the rest goes to the predictions that prompts correct."""

LEARNING_RATE = 2e-3
"""From random weights."""

TUNING_RATE = 2e-4
"""From a trained model's weights."""

WARM_UP = 0.02
"""Share of the iterations in which the rate rises: AdamW knows no gradient at its first step."""


def make_promptable_plan(plans: Plans, *, start: StartingModel | None = None) -> PromptablePlan:
    """Plan network, patch and training for the budget of the task's plans.

    Args:
        plans: of the task.
        start: a model to start from, whose network, patch and prompts are kept, whatever the budget.

    Raises:
        PlanError: nothing fits the budget.
    """
    budget = BUDGETS[plans.budget]
    if start is not None:
        edges, network = start.patch_size, start.network
    else:
        edges, network = _choose_network(budget, where=f"{plans.task}: budget {plans.budget}")
    return PromptablePlan(
        made_from=plans.content_hash(),
        task=plans.task,
        budget=plans.budget,
        channel=plans.channels[0],
        patch_size=edges,
        network=network,
        training=TrainingPlan(
            batch_size=BATCH_SIZE,
            epochs=budget.epochs,
            iterations_per_epoch=budget.iterations_per_epoch,
            learning_rate=LEARNING_RATE if start is None else TUNING_RATE,
            warm_up=WARM_UP,
            mirror_axes=plans.plan(plans.default).training.mirror_axes,
            clicks=ClickSampling(noise_mm=0.0),
        ),
        memory=estimate_cost(edges, network, batch_size=BATCH_SIZE).memory,
        prompts=PromptEncoding() if start is None else start.prompts,
        pretrained="" if start is None else start.sha256,
    )


def _choose_network(budget: MemoryBudget, *, where: str) -> tuple[tuple[int, int, int], UNetPlan]:
    limits = replace(budget, gigaflops=STEP_SHARE * budget.gigaflops)
    for edges, network in _list_candidates(budget):
        if fits(estimate_cost(edges, network, batch_size=BATCH_SIZE), limits):
            return edges, network
    raise PlanError(f"{where}: no promptable network fits; plan the task with a larger --budget")


def _list_candidates(budget: MemoryBudget) -> Iterator[tuple[tuple[int, int, int], UNetPlan]]:
    """List patches and networks, the most wanted first."""
    for base in BASE_FEATURES:
        for edge in PATCH_EDGES:
            if base <= budget.base_features:
                yield (edge, edge, edge), _make_network(edge, base, budget=budget)


def _make_network(edge: int, base: int, *, budget: MemoryBudget) -> UNetPlan:
    """Make a U-Net that halves the patch until it is `COARSEST_EDGE` wide.

    On graphics cards its encoder is residual, nnU-Net's L, as that of nnInteractive's own model.
    """
    n_stages = 1
    while edge % 2 ** (n_stages) == 0 and edge // 2**n_stages >= COARSEST_EDGE:
        n_stages += 1
    plain = not budget.mixed
    return UNetPlan(
        architecture="plain" if plain else "residual",
        input_channels=1 + N_PROMPT_CHANNELS,
        output_channels=2,
        features_per_stage=tuple(min(base * 2**stage, budget.maximum_features) for stage in range(n_stages)),
        kernel_sizes=((3, 3, 3),) * n_stages,
        strides=((1, 1, 1), *((2, 2, 2),) * (n_stages - 1)),
        # on a CPU most of the time goes to the finest stage
        n_conv_per_stage=(1, *(2,) * (n_stages - 1)) if plain else RESIDUAL_BLOCKS[:n_stages],
        n_conv_per_stage_decoder=(1,) * (n_stages - 1),
    )
