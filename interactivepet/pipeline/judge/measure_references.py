"""Normal organs that lesions are compared with: what a user gives, for all cases or for each in a table."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from interactivepet.core.measures import Organ, ReferenceUptake
from interactivepet.errors import CaseError
from interactivepet.quantification.references import ReferenceSphere

__all__ = ["CaseReferences", "GivenReference", "parse_reference", "read_references"]

GivenReference = ReferenceUptake | ReferenceSphere
CaseReferences = Mapping[Organ, GivenReference]

_VALUES = ("mean", "sd", "maximum")
_SPHERE = ("x_mm", "y_mm", "z_mm", "diameter_mm")


def parse_reference(numbers: Sequence[float]) -> GivenReference:
    """Read a reference from one to three numbers (mean, SD, maximum) or four (x, y, z and diameter in RAS+ mm).

    Raises:
        ValueError: there are more numbers, or one that is invalid.
    """
    if len(numbers) == len(_SPHERE):
        x, y, z, diameter_mm = numbers
        if not all(map(math.isfinite, numbers)) or diameter_mm <= 0:
            raise ValueError("expected a centre in mm and a diameter above 0 mm")
        return ReferenceSphere((x, y, z), diameter_mm)
    if not 1 <= len(numbers) <= len(_VALUES):
        raise ValueError(f"{len(numbers)} numbers, expected MEAN, MEAN SD, MEAN SD MAXIMUM, or X Y Z DIAMETER")
    return _make_uptake(*numbers)


def _make_uptake(mean: float, sd: float | None = None, maximum: float | None = None) -> ReferenceUptake:
    known = [number for number in (mean, sd, maximum) if number is not None]
    is_sound = all(map(math.isfinite, known)) and mean > 0 and (sd or 0) >= 0
    if not is_sound or (maximum is not None and maximum < mean):
        raise ValueError("expected a mean above 0, an SD of at least 0, and a maximum of at least the mean")
    return ReferenceUptake(mean=mean, sd=sd, maximum=maximum)


def read_references(path: Path) -> Mapping[str, CaseReferences]:
    """Read a CSV table of references, one row per case and organ.

    Its columns are `case`, `organ` (`liver` or `blood_pool`), and `mean` (with `sd` and `maximum` where they are known)
    or `x_mm`, `y_mm`, `z_mm` and `diameter_mm` in RAS+.

    Raises:
        CaseError: the table is not there, a column or number is missing or invalid, or a row is there twice.
    """
    if not path.is_file():
        raise CaseError(f"{path}: there is no such file; expected a CSV table with the columns case, organ and mean")
    found: dict[str, dict[Organ, GivenReference]] = {}
    with path.open(encoding="utf-8-sig", newline="") as stream:
        for number, row in enumerate(csv.DictReader(stream), start=2):
            case, organ, reference = _read_row(row, place=f"{path}, line {number}")
            if organ in found.setdefault(case, {}):
                raise CaseError(f"{path}, line {number}: {organ} of {case} is there twice; keep one row")
            found[case][organ] = reference
    return found


def _read_row(row: Mapping[str | None, str | None], *, place: str) -> tuple[str, Organ, GivenReference]:
    cells = {(name or "").strip().lower(): (text or "").strip() for name, text in row.items() if isinstance(text, str)}
    case = cells.get("case", "")
    organ = next((known for known in get_args(Organ) if known == cells.get("organ", "").lower()), None)
    if not case or organ is None:
        organs = " or ".join(get_args(Organ))
        raise CaseError(
            f"{place}: case {case or 'missing'}, organ {cells.get('organ') or 'missing'}; expected a name and {organs}"
        )
    try:
        return case, organ, _read_cells(cells)
    except ValueError as error:
        raise CaseError(f"{place}: {error}; correct the row") from error


def _read_cells(cells: Mapping[str, str]) -> GivenReference:
    """Read either the values or the sphere of a row."""
    if not any(cells.get(name) for name in _SPHERE):
        mean, *others = (cells.get(name, "") for name in _VALUES)
        return _make_uptake(float(mean), *(float(text) if text else None for text in others))
    if any(cells.get(name) for name in _VALUES):
        raise ValueError(f"both values and a sphere, expected {', '.join(_VALUES)} or {', '.join(_SPHERE)}")
    return parse_reference([float(cells.get(name, "")) for name in _SPHERE])
