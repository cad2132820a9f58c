"""Run a batch loader here or in worker processes, with `batchgenerators`' augmenters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from interactivepet.training.batches import PatchLoader

__all__ = ["Feed", "open_feed"]

QUEUED_BATCHES = 3
"""Batches that a worker prepares ahead."""


class Feed(Iterator[Any]):
    """An endless iterator over batches, closed when training ends so that no worker outlives it."""

    def __init__(self, augmenter: Any) -> None:
        """Wrap one of the library's augmenters."""
        self._augmenter = augmenter

    def __next__(self) -> Any:
        """Give the next batch."""
        return next(self._augmenter)

    def close(self) -> None:
        """Stop the workers, if there are any."""
        finish = getattr(self._augmenter, "_finish", None)
        if finish is not None:
            finish()


def open_feed(loader: PatchLoader, *, n_workers: int) -> Feed:
    """Start drawing batches.

    Args:
        loader: what draws them.
        n_workers: 0 draws in this process, which on a CPU saves copying; a graphics card is fed by several.
    """
    if n_workers == 0:
        from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter

        return Feed(SingleThreadedAugmenter(loader, None))
    from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter

    return Feed(MultiThreadedAugmenter(loader, None, n_workers, num_cached_per_queue=QUEUED_BATCHES, seeds=None))
