"""`cases.csv` or `demographics.csv` beside other people's volumes: which patient, and which subtype, a case is of."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from interactivepet.errors import ManifestError

__all__ = ["TABLE_NAMES", "Group", "find_table", "read_table"]

TABLE_NAMES = ("cases.csv", "demographics.csv")
"""The first that is there counts."""
_CASE_COLUMNS = ("case", "file_base")
_SUBTYPE_COLUMNS = ("subtype", "diagnosis", "tracer")


@dataclass(frozen=True, slots=True)
class Group:
    """What a table says of a case; None where it says nothing."""

    patient: str | None = None
    subtype: str | None = None


def find_table(files: Iterable[Path]) -> Path | None:
    """Give the table among a folder's files, or None."""
    named = {path.name.lower(): path for path in files}
    return next((named[name] for name in TABLE_NAMES if name in named), None)


def read_table(path: Path, cases: Collection[str]) -> tuple[dict[str, Group], dict[str, str]]:
    """Read a table of cases.

    Args:
        path: separated by commas or semicolons, with a column `case` or `file_base`, and any of `patient` and
            `subtype` (or `diagnosis`, `tracer`).
        cases: names of the cases, without the files' endings.

    Returns:
        case -> its group, and row -> why it was passed over.

    Raises:
        ManifestError: it cannot be read, has two rows for a case, or leaves out the patient of a case.
    """
    columns, rows = _read_rows(path)
    case_column = next((name for name in _CASE_COLUMNS if name in columns), None)
    subtype_column = next((name for name in _SUBTYPE_COLUMNS if name in columns), "")
    if case_column is None or ("patient" not in columns and not subtype_column):
        raise ManifestError(
            f"{path}: columns {', '.join(columns)}, expected {' or '.join(_CASE_COLUMNS)} and any of patient, "
            f"{', '.join(_SUBTYPE_COLUMNS)}; rename them"
        )
    groups: dict[str, Group] = {}
    passed_over: dict[str, str] = {}
    for row in rows:
        case = row[case_column]
        if case not in cases:
            passed_over[f"{path.name}: {case}"] = "no volume has this name"
            continue
        if case in groups:
            raise ManifestError(f"{path}: several rows for {case}, expected one; remove the others")
        groups[case] = Group(row.get("patient") or None, row.get(subtype_column) or None)
    if "patient" in columns:
        _refuse_gaps(path, groups, cases)
    return groups, passed_over


def _refuse_gaps(path: Path, groups: Mapping[str, Group], cases: Collection[str]) -> None:
    """Refuse cases without patient: two scans of a patient in different folds would flatter the result."""
    missing = sorted(case for case in cases if case not in groups or groups[case].patient is None)
    if missing:
        named = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise ManifestError(f"{path}: no patient for {len(missing)} cases ({named}), expected one a case; add them")


def _read_rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: cannot be read ({error}); save it as UTF-8 with commas") from error
    lines = text.splitlines()
    header = lines[0] if lines else ""
    table = csv.DictReader(lines, delimiter=";" if ";" in header and "," not in header else ",", restval="")
    columns = [name.strip().lower() for name in table.fieldnames or ()]
    table.fieldnames = columns
    return columns, [{name: value.strip() for name, value in row.items() if name} for row in table]
