"""From the sessions of several simulated operators with the same cases to the spread between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from interactivepet.core.operators import OperatorSpread, SpreadPoint
from interactivepet.core.simulation import SimulatedCase

__all__ = ["summarise_operators"]


def summarise_operators(system: str, operators: Sequence[Mapping[str, SimulatedCase]]) -> OperatorSpread:
    """Summarise the spread between operators, correction by correction.

    Args:
        system: what answered them.
        operators: of each, case -> session; at least two, all with the same cases and numbers of steps.
    """
    cases = list(operators[0])
    n_steps = len(operators[0][cases[0]].steps)
    points = tuple(
        _summarise([[found[case] for found in operators] for case in cases], step) for step in range(n_steps)
    )
    return OperatorSpread(system=system, n_cases=len(cases), points=points)


def _summarise(cases: Sequence[Sequence[SimulatedCase]], step: int) -> SpreadPoint:
    """Summarise one step of every case, each with the sessions of all operators."""
    dice = np.array([[session.steps[step].dice for session in sessions] for sessions in cases])
    spreads = (_vary([session.steps[step].volume_ml for session in sessions]) for sessions in cases)
    variations = [spread for spread in spreads if spread is not None]
    return SpreadPoint(
        mean_dice=float(dice.mean()),
        dice_sd=float(dice.std(axis=1, ddof=1).mean()),
        volume_cv_percent=float(np.mean(variations)) if variations else None,
    )


def _vary(volumes_ml: Sequence[float | None]) -> float | None:
    """Give the coefficient of variation in percent; None where a volume is unknown or all are 0."""
    known = [volume for volume in volumes_ml if volume is not None]
    if len(known) < len(volumes_ml) or not sum(known):
        return None
    return 100.0 * float(np.std(known, ddof=1) / np.mean(known))
