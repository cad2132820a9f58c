"""The DICOM object that carries contours: a mask's outlines on the slices of its series, as an RT structure set."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from interactivepet.dataset.dicom.contours import trace_mask
from interactivepet.dataset.dicom.identity import copy_identity
from interactivepet.dataset.dicom.reference import SourceSeries
from interactivepet.version import __version__

__all__ = ["COLOURS", "MANUFACTURER", "SERIES_NUMBER", "build_structure_set"]

MANUFACTURER = "interactivepet"
SERIES_NUMBER = 1000
"""Of what is written beside a scanner's own series, which count from 1."""
COLOURS = ((230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 130, 200), (245, 130, 48), (70, 240, 240), (240, 50, 230))
"""RGB of the labels in turn, told apart on a grey image."""

_STUDY_MANAGEMENT = "1.2.840.10008.3.1.2.3.1"
_COORDINATE_DIGITS = 3
"""Micrometres; DICOM allows 16 characters a number."""


def build_structure_set(
    mask: npt.NDArray[np.uint8], labels: Sequence[tuple[str, int]], *, series: SourceSeries
) -> Dataset:
    """Build a structure set with one region a label, also for a label without voxels.

    Args:
        mask: (columns, rows, slices) of the series.
        labels: (name, value) in the order of the regions.
        series: what the mask was drawn on.
    """
    dataset = _start(series, [name for name, _ in labels])
    dataset.ReferencedFrameOfReferenceSequence = [_refer(series)]
    dataset.StructureSetROISequence = []
    dataset.ROIContourSequence = []
    dataset.RTROIObservationsSequence = []
    for number, (name, value) in enumerate(labels, start=1):
        dataset.StructureSetROISequence.append(_name_region(number, name, frame=dataset.FrameOfReferenceUID))
        contours = Dataset()
        contours.ReferencedROINumber = number
        contours.SourcePixelPlanesCharacteristicsSequence = [_describe_planes(series)]
        contours.ROIDisplayColor = list(COLOURS[(number - 1) % len(COLOURS)])
        if outlines := _draw(mask == value, series):
            contours.ContourSequence = outlines
        dataset.ROIContourSequence.append(contours)
        dataset.RTROIObservationsSequence.append(_observe_region(number))
    return dataset


def _name_region(number: int, name: str, *, frame: str) -> Dataset:
    roi = Dataset()
    roi.ROINumber = number
    roi.ReferencedFrameOfReferenceUID = frame
    roi.ROIName = name
    roi.ROIGenerationAlgorithm = "SEMIAUTOMATIC"
    return roi


def _describe_planes(series: SourceSeries) -> Dataset:
    """Describe the slices that were drawn on, so that readers tell a slice without a contour from one left out."""
    planes, first = Dataset(), series.headers[0]
    planes.PixelSpacing = first.PixelSpacing
    planes.SpacingBetweenSlices = f"{series.geometry.spacing_mm[2]:.6g}"
    planes.ImageOrientationPatient = first.ImageOrientationPatient
    planes.ImagePositionPatient = first.ImagePositionPatient
    planes.NumberOfFrames = len(series.headers)
    planes.Rows, planes.Columns = first.Rows, first.Columns
    return planes


def _observe_region(number: int) -> Dataset:
    observation = Dataset()
    observation.ObservationNumber = number
    observation.ReferencedROINumber = number
    observation.RTROIInterpretedType = ""
    observation.ROIInterpreter = ""
    return observation


def _start(series: SourceSeries, names: Sequence[str]) -> Dataset:
    """Make everything but the regions."""
    now = datetime.now()
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    # With explicit types a contour of more than 64 kB could not be told its length.
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.SOPClassUID = RTStructureSetStorage
    dataset.SOPInstanceUID = generate_uid()
    dataset.InstanceCreationDate = dataset.StructureSetDate = now.strftime("%Y%m%d")
    dataset.InstanceCreationTime = dataset.StructureSetTime = now.strftime("%H%M%S")
    copy_identity(dataset, series.headers[0], texts=names)
    dataset.Modality = "RTSTRUCT"
    dataset.SeriesInstanceUID = generate_uid()
    dataset.SeriesNumber = SERIES_NUMBER
    dataset.SeriesDescription = dataset.StructureSetLabel = MANUFACTURER
    dataset.OperatorsName = ""
    dataset.Manufacturer = dataset.ManufacturerModelName = MANUFACTURER
    dataset.SoftwareVersions = __version__
    dataset.ApprovalStatus = "UNAPPROVED"
    return dataset


def _refer(series: SourceSeries) -> Dataset:
    """Name every file of the series."""
    referenced = Dataset()
    referenced.SeriesInstanceUID = series.uid
    referenced.ContourImageSequence = series.refer_to_files()
    study = Dataset()
    study.ReferencedSOPClassUID = _STUDY_MANAGEMENT
    study.ReferencedSOPInstanceUID = series.headers[0].StudyInstanceUID
    study.RTReferencedSeriesSequence = [referenced]
    frame = Dataset()
    frame.FrameOfReferenceUID = series.headers[0].FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    return frame


def _draw(mask: npt.NDArray[np.bool_], series: SourceSeries) -> list[Dataset]:
    """Trace one label on every slice; holes hang on their outline by a keyhole."""
    drawn: list[Dataset] = []
    for index in np.flatnonzero(mask.any(axis=(0, 1))):
        for polygon in trace_mask(mask[:, :, index]):
            contour = Dataset()
            contour.ContourNumber = len(drawn) + 1
            contour.ContourImageSequence = [series.refer(int(index))]
            contour.ContourGeometricType = "CLOSED_PLANAR"
            contour.NumberOfContourPoints = len(polygon)
            points = series.to_lps(int(index), polygon)
            contour.ContourData = [f"{value:.{_COORDINATE_DIGITS}f}" for value in points.ravel()]
            drawn.append(contour)
    return drawn
