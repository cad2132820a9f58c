"""A fold's cases and where its files go."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from interactivepet.training.batches import StoredCase

__all__ = ["FoldData"]


@dataclass(frozen=True, slots=True, eq=False)
class FoldData:
    """A fold's cases and where its files go.

    Attributes:
        index: of the fold.
        training: cases whose labels the network sees.
        validation: cases that it never sees.
        folder: of checkpoint and weights.
        coarse_hash: of what the first step's masks were made from, in the second step of a cascade.
    """

    index: int
    training: Sequence[StoredCase]
    validation: Sequence[StoredCase]
    folder: Path
    coarse_hash: str = ""

    @property
    def cases_hash(self) -> str:
        """Hash of who is in which part and of their voxels, labels and clicks, and of the masks that are refined."""
        parts = [f"{case.record.id}:{case.record.content_hash()}" for case in (*self.training, *self.validation)]
        return hashlib.sha256("|".join([str(len(self.training)), self.coarse_hash, *parts]).encode()).hexdigest()[:16]

    @property
    def checkpoint(self) -> Path:
        """State of the unfinished fold."""
        return self.folder / "checkpoint.pt"

    @property
    def weights(self) -> Path:
        """Weights of the trained fold."""
        return self.folder / "weights.pt"

    @property
    def best_weights(self) -> Path:
        """Weights after the epoch with the best smoothed pseudo Dice."""
        return self.folder / "weights_best.pt"
