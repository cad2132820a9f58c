"""Files with clicks: 3D Slicer's `.mrk.json` is written; it and three other forms are read.

| form | file | what a point means |
|---|---|---|
| 3D Slicer markups | `CASE.mrk.json` | its description, `label 2 negative`; else its name or its list's |
| Grand Challenge "Multiple points" | `CASE.json` | its name |
| autoPET | `CASE.json` | the name of its list: `{"tumor": [[i, j, k]], "background": []}` |
| InteractiveNet point mask | `CASE.nii.gz` | the voxel's value is the label; every point is positive |

A name is split into lower-case words. A word of `NEGATIVE_WORDS` makes the point negative, the words of a
label's name (the longest that occurs) choose the label. A name without one stands for the only label; where
several are declared, a positive point without one is refused and a negative one speaks of each of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, FiniteFloat, TypeAdapter, ValidationError, field_validator
from pydantic.alias_generators import to_camel

from interactivepet.core.geometry import Geometry
from interactivepet.core.interaction import Click
from interactivepet.dataset.layout import NIFTI_ENDINGS
from interactivepet.dataset.read import read_mask
from interactivepet.dataset.volume import describe_mismatch
from interactivepet.dataset.write import write_text
from interactivepet.errors import CaseError, InteractionError

__all__ = [
    "CLICK_FILE_ENDINGS",
    "NEGATIVE_WORDS",
    "PointFrame",
    "find_clicks_file",
    "read_clicks",
    "write_clicks",
]

CLICK_FILE_ENDINGS = (".mrk.json", ".json", ".nii.gz")
"""Where a case's clicks are looked for, the first that is there being taken."""

NEGATIVE_WORDS = frozenset({"background", "bg", "neg", "negative"})
"""A point with one of these words in its name shows what is not the label."""

PointFrame = Literal["lps", "ras", "voxel"]
"""What numbers in Grand Challenge and autoPET files are: mm in LPS or RAS, or indices (i, j, k) of the image."""

_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/"
    "Resources/Schema/markups-schema-v1.0.3.json#"
)
_DESCRIPTION = re.compile(r"\s*label ([1-9]\d{0,8}) (positive|negative)\s*")
_FLIP = {"LPS": np.array([-1.0, -1.0, 1.0]), "RAS": np.ones(3)}
"""Factors from a coordinate system to RAS, and back."""

Position = tuple[FiniteFloat, FiniteFloat, FiniteFloat]
Meaning = tuple[tuple[int, ...], bool]
"""Label values that a point speaks of, and whether it is positive."""
Read = TypeVar("Read")


class _Foreign(BaseModel):
    """A part of a file made by others: what is not used may be anything."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel)


class _ControlPoint(_Foreign):
    label: str = ""
    description: str = ""
    position: Position | None = None
    position_status: str = "defined"


class _Markup(_Foreign):
    type: Literal["Fiducial"]
    name: str = ""
    coordinate_system: Literal["LPS", "RAS"] = "LPS"
    coordinate_units: Literal["mm"] = "mm"
    control_points: tuple[_ControlPoint, ...] = ()

    @field_validator("coordinate_units", mode="before")
    @classmethod
    def _take_code(cls, value: object) -> object:
        """Reduce a coded unit, such as ["mm", "UCUM", "millimeter"], to its code."""
        return value[0] if isinstance(value, list | tuple) and value else value


class _MarkupsFile(_Foreign):
    markups: tuple[_Markup, ...]


class _NamedPoint(_Foreign):
    point: Position
    name: str = ""


class _MultiplePoints(_Foreign):
    type: Literal["Multiple points"]
    points: tuple[_NamedPoint, ...]


def find_clicks_file(folder: Path, case_id: str) -> Path | None:
    """Give the file with a case's clicks, the first of `CLICK_FILE_ENDINGS` that is there, or None."""
    candidates = (folder / f"{case_id}{ending}" for ending in CLICK_FILE_ENDINGS)
    return next((path for path in candidates if path.is_file()), None)


def write_clicks(path: Path, clicks: Iterable[Click]) -> None:
    """Write clicks as one list of points that 3D Slicer opens (Markups schema 1.0.3, LPS mm).

    One list, because Slicer saves each list to a file of its own: points moved there go back to `path`.
    The description of a point carries its meaning; Slicer's selected state only gives positive and negative
    points their colours.

    Args:
        path: should end in `.mrk.json`, by which Slicer and `find_clicks_file` know it.
        clicks: in RAS+ mm; they come back from `read_clicks` exactly.
    """
    markup = {
        "type": "Fiducial",
        "name": "clicks",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "locked": False,
        "labelFormat": "%N-%d",
        "controlPoints": [_to_control_point(n, click) for n, click in enumerate(clicks, start=1)],
        "display": {"color": [1.0, 0.2, 0.2], "selectedColor": [0.2, 0.9, 0.2]},
    }
    write_text(path, json.dumps({"@schema": _SCHEMA, "markups": [markup]}, indent=1, allow_nan=False) + "\n")


