"""Regions of a file and labels of a mask: which become which, by name, by pattern, joined or one each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import numpy.typing as npt

from interactivepet.core.geometry import Shape
from interactivepet.dataset.files.read import LARGEST_LABEL
from interactivepet.errors import CaseError

__all__ = ["MaskSummary", "find_regions", "join_labels", "order_labels", "select_regions"]


@dataclass(frozen=True, slots=True)
class MaskSummary:
    """What a file with regions holds, without its shapes.

    Attributes:
        regions: names of its ROIs or segments, in the file's order; they need not be unique.
        drawn: names of those that have a closed contour or a frame.
        references: SeriesInstanceUID of every series that it was drawn on; empty when the file does not say.
        frames: FrameOfReferenceUID of every space that it refers to; empty when the file does not say.
    """

    regions: tuple[str, ...]
    drawn: tuple[str, ...]
    references: tuple[str, ...]
    frames: tuple[str, ...]


LONGEST_NAME = 64
"""Characters, of a region in DICOM."""


def select_regions(
    names: Sequence[str], wanted: Sequence[str], *, union: bool, source: str
) -> tuple[tuple[int, ...], ...]:
    """Choose regions by name.

    Args:
        names: of the file's regions, in its order.
        wanted: names, or patterns such as `GTV*`, without regard to case; every region when empty.
        union: everything that was chosen is one label.
        source: file and kind of region, for messages: `a.dcm: ROI`.

    Returns:
        For each label the indices into `names` of its regions. What one entry of `wanted` matches is one label,
        so that label values mean the same in every file; with none given each region is a label.

    Raises:
        CaseError: nothing there, an entry matches nothing, or there are more labels than values.
    """
    if not names:
        raise CaseError(f"{source}: none in the file, expected at least one; export it again")
    groups = [_match(names, entry, source=source) for entry in wanted] or [(index,) for index in range(len(names))]
    if union:
        groups = [tuple(dict.fromkeys(index for group in groups for index in group))]
    if len(groups) > LARGEST_LABEL:
        raise CaseError(f"{source}: {len(groups)} found, expected at most {LARGEST_LABEL}; choose some by name")
    return tuple(groups)


def find_regions(names: Sequence[str], entry: str) -> tuple[int, ...]:
    """Give the indices of the regions that a name or pattern means, without regard to case; perhaps none.

    The exact name wins: it may hold characters that a pattern reads otherwise.
    """
    folded, text = [name.strip().casefold() for name in names], entry.strip().casefold()
    exact = tuple(index for index, name in enumerate(folded) if name == text)
    return exact or tuple(index for index, name in enumerate(folded) if fnmatchcase(name, text))


def join_labels(masks: Sequence[npt.NDArray[np.bool_]], shape: Shape) -> npt.NDArray[np.uint8]:
    """Number masks (I, J, K) from 1; where two overlap, the one that was asked for first stays."""
    label = np.zeros(shape, dtype=np.uint8)
    for value, mask in enumerate(masks, start=1):
        label[mask & (label == 0)] = value
    return label


def order_labels(mask: npt.NDArray[np.uint8], labels: Mapping[str, int], *, name: str) -> tuple[tuple[str, int], ...]:
    """Give (name, value) of every label in rising order of the values.

    Args:
        mask: (I, J, K), 0 is background.
        labels: name -> value of every label, with voxels in this mask or not.
        name: of the mask, for messages.

    Raises:
        CaseError: the mask holds a value without a name, or a name cannot be stored in DICOM.
    """
    known = ", ".join(f"{label} = {value}" for label, value in labels.items()) or "nothing"
    if nameless := sorted({int(value) for value in np.unique(mask)} - {0, *labels.values()}):
        raise CaseError(
            f"{name}: the mask holds {', '.join(map(str, nameless))}, but named are {known}; name every label, or "
            "take the task that the mask belongs to"
        )
    too_long = [label for label in labels if len(label) > LONGEST_NAME or "\\" in label]
    if not labels or too_long:
        raise CaseError(
            f"{name}: labels named {', '.join(too_long) or 'nothing'}, expected at least one, of at most "
            f"{LONGEST_NAME} characters and without backslash; rename them in dataset.json"
        )
    return tuple(sorted(labels.items(), key=lambda item: item[1]))


def _match(names: Sequence[str], entry: str, *, source: str) -> tuple[int, ...]:
    found = find_regions(names, entry)
    if not found:
        raise CaseError(f"{source}: none is named {entry}, found {', '.join(names)}; choose of these")
    return found
