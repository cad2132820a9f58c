"""What a model is besides its weights: the content of `model.json`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from interactivepet.core.artefact import Artefact, Record
from interactivepet.core.ensemble import ChoiceMode, ClickMode, EnsembleRule, add_first_steps
from interactivepet.core.intensities import IntensityRange
from interactivepet.core.plan import Configuration, ConfigurationPlan, Plans, UNetPlan
from interactivepet.core.promptable import N_PROMPT_CHANNELS, PromptEncoding
from interactivepet.core.simulation import StartName, UserName
from interactivepet.core.suv import SuvVariant

__all__ = [
    "PROMPTABLE_WEIGHTS",
    "ClickCurve",
    "FoldRecord",
    "ImageInputs",
    "ModelDescription",
    "PromptableRecord",
    "WeightPrecision",
    "name_weights",
    "strip_plans",
    "strip_rule",
]

WeightPrecision = Literal["float32", "float16"]
"""How the folds' weights are stored; networks always compute with float32 weights."""

PROMPTABLE_WEIGHTS = "weights/nninteractive/fold_0.safetensors"
"""Name of the promptable model's weights inside a model."""


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


class ClickCurve(Record):
    """What a simulated user reached with networks that had not seen the cases, correction by correction."""

    system: Literal["ours", "ensemble"]
    """The folds alone, or the choice with nnInteractive."""
    user: UserName
    start: StartName
    n_cases: int
    n_clicks: tuple[float, ...]
    """Mean number of clicks at each step, the first before any correction."""
    dice: tuple[float, ...]
    """Mean Dice at each step."""

    @model_validator(mode="after")
    def _check_steps(self) -> Self:
        if not self.dice or len(self.dice) != len(self.n_clicks):
            raise ValueError("dice and n_clicks: expected one value each for every step")
        return self


class PromptableRecord(Record):
    """The task's own promptable model, in nnInteractive's format, without its weights."""

    network: UNetPlan
    patch_size: tuple[PositiveInt, PositiveInt, PositiveInt]
    prompts: PromptEncoding
    channel: str
    """Name of the one image channel that the network sees."""
    licence: str = Field(min_length=1)
    n_training: int
    """Number of its training cases."""
    dice: float | None
    """Mean Dice after one click of its folds on cases that these have not seen; None where no fold was judged."""

    @model_validator(mode="after")
    def _check_network(self) -> Self:
        if (self.network.input_channels, self.network.output_channels) != (1 + N_PROMPT_CHANNELS, 2):
            raise ValueError(f"network: expected {1 + N_PROMPT_CHANNELS} input and 2 output channels")
        if any(edge % step for edge, step in zip(self.patch_size, self.network.divisor, strict=True)):
            raise ValueError(f"patch_size {self.patch_size}: expected multiples of {self.network.divisor}")
        if self.prompts.point_radius > min(self.patch_size):
            raise ValueError(f"prompts: point_radius {self.prompts.point_radius}, expected at most the patch's edge")
        return self


class ModelDescription(Artefact):
    """Everything that prediction needs besides the weights. It names no case, patient, path, date or machine."""

    schema_version: int = 2
    """1 had neither `folds_alone`, `curves`, `precision` nor `promptable`."""
    plans: Plans
    rule: EnsembleRule | None
    """The choice from cross-validation with its scores; None uses the folds at threshold 0.5."""
    inputs: ImageInputs
    intensities: tuple[IntensityRange, ...] | None
    """Per channel, what the training cases hold; None where it was not measured."""
    folds: dict[Configuration, tuple[FoldRecord, ...]]
    """Whose weights are there, by configuration."""
    folds_alone: dict[ChoiceMode, float] = Field(default_factory=dict)
    """Where nnInteractive has a share: Dice of the same rule by the folds alone, on the cases of the choice."""
    curves: tuple[ClickCurve, ...] = ()
    """Of simulated users."""
    precision: WeightPrecision = "float32"
    promptable: PromptableRecord | None = None
    """The task's own promptable model, where it is part of the model."""
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

    @property
    def shares(self) -> dict[ChoiceMode, float]:
        """The share of nnInteractive for each kind of clicks; empty without a choice."""
        choices = self.rule.choices.items() if self.rule is not None else ()
        return {mode: choice.fusion.nninteractive_weight for mode, choice in choices}

    @property
    def lacks_promptable(self) -> bool:
        """Whether the choice was made with an nnInteractive that is no part of the model."""
        return self.promptable is None and any(share > 0 for share in self.shares.values())


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


def strip_rule(rule: EnsembleRule, *, has_promptable: bool = False) -> EnsembleRule:
    """Leave out the candidates that were tried, and where nnInteractive ran, which may be the address of a machine."""
    choices = {mode: choice.model_copy(update={"candidates": ()}) for mode, choice in rule.choices.items()}
    name = f"{'' if has_promptable else 'not '}part of the model" if rule.nninteractive else ""
    return rule.model_copy(update={"made_from": "", "chosen_on": "", "nninteractive": name, "choices": choices})
