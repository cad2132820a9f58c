"""Cut away what every channel agrees is background."""

from __future__ import annotations

from interactivepet.core.case import Case
from interactivepet.core.geometry import BoundingBox

__all__ = ["crop"]


def crop(case: Case, box: BoundingBox) -> Case:
    """Keep the voxels of `box`; the geometry moves along."""
    label = None if case.label is None else case.label[box.slices]
    return Case(case.id, case.image[(slice(None), *box.slices)], case.geometry.cropped(box), label)
