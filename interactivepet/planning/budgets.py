"""What a training step may take, budget by budget, and how large networks become in each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from interactivepet.core.memory import find_memory_bytes

if TYPE_CHECKING:
    from interactivepet.core.plan import Budget
    from interactivepet.planning.cost import Cost

__all__ = ["BUDGETS", "MemoryBudget", "find_most_gb", "fits", "get_memory_gb"]

MOST_CARDS = 4
"""A step that needs more than the largest graphics card so many times is a slip of the pen."""


@dataclass(frozen=True, slots=True)
class MemoryBudget:
    """What a training step may take, how long training lasts, and how wide networks are.

    Attributes:
        memory_gb: peak of one training step.
        gigaflops: of one training step; on a CPU time is scarce long before memory is.
        base_features: feature maps of the finest stage of a U-Net.
        maximum_features: of any stage of a U-Net.
        epochs: how many.
        iterations_per_epoch: how many.
        mixed: whether activations take two bytes, as on graphics cards, and not four.
        unetr: feature maps, width of the tokens and attention heads of a UNETR.
        swin_features: feature maps of a SwinUNETR, a multiple of 12.
    """

    memory_gb: float
    gigaflops: float
    base_features: int
    maximum_features: int
    epochs: int
    iterations_per_epoch: int
    mixed: bool = True
    unetr: tuple[int, int, int] = (16, 768, 12)
    swin_features: int = 48


BUDGETS: dict[Budget, MemoryBudget] = {
    "cpu": MemoryBudget(4.0, 90.0, 16, 128, 40, 50, mixed=False, unetr=(8, 192, 3), swin_features=12),
    "8gb": MemoryBudget(6.5, np.inf, 32, 320, 100, 250, unetr=(16, 384, 6), swin_features=24),
    "24gb": MemoryBudget(21.0, np.inf, 32, 320, 150, 250),
    "80gb": MemoryBudget(70.0, np.inf, 32, 320, 200, 250),
}
"""Graphics cards keep a reserve for the context and workspaces. `cpu`: about 0.3 s a step on one modern core.

The widths of the larger transformers are those of their papers (UNETR: Hatamizadeh 2022, a ViT-B with 16 feature maps;
Swin UNETR: Tang 2022, 48). Halved and quartered widths keep the 64 features that each head has there.
"""


def get_memory_gb(cost: Cost, budget: MemoryBudget) -> float:
    """Give the memory of a step in the number format that the budget's device trains in."""
    return cost.memory.mixed_gb if budget.mixed else cost.memory.float32_gb


def find_most_gb(budget: Budget) -> float:
    """Give the memory that no training step can have: of this machine for `cpu`, else of several of the largest cards.

    Where the machine does not tell its memory, there is no limit.
    """
    if budget != "cpu":
        return MOST_CARDS * max(known.memory_gb for known in BUDGETS.values())
    return find_memory_bytes() / 1e9


def fits(cost: Cost, budget: MemoryBudget) -> bool:
    """Whether a training step stays within the budget."""
    return get_memory_gb(cost, budget) <= budget.memory_gb and cost.gigaflops <= budget.gigaflops
