"""Draw the batches of all epochs in order, here or ahead of time in worker processes."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from interactivepet.training.augment import Augmentation
from interactivepet.training.distributed import ALONE, Ranks
from interactivepet.training.engine import Batch
from interactivepet.training.inputs import FoldData
from interactivepet.training.tasks import TrainingTask

__all__ = ["BatchLoader", "EpochBatches", "open_loader"]

QUEUED_BATCHES = 3
"""Batches that a worker prepares ahead."""

VALIDATION_SEED = 7
"""Draws the same validation patches and clicks in every epoch, so that curves compare."""


@dataclass(frozen=True, eq=False)
class EpochBatches(Dataset[Any]):
    """Every batch of a fold by its number: an epoch's training batches, then its validation batches.

    A batch depends on its number and the seed alone, whoever draws it and after whatever else; so a continued fold
    sees what an undisturbed one sees, with any number of workers.

    Attributes:
        data: the fold; validation batches are neither augmented nor different in another epoch.
        task: draws them.
        seed: of the training batches.
        n_training: batches an epoch.
        n_validation: batches an epoch.
        augmentation: of the training batches.
        ranks: the processes that share each training batch; the first one alone validates.
    """

    data: FoldData
    task: TrainingTask
    seed: int
    n_training: int
    n_validation: int
    augmentation: Augmentation
    ranks: Ranks = ALONE

    def __getitem__(self, number: int) -> Any:
        """Draw the arrays of one `Batch`."""
        epoch, step = divmod(number, self.n_training + self.n_validation)
        seed: tuple[int, ...] = (self.seed, self.data.index, epoch, step)
        if step < self.n_training:
            return self.task.draw_batch(self.data.training, seed=seed, augmentation=self.augmentation, ranks=self.ranks)
        seed = (VALIDATION_SEED, self.data.index, step - self.n_training)
        return self.task.draw_batch(self.data.validation, seed=seed, augmentation=None)

    def list_epochs(self, first: int, stop: int) -> Sequence[int]:
        """Number the batches of the epochs from `first` to `stop`, exclusive, that this process draws."""
        n_batches = self.n_training + self.n_validation
        numbers = range(first * n_batches, stop * n_batches)
        return numbers if self.ranks.is_first else [n for n in numbers if n % n_batches < self.n_training]

    def list_validation(self, epoch: int) -> range:
        """Number the validation batches of one epoch."""
        stop = (epoch + 1) * (self.n_training + self.n_validation)
        return range(stop - self.n_validation, stop)


class BatchLoader(Iterator[Batch]):
    """An iterator over batches, closed when training ends so that no worker outlives it."""

    def __init__(self, batches: Iterator[Batch]) -> None:
        """Wrap the iterator of a `DataLoader`."""
        self._batches = batches

    def __next__(self) -> Batch:
        """Give the next batch."""
        return next(self._batches)

    def close(self) -> None:
        """Stop the workers, if there are any: the library does so when nothing refers to its iterator."""
        self._batches = iter(())


def open_loader(batches: EpochBatches, numbers: Sequence[int], *, n_workers: int, pin: bool = False) -> BatchLoader:
    """Start drawing batches.

    Args:
        batches: what draws them.
        numbers: which, in this order.
        n_workers: 0 draws in this process.
        pin: keep batches where a graphics card can fetch them by itself.
    """
    loader = DataLoader(
        batches,
        batch_size=None,
        sampler=numbers,
        num_workers=n_workers,
        pin_memory=pin,
        prefetch_factor=QUEUED_BATCHES if n_workers else None,
        worker_init_fn=_ignore_signals,
        generator=torch.Generator(),
    )
    return BatchLoader(iter(loader))


def _ignore_signals(_: int) -> None:
    """Leave it to the training process when to end: Ctrl-C and schedulers send their signal to all processes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
