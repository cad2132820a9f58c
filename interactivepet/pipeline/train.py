"""Train folds and predict, with each, the cases that it never saw."""

from __future__ import annotations

import logging
import multiprocessing
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from interactivepet.core.checkpoint import CheckpointCard
from interactivepet.core.fingerprint import Fingerprint
from interactivepet.core.plan import Configuration, Fold, FoldList, Plan, Plans
from interactivepet.dataset.write import read_artefact, write_artefact, write_text
from interactivepet.errors import ArtefactError, MissingArtefactError, PlanError, SettingsError, TrainingError
from interactivepet.evaluation.fold_page import render_fold
from interactivepet.evaluation.learning_curves import draw_learning
from interactivepet.inference.network import open_network
from interactivepet.networks.precision import choose_device
from interactivepet.pipeline.cascade import run_coarse_masks
from interactivepet.pipeline.cases import read_records
from interactivepet.pipeline.executor import map_cases, open_executor
from interactivepet.pipeline.folds import load_fold, read_card
from interactivepet.pipeline.lock import lock_folder
from interactivepet.pipeline.prepare import read_decisions
from interactivepet.pipeline.runs import TrackerSpec, find_parent_run
from interactivepet.pipeline.validation import Validation, validate_fold
from interactivepet.pipeline.workspace import Workspace
from interactivepet.planning.intensities import find_seen_ranges
from interactivepet.tracking.tracker import Tracker
from interactivepet.training.checkpoint import has_state, load_weights, remove_foreign_state, remove_previous
from interactivepet.training.distributed import ALONE, Ranks, open_ranks
from interactivepet.training.fold import FoldData, TrainedFold, TrainingOptions, assist_fold, hash_inputs, train_fold
from interactivepet.training.stop import leave_on_sigterm, wants_more

__all__ = ["choose_configuration", "place_folds", "run_training"]

logger = logging.getLogger(__name__)

WEIGHTS_LICENCE = "trained on the user's own data: the owner of the data decides on the licence of these weights"

_ONE_AT_A_TIME = threading.Lock()
"""A process has one generator of random weights and one choice of algorithms, and a Dask worker may have threads."""


@dataclass(frozen=True, slots=True)
class FoldJob:
    """One fold to train; small enough to be sent to a worker."""

    workspace: Workspace
    plan: Plan
    fold: Fold
    options: TrainingOptions
    tta: bool
    tracker: TrackerSpec
    parent_run: str | None
    ranks: Ranks = ALONE


