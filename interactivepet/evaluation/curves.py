"""From the steps of single sessions to curves, the areas under them, and the clicks that a Dice takes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from interactivepet.core.artefact import hash_text
from interactivepet.core.simulation import (
    CaseArea,
    ClicksTo,
    Curve,
    CurvePoint,
    SimulatedCase,
    SimulatedStep,
    Simulation,
    StartName,
    UserName,
)
from interactivepet.evaluation.steps import STEP_METRICS

__all__ = ["TARGET_DICE", "area_under", "count_clicks_to", "find_areas", "make_simulation"]

TARGET_DICE = (0.80, 0.85, 0.90)
"""Whose price in clicks is reported."""


def area_under(values: Sequence[float]) -> float:
    """Integrate a metric over the steps 0, 1 ... n by the trapezoidal rule.

    Not normalised, as autoPET IV (11 steps, at most 10 for a metric that ends at 1) and autoPET V (6 steps, at most
    5) do it. A single step has no area.
    """
    return float(sum((before + after) / 2 for before, after in pairwise(values)))


def find_areas(steps: Sequence[SimulatedStep]) -> tuple[CaseArea, ...]:
    """Give the areas of a case, of every metric that is defined at all of its steps."""
    areas = []
    for metric in STEP_METRICS:
        values = [_value_of(step, metric) for step in steps]
        defined = [value for value in values if value is not None]
        if len(defined) == len(values) > 1:
            area = area_under(defined)
            areas.append(CaseArea(metric=metric, area=area, mean=area / (len(values) - 1)))
    return tuple(areas)


def count_clicks_to(cases: Sequence[SimulatedCase], dice: float) -> ClicksTo:
    """Count the clicks until a Dice was reached for the first time."""
    needed = []
    for case in cases:
        reached = [step.n_clicks for step in case.steps if step.dice >= dice]
        needed.append(float(reached[0]) if reached else np.inf)
    failed = sum(n == np.inf for n in needed)
    # The mean of the two middle cases is infinite when one of them failed.
    median = float(np.median(needed)) if needed else np.inf
    return ClicksTo(
        dice=dice,
        n_reached=len(needed) - failed,
        n_failed=failed,
        median=median if np.isfinite(median) else None,
    )


def make_simulation(
    task: str,
    cases: Sequence[SimulatedCase],
    *,
    name: str,
    provenance: str,
    user: UserName,
    start: StartName,
    seed: int,
    system: str = "",
    answered_by: str = "",
) -> Simulation:
    """Summarise finished sessions.

    Args:
        task: the task's name.
        cases: at least one, all with as many steps.
        name: of the simulation.
        provenance: who answered and who asked.
        user: who asked.
        start: what was there before the first correction.
        seed: of the user.
        system: kind of what answered.
        answered_by: hash of the folds and the choice that answered, where that is known.
    """
    n_steps = len(cases[0].steps)
    seconds = [step.seconds for case in cases for step in case.steps[1:] if step.seconds is not None]
    dice = [float(np.mean([case.steps[n].dice for case in cases])) for n in range(n_steps)]
    return Simulation(
        made_from=hash_text(*(case.content_hash() for case in cases)),
        task=task,
        name=name,
        provenance=provenance,
        user=user,
        start=start,
        seed=seed,
        n_corrections=n_steps - 1,
        n_cases=len(cases),
        n_lesion_free=sum(case.is_lesion_free for case in cases),
        n_clicks=tuple(float(np.mean([case.steps[n].n_clicks for case in cases])) for n in range(n_steps)),
        curves=tuple(curve for metric in STEP_METRICS if (curve := _make_curve(cases, metric)) is not None),
        clicks_to=tuple(count_clicks_to(cases, target) for target in TARGET_DICE),
        largest_fall=max([0.0, *(before - after for before, after in pairwise(dice))]),
        n_disobeyed=sum(case.steps[-1].n_disobeyed for case in cases),
        seconds_median=float(np.median(seconds)) if seconds else None,
        seconds_95=float(np.percentile(seconds, 95)) if seconds else None,
        system=system,
        answered_by=answered_by,
    )


def _make_curve(cases: Sequence[SimulatedCase], metric: str) -> Curve | None:
    """Summarise one metric over the cases where it is defined at every step; None where there is no such case."""
    rows = [[_value_of(step, metric) for step in case.steps] for case in cases]
    values = np.array([row for row in rows if None not in row], dtype=np.float64)
    if values.size == 0:
        return None
    lower, median, upper = np.percentile(values, [25, 50, 75], axis=0)
    points = tuple(
        CurvePoint(
            n=len(values),
            mean=float(column.mean()),
            std=float(column.std()),
            lower=float(lower[n]),
            median=float(median[n]),
            upper=float(upper[n]),
        )
        for n, column in enumerate(values.T)
    )
    area = float(np.mean([area_under(row) for row in values]))
    return Curve(metric=metric, points=points, area=area, mean=area / max(1, values.shape[1] - 1))


def _value_of(step: SimulatedStep, metric: str) -> float | None:
    """Look a metric up by its field's name."""
    value: float | None = getattr(step, metric)
    return value
