"""What a model reached with each kind of clicks, said of what is in the file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from interactivepet.core.ensemble import ChoiceMode, EnsembleRule
from interactivepet.model.description import ClickCurve, ModelDescription

__all__ = ["SYSTEMS", "ModelScore", "describe_curve", "describe_promptable", "list_scores"]

SYSTEMS = {"ours": "the folds", "ensemble": "the folds and nnInteractive"}
"""What answered a simulated user, in words."""
SHOWN_CORRECTIONS = (0, 1, 2, 5, 10)
"""Steps of a curve that one line shows."""

MARGIN_POINTS = 6
"""Of one object in a volume; a picture's has two fewer."""


@dataclass(frozen=True, slots=True)
class ModelScore:
    """Mean Dice with one kind of clicks, on cases that the networks have not seen.

    Attributes:
        clicks: which, in words that begin with their number.
        nested: nested estimate of the choice, with nnInteractive's share if it has one.
        chosen: the choice on the cases that it was made on: optimistic.
        by_fold: nested estimate of each fold.
        share: of nnInteractive in the choice.
        alone: as `chosen`, by the folds without nnInteractive; None where it is unknown or there is no share.
    """

    clicks: str
    nested: float
    chosen: float
    by_fold: tuple[float, ...]
    share: float
    alone: float | None


def list_scores(description: ModelDescription) -> tuple[ModelScore, ...]:
    """List the scores by number of clicks; none without a choice from cross-validation."""
    return tuple(_list(description, description.rule)) if description.rule is not None else ()


def _list(description: ModelDescription, rule: EnsembleRule) -> Iterator[ModelScore]:
    n_points = MARGIN_POINTS - 2 * description.plans.is_flat
    for mode, choice in rule.choices.items():
        yield ModelScore(
            clicks=_name_clicks(mode, n_points=n_points, corrections=rule.corrections),
            nested=choice.nested_dice,
            chosen=choice.dice,
            by_fold=choice.nested_fold_dice,
            share=choice.fusion.nninteractive_weight,
            alone=description.folds_alone.get(mode),
        )


def _name_clicks(mode: ChoiceMode, *, n_points: int, corrections: tuple[int, ...]) -> str:
    match mode:
        case "none":
            return "0 clicks"
        case "extreme":
            return f"{n_points} margin points"
    steps = ", ".join(map(str, corrections)) or "some"
    return f"{n_points} margin points and {steps} corrections"


def describe_promptable(description: ModelDescription) -> str:
    """Say whether nnInteractive takes part in predictions, in a sentence; nothing where it has no share."""
    shares = [score for score in list_scores(description) if score.share > 0]
    if not shares:
        return "The model holds a promptable model, which has no share in the choice." if description.promptable else ""
    told = ", ".join(f"{score.clicks}: {100 * score.share:.0f} %" for score in shares)
    if description.promptable is not None:
        return f"The task's own promptable model is in the file and has a share in masks with clicks ({told})."
    return (
        f"nnInteractive had a share in the choice ({told}) and is not in the file: the folds predict alone unless its "
        "model is named with --nninteractive MODEL."
    )


def describe_curve(curve: ClickCurve) -> str:
    """Say what a simulated user reached, in one line."""
    last = len(curve.dice) - 1
    steps = sorted({*(n for n in SHOWN_CORRECTIONS if n < last), last})
    told = ", ".join(f"{curve.dice[n]:.3f} with {curve.n_clicks[n]:.1f}" for n in steps)
    return f"Dice by mean number of clicks of the simulated user '{curve.user}', by {SYSTEMS[curve.system]}: {told}"
