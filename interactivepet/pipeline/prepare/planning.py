"""From raw images to plan and preprocessed cases; nothing here needs torch, which its workers never load."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from interactivepet.core.dataset import IssueList
from interactivepet.core.plan import Plans
from interactivepet.errors import VerificationError
from interactivepet.guidance.simulate import ClickOptions
from interactivepet.pipeline.executor import open_executor
from interactivepet.pipeline.lock import lock_folder
from interactivepet.pipeline.prepare.cases import run_preprocessing
from interactivepet.pipeline.prepare.steps import (
    is_verified,
    run_fingerprint,
    run_folds,
    run_mimic_interactions,
    run_plan,
    run_verification,
)
from interactivepet.pipeline.workspace import Workspace
from interactivepet.planning.request import DEFAULT_REQUEST, PlanRequest

__all__ = ["PlanningOptions", "run_plan_and_process"]


@dataclass(frozen=True, slots=True)
class PlanningOptions:
    """How to plan.

    Attributes:
        n_folds: of the cross-validation; None keeps the present split's, else 5.
        seed: of the split and of clicks that are missing; None keeps the present split's, else 0.
        request: what is asked of the planner.
        snapshots: write a picture of each case in the default configuration.
        verify: check the task before.
        n_proc: worker processes.
        scheduler: address of a Dask scheduler instead.
    """

    n_folds: int | None = None
    seed: int | None = None
    request: PlanRequest = DEFAULT_REQUEST
    snapshots: bool = False
    verify: bool = True
    n_proc: int = 1
    scheduler: str | None = None


def run_plan_and_process(
    workspace: Workspace, *, options: PlanningOptions, show_issues: Callable[[IssueList], None]
) -> Plans:
    """Verify, synthesise missing clicks, measure, split, plan and preprocess.

    Raises:
        VerificationError: the task has problems; `show_issues` was called with them.
        TrainingError: another process is at it.
    """
    with (
        lock_folder(workspace.processed),
        open_executor(options.n_proc, scheduler=options.scheduler) as executor,
    ):
        if options.verify and not is_verified(workspace):
            result = run_verification(workspace, executor)
            if result.errors:
                show_issues(result)
                raise VerificationError(
                    f"{workspace.task} has {len(result.errors)} problems, listed above and in {workspace.issues}; "
                    "mend them, or go on regardless with --no-verify"
                )
        split = run_folds(workspace, seed=options.seed, n_folds=options.n_folds)
        run_mimic_interactions(workspace, executor, options=ClickOptions(), seed=split.seed, overwrite=False)
        run_fingerprint(workspace, executor)
        plans = run_plan(workspace, options.request)
        for name in plans.configurations:
            # a case has one picture, and the cascade sees the cases of the full resolution
            snapshots = options.snapshots and workspace.cases(name) == workspace.cases(plans.default)
            if name != "3d_cascade":
                run_preprocessing(workspace, executor, plan=plans.plan(name), snapshots=snapshots)
    return plans
