"""What a model is besides its weights: the content of `model.json`."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from interactivepet.core.artefact import Artefact, Record
from interactivepet.core.ensemble import ClickMode, EnsembleRule, add_first_steps
from interactivepet.core.intensities import IntensityRange
from interactivepet.core.plan import Configuration, ConfigurationPlan, Plans
from interactivepet.core.suv import SuvVariant

__all__ = ["FoldRecord", "ImageInputs", "ModelDescription", "name_weights", "strip_plans", "strip_rule"]


class ImageInputs(Record):
    """What images must be so that the networks can predict them."""

    channels: tuple[str, ...]
    """Names in the order of the image's channels."""
    is_by_channel: bool
    """Files are named `CASE_0000`, `CASE_0001`, one per channel."""
    is_picture: bool
    """The training images were pictures, so that PNG files are taken as they are and not as projections."""
    suv: SuvVariant | None
    """The SUV that DICOM series are converted to; None where the training cases were in different ones."""


class FoldRecord(Record):
    """One trained fold."""

    fold: int = Field(ge=0)
    n_training: int
    """Number of its training cases."""
    dice: dict[ClickMode, float]
    """Mean out-of-fold Dice at threshold 0.5."""


class ModelDescription(Artefact):
    """Everything that prediction needs besides the weights. It names no case, patient, path, date or machine."""

    plans: Plans
    rule: EnsembleRule | None
    """The choice from cross-validation with its scores; None uses the folds at threshold 0.5."""
    inputs: ImageInputs
    intensities: tuple[IntensityRange, ...] | None
    """Per channel, what the training cases hold; None where it was not measured."""
    folds: dict[Configuration, tuple[FoldRecord, ...]]
    """Whose weights are there, by configuration."""
    licence: str = Field(min_length=1)
    """Text under which the weights may be used."""
    origin: str = ""
    """How it was made, for the card; empty for a task of a user."""

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        missing = [name for name in self.needed if not self.folds.get(name)]
        unknown = sorted(set(self.folds).difference(self.plans.configurations))
        if missing or unknown:
            raise ValueError(f"folds: expected some for {', '.join(self.needed)}, and none for others than the plans'")
        if self.inputs.channels != self.plans.channels:
            raise ValueError(f"inputs: channels {self.inputs.channels}, expected the plans' {self.plans.channels}")
        if self.intensities is not None and len(self.intensities) != len(self.plans.channels):
            raise ValueError("intensities: expected one range per channel")
        return self

    @property
    def needed(self) -> tuple[Configuration, ...]:
        """The configurations that predict, the first step of a cascade before the second."""
        chosen = self.rule.choices.values() if self.rule is not None else ()
        wanted = [name for choice in chosen for name in choice.fusion.configurations]
        return tuple(add_first_steps(wanted or [self.plans.default]))


def name_weights(configuration: Configuration, fold: int) -> str:
    """Give the name of a fold's weights inside a model."""
    return f"weights/{configuration}/fold_{fold}.safetensors"


def strip_plans(plans: Plans) -> Plans:
    """Leave out the planner's words for the reader, which inference does not need."""
    return plans.model_copy(
        update={"made_from": "", "configurations": {k: _strip(own) for k, own in plans.configurations.items()}}
    )


def _strip(plan: ConfigurationPlan) -> ConfigurationPlan:
    rules = tuple(rule.model_copy(update={"reason": ""}) for rule in plan.normalisation)
    return plan.model_copy(update={"reasons": {}, "normalisation": rules})


def strip_rule(rule: EnsembleRule) -> EnsembleRule:
    """Leave out the candidates that were tried, and where nnInteractive ran, which may be the address of a machine."""
    choices = {mode: choice.model_copy(update={"candidates": ()}) for mode, choice in rule.choices.items()}
    name = "not part of the model" if rule.nninteractive else ""
    return rule.model_copy(update={"made_from": "", "chosen_on": "", "nninteractive": name, "choices": choices})
