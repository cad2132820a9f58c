"""The DICOM object that carries segments: numbered voxels on the slices of their series, as a segmentation."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.uid import generate_uid

from interactivepet.dataset.dicom.identity import copy_identity, hide_identity
from interactivepet.dataset.dicom.reference import SourceSeries
from interactivepet.dataset.dicom.stand_ins import restore_references, stand_in
from interactivepet.dataset.dicom.structure_set import COLOURS, MANUFACTURER, SERIES_NUMBER
from interactivepet.version import __version__

if TYPE_CHECKING:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentDescription
    from pydicom.sr.coding import Code

__all__ = ["Segment", "build_segmentation", "find_codes"]

_LEAST_16_BIT = 256
_TUMOUR_WORDS = (
    *("tumour", "tumor", "lesion", "gtv", "cancer", "carcinoma", "sarcoma", "lymphoma", "neoplasm", "metast"),
    *("malignan", "nodule", "node", "mass"),
)
"""A label with one of these in its name is coded as a neoplasm, any other as tissue."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment.

    Attributes:
        name: that viewers show.
        label: of the mask that it belongs to; decides how it is coded.
        tracking_uid: by which a report names it, with `name` as tracking identifier; empty without a report.
    """

    name: str
    label: str
    tracking_uid: str = ""


def build_segmentation(
    numbers: npt.NDArray[np.integer], segments: Sequence[Segment], *, source: SourceSeries
) -> Dataset:
    """Build a binary segmentation on the frames of a series.

    Args:
        numbers: (columns, rows, slices) of the series, 0 is background and n the n-th segment.
        segments: the segments 1 ... N, also those without voxels; at least one.
        source: what was segmented.
    """
    stand_ins = stand_in(source)
    width = np.uint8 if len(segments) < _LEAST_16_BIT else np.uint16
    dataset = _build(numbers.transpose(2, 1, 0).astype(width), segments, series=stand_ins)
    restore_references(dataset, stand_ins, source)
    copy_identity(dataset, source.headers[0], texts=[segment.name for segment in segments])
    # The library leaves it out where slices without a marked pixel have no frame.
    measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.SpacingBetweenSlices = f"{source.geometry.spacing_mm[2]:.6g}"
    return dataset


def find_codes(label: str) -> tuple[Code, Code]:
    """Give category and type of what a label stands for, as codes of SNOMED CT."""
    from pydicom.sr.codedict import codes

    if any(word in label.casefold() for word in _TUMOUR_WORDS):
        return codes.SCT.MorphologicallyAbnormalStructure, codes.SCT.Neoplasm
    return codes.SCT.Tissue, codes.SCT.Tissue


def _build(frames: npt.NDArray[np.unsignedinteger], segments: Sequence[Segment], *, series: SourceSeries) -> Dataset:
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
            segment_descriptions=_describe(segments),
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


def _describe(segments: Sequence[Segment]) -> list[SegmentDescription]:
    """Describe the segments 1 ... N with codes of SNOMED CT."""
    import highdicom
    from pydicom.sr.codedict import codes

    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=MANUFACTURER, family=codes.DCM.ArtificialIntelligence, version=__version__
    )
    return [_describe_one(number, segment, algorithm) for number, segment in enumerate(segments, start=1)]


def _describe_one(number: int, segment: Segment, algorithm: AlgorithmIdentificationSequence) -> SegmentDescription:
    import highdicom

    category, kind = find_codes(segment.label)
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=segment.name,
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.SEMIAUTOMATIC,
        algorithm_identification=algorithm,
        tracking_uid=segment.tracking_uid or None,
        tracking_id=segment.name if segment.tracking_uid else None,
        display_color=highdicom.color.CIELabColor.from_rgb(*COLOURS[(number - 1) % len(COLOURS)]),
    )
