"""DICOM structured reports (TID 1500): measures of lesions, over a segmentation of one segment per lesion.

Source:
    PS3.16: TID 1500 (measurement report), TID 1411 (volumetric region), TID 1501 (measurement group), CID 85 (units of
    SUV), CID 7464 (maximum, mean and peak as derivations), CID 7466 (total lesion glycolysis).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.config import disable_value_validation
from pydicom.uid import generate_uid

from interactivepet.core.components import number_lesions
from interactivepet.core.geometry import Geometry
from interactivepet.core.measures import MeasuredRegion
from interactivepet.core.uptake import UptakeUnit
from interactivepet.dataset.dicom.identity import copy_identity, hide_identity
from interactivepet.dataset.dicom.reference import DrawnMask, SourceSeries, draw_on_series
from interactivepet.dataset.dicom.seg_object import Segment, build_segmentation, find_codes
from interactivepet.dataset.dicom.sr_codes import MeasureCode, find_procedure, list_codes
from interactivepet.dataset.dicom.structure_set import MANUFACTURER, SERIES_NUMBER
from interactivepet.dataset.files.write import atomic_path
from interactivepet.errors import CaseError
from interactivepet.version import __version__

if TYPE_CHECKING:
    from highdicom.sr import AlgorithmIdentification, Measurement, ObservationContext

__all__ = ["PATIENT", "SR_SEGMENTATION_ENDING", "write_sr"]

PATIENT = "all lesions"
"""Tracking identifier of the patient's totals."""
SR_SEGMENTATION_ENDING = ".lesions.seg.dcm"
"""Of the segmentation that `CASE.sr.dcm` refers to."""
_ROOM = 64 - len(" 65535")
"""Characters of a label in a segment's name, which has at most 64 and ends with the lesion's number."""


@dataclass(frozen=True, slots=True, eq=False)
class _Finding:
    """A lesion, its segment in the segmentation, and what was measured in it."""

    segment: Segment
    number: int
    region: MeasuredRegion


def write_sr(
    path: Path,
    mask: npt.NDArray[np.uint8],
    *,
    geometry: Geometry,
    labels: Mapping[str, int],
    series: Sequence[Path],
    regions: Sequence[MeasuredRegion],
    unit: UptakeUnit,
) -> tuple[Path, ...]:
    """Write measures as a structured report, and beside it the segmentation that it refers to, each atomically.

    The segmentation has one segment per lesion, which the report names by tracking identifier and UID. A mask without
    a lesion gives only a report, with a volume and a number of lesions of 0. Measures without a code are left out.

    Args:
        path: the report, `CASE.sr.dcm`; the segmentation is `CASE.lesions.seg.dcm`.
        mask: (I, J, K), 0 is background.
        geometry: its grid: the series' own or a part of it, axes in any order and direction.
        labels: name -> value.
        series: the slices that the image was made of, in any order.
        regions: measures of this mask on the grid of the series: of every lesion and of the patient.
        unit: of their uptake; `unknown` leaves uptake out.

    Returns:
        The files.

    Raises:
        CaseError: the mask does not fit the series, holds values without a name, or the measures are those of another
            mask.
    """
    with disable_value_validation():
        drawn = draw_on_series(mask, geometry, labels=labels, series=series, name=str(path))
        numbers, findings = _match(drawn, regions, name=str(path))
        segmentation = None
        if findings:
            segments = [finding.segment for finding in findings]
            segmentation = build_segmentation(numbers, segments, source=drawn.source)
        totals = next((region for region in regions if region.level == "patient"), None)
        if totals is None:
            raise CaseError(f"{path}: no measures of the patient, expected one region of this level")
        report = _build(findings, totals, source=drawn.source, segmentation=segmentation, codes=list_codes(unit))
        beside = path.with_name(path.name.removesuffix(".sr.dcm") + SR_SEGMENTATION_ENDING)
        # A report whose segmentation is missing is worse than a segmentation without a report.
        path.unlink(missing_ok=True)
        beside.unlink(missing_ok=True)
        written = [(beside, segmentation)] if segmentation is not None else []
        for target, dataset in (*written, (path, report)):
            with atomic_path(target) as partial:
                dataset.save_as(partial, enforce_file_format=True)
    return (path, *(target for target, _ in written))


def _match(
    drawn: DrawnMask, regions: Sequence[MeasuredRegion], *, name: str
) -> tuple[npt.NDArray[np.int32], list[_Finding]]:
    """Number the lesions of all labels through, and give each with its measures."""
    numbers, counts = number_lesions(drawn.mask, [value for _, value in drawn.regions])
    findings: list[_Finding] = []
    for (label, _), n in zip(drawn.regions, counts, strict=True):
        own = [region for region in regions if region.level == "lesion" and region.label == label]
        if n != len(own):
            raise CaseError(
                f"{name}: the mask has {n} lesions of {label}, but {len(own)} were measured; measure this mask"
            )
        for region in own:
            segment = Segment(f"{label[:_ROOM]} {region.lesion}", label, tracking_uid=str(generate_uid()))
            findings.append(_Finding(segment, len(findings) + 1, region))
    return numbers, findings


