"""Say why a run failed and what would have to change."""

from __future__ import annotations

import torch

from interactivepet.core.promptable import TrainablePlan
from interactivepet.planning.budgets import BUDGETS

__all__ = ["explain_failure"]


def explain_failure(error: BaseException, plan: TrainablePlan, *, device: torch.device) -> str | None:
    """Explain an exception that ended training; None for one that says enough by itself or is a defect."""
    if isinstance(error, FloatingPointError):
        return (
            f"{error}; the last whole epoch is kept. Check the images with interactivepet_verify, or lower "
            "learning_rate in plans.json and start anew with --no-continue"
        )
    if isinstance(error, RuntimeError) and "DataLoader worker" in str(error):
        return (
            f"a process that prepares batches was killed, most likely for lack of memory or of shared memory in "
            f"a container ({error}); run the command again with fewer --workers"
        )
    if _is_out_of_memory(error):
        return _explain_memory(plan, device=device)
    return None


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out; torch's CPU allocator says so in the text of a plain RuntimeError."""
    is_allocator = isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    return is_allocator or isinstance(error, torch.OutOfMemoryError | MemoryError)


def _explain_memory(plan: TrainablePlan, *, device: torch.device) -> str:
    needed_gb = plan.memory.float32_gb if device.type == "cpu" else plan.memory.mixed_gb
    limit_gb, there = needed_gb, ""
    if device.type == "cuda":
        total_gb = torch.cuda.get_device_properties(device).total_memory / 1e9
        limit_gb, there = min(needed_gb, total_gb), f", {total_gb:.1f} GB on the device"
    smaller = [name for name, budget in BUDGETS.items() if budget.memory_gb < limit_gb and name != plan.budget]
    advice = (
        f"plan for what fits, with interactivepet_plan_and_process --budget {smaller[-1]}"
        if smaller
        else "train one fold at a time (-np 1), or lower batch_size or patch_size in plans.json"
    )
    return (
        f"out of memory with patch {plan.patch_size} and batch {plan.training.batch_size} "
        f"(estimated {needed_gb:.1f} GB a step{there}); {advice}"
    )
