"""Train folds and predict, with each, the cases that it never saw."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from interactivepet.core.checkpoint import CheckpointCard
from interactivepet.core.dataset import DatasetManifest
from interactivepet.core.ensemble import ClickMode
from interactivepet.core.plan import Fold, Plan
from interactivepet.core.prediction import Prediction
from interactivepet.core.preprocessed import CaseRecord
from interactivepet.dataset.arrays import read_array, write_array
from interactivepet.dataset.manifest import read_manifest
from interactivepet.dataset.read import read_case, read_mask
from interactivepet.dataset.write import read_artefact, write_artefact
from interactivepet.ensemble.fuse import to_segmentation
from interactivepet.errors import ArtefactError, MissingArtefactError, StaleArtefactError, TrainingError
from interactivepet.evaluation.metrics import mean_case_dice
from interactivepet.evaluation.pictures import draw_case
from interactivepet.inference.network import NetworkSegmenter, open_network, return_to_scanner
from interactivepet.networks.precision import choose_device
from interactivepet.pipeline.cases import is_emission, read_preprocessed, read_records
from interactivepet.pipeline.executor import map_cases, open_executor
from interactivepet.pipeline.prepare import read_decisions
from interactivepet.pipeline.runs import TrackerSpec, find_parent_run
from interactivepet.pipeline.workspace import Workspace
from interactivepet.tracking.tracker import Tracker
from interactivepet.training.batches import load_cases
from interactivepet.training.checkpoint import load_weights
from interactivepet.training.fold import FoldData, TrainedFold, TrainingOptions, train_fold

__all__ = [
    "CLICK_MODES",
    "OUT_OF_FOLD_THRESHOLD",
    "hash_cards",
    "read_card",
    "read_out_of_fold",
    "read_reference",
    "run_training",
    "to_prediction",
]

logger = logging.getLogger(__name__)

CLICK_MODES: tuple[ClickMode, ...] = ("none", "extreme")
"""Every fold is judged without clicks and with the interior margin points."""

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
    options: TrainingOptions,
    tta: bool,
    tracker: TrackerSpec,
    n_proc: int,
    n_cores: int,
) -> list[CheckpointCard]:
    """Train the given folds, or all that exist when none is given; complete ones are left as they are.

    On a CPU several folds train side by side, one process each, which uses the cores better than threads:
    a single fold's threads wait for one another. On a graphics card they follow one another.

    Raises:
        TrainingError: a fold does not exist, or is being trained by another process.
    """
    plan, split = read_decisions(workspace)
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


def _run_fold(job: FoldJob) -> CheckpointCard:
    """Train, predict out of fold, and write the card last: its presence says that all else is there."""
    with _lock(job.workspace.fold(job.fold.index)):
        records = read_records(job.workspace, job.plan, cases=(*job.fold.training, *job.fold.validation))
        data = load_fold(job.workspace, job.plan, fold=job.fold, records=records)
        card = _find_complete(job, data)
        if card is not None:
            data.checkpoint.unlink(missing_ok=True)
            return card
        job.workspace.card(job.fold.index).unlink(missing_ok=True)
        tracker = job.tracker.open()
        trained = train_fold(job.plan, data, tracker=tracker, options=job.options, parent_run=job.parent_run)
        try:
            dice = _predict_validation(job, data, records, trained=trained, tracker=tracker)
        except BaseException:
            tracker.end_run(failed=True)
            raise
        card = _make_card(job, trained, dice, cases_hash=data.cases_hash)
        write_artefact(job.workspace.card(job.fold.index), card)
        data.checkpoint.unlink(missing_ok=True)
        tracker.end_run()
        return card


def load_fold(workspace: Workspace, plan: Plan, *, fold: Fold, records: Mapping[str, CaseRecord]) -> FoldData:
    """Join a fold with the stored cases and its folder."""
    folder = workspace.cases(plan.configuration)
    return FoldData(
        fold.index,
        load_cases(folder, {name: records[name] for name in fold.training}),
        load_cases(folder, {name: records[name] for name in fold.validation}),
        workspace.fold(fold.index),
    )


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
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
        data.checkpoint.unlink(missing_ok=True)
        return None
    if card.cases_hash != data.cases_hash:
        logger.warning("fold %d: images, labels or clicks changed since it was trained; training anew", data.index)
        data.checkpoint.unlink(missing_ok=True)
        return None
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
    for name in job.fold.validation:
        reference = read_reference(job.workspace, manifest, record=records[name])
        for mode, prediction in _predict_case(job, segmenter, records[name]).items():
            write_array(
                job.workspace.out_of_fold(job.fold.index, mode) / f"{name}.b2nd",
                prediction.probabilities[1:].astype(np.float16),
            )
            mask = to_segmentation(prediction, threshold=OUT_OF_FOLD_THRESHOLD).mask
            dice[mode][name] = mean_case_dice(mask, reference, labels=job.plan.label_values)
    _show_validation(job, records, dice["extreme"], tracker=tracker)
    for mode in CLICK_MODES:
        tracker.log_metrics({f"validation_dice_{mode}": float(np.mean(list(dice[mode].values())))})
    return dice


def _predict_case(job: FoldJob, segmenter: NetworkSegmenter, record: CaseRecord) -> dict[ClickMode, Prediction]:
    """Predict a case in every click mode, on the scanner's grid; without clicks both modes are one."""
    ready = read_preprocessed(job.workspace, job.plan, record=record)
    none = return_to_scanner(segmenter.predict(ready, ()), ready.trace)
    if not record.clicks:
        return {"none": none, "extreme": none}
    return {"none": none, "extreme": return_to_scanner(segmenter.predict(ready, record.clicks), ready.trace)}


