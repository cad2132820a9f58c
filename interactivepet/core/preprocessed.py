"""What lies beside a preprocessed volume on disk: the way back, the clicks and where the labels are."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from interactivepet.core.artefact import Artefact, Record
from interactivepet.core.geometry import BoundingBox, Geometry, SpatialTrace
from interactivepet.core.interaction import Click

__all__ = ["CaseRecord", "GridRecord"]

Triple = tuple[int, int, int]


class GridRecord(Record):
    """A `Geometry` in JSON."""

    shape: Triple
    affine: tuple[tuple[float, float, float, float], ...]
    """Rows of the voxel -> RAS+ mm matrix."""

    @classmethod
    def of(cls, geometry: Geometry) -> GridRecord:
        """Store a geometry; float64 survives JSON unchanged."""
        rows = tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in geometry.affine)
        return cls(shape=geometry.shape, affine=rows)

    def geometry(self) -> Geometry:
        """Give the geometry back."""
        return Geometry(self.shape, np.asarray(self.affine, dtype=np.float64))


class CaseRecord(Artefact):
    """`CASE.json` beside `CASE.b2nd`. `made_from` hashes the plan's preprocessing and the raw files."""

    id: str
    original: GridRecord
    crop_start: Triple
    crop_stop: Triple
    resampled: GridRecord
    has_label: bool
    volume_sha256: str
    """Of the voxels of image and label, so that what was trained on them knows whether they are the same."""
    clicks: tuple[Click, ...] = ()
    """The interior margin points of every object, or what the user placed instead."""
    foreground: dict[int, tuple[Triple, ...]] = Field(default_factory=dict)
    """Label value -> a random sample of its voxels on the resampled grid, for drawing patches."""

    @property
    def trace(self) -> SpatialTrace:
        """The way back to the scanner's grid."""
        crop = BoundingBox(self.crop_start, self.crop_stop)
        return SpatialTrace(self.original.geometry(), crop, self.resampled.geometry())
