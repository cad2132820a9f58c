"""The page of many patients: one row per patient, failures with their cause."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from interactivepet.core.measures import Value
from interactivepet.core.summary import PatientOutcome, PatientSummary
from interactivepet.core.uptake import UptakeUnit, name_total, name_uptake, name_volume
from interactivepet.reporting.html import render_page
from interactivepet.reporting.measure_columns import Column, describe_unit, list_columns

__all__ = ["render_batch"]


def render_batch(
    outcomes: Sequence[PatientOutcome], *, title: str, settings: dict[str, str], versions: dict[str, str]
) -> str:
    """Render the page of a batch, which links the patients' pages.

    Args:
        outcomes: one per patient, in the order of the rows.
        title: of the page.
        settings: name -> value of everything that all results depend on.
        versions: program or model -> version.

    Returns:
        The page's text.
    """
    summaries = [outcome.summary for outcome in outcomes if outcome.summary is not None]
    units = list(dict.fromkeys(summary.unit for summary in summaries))
    return render_page(
        "batch",
        title=title,
        rows=[(outcome, _list_values(outcome.summary)) for outcome in outcomes],
        n_failed=sum(outcome.summary is None for outcome in outcomes),
        has_unsure=any(region.status == "unsure" for summary in summaries for region in summary.regions),
        columns=_list_headings(units[0] if len(units) == 1 else None),
        units={unit: describe_unit(unit) for unit in units},
        settings=settings,
        versions=versions,
    )


def _list_headings(unit: UptakeUnit | None) -> Sequence[str]:
    """Give the headings of volume, total and maximum; without a unit where patients have several."""
    if unit is None:
        return ("Volume (ml)", "Total uptake", "Hottest uptake")
    columns = _list_shown(unit)
    return [f"{column.heading} ({column.unit})" if column.unit else column.heading for column in columns]


def _list_shown(unit: UptakeUnit) -> Iterable[Column]:
    """Give the columns of volume, total and maximum."""
    names = (name_volume(unit), name_total(unit), name_uptake("max", unit))
    columns = {column.measure: column for column in list_columns(unit, names)}
    return [columns[name] for name in names]


def _list_values(summary: PatientSummary | None) -> list[tuple[Value, int]]:
    """Give volume, total and maximum of a patient with their digits."""
    if summary is None:
        return []
    return [(summary.totals.get(column.measure), column.digits) for column in _list_shown(summary.unit)]
