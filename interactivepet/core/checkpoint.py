"""What is known of a trained fold besides its weights."""

from __future__ import annotations

from typing import ClassVar

from interactivepet.core.artefact import Artefact, Record
from interactivepet.core.intensities import IntensityRange

__all__ = ["CheckpointCard", "EpochRecord"]


class EpochRecord(Record):
    """One epoch in numbers."""

    epoch: int
    """Counted from 0."""
    loss: float
    """Mean training loss."""
    validation_loss: float
    """Mean loss over patches of the fold's validation cases, the same patches and clicks in every epoch."""
    pseudo_dice: tuple[float | None, ...]
    """Per label, over those patches taken together; None when none of them holds the label.
    It follows progress and estimates nothing: patches are not cases."""
    learning_rate: float
    """Of the epoch's first iteration."""
    seconds: float
    """With validation and the writing of the state before."""
    memory_gb: float
    """Peak of the process (CPU) or of the device (GPU) so far."""
    iterations_per_second: float = 0.0
    """While training, waiting for batches included."""
    wait_share: float = 0.0
    """Share of that time in which the device had nothing to compute."""


class CheckpointCard(Artefact):
    """Written last, so that its presence says that the fold is complete. `made_from` is the plan's hash."""

    later_fields: ClassVar[frozenset[str]] = frozenset({"intensities"})

    task: str
    fold: int
    training: tuple[str, ...]
    validation: tuple[str, ...]
    cases_hash: str
    """Hash of the records of all its cases: of their voxels, labels and clicks."""
    weights_sha256: str
    licence: str
    """Under which the weights may be used; shown when the model is."""
    device: str
    """Where it was trained: `cpu`, or the name of the graphics card."""
    tta: bool
    """Whether the out-of-fold predictions average over mirrored inputs."""
    run_id: str | None = None
    """The tracker's run, for people; nothing reads it back."""
    epochs: tuple[EpochRecord, ...]
    validation_dice: dict[str, dict[str, float]]
    """Click mode (`none`, `extreme`) -> case -> mean Dice over the labels, out of fold, threshold 0.5."""
    intensities: tuple[IntensityRange, ...] | None = None
    """Per channel, what the training cases of the task hold; None where it was not measured."""
