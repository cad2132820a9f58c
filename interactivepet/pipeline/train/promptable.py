"""Train a promptable model on folds of the task, and judge each on the cases that it never saw."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from interactivepet.core.plan import Fold, FoldList
from interactivepet.core.preprocessed import CaseRecord
from interactivepet.core.promptable import FoldName, PromptableCard, StartingModel
from interactivepet.dataset.files.write import read_artefact
from interactivepet.errors import TrainingError
from interactivepet.networks.precision import choose_device
from interactivepet.pipeline.executor import open_executor
from interactivepet.pipeline.prepare.steps import read_decisions
from interactivepet.pipeline.train.fold_job import WEIGHTS_LICENCE, FoldJob, complete_folds
from interactivepet.pipeline.train.promptable_cases import COMMAND, run_prompt_cases
from interactivepet.pipeline.train.promptable_folder import judge_model, read_seen_cases
from interactivepet.pipeline.train.tracking import TrackerConfig, find_parent_run
from interactivepet.pipeline.train.training import place_folds
from interactivepet.pipeline.workspace import Workspace
from interactivepet.planning.promptable import make_promptable_plan
from interactivepet.tracking.tracker import Tracker
from interactivepet.training.batches import load_cases
from interactivepet.training.fold import TrainedFold
from interactivepet.training.inputs import FoldData, TrainingOptions
from interactivepet.training.promptable.start import read_model_folder
from interactivepet.training.tasks import PromptTask

__all__ = ["PromptableJob", "run_promptable_training"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptableJob(FoldJob[PromptableCard]):
    """One model to train; the `pretrained` of its options is a model folder.

    Attributes:
        records: records of the fold's cases.
        licence: text under which the weights may be used.
        seen: cases that the weights to start from have seen.
    """

    keeps_state = False

    task: PromptTask
    records: Mapping[str, CaseRecord]
    licence: str
    seen: tuple[str, ...]

    def load(self) -> FoldData:
        """Join a fold with its stored cases; those without objects have nothing to be prompted for.

        Curves need validation samples: where there are none, they are drawn from the training cases.
        """
        training, validation = (
            load_cases(self.workspace.prompt_cases, self._find_prompted(names))
            for names in (self.fold.training, self.fold.validation)
        )
        if not training:
            raise TrainingError(
                f"{self.task.plan.task} fold {self.name}: no training case has an object; label some cases"
            )
        return FoldData(self.fold.index, training, validation or training, self.folder)

    def read_card(self) -> PromptableCard:
        """Read the card of a complete model."""
        return read_artefact(self.card_path, PromptableCard, command=COMMAND, made_from=self.task.plan.content_hash())

    def judge(self, data: FoldData, trained: TrainedFold, *, tracker: Tracker) -> PromptableCard:
        """Judge the model after one click in each validation case, in nnInteractive's own session."""
        scores = judge_model(
            self.workspace,
            list(self._find_prompted(self.fold.validation).values()),
            plan=self.task.plan,
            weights=data.weights,
            sha256=trained.weights_sha256,
            device=str(choose_device(self.options.device)),
            n_threads=self.options.n_threads or 1,
        )
        if scores:
            tracker.log_metrics({"validation_dice_one_click": float(np.mean(list(scores.values())))})
        return PromptableCard(
            **self.describe(data, trained),
            fold=self.name,
            plan=self.task.plan,
            licence=self.licence,
            seen=self.seen,
            pretrained="" if self.options.pretrained is None else self.options.pretrained.resolve().name,
            validation_dice=scores,
        )

    def _find_prompted(self, names: Sequence[str]) -> dict[str, CaseRecord]:
        """Give the records of the cases that have an object."""
        return {name: self.records[name] for name in names if self.records[name].foreground}


def run_promptable_training(
    workspace: Workspace,
    folds: Sequence[FoldName],
    *,
    options: TrainingOptions,
    tracker: TrackerConfig,
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
    task = PromptTask(make_promptable_plan(plans, start=start))
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
            workspace=workspace,
            task=task,
            name=name,
            fold=fold,
            folder=workspace.promptable_fold(name),
            records=records,
            licence=licence,
            seen=seen,
            options=options,
            tracker=tracker,
            parent_run=parent,
        )
        for name, fold in chosen
    ]
    return complete_folds(jobs, n_workers=n_workers)


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
