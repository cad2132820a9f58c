from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from interactivepet.core.case import Case
from interactivepet.core.imported import ImportSource
from interactivepet.dataset.dicom.case import read_suv_series
from interactivepet.dataset.dicom.source import DicomOptions, find_dicom_source
from interactivepet.dataset.dicom.tree import find_series
from interactivepet.dataset.files.read import read_image
from interactivepet.errors import CaseError, ManifestError
from tests.benchmarks import suv_objects
from tests.dicom_series import CT_CLASS, SPACING_MM, save, stored_value, write_series

FACTOR = 70_000 / (3.5e8 * 2 ** (-3600 / 6588))
"""SUV for 1 Bq/ml in the synthetic series."""


def find(folder: Path, **options: Any) -> ImportSource:
    return find_dicom_source(folder, options=DicomOptions(**options))


def load_only(folder: Path, **options: Any) -> tuple[Case, dict[str, Any]]:
    (job,) = (*(source := find(folder, **options)).training, *source.test)
    imported = job.load()
    assert imported.case.id == job.id
    return imported.case, json.loads(imported.notes["suv.json"])


def test_a_series_becomes_suv_on_its_grid(tmp_path: Path) -> None:
    case, note = load_only(write_series(tmp_path / "täst serie"))
    assert case.id == "PAT_1"
    assert case.image.shape == (1, 5, 4, 6)
    assert case.image.dtype == np.float32
    for index in [(0, 0, 0), (3, 2, 0), (1, 3, 4)]:
        assert case.image[0][index] == pytest.approx(2 * FACTOR * stored_value(*index))
    # PixelSpacing is (between rows, between columns), and the distance of slices is not their thickness.
    assert case.geometry.spacing_mm == pytest.approx((2, 4, SPACING_MM))
    assert case.geometry.to_mm((1, 2, 3)) == pytest.approx([10 - 2, 20 - 8, 30 + 3 * SPACING_MM])
    assert case.label is None
    assert note["suv"]["factor"] == pytest.approx(FACTOR)
    assert note["pet"]["series_uid"] == "1.2.3.4.7"
    assert note["pet"]["folder"] == str(tmp_path / "täst serie")
    assert "Secret" not in json.dumps(note)


def test_slices_descend_or_lie_in_other_planes(tmp_path: Path) -> None:
    def turn(k: int, header: Dataset) -> None:
        # Coronal slices: rows to the left, columns to the feet, so that the normal points to posterior.
        header.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
        header.ImagePositionPatient = [-10, 50 - 3 * k, 100]

    case, _ = load_only(write_series(tmp_path, change=turn))
    assert case.image[0, 0, 0, 0] == pytest.approx(2 * FACTOR * stored_value(0, 0, 5))
    assert case.geometry.to_mm((0, 0, 0)) == pytest.approx([10, -35, 100])
    assert case.geometry.to_mm((0, 1, 1)) == pytest.approx([10, -38, 96])
    assert case.geometry.is_orthogonal


def test_every_slice_has_its_own_rescale(tmp_path: Path) -> None:
    def rescale(k: int, header: Dataset) -> None:
        header.RescaleSlope, header.RescaleIntercept = str(k + 0.5), str(-k)

    case, _ = load_only(write_series(tmp_path, change=rescale))
    for k in range(6):
        assert case.image[0, 2, 1, k] == pytest.approx(FACTOR * (stored_value(2, 1, k) * (k + 0.5) - k))


def test_without_decay_correction_every_slice_has_its_own_factor(tmp_path: Path) -> None:
    def move_bed(k: int, header: Dataset) -> None:
        header.DecayCorrection, header.AcquisitionTime = "NONE", f"10{10 * (5 - k):02d}00"

    case, note = load_only(write_series(tmp_path, change=move_bed))
    for k in range(6):
        decay = 2 ** (600 * (5 - k) / 6588)
        assert case.image[0, 4, 3, k] == pytest.approx(2 * FACTOR * decay * stored_value(4, 3, k))
        assert note["suv"]["slice_factors"][k] == pytest.approx(FACTOR * decay)


