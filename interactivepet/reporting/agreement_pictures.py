"""Measures of masks against those of their references: a scatter and a Bland-Altman picture for each measure."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from interactivepet.core.report import Agreement, Report
from interactivepet.evaluation.agreement import list_differences

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_agreement", "list_drawn"]

COLOUR = "#0a5bd0"
LINE_COLOUR = "#5b6470"
FEWEST_CASES = 2
"""One case has no limits of agreement."""


def list_drawn(report: Report) -> tuple[str, ...]:
    """List the labels that have a picture: those with a measure that is defined in two cases or more."""
    return tuple(dict.fromkeys(one.label for one in report.agreement if one.n >= FEWEST_CASES))


def draw_agreement(report: Report, label: str) -> bytes:
    """Draw every measure of a label: mask over reference, and difference over mean with bias and limits.

    Returns:
        The PNG file's bytes, the same for the same report.
    """
    from matplotlib.figure import Figure

    drawn = [one for one in report.agreement if one.label == label and one.n >= FEWEST_CASES]
    height = 2.9 * len(drawn) + 0.5
    figure = Figure(figsize=(9.0, height), dpi=100, layout="constrained", facecolor="white")
    for row, one in zip(figure.subplots(len(drawn), 2, squeeze=False), drawn, strict=True):
        pairs = list_differences(report.measures, label=label, measure=one.measure)
        _draw_scatter(row[0], pairs, one)
        _draw_differences(row[1], pairs, one)
    figure.suptitle(f"{report.task}: {label}", fontsize=12, fontweight="bold", parse_math=False)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw_scatter(ax: Axes, pairs: Sequence[tuple[float, float]], agreement: Agreement) -> None:
    values = np.array(pairs)
    ends = [float(values.min()), float(values.max())]
    ax.plot(ends, ends, color=LINE_COLOUR, linewidth=1)
    ax.scatter(values[:, 1], values[:, 0], s=14, color=COLOUR, alpha=0.7, linewidths=0)
    _label(ax, f"{agreement.measure} (n = {agreement.n})", across="reference", up="mask")


def _draw_differences(ax: Axes, pairs: Sequence[tuple[float, float]], agreement: Agreement) -> None:
    values = np.array(pairs)
    ax.scatter(values.mean(axis=1), values[:, 0] - values[:, 1], s=14, color=COLOUR, alpha=0.7, linewidths=0)
    ax.axhline(agreement.bias, color=LINE_COLOUR, linewidth=1)
    for limit in (agreement.lower, agreement.upper):
        if limit is not None:
            ax.axhline(limit, color=LINE_COLOUR, linewidth=1, linestyle="--")
    _label(ax, "bias and limits of agreement", across="mean of both", up="mask - reference")


def _label(ax: Axes, title: str, *, across: str, up: str) -> None:
    ax.set_title(title, fontsize=10, parse_math=False)
    ax.set_xlabel(across, fontsize=9)
    ax.set_ylabel(up, fontsize=9)
    ax.grid(visible=True, color="#dfe3e9")
    ax.set_axisbelow(True)
