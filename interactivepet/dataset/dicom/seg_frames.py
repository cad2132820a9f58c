"""Frames of a DICOM segmentation with their places in space."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from interactivepet.dataset.dicom.planes import PlaneStack, group_positions
from interactivepet.errors import CaseError

__all__ = ["SegFrames", "read_frames"]

_ORIENTATION_TOLERANCE = 1e-4
"""Largest difference between direction cosines, or in mm between pixel spacings, of frames that are parallel."""
_TO_RAS = np.array([-1.0, -1.0, 1.0])
_SEGMENT = ("SegmentIdentificationSequence", "ReferencedSegmentNumber")
_MEASURES = "PixelMeasuresSequence"


@dataclass(frozen=True, slots=True, eq=False)
class SegFrames:
    """Frames as they are stored.

    Attributes:
        affine: (4, 4) float64, (column, row, mm along the normal) -> RAS+ mm.
        positions_mm: (F,) float64, of every frame along the normal.
        values: (F, columns, rows): 0 or 1, or segment numbers in a label map.
        segments: (F,) segment number of every frame; None in a label map.
        spacing_mm: between neighbouring slices.
    """

    affine: npt.NDArray[np.float64]
    positions_mm: npt.NDArray[np.float64]
    values: npt.NDArray[np.uint8]
    segments: npt.NDArray[np.int64] | None
    spacing_mm: float

    def stack(self, numbers: Collection[int]) -> PlaneStack | None:
        """Join segments to one mask; None when they have no marked pixel."""
        wanted = np.asarray(sorted(numbers))
        if self.segments is None:
            marked = np.isin(self.values, wanted)
        else:
            marked = (self.values > 0) & np.isin(self.segments, wanted)[:, None, None]
        frames = np.flatnonzero(marked.any(axis=(1, 2)))
        if frames.size == 0:
            return None
        positions, plane = group_positions(self.positions_mm[frames])
        masks = np.zeros((len(positions), *marked.shape[1:]), dtype=bool)
        for index, frame in zip(plane, frames, strict=True):
            masks[index] |= marked[frame]
        return PlaneStack(self.affine, positions, masks, self.spacing_mm / 2)


def read_frames(dataset: Dataset) -> SegFrames:
    """Decode the frames.

    Raises:
        CaseError: frames of different orientation or pixel spacing.
        Exception: of pydicom, where the object is incomplete or its compression is not known.
    """
    shared = dataset.SharedFunctionalGroupsSequence[0]
    items = dataset.PerFrameFunctionalGroupsSequence

    def collect(sequence: str, keyword: str) -> npt.NDArray[np.float64]:
        return np.array([(item.get(sequence) or shared.get(sequence))[0][keyword].value for item in items], dtype=float)

    orientation = collect("PlaneOrientationSequence", "ImageOrientationPatient")
    spacing = collect(_MEASURES, "PixelSpacing")
    if max(np.ptp(orientation, axis=0).max(), np.ptp(spacing, axis=0).max()) > _ORIENTATION_TOLERANCE:
        raise CaseError("its frames have several orientations or pixel spacings, expected parallel slices of one grid")
    corners = collect("PlanePositionSequence", "ImagePositionPatient") * _TO_RAS
    across, down = orientation[0].reshape(2, 3) * _TO_RAS
    normal = np.cross(across, down)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([across * spacing[0, 1], down * spacing[0, 0], normal], axis=1)
    affine[:3, 3] = corners[0]
    positions = (corners - corners[0]) @ normal
    is_label_map = dataset.SegmentationType == "LABELMAP"
    return SegFrames(
        affine=affine,
        positions_mm=positions,
        values=_read_values(dataset),
        segments=None if is_label_map else collect(*_SEGMENT).astype(np.int64),
        spacing_mm=_find_spacing_mm((items[0].get(_MEASURES) or shared.get(_MEASURES))[0], positions),
    )


def _read_values(dataset: Dataset) -> npt.NDArray[np.uint8]:
    """Give (F, columns, rows); a fraction counts from one half upwards."""
    stored: npt.NDArray[Any] = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns).transpose(0, 2, 1)
    if dataset.SegmentationType != "FRACTIONAL":
        return stored.astype(np.uint8, copy=False)
    return (2 * stored.astype(np.uint16) >= int(dataset.MaximumFractionalValue)).astype(np.uint8)


def _find_spacing_mm(measures: Dataset, positions_mm: npt.NDArray[np.float64]) -> float:
    """Take the stated spacing, else the usual distance between frames, else the thickness of the only one."""
    stated = measures.get("SpacingBetweenSlices")
    gaps = np.diff(group_positions(positions_mm)[0])
    if stated is not None and float(stated) > 0:
        return float(stated)
    return float(np.median(gaps)) if gaps.size else float(measures.SliceThickness)