def read_clicks(
    path: Path,
    *,
    geometry: Geometry,
    point_frame: PointFrame = "lps",
    labels: Mapping[str, int] | None = None,
) -> tuple[Click, ...]:
    """Read a case's clicks from any of the forms at the top of this module.

    Whether the clicks lie in the image is for verification to say.

    Args:
        path: file that ends in `.json`, `.nii` or `.nii.gz`.
        geometry: the grid of the case's image.
        point_frame: what the numbers of Grand Challenge and autoPET files are. Grand Challenge defines LPS
            mm; autoPET's own files hold voxel indices. Slicer's files say it themselves.
        labels: name -> value of the task's labels, for points that are named after one.

    Returns:
        In the order of the file, RAS+ mm.

    Raises:
        InteractionError: the file is missing or malformed, has another unit, type or grid, or a point's
            name does not tell which of several labels it means.
    """
    try:
        if path.name.endswith(NIFTI_ENDINGS):
            return tuple(_read_point_mask(path, geometry))
        if path.name.endswith(".json"):
            return tuple(_read_json(path.read_text("utf-8-sig"), geometry, frame=point_frame, labels=labels))
    except InteractionError as error:
        raise InteractionError(f"{path}: {error}") from error
    except CaseError as error:
        raise InteractionError(str(error)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InteractionError(f"{path}: cannot be read ({error}); make or export it again") from error
    raise InteractionError(f"{path}: unknown ending, expected {' '.join(CLICK_FILE_ENDINGS)}; export it so")


def _to_control_point(number: int, click: Click) -> dict[str, object]:
    """Describe a click as Slicer's schema wants it."""
    sign, word = ("+", "positive") if click.is_positive else ("-", "negative")
    return {
        "id": str(number),
        "label": f"{click.label}{sign}",
        "description": f"label {click.label} {word}",
        "position": (np.array(click.position_mm) * _FLIP["LPS"]).tolist(),
        "selected": click.is_positive,
        "positionStatus": "defined",
    }


def _read_json(
    text: str, geometry: Geometry, *, frame: PointFrame, labels: Mapping[str, int] | None
) -> Iterator[Click]:
    """Read the clicks of a JSON file by what it holds."""
    content = _parse(TypeAdapter(dict[str, Any]), text)
    if "markups" in content:
        yield from _read_markups(_parse(TypeAdapter(_MarkupsFile), text), labels)
        return
    if "points" in content or "type" in content:
        named = [(p.name, p.point) for p in _parse(TypeAdapter(_MultiplePoints), text).points]
    else:
        lists = _parse(TypeAdapter(dict[str, tuple[Position, ...]]), text)
        named = [(name, point) for name, points in lists.items() for point in points]
    for name, point in named:
        position = geometry.to_mm(point) if frame == "voxel" else np.array(point) * _FLIP[frame.upper()]
        yield from _make_clicks(position, _read_meaning((name,), labels))


def _read_markups(file: _MarkupsFile, labels: Mapping[str, int] | None) -> Iterator[Click]:
    """Read the points of Slicer's lists; those that Slicer has not placed yet are no clicks."""
    for markup in file.markups:
        for point in markup.control_points:
            if point.position_status != "defined":
                continue
            if point.position is None:
                msg = f"point {point.label!r} has no position; place it in Slicer or delete it"
                raise InteractionError(msg)
            told = _DESCRIPTION.fullmatch(point.description)
            meaning: Meaning = (
                ((int(told[1]),), told[2] == "positive") if told else _read_meaning((point.label, markup.name), labels)
            )
            yield from _make_clicks(np.array(point.position) * _FLIP[markup.coordinate_system], meaning)


def _make_clicks(position_mm: npt.NDArray[np.float64], meaning: Meaning) -> Iterator[Click]:
    """Make a point's click for each label that it speaks of; `position_mm` is (3,), RAS+."""
    x, y, z = position_mm.tolist()
    values, is_positive = meaning
    for value in values:
        yield Click(position_mm=(x, y, z), label=value, is_positive=is_positive)


def _read_meaning(names: Sequence[str], labels: Mapping[str, int] | None) -> Meaning:
    """Read a point's meaning from its names, the first having precedence; the rule is at the module's top."""
    texts = [_to_words(name) for name in names]
    is_positive = not any(NEGATIVE_WORDS & set(text.split()) for text in texts)
    declared = {_to_words(name): value for name, value in (labels or {}).items()}
    for text in texts:
        named = [name for name in declared if f" {name} " in f" {text} "]
        if named:
            return (declared[max(named, key=len)],), is_positive
    values = tuple(declared.values()) or (1,)
    if is_positive and len(values) > 1:
        msg = (
            f"a point named {' in '.join(map(repr, names))} names none of the labels "
            f"{', '.join(labels or ())}; name the point, or the list that holds it, after its label"
        )
        raise InteractionError(msg)
    return values, is_positive


def _to_words(name: str) -> str:
    """Reduce a name to lower-case words, one space apart."""
    return " ".join(re.split(r"[\W_]+", name.casefold())).strip()


def _parse(form: TypeAdapter[Read], text: str) -> Read:
    """Parse JSON as a form.

    Raises:
        InteractionError: names the first place that differs, what was found there and what was expected.
    """
    try:
        return form.validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "file"
        found = "" if first["type"] == "json_invalid" else f", found {first['input']!r:.60}"
        msg = f"{place}: {first['msg']}{found}; correct it, or export the points again (in mm)"
        raise InteractionError(msg) from error


def _read_point_mask(path: Path, geometry: Geometry) -> Iterator[Click]:
    """Read a point mask: every voxel that is not 0 is a positive click of the label that it holds."""
    mask, found = read_mask(path)
    if not found.matches(geometry):
        differ = describe_mismatch("point mask", found, other_name="image", other=geometry)
        msg = f"{differ}; resample the point mask, or export both from one series"
        raise InteractionError(msg)
    voxels = np.argwhere(mask)
    for position, value in zip(geometry.to_mm(voxels), mask[tuple(voxels.T)].tolist(), strict=True):
        yield from _make_clicks(position, ((value,), True))