def test_vendors_private_factors_are_read_from_files(tmp_path: Path) -> None:
    philips = {(0x7053, "Philips PET Private Group"): {0x00: "0.25"}}
    case, _ = load_only(write_series(tmp_path / "philips", Units="CNTS", private=philips))
    assert case.image[0, 1, 0, 1] == pytest.approx(0.5 * stored_value(1, 0, 1))
    ge = {(0x0009, "GEMS_PETD_01"): {0x0D: "20200102100000.00"}}
    times = {"SeriesTime": "130000", "AcquisitionTime": "100100"}
    case, _ = load_only(write_series(tmp_path / "ge", private=ge, **times))
    assert case.image[0, 1, 0, 1] == pytest.approx(2 * FACTOR * stored_value(1, 0, 1))


def drop(k_dropped: int) -> Any:
    def change(k: int, header: Dataset) -> None:
        if k == k_dropped:
            del header.SOPInstanceUID

    return change


def alter(k_altered: int, **values: Any) -> Any:
    def change(k: int, header: Dataset) -> None:
        for keyword, value in values.items():
            if k == k_altered:
                if value is None:
                    delattr(header, keyword)
                else:
                    setattr(header, keyword, value)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop(2), r"missing slices \(1\) .* between 33.00 and 39.00 mm"),
        (alter(3, ImagePositionPatient=[-10, -20, 36]), r"1 duplicate slices: .* are both at 36.00 mm"),
        (alter(3, ImagePositionPatient=[-10, -20, 40]), r"uneven distances: between 39.00|uneven distances: between"),
        (alter(3, ImagePositionPatient=[-8, -20, 39]), "shifted sideways"),
        (alter(1, ImageOrientationPatient=[0, 1, 0, 1, 0, 0]), "mixed orientations .* in 1 of 6 slices"),
        (alter(1, PixelSpacing=[4, 2.5]), r"mixed pixel spacings .*4.0, 2.0.* in 1 of 6 slices, .*4.0, 2.5"),
        (alter(1, Units="CNTS"), "mixed units: BQML in 5 slices, CNTS in 1 slices"),
        (alter(1, RescaleSlope=None), r"RescaleSlope \(0028,1053\): .* \(in 1 of 6 slices\)"),
        (alter(1, ImagePositionPatient=None), r"ImagePositionPatient \(0020,0032\): .* \(in 1 of 6 slices\)"),
        (alter(1, PixelSpacing=[0, 0]), r"PixelSpacing \(0028,0030\): .* \(in 1 of 6 slices\)"),
        (alter(1, PixelSpacing=[-4, 2]), r"invalid; .*\n *PixelSpacing"),
        (alter(1, PixelSpacing=4), r"invalid; .*\n *PixelSpacing"),
        (alter(1, ImagePositionPatient=[1, 2]), r"invalid; .*\n *ImagePositionPatient"),
        (alter(1, ImageOrientationPatient=[1, 0, 0]), r"invalid; .*\n *ImageOrientationPatient"),
        (alter(1, Rows=0), r"invalid; .*\n *Rows"),
        (
            alter(1, SamplesPerPixel=3, PlanarConfiguration=0, PhotometricInterpretation="RGB", PixelData=bytes(120)),
            "pixels of 4x5x3, expected 4x5 in shades of grey",
        ),
        (alter(1, NumberOfFrames=2), "multi-frame"),
        (alter(1, FrameOfReferenceUID="9.9"), "mixed frames of reference"),
        (alter(1, PixelData=b"\0\0"), "pixels cannot be decoded"),
    ],
)
def test_defects_are_refused_by_name(tmp_path: Path, change: Any, message: str) -> None:
    with pytest.raises(CaseError, match=message) as caught:
        load_only(write_series(tmp_path, change=change))
    assert str(tmp_path) in str(caught.value)


def test_a_volume_that_ends_early_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=r"5 files, but NumberOfSlices \(0054,0081\) is 6"):
        load_only(write_series(tmp_path, change=drop(5), NumberOfSlices=6))


def test_a_tilted_stack_is_refused(tmp_path: Path) -> None:
    def tilt(k: int, header: Dataset) -> None:
        header.ImagePositionPatient = [-10, -20 + 0.5 * k, 30 + 3 * k]

    with pytest.raises(CaseError, match="gantry tilt"):
        load_only(write_series(tmp_path, change=tilt))


