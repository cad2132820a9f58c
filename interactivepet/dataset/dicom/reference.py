"""The image series that a mask was drawn on: its slices in order, its grid, and the mask on it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from interactivepet.core.geometry import Geometry
from interactivepet.dataset.dicom.files import read_file
from interactivepet.dataset.dicom.selection import order_labels
from interactivepet.dataset.dicom.series import RAS_FROM_LPS, arrange_slices, has_numbers
from interactivepet.dataset.dicom.slices import read_slices
from interactivepet.dataset.dicom.time_frames import split_by_time
from interactivepet.dataset.files.volume import describe_mismatch
from interactivepet.errors import CaseError

__all__ = [
    "SERIES_TOLERANCE_MM",
    "DrawnMask",
    "SourceSeries",
    "draw_on_series",
    "is_part_of",
    "place_mask",
    "read_dicom",
    "read_source",
]

SERIES_TOLERANCE_MM = 0.1
"""A mask's grid may be this far from its series': slice positions are stored with few digits."""

logger = logging.getLogger(__name__)

IntArray = npt.NDArray[np.int64]
_GEOMETRIC = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")
_NEEDED = ("FrameOfReferenceUID", "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")


@dataclass(frozen=True, slots=True, eq=False)
class SourceSeries:
    """Slices of one series.

    Attributes:
        headers: one per slice, without pixels, in the order of k; of a multi-frame file, as a classic slice has it.
        geometry: axes (column, row, slice).
        frames: number from 1 of each slice in its multi-frame file; None for a file of one slice.
    """

    headers: tuple[Dataset, ...]
    geometry: Geometry
    frames: tuple[int | None, ...]

    @property
    def uid(self) -> str:
        """SeriesInstanceUID."""
        return str(self.headers[0].SeriesInstanceUID)

    def refer(self, k: int) -> Dataset:
        """Make an item that refers to slice k."""
        item = Dataset()
        item.ReferencedSOPClassUID = self.headers[k].SOPClassUID
        item.ReferencedSOPInstanceUID = self.headers[k].SOPInstanceUID
        frame = self.frames[k]
        if frame is not None:
            item.ReferencedFrameNumber = frame
        return item

    def refer_to_files(self) -> list[Dataset]:
        """Make an item for each file of the series."""
        items: dict[str, Dataset] = {}
        for k in range(len(self.headers)):
            item = self.refer(k)
            item.pop("ReferencedFrameNumber", None)
            items.setdefault(str(item.ReferencedSOPInstanceUID), item)
        return list(items.values())

    def to_lps(self, k: int, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Convert (column, row) on slice k, shape (N, 2), to DICOM's LPS mm, shape (N, 3).

        The slice's own position counts, so that contours lie on it to the last digit.
        """
        steps = RAS_FROM_LPS[:3, :3] @ self.geometry.affine[:3, :2]
        origin = np.array([float(x) for x in self.headers[k].ImagePositionPatient])
        place: npt.NDArray[np.float64] = points @ steps.T + origin
        return place


@dataclass(frozen=True, slots=True, eq=False)
class DrawnMask:
    """A mask on the slices of a series, ready to be written as DICOM.

    Attributes:
        mask: (columns, rows, slices), 0 is background.
        regions: name and value of every label in rising order of the values.
        source: the series.
    """

    mask: npt.NDArray[np.uint8]
    regions: tuple[tuple[str, int], ...]
    source: SourceSeries


def draw_on_series(
    mask: npt.NDArray[np.uint8],
    geometry: Geometry,
    *,
    labels: Mapping[str, int],
    series: Sequence[Path],
    name: str,
) -> DrawnMask:
    """Bring a mask onto the slices of its series.

    Args:
        mask: (I, J, K), 0 is background.
        geometry: its grid: the series' own or a part of it, axes in any order and direction.
        labels: name -> value of every label, with voxels in this mask or not.
        series: the slices that the image was made of, in any order.
        name: of the mask, for messages.

    Raises:
        CaseError: the series cannot be read, the mask does not fit it, or it holds values without a name.
    """
    source = read_source(series)
    regions = order_labels(mask, labels, name=name)
    return DrawnMask(place_mask(mask, geometry, whole=source.geometry, name=name), regions, source)