def read_reference(workspace: Workspace, manifest: DatasetManifest, *, record: CaseRecord) -> npt.NDArray[np.uint8]:
    """Read a training case's label (I, J, K); empty when it has none."""
    name = manifest.entry(record.id).label
    if name is None:
        return np.zeros(record.original.shape, np.uint8)
    return read_mask(workspace.raw / name)[0]


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


def read_card(workspace: Workspace, plan: Plan, *, fold: Fold) -> CheckpointCard:
    """Read the card of a complete fold.

    Raises:
        MissingArtefactError: the fold is not complete.
        StaleArtefactError: it was trained with another plan or another split.
    """
    command = f"interactivepet_train -t {workspace.task} -f {fold.index}"
    path = workspace.card(fold.index)
    card = read_artefact(path, CheckpointCard, command=command, made_from=plan.content_hash())
    if (card.training, card.validation) != (fold.training, fold.validation):
        raise StaleArtefactError(f"{path} was trained on another split of the cases; run {command} again")
    return card


def check_cases(card: CheckpointCard, data: FoldData) -> None:
    """Refuse out-of-fold predictions of cases that have changed since.

    Raises:
        StaleArtefactError: images, labels or clicks are not those that the fold was trained and judged on.
    """
    if card.cases_hash != data.cases_hash:
        raise StaleArtefactError(
            f"{card.task}: images, labels or clicks have changed since fold {card.fold} was trained; "
            f"run interactivepet_train -t {card.task} -f {card.fold} again"
        )


def hash_cards(cards: Sequence[CheckpointCard]) -> str:
    """Hash the cards of all folds: what a choice over them is made from."""
    return hashlib.sha256("|".join(card.content_hash() for card in cards).encode()).hexdigest()[:16]


def read_out_of_fold(workspace: Workspace, plan: Plan, *, record: CaseRecord, fold: int, mode: ClickMode) -> Prediction:
    """Read a case's out-of-fold probabilities on the scanner's grid."""
    path = workspace.out_of_fold(fold, mode) / f"{record.id}.b2nd"
    foreground = read_array(path, command=f"interactivepet_train -f {fold}")
    return to_prediction(foreground, record, labels=plan.label_values)


def to_prediction(foreground: npt.NDArray[np.float16], record: CaseRecord, *, labels: tuple[int, ...]) -> Prediction:
    """Complete stored label probabilities (L, I, J, K) with the background's."""
    known = foreground.astype(np.float32)
    background = np.clip(1.0 - known.sum(axis=0, keepdims=True), 0.0, 1.0)
    return Prediction(record.id, np.concatenate((background, known)), record.original.geometry(), labels)
