"""Frames of a DICOM segmentation with their places in space."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from interactivepet.dataset.dicom.files import decode_pixels
from interactivepet.dataset.dicom.planes import PlaneStack, group_positions
from interactivepet.errors import CaseError

__all__ = ["SegFrames", "find_segments", "is_label_map", "read_frames"]

_ORIENTATION_TOLERANCE = 1e-4
"""Largest difference between direction cosines, or in mm between pixel spacings, of frames that are parallel."""
_DRIFT_PIXELS = 0.25
"""Frames may be shifted sideways against each other by this part of a pixel: positions are stored with few digits."""
_TO_RAS = np.array([-1.0, -1.0, 1.0])
_MEASURES = "PixelMeasuresSequence"


@dataclass(frozen=True, slots=True, eq=False)
class SegFrames:
    """Frames as they are stored.

    Attributes:
        affine: (4, 4) float64, (column, row, mm along the normal) -> RAS+ mm.
        positions_mm: (F,) float64, of every frame along the normal.
        values: (F, columns, rows): 0 or 1, or segment numbers in a label map.
        segments: (F,) segment number of every frame; None in a label map.
        stated_spacing_mm: SpacingBetweenSlices; None when it is missing or 0.
        thickness_mm: SliceThickness; None when it is missing or 0.
    """

    affine: npt.NDArray[np.float64]
    positions_mm: npt.NDArray[np.float64]
    values: npt.NDArray[np.unsignedinteger[Any]]
    segments: npt.NDArray[np.int64] | None
    stated_spacing_mm: float | None
    thickness_mm: float | None

    def stack(self, numbers: Collection[int], *, spacing_mm: float) -> PlaneStack | None:
        """Join segments to one mask, each frame as thick as a slice; None when they have no marked pixel."""
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
        return PlaneStack(self.affine, positions, masks, spacing_mm / 2)


def read_frames(dataset: Dataset, *, source: str) -> SegFrames:
    """Decode the frames.

    Args:
        dataset: the segmentation.
        source: file, for messages.

    Raises:
        CaseError: frames of different orientation or pixel spacing, or shifted sideways; or pixels that cannot be
            decoded.
        Exception: of pydicom, where the object is incomplete.
    """
    orientation = _collect(dataset, "PlaneOrientationSequence", "ImageOrientationPatient")
    spacing = _collect(dataset, _MEASURES, "PixelSpacing")
    if max(np.ptp(orientation, axis=0).max(), np.ptp(spacing, axis=0).max()) > _ORIENTATION_TOLERANCE:
        raise CaseError(
            f"{source}: its frames have several orientations or pixel spacings, expected parallel slices of one grid; "
            "export each part as a segmentation of its own"
        )
    corners = _collect(dataset, "PlanePositionSequence", "ImagePositionPatient") * _TO_RAS
    affine = _find_affine(orientation[0], spacing[0], corners[0])
    placed = (corners - corners[0]) @ np.linalg.inv(affine[:3, :3]).T
    if np.abs(placed[:, :2]).max() > _DRIFT_PIXELS:
        raise CaseError(
            f"{source}: its frames are shifted sideways by up to {np.abs(placed[:, :2]).max():.1f} pixels, expected "
            "one straight stack; resample the segmentation to slices at right angles to their normal"
        )
    measures = _get_groups(dataset, _MEASURES)[0]
    return SegFrames(
        affine=affine,
        positions_mm=placed[:, 2],
        values=_read_values(dataset, source=source),
        segments=None if is_label_map(dataset) else find_segments(dataset),
        stated_spacing_mm=abs(float(measures.get("SpacingBetweenSlices") or 0)) or None,
        thickness_mm=abs(float(measures.get("SliceThickness") or 0)) or None,
    )


def is_label_map(dataset: Dataset) -> bool:
    """Whether pixels hold segment numbers, and frames belong to no segment."""
    return str(dataset.SegmentationType) == "LABELMAP"


def find_segments(dataset: Dataset) -> npt.NDArray[np.int64]:
    """Give the segment number of every frame, (F,); not for label maps."""
    return _collect(dataset, "SegmentIdentificationSequence", "ReferencedSegmentNumber").astype(np.int64)


def _get_groups(dataset: Dataset, sequence: str) -> list[Dataset]:
    """Give every frame's own item of a functional group, or the one that all share."""
    shared = dataset.SharedFunctionalGroupsSequence[0]
    return [(item.get(sequence) or shared.get(sequence))[0] for item in dataset.PerFrameFunctionalGroupsSequence]


def _collect(dataset: Dataset, sequence: str, keyword: str) -> npt.NDArray[np.float64]:
    return np.array([item[keyword].value for item in _get_groups(dataset, sequence)], dtype=np.float64)


def _find_affine(
    orientation: npt.NDArray[np.float64], spacing: npt.NDArray[np.float64], corner: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Give (4, 4), (column, row, mm along the normal) -> RAS+ mm, from (6,), (between rows, columns) and (3,)."""
    across, down = orientation.reshape(2, 3) * _TO_RAS
    affine = np.eye(4)
    affine[:3, :3] = np.stack([across * spacing[1], down * spacing[0], np.cross(across, down)], axis=1)
    affine[:3, 3] = corner
    return affine


def _read_values(dataset: Dataset, *, source: str) -> npt.NDArray[np.unsignedinteger[Any]]:
    """Give (F, columns, rows); a fraction counts from one half upwards."""
    decoded = decode_pixels(dataset, source=source)
    stored: npt.NDArray[Any] = decoded.reshape(-1, dataset.Rows, dataset.Columns).transpose(0, 2, 1)
    if dataset.SegmentationType != "FRACTIONAL":
        return stored
    return (2 * stored.astype(np.uint16) >= int(dataset.MaximumFractionalValue)).astype(np.uint8)
