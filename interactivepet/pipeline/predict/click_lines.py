"""Clicks, boxes and scribbles as lines of text."""

from __future__ import annotations

from collections.abc import Sequence

from interactivepet.core.geometry import Geometry
from interactivepet.core.interaction import Click
from interactivepet.dataset.click_tables import PointFrame
from interactivepet.dataset.interactions import to_ras
from interactivepet.errors import InteractionError
from interactivepet.session.prompts import Position, make_box_clicks, make_scribble_clicks

__all__ = ["read_click_line"]


def read_click_line(
    line: str, *, geometry: Geometry, frame: PointFrame, labels: Sequence[int], other_words: str = ""
) -> tuple[Click, ...]:
    """Read what a user added at once.

    Args:
        line: `+` or `-` and a point, `box` and two corners, `scribble` and points, each point three numbers, then
            perhaps the label's value; without it, the smallest label. `-box` and `-scribble` are negative.
        geometry: of the image.
        frame: of the numbers.
        labels: values of the model.
        other_words: what else could have been said, for the message.

    Returns:
        The clicks that it becomes.

    Raises:
        InteractionError: the line is invalid, or a box lies outside of the image.
    """
    word, *numbers = line.split() or [""]
    kind = word.removeprefix("+").removeprefix("-")
    n_points = {"": 1, "box": 2, "scribble": max(1, len(numbers) // 3)}.get(kind)
    if n_points is None or word in ("", "+-") or len(numbers) not in (3 * n_points, 3 * n_points + 1):
        raise InteractionError(
            f"cannot read {line.strip()!r}; expected '+ x y z [label]', '- x y z [label]', 'box' with six numbers, "
            f"'scribble' with three per point{other_words}"
        )
    points = [_read_point(numbers[3 * n : 3 * n + 3], geometry, frame=frame) for n in range(n_points)]
    label = _read_label(numbers[-1]) if len(numbers) % 3 else min(labels)
    is_positive = not word.startswith("-")
    if kind == "box":
        return make_box_clicks(points[0], points[1], geometry=geometry, label=label, is_positive=is_positive)
    if kind == "scribble":
        return make_scribble_clicks(points, label=label, is_positive=is_positive)
    return (Click(position_mm=points[0], label=label, is_positive=is_positive),)


def _read_point(numbers: Sequence[str], geometry: Geometry, *, frame: PointFrame) -> Position:
    x, y, z = (_read_number(text) for text in numbers)
    x, y, z = to_ras((x, y, z), geometry, frame=frame).tolist()
    return (x, y, z)


def _read_number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InteractionError(f"{text!r} is no number") from error


def _read_label(text: str) -> int:
    if not text.isdecimal():
        raise InteractionError(f"{text!r} is no label; expected its value, a whole number")
    return int(text)
