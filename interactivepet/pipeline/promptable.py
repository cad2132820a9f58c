"""Train a promptable model on folds of the task, and judge each on the cases that it never saw."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from interactivepet.core.plan import Fold, FoldList
from interactivepet.core.preprocessed import CaseRecord
from interactivepet.core.promptable import FoldName, PromptableCard, PromptablePlan, StartingModel
from interactivepet.dataset.write import read_artefact, write_artefact
from interactivepet.errors import ArtefactError, TrainingError
from interactivepet.networks.precision import choose_device
from interactivepet.pipeline.executor import map_cases, open_executor
from interactivepet.pipeline.lock import lock_folder
from interactivepet.pipeline.prepare import read_decisions
from interactivepet.pipeline.promptable_cases import COMMAND, run_prompt_cases
from interactivepet.pipeline.promptable_folder import judge_model, read_seen_cases
from interactivepet.pipeline.runs import TrackerSpec, find_parent_run
from interactivepet.pipeline.train import WEIGHTS_LICENCE, place_folds
from interactivepet.pipeline.workspace import Workspace
from interactivepet.planning.promptable import make_promptable_plan
from interactivepet.training.batches import load_cases
from interactivepet.training.checkpoint import remove_foreign_state, remove_state
from interactivepet.training.fold import FoldData, TrainedFold, TrainingOptions, hash_inputs, train_fold
from interactivepet.training.promptable.start import read_model_folder
from interactivepet.training.stop import leave_on_sigterm

__all__ = ["run_promptable_training"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PromptableJob:
    """One model to train; small enough to be sent to a worker.

    Attributes:
        workspace: of the task.
        plan: that the model follows.
        name: of the fold, or `all`.
        fold: who is in it.
        records: of the fold's cases.
        licence: text under which the weights may be used.
        seen: cases that the weights to start from have seen.
        options: of the run; `pretrained` is a model folder.
        tracker: of the run.
        parent_run: that the run is shown under.
    """

    workspace: Workspace
    plan: PromptablePlan
    name: FoldName
    fold: Fold
    records: Mapping[str, CaseRecord]
    licence: str
    seen: tuple[str, ...]
    options: TrainingOptions
    tracker: TrackerSpec
    parent_run: str | None


def run_promptable_training(
    workspace: Workspace,
    folds: Sequence[FoldName],
    *,
    options: TrainingOptions,
    tracker: TrackerSpec,
    n_proc: int,
    n_cores: int,
) -> list[PromptableCard]:
    """Train a promptable model on each of the given folds, or on all cases for `all`; complete ones are kept.

    On a CPU several models train side by side, one process each.

    Args:
        workspace: of a task that was planned.
        folds: numbers, or `all`.
        options: of each run; `pretrained` is a folder in nnInteractive's format.
        tracker: of the runs.
        n_proc: processes at most.
        n_cores: that they share.

    Raises:
        TrainingError: a fold does not exist, has no object to learn from, or is being trained by another process; or
            the weights to start from have seen cases that the fold is judged on.
        SegmenterError: the folder to start from cannot be used.
    """
    plans, split = read_decisions(workspace)
    start = None if options.pretrained is None else read_model_folder(options.pretrained)
    plan = make_promptable_plan(plans, start=start)
    licence = _carry_licence(start, options)
    options, n_workers = place_folds(options, n_folds=len(folds), n_proc=n_proc, n_cores=n_cores)
    chosen = [(name, _find_fold(split, name, where=workspace.folds)) for name in folds]
    seen = () if options.pretrained is None else read_seen_cases(options.pretrained)
    _check_unseen(chosen, seen, source=options.pretrained)
    with open_executor(n_proc) as executor:
        records = run_prompt_cases(workspace, executor, plan=plans.plan(plans.default))
    parent = find_parent_run(workspace, tracker)
    jobs = [
        PromptableJob(
            workspace,
            plan,
            name,
            fold,
            records,
            licence,
            seen,
            replace(options, progress_position=line),
            tracker,
            parent,
        )
        for line, (name, fold) in enumerate(chosen)
    ]
    with open_executor(n_workers) as executor:
        return map_cases(
            executor, _run_fold, items=jobs, names=[f"fold {job.name}" for job in jobs], description="models"
        )


def _carry_licence(start: StartingModel | None, options: TrainingOptions) -> str:
    """Give the licence of the model that training starts from, and show its title; the user's own without one."""
    if start is None:
        return WEIGHTS_LICENCE
    title = next((line.strip() for line in start.licence.splitlines() if line.strip()), "unknown")
    logger.info("starting from %s, whose licence stays with the weights: %s", options.pretrained, title)
    return start.licence


