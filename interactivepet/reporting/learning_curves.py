"""The curves of one training as one picture: losses, Dice of patches, learning rate and speed over the epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING

from interactivepet.core.checkpoint import EpochRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_learning"]

MARKED_EPOCHS = 30
"""Up to so many epochs each has a dot: a single one would draw no line."""

Lines = Mapping[str, Sequence[float | None]]
"""Name of a line -> its value after every epoch; a gap where there is none."""


def draw_learning(epochs: Sequence[EpochRecord], *, labels: Sequence[str], title: str = "") -> bytes:
    """Draw loss and validation loss, the pseudo Dice of every label, the learning rate and the speed.

    Args:
        epochs: at least one, in their order.
        labels: names in the order of `EpochRecord.pseudo_dice`.
        title: head line.

    Returns:
        The PNG file's bytes, the same for the same epochs.
    """
    from matplotlib.figure import Figure

    numbers = [record.epoch for record in epochs]
    panels: dict[str, Lines] = {
        "Loss": {"training": [e.loss for e in epochs], "validation": [e.validation_loss for e in epochs]},
        "Dice of validation patches": {
            name: [record.pseudo_dice[place] for record in epochs] for place, name in enumerate(labels)
        },
        "Learning rate": {"": [e.learning_rate for e in epochs]},
        "Iterations a second": {"": [e.iterations_per_second for e in epochs]},
    }
    figure = Figure(figsize=(12.6, 3.1), dpi=120, layout="constrained", facecolor="white")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, (name, lines) in zip(axes, panels.items(), strict=True):
        _draw_panel(ax, name, numbers, lines=lines)
    axes[1].set_ylim(0, 1.01)
    for ax in axes[2:]:
        ax.margins(y=0.1)
        ax.set_ylim(bottom=0)
    if title:
        figure.suptitle(title, fontsize=12, fontweight="bold", parse_math=False)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw_panel(ax: Axes, name: str, epochs: Sequence[int], *, lines: Lines) -> None:
    from matplotlib.ticker import MaxNLocator

    marker = "o" if len(epochs) <= MARKED_EPOCHS else ""
    for label, values in lines.items():
        known = [float("nan") if value is None else value for value in values]
        # matplotlib leaves out of the legend what begins with an underscore
        ax.plot(epochs, known, marker=marker, markersize=3, linewidth=1.4, label=label.lstrip("_"))
    ax.set_title(name, fontsize=10)
    ax.set_xlabel("epoch", fontsize=9)
    ax.tick_params(labelsize=8)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(visible=True, color="#dfe3e9")
    ax.set_axisbelow(True)
    if any(lines):
        ax.legend(fontsize=8, frameon=False)
