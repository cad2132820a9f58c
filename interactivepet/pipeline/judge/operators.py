"""Repeat a simulation with several simulated operators, and beside it the methods without training."""

from __future__ import annotations

import logging
from dataclasses import replace

from interactivepet.core.artefact import hash_text
from interactivepet.core.classical import CLASSICAL_METHODS
from interactivepet.core.operators import OperatorStudy
from interactivepet.core.simulation import SimulatedCase
from interactivepet.dataset.files.write import read_artefact, write_artefact
from interactivepet.dataset.manifest import read_manifest
from interactivepet.errors import CaseError
from interactivepet.evaluation.operators import summarise_operators
from interactivepet.pipeline.judge.simulate import SimulationOptions, run_simulation
from interactivepet.pipeline.train.tracking import TrackerConfig
from interactivepet.pipeline.workspace import Workspace

__all__ = ["run_operators"]

logger = logging.getLogger(__name__)

Sessions = dict[str, SimulatedCase]


def run_operators(
    workspace: Workspace, *, options: SimulationOptions, n_operators: int, tracker: TrackerConfig, n_proc: int
) -> OperatorStudy:
    """Simulate each operator as a simulation of its own, and write the spread between them.

    Operators differ in their seed: that of the options, the next one, and so on. The first one's folder has the name of
    the options, and holds `operators.json`; the others' has `-operatorN` behind it. What is finished is kept.

    Args:
        workspace: as of `run_simulation`.
        options: of the first operator.
        n_operators: at least two.
        tracker: told the curves of every simulation.
        n_proc: cases side by side.

    Raises:
        InteractivePetError: as of `run_simulation`, of the system that was asked for. A method without training that
            the images do not allow is left out with a warning.
    """
    operators = {options.name: _simulate(workspace, options, n_operators, tracker=tracker, n_proc=n_proc)}
    for method in CLASSICAL_METHODS:
        if method == options.method:
            continue
        name = f"{options.name}-{method}"
        other = replace(options, kind="classical", method=method, command="", fast=False, name=name)
        try:
            operators[method] = _simulate(workspace, other, n_operators, tracker=tracker, n_proc=n_proc)
        except CaseError as error:
            logger.warning("without %s: %s", method, error)
    study = OperatorStudy(
        made_from=hash_text(
            *(case.content_hash() for found in operators.values() for sessions in found for case in sessions.values())
        ),
        task=workspace.task,
        user=options.user,
        start=options.start,
        seeds=tuple(options.seed + number for number in range(n_operators)),
        spreads=tuple(summarise_operators(system, found) for system, found in operators.items()),
    )
    write_artefact(workspace.simulation(options.name) / "operators.json", study)
    return study


def _simulate(
    workspace: Workspace, options: SimulationOptions, n_operators: int, *, tracker: TrackerConfig, n_proc: int
) -> list[Sessions]:
    """Simulate all operators with one system, and read their sessions."""
    found: list[Sessions] = []
    for number in range(n_operators):
        name = options.name if number == 0 else f"{options.name}-operator{number + 1}"
        own = replace(options, seed=options.seed + number, name=name)
        simulation = run_simulation(workspace, options=own, tracker=tracker, n_proc=n_proc)
        sessions = _read_sessions(workspace, own)
        if len(sessions) != simulation.n_cases:
            raise CaseError(
                f"{workspace.simulation(name)}: sessions of {len(sessions)} cases, expected {simulation.n_cases}; "
                "it holds those of an earlier command: choose another --name, or remove the folder"
            )
        found.append(sessions)
    return found


def _read_sessions(workspace: Workspace, options: SimulationOptions) -> Sessions:
    """Read the sessions of one operator; those of an earlier command with other cases are passed over."""
    manifest = read_manifest(workspace.raw)
    entries = manifest.test if options.is_test else manifest.training
    asked = options.cases or tuple(entry.id for entry in entries if entry.label is not None)
    folds = () if options.is_test else options.prediction.folds
    folder = workspace.simulation(options.name) / "cases"
    paths = [path for case in asked if (path := folder / f"{case}.json").is_file()]
    sessions = [read_artefact(path, SimulatedCase, command="interactivepet_simulate") for path in paths]
    return {
        session.case: session
        for session in sessions
        if len(session.steps) == options.n_corrections + 1
        and (session.fold is None or not folds or session.fold in folds)
    }
