"""Train one fold, epoch by epoch, so that it can be stopped and continued anywhere."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from interactivepet.core.checkpoint import EpochRecord
from interactivepet.core.plan import Plan
from interactivepet.errors import TrainingError
from interactivepet.networks.build import build_network
from interactivepet.networks.precision import choose_device, describe_device
from interactivepet.tracking.tracker import Tracker
from interactivepet.training.augment import make_augmentation
from interactivepet.training.batches import PatchLoader, StoredCase
from interactivepet.training.checkpoint import TrainingState, load_state, save_state, save_weights
from interactivepet.training.feed import open_feed
from interactivepet.training.loop import Engine, make_engine, polynomial_rate, train_epoch, validate_epoch

__all__ = ["FoldData", "TrainedFold", "TrainingOptions", "train_fold"]

logger = logging.getLogger(__name__)

VALIDATION_SHARE = 0.1
"""Validation batches an epoch, as a share of its training batches: a forward pass costs a third of a step."""

VALIDATION_SEED = 7
"""Draws the same validation patches and clicks in every epoch, so that curves compare."""


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """What the user may set for a run without changing the plan.

    Attributes:
        epochs: instead of the plan's.
        iterations: an epoch, instead of the plan's.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        seed: of weights, patches, clicks and augmentation.
        n_threads: of torch; None leaves torch's own choice.
        n_workers: processes that draw and augment batches; 0 does it in the training process.
        resume: continue an interrupted fold; otherwise start anew.
        progress_position: line of the progress bar when several folds train side by side.
    """

    epochs: int | None = None
    iterations: int | None = None
    device: str = "auto"
    seed: int = 0
    n_threads: int | None = None
    n_workers: int = 0
    resume: bool = True
    progress_position: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class FoldData:
    """A fold's cases and where its files go.

    Attributes:
        index: of the fold.
        training: cases whose labels the network sees.
        validation: cases that it never sees.
        folder: of checkpoint and weights.
    """

    index: int
    training: Sequence[StoredCase]
    validation: Sequence[StoredCase]
    folder: Path

    @property
    def cases_hash(self) -> str:
        """Hash of who is in which part and of their voxels, labels and clicks."""
        parts = [f"{case.record.id}:{case.record.content_hash()}" for case in (*self.training, *self.validation)]
        return hashlib.sha256("|".join([str(len(self.training)), *parts]).encode()).hexdigest()[:16]

    @property
    def checkpoint(self) -> Path:
        """State of the unfinished fold."""
        return self.folder / "checkpoint.pt"

    @property
    def weights(self) -> Path:
        """Weights of the trained fold."""
        return self.folder / "weights.pt"


@dataclass(frozen=True, slots=True)
class TrainedFold:
    """What training leaves behind besides files.

    Attributes:
        epochs: one record an epoch.
        weights_sha256: of `weights.pt`.
        device: that trained it.
        run_id: of the tracker.
    """

    epochs: tuple[EpochRecord, ...]
    weights_sha256: str
    device: str
    run_id: str | None


def train_fold(
    plan: Plan, data: FoldData, *, tracker: Tracker, options: TrainingOptions, parent_run: str | None = None
) -> TrainedFold:
    """Train one fold, or continue it where it was interrupted.

    After every epoch the whole state is written atomically; a kill costs at most the epoch under way. The
    checkpoint stays until the caller has made use of the weights.

    Args:
        plan: of the task.
        data: the fold.
        tracker: told about every epoch, never asked; its run stays open for the caller's validation.
        options: of this run.
        parent_run: the tracker's run that this one is shown under.

    Raises:
        StaleArtefactError: the checkpoint was made with another plan or other cases.
        TrainingError: the checkpoint is damaged, the loss is not finite, or memory does not suffice.
    """
    if options.n_threads is not None:
        torch.set_num_threads(options.n_threads)
    device = choose_device(options.device)
    torch.manual_seed(options.seed + data.index)
    engine = make_engine(build_network(plan.network, deep_supervision=True), plan, device=device)
    state = _restore(engine, plan, data, resume=options.resume)
    run_id = tracker.start_run(
        f"fold_{data.index}",
        parent=parent_run,
        run_id=state.run_id if state else None,
        tags={"task": plan.task, "fold": str(data.index), "device": describe_device(device)},
    )
    done = list(state.epochs) if state else []
    made_from = _hash_inputs(plan, data)
    if not done:
        tracker.log_parameters(plan.model_dump(mode="json", exclude={"reasons"}))
    try:
        for record in _run_epochs(engine, plan, data, options=options, n_done=len(done)):
            done.append(record)
            save_state(data.checkpoint, _snapshot(engine, done, made_from=made_from, run_id=run_id))
            tracker.log_metrics(_metrics(record, plan), step=record.epoch)
    except BaseException as error:
        tracker.end_run(failed=True)
        if isinstance(error, FloatingPointError) or _is_out_of_memory(error):
            raise TrainingError(_explain(error, plan, data)) from error
        raise
    sha256 = save_weights(data.weights, engine.network)
    return TrainedFold(tuple(done), sha256, describe_device(device), run_id)


def _restore(engine: Engine, plan: Plan, data: FoldData, *, resume: bool) -> TrainingState | None:
    """Load the checkpoint into the engine; None when the fold starts anew."""
    if not resume:
        data.checkpoint.unlink(missing_ok=True)
    if not data.checkpoint.is_file():
        return None
    state = load_state(data.checkpoint, made_from=_hash_inputs(plan, data))
    engine.network.load_state_dict(state.network)
    engine.optimizer.load_state_dict(dict(state.optimizer))
    # empty when the epochs before ran on a device that needs no scaling
    if state.scaler:
        engine.scaler.load_state_dict(dict(state.scaler))
    logger.info("fold %d continues after epoch %d", data.index, len(state.epochs))
    return state


def _hash_inputs(plan: Plan, data: FoldData) -> str:
    return f"{plan.content_hash()}-{data.cases_hash}"


def _snapshot(engine: Engine, done: Sequence[EpochRecord], *, made_from: str, run_id: str | None) -> TrainingState:
    return TrainingState(
        made_from=made_from,
        epochs=tuple(done),
        network=engine.network.state_dict(),
        optimizer=engine.optimizer.state_dict(),
        scaler=engine.scaler.state_dict(),
        run_id=run_id,
    )


def _run_epochs(
    engine: Engine, plan: Plan, data: FoldData, *, options: TrainingOptions, n_done: int
) -> Iterator[EpochRecord]:
    """Give one record after each epoch that is still to do."""
    n_epochs = options.epochs or plan.training.epochs
    n_iterations = options.iterations or plan.training.iterations_per_epoch
    loader = PatchLoader(
        data.training,
        plan,
        seed=(options.seed, data.index, n_done),
        augmentation=make_augmentation(plan.patch_size),
    )
    bar = tqdm(
        total=n_epochs * n_iterations,
        initial=n_done * n_iterations,
        desc=f"fold {data.index}",
        unit="it",
        position=options.progress_position,
        dynamic_ncols=True,
    )
    with bar, closing(open_feed(loader, n_workers=options.n_workers)) as batches:
        for epoch in range(n_done, n_epochs):
            rate = polynomial_rate(plan.training.learning_rate, epoch, n_steps=n_epochs)
            yield _run_epoch(engine, batches, plan, data, epoch=epoch, rate=rate, n_iterations=n_iterations, bar=bar)


def _run_epoch(
    engine: Engine,
    batches: Iterator[Any],
    plan: Plan,
    data: FoldData,
    *,
    epoch: int,
    rate: float,
    n_iterations: int,
    bar: Any,
) -> EpochRecord:
    start = time.monotonic()
    for group in engine.optimizer.param_groups:
        group["lr"] = rate
    losses = []
    for loss in train_epoch(engine, batches, n_iterations=n_iterations):
        losses.append(loss)
        bar.update()
    validation = PatchLoader(data.validation, plan, seed=(VALIDATION_SEED, data.index), augmentation=None)
    score = validate_epoch(engine, validation, n_iterations=max(1, round(VALIDATION_SHARE * n_iterations)))
    record = EpochRecord(
        epoch=epoch,
        loss=float(np.mean(losses)),
        validation_loss=score.loss,
        pseudo_dice=score.pseudo_dice,
        learning_rate=rate,
        seconds=time.monotonic() - start,
        memory_gb=_peak_memory_gb(engine.device),
    )
    dice = [d for d in score.pseudo_dice if d is not None]
    bar.set_postfix(loss=f"{record.loss:.3f}", dice=f"{np.mean(dice):.3f}" if dice else "-")
    return record


def _metrics(record: EpochRecord, plan: Plan) -> dict[str, float]:
    names = sorted(plan.labels, key=lambda name: plan.labels[name])
    dice = {f"pseudo_dice_{n}": d for n, d in zip(names, record.pseudo_dice, strict=True) if d is not None}
    return {
        "loss": record.loss,
        "validation_loss": record.validation_loss,
        "learning_rate": record.learning_rate,
        "epoch_seconds": record.seconds,
        "memory_gb": record.memory_gb,
        **dice,
    }


def _peak_memory_gb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    import resource
    import sys

    # kilobytes on Linux, bytes on macOS
    unit = 1.0 if sys.platform == "darwin" else 1024.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out; torch's CPU allocator says so in the text of a plain RuntimeError."""
    is_allocator = isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    return is_allocator or isinstance(error, torch.OutOfMemoryError | MemoryError)


def _explain(error: BaseException, plan: Plan, data: FoldData) -> str:
    if isinstance(error, FloatingPointError):
        return (
            f"{plan.task} fold {data.index}: {error}; the last whole epoch is in {data.checkpoint}. Check the images "
            "with interactivepet_verify, or lower learning_rate in plans.json and start anew with --no-continue"
        )
    return (
        f"{plan.task} fold {data.index}: out of memory with patch {plan.patch_size} and batch "
        f"{plan.training.batch_size} (estimated {plan.estimated_memory_gb:.1f} GB a step); run "
        "interactivepet_plan_and_process with a smaller --budget"
    )
