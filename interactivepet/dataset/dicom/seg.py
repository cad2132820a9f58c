"""DICOM segmentation objects: segments -> masks on any grid, and masks -> segments on the frames of a series."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.config import disable_value_validation
from pydicom.uid import generate_uid

from interactivepet.core.geometry import Geometry
from interactivepet.dataset.dicom.identity import copy_identity, hide_identity
from interactivepet.dataset.dicom.planes import check_inside
from interactivepet.dataset.dicom.reference import SourceSeries, draw_on_series, read_dicom
from interactivepet.dataset.dicom.seg_frames import SegFrames, find_segments, is_label_map, read_frames
from interactivepet.dataset.dicom.seg_spacing import find_slice_spacing_mm
from interactivepet.dataset.dicom.selection import MaskSummary, join_labels, select_regions
from interactivepet.dataset.dicom.stand_ins import restore_references, stand_in
from interactivepet.dataset.dicom.structure_set import COLOURS, MANUFACTURER, SERIES_NUMBER
from interactivepet.dataset.files.volume import naming_file
from interactivepet.dataset.files.write import atomic_path
from interactivepet.version import __version__

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription

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
TUMOUR_WORDS = (
    *("tumour", "tumor", "lesion", "gtv", "cancer", "carcinoma", "sarcoma", "lymphoma", "neoplasm", "metast"),
    *("malignan", "nodule", "node", "mass"),
)
"""A label with one of these in its name is coded as a neoplasm, any other as tissue."""


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
        frames = numbers[drawn.mask].transpose(2, 1, 0)
        names = [name for name, _ in drawn.regions]
        stand_ins = stand_in(drawn.source)
        dataset = _build(frames, names, series=stand_ins)
        restore_references(dataset, stand_ins, drawn.source)
        copy_identity(dataset, drawn.source.headers[0], texts=names)
        # The library leaves it out where slices without a marked pixel have no frame.
        measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        measures.SpacingBetweenSlices = f"{drawn.source.geometry.spacing_mm[2]:.6g}"
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


def _build(frames: npt.NDArray[np.uint8], names: Sequence[str], *, series: SourceSeries) -> Dataset:
    """Build the object from segment numbers (slice, row, column), without patient and study."""
    from highdicom import PixelMeasuresSequence
    from highdicom.seg import Segmentation, SegmentationTypeValues

    first, distance_mm = hide_identity(series.headers[0]), series.geometry.spacing_mm[2]
    first.SliceThickness = first.get("SliceThickness") or distance_mm
    measures = PixelMeasuresSequence(
        pixel_spacing=first.PixelSpacing,
        slice_thickness=float(first.SliceThickness),
        spacing_between_slices=distance_mm,
    )
    with warnings.catch_warnings():
        # Pseudonyms are no person names in the form that the standard asks for.
        warnings.filterwarnings("ignore", message=".*person name")
        return Segmentation(
            source_images=[first, *series.headers[1:]],
            pixel_array=frames,
            segmentation_type=SegmentationTypeValues.BINARY,
            segment_descriptions=_describe(names),
            series_instance_uid=generate_uid(),
            series_number=SERIES_NUMBER + 1,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=MANUFACTURER,
            software_versions=__version__,
            device_serial_number="0",
            series_description=MANUFACTURER,
            specific_character_set=None,
            pixel_measures=measures,
            # An object without any frame is not allowed, so a mask without a lesion keeps its empty ones.
            omit_empty_frames=bool(frames.any()),
        )


def _describe(names: Sequence[str]) -> list[SegmentDescription]:
    """Describe the segments 1 ... N with codes of SNOMED CT."""
    import highdicom
    from pydicom.sr.codedict import codes

    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=MANUFACTURER, family=codes.DCM.ArtificialIntelligence, version=__version__
    )
    descriptions = []
    for number, name in enumerate(names, start=1):
        is_tumour = any(word in name.casefold() for word in TUMOUR_WORDS)
        category = codes.SCT.MorphologicallyAbnormalStructure if is_tumour else codes.SCT.Tissue
        descriptions.append(
            highdicom.seg.SegmentDescription(
                segment_number=number,
                segment_label=name,
                segmented_property_category=category,
                segmented_property_type=codes.SCT.Neoplasm if is_tumour else codes.SCT.Tissue,
                algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.SEMIAUTOMATIC,
                algorithm_identification=algorithm,
                display_color=highdicom.color.CIELabColor.from_rgb(*COLOURS[(number - 1) % len(COLOURS)]),
            )
        )
    return descriptions
