"""How predictions are fused and cleaned, and what every alternative scored."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Self

from pydantic import Field, model_validator

from interactivepet.core.artefact import Artefact, Record
from interactivepet.core.interaction import Click
from interactivepet.core.plan import Configuration

__all__ = [
    "CandidateScore",
    "Choice",
    "ChoiceMode",
    "ClickMode",
    "CorrectedCase",
    "EnsembleRule",
    "FusionRule",
    "PostprocessingRule",
    "add_first_steps",
]

ClickMode = Literal["none", "extreme"]
"""With which clicks a prediction was made: none, or the interior margin points of every object."""

ChoiceMode = Literal["none", "extreme", "corrected"]
"""For which clicks a rule was chosen: none, those placed before the first mask, or with corrections of a mask."""


def add_first_steps(names: Iterable[Configuration]) -> list[Configuration]:
    """Put the first step of a cascade before the second."""
    ordered: dict[Configuration, None] = {}
    for name in names:
        if name == "3d_cascade":
            ordered["3d_lowres"] = None
        ordered[name] = None
    return list(ordered)


class FusionRule(Record):
    """Probability of the folds and of nnInteractive -> mask."""

    configurations: tuple[Configuration, ...] = Field(min_length=1)
    """Whose folds are averaged."""
    nninteractive_weight: float = Field(default=0.0, ge=0.0, le=1.0)
    """0: folds only; 1: nnInteractive only."""
    threshold: float = Field(default=0.5, gt=0.0, lt=1.0)
    """A voxel is foreground when 1 - P(background) reaches it; the label is then the likeliest one."""


class PostprocessingRule(Record):
    """Clean-up steps, applied per label in the order of the fields."""

    keep_clicked: bool = False
    """Keep only components that hold a positive click of their label."""
    largest_component: bool = False
    """Keep only the largest component."""
    minimum_volume_ml: float = 0.0
    """Drop components smaller than this; 0 drops none."""
    fill_holes: bool = False
    """Fill cavities that do not reach the border."""


class CorrectedCase(Artefact):
    """Clicks of a simulated user on a case's out-of-fold masks. `made_from` joins its files, models and rule."""

    case: str
    fold: int
    """That never saw the case."""
    clicks: tuple[Click, ...]
    """The interior margin points and all corrections, oldest first."""
    n_clicks: dict[int, int]
    """Corrections -> how many of `clicks` are placed by then; fewer than asked for when the mask is perfect before."""

    @model_validator(mode="after")
    def _check_counts(self) -> Self:
        if any(not 0 <= n <= len(self.clicks) for n in self.n_clicks.values()):
            raise ValueError(f"n_clicks: expected at most the {len(self.clicks)} clicks")
        return self


class CandidateScore(Record):
    """One candidate that was tried in one of the stages of the choice."""

    stage: Literal["configuration", "blend", "threshold", "postprocessing"]
    fusion: FusionRule
    postprocessing: PostprocessingRule
    dice: float
    """Mean over the cases of the out-of-fold Dice (mean over a case's labels)."""
    fold_dice: tuple[float, ...]
    """The same, fold by fold."""
    chosen: bool


class Choice(Record):
    """What was chosen for one click mode, and what it is worth."""

    fusion: FusionRule
    postprocessing: PostprocessingRule
    dice: float
    """Out-of-fold Dice of the choice on the cases it was chosen on: optimistic."""
    nested_dice: float
    """The same choice made without each fold in turn and scored on the fold left out: what to expect."""
    nested_fold_dice: tuple[float, ...]
    candidates: tuple[CandidateScore, ...]


class EnsembleRule(Artefact):
    """The content of `ensemble.json`. `made_from` joins the hashes of all cards of `configurations`."""

    task: str
    folds: tuple[int, ...]
    configurations: tuple[Configuration, ...]
    """All that were trained and took part in the choice."""
    chosen_on: str
    """Hash of the clicks and of nnInteractive's source, so that the choice is made again when they change."""
    nninteractive: str = ""
    """Model folder's name and licence, or URL, that took part in the choice; empty when none did."""
    corrections: tuple[int, ...] = ()
    """After how many corrections of a simulated user the rule `corrected` was judged."""
    margin: float
    """A more complicated candidate must beat a simpler one by more than this Dice."""
    choices: dict[ChoiceMode, Choice]
