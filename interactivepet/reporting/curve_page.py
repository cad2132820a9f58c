"""A simulation as one self-contained web page: curves, areas, clicks needed and every case."""

from __future__ import annotations

from collections.abc import Sequence

from interactivepet.core.simulation import SimulatedCase, Simulation
from interactivepet.reporting.curve_pictures import CURVE_NAMES
from interactivepet.reporting.html import render_page

__all__ = ["render_simulation"]


def render_simulation(simulation: Simulation, cases: Sequence[SimulatedCase], *, curves: bytes) -> str:
    """Render a simulation as HTML that needs no other file and no script.

    Args:
        simulation: the summary.
        cases: its cases, listed from the worst last Dice to the best.
        curves: PNG file's bytes.

    Returns:
        The page's text.
    """
    return render_page(
        "simulation",
        title=f"{simulation.task}: {simulation.name}",
        simulation=simulation,
        cases=sorted(cases, key=lambda case: (case.steps[-1].dice, case.case)),
        curve_names=CURVE_NAMES,
        curves=curves,
    )
