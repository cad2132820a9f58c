"""Small synthetic DICOM series, as each vendor writes them, with whatever is to be wrong about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

PET_CLASS = "1.2.840.10008.5.1.4.1.1.128"
CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
DRUG_KEYWORDS = (
    "RadionuclideTotalDose",
    "RadionuclideHalfLife",
    "RadiopharmaceuticalStartTime",
    "RadiopharmaceuticalStartDateTime",
)
FRAME, STUDY = "1.2.3.4.5", "1.2.3.4.6"
SPACING_MM = 3.0
Change = Callable[[int, Dataset], None]


def make_header(**changes: Any) -> Dataset:
    """Header of a PET slice in Bq/ml; a value of None removes its tag."""
    values: dict[str, Any] = {
        "SOPClassUID": PET_CLASS,
        "Modality": "PT",
        "PatientID": "PAT 1",
        "PatientName": "Secret^Name",
        "StudyInstanceUID": STUDY,
        "SeriesInstanceUID": "1.2.3.4.7",
        "FrameOfReferenceUID": FRAME,
        "SeriesDescription": "PET AC",
        "StudyDate": "20200102",
        "SeriesDate": "20200102",
        "SeriesTime": "100000",
        "AcquisitionDate": "20200102",
        "AcquisitionTime": "100000",
        "PatientWeight": "70",
        "PatientSize": "1.75",
        "PatientSex": "M",
        "Units": "BQML",
        "DecayCorrection": "START",
        "CorrectedImage": ["DECY", "ATTN"],
        "RadionuclideTotalDose": "350000000",
        "RadionuclideHalfLife": "6588",
        "RadiopharmaceuticalStartTime": "090000",
        "RadiopharmaceuticalStartDateTime": None,
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [4, 2],
        "SliceThickness": "5",
        "RescaleSlope": "2",
        "RescaleIntercept": "0",
    } | changes
    header, drug = Dataset(), Dataset()
    for keyword, value in values.items():
        if value is not None:
            setattr(drug if keyword in DRUG_KEYWORDS else header, keyword, value)
    if len(drug):
        header.RadiopharmaceuticalInformationSequence = [drug]
    return header


def stored_value(i: int, j: int, k: int) -> int:
    """What every synthetic slice stores at (i, j, k)."""
    return 100 * k + 10 * j + i


def write_series(
    folder: Path,
    *,
    n_slices: int = 6,
    change: Change | None = None,
    private: Mapping[tuple[int, str], dict[int, str]] = {},
    **changes: Any,
) -> Path:
    """Write slices of 4 rows and 5 columns, in names that are not in their order.

    Args:
        folder: is made.
        n_slices: they lie `SPACING_MM` apart.
        change: called with k and the slice before it is written; deleting SOPInstanceUID leaves the slice out.
        private: (group, creator) -> element -> value.
        **changes: of `make_header`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(n_slices):
        header = make_header(**changes)
        header.SOPInstanceUID = generate_uid(entropy_srcs=[str(folder), str(k)])
        header.ImagePositionPatient = [-10.0, -20.0, 30.0 + SPACING_MM * k]
        j, i = np.mgrid[:4, :5]
        header.Rows, header.Columns = 4, 5
        header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
        header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 1
        header.PixelData = (100 * k + 10 * j + i).astype("<i2").tobytes()
        for (group, creator), elements in private.items():
            block = header.private_block(group, creator, create=True)
            for element, value in elements.items():
                block.add_new(element, "DT" if creator.startswith("GE") else "DS", value)
        if change is not None:
            change(k, header)
        if "SOPInstanceUID" in header:
            save(header, folder / f"{(k * 5) % 7:02d}-{k}")
    return folder


def save(dataset: Dataset, path: Path) -> None:
    """Write a dataset as a file."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
