"""Files with clicks: 3D Slicer's `.mrk.json` is written; it and five other forms are read.

| form | file | what a point means |
|---|---|---|
| 3D Slicer markups | `CASE.mrk.json` | its description, `label 2 negative`; else its name or its list's |
| Grand Challenge "Multiple points" | `CASE.json` | its name |
| autoPET | `CASE.json` | the name of its list: `{"tumor": [[i, j, k]], "background": []}` |
| InteractiveNet point mask | `CASE.nii.gz` | the voxel's value is the label; every point is positive |
| 3D Slicer's old fiducials, or a table | `CASE.fcsv`, `CASE.csv` | see `click_tables` |

A name is split into lower-case words. A word of `NEGATIVE_WORDS` makes the point negative, the words of a
label's name (the longest that occurs) choose the label. A name without one stands for the only label; where
several are declared, a positive point without one is refused and a negative one speaks of each of them.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, FiniteFloat, TypeAdapter, ValidationError, field_validator
from pydantic.alias_generators import to_camel

from interactivepet.core.geometry import Geometry
from interactivepet.core.interaction import Click
from interactivepet.dataset.click_files import CLICK_FILE_ENDINGS
from interactivepet.dataset.click_tables import PointFrame, TablePoint, read_csv_points, read_fcsv_points
from interactivepet.dataset.files.read import read_mask
from interactivepet.dataset.files.volume import describe_mismatch
from interactivepet.dataset.files.write import write_text
from interactivepet.dataset.layout import NIFTI_ENDINGS
from interactivepet.errors import CaseError, DatasetError, InteractionError

__all__ = ["MOST_CLICKS", "NEGATIVE_WORDS", "has_points", "read_clicks", "to_ras", "write_clicks"]

MOST_CLICKS = 10_000
"""Clicks of one case at most. Six for each of a thousand lesions are fewer; a segmentation that was taken for a point
mask has more."""
_LARGEST_FILE_BYTES = 2_000 * MOST_CLICKS
"""A point takes less than 2,000 bytes in any of the forms."""

NEGATIVE_WORDS = frozenset({"background", "bg", "neg", "negative"})
"""A point with one of these words in its name shows what is not the label."""

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


def write_clicks(path: Path, clicks: Iterable[Click]) -> None:
    """Write clicks as one list of points that 3D Slicer opens (Markups schema 1.0.3, LPS mm).

    One list, because Slicer saves each list to a file of its own: points moved there go back to `path`.
    The description of a point carries its meaning; Slicer's selected state only gives positive and negative
    points their colours.

    Args:
        path: should end in `.mrk.json`, by which Slicer and `find_clicks_file` know it.
        clicks: in RAS+ mm; they come back from `read_clicks` exactly.

    Raises:
        InteractionError: there are more than `MOST_CLICKS`.
    """
    try:
        written = _bound(clicks)
    except InteractionError as error:
        raise InteractionError(f"{path}: {error}") from error
    markup = {
        "type": "Fiducial",
        "name": "clicks",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "locked": False,
        "labelFormat": "%N-%d",
        "controlPoints": [_to_control_point(n, click) for n, click in enumerate(written, start=1)],
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
        path: its ending, one of `CLICK_FILE_ENDINGS`, tells the form.
        geometry: the grid of the case's image.
        point_frame: what the numbers of Grand Challenge, autoPET and CSV files are. Grand Challenge defines LPS
            mm; autoPET's own files hold voxel indices. Slicer's files say it themselves.
        labels: name -> value of the task's labels, for points that are named after one; None accepts any value.

    Returns:
        In the order of the file, RAS+ mm.

    Raises:
        InteractionError: the file is missing or malformed, has another unit, type or grid, holds more than
            `MOST_CLICKS`, a point has a label that is not declared, or its name does not tell which of several.
    """
    try:
        clicks = _bound(_read(path, geometry, frame=point_frame, labels=labels))
        if labels and (strange := sorted({click.label for click in clicks} - set(labels.values()))):
            known = ", ".join(f"{value} ({name})" for name, value in labels.items())
            raise InteractionError(f"clicks of the label {strange[0]}, expected {known}; correct the label")
        return clicks
    except InteractionError as error:
        raise InteractionError(f"{path}: {error}") from error
    except CaseError as error:
        raise InteractionError(str(error)) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InteractionError(f"{path}: cannot be read ({error}); make or export it again") from error


def has_points(path: Path) -> bool:
    """Whether a click file holds a point; one that cannot be read is not known to be without."""
    try:
        if path.name.lower().endswith(NIFTI_ENDINGS):
            return bool(read_mask(path)[0].any())
        return bool(read_clicks(path, geometry=Geometry((1, 1, 1), np.eye(4))))
    except DatasetError:
        return True


