from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from interactivepet.dataset.dicom.images import find_dicom_images, read_dicom_case, read_dicom_image
from interactivepet.errors import CaseError
from tests.dicom_series import CT_CLASS, write_series

CT = {
    "Modality": "CT",
    "SOPClassUID": CT_CLASS,
    "SeriesInstanceUID": "1.4",
    "RescaleSlope": "1",
    "RescaleIntercept": "-1000",
}


def test_channels_come_in_the_order_of_the_model(tmp_path: Path) -> None:
    write_series(tmp_path / "pet")
    write_series(tmp_path / "ct", **CT)
    alone = read_dicom_case(tmp_path)
    assert (alone.id, alone.image.shape, alone.label) == ("PAT_1", (1, 5, 4, 6), None)
    both, turned = (read_dicom_case(tmp_path, channels=names) for names in (("PET", "CT"), ("CT", "FDG")))
    np.testing.assert_array_equal(both.image[0], alone.image[0])
    np.testing.assert_array_equal(turned.image, both.image[::-1])
    assert both.image[1].min() == -1000
    assert turned.image.flags.c_contiguous
    heavy = read_dicom_case(tmp_path, variant="lbm")
    assert heavy.image.max() < alone.image.max()


def test_every_series_is_a_case(tmp_path: Path) -> None:
    for patient in ("A", "B"):
        write_series(tmp_path / patient, PatientID=patient, SeriesInstanceUID=f"1.{ord(patient)}")
    jobs, _ = find_dicom_images(tmp_path, channels=["PET"])
    assert [job.id for job in jobs] == ["A", "B"]
    assert read_dicom_image(jobs[1], channels=["PET"]).id == "B"
    with pytest.raises(CaseError, match=r"2 PET series \(A \(PET AC\), B \(PET AC\)\), expected one"):
        read_dicom_case(tmp_path)
    assert read_dicom_case(tmp_path / "B").id == "B"


@pytest.mark.parametrize("channels", [("MR",), ("CT",), ("PET", "PET"), ("PET", "CT", "MR")])
def test_other_channels_are_refused(tmp_path: Path, channels: tuple[str, ...]) -> None:
    with pytest.raises(CaseError, match=rf"channels are {', '.join(channels)}, expected PET, or PET and CT"):
        find_dicom_images(tmp_path, channels=channels)


def test_a_folder_without_pet_or_ct_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", **CT)
    with pytest.raises(CaseError, match="no PET series"):
        read_dicom_case(tmp_path)
    write_series(tmp_path / "pet")
    shutil.rmtree(tmp_path / "ct")
    with pytest.raises(CaseError, match="no CT in its frame of reference"):
        read_dicom_case(tmp_path, channels=("PET", "CT"))


@pytest.mark.real_data
def test_a_real_patient_with_masks_is_read_without_them(real_data: Path) -> None:
    case = read_dicom_case(real_data / "dicom" / "STS_001")
    assert (case.id, case.image.shape, case.label) == ("STS_001", (1, 128, 128, 267), None)
