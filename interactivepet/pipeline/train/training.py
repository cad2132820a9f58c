"""Train folds and predict, with each, the cases that it never saw."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from interactivepet.core.checkpoint import CheckpointCard
from interactivepet.core.plan import Configuration, Fold, FoldList, Plan, Plans
from interactivepet.dataset.files.write import write_text
from interactivepet.dataset.manifest import read_manifest
from interactivepet.errors import PlanError, SettingsError, StaleArtefactError, TrainingError
from interactivepet.inference.network import open_network
from interactivepet.networks.precision import choose_device
from interactivepet.pipeline.decisions import read_fingerprint
from interactivepet.pipeline.prepare.cases import read_records
from interactivepet.pipeline.prepare.steps import read_decisions
from interactivepet.pipeline.train.cascade import run_coarse_masks
from interactivepet.pipeline.train.fold_job import WEIGHTS_LICENCE, FoldJob, complete_fold, complete_folds
from interactivepet.pipeline.train.folds import load_fold, read_card
from interactivepet.pipeline.train.pretrained import PretrainedReader
from interactivepet.pipeline.train.tracking import TrackerConfig, find_parent_run
from interactivepet.pipeline.train.validation import Validation, validate_fold
from interactivepet.pipeline.workspace import Workspace
from interactivepet.planning.folds import limit_patients
from interactivepet.planning.intensities import find_seen_ranges
from interactivepet.reporting.batch_pictures import draw_batch
from interactivepet.reporting.fold_page import render_fold
from interactivepet.reporting.learning_curves import draw_learning
from interactivepet.reporting.views import is_emission
from interactivepet.tracking.tracker import Tracker
from interactivepet.training.checkpoint import load_weights
from interactivepet.training.distributed import ALONE, Ranks, open_ranks
from interactivepet.training.fold import TrainedFold
from interactivepet.training.inputs import FoldData, TrainingOptions
from interactivepet.training.preview import DrawSamples
from interactivepet.training.tasks import FoldTask

__all__ = ["NetworkJob", "choose_configuration", "make_batch_drawing", "place_folds", "run_training"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkJob(FoldJob[CheckpointCard]):
    """One fold of a configuration to train.

    Attributes:
        whole: the fold with all training patients, of which `fold` may have only some.
        tta: whether the fold's predictions average over mirrored inputs.
    """

    keeps_state = True

    task: FoldTask
    whole: Fold
    tta: bool

    def load(self) -> FoldData:
        """Join the fold with its preprocessed cases."""
        plan = self.task.plan
        records = read_records(self.workspace, plan, cases=(*self.fold.training, *self.fold.validation))
        return load_fold(self.workspace, plan, fold=self.fold, records=records)

    def read_card(self) -> CheckpointCard:
        """Read the card; raises as `folds.read_card`, and StaleArtefactError for another number of patients."""
        card = read_card(self.workspace, self.task.plan, fold=self.whole)
        if card.training != self.fold.training:
            asked = (card.patients, self.options.patients)
            before, now = (f"{'all' if n is None else n} of its patients" for n in asked)
            raise StaleArtefactError(f"it was trained on {before}, and is now to be trained on {now} (--patients)")
        return card

    def judge(self, data: FoldData, trained: TrainedFold, *, tracker: Tracker) -> CheckpointCard:
        """Predict out of fold, and show the fold on its page and in the tracker."""
        network = open_network(
            self.task.plan,
            load_weights(data.weights, sha256=trained.weights_sha256),
            name=f"fold_{self.fold.index}",
            licence=_find_licence(trained),
            device=choose_device(self.options.device),
            tta=self.tta,
        )
        found = validate_fold(
            self.workspace,
            self.task.plan,
            fold=self.fold.index,
            cases=data.validation,
            network=network,
            progress_position=self.options.progress_position,
        )
        card = CheckpointCard(
            **self.describe(data, trained),
            fold=self.fold.index,
            licence=_find_licence(trained),
            tta=self.tta,
            validation_dice=found.dice,
            intensities=find_seen_ranges(read_fingerprint(self.workspace)),
            patients=self.options.patients,
            pretrained=trained.pretrained,
        )
        _show(self, card, found, data=data, tracker=tracker)
        return card


def run_training(
    workspace: Workspace,
    folds: Sequence[int],
    *,
    configuration: Configuration | None = None,
    options: TrainingOptions,
    tta: bool,
    tracker: TrackerConfig,
    n_proc: int,
    n_cores: int,
    scheduler: str | None = None,
) -> list[CheckpointCard]:
    """Train the given folds, or all that exist when none is given; complete ones are left as they are.

    `configuration` None trains the first one of the plan; `3d_cascade` needs all folds of `3d_lowres`.

    On a CPU several folds train side by side, one process each, which uses the cores better than threads:
    a single fold's threads wait for one another. On a graphics card they follow one another. The workers of a
    Dask scheduler at `scheduler` take a fold each. Processes that `torchrun` started train each fold together; only
    the first gives cards.

    Raises:
        PlanError: the configuration was not planned, or is a second step with cases cropped to clicks.
        MissingArtefactError: the first step of a cascade is not trained.
        SettingsError: a device is not there, or `scheduler` is given to processes of `torchrun`.
        TrainingError: a fold does not exist, is being trained by another process, or failed.
        WorkerError: no scheduler answers.
    """
    with open_ranks(options.device) as ranks:
        plans, split = read_decisions(workspace)
        plan = plans.plan(choose_configuration(plans, configuration))
        chosen = _limit_patients(workspace, _choose_folds(workspace, folds, split=split), options, split=split)
        if scheduler is not None and ranks.size > 1:
            raise SettingsError(
                f"torchrun trains one fold on many devices, and the scheduler {scheduler} folds on many machines; use "
                "one of them: leave torchrun out, or --scheduler and interactivepet_scheduler"
            )
        if ranks.is_first and plan.configuration == "3d_cascade":
            run_coarse_masks(workspace, plans, split=split)
        parent = find_parent_run(workspace, tracker) if ranks.is_first else None
        n_workers = 1
        if scheduler is None:
            options, n_workers = place_folds(options, n_folds=len(chosen), n_proc=n_proc, n_cores=n_cores, ranks=ranks)
        jobs = [
            NetworkJob(
                workspace=workspace,
                task=FoldTask(plan, PretrainedReader(plan.task, plan.configuration, fold, workspace.processed.parent)),
                name=fold.index,
                fold=fold,
                whole=split.folds[fold.index],
                folder=workspace.fold(plan.configuration, fold.index),
                options=options,
                tta=tta,
                tracker=tracker,
                parent_run=parent,
                ranks=ranks,
                draw_samples=make_batch_drawing(plan, fold.index),
            )
            for fold in chosen
        ]
        if scheduler is None and (len(jobs) == 1 or ranks.size > 1):
            # the first failure ends all processes: with another fold, they would no longer do the same
            return [card for job in jobs if (card := complete_fold(job)) is not None]
    return complete_folds(jobs, n_workers=n_workers, scheduler=scheduler)


def _find_licence(trained: TrainedFold) -> str:
    """Give the licence of the model that training started from, which stays with the weights; else the user's own.

    MIT leaves what is made of a model to its maker, and wants to be named.
    """
    if trained.pretrained is None:
        return WEIGHTS_LICENCE
    licence = trained.pretrained.licence
    return f"{WEIGHTS_LICENCE}; first weights: {licence}" if licence.startswith("MIT") else licence


def make_batch_drawing(plan: Plan, fold: int) -> DrawSamples:
    """Make what draws the first batch of a fold."""
    title = f"{plan.task} {plan.configuration}, fold {fold}: first batch"
    return partial(draw_batch, spacing_mm=plan.spacing_mm, title=title, is_emission=is_emission(plan.channels))


def _choose_folds(workspace: Workspace, folds: Sequence[int], *, split: FoldList) -> list[Fold]:
    """Give the folds that were asked for, or all, each once."""
    indices = list(dict.fromkeys(folds)) if folds else [fold.index for fold in split.folds]
    for index in indices:
        if not 0 <= index < len(split.folds):
            raise TrainingError(f"fold {index} does not exist: {workspace.folds} has folds 0 to {len(split.folds) - 1}")
    return [split.folds[index] for index in indices]


def _limit_patients(
    workspace: Workspace, folds: list[Fold], options: TrainingOptions, *, split: FoldList
) -> list[Fold]:
    """Leave so many training patients in each fold as were asked for."""
    if options.patients is None:
        return folds
    entries = read_manifest(workspace.raw).training
    return [limit_patients(fold, entries, most=options.patients, seed=split.seed) for fold in folds]


def place_folds(
    options: TrainingOptions, *, n_folds: int, n_proc: int, n_cores: int, ranks: Ranks = ALONE
) -> tuple[TrainingOptions, int]:
    """Give this process its device and its part of the cores, and count the folds that train side by side."""
    options = replace(options, device=ranks.choose_device(options.device))
    if choose_device(options.device).type != "cpu":
        return options, 1
    n_workers = min(n_folds, n_proc) if ranks.size == 1 else 1
    if options.n_threads is None:
        options = replace(options, n_threads=max(1, n_cores // max(n_workers, ranks.local_size)))
    return options, n_workers


def choose_configuration(plans: Plans, name: Configuration | None) -> Configuration:
    """Give the configuration that was asked for, or the plan's first.

    Raises:
        PlanError: it was not planned, or is a second step with cases cropped to clicks.
    """
    if name is None:
        return plans.default
    if name == "3d_cascade" and name in plans.configurations and plans.plan(name).crop.region == "clicks":
        raise PlanError(
            "3d_cascade refines masks that 3d_lowres makes without clicks, but this plan crops to clicks; train "
            "3d_fullres, or plan with --no-interactive"
        )
    if name not in plans.configurations:
        raise PlanError(
            f"{plans.task}: configuration {name} is not planned; there are {', '.join(plans.configurations)}. "
            "Plan it with interactivepet_plan_and_process"
        )
    return name


def _show(job: NetworkJob, card: CheckpointCard, found: Validation, *, data: FoldData, tracker: Tracker) -> None:
    """Write the fold's page, and show the same in the tracker."""
    plan = job.task.plan
    page = render_fold(
        card,
        plan,
        n_clicks={case.record.id: len(case.record.clicks) for case in data.validation},
        curves=draw_learning(card.epochs, labels=sorted(plan.labels, key=lambda name: plan.labels[name])),
        pictures=found.pictures,
    )
    write_text(job.page_path, page)
    tracker.log_file(job.page_path)
    for name, png in found.pictures.items():
        tracker.log_picture(f"validation/{name}.png", png)
    tracker.log_metrics({f"validation_dice_{mode}": dice for mode, dice in found.means.items()})
    logger.info(
        "fold %d is complete: Dice %s; %s",
        card.fold,
        ", ".join(f"{dice:.3f} ({mode} clicks)" for mode, dice in found.means.items()) or "not measured",
        job.page_path,
    )