def _check_unseen(folds: Sequence[tuple[FoldName, Fold]], seen: Sequence[str], *, source: Path | None) -> None:
    for name, fold in folds:
        if shared := sorted(set(fold.validation) & set(seen)):
            raise TrainingError(
                f"{source} was trained on {', '.join(shared[:5])}, which fold {name} is judged on: the "
                "cross-validation would not be honest. Start from a model that never saw them, or train -f all; if "
                "these are other patients of the same names, remove card.json from the folder"
            )


def _find_fold(split: FoldList, name: FoldName, *, where: Path) -> Fold:
    """Give a fold by its number; `all` trains on every case and has the number after the last."""
    if name == "all":
        first = split.folds[0]
        return Fold(index=len(split.folds), training=(*first.training, *first.validation), validation=())
    if not isinstance(name, int) or not 0 <= name < len(split.folds):
        raise TrainingError(f"fold {name} does not exist: {where} has folds 0 to {len(split.folds) - 1}, and all")
    return split.folds[name]


def _run_fold(job: PromptableJob) -> PromptableCard:
    """Train, judge, and write the card last: its presence says that all else is there."""
    folder = job.workspace.promptable_fold(job.name)
    path = folder / "card.json"
    with lock_folder(folder):
        data = _load_fold(job, folder)
        card = _find_complete(job, path, data)
        if card is not None:
            remove_state(data.checkpoint)
            return card
        tracker = job.tracker.open()
        trained = train_fold(
            job.plan,
            data,
            tracker=tracker,
            options=job.options,
            parent_run=job.parent_run,
            withdraw=partial(path.unlink, missing_ok=True),
        )
        try:
            with leave_on_sigterm():
                scores = _judge(job, data, trained)
        except BaseException:
            tracker.end_run(failed=True)
            raise
        if scores:
            tracker.log_metrics({"validation_dice_one_click": float(np.mean(list(scores.values())))})
        card = _make_card(job, data, trained, scores)
        write_artefact(path, card)
        remove_state(data.checkpoint)
        tracker.end_run()
        return card


def _load_fold(job: PromptableJob, folder: Path) -> FoldData:
    """Join a fold with its stored cases; those without objects have nothing to be prompted for.

    Curves need validation samples: where there are none, they are drawn from the training cases.
    """
    parts = [
        {name: job.records[name] for name in names if job.records[name].foreground}
        for names in (job.fold.training, job.fold.validation)
    ]
    training, validation = (load_cases(job.workspace.prompt_cases, part) for part in parts)
    if not training:
        raise TrainingError(f"{job.plan.task} fold {job.name}: no training case has an object; label some cases")
    return FoldData(job.fold.index, training, validation or training, folder)


def _find_complete(job: PromptableJob, path: Path, data: FoldData) -> PromptableCard | None:
    """Give the card of a model that is complete, with this plan and these cases, and not to be trained anew."""
    if not job.options.resume or not path.is_file():
        return None
    try:
        card = read_artefact(path, PromptableCard, command=COMMAND, made_from=job.plan.content_hash())
    except ArtefactError as error:
        logger.warning("fold %s is trained anew: %s", job.name, error)
    else:
        if card.cases_hash == data.cases_hash:
            logger.info("fold %s is complete with %d epochs; --no-continue trains it anew", job.name, len(card.epochs))
            return card
        logger.warning("fold %s: images, labels or folds changed since it was trained; training anew", job.name)
    # one that the new training left when it was interrupted stays
    remove_foreign_state(data.checkpoint, made_from=hash_inputs(job.plan, data))
    return None


def _judge(job: PromptableJob, data: FoldData, trained: TrainedFold) -> dict[str, float]:
    validation = [job.records[name] for name in job.fold.validation if job.records[name].foreground]
    return judge_model(
        job.workspace,
        validation,
        plan=job.plan,
        weights=data.weights,
        sha256=trained.weights_sha256,
        device=str(choose_device(job.options.device)),
        n_threads=job.options.n_threads or 1,
    )


def _make_card(job: PromptableJob, data: FoldData, trained: TrainedFold, scores: dict[str, float]) -> PromptableCard:
    return PromptableCard(
        made_from=job.plan.content_hash(),
        task=job.plan.task,
        fold=job.name,
        training=job.fold.training,
        validation=job.fold.validation,
        cases_hash=data.cases_hash,
        plan=job.plan,
        weights_sha256=trained.weights_sha256,
        licence=job.licence,
        seen=job.seen,
        pretrained="" if job.options.pretrained is None else job.options.pretrained.resolve().name,
        device=trained.device,
        run_id=trained.run_id,
        epochs=trained.epochs,
        validation_dice=scores,
    )
