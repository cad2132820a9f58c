"""Train folds and predict, with each, the cases that it never saw."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from interactivepet.core.checkpoint import CheckpointCard
from interactivepet.core.ensemble import ClickMode
from interactivepet.core.plan import Configuration, Fold, Plan, Plans
from interactivepet.core.prediction import Prediction
from interactivepet.core.preprocessed import CaseRecord
from interactivepet.dataset.arrays import write_array
from interactivepet.dataset.manifest import read_manifest
from interactivepet.dataset.read import read_case
from interactivepet.dataset.write import write_artefact
from interactivepet.ensemble.fuse import to_segmentation
from interactivepet.errors import ArtefactError, MissingArtefactError, PlanError, TrainingError
from interactivepet.evaluation.metrics import mean_case_dice
from interactivepet.evaluation.pictures import draw_case
from interactivepet.inference.network import NetworkSegmenter, open_network, return_to_scanner
from interactivepet.networks.precision import choose_device
from interactivepet.pipeline.cascade import run_coarse_masks
from interactivepet.pipeline.cases import is_emission, read_preprocessed, read_records
from interactivepet.pipeline.executor import map_cases, open_executor
from interactivepet.pipeline.folds import CLICK_MODES, load_fold, read_card, read_out_of_fold, read_reference
from interactivepet.pipeline.prepare import read_decisions
from interactivepet.pipeline.runs import TrackerSpec, find_parent_run
from interactivepet.pipeline.workspace import Workspace
from interactivepet.tracking.tracker import Tracker
from interactivepet.training.batches import StoredCase
from interactivepet.training.checkpoint import has_state, load_weights, remove_previous, remove_state
from interactivepet.training.fold import FoldData, TrainedFold, TrainingOptions, train_fold
from interactivepet.training.stop import wants_more

__all__ = ["OUT_OF_FOLD_THRESHOLD", "choose_configuration", "lock_folder", "run_training"]

logger = logging.getLogger(__name__)

OUT_OF_FOLD_THRESHOLD = 0.5
"""Of the Dice on the fold's card; the choice of the ensemble tries others."""

MOST_PICTURES = 6
"""Validation cases shown in the tracker: those with the lowest Dice."""

