"""Measures as people call them: headings with units, and how many digits are shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from interactivepet.core.uptake import UptakeUnit, name_total, name_uptake, name_volume

__all__ = ["Column", "describe_unit", "list_columns", "list_other_names"]

_SYMBOLS: dict[UptakeUnit, str] = {
    "suv": "SUV",
    "sul": "SUL",
    "suv_ibw": "SUV (ideal weight)",
    "suv_bsa": "SUV (body surface)",
    "bq_per_ml": "Bq/ml",
    "counts": "counts",
    "unknown": "image units",
}
_SUV_UNITS: dict[UptakeUnit, tuple[str, str]] = {
    "suv": ("SUV", "g/ml"),
    "sul": ("SUL", "g/ml"),
    "suv_ibw": ("SUVibw", "g/ml"),
    "suv_bsa": ("SUVbsa", "cm²/ml"),
}
_TOTALS: dict[UptakeUnit, tuple[str, str]] = {
    **dict.fromkeys(("suv", "sul", "suv_ibw"), ("TLG", "g")),
    "suv_bsa": ("TLG", "cm²"),
    "bq_per_ml": ("Total activity", "Bq"),
    "counts": ("Total uptake", "counts · ml"),
    "unknown": ("Total uptake", "image units · ml"),
}


@dataclass(frozen=True, slots=True)
class Column:
    """One measure in a table.

    Attributes:
        measure: its name in the values.
        heading: how people call it.
        unit: empty for ratios and counts.
        digits: after the point.
    """

    measure: str
    heading: str
    unit: str
    digits: int


def describe_unit(unit: UptakeUnit) -> str:
    """Give the short name of a unit of uptake."""
    return _SYMBOLS[unit]


def list_columns(unit: UptakeUnit, names: Iterable[str]) -> tuple[Column, ...]:
    """List the measures that a table shows, of those that there are.

    Args:
        unit: of the uptake.
        names: of the measures that there are.
    """
    symbol, scale = _SUV_UNITS.get(unit, ("Uptake", _SYMBOLS[unit]))
    digits = 2 if unit in _SUV_UNITS else 0
    joint = "" if unit in _SUV_UNITS else " "
    total, total_unit = _TOTALS[unit]
    columns = (
        Column(name_volume(unit), "MTV" if unit in _SUV_UNITS else "Volume", "ml", 2),
        *(
            Column(name_uptake(statistic, unit), f"{symbol}{joint}{word}", scale, digits)
            for statistic, word in (("max", "max"), ("peak_global", "peak"), ("mean", "mean"))
        ),
        Column(name_total(unit), total, total_unit, 1),
        Column("maximum_diameter_mm", "Diameter", "mm", 0),
        Column("sphericity", "Sphericity", "", 2),
        Column("peak_to_liver_ratio", "Peak / liver", "", 2),
        Column("peak_to_blood_pool_ratio", "Peak / blood pool", "", 2),
    )
    known = set(names)
    return tuple(column for column in columns if column.measure in known)


def list_other_names(names: Iterable[str], columns: Iterable[Column]) -> tuple[str, ...]:
    """List the measures that no column shows, in their order."""
    shown = {column.measure for column in columns}
    return tuple(name for name in dict.fromkeys(names) if name not in shown)
