"""DICOM segmentation objects: segments -> masks on any grid, and masks -> segments on the frames of a series."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.config import disable_value_validation

from interactivepet.core.geometry import Geometry
from interactivepet.dataset.dicom.planes import check_inside
from interactivepet.dataset.dicom.reference import draw_on_series, read_dicom
from interactivepet.dataset.dicom.seg_frames import SegFrames, find_segments, is_label_map, read_frames
from interactivepet.dataset.dicom.seg_object import Segment, build_segmentation
from interactivepet.dataset.dicom.seg_spacing import find_slice_spacing_mm
from interactivepet.dataset.dicom.selection import MaskSummary, join_labels, select_regions
from interactivepet.dataset.files.volume import naming_file
from interactivepet.dataset.files.write import atomic_path

__all__ = [
    "SEG_CLASSES",
    "find_referenced_series",
    "has_marked_pixel",
    "list_segments",
    "read_seg",
    "summarise_seg",
    "write_seg",
]

logger = logging.getLogger(__name__)

SEG_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""Segmentation Storage and Label Map Segmentation Storage."""


def read_seg(
    path: Path, *, geometry: Geometry, segments: Sequence[str] = (), union: bool = False, slices: Sequence[Path] = ()
) -> npt.NDArray[np.uint8]:
    """Bring segments onto a grid.

    A voxel belongs to a segment when its centre lies in a marked pixel of the nearest frame within half a slice;
    on the grid that the segments were drawn on this gives them back exactly. How thick a slice is says
    `find_slice_spacing_mm`. Binary segments, label maps, and fractional segments from one half upwards.

    Args:
        path: the segmentation.
        geometry: the grid, in the frame of reference of the segments.
        segments: labels, or patterns such as `tumour*`, without regard to case. What one of them matches is one
            label, 1 ... L in this order; where labels overlap, the one that was asked for first stays. None
            given, every segment is a label, in the order of `list_segments`.
        union: everything that was chosen is label 1.
        slices: files of the series that was segmented, as far as they are there.

    Returns:
        (I, J, K).

    Raises:
        CaseError: no segmentation, no segment of that name, segments outside of the grid, slices of unknown depth, or
            pixels that cannot be decoded.
    """
    dataset = _read(path)
    listed = _list_segments(dataset, path)
    groups = select_regions([name for _, name in listed], segments, union=union, source=f"{path}: segment")
    frames = _read_frames(dataset, path)
    spacing_mm = find_slice_spacing_mm(frames, geometry, slices=slices, source=str(path))
    masks = []
    for group in groups:
        stack = frames.stack([listed[index][0] for index in group], spacing_mm=spacing_mm)
        if stack is None:
            masks.append(np.zeros(geometry.shape, dtype=bool))
            continue
        names = ", ".join(listed[index][1] for index in group)
        check_inside(f"{path}: segment {names}", stack.find_marked_mm(), geometry=geometry)
        mask = stack.sample(geometry)
        if not mask.any():
            logger.warning("%s: segment %s contains no voxel centre of the image, so it is lost", path, names)
        masks.append(mask)
    return join_labels(masks, geometry.shape)


def list_segments(path: Path) -> tuple[str, ...]:
    """Give the labels of the segments in the file's order.

    Raises:
        CaseError: the file is no segmentation.
    """
    return tuple(name for _, name in _list_segments(_read(path), path))


def summarise_seg(path: Path) -> MaskSummary:
    """Give the labels of the segments and what they refer to; pixels are not read, so a label map has all of them.

    Raises:
        CaseError: the file is no segmentation.
    """
    dataset = _read(path)
    listed = _list_segments(dataset, path)
    with naming_file(path, AttributeError, IndexError, KeyError, TypeError, ValueError):
        numbers = {number for number, _ in listed} if is_label_map(dataset) else set(find_segments(dataset).tolist())
        series = [str(item.SeriesInstanceUID) for item in dataset.get("ReferencedSeriesSequence") or ()]
    frame = str(dataset.get("FrameOfReferenceUID") or "")
    return MaskSummary(
        regions=tuple(name for _, name in listed),
        drawn=tuple(name for number, name in listed if number in numbers),
        references=tuple(dict.fromkeys(series)),
        frames=(frame,) if frame else (),
    )


def has_marked_pixel(path: Path, segments: Collection[str]) -> bool:
    """Whether any segment of these names, with regard to case, has a pixel.

    Raises:
        CaseError: the file is no segmentation, or cannot be decoded.
    """
    dataset = _read(path)
    numbers = [number for number, name in _list_segments(dataset, path) if name.strip() in segments]
    return _read_frames(dataset, path).stack(numbers, spacing_mm=1.0) is not None


def find_referenced_series(path: Path) -> str | None:
    """Give the SeriesInstanceUID of the series that was segmented; None when none is named.

    Raises:
        CaseError: the file is no segmentation.
    """
    return next(iter(summarise_seg(path).references), None)


def write_seg(
    path: Path,
    mask: npt.NDArray[np.uint8],
    *,
    geometry: Geometry,
    labels: Mapping[str, int],
    series: Sequence[Path],
) -> None:
    """Write a mask as a binary DICOM segmentation on the frames of its series, atomically.

    Args:
        path: the file.
        mask: (I, J, K), 0 is background.
        geometry: its grid: the series' own or a part of it, axes in any order and direction.
        labels: name -> value; each becomes a segment, in rising order, also without voxels.
        series: the slices that the image was made of, in any order.

    Raises:
        CaseError: the mask does not fit the series, or holds values without a name.
    """
    with disable_value_validation():
        drawn = draw_on_series(mask, geometry, labels=labels, series=series, name=str(path))
        numbers = np.zeros(256, dtype=np.uint8)
        numbers[[value for _, value in drawn.regions]] = np.arange(1, len(drawn.regions) + 1)
        segments = [Segment(name, name) for name, _ in drawn.regions]
        dataset = build_segmentation(numbers[drawn.mask], segments, source=drawn.source)
        with atomic_path(path) as partial:
            dataset.save_as(partial)


def _read(path: Path) -> Dataset:
    return read_dicom(path, classes=SEG_CLASSES, kind="a DICOM segmentation")


def _read_frames(dataset: Dataset, path: Path) -> SegFrames:
    with naming_file(path, AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
        return read_frames(dataset, source=str(path))


def _list_segments(dataset: Dataset, path: Path) -> list[tuple[int, str]]:
    """Give number and label; 0 is the background of a label map."""
    items = dataset.get("SegmentSequence") or ()
    with naming_file(path, AttributeError, TypeError, ValueError):
        numbers = [int(item.SegmentNumber) for item in items]
    return [(n, str(item.get("SegmentLabel") or "")) for n, item in zip(numbers, items, strict=True) if n > 0]
