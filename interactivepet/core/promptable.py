"""A promptable model of the user's own: how its network is made and trained, and what is known of it afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from pydantic import Field, model_validator

from interactivepet.core.artefact import Artefact, Record
from interactivepet.core.checkpoint import TrainingCard
from interactivepet.core.geometry import Spacing
from interactivepet.core.plan import Budget, MemoryEstimate, Plan, TrainingPlan, UNetPlan

__all__ = [
    "N_PROMPT_CHANNELS",
    "FoldName",
    "PromptEncoding",
    "PromptableCard",
    "PromptableExport",
    "PromptablePlan",
    "StartingModel",
    "TrainablePlan",
]

FoldName = int | str
"""Number of a fold, or `all` for a model of all cases."""

N_PROMPT_CHANNELS = 7
"""Beside the image: the previous mask, then positive and negative boxes with lassos, points, scribbles."""


class PromptEncoding(Record):
    """How prompts become channels; the same in training and in nnInteractive's sessions."""

    point_radius: int = Field(default=4, ge=1)
    """Voxels; a point is a ball that fades from 1 in its centre to its surface."""
    decay: float = Field(default=0.98, gt=0.0, le=1.0)
    """Every prompt is this much weaker than the one after it."""


@dataclass(frozen=True, slots=True)
class StartingModel:
    """A trained model that training may start from, besides its weights.

    Attributes:
        network: with eight input and two output channels.
        patch_size: voxels.
        prompts: how they become channels.
        licence: the text that comes with it.
        sha256: of its checkpoint.
    """

    network: UNetPlan
    patch_size: tuple[int, int, int]
    prompts: PromptEncoding
    licence: str
    sha256: str


class PromptablePlan(Artefact):
    """What the promptable model's training follows. `made_from` is the hash of `plans.json`."""

    task: str
    budget: Budget
    channel: str
    """Name of the one image channel that the network sees: the first of the task."""
    labels: dict[str, int] = Field(default_factory=lambda: {"target": 1})
    """The network knows one object: what was prompted."""
    patch_size: tuple[int, int, int]
    network: UNetPlan
    training: TrainingPlan
    memory: MemoryEstimate
    prompts: PromptEncoding = PromptEncoding()
    pretrained: str = ""
    """SHA-256 of the checkpoint that training starts from; empty for random weights."""

    @property
    def configuration(self) -> str:
        """Name of the configuration, beside those of folds."""
        return "nninteractive"

    @property
    def spacing_mm(self) -> Spacing:
        """Edges of a voxel: cubes, since the model sees each case in its own voxels and counts in them."""
        return (1.0, 1.0, 1.0)

    @model_validator(mode="after")
    def _check_network(self) -> Self:
        if (self.network.input_channels, self.network.output_channels) != (1 + N_PROMPT_CHANNELS, 2):
            raise ValueError(f"network: must have {1 + N_PROMPT_CHANNELS} input and 2 output channels")
        if any(edge % step for edge, step in zip(self.patch_size, self.network.divisor, strict=True)):
            raise ValueError(f"patch_size {self.patch_size} must be multiples of {self.network.divisor}")
        return self


TrainablePlan = Plan | PromptablePlan
"""What a network can be trained by."""


class PromptableCard(TrainingCard):
    """The card of a promptable model."""

    field_order = (
        "task fold training validation cases_hash plan weights_sha256 licence pretrained seen device run_id epochs"
    )

    fold: FoldName
    plan: PromptablePlan
    pretrained: str
    """Name of the model folder that training started from; empty for random weights."""
    seen: tuple[str, ...] = ()
    """Cases that the weights had seen before training started, as far as the model folder tells."""
    validation_dice: dict[str, float]
    """Validation case -> Dice of its largest object after one click in its deepest voxel, in nnInteractive's own
    session with the exported model; empty for a model of all cases."""


class PromptableExport(Artefact):
    """The content of `card.json` in an exported model folder. `made_from` is the hash of the model's own card."""

    model: PromptableCard
    fold_dice: dict[str, float]
    """Trained fold -> mean of its `validation_dice`: what a model of this kind reaches on cases it never saw."""