WEIGHTS_LICENCE = "trained on the user's own data: the owner of the data decides on the licence of these weights"


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
) -> list[CheckpointCard]:
    """Train the given folds, or all that exist when none is given; complete ones are left as they are.

    `configuration` None trains the first one of the plan; `3d_cascade` needs all folds of `3d_lowres`.

    On a CPU several folds train side by side, one process each, which uses the cores better than threads:
    a single fold's threads wait for one another. On a graphics card they follow one another.

    Raises:
        PlanError: the configuration was not planned.
        MissingArtefactError: the first step of a cascade is not trained.
        TrainingError: a fold does not exist, or is being trained by another process.
    """
    plans, split = read_decisions(workspace)
    plan = plans.plan(choose_configuration(plans, configuration))
    if plan.configuration == "3d_cascade":
        run_coarse_masks(workspace, plans, split=split)
    indices = list(dict.fromkeys(folds)) if folds else [fold.index for fold in split.folds]
    for index in indices:
        if not 0 <= index < len(split.folds):
            raise TrainingError(f"fold {index} does not exist: {workspace.folds} has folds 0 to {len(split.folds) - 1}")
    on_cpu = choose_device(options.device).type == "cpu"
    n_workers = min(len(indices), n_proc) if on_cpu else 1
    if on_cpu and options.n_threads is None:
        options = replace(options, n_threads=max(1, n_cores // n_workers))
    parent = find_parent_run(workspace, tracker)
    jobs = [
        FoldJob(
            workspace,
            plan,
            split.folds[index],
            replace(options, progress_position=line),
            tta,
            tracker,
            parent,
        )
        for line, index in enumerate(indices)
    ]
    if len(jobs) == 1:
        return [_run_fold(jobs[0])]
    with open_executor(n_workers) as executor:
        names = [f"fold {index}" for index in indices]
        return map_cases(executor, _run_fold, items=jobs, names=names, description="folds")


def choose_configuration(plans: Plans, name: Configuration | None) -> Configuration:
    """Give the configuration that was asked for, or the plan's first.

    Raises:
        PlanError: it was not planned.
    """
    if name is None:
        return plans.default
    if name not in plans.configurations:
        raise PlanError(
            f"{plans.task}: configuration {name} is not planned; there are {', '.join(plans.configurations)}. "
            "Plan it with interactivepet_plan_and_process"
        )
    return name


def _run_fold(job: FoldJob) -> CheckpointCard:
    """Train, predict out of fold, and write the card last: its presence says that all else is there."""
    with lock_folder(job.workspace.fold(job.plan.configuration, job.fold.index)):
        records = read_records(job.workspace, job.plan, cases=(*job.fold.training, *job.fold.validation))
        data = load_fold(job.workspace, job.plan, fold=job.fold, records=records)
        card = _find_complete(job, data)
        if card is not None:
            return card
        path = job.workspace.card(job.plan.configuration, job.fold.index)
        path.unlink(missing_ok=True)
        tracker = job.tracker.open()
        trained = train_fold(job.plan, data, tracker=tracker, options=job.options, parent_run=job.parent_run)
        try:
            dice = _predict_validation(job, data, records, trained=trained, tracker=tracker)
        except BaseException:
            tracker.end_run(failed=True)
            raise
        card = _make_card(job, trained, dice, cases_hash=data.cases_hash)
        write_artefact(path, card)
        remove_previous(data.checkpoint)
        tracker.end_run()
        return card


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Keep two processes from training one fold; the lock of a killed process is free at once."""
    import filelock

    folder.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(folder / ".lock", timeout=10):
            yield
    except filelock.Timeout as error:
        raise TrainingError(f"{folder} is being trained by another process; wait for it or stop it") from error


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
        remove_state(data.checkpoint)
        return None
    if card.cases_hash != data.cases_hash:
        logger.warning("fold %d: images, labels or clicks changed since it was trained; training anew", data.index)
        remove_state(data.checkpoint)
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


def _predict_validation(
    job: FoldJob,
    data: FoldData,
    records: dict[str, CaseRecord],
    *,
    trained: TrainedFold,
    tracker: Tracker,
) -> dict[str, dict[str, float]]:
    """Predict the validation cases with none and with the stored clicks; write probabilities, give the Dice."""
    segmenter = open_network(
        job.plan,
        load_weights(data.weights, sha256=trained.weights_sha256),
        name=f"fold_{job.fold.index}",
        licence=WEIGHTS_LICENCE,
        device=choose_device(job.options.device),
        tta=job.tta,
    )
    manifest = read_manifest(job.workspace.raw)
    dice: dict[str, dict[str, float]] = {mode: {} for mode in CLICK_MODES}
    for case in data.validation:
        name = case.record.id
        reference = read_reference(job.workspace, manifest, record=records[name])
        for mode, prediction in _predict_case(job, segmenter, case).items():
            folder = job.workspace.out_of_fold(job.plan.configuration, job.fold.index, mode=mode)
            write_array(folder / f"{name}.b2nd", prediction.probabilities[1:].astype(np.float16))
            mask = to_segmentation(prediction, threshold=OUT_OF_FOLD_THRESHOLD).mask
            dice[mode][name] = mean_case_dice(mask, reference, labels=job.plan.label_values)
    _show_validation(job, records, dice["extreme"], tracker=tracker)
    for mode in CLICK_MODES:
        tracker.log_metrics({f"validation_dice_{mode}": float(np.mean(list(dice[mode].values())))})
    return dice


def _predict_case(job: FoldJob, segmenter: NetworkSegmenter, case: StoredCase) -> dict[ClickMode, Prediction]:
    """Predict a case in every click mode, on the scanner's grid; without clicks both modes are one."""
    ready = read_preprocessed(job.workspace, job.plan, record=case.record)
    none = return_to_scanner(segmenter.predict(ready, (), previous=case.coarse.get("none")), ready.trace)
    clicks = case.record.clicks
    if not clicks:
        return {"none": none, "extreme": none}
    found = segmenter.predict(ready, clicks, previous=case.coarse.get("extreme"))
    return {"none": none, "extreme": return_to_scanner(found, ready.trace)}


def _show_validation(job: FoldJob, records: dict[str, CaseRecord], dice: dict[str, float], *, tracker: Tracker) -> None:
    """Log pictures of the worst cases."""
    manifest = read_manifest(job.workspace.raw)
    for name in sorted(dice, key=lambda case: dice[case])[:MOST_PICTURES]:
        case = read_case(job.workspace.raw, manifest.entry(name))
        prediction = read_out_of_fold(
            job.workspace, job.plan, record=records[name], fold=job.fold.index, mode="extreme"
        )
        png = draw_case(
            case.image,
            case.geometry,
            mask=to_segmentation(prediction, threshold=OUT_OF_FOLD_THRESHOLD).mask,
            reference=case.label,
            clicks=records[name].clicks,
            title=f"{name}  Dice {dice[name]:.3f} (out of fold)",
            is_emission=is_emission(job.plan.channels),
        )
        tracker.log_picture(f"validation/{name}.png", png)


def _make_card(
    job: FoldJob, trained: TrainedFold, dice: dict[str, dict[str, float]], *, cases_hash: str
) -> CheckpointCard:
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
    )
