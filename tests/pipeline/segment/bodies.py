"""Small digital bodies with hot balls, as volumes, files and DICOM series; too small for a liver, so all is unsure."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from interactivepet.core.case import Case
from interactivepet.core.geometry import Geometry
from interactivepet.dataset.files.write import write_image
from tests.dicom_series import write_series

SHAPE = (24, 24, 24)
SPACING_MM = 8.0
BALLS = ((9, 9, 8), (14, 14, 16))
SUV_PER_STORED = 2 * 70_000 / (350e6 * 0.5 ** (3600 / 6588))
"""Of the headers of `tests.dicom_series`: slope, weight over dose, decayed for an hour."""

Change = Callable[[int, Dataset], None]


def make_uptake(balls: Sequence[tuple[int, int, int]] = BALLS, *, seed: int = 0, suv: float = 8.0) -> np.ndarray:
    """Make SUV (I, J, K): a cylinder in air with hot balls of two voxels' radius."""
    i, j, k = np.indices(SHAPE)
    body = ((i - 12) / 8) ** 2 + ((j - 12) / 7) ** 2 <= 1
    uptake = np.where(body, np.random.default_rng(seed).uniform(0.9, 1.1, SHAPE), 0.0)
    for n, (a, b, c) in enumerate(balls):
        uptake[(i - a) ** 2 + (j - b) ** 2 + (k - c) ** 2 <= 4] = suv - n
    return uptake.astype(np.float32)


def find_ball(centre: tuple[int, int, int]) -> np.ndarray:
    i, j, k = np.indices(SHAPE)
    a, b, c = centre
    return np.asarray((i - a) ** 2 + (j - b) ** 2 + (k - c) ** 2 <= 4)


def make_case(uptake: np.ndarray | None = None, name: str = "A") -> Case:
    image = make_uptake() if uptake is None else uptake
    return Case(name, image[np.newaxis], Geometry(SHAPE, np.diag([SPACING_MM] * 3 + [1.0])))


def write_file(path: Path, *, seed: int = 0) -> Path:
    case = make_case(make_uptake(seed=seed))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, case.image, geometry=case.geometry)
    return path


def write_body(folder: Path, number: int = 0, *, also: Change | None = None, **changes: Any) -> Path:
    """Write a PET series of patient `ID_<number>`, whose name is secret."""
    stored = np.rint(make_uptake(seed=number) / SUV_PER_STORED).astype("<i2")

    def draw(k: int, header: Dataset) -> None:
        header.ImagePositionPatient = [-96.0, -96.0, SPACING_MM * k]
        header.Rows, header.Columns = SHAPE[1], SHAPE[0]
        header.PixelData = stored[:, :, k].T.tobytes()
        if also is not None:
            also(k, header)

    uid = f"1.2.3.{number + 1}"
    named = {
        "PatientID": f"ID_{number:02d}",
        "PatientName": "Secret^Name",
        "StudyInstanceUID": f"{uid}.1",
        "SeriesInstanceUID": f"{uid}.2",
        "FrameOfReferenceUID": f"{uid}.3",
        "PixelSpacing": [SPACING_MM, SPACING_MM],
        "SliceThickness": SPACING_MM,
    }
    return write_series(folder, n_slices=SHAPE[2], change=draw, **(named | changes))


def drop_slice(k: int, header: Dataset) -> None:
    if k in (9, 10):
        del header.SOPInstanceUID


def truncate(folder: Path) -> Path:
    """Cut a slice in the middle of its pixels."""
    path = sorted(folder.iterdir())[5]
    path.write_bytes(path.read_bytes()[:-400])
    return folder


def write_broken(root: Path) -> dict[str, str]:
    """Write five series that are broken in different ways; gives what names each -> a part of the cause."""
    write_body(root / "gap", 90, also=drop_slice)
    write_body(root / "tagless", 91, PatientWeight=None, RadionuclideTotalDose=None)
    truncate(write_body(root / "cut", 92))
    write_body(root / "ct", 93, Modality="CT", SOPClassUID="1.2.840.10008.5.1.4.1.1.2", Units=None)
    (root / "text").mkdir()
    for n in range(3):
        (root / "text" / f"{n}.dcm").write_bytes(b"no DICOM at all" * 20)
    return {
        "ID_90": "slice",
        "ID_91": "PatientWeight",
        "ID_92": "pixel",
        "ct": "a series of CT without a PET",
        "text": "3 files are named as DICOM and are none",
    }


def write_zip(path: Path, folder: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return path
