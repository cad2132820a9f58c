"""The epochs of one run: train, watch the time and the signals, validate, and give a record of each."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from interactivepet.core.checkpoint import EpochRecord, Pretraining
from interactivepet.core.promptable import TrainablePlan
from interactivepet.training.augment import Augmentation, defer_augmentation, make_augmentation
from interactivepet.training.engine import Engine
from interactivepet.training.inputs import FoldData, TrainingOptions
from interactivepet.training.loader import VALIDATION_SEED, BatchLoader, EpochBatches, open_loader
from interactivepet.training.loop import ValidationScore, train_epoch, validate_epoch
from interactivepet.training.optimise import find_rate
from interactivepet.training.reproducibility import seed_torch
from interactivepet.training.stop import Clock, Interruption, find_reason
from interactivepet.training.tasks import TrainingTask
from interactivepet.training.timing import WaitMeter, read_utilisation

__all__ = ["Run", "make_batches", "run_epochs"]

logger = logging.getLogger(__name__)

VALIDATION_SHARE = 0.1
"""Validation batches an epoch, as a share of its training batches: a forward pass costs a third of a step."""

CHECKED_LOSSES = 25
"""Iterations after which losses are read: each reading lets a graphics card run out of work."""


@dataclass(slots=True, eq=False)
class Run:
    """What the epochs of one start have in common, and those that are done.

    Attributes:
        engine: the network with what moves it.
        task: how its kind of network is trained.
        data: the fold.
        options: of this run.
        interruption: tells when a signal has come.
        done: the finished epochs, before and after an interruption.
        run_id: of the tracker.
        ended: whether it goes on from a run that had ended, of which no more was asked for.
        pretrained: the model that the run started from; None for random weights.
        utilisation: of the graphics card at the end of the last epoch's iterations, if known; see `read_utilisation`.
    """

    engine: Engine
    task: TrainingTask
    data: FoldData
    options: TrainingOptions
    interruption: Interruption
    done: list[EpochRecord]
    run_id: str | None
    ended: bool = False
    pretrained: Pretraining | None = None
    utilisation: float | None = None

    @property
    def plan(self) -> TrainablePlan:
        """The plan that the run follows."""
        return self.task.plan

    @property
    def n_epochs(self) -> int:
        """Epochs of the whole run."""
        return len(self.done) if self.ended else self.options.epochs or self.plan.training.epochs

    @property
    def is_over(self) -> bool:
        """Whether the finished epochs are all that its options ask for."""
        return len(self.done) >= self.n_epochs or find_reason(self.done, self.options) is not None

    @property
    def n_iterations(self) -> int:
        """Training batches an epoch."""
        return self.options.iterations or self.plan.training.iterations_per_epoch

    def agree(self, progress: float) -> float:
        """Give how far the run has come by the clock of the process that is furthest; all of them go by it.

        Raises:
            KeyboardInterrupt: a signal has come, to this process or to another of those that share the batches.
        """
        number, furthest = self.engine.ranks.agree(self.interruption.number or 0, progress)
        if number:
            self.interruption.number = int(number)
        self.interruption.check()
        return furthest


def run_epochs(run: Run) -> Iterator[EpochRecord]:
    """Give one record after each epoch that is still to do; the caller adds it to `run.done`.

    Raises:
        FloatingPointError: a loss is not finite.
        KeyboardInterrupt: a signal has come.
    """
    n_done, options = len(run.done), run.options
    batches = make_batches(run)
    spent_s = sum(record.seconds for record in run.done)
    clock = Clock(run.n_epochs * run.n_iterations, options.time_limit_s, spent_s)
    bar = tqdm(
        total=run.n_epochs * run.n_iterations,
        initial=n_done * run.n_iterations,
        desc=f"fold {run.data.index}",
        unit="it",
        position=options.progress_position,
        # below another bar it makes room for that of the predictions
        leave=None,
        dynamic_ncols=True,
        disable=not run.engine.ranks.is_first,
    )
    numbers = batches.list_epochs(n_done, run.n_epochs)
    on_card = run.engine.device.type == "cuda"
    with bar, closing(open_loader(batches, numbers, n_workers=options.n_workers, pin=on_card)) as loader:
        for epoch in range(n_done, run.n_epochs):
            reason = find_reason(run.done, options)
            if reason is not None:
                logger.info("fold %d ends after %d epochs: %s", run.data.index, epoch, reason)
                return
            record = _run_epoch(run, loader, batches, epoch=epoch, clock=clock, bar=bar)
            yield run.engine.ranks.broadcast(record)


def make_batches(run: Run) -> EpochBatches:
    """Give all batches of the run by their numbers."""
    return EpochBatches(
        run.data,
        run.task,
        seed=run.options.seed,
        n_training=run.n_iterations,
        n_validation=max(1, round(VALIDATION_SHARE * run.n_iterations)),
        augmentation=_choose_augmentation(run),
        ranks=run.engine.ranks,
    )


def _choose_augmentation(run: Run) -> Augmentation:
    if run.task.augments_on_device(run.engine.device):
        return defer_augmentation()
    return make_augmentation(
        run.plan.patch_size, mirror_axes=run.plan.training.mirror_axes, spacing_mm=run.plan.spacing_mm
    )


def _run_epoch(
    run: Run, loader: BatchLoader, batches: EpochBatches, *, epoch: int, clock: Clock, bar: Any
) -> EpochRecord | None:
    """Train and validate; give the epoch's record in the process that validates, else None."""
    seed_torch(run.options.seed, run.data.index, epoch)
    rate = find_rate(run.plan.training, run.agree(clock.progress(epoch * run.n_iterations)))
    run.engine.set_rate(rate)
    meter = WaitMeter(run.engine.device)
    losses = _train_epoch(run, loader, epoch=epoch, clock=clock, meter=meter, bar=bar)
    # before the host waits for the device, which would be idle from then on
    run.utilisation = read_utilisation(run.engine.device)
    seconds, wait_share = meter.measure()
    loss = float(run.engine.ranks.average(torch.stack(losses).mean()))
    if not run.engine.ranks.is_first:
        return None
    score = _validate(run, loader, batches, epoch=epoch, is_whole=len(losses) == run.n_iterations)
    record = EpochRecord(
        epoch=epoch,
        loss=loss,
        validation_loss=score.loss,
        pseudo_dice=score.pseudo_dice,
        learning_rate=rate,
        seconds=clock.lap_s(),
        memory_gb=_peak_memory_gb(run.engine.device),
        iterations_per_second=len(losses) / seconds,
        wait_share=wait_share,
    )
    dice = [d for d in score.pseudo_dice if d is not None]
    bar.set_postfix(loss=f"{record.loss:.3f}", dice=f"{sum(dice) / len(dice):.3f}" if dice else "-")
    return record