def run_training(
    workspace: Workspace,
    folds: Sequence[int],
    *,
    configuration: Configuration | None = None,
    options: TrainingOptions,
    tta: bool,
    tracker: TrackerSpec,
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
        indices = _choose_folds(workspace, folds, split=split)
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
            options, n_workers = place_folds(options, n_folds=len(indices), n_proc=n_proc, n_cores=n_cores, ranks=ranks)
        jobs = [FoldJob(workspace, plan, split.folds[i], options, tta, tracker, parent, ranks) for i in indices]
        if scheduler is None and (len(jobs) == 1 or ranks.size > 1):
            # the first failure ends all processes: with another fold, they would no longer do the same
            return [card for job in jobs if (card := _run_fold(job)) is not None]
    return _map_folds(jobs, n_workers=n_workers, scheduler=scheduler)


def _choose_folds(workspace: Workspace, folds: Sequence[int], *, split: FoldList) -> list[int]:
    """Give the folds that were asked for, or all, each once."""
    indices = list(dict.fromkeys(folds)) if folds else [fold.index for fold in split.folds]
    for index in indices:
        if not 0 <= index < len(split.folds):
            raise TrainingError(f"fold {index} does not exist: {workspace.folds} has folds 0 to {len(split.folds) - 1}")
    return indices


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


def _map_folds(jobs: Sequence[FoldJob], *, n_workers: int, scheduler: str | None) -> list[CheckpointCard]:
    """Train folds side by side: here, each with a progress bar of its own, or each on another machine."""
    if scheduler is None:
        # below the bar of all folds, and side by side each on its own line
        lines = [1 + (n if n_workers > 1 else 0) for n in range(len(jobs))]
        jobs = [replace(j, options=replace(j.options, progress_position=n)) for j, n in zip(jobs, lines, strict=True)]
    with open_executor(n_workers, scheduler=scheduler) as executor:
        names = [f"fold {job.fold.index}" for job in jobs]
        cards = map_cases(executor, _run_fold, items=jobs, names=names, description="folds")
    return [card for card in cards if card is not None]


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


def _run_fold(job: FoldJob) -> CheckpointCard | None:
    """Train a fold that is not complete and give its card; processes other than the first only help."""
    if job.options.n_workers and multiprocessing.current_process().daemon:
        raise TrainingError("--workers needs Dask workers that may start processes: start them with --no-nanny")
    with _ONE_AT_A_TIME:
        if job.ranks.is_first:
            return _lead_fold(job)
        _assist_fold(job)
    return None


def _assist_fold(job: FoldJob) -> None:
    """Train a fold along with the first process, if it says that there is something to train."""
    if job.ranks.broadcast(None):
        assist_fold(job.plan, _load_data(job), options=job.options, ranks=job.ranks)


def _load_data(job: FoldJob) -> FoldData:
    records = read_records(job.workspace, job.plan, cases=(*job.fold.training, *job.fold.validation))
    return load_fold(job.workspace, job.plan, fold=job.fold, records=records)


def _lead_fold(job: FoldJob) -> CheckpointCard:
    """Train, predict out of fold, and write the card last: its presence says that all else is there."""
    with lock_folder(job.workspace.fold(job.plan.configuration, job.fold.index)):
        data = _load_data(job)
        card = _find_complete(job, data)
        job.ranks.broadcast(card is None)
        if card is not None:
            return card
        path = job.workspace.card(job.plan.configuration, job.fold.index)
        tracker = job.tracker.open()
        trained = train_fold(
            job.plan,
            data,
            tracker=tracker,
            options=job.options,
            parent_run=job.parent_run,
            ranks=job.ranks,
            withdraw=partial(_withdraw, job),
        )
        try:
            with leave_on_sigterm():
                found = _validate(job, data, trained=trained)
                card = _make_card(job, trained, found.dice, cases_hash=data.cases_hash)
                _show(job, card, found, data=data, tracker=tracker)
        except BaseException:
            tracker.end_run(failed=True)
            raise
        write_artefact(path, card)
        remove_previous(data.checkpoint)
        tracker.end_run()
        return card


def _withdraw(job: FoldJob) -> None:
    """Take back that the fold is complete."""
    name, index = job.plan.configuration, job.fold.index
    for path in (job.workspace.card(name, index), job.workspace.fold_summary(name, index)):
        path.unlink(missing_ok=True)


def _find_complete(job: FoldJob, data: FoldData) -> CheckpointCard | None:
    """Give the card of a fold that is complete, with this plan and these cases, and not to be trained anew."""
    if not job.options.resume:
        return None
    try:
        card = read_card(job.workspace, job.plan, fold=job.fold)
    except MissingArtefactError:
        return None
    except ArtefactError as error:
        logger.warning("fold %d is trained anew: %s", data.index, error)
        remove_foreign_state(data.checkpoint, made_from=hash_inputs(job.plan, data))
        return None
    if card.cases_hash != data.cases_hash:
        logger.warning("fold %d: images, labels or clicks changed since it was trained; training anew", data.index)
        remove_foreign_state(data.checkpoint, made_from=hash_inputs(job.plan, data))
        return None
    if wants_more(card.epochs, job.options):
        if has_state(data.checkpoint):
            logger.info("fold %d goes on from %d to %d epochs", data.index, len(card.epochs), job.options.epochs)
            return None
        raise TrainingError(
            f"fold {data.index} is complete with {len(card.epochs)} epochs and {data.checkpoint} is gone, so it cannot "
            f"go on to {job.options.epochs}; train it anew with --no-continue, or start from its weights with "
            f"--no-continue --pretrained {data.weights}"
        )
    logger.info("fold %d is complete with %d epochs; --no-continue trains it anew", data.index, len(card.epochs))
    return card


def _validate(job: FoldJob, data: FoldData, *, trained: TrainedFold) -> Validation:
    """Judge the trained weights on the validation cases."""
    segmenter = open_network(
        job.plan,
        load_weights(data.weights, sha256=trained.weights_sha256),
        name=f"fold_{job.fold.index}",
        licence=WEIGHTS_LICENCE,
        device=choose_device(job.options.device),
        tta=job.tta,
    )
    return validate_fold(
        job.workspace,
        job.plan,
        fold=job.fold.index,
        cases=data.validation,
        segmenter=segmenter,
        progress_position=job.options.progress_position,
    )


def _show(job: FoldJob, card: CheckpointCard, found: Validation, *, data: FoldData, tracker: Tracker) -> None:
    """Write the fold's page, and show the same in the tracker."""
    labels = sorted(job.plan.labels, key=lambda name: job.plan.labels[name])
    page = render_fold(
        card,
        job.plan,
        n_clicks={case.record.id: len(case.record.clicks) for case in data.validation},
        curves=draw_learning(card.epochs, labels=labels),
        pictures=found.pictures,
    )
    path = job.workspace.fold_summary(job.plan.configuration, job.fold.index)
    write_text(path, page)
    tracker.log_file(path)
    for name, png in found.pictures.items():
        tracker.log_picture(f"validation/{name}.png", png)
    tracker.log_metrics({f"validation_dice_{mode}": dice for mode, dice in found.means.items()})
    logger.info(
        "fold %d is complete: Dice %s; %s",
        card.fold,
        ", ".join(f"{dice:.3f} ({mode} clicks)" for mode, dice in found.means.items()) or "not measured",
        path,
    )


def _make_card(
    job: FoldJob, trained: TrainedFold, dice: dict[str, dict[str, float]], *, cases_hash: str
) -> CheckpointCard:
    command = f"interactivepet_plan_and_process -t {job.plan.task}"
    fingerprint = read_artefact(job.workspace.fingerprint, Fingerprint, command=command)
    return CheckpointCard(
        made_from=job.plan.content_hash(),
        task=job.plan.task,
        fold=job.fold.index,
        training=job.fold.training,
        validation=job.fold.validation,
        cases_hash=cases_hash,
        weights_sha256=trained.weights_sha256,
        licence=WEIGHTS_LICENCE,
        device=trained.device,
        tta=job.tta,
        run_id=trained.run_id,
        epochs=trained.epochs,
        validation_dice=dice,
        intensities=find_seen_ranges(fingerprint),
    )