def read_dicom(path: Path, *, classes: Sequence[str], kind: str) -> Dataset:
    """Read a file and check what it is.

    Args:
        path: the file.
        classes: SOP class UIDs that are accepted.
        kind: what they are, for the message.

    Raises:
        CaseError: the file cannot be read, or is of another class.
    """
    try:
        dataset = read_file(path)
    except Exception as error:  # pydicom raises whatever the damage leads to
        raise CaseError(f"{path}: cannot be read as {kind} ({error}); copy or export it again") from error
    found = dataset.get("SOPClassUID")
    if found not in classes:
        name = getattr(found, "name", None) or "DICOM of no known class"
        raise CaseError(f"{path}: it is {name}, expected {kind}; choose another file")
    return dataset


def read_source(paths: Sequence[Path]) -> SourceSeries:
    """Read the headers of a series and put its slices in order; of a dynamic series, those of its first frame.

    Raises:
        CaseError: there is no file, one cannot be read or lacks a tag, or they are not the slices of one series on
            one regular grid.
    """
    if not paths:
        raise CaseError("no DICOM file was given, expected the slices of a series")
    slices = read_slices(paths)
    for one in slices:
        geometric = [keyword for keyword in _GEOMETRIC if not has_numbers(one.header, keyword)]
        if missing := [*geometric, *(keyword for keyword in _NEEDED if not one.header.get(keyword))]:
            raise CaseError(f"{one.path}: lacks {', '.join(missing)}, expected a slice that can be referred to")
    if len(uids := {str(one.header.SeriesInstanceUID) for one in slices}) > 1:
        raise CaseError(f"{paths[0].parent}: slices of {len(uids)} series, expected one; give the files of one series")
    times = split_by_time(slices)
    if len(times) > 1:
        logger.info("%s: %d frames in time; masks refer to the slices of the first", paths[0].parent, len(times))
    first = [slices[index] for index in times[0]]
    try:
        order = arrange_slices([one.header for one in first], [one.path for one in first])
    except CaseError as error:
        raise CaseError(f"{paths[0].parent}: {error}") from error
    ordered = [first[index] for index in order.indices]
    return SourceSeries(
        tuple(one.header for one in ordered),
        order.geometry,
        tuple(None if one.frame is None else one.frame + 1 for one in ordered),
    )


def is_part_of(geometry: Geometry, whole: Geometry) -> bool:
    """Whether a grid's voxels are voxels of another one, whatever the order and direction of the axes."""
    return _align(geometry, whole) is not None


def place_mask(mask: npt.NDArray[np.uint8], geometry: Geometry, *, whole: Geometry, name: str) -> npt.NDArray[np.uint8]:
    """Bring a mask to another grid with the same voxels: permuted, flipped and padded, never resampled.

    Args:
        mask: (I, J, K).
        geometry: its grid, a part of `whole` or all of it, axes in any order and direction.
        whole: the grid of a series, axes (column, row, slice).
        name: of the mask, for messages.

    Returns:
        (columns, rows, slices).

    Raises:
        CaseError: the voxels of the mask are not those of the series.
    """
    alignment = _align(geometry, whole)
    if alignment is None:
        found = describe_mismatch("mask", geometry, other_name="series", other=whole)
        raise CaseError(
            f"{name}: {found}, expected the voxels of the series or a part of them (tolerance {SERIES_TOLERANCE_MM} "
            "mm); give the series that the image came from, or resample the mask"
        )
    turn, start = alignment
    order = [int(axis) for axis in np.argmax(np.abs(turn), axis=1)]
    turned = mask.transpose(order)[tuple(slice(None, None, int(turn[axis, order[axis]])) for axis in range(3))]
    placed = np.zeros(whole.shape, dtype=np.uint8)
    placed[tuple(slice(a, a + n) for a, n in zip(start, turned.shape, strict=True))] = turned
    return placed


def _align(geometry: Geometry, whole: Geometry) -> tuple[IntArray, IntArray] | None:
    """Find the signed permutation (3, 3) of the axes and the lowest voxel (3,) of a part in its whole."""
    matrix = np.linalg.inv(whole.affine) @ geometry.affine
    matrix[:3] = np.rint(matrix[:3])
    turn, origin = matrix[:3, :3], matrix[:3, 3]
    ends = np.stack([origin, origin + turn @ (np.asarray(geometry.shape) - 1)])
    is_permuted = np.array_equal(np.abs(turn) @ np.abs(turn).T, np.eye(3))
    is_inside = bool((ends >= 0).all() and (ends < whole.shape).all())
    aligned = Geometry(geometry.shape, whole.affine @ matrix)
    if not (is_permuted and is_inside and geometry.matches(aligned, SERIES_TOLERANCE_MM)):
        return None
    return turn.astype(np.int64), ends.min(axis=0).astype(np.int64)
