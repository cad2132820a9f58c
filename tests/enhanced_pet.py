"""Small synthetic multi-frame PET: enhanced, and legacy converted enhanced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from tests.dicom_series import SPACING_MM, make_header, save, stored_value

ENHANCED, LEGACY = "1.2.840.10008.5.1.4.1.1.130", "1.2.840.10008.5.1.4.1.1.128.1"
CONVERTED = ("Units", "DecayCorrection", "CorrectedImage", "AcquisitionDate", "AcquisitionTime")
"""What a converter moves into its sequence of unassigned attributes."""
N_SLICES = 6


def item(**values: Any) -> Dataset:
    """A sequence item."""
    dataset = Dataset()
    for keyword, value in values.items():
        if value is not None:
            setattr(dataset, keyword, value)
    return dataset


def write_enhanced(
    path: Path,
    *,
    order: Sequence[int] = (4, 0, 5, 2, 1, 3),
    is_legacy: bool = False,
    units: str = "Bq/ml",
    times: Sequence[Mapping[str, Any]] = ({},),
    top: Mapping[str, Any] = {},
    **changes: Any,
) -> Path:
    """Write slices of 4 rows and 5 columns, the values of `stored_value` plus 1000 for each later time.

    The frame of slice k has a rescale slope of k + 1.

    Args:
        path: of the file.
        order: k of each frame within a time, as frames lie in the file.
        is_legacy: classic attributes stay, in the converter's sequences; else enhanced ones replace them.
        units: UCUM code of the real world value mapping of enhanced PET.
        times: values of the frame content of each time; frames of all times alternate.
        top: values of the whole file, after everything else; None removes one.
        **changes: of `make_header`.
    """
    header = make_header(
        SOPClassUID=LEGACY if is_legacy else ENHANCED, RescaleSlope=None, RescaleIntercept=None, **changes
    )
    shared = item(
        PixelMeasuresSequence=[item(PixelSpacing=header.PixelSpacing, SliceThickness=header.SliceThickness)],
        PlaneOrientationSequence=[item(ImageOrientationPatient=header.ImageOrientationPatient)],
    )
    if is_legacy:
        shared.UnassignedSharedConvertedAttributesSequence = [
            item(**{keyword: header.get(keyword) for keyword in CONVERTED})
        ]
    else:
        header.DecayCorrected, header.AttenuationCorrected = "YES", "YES"
        header.DecayCorrectionDateTime = "20200102100000.000000"
    for keyword in ("PixelSpacing", "SliceThickness", "ImageOrientationPatient", *CONVERTED):
        if keyword in header:
            delattr(header, keyword)
    frames, voxels = [], []
    j, i = np.mgrid[:4, :5]
    for k in order:
        for number, content in enumerate(times):
            frames.append(_describe_frame(k, number, content=content, is_legacy=is_legacy, units=units))
            voxels.append(stored_value(i, j, k) + 1000 * number)
    header.SharedFunctionalGroupsSequence, header.PerFrameFunctionalGroupsSequence = [shared], frames
    header.SOPInstanceUID, header.NumberOfFrames = "1.2.3.4.8", len(frames)
    header.Rows, header.Columns, header.SamplesPerPixel = 4, 5, 1
    header.PhotometricInterpretation, header.PixelRepresentation = "MONOCHROME2", 0
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 16, 15
    header.PixelData = np.stack(voxels).astype("<u2").tobytes()
    for keyword, value in top.items():
        if value is None:
            delattr(header, keyword)
        else:
            setattr(header, keyword, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    save(header, path)
    return path


def _describe_frame(k: int, number: int, *, content: Mapping[str, Any], is_legacy: bool, units: str) -> Dataset:
    frame = item(
        PlanePositionSequence=[item(ImagePositionPatient=[-10.0, -20.0, 30.0 + SPACING_MM * k])],
        FrameContentSequence=[item(TemporalPositionIndex=number + 1, **content)],
    )
    if is_legacy:
        frame.PixelValueTransformationSequence = [item(RescaleSlope=k + 1, RescaleIntercept=0, RescaleType="US")]
        return frame
    # The stored values are scaled by the mapping; the transformation is the identity.
    frame.PixelValueTransformationSequence = [item(RescaleSlope=1, RescaleIntercept=0, RescaleType="US")]
    code = item(CodeValue=units, CodingSchemeDesignator="UCUM", CodeMeaning=units)
    frame.RealWorldValueMappingSequence = [
        item(RealWorldValueSlope=float(k + 1), RealWorldValueIntercept=0.0, MeasurementUnitsCodeSequence=[code])
    ]
    return frame
