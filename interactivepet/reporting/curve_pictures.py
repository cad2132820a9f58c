"""The curves of a simulation as one picture: each metric over the corrections, with its spread over the cases."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from interactivepet.core.simulation import Curve, Simulation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["CURVE_NAMES", "draw_curves"]

CURVE_NAMES = {
    "dice": "Dice",
    "lesion_f1": "Lesion F1 (DMM)",
    "surface_dice_2mm": "Surface Dice at 2 mm",
    "surface_dice_5mm": "Surface Dice at 5 mm",
    "false_positive_ml": "False positive volume (ml)",
    "false_negative_ml": "False negative volume (ml)",
}
"""Field of `SimulatedStep` -> how people call it."""

COLOUR = "#0a5bd0"
COLUMNS = 3


def draw_curves(simulation: Simulation) -> bytes:
    """Draw mean, median and quartiles of every metric over the corrections.

    Returns:
        The PNG file's bytes, the same for the same simulation.
    """
    from matplotlib.figure import Figure

    curves = simulation.curves
    n_rows = -(-len(curves) // COLUMNS)
    figure = Figure(figsize=(4.2 * COLUMNS, 3.2 * n_rows + 0.8), dpi=100, layout="constrained", facecolor="white")
    axes = figure.subplots(n_rows, COLUMNS, squeeze=False).ravel()
    for ax, curve in zip(axes, curves, strict=False):
        _draw_curve(ax, curve)
    for ax in axes[len(curves) :]:
        ax.set_axis_off()
    figure.suptitle(f"{simulation.task}: {simulation.name}", fontsize=12, fontweight="bold", parse_math=False)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw_curve(ax: Axes, curve: Curve) -> None:
    from matplotlib.ticker import MaxNLocator

    steps = list(range(len(curve.points)))
    lower, upper = [p.lower for p in curve.points], [p.upper for p in curve.points]
    ax.fill_between(steps, lower, upper, color=COLOUR, alpha=0.15, linewidth=0, label="middle half of the cases")
    ax.plot(steps, [p.median for p in curve.points], color=COLOUR, linestyle=":", label="median")
    ax.plot(steps, [p.mean for p in curve.points], color=COLOUR, marker="o", markersize=4, label="mean")
    ax.set_title(f"{CURVE_NAMES[curve.metric]} (n = {curve.points[0].n})", fontsize=10)
    ax.set_xlabel("corrections", fontsize=9)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(visible=True, color="#dfe3e9")
    ax.set_axisbelow(True)
    # From 0, and for scores to 1, so that pictures of two simulations compare.
    ax.set_ylim(0, None if curve.metric.endswith("_ml") else 1.01)
