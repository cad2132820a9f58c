"""Patient, study and frame of reference of a written object, as its source series has them."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement

__all__ = ["copy_identity", "hide_identity"]

_TYPE_2 = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "ReferringPhysicianName"),
    *("StudyID", "AccessionNumber", "PositionReferenceIndicator"),
)
"""What must be there but may be empty (PS3.3 C.7.1.1, C.7.2.1, C.7.4.1); anonymisers remove it."""
_TYPE_1 = ("StudyInstanceUID", "FrameOfReferenceUID")
"""What must have a value, as every source series does."""
_CHARACTER_SET = "SpecificCharacterSet"
_UNICODE = "ISO_IR 192"


def copy_identity(target: Dataset, source: Dataset, *, texts: Iterable[str]) -> None:
    """Copy by what viewers bring images and masks together, in place; what the source lacks becomes empty.

    Values and the character set are copied as they are, also where they break small rules of the standard. Only
    where a text of the target has other letters than ASCII, everything is written in Unicode.

    Args:
        target: the object that is written.
        source: a slice of the series.
        texts: names of the labels.
    """
    for keyword in (*_TYPE_1, *_TYPE_2):
        element = deepcopy(source[keyword]) if keyword in source else _make_empty(keyword)
        target.add(element)
    if not all(text.isascii() for text in texts):
        target.SpecificCharacterSet = _UNICODE
    elif _CHARACTER_SET in source:
        target.add(deepcopy(source[_CHARACTER_SET]))
    else:
        target.pop(_CHARACTER_SET, None)


def hide_identity(header: Dataset) -> Dataset:
    """Make a copy whose patient and study are empty, for a library that accepts none but perfect values."""
    hidden = deepcopy(header)
    for keyword in _TYPE_2:
        hidden.add(_make_empty(keyword))
    return hidden


def _make_empty(keyword: str) -> DataElement:
    tag = tag_for_keyword(keyword) or 0
    return DataElement(tag, dictionary_VR(tag), None)
