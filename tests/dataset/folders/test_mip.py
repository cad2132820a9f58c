from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from interactivepet.dataset.folders.mip import MipOptions, find_mip_source, read_projection
from interactivepet.errors import CaseError, ManifestError


def save(path: Path, pixels: np.ndarray) -> None:
    """Write a PNG of pixels (rows, columns[, colours])."""
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(pixels, isVector=pixels.ndim == 3), str(path))


def make_projection(rows: int = 30, columns: int = 20) -> np.ndarray:
    """White with a hot spot at row 4, column 7, RGBA."""
    pixels = np.full((rows, columns, 4), 255, np.uint8)
    pixels[4, 7, :3] = 55
    return pixels


def make_mask(rows: int = 30, columns: int = 20, colours: int = 3) -> np.ndarray:
    pixels = np.zeros((rows, columns, colours), np.uint8)
    pixels[4:6, 7:9, :3] = 255
    pixels[:, :, 3:] = 255
    return pixels


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    save(folder / "patients/imgs/patient_002.png", make_projection())
    save(folder / "patients/labels/segmentation_002.png", make_mask())
    save(folder / "patients/imgs/patient_010.png", make_projection())
    save(folder / "patients/labels/segmentation_010.png", make_mask(colours=4))
    save(folder / "controls/imgs/control_001.png", make_projection())
    return folder


def test_dark_is_hot_and_the_picture_stands_upright(source: Path) -> None:
    image, geometry = read_projection(source / "patients/imgs/patient_002.png")
    assert image.shape == (1, 20, 30, 1)
    assert image.dtype == np.float32
    assert (image[0, 7, 4, 0], image[0, 4, 7, 0]) == (200, 0)
    np.testing.assert_array_equal(geometry.affine, np.diag([-1, -1, 1, 1]))


def test_patients_and_controls_become_training_cases(source: Path) -> None:
    found = find_mip_source(source, options=MipOptions(label="tumour"))
    assert (found.channels, found.labels, found.test) == (("PET",), ("tumour",), ())
    assert [(job.id, job.subtype) for job in found.training] == [
        ("patient_002", "patient"),
        ("patient_010", "patient"),
        ("control_001", "control"),
    ]
    for job, n_voxels in zip(found.training, (4, 4, 0), strict=True):
        label = job.load().case.label
        assert label is not None
        assert label.shape == (20, 30, 1)
        assert label.sum() == n_voxels
    first = found.training[0].load().case.label
    assert first is not None
    assert first[7, 4, 0] == 1


def test_transparency_shows_white_behind_a_projection_and_black_behind_a_mask(source: Path) -> None:
    clear = make_projection()
    clear[4, 7] = (0, 0, 0, 51)
    save(source / "patients/imgs/patient_002.png", clear)
    painted = np.full((30, 20, 4), 255, np.uint8)
    painted[10:, :, 3] = 0
    save(source / "patients/labels/segmentation_002.png", painted)
    case = find_mip_source(source, options=MipOptions()).training[0].load().case
    assert case.image[0, 7, 4, 0] == pytest.approx(51)
    assert case.label is not None
    assert case.label.sum() == 10 * 20


def test_grey_pictures_are_read_too(source: Path) -> None:
    save(source / "patients/imgs/patient_002.png", make_projection()[:, :, 0])
    save(source / "patients/labels/segmentation_002.png", make_mask()[:, :, 0])
    case = find_mip_source(source, options=MipOptions()).training[0].load().case
    assert case.image.max() == 200
    assert case.label is not None
    assert case.label.sum() == 4


def test_a_patient_without_mask_is_a_test_case_and_a_mask_without_patient_is_passed_over(source: Path) -> None:
    (source / "patients/labels/segmentation_002.png").rename(source / "patients/labels/segmentation_003.png")
    found = find_mip_source(source, options=MipOptions())
    assert [job.id for job in found.test] == ["patient_002"]
    assert found.test[0].load().case.label is None
    assert found.passed_over == {"patients/labels/segmentation_003.png": "no projection has this mask"}


def test_a_mask_file_without_lesion_is_told_and_a_control_is_not(source: Path) -> None:
    save(source / "patients/labels/segmentation_002.png", 0 * make_mask())
    remarks = [job.load().remarks for job in find_mip_source(source, options=MipOptions()).training]
    assert remarks == [("the mask holds no lesion: all its pixels are background",), (), ()]


def test_masks_of_more_values_are_divided_on_demand(source: Path) -> None:
    smooth = make_mask()
    smooth[3, 7:9] = 90
    save(source / "patients/labels/segmentation_002.png", smooth)
    with pytest.raises(CaseError, match=r"segmentation_002.png: a mask of 3 values.*--mask-above N"):
        find_mip_source(source, options=MipOptions()).training[0].load()
    label = find_mip_source(source, options=MipOptions(mask_above=127)).training[0].load().case.label
    assert label is not None
    assert label.sum() == 4


def test_sizes_that_differ_are_named(source: Path) -> None:
    save(source / "patients/labels/segmentation_002.png", make_mask(rows=31))
    with pytest.raises(CaseError, match=r"segmentation_002.png: a mask of 20 x 31 pixels for a projection of 20 x 30"):
        find_mip_source(source, options=MipOptions()).training[0].load()


def test_sixteen_bits_are_refused(source: Path) -> None:
    save(source / "patients/imgs/patient_002.png", np.zeros((30, 20), np.uint16))
    with pytest.raises(CaseError, match="numbers of uint16, expected bytes"):
        find_mip_source(source, options=MipOptions()).training[0].load()


def test_two_projections_for_one_mask_are_refused(source: Path) -> None:
    save(source / "patients/imgs/other_002.png", make_projection())
    with pytest.raises(ManifestError, match=r"other_002.png and .*patient_002.png both are number 002"):
        find_mip_source(source, options=MipOptions())


def test_a_folder_without_projections_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="0 projections and 0 masks, expected patients/imgs"):
        find_mip_source(tmp_path, options=MipOptions())


@pytest.mark.real_data
def test_real_projections(real_data: Path) -> None:
    found = find_mip_source(real_data / "mip_pet", options=MipOptions())
    assert len(found.training) == 120
    assert found.passed_over == {}
    case = found.training[0].load().case
    assert case.label is not None
    inside, outside = case.image[0][case.label > 0].mean(), case.image[0][case.label == 0].mean()
    assert inside > 2 * outside
