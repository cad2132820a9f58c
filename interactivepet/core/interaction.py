"""What a user points at."""

from __future__ import annotations

from interactivepet.core.artefact import Record

__all__ = ["Click"]


class Click(Record):
    """A point that a user placed: this voxel belongs, or does not belong, to a label."""

    position_mm: tuple[float, float, float]
    """RAS+ mm, so that it survives cropping, flipping and resampling."""
    label: int = 1
    """Value of the label in the mask, 1 or more."""
    is_positive: bool = True
    """Whether the point lies inside the label (True) or shows what is not the label (False)."""
