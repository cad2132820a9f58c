"""Small synthetic DICOM series, with whatever is to be wrong about them, and masks to draw on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from interactivepet.core.geometry import Geometry

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
NEEDED_TO_REFER = (
    *("PatientBirthDate", "StudyTime", "StudyID", "AccessionNumber"),
    *("ReferringPhysicianName", "PositionReferenceIndicator"),
)
"""Tags that DICOM objects copy from the series they refer to; they may be empty."""
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
UPRIGHT = (0.0, 0.0, 0.0)
OBLIQUE = (20.0, -15.0, 10.0)
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


def turn_by(degrees: tuple[float, float, float]) -> np.ndarray:
    a, b, c = np.deg2rad(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


def write_grid(
    folder: Path,
    *,
    shape: tuple[int, int, int] = (34, 30, 12),
    spacing_mm: tuple[float, float, float] = (4.1, 3.9, 3.27),
    origin_mm: tuple[float, float, float] = (-71.3, 40.2, -812.5),
    tilt: tuple[float, float, float] = UPRIGHT,
    patient: str = "Müller^Anna",
    patient_id: str = "P_07",
) -> tuple[tuple[Path, ...], Geometry]:
    """Write a series to draw masks on; give its files with the grid (column, row, slice) in RAS+ mm."""
    affine = np.eye(4)
    affine[:3, :3] = turn_by(tilt) * np.asarray(spacing_mm)
    affine[:3, 3] = origin_mm

    def place(k: int, header: Dataset) -> None:
        header.ImagePositionPatient = [f"{x:.6f}" for x in affine[:3] @ (0, 0, k, 1)]
        header.Rows, header.Columns = shape[1], shape[0]
        header.PixelData = np.zeros(shape[0] * shape[1], np.int16).tobytes()
        header.InstanceNumber = shape[2] - k

    write_series(
        folder,
        n_slices=shape[2],
        change=place,
        SpecificCharacterSet="ISO_IR 100",
        PatientName=patient,
        PatientID=patient_id,
        StudyInstanceUID=generate_uid(),
        SeriesInstanceUID=generate_uid(),
        FrameOfReferenceUID=generate_uid(),
        ImageOrientationPatient=[f"{x:.9f}" for x in turn_by(tilt)[:, :2].T.ravel()],
        PixelSpacing=[spacing_mm[1], spacing_mm[0]],
        SliceThickness=spacing_mm[2],
        SeriesNumber=4,
        **dict.fromkeys(NEEDED_TO_REFER, ""),
    )
    return tuple(sorted(folder.iterdir())), Geometry(shape, LPS_TO_RAS @ affine)


def draw_masks(shape: tuple[int, int, int]) -> dict[str, np.ndarray]:
    """Draw what masks are made of: blobs, rings, several labels, crumbs, borders, noise, nothing."""
    index = np.indices(shape).astype(float)

    def ball(centre: tuple[float, float, float], radius: float) -> np.ndarray:
        offset = index - np.reshape(centre, (3, 1, 1, 1))
        return (offset**2).sum(axis=0) <= radius**2

    blob = ball((12, 11, 5), 4.6).astype(np.uint8)
    ring = (ball((13, 13, 5), 9.3) & ~ball((12, 14, 5), 5.2) | ball((12, 14, 5), 1.5)).astype(np.uint8)
    sieve = ball((13, 13, 5), 9.3).astype(np.uint8)
    sieve[8:19:3, 8:19:3] = 0
    labels = blob.copy()
    labels[ball((22, 20, 7), 3.7)] = 2
    labels[ball((12, 11, 5), 2.0)] = 3
    crumbs = np.zeros(shape, np.uint8)
    crumbs[3, 3, 3] = crumbs[4, 4, 3] = crumbs[5, 3, 3] = crumbs[20:23, 7, 4] = 1
    crumbs[ball((24, 20, 6), 3.2)] = 2
    border = np.zeros(shape, np.uint8)
    border[:3, :, 0] = border[-2:, -4:, -1] = border[10, 10] = 1
    noise = np.random.default_rng(3).integers(0, 3, shape, dtype=np.uint8)
    return {
        "blob": blob,
        "ring": ring,
        "sieve": sieve,
        "labels": labels,
        "crumbs": crumbs,
        "border": border,
        "noise": noise,
        "empty": np.zeros(shape, np.uint8),
    }


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Dice of everything marked."""
    total = int((first > 0).sum() + (second > 0).sum())
    return 2.0 * int(((first == second) & (first > 0)).sum()) / total if total else 1.0


def save(dataset: Dataset, path: Path) -> None:
    """Write a dataset as a file."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
