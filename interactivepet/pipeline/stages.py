"""The walk as a whole: each stage does only what is not done yet."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from interactivepet.core.dataset import CaseEntry, IssueList
from interactivepet.core.ensemble import ChoiceMode, EnsembleRule
from interactivepet.core.prediction_log import PredictionLog
from interactivepet.core.report import Report
from interactivepet.dataset.manifest import read_manifest
from interactivepet.errors import CaseError
from interactivepet.guidance.simulate import ClickOptions
from interactivepet.pipeline.decisions import read_folds
from interactivepet.pipeline.executor import open_executor
from interactivepet.pipeline.judge.evaluate import EvaluationRequest, run_evaluation
from interactivepet.pipeline.judge.postprocess import run_postprocessing
from interactivepet.pipeline.judge.registration import run_registration
from interactivepet.pipeline.predict.models import PredictionOptions
from interactivepet.pipeline.predict.prediction import run_prediction
from interactivepet.pipeline.predict.requests import make_test_request
from interactivepet.pipeline.prepare.cases import read_records
from interactivepet.pipeline.prepare.planning import PlanningOptions, run_plan_and_process
from interactivepet.pipeline.prepare.steps import (
    read_decisions,
    run_mimic_interactions,
)
from interactivepet.pipeline.train.folds import read_rule
from interactivepet.pipeline.train.tracking import TrackerConfig
from interactivepet.pipeline.train.training import run_training
from interactivepet.pipeline.workspace import Workspace
from interactivepet.reporting.views import is_emission
from interactivepet.training.inputs import TrainingOptions

__all__ = [
    "RunOptions",
    "run_all",
    "run_cross_validation_reports",
    "run_test",
]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Everything that `run_all` passes on.

    Attributes:
        planning: of `run_plan_and_process`.
        training: of `run_training`.
        prediction: of `run_prediction`; its `promptable` also takes part in the choice of the ensemble.
        tracker: of the training runs.
        n_cores: that folds share.
        with_corrections: of `run_postprocessing`.
        with_registration: register the chosen model in MLflow.
        champion: of `run_registration`.
    """

    planning: PlanningOptions
    training: TrainingOptions
    prediction: PredictionOptions
    tracker: TrackerConfig
    n_cores: int
    with_corrections: bool = True
    with_registration: bool = True
    champion: ChoiceMode | None = None


def run_cross_validation_reports(workspace: Workspace, *, n_proc: int) -> dict[ChoiceMode, Report]:
    """Score the final out-of-fold masks of every click mode that a choice was made for."""
    plans, split = read_decisions(workspace)
    rule = read_rule(workspace, plans, split=split)
    entries = read_manifest(workspace.raw).training
    if "none" not in rule.choices:
        records = read_records(workspace, plans.plan(rule.configurations[0]), cases=list(split.validation_folds))
        entries = tuple(entry for entry in entries if entry.id in records and records[entry.id].clicks)
    return {mode: _report_mode(workspace, mode, rule=rule, entries=entries, n_proc=n_proc) for mode in rule.choices}


def _report_mode(
    workspace: Workspace, mode: ChoiceMode, *, rule: EnsembleRule, entries: tuple[CaseEntry, ...], n_proc: int
) -> Report:
    manifest = read_manifest(workspace.raw)
    clicked = {
        "none": "without clicks",
        "extreme": "with margin points",
        "corrected": f"with margin points and {max(rule.corrections, default=0)} corrections of a simulated user",
    }
    folders = {"none": None, "extreme": workspace.clicks_folder(), "corrected": workspace.corrected_clicks}
    request = EvaluationRequest(
        task=workspace.task,
        entries=entries,
        root=workspace.raw,
        masks=workspace.cross_validation(mode),
        clicks_folder=folders[mode],
        labels=manifest.labels,
        channels=manifest.channels,
        title=f"{workspace.task}: cross-validation {clicked[mode]}",
        provenance=(
            "Each case was predicted by the fold that never saw it. Fusion, threshold and postprocessing were "
            "chosen on these same out-of-fold predictions, so the scores are slightly optimistic; ensemble.json "
            "holds the nested estimate, for which the choice was repeated without each fold in turn."
        ),
        made_from=rule.content_hash(),
        with_classical=mode == "extreme" and is_emission(manifest.channels),
    )
    with open_executor(n_proc) as executor:
        return run_evaluation(request, workspace.cross_validation(mode), executor=executor)


def run_test(workspace: Workspace, *, options: PredictionOptions, n_proc: int) -> Report:
    """Predict the test cases, with clicks made from their labels where none are there, and score them.

    Raises:
        ManifestError: the task has no labelled test case.
    """
    manifest = read_manifest(workspace.raw)
    split = read_folds(workspace)
    with open_executor(n_proc) as executor:
        run_mimic_interactions(workspace, executor, options=ClickOptions(), seed=split.seed, overwrite=False, test=True)
    log = _predict_tests(workspace, options)
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


def _predict_tests(workspace: Workspace, options: PredictionOptions) -> PredictionLog:
    """Predict all test cases; raises CaseError where some could not be."""
    log = run_prediction(workspace, make_test_request(workspace), options=options)
    if log.failed:
        named = "; ".join(log.failed.values())
        raise CaseError(f"{len(log.failed)} of {len(log.failed) + len(log.cases)} test cases have no mask: {named}")
    return log


def run_all(
    workspace: Workspace, *, options: RunOptions, show_issues: Callable[[IssueList], None]
) -> dict[str, Report]:
    """Go from raw images to scored masks; after an interruption the same call goes on.

    Returns:
        Reports by name: `none` and `extreme` for cross-validation, `extreme` alone with a plan that crops to clicks,
        `test` when there are labelled test cases.
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
    rule = run_postprocessing(
        workspace,
        options=options.prediction,
        tracker=options.tracker,
        with_corrections=options.with_corrections,
    )
    if options.with_registration:
        run_registration(workspace, rule, tracker=options.tracker, champion=options.champion)
    results: dict[str, Report] = dict(run_cross_validation_reports(workspace, n_proc=planning.n_proc).items())
    test = read_manifest(workspace.raw).test
    if any(entry.label is not None for entry in test):
        results["test"] = run_test(workspace, options=options.prediction, n_proc=planning.n_proc)
    elif test:
        _predict_tests(workspace, options.prediction)
    return results
