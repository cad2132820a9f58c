"""Measures of many cases as one table."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO

from interactivepet.core.measures import CaseMeasures, MeasuredRegion, RegionLevel

__all__ = ["make_csv"]

_KEYS: dict[RegionLevel, tuple[str, ...]] = {
    "lesion": ("case", "unit", "label", "lesion"),
    "label": ("case", "unit", "label"),
    "patient": ("case", "unit"),
}


def make_csv(cases: Sequence[CaseMeasures], level: RegionLevel) -> str:
    """Make a CSV file's text with one row per lesion, label or patient.

    Args:
        cases: in the order of the rows.
        level: what a row is.

    Returns:
        A comma-separated table with a head line. Columns of measures that some cases do not have, such as those of
        another unit, are empty there, as are measures that are not defined.
    """
    rows = [(case, region) for case in cases for region in case.regions if region.level == level]
    names = list(dict.fromkeys(name for _, region in rows for name in region.values))
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_KEYS[level], *names])
    for case, region in rows:
        values = (region.values.get(name) for name in names)
        writer.writerow([*_name_row(case, region), *("" if value is None else value for value in values)])
    return text.getvalue()


def _name_row(case: CaseMeasures, region: MeasuredRegion) -> list[str]:
    keys = {"case": case.case, "unit": case.unit, "label": region.label, "lesion": str(region.lesion)}
    return [keys[name] for name in _KEYS[region.level]]
