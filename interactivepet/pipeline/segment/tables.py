"""Tables and the page of all cases."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from typing import Any
from urllib.parse import quote

from interactivepet.core.measures import Value
from interactivepet.core.segmented import SegmentedCase
from interactivepet.core.summary import PatientOutcome
from interactivepet.dataset.files.write import write_text
from interactivepet.pipeline.segment.options import Outputs
from interactivepet.pipeline.segment.outputs import Folders
from interactivepet.pipeline.segment.sources import Failure
from interactivepet.reporting.batch_page import render_batch

__all__ = ["BATCH_PAGE", "write_tables"]

BATCH_PAGE = "index.html"
REGIONS_CSV, PATIENTS_CSV, ALL_JSON = "regions.csv", "patients.csv", "results.json"


def write_tables(
    folders: Folders,
    cases: Sequence[SegmentedCase],
    failures: Sequence[Failure],
    *,
    outputs: Outputs,
    settings: Mapping[str, str],
    versions: Mapping[str, str],
) -> None:
    """Write the tables and the page of all cases, each atomically; a table that is not asked for is removed.

    Args:
        folders: where to.
        cases: that are complete, in the order of the rows.
        failures: why there is no result of others. A page and a table name cases only, not paths, which may hold names
            of patients.
        outputs: `csv` and `json` are looked for.
        settings: of all cases.
        versions: of programs and the model.
    """
    texts = {
        REGIONS_CSV: _make_table(_list_regions(cases)) if "csv" in outputs.formats else None,
        PATIENTS_CSV: _make_table(_list_patients(cases)) if "csv" in outputs.formats else None,
        ALL_JSON: _make_json(cases, failures) if "json" in outputs.formats else None,
        BATCH_PAGE: _render(folders, cases, failures, settings=settings, versions=versions),
    }
    for name, text in texts.items():
        if text is None:
            (folders.out / name).unlink(missing_ok=True)
        else:
            write_text(folders.out / name, text)


def _render(
    folders: Folders,
    cases: Sequence[SegmentedCase],
    failures: Sequence[Failure],
    *,
    settings: Mapping[str, str],
    versions: Mapping[str, str],
) -> str:
    outcomes = [
        PatientOutcome(
            case=one.summary.case,
            summary=one.summary,
            page=quote(folders.page(one.summary.case).relative_to(folders.out).as_posix()),
        )
        for one in cases
    ]
    outcomes += [PatientOutcome(case=name, failure=reason) for name, reason in _name_failures(failures).items()]
    title = f"Lesions of {len(cases)} {'case' if len(cases) == 1 else 'cases'}"
    return render_batch(outcomes, title=title, settings=dict(settings), versions=dict(versions))


def _name_failures(failures: Sequence[Failure]) -> dict[str, str]:
    """Name failures without paths."""
    named: dict[str, str] = {}
    for number, failure in enumerate(failures, start=1):
        if failure.is_case:
            named[failure.place] = failure.shown_reason
        else:
            named[f"no case {number}"] = failure.shown_reason
    return named


def _list_regions(cases: Sequence[SegmentedCase]) -> Iterable[dict[str, Any]]:
    """Give one row per region."""
    for case in cases:
        for region, origin in zip(case.summary.regions, case.origins, strict=True):
            row: dict[str, Any] = {
                "case": case.summary.case,
                "unit": case.summary.unit,
                "region": region.id,
                "status": region.status,
                "rule": origin.rule,
                "reasons": "; ".join(region.reasons),
                "quality": region.quality,
                "is_segmented": int(origin.is_segmented),
            }
            yield {**row, **region.measures}


def _list_patients(cases: Sequence[SegmentedCase]) -> Iterable[dict[str, Any]]:
    """Give one row per case: counts of the regions, and measures of all lesions."""
    for case in cases:
        statuses = [region.status for region in case.summary.regions]
        totals: dict[str, Value] = {
            "n_unsure": statuses.count("unsure"),
            "n_physiological": statuses.count("physiological"),
        }
        yield {"case": case.summary.case, "unit": case.summary.unit, **case.summary.totals, **totals}


def _make_table(rows: Iterable[dict[str, Any]]) -> str:
    """Make CSV; a column that a row does not have, and a measure that is not defined, is empty."""
    listed = list(rows)
    names = list(dict.fromkeys(name for row in listed for name in row)) or ["case"]
    text = StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(listed)
    return text.getvalue()


def _make_json(cases: Sequence[SegmentedCase], failures: Sequence[Failure]) -> str:
    content = {
        "cases": [case.model_dump(mode="json") for case in cases],
        "failures": _name_failures(failures),
    }
    return json.dumps(content, indent=2) + "\n"
