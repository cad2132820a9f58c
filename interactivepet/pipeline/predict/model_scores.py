"""What is known of a task's folds besides the choice, for those who get them as a file."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from interactivepet.core.ensemble import Choice, ChoiceMode, EnsembleRule
from interactivepet.core.simulation import Simulation
from interactivepet.dataset.files.write import read_artefact
from interactivepet.errors import ArtefactError
from interactivepet.model.description import ClickCurve
from interactivepet.pipeline.decisions import read_folds
from interactivepet.pipeline.predict.trained import TaskResults, hash_results
from interactivepet.pipeline.workspace import Workspace

__all__ = ["find_curves", "find_folds_alone"]

logger = logging.getLogger(__name__)


def find_folds_alone(rule: EnsembleRule | None) -> dict[ChoiceMode, float]:
    """Give the Dice of each rule without nnInteractive, where it has a share and the choice tried that."""
    choices = rule.choices.items() if rule is not None else ()
    found = {mode: _find_alone(choice) for mode, choice in choices if choice.fusion.nninteractive_weight > 0}
    return {mode: dice for mode, dice in found.items() if dice is not None}


def _find_alone(choice: Choice) -> float | None:
    alone = choice.fusion.model_copy(update={"nninteractive_weight": 0.0}), choice.postprocessing
    return next((tried.dice for tried in choice.candidates if (tried.fusion, tried.postprocessing) == alone), None)


def find_curves(workspace: Workspace, results: TaskResults) -> tuple[ClickCurve, ...]:
    """Read what simulated users reached with these folds on all cases that the folds have not seen.

    Returns:
        One curve for each system, user and start, that of the lowest seed.
    """
    answered_by, n_cases = hash_results(results), len(read_folds(workspace).validation_folds)
    found: dict[tuple[str, str, str], Simulation] = {}
    for simulation in sorted(_list_simulations(workspace.simulation("")), key=lambda known: known.seed):
        if simulation.answered_by == answered_by and simulation.n_cases == n_cases:
            found.setdefault((simulation.system, simulation.user, simulation.start), simulation)
    return tuple(_to_curve(found[key]) for key in sorted(found))


def _list_simulations(folder: Path) -> Iterator[Simulation]:
    for path in sorted(folder.glob("*/simulation.json")):
        try:
            simulation = read_artefact(path, Simulation, command="interactivepet_simulate")
        except ArtefactError as error:
            logger.warning("this simulation is left out: %s", error)
            continue
        if simulation.answered_by:
            yield simulation


def _to_curve(simulation: Simulation) -> ClickCurve:
    dice = next(curve for curve in simulation.curves if curve.metric == "dice")
    return ClickCurve(
        system="ensemble" if simulation.system == "ensemble" else "ours",
        user=simulation.user,
        start=simulation.start,
        n_cases=simulation.n_cases,
        n_clicks=simulation.n_clicks,
        dice=tuple(point.mean for point in dice.points),
    )
