"""A simulation as one self-contained web page: curves, areas, clicks needed and every case."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape

from interactivepet.core.simulation import SimulatedCase, Simulation
from interactivepet.evaluation.curve_pictures import CURVE_NAMES
from interactivepet.evaluation.html import NOTICE, render_page

__all__ = ["DEFINITIONS", "render_simulation"]

DEFINITIONS = """
<p class="note">Area: under the curve over the corrections by the trapezoidal rule, not normalised, as in autoPET IV (10
corrections) and V (5); mean: the same over the number of corrections. Dice: 1 where mask and reference are both empty.
Lesion F1 (DMM): lesions found at an intersection over union of 0.1, not defined without a lesion. False positive and
false negative: volume of the components without any overlap. Clicks: everything placed, a scribble being one; a case
that never reached a Dice counts as infinitely many in the median.</p>
"""


def render_simulation(simulation: Simulation, cases: Sequence[SimulatedCase], *, curves: bytes) -> str:
    """Render a simulation as HTML that needs no other file and no script.

    Args:
        simulation: the summary.
        cases: its cases, listed from the worst last Dice to the best.
        curves: PNG file's bytes.

    Returns:
        The page's text.
    """
    picture = b64encode(curves).decode()
    title = f"{simulation.task}: {simulation.name}"
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(simulation.provenance)}</p>",
        f'<p class="notice"><b>{NOTICE}</b></p>',
        f"<p>{escape(_describe(simulation))}</p>",
        f'<figure><img alt="Curves" src="data:image/png;base64,{picture}"></figure>',
        "<h2>Step by step (means)</h2>",
        _render_steps(simulation),
        DEFINITIONS,
        "<h2>Clicks to a Dice</h2>",
        _render_clicks_to(simulation),
        "<h2>Cases, worst last mask first</h2>",
        _render_cases(cases),
        f"<footer>Made by interactivepet {escape(simulation.package_version)}. {NOTICE}</footer>",
    ]
    return render_page(title, body)


def _describe(simulation: Simulation) -> str:
    """Say in a sentence or two what the tables do not."""
    found = [f"{simulation.n_cases} cases, {simulation.n_lesion_free} of them without any lesion."]
    if (median_s := simulation.seconds_median) is not None:
        found.append(f"The answer to a correction took {median_s:.2f} s in the median.")
        found.append(f"95 % of these took at most {simulation.seconds_95:.2f} s.")
    found.append(f"The last masks contradict {simulation.n_disobeyed} of the points that were placed.")
    found.append(f"From one step to the next the mean Dice falls by {simulation.largest_fall:.4f} at most.")
    return " ".join(found)


def _render_steps(simulation: Simulation) -> str:
    """Render one row a metric, one column a step, with the area at the end."""
    steps = range(simulation.n_corrections + 1)
    rows = [["Clicks", *(f"{n:.1f}" for n in simulation.n_clicks), "", ""]]
    for curve in simulation.curves:
        values = [f"{point.mean:.3f}" for point in curve.points]
        rows.append([CURVE_NAMES[curve.metric], *values, f"{curve.area:.3f}", f"{curve.mean:.3f}"])
    return _render_table(["Correction", *map(str, steps), "Area", "Mean"], rows)


def _render_clicks_to(simulation: Simulation) -> str:
    rows = [
        [
            f"Dice {target.dice:.2f}",
            "never" if target.median is None else f"{target.median:g}",
            str(target.n_reached),
            str(target.n_failed),
        ]
        for target in simulation.clicks_to
    ]
    return _render_table(["", "Median clicks", "Cases that reached it", "Failures"], rows)


def _render_cases(cases: Sequence[SimulatedCase]) -> str:
    rows = [
        [
            case.case,
            "-" if case.fold is None else str(case.fold),
            str(case.steps[-1].n_clicks),
            f"{case.steps[0].dice:.3f}",
            f"{case.steps[-1].dice:.3f}",
            "-" if (f1 := case.steps[-1].lesion_f1) is None else f"{f1:.3f}",
            f"{case.steps[-1].false_positive_ml:.2f}",
            f"{case.steps[-1].false_negative_ml:.2f}",
            str(case.steps[-1].n_disobeyed),
        ]
        for case in sorted(cases, key=lambda case: (case.steps[-1].dice, case.case))
    ]
    names = ["Dice before", "Dice", "Lesion F1", "False positive (ml)", "False negative (ml)", "Disobeyed"]
    return _render_table(["Case", "Fold", "Clicks", *names], rows)


def _render_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Render a table whose first column is text and the others numbers."""
    head = _render_cells(heads, tag="th")
    body = "\n".join(f"<tr>{_render_cells(row, tag='td')}</tr>" for row in rows)
    return f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'


def _render_cells(texts: Sequence[str], *, tag: str) -> str:
    first, *others = (escape(text) for text in texts)
    return f'<{tag} class="text">{first}</{tag}>' + "".join(f"<{tag}>{text}</{tag}>" for text in others)
