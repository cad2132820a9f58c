"""What is known of a trained fold besides its weights."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import SerializerFunctionWrapHandler, model_serializer

from interactivepet.core.artefact import Artefact, Record
from interactivepet.core.intensities import IntensityRange

__all__ = ["CheckpointCard", "EpochRecord", "Pretraining", "TrainingCard"]


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


class Pretraining(Record):
    """The trained model whose weights a fold started from."""

    name: str
    """Of the model, or of the file of weights."""
    share: float
    """Share of the values of the fold's network that were taken from it."""
    licence: str
    """Text under which its weights may be used."""


class TrainingCard(Artefact):
    """What is known of any trained fold. `made_from` is the plan's hash.

    A card is written last, so that its presence says that the fold is complete.
    """

    field_order: ClassVar[str] = ""
    """The fields after those of every artefact, in the order that `content_hash` depends on; others follow."""

    task: str
    training: tuple[str, ...]
    validation: tuple[str, ...]
    """Empty for a model of all cases."""
    cases_hash: str
    """Hash of the records of all its cases: of their voxels, labels and clicks."""
    weights_sha256: str
    licence: str
    """Text under which the weights may be used; its first line is shown wherever the model is."""
    device: str
    """Where it was trained: `cpu`, or the name of the graphics card."""
    run_id: str | None = None
    """The tracker's run, for people; nothing reads it back."""
    epochs: tuple[EpochRecord, ...]

    @model_serializer(mode="wrap")
    def _order(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Order the fields, since those of a base class would come first and change the hash of stored cards."""
        content: dict[str, Any] = serialise(self)
        names = (*Artefact.model_fields, *self.field_order.split(), *content)
        return {name: content[name] for name in names if name in content}


class CheckpointCard(TrainingCard):
    """The card of a fold's network."""

    field_order = "task fold training validation cases_hash weights_sha256 licence device tta run_id epochs"
    later_fields = frozenset({"intensities", "patients", "pretrained"})

    fold: int
    tta: bool
    """Whether the out-of-fold predictions average over mirrored inputs."""
    validation_dice: dict[str, dict[str, float]]
    """Click mode (`none`, `extreme`) -> case -> mean Dice over the labels, out of fold, threshold 0.5."""
    intensities: tuple[IntensityRange, ...] | None = None
    """Per channel, what the training cases of the task hold; None where it was not measured."""
    patients: int | None = None
    """To how many of the fold's training patients the training was limited; None for all of them."""
    pretrained: Pretraining | None = None
    """The model that training started from; None for random weights."""
