"""The walk as a whole: each stage does only what is not done yet."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from interactivepet.core.dataset import CaseEntry, IssueList
from interactivepet.core.ensemble import ClickMode, EnsembleRule
from interactivepet.core.plan import Budget, FoldList, NegativeSampling, Plan
from interactivepet.core.report import Report
from interactivepet.dataset.manifest import read_manifest
from interactivepet.dataset.scan import scan_folder
from interactivepet.dataset.write import read_artefact
from interactivepet.errors import ManifestError, VerificationError
from interactivepet.guidance.simulate import ClickOptions
from interactivepet.pipeline.cases import run_preprocessing
from interactivepet.pipeline.evaluate import EvaluationRequest, find_masks, run_evaluation
from interactivepet.pipeline.executor import open_executor
from interactivepet.pipeline.postprocess import run_postprocessing
from interactivepet.pipeline.predict import (
    PICTURE_ENDING,
    PredictionOptions,
    PredictionRequest,
    read_n_clicks,
    run_prediction,
)
from interactivepet.pipeline.prepare import (
    is_verified,
    read_decisions,
    run_fingerprint,
    run_folds,
    run_mimic_interactions,
    run_plan,
    run_verification,
)
from interactivepet.pipeline.runs import TrackerSpec
from interactivepet.pipeline.train import CLICK_MODES, hash_cards, read_card, run_training
from interactivepet.pipeline.workspace import Workspace
from interactivepet.training.fold import TrainingOptions

__all__ = [
    "PlanningOptions",
    "RunOptions",
    "make_folder_request",
    "make_masks_request",
    "make_test_request",
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
        negatives: how to sample cases without label; None keeps the present plan's.
        snapshots: write pictures.
        verify: check the task before.
        n_proc: worker processes.
        scheduler: address of a Dask scheduler instead.
    """

    n_folds: int | None = None
    seed: int | None = None
    budget: Budget | None = None
    negatives: NegativeSampling | None = None
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
) -> Plan:
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
        plan = run_plan(workspace, budget=options.budget, negatives=options.negatives)
        run_preprocessing(workspace, executor, plan=plan, snapshots=options.snapshots)
    return plan


def run_cross_validation_report(workspace: Workspace, mode: ClickMode, *, n_proc: int) -> Report:
    """Score the final out-of-fold masks of one click mode."""
    manifest = read_manifest(workspace.raw)
    plan, split = read_decisions(workspace)
    cards = [read_card(workspace, plan, fold=fold) for fold in split.folds]
    command = f"interactivepet_postprocessing -t {workspace.task}"
    rule = read_artefact(workspace.ensemble, EnsembleRule, command=command, made_from=hash_cards(cards))
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


def make_test_request(workspace: Workspace, *, file_ending: str = ".nii.gz") -> PredictionRequest:
    """Ask for the task's own test cases.

    Raises:
        ManifestError: the task has none.
    """
    manifest = read_manifest(workspace.raw)
    if not manifest.test:
        raise ManifestError(f"{workspace.raw}: no images in imagesTs; add some, or name a folder with -i and -o")
    return PredictionRequest(
        entries=manifest.test,
        images_root=workspace.raw,
        clicks_folder=workspace.clicks_folder(test=True),
        out=workspace.predictions,
        file_ending=file_ending,
    )


def make_folder_request(
    workspace: Workspace, images: Path, *, clicks_folder: Path | None, out: Path, file_ending: str = ".nii.gz"
) -> PredictionRequest:
    """Ask for the images of any folder, named as the task's own are."""
    manifest = read_manifest(workspace.raw)
    if out.resolve() == images.resolve():
        raise ManifestError(f"{out} holds the images, which masks of the same names would replace; choose another -o")
    if clicks_folder is not None and not clicks_folder.is_dir():
        raise ManifestError(f"{clicks_folder} is not there; name the folder of the click files, or leave -in out")
    entries = scan_folder(images, n_channels=len(manifest.channels))
    return PredictionRequest(
        entries, images, clicks_folder, out, file_ending, is_projected=manifest.file_ending != PICTURE_ENDING
    )


def make_masks_request(workspace: Workspace, masks: Path, *, labels_folder: Path | None) -> EvaluationRequest:
    """Ask for the scores of a folder of masks.

    Args:
        workspace: whose labels are scored, and whose images are drawn where they have the masks' names.
        masks: folder of the masks; `predictions.json` in it tells the numbers of clicks.
        labels_folder: labels to compare with, `CASE` plus any known ending, also of cases that the task does not
            know; None takes the task's own.
    """
    manifest = read_manifest(workspace.raw)
    present = find_masks(masks)
    entries = [entry for entry in (*manifest.training, *manifest.test) if entry.id in present]
    if labels_folder is not None:
        known = {entry.id: entry for entry in entries}
        entries = [
            known.get(name, CaseEntry(id=name, images=())).model_copy(update={"label": str(path)})
            for name, path in find_masks(labels_folder.absolute()).items()
            if name in present
        ]
    return EvaluationRequest(
        task=workspace.task,
        entries=tuple(entries),
        root=workspace.raw,
        masks=masks,
        clicks_folder=None,
        labels=manifest.labels,
        channels=manifest.channels,
        title=f"{workspace.task}: {masks.name}",
        provenance="Masks of a folder that the user named; how they came about is not known to this report.",
        n_clicks=read_n_clicks(masks),
    )


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
