"""Tables of clicks: 3D Slicer's old fiducials (`.fcsv`), and comma-separated values (`.csv`).

| table | position | meaning of a point |
|---|---|---|
| `.fcsv` | `x, y, z` in the coordinate system of its header | `desc` as in `.mrk.json`; else `label` |
| `.csv` | `x, y, z`; or `r, a, s`, `l, p, s`, `i, j, k`, which say the frame | `label`: value or name; `positive` |

A CSV file has a line of column names, or its columns are x, y, z and perhaps label and positive. Commas, semicolons
(then with decimal commas) and tabs separate the columns. The table that Slicer exports from its Markups module is
such a file.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from interactivepet.errors import InteractionError

__all__ = ["PointFrame", "TablePoint", "read_csv_points", "read_fcsv_points"]

PointFrame = Literal["lps", "ras", "voxel"]
"""What numbers are: mm in LPS or RAS, or indices (i, j, k) of the image."""

_SYSTEMS: dict[str, PointFrame] = {"0": "ras", "ras": "ras", "1": "lps", "lps": "lps", "2": "voxel", "ijk": "voxel"}
"""Slicer's names and numbers of coordinate systems."""
_FCSV_COLUMNS = ("id", "x", "y", "z", "ow", "ox", "oy", "oz", "vis", "sel", "lock", "label", "desc")
"""What Slicer 4 writes; the column after `associatedNodeID` holds the state of the point in newer files."""
_PLACED = "2"
"""State of a point that was placed; others were only begun, or left out."""
_AXES: dict[tuple[str, str, str], PointFrame | None] = {
    ("x", "y", "z"): None,
    ("r", "a", "s"): "ras",
    ("l", "p", "s"): "lps",
    ("i", "j", "k"): "voxel",
}
_CSV_COLUMNS = ("x", "y", "z", "label", "positive")
_NOT_USED = frozenset({"id", "selected", "visible", "locked"})
"""Columns of Slicer's own table that say nothing about a click."""
_TRUE = frozenset({"", "1", "+", "true", "yes", "positive"})
_FALSE = frozenset({"0", "-", "false", "no", "negative"})


@dataclass(frozen=True, slots=True)
class TablePoint:
    """A row of a table.

    Attributes:
        position: three numbers in `frame`.
        frame: as the table says; None when it does not.
        label: name or value of the label, perhaps empty.
        description: may say the meaning as `.mrk.json` does.
        is_positive: None when the table has no such column.
    """

    position: tuple[float, float, float]
    frame: PointFrame | None
    label: str = ""
    description: str = ""
    is_positive: bool | None = None


def read_fcsv_points(text: str) -> Iterator[TablePoint]:
    """Read the points of a `.fcsv` file that were placed.

    Raises:
        InteractionError: the header does not say the coordinate system, or a line has no position.
    """
    frame: PointFrame | None = None
    columns: Sequence[str] = (*_FCSV_COLUMNS, "associatednodeid")
    lines = text.splitlines()
    for key, value in (_split_comment(line) for line in lines if line.startswith("#")):
        if key == "coordinatesystem":
            frame = _SYSTEMS.get(value.lower())
        elif key == "columns":
            columns = [name.strip().lower() for name in value.split(",")]
    rows = [(number, line) for number, line in enumerate(lines, start=1) if line.strip() and not line.startswith("#")]
    if rows and frame is None:
        raise InteractionError(
            "no line '# CoordinateSystem = LPS', RAS or IJK (0 is RAS, 1 is LPS, 2 is IJK), so the signs of x and y "
            "are unknown; add the line, or save the points again with 3D Slicer"
        )
    for number, line in rows:
        row = next(csv.reader([line]))
        named = dict(zip(columns, row, strict=False))
        if len(row) > len(columns) and row[len(columns)].strip() != _PLACED:
            continue
        position = _read_position([named.get(axis, "") for axis in "xyz"], number)
        yield TablePoint(position, frame, named.get("label", "").strip(), named.get("desc", "").strip())


def read_csv_points(text: str) -> Iterator[TablePoint]:
    """Read the points of a CSV file.

    Raises:
        InteractionError: a column is unknown or missing, or a line has no position or no sign that is known.
    """
    lines = [(n, line) for n, line in enumerate(text.splitlines(), start=1) if line.strip() and line[0] != "#"]
    if not lines:
        return
    separator = max(";\t,", key=lines[0][1].count)
    rows = [
        (number, [cell.strip() for cell in next(csv.reader([line], delimiter=separator))]) for number, line in lines
    ]
    first = [name.lower().removesuffix("_mm") for name in rows[0][1]]
    is_headed = not all(_is_number(cell, separator) for cell in first[:3])
    columns = first if is_headed else _CSV_COLUMNS[: len(first)]
    axes = _find_axes(columns, n_cells=len(first))
    for number, row in rows[1:] if is_headed else rows:
        named = dict(zip(columns, row, strict=False))
        if len(row) > len(columns) and any(row[len(columns) :]):
            raise InteractionError(f"line {number}: {len(row)} columns, expected {len(columns)}; correct the line")
        if named.get("defined") in ("0", "false"):
            continue
        cells = [named.get(axis, "") for axis in axes]
        position = _read_position([_to_point(cell, separator) for cell in cells], number)
        sign = _read_sign(named["positive"], number) if "positive" in named else None
        yield TablePoint(position, _AXES[axes], named.get("label", ""), named.get("description", ""), sign)


def _split_comment(line: str) -> tuple[str, str]:
    key, _, value = line.lstrip("# ").partition("=")
    return key.strip().lower(), value.strip()


def _find_axes(columns: Sequence[str], *, n_cells: int) -> tuple[str, str, str]:
    """Find which columns hold the position; refuse columns that might change what a point means."""
    found = [axes for axes in _AXES if set(axes) <= set(columns)]
    known = {"label", "positive", "description", "defined", *_NOT_USED, *(found[0] if found else ())}
    strange = [name for name in columns if name not in known]
    if len(found) != 1 or strange or len(set(columns)) < len(columns) or n_cells > len(columns):
        raise InteractionError(
            f"columns {', '.join(columns)}, expected x, y, z (or r, a, s; l, p, s; i, j, k) and perhaps label, "
            "positive and description; rename the columns, and remove the others"
        )
    return found[0]


def _read_position(cells: Sequence[str], number: int) -> tuple[float, float, float]:
    try:
        x, y, z = (float(cell) for cell in cells)
    except ValueError:
        x = y = z = math.nan
    if not all(map(math.isfinite, (x, y, z))):
        raise InteractionError(f"line {number}: found {', '.join(cells)!r:.60}, expected three numbers; correct them")
    return x, y, z


def _read_sign(text: str, number: int) -> bool:
    word = text.lower()
    if word not in _TRUE | _FALSE:
        raise InteractionError(f"line {number}: positive is {text!r:.60}, expected true or false; correct it")
    return word in _TRUE


def _to_point(cell: str, separator: str) -> str:
    """Write a decimal comma, which only goes with other separators, as a point."""
    return cell.replace(",", ".") if separator != "," else cell


def _is_number(cell: str, separator: str) -> bool:
    try:
        float(_to_point(cell, separator))
    except ValueError:
        return False
    return True
