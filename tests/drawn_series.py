"""A small PET series as DICOM files, upright or tilted, and masks to draw on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, PositronEmissionTomographyImageStorage, generate_uid

from interactivepet.core.geometry import Geometry

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
UPRIGHT = (0.0, 0.0, 0.0)
OBLIQUE = (20.0, -15.0, 10.0)


def turn_by(degrees: tuple[float, float, float]) -> np.ndarray:
    a, b, c = np.deg2rad(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


def write_series(
    folder: Path,
    *,
    shape: tuple[int, int, int] = (34, 30, 12),
    spacing_mm: tuple[float, float, float] = (4.1, 3.9, 3.27),
    origin_mm: tuple[float, float, float] = (-71.3, 40.2, -812.5),
    tilt: tuple[float, float, float] = UPRIGHT,
    patient: str = "Müller^Anna",
    patient_id: str = "P_07",
) -> tuple[tuple[Path, ...], Geometry]:
    """Write slices with names in an order of their own; give them with the grid (column, row, slice) in RAS+ mm."""
    folder.mkdir(parents=True, exist_ok=True)
    affine = np.eye(4)
    affine[:3, :3] = turn_by(tilt) * np.asarray(spacing_mm)
    affine[:3, 3] = origin_mm
    study, series, frame = (generate_uid() for _ in range(3))
    paths = []
    for k in range(shape[2]):
        header = pydicom.Dataset()
        header.file_meta = FileMetaDataset()
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        header.SpecificCharacterSet = "ISO_IR 100"
        header.SOPClassUID, header.SOPInstanceUID = PositronEmissionTomographyImageStorage, generate_uid()
        header.StudyInstanceUID, header.SeriesInstanceUID, header.FrameOfReferenceUID = study, series, frame
        header.PatientName, header.PatientID, header.Modality = patient, patient_id, "PT"
        header.PatientBirthDate, header.PatientSex, header.StudyDate, header.StudyTime = "", "F", "20240102", "101112"
        header.AccessionNumber, header.StudyID, header.ReferringPhysicianName = "", "1", ""
        header.SeriesDescription, header.SeriesNumber, header.InstanceNumber = "PET AC", 4, shape[2] - k
        header.PositionReferenceIndicator = ""
        header.ImagePositionPatient = [f"{x:.6f}" for x in affine[:3] @ (0, 0, k, 1)]
        header.ImageOrientationPatient = [f"{x:.9f}" for x in turn_by(tilt)[:, :2].T.ravel()]
        header.PixelSpacing = [spacing_mm[1], spacing_mm[0]]
        header.SliceThickness = spacing_mm[2]
        header.Rows, header.Columns = shape[1], shape[0]
        header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
        header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 0
        header.RescaleSlope, header.RescaleIntercept = "1", "0"
        header.PixelData = np.zeros(shape[0] * shape[1], np.uint16).tobytes()
        path = folder / f"{(7 * k) % shape[2]:03d}-{k}.dcm"
        header.save_as(path, enforce_file_format=True)
        paths.append(path)
    return tuple(sorted(paths)), Geometry(shape, LPS_TO_RAS @ affine)


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
