"""One trained fold in a few numbers: Dice out of fold, gain by clicks, time, speed and memory."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from interactivepet.core.checkpoint import CheckpointCard, EpochRecord

__all__ = ["FoldCase", "FoldSummary", "summarise_fold"]


@dataclass(frozen=True, slots=True)
class FoldCase:
    """One validation case that was predicted with its clicks."""

    case: str
    with_clicks: float
    """Dice in [0, 1], mean over the labels."""
    without_clicks: float | None
    """None when the case was not predicted without clicks."""
    gain: float | None
    """Dice with clicks minus Dice without."""


@dataclass(frozen=True, slots=True)
class FoldSummary:
    """What a reader asks first."""

    mean_dice: Mapping[str, float]
    """Click mode (`none`, `extreme`) -> mean out-of-fold Dice over the cases."""
    cases: tuple[FoldCase, ...]
    """From the lowest Dice with clicks to the highest."""
    seconds: float
    """Of all epochs."""
    iterations_per_second: float
    """Median of the epochs."""
    wait_share: float
    """Share of the training time in which the device had nothing to compute."""
    memory_gb: float
    """Peak of all epochs."""


def summarise_fold(card: CheckpointCard) -> FoldSummary:
    """Summarise a fold's epochs and its out-of-fold predictions."""
    epochs = card.epochs
    return FoldSummary(
        mean_dice={mode: statistics.fmean(dice.values()) for mode, dice in card.validation_dice.items()},
        cases=_compare_cases(card.validation_dice),
        seconds=sum(record.seconds for record in epochs),
        iterations_per_second=statistics.median(record.iterations_per_second for record in epochs),
        wait_share=_mean_wait(epochs),
        memory_gb=max(record.memory_gb for record in epochs),
    )


def _compare_cases(dice: Mapping[str, Mapping[str, float]]) -> tuple[FoldCase, ...]:
    none = dice.get("none", {})
    cases = [
        FoldCase(
            case=case,
            with_clicks=clicked,
            without_clicks=none.get(case),
            gain=clicked - none[case] if case in none else None,
        )
        for case, clicked in dice.get("extreme", {}).items()
    ]
    return tuple(sorted(cases, key=lambda case: (case.with_clicks, case.without_clicks or 0.0, case.case)))


def _mean_wait(epochs: Sequence[EpochRecord]) -> float:
    """Average the share of waiting over the time, so that a short epoch counts for little."""
    total = sum(record.seconds for record in epochs)
    return sum(record.wait_share * record.seconds for record in epochs) / total if total else 0.0