def test_scanners_round_where_beds_join(tmp_path: Path) -> None:
    case, _ = load_only(write_series(tmp_path, change=alter(3, ImagePositionPatient=[-10, -20, 39.08])))
    assert case.geometry.spacing_mm[2] == pytest.approx(SPACING_MM)


def test_a_single_slice_has_the_depth_of_its_thickness(tmp_path: Path) -> None:
    case, _ = load_only(write_series(tmp_path, n_slices=1))
    assert case.geometry.spacing_mm == pytest.approx((2, 4, 5))


def test_missing_tags_are_one_error(tmp_path: Path) -> None:
    write_series(tmp_path, Units=None, PatientWeight=None, RescaleSlope=None, RadionuclideTotalDose=None)
    with pytest.raises(CaseError, match="4 tags are missing") as caught:
        load_only(tmp_path)
    for number in ("(0054,1001)", "(0010,1030)", "(0018,1074)", "(0028,1053)"):
        assert number in str(caught.value)


def test_a_tree_of_mixed_files(tmp_path: Path) -> None:
    write_series(tmp_path / "a" / "deep", PatientID="B", SeriesInstanceUID="1.1")
    write_series(tmp_path / "a", PatientID="A/1", SeriesInstanceUID="1.2", SeriesTime="095000")
    write_series(tmp_path / "a" / "b", PatientID="A/1", SeriesInstanceUID="1.3", StudyInstanceUID="1.2.3.4.66")
    write_series(tmp_path / "ct", PatientID="B", SeriesInstanceUID="1.4", Modality="CT", SOPClassUID=CT_CLASS)
    write_series(tmp_path / "nac", PatientID="B", SeriesInstanceUID="1.5", CorrectedImage=["DECY"])
    write_series(tmp_path / "shot", PatientID="B", SeriesInstanceUID="1.6", SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
    write_series(tmp_path / "mip", PatientID="B", SeriesInstanceUID="1.7", SeriesType=["REPROJECTION", "IMAGE"])
    for name in ("notes.txt", "DICOMDIR"):
        (tmp_path / name).write_bytes(b"nothing")
    (tmp_path / "empty.dcm").touch()
    source = find(tmp_path)
    assert [(job.id, job.patient) for job in source.test] == [("A_1_1", "A_1"), ("A_1_2", "A_1"), ("B", "B")]
    assert source.training == ()
    assert (source.channels, source.labels) == (("PET",), ("lesion",))
    assert source.passed_over["notes.txt"] == "no DICOM file"
    assert source.passed_over["empty.dcm"] == "empty file"
    reasons = " | ".join(source.passed_over.values())
    for reason in ("series of CT", "not corrected for attenuation", "projections", "screenshot"):
        assert reason in reasons
    assert source.test[0].load().case.image.shape == (1, 5, 4, 6)


def test_names_stay_unique(tmp_path: Path) -> None:
    for number, patient in enumerate(["A B", "A_B", "a-b", "", "ü"]):
        write_series(tmp_path / str(number), PatientID=patient, SeriesInstanceUID=f"1.{number}", n_slices=1)
    first, again = find(tmp_path), find(tmp_path)
    assert [job.id for job in first.test] == [job.id for job in again.test]
    assert [job.id for job in first.test] == ["A_B", "A_B-2", "a-b", "study-1_2_3_4_6", "patient"]
    assert len({job.patient for job in first.test}) == 5


def test_a_tree_without_pet_says_what_is_there(tmp_path: Path) -> None:
    write_series(tmp_path, CorrectedImage=["DECY"])
    with pytest.raises(CaseError, match=r"(?s)no PET series to import.*no ATTN in CorrectedImage.*\(6 files\)"):
        find(tmp_path)
    with pytest.raises(CaseError, match="there is no such folder"):
        find(tmp_path / "nowhere")


@pytest.mark.skipif(os.name != "posix", reason="links and pipes")
def test_links_do_not_hang(tmp_path: Path) -> None:
    write_series(tmp_path / "in")
    (tmp_path / "in" / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    source = find(tmp_path)
    assert len(source.test) == 1
    assert source.passed_over == {
        "in/loop": "a link to a folder that is read already",
        "pipe": "no regular file",
    }
    (tmp_path / "self").symlink_to(tmp_path / "self")
    with pytest.raises(CaseError, match=r"(?s)1 files or folders cannot be read.*self"):
        find(tmp_path)


def test_what_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_series(tmp_path)
    locked = sorted(tmp_path.iterdir())[2]
    real_open = Path.open

    def refuse(self: Path, *arguments: Any, **options: Any) -> Any:
        # The superuser may read everything, so permissions alone would not show it.
        if self == locked:
            raise PermissionError(13, "Permission denied", str(self))
        return real_open(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CaseError, match=rf"(?s)permission.*{locked.name}: Permission denied"):
        find(tmp_path)


def test_a_damaged_header_is_named(tmp_path: Path) -> None:
    write_series(tmp_path)
    damaged = min(tmp_path.iterdir())
    whole = damaged.read_bytes()
    for n_bytes in (140, 160, 300, 600, len(whole) - 1):
        damaged.write_bytes(whole[:n_bytes])
        with pytest.raises(CaseError, match=rf"(?s){damaged.name}|missing"):
            load_only(tmp_path)


def test_many_other_files_are_passed_over_in_one_line(tmp_path: Path) -> None:
    write_series(tmp_path / "series")
    (tmp_path / "other").mkdir()
    for number in range(5000):
        (tmp_path / "other" / f"{number}.txt").write_bytes(b"text")
    source = find(tmp_path)
    assert len(source.test) == 1
    assert source.passed_over == {"other/0.txt ...": "no DICOM file (5000 files)"}


def write_masks(
    folder: Path, names: list[str], *, series: str, boxes: list[tuple[float, float]], **changes: Any
) -> Path:
    """Write a structure set with a rectangle of x from a to b on every slice for each region."""
    dataset = Dataset()
    values: dict[str, Any] = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.3",
        "SOPInstanceUID": f"1.9.{len(list(folder.parent.rglob('*')))}",
        "Modality": "RTSTRUCT",
        "PatientID": "PAT 1",
        "StudyInstanceUID": "1.2.3.4.6",
        "SeriesInstanceUID": "1.8",
        "FrameOfReferenceUID": "1.2.3.4.5",
    } | changes
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    referenced, study, frame = Dataset(), Dataset(), Dataset()
    referenced.SeriesInstanceUID, study.RTReferencedSeriesSequence = series, [referenced]
    frame.FrameOfReferenceUID = changes.get("FrameOfReferenceUID") or "1.2.3.4.5"
    frame.RTReferencedStudySequence = [study]
    dataset.ReferencedFrameOfReferenceSequence = [frame]
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    for number, (name, (a, b)) in enumerate(zip(names, boxes, strict=True), start=1):
        roi, contours = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, contours.ReferencedROINumber = number, name, number
        contours.ContourSequence = []
        for z in 30.0 + SPACING_MM * np.arange(6):
            contour = Dataset()
            contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", 4
            contour.ContourData = [a, -21, float(z), b, -21, float(z), b, -7, float(z), a, -7, float(z)]
            contours.ContourSequence.append(contour)
        dataset.StructureSetROISequence.append(roi)
        dataset.ROIContourSequence.append(contours)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{dataset.SOPInstanceUID}.dcm"
    save(dataset, path)
    return path


LEFT, RIGHT, BOTH = (-11.0, -7.0), (-7.0, -1.0), (-11.0, -1.0)
"""Rectangles over columns 0-1, 2-4 and all of them."""


def test_masks_of_the_series(tmp_path: Path) -> None:
    write_series(tmp_path / "pet")
    path = write_masks(tmp_path / "rt", ["Node 1", "GTV"], series="1.2.3.4.7", boxes=[LEFT, RIGHT])
    source = find(tmp_path)
    assert source.labels == ("GTV", "Node_1")
    case, note = load_only(tmp_path)
    assert case.label is not None
    assert case.label[:, 0, 0].tolist() == [2, 2, 1, 1, 1]
    assert note["masks"] == {str(path): {"GTV": ["GTV"], "Node 1": ["Node 1"]}}
    chosen, note = load_only(tmp_path, rois=("node*",), labels=("node",))
    assert note["masks"] == {str(path): {"node*": ["Node 1"]}}
    assert chosen.label is not None
    assert chosen.label[:, 0, 0].tolist() == [1, 1, 0, 0, 0]
    joined, _ = load_only(tmp_path, union=True)
    assert joined.label is not None
    assert joined.label.all()
    assert find(tmp_path, union=True).labels == ("lesion",)
    assert [job.id for job in find(tmp_path, read_masks=False).test] == ["PAT_1"]
    assert find(tmp_path, union=True, labels=("tumour",)).labels == ("tumour",)


def test_label_values_mean_the_same_in_every_case(tmp_path: Path) -> None:
    for number, names in enumerate([["B"], ["A", "B"]]):
        patient = {"PatientID": str(number), "FrameOfReferenceUID": f"1.5.{number}"}
        write_series(tmp_path / f"pet{number}", SeriesInstanceUID=f"1.1.{number}", **patient)
        write_masks(tmp_path / "rt", names, series=f"1.1.{number}", boxes=[LEFT, RIGHT][-len(names) :], **patient)
    source = find(tmp_path)
    assert source.labels == ("A", "B")
    labels = [job.load().case.label for job in source.training]
    assert [sorted(np.unique(label).tolist()) for label in labels if label is not None] == [[0, 2], [1, 2]]


def test_patients_with_and_without_masks(tmp_path: Path) -> None:
    for patient in ("A", "B"):
        names = {"PatientID": patient, "FrameOfReferenceUID": f"1.5.{ord(patient)}"}
        write_series(tmp_path / patient, SeriesInstanceUID=f"1.1.{ord(patient)}", **names)
    write_masks(tmp_path / "rt", ["GTV"], series="1.1.66", boxes=[LEFT], PatientID="B", FrameOfReferenceUID="1.5.66")
    source = find(tmp_path)
    assert ([job.id for job in source.training], [job.id for job in source.test]) == (["B"], ["A"])
    assert find(tmp_path, read_masks=False).training == ()


def test_a_mask_drawn_on_the_ct(tmp_path: Path) -> None:
    ct = {"Modality": "CT", "SOPClassUID": CT_CLASS, "SeriesInstanceUID": "1.4"}
    write_series(tmp_path / "pet")
    write_series(tmp_path / "ct", **ct)
    write_masks(tmp_path / "rt", ["GTV"], series="1.4", boxes=[LEFT])
    assert len(find(tmp_path).training) == 1
    own = write_masks(tmp_path / "rt", ["PTV"], series="1.2.3.4.7", boxes=[RIGHT])
    source = find(tmp_path)
    assert source.labels == ("PTV",)
    assert any("drawn on itself" in reason for reason in source.passed_over.values())
    own.unlink()
    shutil.rmtree(tmp_path / "rt")
    write_masks(tmp_path / "rt", ["GTV"], series="7.7", boxes=[LEFT], FrameOfReferenceUID="8.8")
    source = find(tmp_path)
    assert source.training == ()
    assert any("series 7.7, which is no PET found here" in reason for reason in source.passed_over.values())
    shutil.rmtree(tmp_path / "rt")
    write_masks(tmp_path / "rt", ["GTV"], series="7.7", boxes=[LEFT], FrameOfReferenceUID="")
    assert len(find(tmp_path).training) == 1, "the contours' own frame of reference is the PET's"


def test_a_tumour_stays_visible_in_its_oedema(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_series(tmp_path / "pet")
    path = write_masks(tmp_path / "rt", ["Edema", "Mass"], series="1.2.3.4.7", boxes=[BOTH, LEFT])
    case, _ = load_only(tmp_path)
    assert case.label is not None
    assert case.label[:, 0, 0].tolist() == [2, 2, 1, 1, 1]
    assert "48 of 120 voxels of region Edema are in Mass too" in caplog.text
    path.unlink()
    write_masks(tmp_path / "rt", ["A", "B"], series="1.2.3.4.7", boxes=[LEFT, LEFT])
    with pytest.raises(CaseError, match="every voxel of region B is in A too"):
        load_only(tmp_path)


def test_regions_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "pet")
    write_masks(tmp_path / "rt", ["Edema", "Mass"], series="1.2.3.4.7", boxes=[BOTH, LEFT])
    with pytest.raises(CaseError, match="no region is named GTV, found Edema, Mass"):
        load_only(tmp_path, rois=("GTV",))
    write_masks(tmp_path / "rt", ["mass"], series="1.2.3.4.7", boxes=[RIGHT])
    with pytest.raises(CaseError, match=r"region mass is in .* and in .* remove the outdated"):
        load_only(tmp_path, union=True)


def test_names_of_labels_must_fit(tmp_path: Path) -> None:
    write_series(tmp_path / "pet")
    write_masks(tmp_path / "rt", ["A", "B"], series="1.2.3.4.7", boxes=[LEFT, RIGHT])
    with pytest.raises(ManifestError, match=r"1 names of labels for 2 labels \(A, B\)"):
        find(tmp_path, labels=("lesion",))


def test_the_ct_becomes_a_second_channel(tmp_path: Path) -> None:
    write_series(tmp_path / "pet")
    ct = {"Modality": "CT", "SOPClassUID": CT_CLASS, "RescaleSlope": "1", "RescaleIntercept": "-1000"}
    write_series(tmp_path / "scout", SeriesInstanceUID="1.3", n_slices=2, **ct)
    write_series(tmp_path / "ct", SeriesInstanceUID="1.4", **ct)
    assert find(tmp_path, with_ct=True).channels == ("PET", "CT")
    case, note = load_only(tmp_path, with_ct=True)
    assert case.image.shape == (2, 5, 4, 6)
    assert case.image[1, 3, 2, 4] == pytest.approx(stored_value(3, 2, 4) - 1000)
    assert note["ct"]["series_uid"] == "1.4"
    shutil.rmtree(tmp_path / "ct")
    shutil.rmtree(tmp_path / "scout")
    with pytest.raises(CaseError, match="no CT in its frame of reference"):
        load_only(tmp_path, with_ct=True)


@pytest.mark.real_data
def test_a_real_series_gives_the_published_suv(real_data: Path) -> None:
    case, note = load_only(real_data / "dicom" / "STS_001", rois=("GTV_Mass",))
    assert case.image.shape == (1, 128, 128, 267)
    assert note["suv"]["warnings"] == []
    published, geometry = read_image([real_data / "Task501_STSPET" / "imagesTr" / "STS_001_0000.nii.gz"])
    index = np.indices(geometry.shape).reshape(3, -1).T
    found = case.geometry.to_voxel(geometry.to_mm(index))
    nearest = np.rint(found).astype(int)
    assert np.abs(found - nearest).max() < 0.01
    mine, theirs = case.image[0][tuple(nearest.T)], published[0][tuple(index.T)]
    is_warm = theirs > 0.1
    assert is_warm.mean() > 0.5
    assert (np.abs(mine - theirs)[is_warm] <= 1e-3 * theirs[is_warm]).mean() >= 0.99
    assert case.label is not None
    assert case.label.sum() > 1000


@pytest.mark.real_data
def test_the_reference_objects_for_suv(real_data: Path) -> None:
    rows = suv_objects.compare(real_data / "ibsi_suv")
    assert len(rows) == 10
    assert {row.name: row.result for row in rows if not row.result.startswith("right")} == {}
    # The integers of the object in CM2ML are too coarse for two decimals.
    assert [row.name for row in rows if row.result != "right"] == ["DRO_2_3"]


@pytest.mark.real_data
def test_real_slices_without_suv_tags_are_refused(real_data: Path) -> None:
    (job,) = find(real_data / "dicom" / "NEMA_no_suv_tags").test
    with pytest.raises(CaseError) as caught:
        job.load()
    for word in (
        "Units (0054,1001)",
        "PatientWeight (0010,1030)",
        "RadiopharmaceuticalInformationSequence (0054,0016)",
    ):
        assert word in str(caught.value)


@pytest.mark.real_data
def test_names_of_real_files_do_not_matter(real_data: Path, tmp_path: Path) -> None:
    paths = sorted((real_data / "dicom" / "STS_001" / "PT").iterdir())[100:112]
    for number, path in enumerate(paths):
        header = dcmread(path)
        header.NumberOfSlices = len(paths)
        header.save_as(tmp_path / f"{(number * 5) % 12}")
    (series,), _ = find_series(tmp_path)
    mixed, geometry, _ = read_suv_series(series.paths)
    whole, _ = load_only(real_data / "dicom" / "STS_001")
    start = np.rint(whole.geometry.to_voxel(geometry.to_mm((0, 0, 0)))).astype(int)
    assert np.array_equal(mixed, whole.image[0][:, :, start[2] : start[2] + 12])
