"""Enhanced and legacy converted enhanced PET: one file with many frames -> one classic header per frame."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from interactivepet.dataset.dicom.pet_tags import parse_datetime

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["is_multi_frame", "list_frame_headers"]

GROUPS = (
    "PixelMeasuresSequence",
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelValueTransformationSequence",
    "FrameContentSequence",
    "CardiacSynchronizationSequence",
    "TemporalPositionSequence",
    "PETFrameCorrectionFactorsSequence",
    "UnassignedSharedConvertedAttributesSequence",
    "UnassignedPerFrameConvertedAttributesSequence",
)
"""Functional groups whose attributes a classic slice has at its top level (DICOM PS3.3 C.7.6.16, A.70)."""
CORRECTIONS = {
    "DecayCorrected": "DECY",
    "AttenuationCorrected": "ATTN",
    "ScatterCorrected": "SCAT",
    "DeadTimeCorrected": "DTIM",
    "RandomsCorrected": "RAN",
    "DetectorNormalizationCorrection": "NORM",
    "SensitivityCalibrated": "DCAL",
}
"""Attribute of enhanced PET that is YES or NO -> its value in a classic CorrectedImage."""
UNITS = {
    "Bq/ml": ("BQML", None),
    "g/ml{SUVbw}": ("GML", "BW"),
    "g/ml{SUVlbm}": ("GML", "LBM"),
    "g/ml{SUVlbm(James)}": ("GML", "LBMJAMES128"),
    "g/ml{SUVlbm(Janma)}": ("GML", "LBMJANMA"),
    "g/ml{SUVibw}": ("GML", "IBW"),
    "cm2/ml{SUVbsa}": ("CM2ML", "BSA"),
    "{counts}/s": ("CPS", None),
    "{counts}": ("CNTS", None),
}
"""UCUM code of a real world value mapping (DICOM CID 84, 85) -> Units and SUVType; the first that is there is used."""


def is_multi_frame(dataset: Dataset) -> bool:
    """Whether a file describes its frames in functional groups."""
    return "PerFrameFunctionalGroupsSequence" in dataset


def list_frame_headers(dataset: Dataset) -> tuple[Dataset, ...]:
    """Give each frame's header as a classic PET slice would have it, in the order of the pixel data.

    Per-frame attributes replace shared ones, and these those of the whole file.
    """
    from pydicom.dataset import Dataset

    shared = Dataset()
    # Pixel data and the groups themselves stay behind.
    shared.update({element.tag: element for element in dataset if element.keyword not in _LEFT_OUT})
    for group in dataset.get("SharedFunctionalGroupsSequence") or ():
        _copy_groups(group, shared)
    headers: list[Dataset] = []
    for group in dataset.PerFrameFunctionalGroupsSequence:
        header = Dataset()
        header.update(shared)
        _copy_groups(group, header)
        _translate(header)
        headers.append(header)
    return tuple(headers)


_LEFT_OUT = ("PixelData", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


def _copy_groups(group: Dataset, header: Dataset) -> None:
    """Copy a functional group's attributes to the top level."""
    for keyword in GROUPS:
        for item in (group.get(keyword) or ())[:1]:
            header.update(item)
    if "RealWorldValueMappingSequence" in group:
        header.RealWorldValueMappingSequence = group.RealWorldValueMappingSequence


def _translate(header: Dataset) -> None:
    """Say in classic attributes what only enhanced ones say."""
    _translate_units(header)
    _translate_times(header)
    if "DecayCorrection" not in header and "DecayCorrected" in header:
        header.DecayCorrection = "START" if header.DecayCorrected == "YES" else "NONE"
    if "CorrectedImage" not in header and "AttenuationCorrected" in header:
        names = [name for keyword, name in CORRECTIONS.items() if header.get(keyword) == "YES"]
        header.CorrectedImage = names or ["NONE"]


def _translate_units(header: Dataset) -> None:
    """Take unit and scale from the real world value mapping, unless the classic Units are there."""
    if header.get("Units"):
        return
    mappings = {
        str(item.MeasurementUnitsCodeSequence[0].get("CodeValue")): item
        for item in header.get("RealWorldValueMappingSequence") or ()
        if item.get("MeasurementUnitsCodeSequence") and item.get("RealWorldValueSlope") is not None
    }
    for code, (units, suv_type) in UNITS.items():
        if code in mappings:
            header.Units = units
            if suv_type:
                header.SUVType = suv_type
            header.RescaleSlope = float(mappings[code].RealWorldValueSlope)
            header.RescaleIntercept = float(mappings[code].get("RealWorldValueIntercept") or 0.0)
            return


def _translate_times(header: Dataset) -> None:
    """Give AcquisitionTime, ActualFrameDuration and FrameReferenceTime from the frame's own dates and times."""
    acquired, reference, corrected_to = (
        _read_moment(header, keyword)
        for keyword in ("FrameAcquisitionDateTime", "FrameReferenceDateTime", "DecayCorrectionDateTime")
    )
    if acquired is not None:
        header.AcquisitionDate, header.AcquisitionTime = f"{acquired:%Y%m%d}", f"{acquired:%H%M%S.%f}"
    if header.get("FrameAcquisitionDuration"):
        header.ActualFrameDuration = round(float(header.FrameAcquisitionDuration))
    if "FrameReferenceTime" not in header and reference is not None and corrected_to is not None:
        header.FrameReferenceTime = f"{1000 * (reference - corrected_to).total_seconds():.1f}"


def _read_moment(header: Dataset, keyword: str) -> datetime | None:
    offset = header.get("TimezoneOffsetFromUTC")
    return parse_datetime(str(header.get(keyword) or "").strip("\0 "), local_offset=str(offset) if offset else None)
