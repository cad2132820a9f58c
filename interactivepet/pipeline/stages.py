"""The walk as a whole: each stage does only what is not done yet."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from interactivepet.core.dataset import IssueList
from interactivepet.core.ensemble import ClickMode
from interactivepet.core.plan import Architecture, Budget, FoldList, Plans
from interactivepet.core.report import Report
from interactivepet.dataset.manifest import read_manifest
from interactivepet.dataset.write import read_artefact
from interactivepet.errors import VerificationError
from interactivepet.guidance.simulate import ClickOptions
from interactivepet.pipeline.cases import run_preprocessing
from interactivepet.pipeline.evaluate import EvaluationRequest, run_evaluation
from interactivepet.pipeline.executor import open_executor
from interactivepet.pipeline.folds import CLICK_MODES, read_rule
from interactivepet.pipeline.models import PredictionOptions
from interactivepet.pipeline.postprocess import run_postprocessing
from interactivepet.pipeline.predict import run_prediction
from interactivepet.pipeline.prepare import (
    is_verified,
    read_decisions,
    run_fingerprint,
    run_folds,
    run_mimic_interactions,
    run_plan,
    run_verification,
)
from interactivepet.pipeline.requests import make_test_request
from interactivepet.pipeline.runs import TrackerSpec
from interactivepet.pipeline.train import run_training
from interactivepet.pipeline.workspace import Workspace
from interactivepet.planning.plan import DEFAULT_OPTIONS, PlanOptions
from interactivepet.training.fold import TrainingOptions

__all__ = [
    "PlanningOptions",
    "RunOptions",
    "run_all",
    "run_cross_validation_report",
    "run_plan_and_process",
    "run_test",
]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PlanningOptions:
    """How to plan.

    Attributes:
        n_folds: of the cross-validation; None keeps the present split's, else 5.
        seed: of the split and of clicks that are missing; None keeps the present split's, else 0.
        budget: None keeps the present plan's, else `cpu`.
        architecture: of the networks; None keeps the present plan's, else `plain`.
        options: of the planner; what is None in them keeps the present plan's choice, else the rules choose.
        overrides: `KEY=VALUE`, applied to the plan.
        snapshots: write pictures.
        verify: check the task before.
        n_proc: worker processes.
        scheduler: address of a Dask scheduler instead.
    """

    n_folds: int | None = None
    seed: int | None = None
    budget: Budget | None = None
    architecture: Architecture | None = None
    options: PlanOptions = DEFAULT_OPTIONS
    overrides: tuple[str, ...] = ()
    snapshots: bool = False
    verify: bool = True
    n_proc: int = 1
    scheduler: str | None = None


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Everything that `run_all` passes on.

    Attributes:
        planning: of `run_plan_and_process`.
        training: of `run_training`.
        prediction: of `run_prediction`; its `promptable` also takes part in the choice of the ensemble.
        tracker: of the training runs.
        n_cores: that folds share.
    """

    planning: PlanningOptions
    training: TrainingOptions
    prediction: PredictionOptions
    tracker: TrackerSpec
    n_cores: int


def run_plan_and_process(
    workspace: Workspace, *, options: PlanningOptions, show_issues: Callable[[IssueList], None]
) -> Plans:
    """Verify, synthesise missing clicks, measure, split, plan and preprocess.

    Raises:
        VerificationError: the task has problems; `show_issues` was called with them.
    """
    with open_executor(options.n_proc, scheduler=options.scheduler) as executor:
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
        plans = run_plan(
            workspace,
            budget=options.budget,
            architecture=options.architecture,
            options=options.options,
            overrides=options.overrides,
        )
        for name in plans.configurations:
            # the cascade sees the cases of the full resolution
            if name != "3d_cascade":
                run_preprocessing(workspace, executor, plan=plans.plan(name), snapshots=options.snapshots)
    return plans


def run_cross_validation_report(workspace: Workspace, mode: ClickMode, *, n_proc: int) -> Report:
    """Score the final out-of-fold masks of one click mode."""
    manifest = read_manifest(workspace.raw)
    plans, split = read_decisions(workspace)
    rule = read_rule(workspace, plans, split=split)
    with_clicks = mode == "extreme"
    request = EvaluationRequest(
        task=workspace.task,
        entries=manifest.training,
        root=workspace.raw,
        masks=workspace.cross_validation(mode),
        clicks_folder=workspace.clicks_folder() if with_clicks else None,
        labels=manifest.labels,
        channels=manifest.channels,
        title=f"{workspace.task}: cross-validation {'with margin points' if with_clicks else 'without clicks'}",
        provenance=(
            "Each case was predicted by the fold that never saw it. Fusion, threshold and postprocessing were "
            "chosen on these same out-of-fold predictions, so the scores are slightly optimistic; ensemble.json "
            "holds the nested estimate, for which the choice was repeated without each fold in turn."
        ),
        made_from=rule.content_hash(),
    )
    with open_executor(n_proc) as executor:
        return run_evaluation(request, workspace.cross_validation(mode), executor=executor)


def run_test(workspace: Workspace, *, options: PredictionOptions, n_proc: int) -> Report:
    """Predict the test cases, with clicks made from their labels where none are there, and score them.

    Raises:
        ManifestError: the task has no labelled test case.
    """
    manifest = read_manifest(workspace.raw)
    split = read_artefact(workspace.folds, FoldList, command=f"interactivepet_plan_and_process -t {workspace.task}")
    with open_executor(n_proc) as executor:
        run_mimic_interactions(workspace, executor, options=ClickOptions(), seed=split.seed, overwrite=False, test=True)
    log = run_prediction(workspace, make_test_request(workspace), options=options)
    request = EvaluationRequest(
        task=workspace.task,
        entries=manifest.test,
        root=workspace.raw,
        masks=workspace.predictions,
        clicks_folder=workspace.clicks_folder(test=True),
        labels=manifest.labels,
        channels=manifest.channels,
        title=f"{workspace.task}: test cases",
        provenance=f"Held-out test cases, used neither for training nor for any choice; predicted by {log.models}.",
        made_from=log.content_hash(),
    )
    with open_executor(n_proc) as executor:
        return run_evaluation(request, workspace.predictions, executor=executor)


def run_all(
    workspace: Workspace, *, options: RunOptions, show_issues: Callable[[IssueList], None]
) -> dict[str, Report]:
    """Go from raw images to scored masks; after an interruption the same call goes on.

    Returns:
        Reports by name: `none` and `extreme` for cross-validation, `test` when there are labelled test cases.
    """
    planning = options.planning
    run_plan_and_process(workspace, options=planning, show_issues=show_issues)
    run_training(
        workspace,
        (),
        options=options.training,
        tta=options.prediction.tta,
        tracker=options.tracker,
        n_proc=planning.n_proc,
        n_cores=options.n_cores,
    )
    run_postprocessing(
        workspace,
        promptable=options.prediction.promptable,
        options=options.prediction,
        tracker=options.tracker,
    )
    results: dict[str, Report] = {
        mode: run_cross_validation_report(workspace, mode, n_proc=planning.n_proc) for mode in CLICK_MODES
    }
    test = read_manifest(workspace.raw).test
    if any(entry.label is not None for entry in test):
        results["test"] = run_test(workspace, options=options.prediction, n_proc=planning.n_proc)
    elif test:
        run_prediction(workspace, make_test_request(workspace), options=options.prediction)
    return results
