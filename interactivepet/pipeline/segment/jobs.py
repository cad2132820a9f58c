"""One image that is to be segmented: a PET series, or the file of a volume."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from interactivepet.core.artefact import hash_text
from interactivepet.core.case import Case
from interactivepet.core.uptake import UNIT_OF_VARIANT, UptakeUnit
from interactivepet.dataset.dicom.case import DicomJob
from interactivepet.dataset.dicom.images import DicomReading, read_dicom_image
from interactivepet.dataset.layout import find_detached
from interactivepet.dataset.uptake_unit import find_unit
from interactivepet.model.description import ImageInputs
from interactivepet.pipeline.predict.requests import check_case, find_images

__all__ = ["SegmentJob", "load_image"]


@dataclass(frozen=True, slots=True)
class SegmentJob:
    """One case; small enough to be sent to a worker.

    Attributes:
        case: its name, unique among the results.
        source: folder of the series, or the file; for messages to the user.
        inputs: what the segmenter's images must be.
        reading: which frame of a dynamic file is taken.
        series: the PET series; None for a file.
    """

    case: str
    source: Path
    inputs: ImageInputs
    reading: DicomReading
    series: DicomJob | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that the image is read from."""
        if self.series is None:
            request = find_images(self.inputs, self.source)
            return tuple(request.list_files(request.entries[0]))
        return (*self.series.pet.paths, *(self.series.ct.paths if self.series.ct is not None else ()))

    def stamp(self) -> str:
        """Hash name, size and time of change of the files, wherever they lie.

        Raises:
            OSError: a file is missing.
        """
        parts = [self.case, repr(self.reading)]
        for path in sorted(part for whole in self.paths for part in (whole, *find_detached(whole))):
            status = path.stat()
            parts.append(f"{path.name}|{status.st_size}|{status.st_mtime_ns}")
        return hash_text(*parts)

    def load(self) -> tuple[Case, UptakeUnit]:
        """Read the image and find its unit.

        Raises:
            CaseError: it cannot be read, or cannot be what the segmenter needs.
        """
        if self.series is None:
            # which series is taken, and its uptake time, are questions of DICOM
            reading = DicomReading(time_frame=self.reading.time_frame)
            return load_image(self.source, self.inputs, reading=reading, name=self.case)
        case = read_dicom_image(self.series, channels=self.inputs.channels)
        check_case(case, self.inputs.channels)
        return case, UNIT_OF_VARIANT[self.series.variant]


def load_image(
    path: Path, inputs: ImageInputs, *, reading: DicomReading | None = None, name: str | None = None
) -> tuple[Case, UptakeUnit]:
    """Read one image and find the unit of its first channel.

    Args:
        path: a file, of several channels `CASE_0000.nii.gz` with the others beside it; or the folder of a DICOM series.
        inputs: what it must be.
        reading: which series or frame to take.
        name: of the case; by default that of the file or series.

    Raises:
        CaseError: it cannot be read, or cannot be what `inputs` say.
        ManifestError: there are several images.
    """
    request = find_images(inputs, path, reading=reading)
    case = request.load_single(channels=inputs.channels)
    check_case(case, inputs.channels)
    entry = request.entries[0]
    if entry.id in request.series:
        return case, UNIT_OF_VARIANT[request.series[entry.id].variant]
    unit = find_unit(request.list_files(entry)[0], case.image[0], case=entry.id, channel=inputs.channels[0])
    named = case if name is None else Case(name, case.image, case.geometry, source=case.source)
    return named, unit