def _bound(clicks: Iterable[Click]) -> tuple[Click, ...]:
    """Take clicks, but no more than `MOST_CLICKS`."""
    taken = tuple(islice(clicks, MOST_CLICKS + 1))
    if len(taken) > MOST_CLICKS:
        raise InteractionError(
            f"more than {MOST_CLICKS} clicks, which is the most for one case; check that the file holds points, not a "
            "segmentation, and leave some out"
        )
    return taken


def _read(path: Path, geometry: Geometry, *, frame: PointFrame, labels: Mapping[str, int] | None) -> Iterator[Click]:
    """Read a file by its ending."""
    name = path.name.lower()
    if name.endswith(NIFTI_ENDINGS):
        return _read_point_mask(path, geometry)
    if not name.endswith(CLICK_FILE_ENDINGS):
        raise InteractionError(f"unknown ending, expected {' '.join(CLICK_FILE_ENDINGS)}; export it so")
    if (n_bytes := path.stat().st_size) > _LARGEST_FILE_BYTES:
        raise InteractionError(
            f"{n_bytes / 1e6:.0f} MB, more than the most for one case, {MOST_CLICKS} clicks, take; leave some out"
        )
    text = path.read_text("utf-8-sig")
    if name.endswith(".json"):
        return _read_json(text, geometry, frame=frame, labels=labels)
    points = read_fcsv_points(text) if name.endswith(".fcsv") else read_csv_points(text)
    return _read_table(points, geometry, frame=frame, labels=labels)


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
        yield from _make_clicks(to_ras(point, geometry, frame=frame), _read_meaning((name,), labels))


def _read_table(
    points: Iterable[TablePoint], geometry: Geometry, *, frame: PointFrame, labels: Mapping[str, int] | None
) -> Iterator[Click]:
    """Read the points of a table."""
    for point in points:
        meaning = _read_description(point.description) or _read_row_meaning(point, labels)
        yield from _make_clicks(to_ras(point.position, geometry, frame=point.frame or frame), meaning)


def to_ras(point: tuple[float, float, float], geometry: Geometry, *, frame: PointFrame) -> npt.NDArray[np.float64]:
    """Bring a point from a frame to RAS+ mm, (3,); `geometry` is the image's, whose indices count from 0."""
    return geometry.to_mm(point) if frame == "voxel" else np.array(point) * _FLIP[frame.upper()]


def _read_markups(file: _MarkupsFile, labels: Mapping[str, int] | None) -> Iterator[Click]:
    """Read the points of Slicer's lists; those that Slicer has not placed yet are no clicks."""
    for markup in file.markups:
        for point in markup.control_points:
            if point.position_status != "defined":
                continue
            if point.position is None:
                msg = f"point {point.label!r} has no position; place it in Slicer or delete it"
                raise InteractionError(msg)
            told = _read_description(point.description)
            meaning = told or _read_meaning((point.label, markup.name), labels)
            yield from _make_clicks(np.array(point.position) * _FLIP[markup.coordinate_system], meaning)


def _make_clicks(position_mm: npt.NDArray[np.float64], meaning: Meaning) -> Iterator[Click]:
    """Make a point's click for each label that it speaks of; `position_mm` is (3,), RAS+."""
    x, y, z = position_mm.tolist()
    values, is_positive = meaning
    for value in values:
        yield Click(position_mm=(x, y, z), label=value, is_positive=is_positive)


def _read_description(text: str) -> Meaning | None:
    """Read the meaning that `write_clicks` gives a point."""
    told = _DESCRIPTION.fullmatch(text)
    return ((int(told[1]),), told[2] == "positive") if told else None


def _read_row_meaning(point: TablePoint, labels: Mapping[str, int] | None) -> Meaning:
    """Read the meaning of a row, whose label may be a value; 0 is the background."""
    known = tuple((labels or {}).values())
    if not point.label.isdecimal() or point.label in (labels or {}):
        return _read_meaning((point.label,), labels, is_positive=point.is_positive)
    value = int(point.label)
    if value == 0:
        return _read_meaning(("background",), labels, is_positive=point.is_positive)
    if labels is not None and value not in known:
        expected = ", ".join(f"{number} ({name})" for name, number in labels.items())
        raise InteractionError(f"a point of label {value}, expected one of {expected}; correct it")
    return (value,), point.is_positive is not False


def _read_meaning(
    names: Sequence[str], labels: Mapping[str, int] | None, *, is_positive: bool | None = None
) -> Meaning:
    """Read a point's meaning from its names, the first having precedence; the rule is at the module's top.

    Args:
        names: of the point, and of what holds it.
        labels: name -> value of the task's labels.
        is_positive: as a file says besides; None leaves it to the names.
    """
    texts = [_to_words(name) for name in names]
    is_background = any(NEGATIVE_WORDS & set(text.split()) for text in texts)
    if is_background and is_positive:
        msg = f"a point named {names[0]!r} is marked as positive; correct either"
        raise InteractionError(msg)
    is_positive = not is_background if is_positive is None else is_positive
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