def _train_epoch(
    run: Run, loader: BatchLoader, *, epoch: int, clock: Clock, meter: WaitMeter, bar: Any
) -> list[Tensor]:
    """Train until the epoch or the time is over; give the loss of every iteration."""
    losses: list[Tensor] = []
    n_before = epoch * run.n_iterations
    transform = run.task.make_batch_transform(run.engine, seed=(run.options.seed, run.data.index, epoch))
    for loss in train_epoch(run.engine, loader, n_iterations=run.n_iterations, transform=transform, meter=meter):
        losses.append(loss)
        bar.update()
        progress = run.agree(clock.progress(n_before + len(losses)))
        if len(losses) % CHECKED_LOSSES == 0 or len(losses) == run.n_iterations:
            _check_losses(losses[-CHECKED_LOSSES:])
        run.engine.set_rate(find_rate(run.plan.training, progress))
        if progress >= 1.0:
            break
    return losses


def _check_losses(losses: Sequence[Tensor]) -> None:
    for loss in torch.stack(list(losses)).tolist():
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss}")


def _validate(run: Run, loader: BatchLoader, batches: EpochBatches, *, epoch: int, is_whole: bool) -> ValidationScore:
    """Score the epoch's validation batches, which the loader gives next unless the epoch was cut short."""
    seed = (VALIDATION_SEED, run.data.index)
    transform = run.task.make_batch_transform(run.engine, seed=seed, is_validation=True)
    if is_whole:
        return validate_epoch(run.engine, loader, n_iterations=batches.n_validation, transform=transform)
    with closing(open_loader(batches, batches.list_validation(epoch), n_workers=0)) as rest:
        return validate_epoch(run.engine, rest, n_iterations=batches.n_validation, transform=transform)


def _peak_memory_gb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    import sys

    try:
        import resource
    except ImportError:
        # Windows does not tell
        return 0.0
    # kilobytes on Linux, bytes on macOS
    unit = 1.0 if sys.platform == "darwin" else 1024.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
