"""Multi-frame files as single slices, for a library that refers to those only, and the references back."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

from pydicom import Dataset
from pydicom.dataelem import DataElement
from pydicom.uid import PositronEmissionTomographyImageStorage, generate_uid

from interactivepet.dataset.dicom.reference import SourceSeries

__all__ = ["restore_references", "stand_in"]


def stand_in(series: SourceSeries) -> SourceSeries:
    """Give a series whose slices of multi-frame files look like files of their own; other slices stay."""
    headers = []
    for header, frame in zip(series.headers, series.frames, strict=True):
        if frame is None:
            headers.append(header)
            continue
        single = deepcopy(header)
        single.SOPClassUID, single.SOPInstanceUID = PositronEmissionTomographyImageStorage, generate_uid()
        single.pop("NumberOfFrames", None)
        headers.append(single)
    return replace(series, headers=tuple(headers))


def restore_references(dataset: Dataset, stand_ins: SourceSeries, series: SourceSeries) -> None:
    """Let an object that refers to stand-ins refer to the files and frames of the series, in place."""
    places = {str(header.SOPInstanceUID): k for k, header in enumerate(stand_ins.headers)}

    def restore(item: Dataset, element: DataElement) -> None:
        if element.keyword == "ReferencedSOPInstanceUID" and str(element.value) in places:
            item.update(series.refer(places[str(element.value)]))

    dataset.walk(restore)
    for item in dataset.get("ReferencedSeriesSequence") or ():
        item.ReferencedInstanceSequence = series.refer_to_files()
