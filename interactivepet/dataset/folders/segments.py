"""Segmentations of 3D Slicer (`.seg.nrrd`): which segment each value of each layer is, and which label it becomes.

A segment has a name, a layer and a value in it. Segments that do not overlap share a layer under different values;
those that overlap lie in several layers, which the file holds as channels. Header fields: Slicer's documentation,
"Segmentations", section "Segmentation file format".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from interactivepet.dataset.files.read import LARGEST_LABEL
from interactivepet.errors import CaseError

__all__ = ["Segment", "match_segments", "name_segments", "read_segments"]

_ID = re.compile(r"Segment(\d+)_ID")
_AUTOMATIC = re.compile(r"segment[ _]?\d*", re.IGNORECASE)
"""Names that Slicer gives when the user gives none; they say nothing."""
_NRRD = (".nrrd", ".nhdr")


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment.

    Attributes:
        name: letters, digits, `_` and `-`, as the label is named.
        value: of its voxels.
        layer: channel of the file that holds it, from 0.
        is_automatic: whether Slicer named it.
    """

    name: str
    value: int
    layer: int
    is_automatic: bool


def read_segments(path: Path) -> tuple[Segment, ...]:
    """Read the segments from a file's header; none for a file that is no segmentation of Slicer.

    Raises:
        CaseError: the header cannot be read.
    """
    if path.suffix.lower() not in _NRRD:
        return ()
    from interactivepet.dataset.files import itk

    fields = itk.read_metadata(path)
    numbers = sorted(int(match[1]) for key in fields if (match := _ID.fullmatch(key)))
    # Slicer before 4.11 wrote one layer per segment, and no values.
    is_old = not any(key.endswith("_LabelValue") for key in fields)
    return tuple(_make_segment(path, fields, number=number, layer=number if is_old else 0) for number in numbers)


def _make_segment(path: Path, fields: Mapping[str, str], *, number: int, layer: int) -> Segment:
    name = fields.get(f"Segment{number}_Name", "").strip() or fields[f"Segment{number}_ID"].strip()
    try:
        value = int(fields.get(f"Segment{number}_LabelValue", 1))
        layer = int(fields.get(f"Segment{number}_Layer", layer))
    except ValueError as error:
        raise CaseError(
            f"{path}: value or layer of segment {name} is no number ({error}); save it again with Slicer"
        ) from error
    if not 0 < value <= LARGEST_LABEL:
        raise CaseError(f"{path}: value {value} of segment {name}, expected 1 to {LARGEST_LABEL}; save it with fewer")
    is_automatic = _AUTOMATIC.fullmatch(name) is not None
    return Segment(re.sub(r"[^\w-]+", "_", name).strip("_") or "segment", value, layer, is_automatic)


def name_segments(segments: Iterable[Segment]) -> tuple[str, ...]:
    """Give the names of the segments of all cases, once each, in the order of their values and then by name."""
    lowest: dict[str, tuple[int, str]] = {}
    for segment in segments:
        key = segment.name.casefold()
        lowest[key] = min((segment.value, segment.name), lowest.get(key, (segment.value, segment.name)))
    return tuple(name for _, name in sorted(lowest.values()))


def match_segments(
    path: Path, segments: Sequence[Segment], *, labels: Sequence[str]
) -> tuple[tuple[tuple[Segment, int], ...], tuple[str, ...]]:
    """Find the label of each segment: the one of its name.

    Names that Slicer gave say nothing: the only segment is then the only label, and several are taken by value.

    Args:
        path: of the file, for messages.
        segments: of one file; several of one name become one label.
        labels: names of the values 1 ... L.

    Returns:
        Segments with the values of their labels; and remarks.

    Raises:
        CaseError: no segment is named as a label.
    """
    values = {_normalise(label): value for value, label in enumerate(labels, start=1)}
    matched = [
        (segment, values[_normalise(segment.name)]) for segment in segments if _normalise(segment.name) in values
    ]
    names = name_segments(segments)
    if matched:
        rest = [name for name in names if _normalise(name) not in values]
        return tuple(matched), ((f"segments without a label were left out: {', '.join(rest)}",) if rest else ())
    if len(names) == len(labels) == 1 and segments[0].is_automatic:
        remark = f"its only segment, {names[0]}, was taken for {labels[0]}"
        return tuple((segment, 1) for segment in segments), (remark,)
    if _are_values(segments, n_labels=len(labels)):
        pairs = ", ".join(f"{segment.name} for {labels[segment.value - 1]}" for segment in segments)
        return tuple((segment, segment.value) for segment in segments), (f"segments were taken by value: {pairs}",)
    raise CaseError(
        f"{path}: segments {', '.join(names)}, expected {' or '.join(labels)}; rename them in Slicer (segments of one "
        "name are joined), or name with -l the segments to take"
    )


def _are_values(segments: Sequence[Segment], *, n_labels: int) -> bool:
    """Whether segments without names of their own have the values of labels."""
    values = [segment.value for segment in segments]
    return (
        n_labels > 1
        and all(segment.is_automatic and segment.layer == 0 for segment in segments)
        and len(set(values)) == len(values)
        and all(1 <= value <= n_labels for value in values)
    )


def _normalise(name: str) -> str:
    return re.sub(r"[^\w-]+", "_", name).strip("_").casefold()
