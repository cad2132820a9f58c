from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from interactivepet.core.plan import MemoryEstimate, Plan
from interactivepet.training.failures import explain_failure

CPU = torch.device("cpu")


def explain(plan: Plan, *, memory_gb: float, budget: str) -> str:
    memory = MemoryEstimate(float32_gb=memory_gb, mixed_gb=memory_gb / 2)
    known = plan.model_copy(update={"memory": memory, "budget": budget})
    return str(explain_failure(MemoryError(), known, device=CPU))


def test_lack_of_memory_names_the_largest_budget_that_is_smaller(make_plan: Callable[..., Plan]) -> None:
    text = explain(make_plan(), memory_gb=60.0, budget="80gb")
    assert text.startswith("out of memory with patch (16, 16, 16) and batch 2 (estimated 60.0 GB a step)")
    assert text.endswith("--budget 24gb")


def test_the_smallest_budget_leaves_the_plan_to_the_user(make_plan: Callable[..., Plan]) -> None:
    assert "batch_size or patch_size" in explain(make_plan(), memory_gb=3.5, budget="cpu")


def test_a_killed_worker_is_explained(make_plan: Callable[..., Plan]) -> None:
    error = RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")
    assert "fewer --workers" in str(explain_failure(error, make_plan(), device=CPU))


@pytest.mark.parametrize("error", [ValueError("x"), RuntimeError("shape mismatch"), KeyboardInterrupt()])
def test_defects_keep_their_traceback(make_plan: Callable[..., Plan], error: BaseException) -> None:
    assert explain_failure(error, make_plan(), device=CPU) is None