def _build(
    findings: Sequence[_Finding],
    totals: MeasuredRegion,
    *,
    source: SourceSeries,
    segmentation: Dataset | None,
    codes: Sequence[MeasureCode],
) -> Dataset:
    """Build the report."""
    from highdicom.sr import ComprehensiveSR, MeasurementReport

    groups: list[Any] = [_describe_lesion(one, source, segmentation=segmentation, codes=codes) for one in findings]
    groups.append(_describe_patient(totals, [one.region for one in findings], codes=codes))
    content = MeasurementReport(
        observation_context=_observe(),
        procedure_reported=find_procedure(str(source.headers[0].get("Modality") or "")),
        imaging_measurements=groups,
    )
    files = list({str(header.SOPInstanceUID): header for header in source.headers}.values())
    evidence = [hide_identity(files[0]), *files[1:], *([] if segmentation is None else [segmentation])]
    with warnings.catch_warnings():
        # Pseudonyms are no person names in the form that the standard asks for.
        warnings.filterwarnings("ignore", message=".*person name")
        dataset = ComprehensiveSR(
            evidence=evidence,
            content=content[0],
            series_instance_uid=generate_uid(),
            series_number=SERIES_NUMBER + 2,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer=MANUFACTURER,
            is_complete=True,
            series_description=MANUFACTURER,
            software_versions=__version__,
        )
    copy_identity(dataset, source.headers[0], texts=[one.segment.name for one in findings])
    for keyword in ("FrameOfReferenceUID", "PositionReferenceIndicator"):
        # A report lies in no space of its own.
        dataset.pop(keyword, None)
    return dataset


def _describe_lesion(
    finding: _Finding, source: SourceSeries, *, segmentation: Dataset | None, codes: Sequence[MeasureCode]
) -> Any:
    """Describe one lesion (TID 1411)."""
    from highdicom.sr import (
        ReferencedSegment,
        SourceSeriesForSegmentation,
        TrackingIdentifier,
        VolumetricROIMeasurementsAndQualitativeEvaluations,
    )

    if segmentation is None:
        raise CaseError(f"{finding.segment.name}: a lesion without a segmentation")
    category, kind = find_codes(finding.segment.label)
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=finding.segment.tracking_uid, identifier=finding.segment.name),
        referenced_segment=ReferencedSegment(
            sop_class_uid=segmentation.SOPClassUID,
            sop_instance_uid=segmentation.SOPInstanceUID,
            segment_number=finding.number,
            source_series=SourceSeriesForSegmentation(source.uid),
        ),
        finding_type=kind,
        finding_category=category,
        algorithm_id=_name_algorithm(),
        measurements=_list_measurements(finding.region, codes),
    )


def _describe_patient(
    totals: MeasuredRegion, lesions: Sequence[MeasuredRegion], *, codes: Sequence[MeasureCode]
) -> Any:
    """Describe all lesions together (TID 1501)."""
    from highdicom.sr import MeasurementsAndQualitativeEvaluations, TrackingIdentifier

    kinds = {find_codes(region.label) for region in lesions}
    category, kind = kinds.pop() if len(kinds) == 1 else find_codes("lesion")
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=generate_uid(), identifier=PATIENT),
        finding_type=kind,
        finding_category=category,
        algorithm_id=_name_algorithm(),
        measurements=_list_measurements(totals, codes),
    )


def _list_measurements(region: MeasuredRegion, codes: Sequence[MeasureCode]) -> list[Measurement]:
    """Give the measures that have a code and a value."""
    from highdicom.sr import Measurement

    known = ((code, region.values.get(code.measure)) for code in codes)
    return [
        Measurement(name=code.name, value=float(f"{value:.9g}"), unit=code.unit, derivation=code.derivation)
        for code, value in known
        if value is not None
    ]


def _name_algorithm() -> AlgorithmIdentification:
    from highdicom.sr import AlgorithmIdentification

    return AlgorithmIdentification(name=MANUFACTURER, version=__version__)


def _observe() -> ObservationContext:
    """Name this package as the device that measured; a person only confirms it later."""
    from highdicom.sr import DeviceObserverIdentifyingAttributes, ObservationContext, ObserverContext
    from pydicom.sr.codedict import codes

    device = DeviceObserverIdentifyingAttributes(
        uid=generate_uid(entropy_srcs=[MANUFACTURER, __version__]),
        name=MANUFACTURER,
        manufacturer_name=MANUFACTURER,
        model_name=f"{MANUFACTURER} {__version__}",
    )
    observer = ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
    return ObservationContext(observer_device_context=observer)
