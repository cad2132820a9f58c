"""What the regions of a case's mask files become: order, empty regions, several files, other series."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from interactivepet.cli import import_task
from interactivepet.core.geometry import Geometry
from interactivepet.core.imported import ImportSource
from interactivepet.dataset.dicom.rtstruct import write_rtstruct
from interactivepet.dataset.dicom.seg import write_seg
from interactivepet.dataset.dicom.source import DicomOptions, find_dicom_source
from interactivepet.errors import CaseError
from tests.dicom_series import write_grid

Series = tuple[tuple[Path, ...], Geometry]


def box(geometry: Geometry, *sides: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(geometry.shape, np.uint8)
    mask[tuple(slice(*side) for side in sides)] = 1
    return mask


def write_rois(path: Path, rois: Mapping[str, np.ndarray], series: Series) -> Path:
    """Write one structure set of regions that may overlap."""
    parts = []
    for number, (name, mask) in enumerate(rois.items(), start=1):
        write_rtstruct(path, mask, geometry=series[1], labels={name: 1}, series=series[0])
        part = pydicom.dcmread(path)
        part.StructureSetROISequence[0].ROINumber = part.ROIContourSequence[0].ReferencedROINumber = number
        parts.append(part)
    whole = parts[0]
    for part in parts[1:]:
        whole.StructureSetROISequence.extend(part.StructureSetROISequence)
        whole.ROIContourSequence.extend(part.ROIContourSequence)
    whole.save_as(path)
    return path


def write_segments(path: Path, rois: Mapping[str, np.ndarray], series: Series) -> Path:
    """Write one segmentation of regions that do not overlap."""
    mask = np.zeros(series[1].shape, np.uint8)
    for value, part in enumerate(rois.values(), start=1):
        mask[part > 0] = value
    labels = {name: value for value, name in enumerate(rois, start=1)}
    write_seg(path, mask, geometry=series[1], labels=labels, series=series[0])
    return path


def find(folder: Path, **options: Any) -> ImportSource:
    return find_dicom_source(folder, options=DicomOptions(**options))


def load_label(folder: Path, **options: Any) -> np.ndarray:
    (job,) = find(folder, **options).training
    label = job.load().case.label
    assert label is not None
    return label


@pytest.fixture
def series(tmp_path: Path) -> Series:
    return write_grid(tmp_path / "PT")


@pytest.mark.parametrize(
    ("rois", "expected"),
    [
        ((), [2, 2, 1, 1, 3, 3]),
        (("GTV", "Edema", "Lung"), [1, 1, 2, 2, 2, 3]),
        (("Edema", "Lung"), [1, 1, 1, 1, 1, 2]),
        (("Lung", "Edema"), [2, 2, 2, 2, 1, 1]),
        (("Lung", "GTV", "Edema"), [2, 2, 3, 3, 1, 1]),
    ],
)
def test_overlapping_regions_follow_the_order_asked_for(
    tmp_path: Path, series: Series, rois: tuple[str, ...], expected: list[int]
) -> None:
    _, grid = series
    regions = {
        "Lung": box(grid, (8, 14), (5, 9), (3, 8)),
        "Edema": box(grid, (0, 10), (5, 9), (3, 8)),
        "GTV": box(grid, (0, 4), (5, 9), (3, 8)),
    }
    write_rois(tmp_path / "rt.dcm", regions, series)
    label = load_label(tmp_path, rois=rois)
    assert label[[0, 2, 4, 6, 8, 12], 7, 5].tolist() == expected


def test_a_region_that_disappears_in_one_asked_for_before_is_refused(tmp_path: Path, series: Series) -> None:
    regions = {name: box(series[1], (0, n), (5, 9), (3, 8)) for name, n in (("Edema", 9), ("GTV", 4))}
    write_rois(tmp_path / "rt.dcm", regions, series)
    with pytest.raises(CaseError, match="every voxel of region GTV is in Edema too; ask for it first"):
        load_label(tmp_path, rois=("Edema", "GTV"))


WRITERS = {"RTSTRUCT": write_rois, "SEG": write_segments}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("rois", [(), ("GTV",), ("G*", "Heart")], ids=["all", "name", "pattern"])
def test_a_file_without_contours_is_no_healthy_patient_unless_said(
    tmp_path: Path, series: Series, rois: tuple[str, ...], kind: str
) -> None:
    nothing = np.zeros(series[1].shape, np.uint8)
    path = WRITERS[kind](tmp_path / "a.dcm", {"GTV": nothing, "Heart": nothing}, series)
    with pytest.raises(CaseError, match=rf"{path}: no closed contour and no marked pixel in .*--no-contour-is-healthy"):
        load_label(tmp_path, rois=rois)
    label = load_label(tmp_path, rois=rois, no_contour_is_healthy=True)
    assert label.shape == series[1].shape
    assert not label.any()


def test_a_structure_set_without_any_region_is_no_healthy_patient(tmp_path: Path, series: Series) -> None:
    path = write_rois(tmp_path / "a.dcm", {"GTV": np.zeros(series[1].shape, np.uint8)}, series)
    dataset = pydicom.dcmread(path)
    del dataset.StructureSetROISequence, dataset.ROIContourSequence
    dataset.save_as(path)
    with pytest.raises(CaseError, match="no marked pixel in any region"):
        load_label(tmp_path)
    assert not load_label(tmp_path, no_contour_is_healthy=True).any()


def test_an_asked_for_region_without_contours_is_no_healthy_patient(tmp_path: Path, series: Series) -> None:
    _, grid = series
    write_rois(tmp_path / "a.dcm", {"GTV": box(grid, (0, 0)), "Heart": box(grid, (3, 9), (5, 9), (3, 8))}, series)
    with pytest.raises(CaseError, match="no closed contour"):
        load_label(tmp_path, rois=("GTV",))
    with pytest.raises(CaseError, match="no region is named Liver, found GTV, Heart"):
        load_label(tmp_path, rois=("Liver",), no_contour_is_healthy=True)


@pytest.mark.parametrize("kind", WRITERS)
def test_organs_beside_an_empty_tumour_do_not_hide_it(tmp_path: Path, series: Series, kind: str) -> None:
    _, grid = series
    WRITERS[kind](tmp_path / "a.dcm", {"GTV": box(grid, (0, 0))}, series)
    WRITERS[kind](tmp_path / "b.dcm", {"Heart": box(grid, (3, 9), (5, 9), (3, 8))}, series)
    with pytest.raises(CaseError, match=r"no closed contour and no marked pixel in GTV"):
        load_label(tmp_path, rois=("GTV",))
    assert not load_label(tmp_path, rois=("GTV",), no_contour_is_healthy=True).any()


def test_regions_between_the_voxels_are_no_healthy_patient(tmp_path: Path, series: Series) -> None:
    path = write_rois(tmp_path / "a.dcm", {"GTV": box(series[1], (5, 6), (5, 6), (5, 6))}, series)
    dataset = pydicom.dcmread(path)
    (contour,) = dataset.ROIContourSequence[0].ContourSequence
    points = np.array(contour.ContourData, float).reshape(-1, 3)
    corner = points[0] + (0.9, 0, 0)
    contour.ContourData = [f"{x:.3f}" for x in (corner + 0.01 * (points - points.mean(axis=0))).ravel()]
    dataset.save_as(path)
    with pytest.raises(CaseError, match="no voxel centre of the PET lies in GTV"):
        load_label(tmp_path, no_contour_is_healthy=True)


@pytest.mark.parametrize("kind", WRITERS)
def test_an_empty_region_becomes_no_label(
    tmp_path: Path, series: Series, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    _, grid = series
    regions = {"Empty": box(grid, (0, 0)), "GTV": box(grid, (3, 9), (5, 9), (3, 8))}
    WRITERS[kind](tmp_path / "a.dcm", regions, series)
    assert find(tmp_path).labels == ("GTV",)
    assert np.array_equal(load_label(tmp_path), regions["GTV"])
    assert "are left out: Empty" in caplog.text
    assert find(tmp_path, rois=("Empty", "GTV")).labels == ("Empty", "GTV"), "values mean what was asked for"
    assert np.array_equal(load_label(tmp_path, rois=("Empty", "GTV")), 2 * regions["GTV"])


def test_a_file_without_contours_beside_another_one_changes_nothing(tmp_path: Path, series: Series) -> None:
    _, grid = series
    gtv = box(grid, (3, 9), (5, 9), (3, 8))
    write_rois(tmp_path / "a.dcm", {"GTV": gtv}, series)
    write_rois(tmp_path / "b.dcm", {"GTV": box(grid, (0, 0))}, series)
    assert np.array_equal(load_label(tmp_path), gtv)


def test_a_segmentation_for_each_lesion_becomes_one_label(
    tmp_path: Path, series: Series, caplog: pytest.LogCaptureFixture
) -> None:
    _, grid = series
    lesions = [box(grid, (x, x + 4), (5, 9), (3, 8)) for x in (2, 6, 20)]
    for number, lesion in enumerate(lesions):
        write_segments(tmp_path / f"{number}.dcm", {"Lesion" if number else "lesion": lesion}, series)
    assert len(find(tmp_path).labels) == 1
    for options in ({}, {"rois": ("lesion",)}, {"union": True}):
        assert np.array_equal(load_label(tmp_path, **options), sum(lesions))
    assert "taken as separate lesions" in caplog.text


@pytest.mark.parametrize("kinds", [("SEG", "SEG"), ("RTSTRUCT", "RTSTRUCT"), ("RTSTRUCT", "SEG")])
def test_versions_of_one_region_are_refused(tmp_path: Path, series: Series, kinds: tuple[str, str]) -> None:
    _, grid = series
    for number, kind in enumerate(kinds):
        region = box(grid, (2 + number, 8), (5, 9), (3, 8))
        WRITERS[kind](tmp_path / f"{number}.dcm", {"Lesion": region}, series)
    with pytest.raises(CaseError, match=r"region lesion is in .* which share 100 of 100 voxels, expected one of them"):
        load_label(tmp_path)


def test_a_mask_that_refers_to_several_series_belongs_to_the_pet(tmp_path: Path, series: Series) -> None:
    gtv = box(series[1], (3, 9), (5, 9), (3, 8))
    for name, write in WRITERS.items():
        folder = tmp_path / name
        files, grid = write_grid(folder / "PT")
        path = write(folder / "a.dcm", {"GTV": gtv}, (files, grid))
        dataset = pydicom.dcmread(path)
        ct = pydicom.Dataset()
        ct.SeriesInstanceUID = generate_uid()
        if name == "SEG":
            dataset.ReferencedSeriesSequence.insert(0, ct)
        else:
            study = dataset.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
            study.RTReferencedSeriesSequence.insert(0, ct)
        dataset.FrameOfReferenceUID = generate_uid()
        dataset.save_as(path)
        assert np.array_equal(load_label(folder), gtv)


def test_a_mask_in_another_frame_of_reference_is_told(
    tmp_path: Path, series: Series, caplog: pytest.LogCaptureFixture
) -> None:
    gtv = box(series[1], (3, 9), (5, 9), (3, 8))
    path = write_rois(tmp_path / "a.dcm", {"GTV": gtv}, series)
    dataset = pydicom.dcmread(path)
    other = generate_uid()
    dataset.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = other
    dataset.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = other
    dataset.save_as(path)
    assert np.array_equal(load_label(tmp_path), gtv)
    assert "a.dcm: its regions lie in another frame of reference than the PET series" in caplog.text


def test_only_regions_in_the_frame_of_the_pet_are_taken(
    tmp_path: Path, series: Series, caplog: pytest.LogCaptureFixture
) -> None:
    _, grid = series
    regions = {name: box(grid, (x, x + 6), (5, 9), (3, 8)) for name, x in (("GTV", 3), ("Other", 12))}
    path = write_rois(tmp_path / "a.dcm", regions, series)
    dataset = pydicom.dcmread(path)
    dataset.StructureSetROISequence[1].ReferencedFrameOfReferenceUID = generate_uid()
    dataset.save_as(path)
    assert np.array_equal(load_label(tmp_path), regions["GTV"])
    assert "ROI Other lies in another frame of reference, so it is left out" in caplog.text


@pytest.mark.parametrize("is_there", [True, False], ids=["with CT", "without CT"])
def test_a_segmentation_of_the_ct_is_as_thick_as_its_slices(tmp_path: Path, series: Series, is_there: bool) -> None:
    pet, grid = series
    fine = {"shape": (68, 60, 48), "spacing_mm": (2.05, 1.95, 0.8175), "origin_mm": (-72.325, 39.225, -813.72625)}
    files, geometry = write_grid(tmp_path / "CT", **fine)
    header = pydicom.dcmread(pet[0], stop_before_pixels=True)
    for file in files:
        slice_ = pydicom.dcmread(file)
        slice_.FrameOfReferenceUID, slice_.Modality = header.FrameOfReferenceUID, "CT"
        slice_.StudyInstanceUID, slice_.SOPClassUID = header.StudyInstanceUID, "1.2.840.10008.5.1.4.1.1.2"
        slice_.save_as(file)
    # Of the PET's slices 3 to 7, the CT's slices 12 to 31.
    lesion = box(geometry, (6, 18), (10, 18), (12, 32))
    path = write_segments(tmp_path / "a.dcm", {"GTV": lesion}, (files, geometry))
    dataset = pydicom.dcmread(path)
    for item in dataset.SharedFunctionalGroupsSequence:
        measures = item.PixelMeasuresSequence[0]
        measures.pop("SpacingBetweenSlices", None)
        measures.SliceThickness = 4
    dataset.save_as(path)
    if not is_there:
        for file in files:
            file.unlink()
    assert np.array_equal(load_label(tmp_path), box(grid, (3, 9), (5, 9), (3, 8)))


def test_the_command_takes_healthy_patients_when_asked(
    tmp_path: Path, raw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pacs"
    for number, patient in enumerate(("A", "B", "C")):
        files, grid = write_grid(folder / patient, patient_id=patient)
        lesion = box(grid, (3, 9), (5, 9), (3, 8)) if number else box(grid, (0, 0))
        write_rois(folder / f"{patient}.dcm", {"GTV": lesion}, (files, grid))
    command = ["dicom", str(folder), "-t", "Task001_New", "--no-verify"]
    assert import_task.main(command) == 1
    assert "--no-contour-is-healthy" in capsys.readouterr().err
    assert not (raw / "Task001_New").exists()
    assert import_task.main([*command, "--no-contour-is-healthy"]) == 0
